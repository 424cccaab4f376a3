"""Codes: the nearest, rounded, averaged, put back to use; and a prior over them."""

import itertools
import math

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.files import save_model
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.autoregressive import CodesConfig
from inkwash.methods.vqvae import VQConfig, VQVAEConfig
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.quantisers import CodebookConfig, FSQConfig
from inkwash.recipes.start import configure
from tiny import make_trainer, named_gradients, run_config, step_of, stir_, write_npz

NET = GridConfig(width=4, most=8, blocks=1)


def build(**more):
    model = VQVAEConfig(**{"shape": (1, 8, 8), "net": NET, "quantiser": CodebookConfig(size=7, width=3)} | more).build().eval()
    stir_(model, 0.1)
    return model


def prior(quantiser, **more):
    auto = VQVAEConfig(shape=(1, 8, 8), net=NET, quantiser=quantiser)
    model = (
        CodesConfig(shape=(1, 8, 8), autoencoder=auto, embedding=5, net=TransformerConfig(width=8, blocks=1, head=4), **more).build().eval()
    )
    stir_(model, 0.5)
    return model


def test_a_codebook_takes_the_nearest_and_lets_gradients_pass():
    book = CodebookConfig(size=11, width=4).build()
    z = torch.randn(2, 5, 4, requires_grad=True)
    q, codes = book(z)
    assert torch.equal(codes, torch.cdist(z.flatten(0, 1), book.codes).argmin(1).view(2, 5))
    torch.testing.assert_close(q, book.codes[codes])
    (q * torch.arange(4.0)).sum().backward()
    assert torch.equal(z.grad, torch.arange(4.0).expand(2, 5, 4))


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 4), (2, 2, 2), (7,)])
def test_fsq_numbers_every_corner_of_its_grid_once(levels):
    fsq = FSQConfig(levels=levels).build()
    codes = torch.arange(fsq.size)
    vectors = fsq.vectors(codes)
    assert len(vectors.unique(dim=0)) == fsq.size == math.prod(levels)
    assert vectors.min() == -1 and vectors.max() <= 1
    z = torch.tensor(list(itertools.product(torch.linspace(-4, 4, 41).tolist(), repeat=min(2, len(levels)))))
    z = torch.nn.functional.pad(z, (0, len(levels) - z.shape[1])).requires_grad_()
    q, found = fsq(z)
    assert torch.equal(found, fsq.codes_of(z)) and torch.equal(q, fsq.vectors(found))
    assert len(found.unique()) == math.prod(levels[:2])  # all that two numbers can say
    q.sum().backward()
    assert (z.grad[:, 0].abs() > 0).any()


def test_codes_move_to_the_mean_of_what_chose_them():
    model = build()
    vq = VQConfig(decay=0.5, revive=0.0).build(model)
    z, book = torch.randn(6, 2, 2, 3), model.quantiser
    chosen, sums = vq.chosen.clone(), vq.sums.clone()
    codes = book.codes_of(z).flatten()
    vq._move(z, step_of(6))
    for k in range(7):
        mine = z.view(-1, 3)[codes == k]
        count, total = 0.5 * chosen[k] + 0.5 * len(mine) / 24, 0.5 * sums[k] + 0.5 * mine.sum(0) / 24
        torch.testing.assert_close(book.codes[k], total / count)


def test_codes_that_nothing_chooses_are_put_where_vectors_are():
    model = build(quantiser=CodebookConfig(size=64, width=3))
    model.quantiser.codes.mul_(0.01).add_(100)  # far from everything
    model.quantiser.codes[0] = 0
    vq = VQConfig(decay=0.9).build(model)
    z = torch.randn(16, 4, 4, 3, generator=torch.Generator().manual_seed(2))
    for i in range(60):
        vq._move(z, step_of(16, seed=i))
    assert len(model.quantiser.codes_of(z).unique()) > 50


def test_a_vqvae_learns_to_return_images(tmp_path):
    t = make_trainer(run_config("vqvae", write_npz(tmp_path / "a.npz"), steps=200, lr=3e-3))
    t._batches = t.loader.stream()
    error = lambda: t.validate(t.data)["valid/error"]  # noqa: E731
    before = error()
    for _ in range(120):
        t.step()
    t.check_finite()
    assert error() < 0.3 * before


@pytest.mark.parametrize("quantiser", [CodebookConfig(size=7, width=3), FSQConfig(levels=(3, 3))], ids=["codebook", "fsq"])
def test_a_prior_draws_codes_and_keeps_known_pixels(quantiser):
    model = prior(quantiser).double()
    fast, naive = (draw(model, range(6), model.Options(naive=n, temperature=5.0)) for n in (False, True))
    assert fast.shape == (6, 1, 8, 8) and torch.equal(fast, naive)
    assert len(fast.unique(dim=0)) > 3
    given, mask = torch.rand(6, 1, 8, 8, dtype=torch.float64) * 2 - 1, torch.zeros(6, 1, 8, 8, dtype=torch.float64)
    mask[:, :, 5:] = 1
    done = draw(model, range(6), model.Options(), cond=Condition(image=given, mask=mask))
    assert torch.equal(done[:, :, :5], given[:, :, :5])


def test_the_probabilities_of_all_grids_sum_to_one():
    model = prior(FSQConfig(levels=(2,))).double()
    grids = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)
    assert model.nats(grids, Condition()).flatten(1).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_prior_begins_from_its_run_and_leaves_it_as_it_is(tmp_path):
    source, model = write_npz(tmp_path / "a.npz", shape=(1, 8, 8)), build()
    save_model(tmp_path / "vq", model.config, model.state_dict())
    small = {"model.net.width": 8, "model.net.blocks": 1, "train.batch": 4, "train.precision": "fp32", "train.warm_up": 0}
    t = make_trainer(configure("codes", source, steps=3, settings=small, start=tmp_path / "vq"))
    t._batches = t.loader.stream()
    for _ in range(2):
        t.step()
    assert all(torch.equal(v, t.model.autoencoder.state_dict()[k]) for k, v in model.state_dict().items())
    with pytest.raises(ConfigError, match="begins from a trained model"):
        configure("codes", source)
    x = t.model.eval().seen(torch.zeros(1, 1, 8, 8), image_rng([0]))
    assert t.model.nats(x, t.loader.batch_at(0, 1).cond).shape == (1, 1, 2, 2)


def test_a_critic_at_its_side(tmp_path):
    """Critic, penalty and maker take turns; codes move in the maker's turn only; only the maker's loss reaches the model."""
    t = make_trainer(run_config("vqvae", write_npz(tmp_path / "a.npz")).override({"objective.adversary": {"weight": 0.1}}), 0.05)
    assert [p.name for p in t.phases] == ["critic", "penalty", "generator"]
    batch = t.loader.batch_at(0)
    for phase in t.phases:
        before = t.objective.chosen.clone()
        gradients = named_gradients(t, phase, batch)
        assert gradients and all(name.startswith("model.") == (phase.name == "generator") for name in gradients)
        assert torch.equal(before, t.objective.chosen) == (phase.name != "generator")
    loss, parts = t.objective.loss("generator", batch, t.moment("generator", batch))
    wanted = parts["error"] + parts["fooled"] + 0.25 * parts["away"]
    torch.testing.assert_close(loss.detach(), wanted)
    assert set(t.validate(t.data)) == {"valid/error"}
