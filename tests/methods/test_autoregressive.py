"""Autoregressive models: causal, exact, and drawn fast as they are drawn slowly."""

import dataclasses
import itertools
import math

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.data import Facts
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.autoregressive import AutoregressiveConfig, AutoregressiveOptions, PixelUpscalerConfig
from inkwash.metrics.likelihood import bits_per_dim
from inkwash.nn.causal import Grown, keep, with_ones
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.levels import binarised, from_levels, to_levels
from inkwash.nn.pixelcnn import GatedConfig, PixelCNNConfig
from inkwash.nn.pixelrnn import DiagonalConfig, RowLSTMConfig
from inkwash.recipes import find
from tiny import stir_

NETS = {
    "pixelcnn": PixelCNNConfig(width=8, blocks=3, first=2),
    "attentive": PixelCNNConfig(width=10, blocks=4, first=1, attention=2, head=5),
    "gated": GatedConfig(width=6, blocks=3, first=2),
    "row-lstm": RowLSTMConfig(width=4, layers=2, first=2),
    "diagonal-lstm": DiagonalConfig(width=4, layers=2, first=1),
    "transformer": TransformerConfig(width=8, blocks=2, head=4),
    "patches of pixelcnn": {"net": PixelCNNConfig(width=8, blocks=3, first=1), "fold": 2, "pixel": 5},
    "patches of diagonal-lstm": {"net": DiagonalConfig(width=4, layers=2, first=1), "fold": 2, "pixel": 5},
    "patches of transformer": {"net": TransformerConfig(width=8, blocks=2, head=4), "fold": 3, "pixel": 5},
}
each = pytest.mark.parametrize("net", NETS.values(), ids=NETS)


def build(net, shape=(1, 5, 7), stir=0.3, **more):
    more |= net if isinstance(net, dict) else {"net": net}
    model = AutoregressiveConfig(shape=shape, embedding=3, **more).build().double().eval()
    stir_(model, stir)
    return model


def order_of(model):
    """Where each pixel comes in the model's order, (H, W)."""
    c, h, w = model.config.shape
    walk = model.net.walk(Grown(torch.zeros(1, 1, dtype=torch.float64), h, w, c + 1, model.net.reach), None)
    place = torch.empty(h, w, dtype=torch.long)
    for i, (row, column) in enumerate(walk.order()):
        place[row, column] = i
    assert sorted(place.flatten().tolist()) == list(range(h * w))
    return place


def influence(model, n=1):
    """bool (H, W, H, W): whether the features at the first pixel depend on the second one."""
    c, h, w = model.config.shape
    x = torch.randn(n, c, h, w, dtype=torch.float64, requires_grad=True)
    features = model.net(with_ones(x)).square().sum((0, 1))
    out = [torch.autograd.grad(f, x, retain_graph=True, allow_unused=True)[0].abs().sum((0, 1)) > 0 for f in features.flatten()]
    return torch.stack(out).view(h, w, h, w)


@each
def test_features_depend_on_earlier_pixels_only(net):
    model = build(net)
    seen, place = influence(model), order_of(model)
    earlier = place[None, None] < place[:, :, None, None]
    assert not (seen & ~earlier).any()
    assert seen.any()
    if isinstance(net, dict):
        assert net["net"].kind != "transformer" or torch.equal(seen, earlier)
    elif net.kind in ("gated", "transformer"):
        wide = build(net.model_copy(update={"blocks": 8} if net.kind == "gated" else {}))
        assert torch.equal(influence(wide), earlier)  # nothing is left unseen
    elif net.kind == "diagonal-lstm" or getattr(net, "attention", 0):  # what is looked at was told what comes before it, not itself
        earlier[range(1, 5), :, range(4), -1] = seen[range(1, 5), :, range(4), -1]
        assert torch.equal(seen, earlier)


def test_masks_alone_leave_a_blind_spot_and_two_stacks_do_not():
    """However deep: the pixel above, three to the right, is never seen where rows are reached by masked kernels alone."""
    for net, unseen in ((PixelCNNConfig(width=8, blocks=12, first=1), True), (GatedConfig(width=6, blocks=12, first=1), False)):
        seen = influence(build(net, (1, 9, 9)))[4, 4]
        assert seen[3, 3:6].all() and seen[0].any()
        assert seen[3, 6].item() is not unseen


@each
@pytest.mark.parametrize("classes", [(), ("a", "b")], ids=["plain", "classes"])
def test_pixel_by_pixel_gives_the_features_of_the_whole(net, classes):
    model = build(net, (2, 5, 7), classes=classes)
    x = torch.rand(3, 2, 5, 7, dtype=torch.float64) * 2 - 1
    context = model.context(None, Condition(label=torch.tensor([0, 1, 2]) if classes else None))
    whole = model.net(with_ones(x), context)
    so_far = Grown(x, 5, 7, 3, model.net.reach)
    walk = model.net.walk(so_far, context)
    for row, column in walk.order():
        torch.testing.assert_close(walk.at(row, column), whole[:, :, row, column], atol=1e-12, rtol=1e-12)
        so_far.inside[:, row, column] = with_ones(x[:, :, row, column])


@each
def test_a_context_that_differs_from_place_to_place(net):
    model = build(net, classes=("a",))
    x, context = torch.rand(2, 1, 5, 7, dtype=torch.float64), torch.randn(2, 3, 5, 7, dtype=torch.float64)
    whole, so_far = model.net(with_ones(x), context), Grown(x, 5, 7, 2, model.net.reach)
    walk = model.net.walk(so_far, context)
    for row, column in walk.order():
        torch.testing.assert_close(walk.at(row, column), whole[:, :, row, column], atol=1e-12, rtol=1e-12)
        so_far.inside[:, row, column] = with_ones(x[:, :, row, column])


@each
@pytest.mark.parametrize("head", ["categorical", "logistic"])
def test_fast_and_naive_draw_the_same_images(net, head):
    model = build(net, (3, 4, 5), head=head, levels=9, mixtures=3, stir=0.5)
    fast, naive = (draw(model, range(8), model.Options(naive=n)) for n in (False, True))
    assert torch.equal(fast, naive)
    assert len(fast.unique(dim=0)) == 8 and len(fast.unique()) > 5


@each
@pytest.mark.parametrize(
    ("shape", "levels", "head"),
    [((1, 2, 2), 3, "categorical"), ((3, 1, 2), 2, "categorical"), ((1, 2, 2), 3, "logistic"), ((3, 1, 2), 2, "logistic")],
)
def test_probabilities_of_all_small_images_sum_to_one(net, shape, levels, head):
    model = build(net, shape, head=head, levels=levels, mixtures=3)
    codes = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    nats = model.log_prob(from_levels(codes, levels).double(), Condition(), image_rng(range(len(codes))))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert nats.max() - nats.min() > 0.5  # they differ


def test_grey_images_are_learnt_by_a_mixture_and_black_and_white_ones_by_a_softmax():
    grey = Facts(channels=1, height=8, width=8, classes=(), count=9, captions=False)
    heads = {f.levels: find("pixelcnn")("x", f).model.head for f in (grey, dataclasses.replace(grey, levels=2))}
    assert heads == {256: "logistic", 2: "categorical"}


def test_drawn_images_are_as_frequent_as_they_are_probable():
    model = build(NETS["gated"], (1, 2, 2), levels=2, stir=1.0)
    codes = torch.tensor(list(itertools.product(range(2), repeat=4))).view(-1, 1, 2, 2)
    p = model.log_prob(from_levels(codes, 2).double(), Condition(), image_rng(range(16))).exp()
    drawn = to_levels(draw(model, range(4000), model.Options(), batch=4000), 2).flatten(1) @ torch.tensor([8, 4, 2, 1])
    found = torch.bincount(drawn, minlength=16) / 4000
    assert (found - p).abs().max() < 4 * (p * (1 - p) / 4000).sqrt().max()


def test_a_model_that_knows_nothing_takes_eight_bits():
    model = AutoregressiveConfig(shape=(3, 4, 4), net=NETS["gated"]).build()
    torch.nn.init.zeros_(model.head.out[0].weight)
    for layer in model.head.out:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.rand(5, 3, 4, 4) * 2 - 1
    bits = bits_per_dim(model.log_prob(x, Condition(), image_rng(range(5))), 48)
    torch.testing.assert_close(bits, torch.full_like(bits, 8.0), atol=1e-6, rtol=0)


@each
def test_known_pixels_come_back_and_the_others_follow_from_them(net):
    model = build(net, levels=2, stir=1.0)
    given = torch.where(torch.rand(20, 1, 5, 7) < 0.5, 1.0, -1.0)
    mask = torch.zeros(20, 1, 5, 7)
    mask[:, :, 3:] = 1
    cond = Condition(image=given, mask=mask)
    done = draw(model, range(20), model.Options(), cond=cond)
    assert torch.equal(done[:, :, :3].float(), given[:, :, :3])
    other = draw(model, range(20), model.Options(), cond=Condition(image=-given, mask=mask))
    assert not torch.equal(done[:, :, 3:], other[:, :, 3:])
    with pytest.raises(ConfigError, match="give it a mask"):
        draw(model, range(20), model.Options(), cond=Condition(image=given))


def test_no_temperature_is_the_likeliest_pixel():
    model = build(NETS["pixelcnn"], levels=5)
    cold = draw(model, range(6), model.Options(temperature=0.0))
    assert len(cold.unique(dim=0)) == 1
    assert len(draw(model, range(6), model.Options()).unique(dim=0)) == 6


def test_binarised_pixels_are_on_as_often_as_they_are_bright():
    x = torch.tensor([-1.0, -0.5, 0.0, 0.8, 1.0]).expand(4000, 1, 1, 5)
    on = (binarised(x, image_rng(range(4000))) + 1) / 2
    assert set(on.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(on.mean((0, 1, 2)), torch.tensor([0, 0.25, 0.5, 0.9, 1]), atol=0.03, rtol=0)


class TestUpscaler:
    """A large picture given a small one."""

    def model(self, **more):
        config = PixelUpscalerConfig(shape=(1, 4, 4), levels=2, scale=2, embedding=4, net=PixelCNNConfig(width=8, blocks=1), **more)
        model = config.build().double().eval()
        stir_(model, 0.5)
        return model

    @torch.no_grad()
    def test_the_probabilities_of_all_large_pictures_given_one_small_one_are_one(self):
        model = self.model()
        every = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=16)), dtype=torch.float64).view(-1, 1, 4, 4)
        told = model.told(torch.tensor([[[[0.2, -1.0], [0.7, 0.1]]]], dtype=torch.float64)).expand(len(every), -1, -1, -1)
        nats = model.head.log_prob(model.net(model.inputs(every), told, keep), every).flatten(1).sum(1)
        assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)

    @torch.no_grad()
    def test_fast_and_naive_draws_are_the_same_and_the_small_picture_matters(self):
        model = self.model(fold=2)
        x = torch.rand(6, 1, 2, 2, dtype=torch.float64) * 2 - 1
        a = model.translate(x)
        assert torch.equal(a, model.translate(x, "large", AutoregressiveOptions(naive=True)))
        assert a.shape == (6, 1, 4, 4) and not torch.equal(a, model.translate(-x))

    def test_what_is_refused(self):
        with pytest.raises(ConfigError, match="of 2 x 2 pixels only, not 3 x 2"):
            self.model().translate(torch.zeros(1, 1, 2, 3))
        with pytest.raises(ConfigError, match="cannot be made 4 times smaller"):
            PixelUpscalerConfig(shape=(1, 6, 4)).build()
