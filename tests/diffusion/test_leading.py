"""Estimates that are led towards what fits, and a plan that learns from who reads it."""

import pytest
import torch

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.core.files import save_model
from inkwash.data import View, facts, open_source
from inkwash.diffusion.grids import uniform
from inkwash.diffusion.guidance import Lead, led
from inkwash.diffusion.path import PATHS
from inkwash.diffusion.solvers import ddim
from inkwash.methods.autoencoder import AutoencoderConfig
from inkwash.methods.captioner import CaptionerConfig
from inkwash.methods.diffusion import DenoisingConfig, LatentConfig
from inkwash.methods.eye import EyeConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.unet import UNetConfig
from inkwash.nn.writers import TransformerWriterConfig
from inkwash.recipes.start import configure
from inkwash.recipes.text import READING, text
from tiny import batch_of, step_of, stir_

WORDS, NET = TokenizerConfig(length=24), GridConfig(stride=4, width=8)
CAPTIONER = CaptionerConfig(shape=(3, 8, 8), eye=NET, d=8, writer=TransformerWriterConfig(width=16, blocks=1, head=16), tokenizer=WORDS)
PLAN = LatentConfig(
    shape=(3, 8, 8),
    net=UNetConfig(width=8, mults=(1,), blocks=1, fold=1, attention=(0,)),
    text=TextConfig(width=32, blocks=2, head=16, tokenizer=WORDS),
    autoencoder=EyeConfig(shape=(3, 8, 8), net=NET, features=8, keep=5),
)
TEXTS = ["red left of blue", "蓝色"]


def built(config=PLAN):
    torch.manual_seed(0)
    model = config.build()
    stir_(model, 0.2)
    return model


def rows():
    plain = batch_of(torch.randn(2, 3, 8, 8).clamp(-1, 1))
    return Batch(plain.image, plain.cond, plain.index, [(t,) for t in TEXTS])


@pytest.mark.parametrize("name", ["flow", "vp-cosine"])
def test_a_slope_moves_a_normal_distribution_by_as_much_as_it_should(name):
    """Where clean x is N(0, 1), x with the odds exp(c x) is N(c, 1), and the rule is exact."""
    path, slope = PATHS[name], torch.tensor([0.7, -1.3, 0.0], dtype=torch.float64)

    def denoise(x, t):
        _, a, s = path.at(t)
        return a / (a * a + s * s) * x

    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 1, 1, 3, generator=g, dtype=torch.float64)
    grid = uniform(path, 400)
    with torch.no_grad():
        plain = ddim(denoise, x, grid)
        moved = ddim(led(denoise, Lead(lambda d: (d * slope).sum((1, 2, 3)), 1.0), path), x, grid)
    torch.testing.assert_close(moved - plain, slope.expand(5, 1, 1, 3), atol=0.01, rtol=0)


def test_rows_are_led_each_for_itself_and_by_a_scale_of_none_not_at_all():
    path, x = PATHS["flow"], torch.randn(4, 2, 3, 3)
    lead = Lead(lambda d: -(d - 1).square().sum((1, 2, 3)), 0.3)
    denoise = lambda x, t: 0.5 * x  # noqa: E731
    both = led(denoise, lead, path)(x, 0.6)
    torch.testing.assert_close(both, torch.cat([led(denoise, lead, path)(part, 0.6) for part in x.split(1)]))
    assert (both - 1).square().mean() < (0.5 * x - 1).square().mean()
    torch.testing.assert_close(led(denoise, lead._replace(scale=0.0), path)(x, 0.6), 0.5 * x)


def test_a_captioner_reads_features_of_rows_each_by_its_own_text_with_gradients():
    captioner, features = built(CAPTIONER), torch.randn(2, 8, 2, 2, requires_grad=True)
    nats = captioner.reads(features, TEXTS)
    torch.testing.assert_close(nats, captioner.foretold(features, TEXTS).diagonal())
    (slope,) = torch.autograd.grad(nats[0], features)
    assert slope[0].abs().sum() > 0 and slope[1].abs().sum() == 0


def test_what_is_read_teaches_the_plan_and_not_its_reader():
    model, batch, nats = built(), rows(), {}
    for reading in (0.0, 0.5):
        objective = DenoisingConfig(reading=reading, teacher=CAPTIONER, label_dropout=0.0, mean=1.0, std=0.1).build(model)
        loss, parts = objective.loss("main", batch, step_of(2))
        model.zero_grad(), loss.backward()
        nats[reading] = loss.item() - parts["mse"].item()
        assert "reading" in parts or not reading
    assert nats[0.0] == pytest.approx(0) and nats[0.5] == pytest.approx(0.5 * parts["reading"].item(), rel=1e-4)
    assert all(p.grad is None and not p.requires_grad for p in objective.teacher.parameters())
    trained = {id(p) for p in objective.phases()[0].parameters()}
    assert not trained & {id(p) for p in objective.teacher.parameters()} and trained == {
        id(p) for part in model.learnt() for p in part.parameters()
    }


def test_it_reads_the_text_that_was_heard_where_any_was_and_a_layout_can_be_seen():
    model, batch = built(), rows()
    objective = DenoisingConfig(reading=1.0, teacher=CAPTIONER).build(model)
    cond, d = Condition(tokens=model.tokens(TEXTS)), torch.randn(2, *model.space)
    each = objective.teacher.reads(model.autoencoder.features(d), TEXTS)
    both, first, none = (objective.read(d, cond, torch.tensor(at)) for at in ([True, True], [True, False], [False, False]))
    torch.testing.assert_close(torch.stack([both, first]), -torch.stack([each.sum(), each[0]]) / 2)
    assert none == 0
    unheard = DenoisingConfig(reading=1.0, teacher=CAPTIONER, label_dropout=1.0).build(model)
    for objective in (unheard, DenoisingConfig(reading=1.0, teacher=CAPTIONER, mean=8.0, std=0.1).build(model)):
        assert objective.loss("main", batch, step_of(2))[1]["reading"] == 0


def test_a_plan_that_is_read_learns_what_its_reader_wants_to_read():
    last = {}
    for reading in (1e-6, 1.0):
        model, batch = built(), rows()
        torch.nn.init.normal_(model.autoencoder.axes)
        objective = DenoisingConfig(reading=reading, teacher=CAPTIONER, label_dropout=0.0, mean=1.0, std=0.5).build(model)
        torch.manual_seed(1)
        stir_(objective.teacher, 0.5)
        optimizer = torch.optim.Adam([p for part in model.learnt() for p in part.parameters()], lr=3e-3)
        for _ in range(60):
            loss, parts = objective.loss("main", batch, step_of(2))
            optimizer.zero_grad(), loss.backward(), optimizer.step()
        last[reading] = parts["reading"].item()
    assert last[1.0] < 0.97 * last[1e-6]


def test_the_recipe_takes_a_captioner_as_the_teacher_of_a_plan_and_nothing_else(tmp_path):
    data = "scenes?size=16&count=40&captions=1"
    config = text(data, facts(open_source(data), View()), start=PLAN, teacher=CAPTIONER)
    assert config.objective.reading == READING and config.objective.teacher == CAPTIONER
    with pytest.raises(ConfigError, match="by a 'captioner'"):
        DenoisingConfig(reading=1.0, teacher=PLAN).build(built())
    for broken in (PLAN.model_copy(update={"text": None}), PLAN.model_copy(update={"autoencoder": _autoencoder()})):
        with pytest.raises(ConfigError, match="features of an 'eye'"):
            DenoisingConfig(reading=1.0, teacher=CAPTIONER).build(broken.build())
    with pytest.raises(ConfigError, match="features of an 'eye'"):
        DenoisingConfig(reading=1.0).build(built())


def test_only_an_objective_that_has_a_teacher_takes_its_weights(tmp_path):
    for name, config in (("eye", PLAN.autoencoder), ("plan", PLAN), ("captioner", CAPTIONER)):
        save_model(tmp_path / name, config, config.build().state_dict())
    data = "scenes?size=16&count=40&captions=1"
    planned = configure("plan", data, 1, start=tmp_path / "eye", teacher=tmp_path / "plan")
    read = configure("text", data, 1, start=tmp_path / "plan", teacher=tmp_path / "captioner")
    assert (planned.teacher, read.teacher) == (None, str(tmp_path / "captioner"))
    assert (planned.objective.teacher, read.objective.teacher) == (None, CAPTIONER)


def _autoencoder():
    return AutoencoderConfig(shape=(3, 8, 8), net=GridConfig(stride=4, width=8))
