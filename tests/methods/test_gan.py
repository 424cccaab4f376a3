"""What is adversarial training's own: games, penalties, what holds the critic, what it says of itself."""

import pytest
import torch

from inkwash.core.errors import ConfigError
from inkwash.core.files import save_tensors
from inkwash.methods.gan import AdversarialConfig
from inkwash.nn.games import GAMES, slope
from inkwash.training.engine import Engine
from tiny import assert_same_on_both, forks, in_two_processes, make_trainer, named_gradients, run_config, write_npz

HISTORY = ("minimax", "cgan", "dcgan", "wgan", "wgan-gp", "acgan", "sagan")
PENALTIES = {"r1": 2.0, "r2": 3.0, "lipschitz": 4.0}


def trainer(source, recipe="gan", engine=None, train=None, **objective):
    config = run_config(recipe, source, **(train or {}))
    config = config.override({f"objective.{k}": v for k, v in objective.items()})
    return make_trainer(config, 0.05 if recipe == "gan" else 0.0, engine)


@pytest.mark.parametrize("recipe", HISTORY)
def test_history_trains(recipe, source):
    t = trainer(source, recipe)
    before = {k: v.clone() for k, v in t.model.state_dict().items()}
    t._batches = t.loader.stream()
    for _ in range(6):
        t.step()
    t.check_finite()
    assert any(not torch.equal(v, before[k]) for k, v in t.model.state_dict().items())
    assert t.validate(t.data).keys() == {"valid/real_score", "valid/overfit"}


@pytest.mark.parametrize("loss", GAMES)
def test_every_game_makes_the_critic_right_and_then_the_generator(loss, source):
    """The critic alone learns to tell; then the generator alone learns to be taken for real."""
    t = trainer(source, loss=loss, r1=0, train={"lr": 1e-2, "steps": 1000})
    batch, (critic, generator) = t.loader.batch_at(0), t.phases
    for _ in range(40):
        t.turn(critic, batch)
    assert t.objective.loss("critic", batch, t.moment("critic", batch))[1]["accuracy"] == 1
    fooled = lambda: t.objective.loss("generator", batch, t.moment("generator", batch))[0].item()  # noqa: E731
    before = fooled()
    for _ in range(60):
        t.turn(generator, batch)
    assert fooled() < before - 0.05 * abs(before)


@forks
def test_two_processes_give_every_penalty_and_game_the_gradient_of_one(source, tmp_path):
    cases = [{"loss": loss} for loss in GAMES]
    cases += [{"r1": 0, "r2": 0, name: weight} for name, weight in PENALTIES.items()]
    cases += [
        {"r1": 0, "r2": 0, "lipschitz": 4.0, "penalty_rows": 1, "loss": "wasserstein"},
        {"r2": 2.0, "penalty_rows": 2, "penalty_every": 4},
        {"condition": "auxiliary"},
        {"spectral": True},
    ]
    cases += [{"augment": ["colour", "translation", "cutout"]}, {"augment": ["colour"], "adapt": 0.6}]

    def gradients(engine):
        out = {}
        for i, case in enumerate(cases):
            t = trainer(source, engine=engine, **case)
            batch = t.loader.batch_at(16)
            for phase in t.phases:
                out |= {f"{i} {phase.name} {n}": g for n, g in named_gradients(t, phase, batch).items()}
            out[f"{i} strength"] = t.objective.strength.clone()
        return out

    def work():
        engine = Engine("cpu")
        found = gradients(engine)
        save_tensors(tmp_path / f"{engine.rank}.safetensors", found)
        engine.close()

    expected = gradients(Engine("cpu"))
    in_two_processes(work)
    assert_same_on_both(tmp_path, expected)
    for i in range(len(cases)):
        assert max(g.abs().max() for n, g in expected.items() if n.startswith(f"{i} ")) > 1e-3


def test_a_lazy_penalty_weighs_what_the_missed_ones_would_have(source):
    lazy, eager = (trainer(source, r1=2.0, r2=0.5, penalty_rows=1, penalty_every=k) for k in (8, 1))
    batch = lazy.loader.batch_at(0)
    moment = lazy.moment("penalty", batch)
    penalty, parts = lazy.objective.loss("penalty", batch, moment)
    assert penalty.item() == pytest.approx(8 * (1.0 * parts["real_slope"] + 0.25 * parts["drawn_slope"]).item(), rel=1e-5)
    assert [p.name for p in eager.phases] == ["critic", "generator"]
    with_penalty, figures = eager.objective.loss("critic", batch, eager.moment("critic", batch))
    assert {"real_slope", "drawn_slope"} <= figures.keys() and with_penalty > figures["loss"]


def test_rows_are_penalised_by_their_place_in_the_run(source):
    """The same rows, with the same weight, however a batch is cut into micro-batches."""
    t = trainer(source, r1=2.0, r2=0.5, penalty_rows=4)
    batch = t.loader.batch_at(0)
    whole, parts = t.objective._penalty(batch, t.moment("critic", batch))
    two = batch[[0, 4]]
    of_two = slope(lambda images: t.objective.critic(images, two.cond.label)[0], two.image).mean()
    assert parts["real_slope"].item() == pytest.approx(of_two.item(), rel=1e-5)
    cut = [batch[slice(i, i + 2)] for i in range(0, 8, 2)]
    each = [t.objective._penalty(b, t.moment("critic", b))[0] for b in cut]
    assert each[1] == each[3] == 0 and sum(each).item() / 4 == pytest.approx(whole.item(), rel=1e-5)


def test_lipschitz_asks_for_a_slope_of_one_between(source):
    t = trainer(source, r1=0, r2=0, lipschitz=1.0, penalty_every=2)
    batch = t.loader.batch_at(0)
    x = batch.image
    t.objective.critic.forward = lambda images, label: (2 * images.flatten(1)[:, 0], None)  # of slope 2 everywhere
    loss, parts = t.objective.loss("penalty", batch, t.moment("penalty", batch))
    assert parts["slope_off_one"].item() == pytest.approx(1) and loss.item() == pytest.approx(2) and len(x)


def test_clipping_keeps_the_critic_in_its_box(source):
    t = trainer(source, clip=0.02)
    t._batches = t.loader.stream()
    t.step()
    batch = t.loader.batch_at(0)
    t.objective.loss("critic", batch, t.moment("critic", batch))
    assert max(p.abs().max() for p in t.objective.critic.parameters()) <= 0.02


def test_singular_vectors_move_once_a_step_however_many_micro_batches(source):
    whole, parts = trainer(source, spectral=True), trainer(source, spectral=True, train={"accumulate": 4})
    for t in (whole, parts):
        t._batches = t.loader.stream()
        t.step()
        t.step()
    a, b = (t.objective.state_dict() for t in (whole, parts))
    names = [k for k in a if k.endswith(".u")]
    assert names
    for name in names:
        torch.testing.assert_close(a[name], b[name], atol=1e-4, rtol=1e-3)


def test_batch_statistics_couple_rows_and_micro_batches_are_refused(source):
    with pytest.raises(ConfigError, match="accumulate must be 1"):
        trainer(source, "dcgan", train={"accumulate": 2})
    assert not trainer(source).objective.couples and trainer(source, "dcgan").objective.couples


def test_a_pack_is_judged_as_one(tmp_path):
    """Four images in two packs: one score each, which changes with either image and with no other; a row short, the first comes again."""
    t = trainer(write_npz(tmp_path / "plain.npz", classes=0), pack=2)
    assert t.objective.couples and t.loader.batch_at(0).image.shape[0] == 8
    x = torch.randn(4, *t.model.config.shape, requires_grad=True)
    score, _ = t.objective.critic(t.objective.packed(x), None)
    (slope,) = torch.autograd.grad(score[0], x)
    assert score.shape == (2,) and [bool(g.any()) for g in slope] == [True, True, False, False]
    assert torch.equal(t.objective.packed(x[:3])[1], torch.cat([x[2], x[0]]))
    t._batches = t.loader.stream()
    for _ in range(3):
        t.step()
    t.check_finite()
    assert t.validate(t.data)["valid/overfit"] <= 2


def test_a_pack_of_several_has_no_class(source):
    with pytest.raises(ConfigError, match="classes"):
        trainer(source, pack=2)


def test_augmentation_adapts_to_a_critic_that_is_too_sure(source):
    t = trainer(source, augment=["colour"], adapt=0.6, adapt_images=80, r1=0)
    batch = t.loader.batch_at(0)  # 8 rows, so each look moves the strength by a tenth
    for said, expected in ((1.0, 0.1), (1.0, 0.2), (-1.0, 0.1), (-1.0, 0.0), (-1.0, 0.0)):
        t.objective.critic.forward = lambda x, label, said=said: (torch.full((len(x),), said), None)
        t.objective.loss("critic", batch, t.moment("critic", batch))
        assert t.objective.strength.item() == pytest.approx(expected, abs=1e-6)


def test_it_says_in_words_what_goes_wrong(source):
    watch = trainer(source).objective.watch
    healthy = {"critic/accuracy": 0.8, "critic/coverage": 0.8, "valid/overfit": 0.1}
    assert not list(watch(healthy, 0.9)) and not list(watch({}, 0.9))
    for figure, value, words in (
        ("critic/accuracy", 0.99, "winning"),
        ("critic/coverage", 0.1, "modes are missing"),
        ("valid/overfit", 0.95, "by heart"),
    ):
        (sentence,) = watch(healthy | {figure: value}, 0.9)
        assert words in sentence


def test_overfit_goes_from_training_scores_to_those_of_drawings(source):
    t = trainer(source)
    objective = t.objective
    objective.scores.copy_(torch.tensor([3.0, -1.0]))
    batch = t.loader.batch_at(0)
    for said, expected in ((3.0, 0.0), (1.0, 0.5), (-1.0, 1.0)):
        objective.critic.forward = lambda x, label, said=said: (torch.full((len(x),), said), None)
        assert objective.validate(batch, t.moment("validate", batch))["overfit"].item() == pytest.approx(expected)


def test_rows_of_unknown_class_are_not_named(source):
    t = trainer(source, condition="auxiliary")
    names = torch.randn(4, 2)
    assert t.objective._naming(names, torch.full((4,), 2)) == 0
    expected = torch.nn.functional.cross_entropy(names[:2], torch.tensor([0, 1])) / 2
    torch.testing.assert_close(t.objective._naming(names, torch.tensor([0, 1, 2, 2])), expected)


def test_unknown_games_are_refused():
    with pytest.raises(ConfigError, match="loss"):
        AdversarialConfig.parse({"loss": "hinged"})
