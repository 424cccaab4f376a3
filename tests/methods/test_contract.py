"""One suite over every kind in the catalog: what a model and its objective must keep, whatever the method is."""

import json
from functools import partial

import pytest
import torch
from torch import nn

from inkwash.core.batch import Condition
from inkwash.core.config import MODELS, OBJECTIVES, lookup
from inkwash.core.errors import ConfigError
from inkwash.core.files import load_model, save_model
from inkwash.core.model import Likelihood, Sampler, Sequence, Translator
from inkwash.inference.draw import draw, image_rng
from inkwash.recipes import RECIPES
from tiny import (
    CLIPS,
    FITTED,
    KINDS,
    contents,
    facts_of,
    make_trainer,
    named_gradients,
    recipe_config,
    run_config,
    stir_,
    write_folder,
    write_npz,
)

SHAPES = [(1, 8, 8), (3, 12, 10), (4, 7, 13), (3, 5, 9)]
DRAW_NOTHING = ("clip", "captioner", "layout", "upscaler", "pixel-upscaler", "translator", "vqvae", "autoencoder", *CLIPS)  # from noise
SAMPLERS = [kind for kind in KINDS if kind not in DRAW_NOTHING]
STIR = 0.05  # moves every weight off its start, zero for the last layer of a block
FEW = {"rbm": {"sweeps": 50}}  # what drawing takes, where it is a thousand times the same


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Without classes."""
    return write_npz(tmp_path_factory.mktemp("data") / "plain.npz", classes=0)


def build(kind, source, **train):
    return make_trainer(run_config(kind, source, **train), STIR)


def labels(model, *values):
    """Labels for a model that takes them."""
    return torch.tensor(values) if "label" in model.accepts else None


def told(model, rows):
    """Texts for a model that draws after a plan: it makes one of a text only."""
    rows = list(rows)
    if getattr(model, "plan", None) is None:
        return None
    return Condition(tokens=model.tokens([f"a picture number {i % 5}" for i in range(64)])[rows])


def images(model, n=3, **options):
    label = torch.arange(n) % max(1, len(model.config.classes)) if model.requires else None
    return draw(model.eval(), range(n), few(model, **options), label, cond=told(model, range(n)))


def few(model, **options):
    return model.Options.parse(FEW.get(model.config.kind, {}) | options)


def two_steps(t):
    """Train for two steps: parameters move and stay finite."""
    before = {k: v.clone() for k, v in t.model.named_parameters()}
    t._batches = t.loader.stream()
    t.step()
    t.step()
    t.check_finite()
    assert any(not torch.equal(before[k], v) for k, v in t.model.named_parameters())


def test_every_kind_has_a_recipe_of_its_name_and_every_objective_is_used(source):
    used = {recipe_config(name, source, facts_of(source)).objective.kind for name in RECIPES}
    assert {run_config(kind, source).model.kind for kind in (*KINDS, *FITTED)} == set(MODELS)
    assert used == set(OBJECTIVES)


@pytest.mark.parametrize("kind", KINDS)
class TestFolder:
    def test_config_goes_to_json_and_back(self, kind, source):
        config = run_config(kind, source)
        for part, catalog in ((config.model, MODELS), (config.objective, OBJECTIVES)):
            again = lookup(part.kind, catalog).parse(json.loads(part.to_json()))
            assert again == part
            assert again.to_json() == part.to_json()

    def test_saved_twice_gives_equal_bytes_and_the_same_model(self, kind, source, tmp_path):
        model = build(kind, source).model
        for name in "abcdefgh":
            save_model(tmp_path / name, model.config, model.state_dict(), "card", {"more.txt": "水墨"})
        first = contents(tmp_path / "a")
        assert set(first) == {"config.json", "model.safetensors", "README.md", "more.txt"}
        for name in "bcdefgh":
            assert contents(tmp_path / name) == first
        loaded = load_model(tmp_path / "a")
        assert loaded.config == model.config and not loaded.training
        assert all(torch.equal(loaded.state_dict()[k], v) for k, v in model.state_dict().items())

    def test_no_batch_statistics_and_no_dropout(self, kind, source):
        t = make_trainer(run_config(kind, source))
        recipe = recipe_config(kind, source, facts_of(source))  # as shipped, not shrunk
        model = recipe.model.build()
        banned = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.InstanceNorm2d)
        for root in (t.model, t.objective, model, recipe.objective.build(model)):
            assert not [name for name, m in root.named_modules() if isinstance(m, banned)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("kind", KINDS)
def test_odd_shapes_train_and_sample(kind, shape, tmp_path):
    source = write_npz(tmp_path / "a.npz", n=8, shape=shape)
    t = make_trainer(run_config(kind, source, {"channels": shape[0]}, batch=4))
    two_steps(t)
    assert kind not in SAMPLERS or t.model.config.shape == shape
    if isinstance(t.model, Sampler):
        x = images(t.model)
        assert x.shape == (3, *shape)
        assert x.isfinite().all() and x.abs().max() <= 1
    if isinstance(t.model, Translator):
        for to in t.model.directions:
            sides = [side // t.model.scale for side in t.model.config.shape[1:]] if kind == "pixel-upscaler" else shape[1:]
            made = t.model.eval().translate(torch.zeros(2, shape[0], *sides), to)
            assert made.shape == (2, shape[0], *(t.model.scale * side for side in sides))
    if isinstance(t.model, Sequence):
        clip = t.loader.batch_at(0).image
        made = t.model.eval().predict(clip, 3, image_rng(range(4)))
        assert made.shape == (4, 3, *shape) and made.isfinite().all() and made.abs().max() <= 1
    if isinstance(t.model, Likelihood):
        if kind == "rbm":  # a good estimate of Z takes seconds; how good it is, its own tests say
            t.model.partition = partial(t.model.partition, betas=100)
        rows = t.loader.batch_at(0)
        nats = t.model.log_prob(rows.image, rows.cond, image_rng(range(len(rows))))
        assert nats.shape == (len(rows),) and nats.isfinite().all() and (nats < 0).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - set(FITTED)))
def test_every_recipe_takes_steps_in_either_precision(recipe, precision, source, tmp_path):
    named = {"cyclegan": {"data.beside": source}, "style": {"objective.painting": f"{write_folder(tmp_path, 1, (20, 16), ())}/00.png"}}
    config = run_config(recipe, source, batch=4, precision=precision).override(named.get(recipe, {}))
    t = make_trainer(config)
    two_steps(t)
    assert all(v.dtype == torch.float32 for v in t.model.parameters())


@pytest.mark.parametrize("kind", SAMPLERS)
class TestConditions:
    def test_refuses_what_it_does_not_take(self, kind, source):
        model = build(kind, source).model
        extra = {"tokens": torch.ones(1, 3, dtype=torch.long), "style": torch.ones(1, 3)}
        for name, value in extra.items():
            if name not in model.accepts:
                with pytest.raises(ConfigError, match=f"does not take {name}"):
                    model.check(Condition(label=labels(model, 0), **{name: value}))

    def test_refuses_a_label_without_classes_and_draws_without_one(self, kind, plain):
        model = build(kind, plain).model
        with pytest.raises(ConfigError, match="does not take label"):
            draw(model, [0], model.Options(), torch.zeros(1, dtype=torch.long))
        assert images(model).shape[0] == 3

    def test_says_what_it_needs(self, kind, source):
        model = build(kind, source).model
        if model.requires:
            with pytest.raises(ConfigError, match="needs label"):
                draw(model, [0], model.Options(), None)

    def test_the_label_matters(self, kind, source):
        model = build(kind, source).model
        if "label" not in model.accepts:
            with pytest.raises(ConfigError, match="does not take label"):
                draw(model, [0], model.Options(), torch.tensor([0]))
            return
        stir_(model, 0.3)
        options = model.Options.parse({"temperature": 5.0} if kind == "codes" else {})  # of few codes one is easily drawn every time
        a, b = (draw(model, range(8), options, torch.full((8,), k)) for k in (0, 1))
        assert (a - b).abs().max() > 1e-3

    def test_an_unknown_option_names_the_nearest(self, kind, source):
        model = build(kind, source).model
        name = sorted(model.Options.model_fields)[0]
        with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
            model.Options.parse({name + "x": 1})

    def test_rows_of_unknown_class_train(self, kind, tmp_path):
        """A table that labels, and describes, some images only: the others carry the null class, and no text."""
        folder = write_folder(tmp_path / "a", 8, classes=())
        rows = [f"{i:02d}.png,{'ab'[i % 2] if i < 5 else ''},{'' if i % 3 else 'words'}" for i in range(8)]
        (tmp_path / "a" / "metadata.csv").write_text("\n".join(["file_name,label,text", *rows]))
        t = make_trainer(run_config(kind, folder, batch=8))
        assert len(t.data.classes) == 2 and (t.data.labels == 2).any()
        t._batches = t.loader.stream()
        t.step()
        t.check_finite()
        assert t.validate(t.data)


@pytest.mark.parametrize("kind", SAMPLERS)
class TestSampling:
    def test_same_seed_alone_and_in_a_batch_of_64(self, kind, source):
        model = build(kind, source).model
        assert torch.equal(image_rng([37]).normal(*model.config.shape)[0], image_rng(range(64)).normal(*model.config.shape)[37])
        label, options = labels(model, *(i % 2 for i in range(64))), few(model)
        many = draw(model, range(64), options, label, cond=told(model, range(64)))
        pieces = draw(model, range(64), options, label, batch=5, cond=told(model, range(64)))
        alone = draw(model, [37], options, None if label is None else label[37:38], cond=told(model, [37]))
        assert (many[37] - many[38]).abs().max() > 1e-3  # not all alike
        torch.testing.assert_close(alone[0], many[37], atol=2e-5, rtol=0)
        torch.testing.assert_close(pieces, many, atol=2e-5, rtol=0)

    def test_the_global_generator_is_left_alone(self, kind, source):
        model = build(kind, source).model
        state = torch.get_rng_state()
        images(model)
        assert torch.equal(torch.get_rng_state(), state)

    def test_sampling_again_gives_the_same_images_and_another_seed_others(self, kind, source):
        model = build(kind, source).model
        assert torch.equal(images(model), images(model))
        assert not torch.equal(*(draw(model, [s], few(model), labels(model, 0)) for s in (0, 1)))

    def test_evaluations_are_what_was_called(self, kind, source):
        t = build(kind, source)
        if kind == "rbm":  # has no network: a sweep is what an evaluation is
            assert t.model.evaluations(t.model.Options(sweeps=7)) == 7
            return
        if kind == "dalle":  # keeps what its layers have computed: all codes cost about as much as one pass
            assert t.model.evaluations(t.model.Options()) == 1
            return
        named = {"text-lstm": "eye", **dict.fromkeys(("diffusion", "latent", "autoregressive", "codes", "planned", "arranged"), "net")}
        root = getattr(t.model, named.get(kind, "decoder"), next(iter(t.model.children())))
        options = {"naive": True} if kind in ("autoregressive", "codes") else {}  # the other way never calls the network as a whole
        calls = []
        for net in [root, *([t.model.plan.net] if kind == "planned" else [])]:
            net.register_forward_hook(lambda m, i, o: calls.append(len(o)))
        images(t.model, n=2, **options)
        assert sum(calls) == 2 * t.model.evaluations(few(t.model, **options))


@pytest.mark.parametrize("kind", KINDS)
class TestGradients:
    def test_four_micro_batches_equal_one_batch(self, kind, source):
        if run_config(kind, source).objective.build(build(kind, source).model).couples:
            with pytest.raises(ConfigError, match="interact"):
                build(kind, source, accumulate=4)
            return
        whole, parts = build(kind, source), build(kind, source, accumulate=4)
        assert all(torch.equal(v, parts.model.state_dict()[k]) for k, v in whole.model.state_dict().items())
        batch = whole.loader.batch_at(16)
        for phase, same in zip(whole.phases, parts.phases):
            a, b = named_gradients(whole, phase, batch), named_gradients(parts, same, batch)
            assert a.keys() == b.keys() and a
            for name in a:
                torch.testing.assert_close(b[name], a[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=f"{phase.name} {name}": f"{n}: {m}")
            assert max(g.abs().max() for g in a.values()) > 1e-4, "a test of zeros"

    def test_a_phase_moves_what_it_trains_and_nothing_else(self, kind, source):
        t = build(kind, source)
        batch = t.loader.batch_at(0)
        for phase in t.phases:
            own = {t.names[p] for p in phase.parameters()}
            before = {name: p.detach().clone() for p, name in t.names.items()}
            t.turn(phase, batch)
            moved = {name for p, name in t.names.items() if not torch.equal(p, before[name])}
            assert moved and moved <= own

    def test_every_parameter_of_the_model_learns(self, kind, source):
        t = build(kind, source)
        seen = set()
        t.clock.step = 2  # of 4: weights that rise from zero have risen
        for phase in t.phases:
            seen |= {n for n, g in named_gradients(t, phase, t.loader.batch_at(0)).items() if g.abs().max() > 0}
        frozen = ("model.autoencoder.", "model.plan.autoencoder.", *(["model.plan."] if kind == "arranged" else []))
        assert {n for n in t.names.values() if n.startswith("model.") and not n.startswith(frozen)} <= seen

    def test_the_penalty_alone_leaves_no_phase_without_gradient(self, kind, source):
        t = build(kind, source)
        for phase in t.phases:
            assert named_gradients(t, phase, t.loader.batch_at(0)), phase.name


@pytest.mark.parametrize("kind", KINDS)
class TestState:
    def test_all_state_of_an_objective_is_in_its_state_dict(self, kind, source):
        """A copy that gets nothing but the two state dictionaries gives the same losses, step after step."""
        a, b = build(kind, source), make_trainer(run_config(kind, source))
        a._batches = a.loader.stream()
        a.step()
        b.model.load_state_dict(a.model.state_dict())
        b.objective.load_state_dict(a.objective.state_dict())
        for t in (a, b):
            t.clock.step, t.clock.images = 5, 40
        for phase in a.phases:
            batch = a.loader.batch_at(40)
            for _ in range(2):
                x, y = (t.objective.loss(phase.name, batch, t.moment(phase.name, batch))[0] for t in (a, b))
                assert torch.equal(x, y)

    def test_named_parts_are_detached_and_validation_moves_nothing(self, kind, source):
        t = build(kind, source)
        batch = t.loader.batch_at(0)
        for phase in t.phases:
            loss, parts = t.objective.loss(phase.name, batch, t.moment(phase.name, batch))
            assert loss.ndim == 0 and loss.requires_grad and loss.dtype == torch.float32
            assert parts and not any(v.requires_grad for v in parts.values())
        before = {k: v.clone() for m in (t.model, t.objective) for k, v in m.state_dict().items()}
        figures, again = t.validate(t.data), t.validate(t.data)
        assert figures == again and figures
        after = {k: v for m in (t.model, t.objective) for k, v in m.state_dict().items()}
        assert all(torch.equal(after[k], v) for k, v in before.items())

    def test_validation_does_not_depend_on_its_batches(self, kind, source):
        if kind == "clip":
            pytest.skip("its loss is a choice among the batch")
        a, b = build(kind, source, batch=4), build(kind, source, batch=20)
        x, y = a.validate(a.data), b.validate(b.data)
        assert x.keys() == y.keys()
        for name in x:
            assert x[name] == pytest.approx(y[name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("labelled", [True, False], ids=["classes", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_overfits_eight_images(kind, labelled, tmp_path):
    """Each phase against the others held still: in a game no loss has to fall while both sides learn."""
    source = write_npz(tmp_path / "a.npz", n=8, test=0, classes=2 if labelled else 0)
    t = make_trainer(run_config(kind, source, steps=1000, lr=1e-2).override({"data.split": "all"}))
    batch = t.loader.batch_at(0)
    for phase in sorted(t.phases, key=lambda p: p.every):  # lazy penalties last: they flatten the critic that the generator learns from
        losses = []
        for turns in (1, 29):
            for _ in range(turns):
                t.turn(phase, batch)
            losses.append(t.gradients(phase, batch).item())
            t.model.zero_grad()
            t.objective.zero_grad()
        assert losses[1] < 0.97 * losses[0], phase.name
    t.check_finite()
