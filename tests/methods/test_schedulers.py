"""Schedulers of diffusers on our models, and what they share with our own solvers: the count of evaluations, refusals."""

import pytest
import torch

from denoisers import MU, SHAPE, V, gaussian, make
from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.diffusion.schedulers import ON_FLOW, ON_VP
from inkwash.inference.draw import draw
from inkwash.methods.diffusion import DiffusionOptions

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning", "ignore:__array_wrap__:DeprecationWarning")


@pytest.mark.parametrize(
    "path, name, ours",
    [
        ("flow", "FlowMatchEulerDiscrete", "euler"),
        ("vp-cosine", "DDIM", "ddim"),
        ("vp-linear", "DPMSolverMultistep", "unipc"),
        ("vp-linear", "UniPCMultistepScheduler", "unipc"),
        ("vp-linear", "EulerDiscrete", "euler"),
        ("vp-cosine", "HeunDiscrete", "heun"),
        ("vp-linear", "DEISMultistep", "unipc"),
        ("vp-linear", "LMSDiscrete", "unipc"),
    ],
)
def test_schedulers_of_diffusers_come_to_the_same_image(path, name, ours):
    pytest.importorskip("diffusers")
    model, ticks = gaussian(path), []
    theirs = draw(model, range(4), DiffusionOptions(solver=f"diffusers:{name}", steps=50), on_step=lambda i, n: ticks.append(i / n))
    fine = draw(model, range(4), DiffusionOptions(solver=ours, steps=200))
    assert (theirs - fine).abs().mean() < 0.02, "they end with a little noise on their tables"
    assert ticks[-1] == 1


@pytest.mark.parametrize("path", ["vp-linear", "vp-cosine"])
@pytest.mark.parametrize(
    "name, steps", [("DDIM", 1), ("DDIM", 2), ("DDIM", 10), ("EulerDiscrete", 1), ("EulerDiscrete", 10), ("DPMSolverMultistep", 1)]
)
def test_a_scheduler_of_diffusers_steps_where_ours_does(path, name, steps):
    """Their times are ours, so a first-order one makes the same image, and in one step any of them returns the guess."""
    pytest.importorskip("diffusers")
    theirs, ours = (draw(gaussian(path), range(4), DiffusionOptions(solver=s, steps=steps)) for s in (f"diffusers:{name}", "ddim"))
    torch.testing.assert_close(theirs, ours, atol=3e-3, rtol=0)


@pytest.mark.parametrize("path, name", [("flow", n) for n in ON_FLOW] + [("vp-cosine", n) for n in ON_VP])
def test_every_scheduler_that_is_offered_runs(path, name):
    pytest.importorskip("diffusers")
    images = draw(gaussian(path), range(2), DiffusionOptions(solver=f"diffusers:{name}", steps=12))
    assert images.isfinite().all() and images.std() > 0
    cond = Condition(image=torch.zeros(1, *SHAPE))
    for options, words in (({"steps": 1001}, "up to 1000 steps"), ({"strength": 0.5}, "starts from noise alone")):
        with pytest.raises(ConfigError, match=words):
            draw(gaussian(path), range(1), DiffusionOptions(solver=f"diffusers:{name}", **options), cond=cond)


@pytest.mark.parametrize("solver", ["ddim", "heun", "unipc", "diffusers:HeunDiscrete", "diffusers:DDIM"])
def test_evaluations_are_counted_as_they_happen(solver):
    pytest.importorskip("diffusers")
    model, rows = make(path="vp-cosine", prediction="v", classes=("a",)), []
    model.net.register_forward_hook(lambda m, i, o: rows.append(len(o)))
    for more in ({}, {"guidance": 2.0}, {"guidance": 2.0, "interval": (0.25, 0.65)}):
        rows.clear()
        options = DiffusionOptions(solver=solver, steps=9, **more)
        draw(model, [0], options, torch.tensor([0]))
        assert sum(rows) == model.evaluations(options)


def test_what_cannot_be_done_is_refused_before_anything_is_drawn():
    model = make()
    many = {"solver": "diffusers:FlowMatchEulerDiscrete", "steps": 1001}
    for options in ({"grid": "own", "steps": 65}, {"solver": "diffusers:Nobody"}, many):
        if "solver" in options:
            pytest.importorskip("diffusers")
        with pytest.raises(ConfigError):
            model.refuse(DiffusionOptions(**options), Condition())


def test_random_schedulers_keep_to_their_rows():
    pytest.importorskip("diffusers")
    model = gaussian("vp-linear")
    options = DiffusionOptions(solver="diffusers:DDPM", steps=60)
    many = draw(model, range(300), options)
    torch.testing.assert_close(draw(model, [7], options)[0], many[7], atol=1e-5, rtol=0)
    assert many.mean().item() == pytest.approx(MU, abs=0.02) and many.std().item() == pytest.approx(V**0.5, rel=0.2)


def test_unknown_solvers_are_one_sentence():
    pytest.importorskip("diffusers")
    model = gaussian("flow")
    for solver, words in (("diffusers:DDIM", "not known for the flow path"), ("diffusers:Eulr", "does not exist")):
        with pytest.raises(ConfigError, match=words):
            draw(model, [0], DiffusionOptions(solver=solver))
    with pytest.raises(ConfigError, match="a solver is one of"):
        DiffusionOptions.parse({"solver": "dpm"})
    with pytest.raises(ConfigError, match="diffusers has none"):
        draw(gaussian("edm"), [0], DiffusionOptions(solver="diffusers:DDIM"))
