"""Pictures that are drawn after a plan."""

import pytest
import torch

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.diffusion.options import DiffusionOptions
from inkwash.inference.draw import image_rng
from inkwash.methods.autoencoder import AutoencoderConfig
from inkwash.methods.diffusion import DenoisingConfig, DiffusionConfig, LatentConfig
from inkwash.methods.eye import EyeConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.sketch import SketchConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.unet import UNetConfig
from tiny import batch_of, step_of, stir_

WORDS = TokenizerConfig(length=24)
KNOWN = {
    "shape": (3, 8, 8),
    "net": UNetConfig(width=8, mults=(1,), blocks=1, fold=1, attention=(0,)),
    "text": TextConfig(width=32, blocks=2, head=16, tokenizer=WORDS),
    "options": DiffusionOptions(steps=3, guidance=2.0),
}
PLAN = LatentConfig(**KNOWN, autoencoder=EyeConfig(shape=(3, 8, 8), net=GridConfig(stride=4, width=8), features=8, keep=5))
MODEL = DiffusionConfig(**KNOWN)
PLANNED = MODEL.model_copy(update={"plan": PLAN})
LATENT = LatentConfig(**KNOWN, autoencoder=AutoencoderConfig(shape=(3, 8, 8), net=GridConfig(stride=2, width=8)), plan=PLAN)
SKETCHED = MODEL.model_copy(update={"sketch": SketchConfig(width=32, read=2, blocks=2, head=16)})
PROMPTS = ["red left of blue", "blue left of red"]


def built(config=PLANNED, stir=0.1):
    torch.manual_seed(0)
    model = config.build()
    stir_(model, stir)
    return model


def condition(model, **more):
    return Condition(tokens=model.tokens(PROMPTS), **more)


def drawn(model, cond, options=None, seeds=range(2)):
    return model.sample(image_rng(seeds), cond, options or model.default_options())


def captioned(image):
    plain = batch_of(image)
    return Batch(plain.image, plain.cond, plain.index, [(p,) for p in PROMPTS])


@torch.no_grad()
@pytest.mark.parametrize("config", [PLANNED, SKETCHED])
def test_a_model_that_begins_from_one_without_a_map_draws_as_that_one_does(config):
    plain, planned = built(MODEL), config.build()
    planned.load_state_dict(planned.adopted(plain.state_dict()))
    torch.testing.assert_close(drawn(planned, condition(planned)), drawn(plain, condition(plain)))
    assert planned.adopted(planned.state_dict()).keys() == planned.state_dict().keys()  # one that has a plan keeps its own


@torch.no_grad()
@pytest.mark.parametrize("config", [PLANNED, LATENT])
def test_the_net_sees_a_plan_of_its_own_for_each_row_and_guidance_leads_away_from_none(config):
    model, x, t = built(config), torch.randn(2, *config.build().space), torch.tensor([0.5, 0.5])
    plan = torch.randn(2, *model.plan.space)
    told = model.told(condition(model), 2)
    planned = told._replace(plan=plan)
    assert not torch.allclose(model.estimate(x, t, planned)[0], model.estimate(x, t, told)[0])
    none = model.estimate(x, t, told._replace(plan=torch.zeros_like(plan)))[0]
    torch.testing.assert_close(model.estimate(x, t, told)[0], none)  # no plan is a plan of zeros
    for a, b in ((planned, model.nothing(2)), (model.nothing(2), planned)):
        out = model.estimate(torch.cat([x, x]), torch.cat([t, t]), a.beside(b))[0]
        torch.testing.assert_close(out[:2], model.estimate(x, t, a)[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(out[2:], model.estimate(x, t, b)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("config", [PLANNED, LATENT])
def test_a_picture_is_drawn_after_the_plan_that_the_planning_model_draws_of_its_text(config):
    model, seen = built(config), []
    latents = model.plan.latents
    model.plan.latents = lambda *args: seen.append(latents(*args)) or seen[-1]
    first = drawn(model, condition(model))
    assert seen[0].shape == (2, *model.plan.space) and not torch.equal(seen[0][0], seen[0][1])
    model.plan.latents = lambda *args: seen[0].flip(0)
    assert not torch.allclose(drawn(model, condition(model)), first)
    model.plan.latents = None  # without a text there is no plan to draw
    assert drawn(model, Condition()).shape == first.shape


@torch.no_grad()
def test_an_edited_picture_is_drawn_after_an_edited_plan_and_another_size_after_a_larger_one():
    model, seen = built(LATENT), []
    latents = model.plan.latents
    model.plan.latents = lambda rng, cond, options, *rest: seen.append((cond, options)) or latents(rng, cond, options, *rest)
    image, mask = torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1
    out = drawn(model, condition(model, image=image, mask=mask), model.default_options().override({"strength": 0.5}))
    assert torch.equal(out[:, :, 4:], image[:, :, 4:]) and seen[0][0].mask is mask and seen[0][1].strength == 0.5
    out = drawn(model, condition(model), model.default_options().override({"size": [16, 8], "negative": "dark"}))
    assert out.shape[2:] == (16, 8) and seen[1][1].size == (16, 8) and seen[1][1].negative == "dark"


@torch.no_grad()
def test_steps_of_the_plan_and_of_the_picture_are_counted_as_one():
    model, counted = built(), []
    model.sample(image_rng(range(2)), condition(model), model.default_options(), lambda *now: counted.append(now))
    assert counted == [(i + 1, 6) for i in range(6)]
    assert model.evaluations(model.default_options()) == 2 * built(MODEL).evaluations(model.default_options())


def test_the_plan_that_is_seen_while_learning_is_that_of_the_picture_and_absent_where_nothing_is_heard():
    model, image = built(LATENT), torch.randn(2, 3, 8, 8).clamp(-1, 1)
    batch = captioned(image)
    true = torch.nn.functional.interpolate(model.plan.to_latent(image), model.space[1:], mode="bilinear", align_corners=False)
    worked_out = model.encoded(image)
    assert torch.equal(worked_out[:, : model.space[0]], model.to_latent(image))
    known = Batch(batch.image, batch.cond, batch.index, batch.text, worked_out)
    assert torch.equal(model.latent(known), model.to_latent(image))
    torch.testing.assert_close(model.plan_latent(known), true)
    torch.testing.assert_close(model.learns(known, step_of(2), 0.0).plan, true)
    noisy = model.learns(known, step_of(2), 0.0, 0.5).plan
    assert 0.01 < (noisy - true).std() < 1
    assert model.learns(batch, step_of(2), 1.0).plan.abs().max() == 0
    silent = Batch(batch.image, batch.cond, batch.index, [("",), (PROMPTS[1],)], worked_out)
    plan = model.learns(silent, step_of(2), 0.0).plan
    assert plan[0].abs().max() == 0 and plan[1].abs().max() > 0


@pytest.mark.parametrize("config", [PLANNED, LATENT])
def test_a_plan_stays_as_it_is_unless_it_is_to_learn_along(config):
    batch = captioned(torch.randn(2, 3, 8, 8).clamp(-1, 1))
    for planning in (0.0, 1.0):
        model = built(config)
        objective = DenoisingConfig(planning=planning).build(model)
        loss, parts = objective.loss("main", batch, step_of(2))
        loss.backward()
        learns = {name for name, p in model.plan.named_parameters() if p.grad is not None}
        assert bool(learns) == bool(planning) == ("plan" in parts) and not any("autoencoder" in name for name in learns)
        trained = {id(p) for p in objective.phases()[0].parameters()}
        assert {id(p) for p in model.plan.net.parameters()} <= trained or not planning


def test_a_thin_model_has_a_thin_plan():
    model = PLANNED.model_copy(update={"lora": 2}).build()
    learnt = sum(p.numel() for part in model.plan.learnt() for p in part.parameters())
    assert 0 < learnt < 0.7 * sum(p.numel() for p in PLAN.build().net.parameters())
    whole = PLAN.model_copy(update={"sketch": SketchConfig()})
    model = PLANNED.model_copy(update={"lora": 2, "plan": whole}).build()
    thin = {id(p) for part in (*model.learnt(), *model.plan.learnt()) for p in part.parameters()}
    objective = DenoisingConfig(planning=1.0).build(model)
    assert {id(p) for phase in objective.phases() for p in phase.parameters()} == thin, "a sketch has no thin matrices: it stays"


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"text": None}, "same tokenizer"),
        ({"text": MODEL.text.model_copy(update={"tokenizer": TokenizerConfig(length=25)})}, "same tokenizer"),
        ({"plan": EyeConfig(shape=(3, 8, 8), net=GridConfig())}, "same tokenizer"),
        ({"shape": (3, 16, 16)}, "is of pictures of"),
        ({"sketch": SketchConfig()}, "not both"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(update, said):
    with pytest.raises(ConfigError, match=said):
        PLANNED.model_copy(update=update).build()


@pytest.mark.parametrize("task", ["planning", "sketching"])
def test_what_a_model_has_not_cannot_be_taught(task):
    with pytest.raises(ConfigError, match="has none"):
        DenoisingConfig(**{task: 1.0}).build(built(MODEL))


def test_a_sketch_needs_a_text():
    with pytest.raises(ConfigError, match="reads none"):
        SKETCHED.model_copy(update={"text": None}).build()


@torch.no_grad()
def test_the_net_sees_the_sketch_of_its_own_text_with_guidance_too():
    model, x, t = built(SKETCHED), torch.randn(2, 3, 8, 8), torch.tensor([0.5, 0.5])
    told = model.told(condition(model), 2)
    assert told.plan.shape == (2, 32, 8, 8)
    assert not torch.allclose(model.estimate(x, t, told)[0], model.estimate(x, t, told._replace(plan=torch.zeros_like(told.plan)))[0])
    out = model.estimate(torch.cat([x, x]), torch.cat([t, t]), told.beside(model.nothing(2)))[0]
    torch.testing.assert_close(out[:2], model.estimate(x, t, told)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out[2:], model.estimate(x, t, model.nothing(2))[0], atol=1e-5, rtol=1e-5)
    assert drawn(model, condition(model), model.default_options().override({"size": [12, 16]})).shape == (2, 3, 12, 16)


def test_a_sketch_learns_which_of_two_things_is_on_which_side_and_no_denoiser_changes_it():
    model, image = built(SKETCHED, stir=0.0), torch.zeros(2, 3, 8, 8)
    image[0, 0, :, :4], image[0, 2, :, 4:], image[1, 2, :, :4], image[1, 0, :, 4:] = 1, 1, 1, 1
    batch = captioned(image)
    objective = DenoisingConfig(label_dropout=0.0, sketching=1.0).build(model)
    optimizer = torch.optim.Adam(model.sketch.parameters(), lr=3e-3)
    for _ in range(150):
        loss = objective.sketched(image, batch, step_of(2))
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    swapped = Batch(batch.image, batch.cond, batch.index, [(p,) for p in reversed(PROMPTS)])
    with torch.no_grad():
        assert loss < 0.2 * objective.sketched(image, swapped, step_of(2))
    model.zero_grad()
    plain = DenoisingConfig(label_dropout=0.0).build(model)
    plain.loss("main", batch, step_of(2))[0].backward()
    assert all(p.grad is None for p in model.sketch.parameters())
    ids = {id(p) for p in model.sketch.parameters()}
    assert not ids & {id(p) for p in plain.phases()[0].parameters()} and ids <= {id(p) for p in objective.phases()[0].parameters()}


def test_a_picture_after_a_plan_is_not_drawn_in_tiles():
    model = built()
    with pytest.raises(ConfigError, match="tile by tile"):
        drawn(model, condition(model), model.default_options().override({"tile": 8, "size": [16, 16]}))
