"""What is diffusion's own: losses, variances, likelihoods, grids, options."""

import math

import pytest
import torch

from denoisers import MU, NET, SHAPE, V, gaussian, make
from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.model import Density, Inverter, Likelihood
from inkwash.diffusion.grids import karras
from inkwash.diffusion.likelihood import discretised, posterior, prior_kl, step_kl
from inkwash.diffusion.path import PATHS
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.diffusion import CHAIN, LOW, DenoisingConfig, DiffusionOptions, StudentConfig
from inkwash.nn.dit import DiTConfig
from tiny import batch_of, step_of

PREDICTIONS = ("flow", "v", "eps", "x0", "edm")


def images(n=4, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("weighting", ["simple", "min-snr", "edm"])
def test_the_whole_family_has_finite_gradients_and_samples(path, prediction, weighting):
    model = make(path=path, prediction=prediction)
    objective = DenoisingConfig(weighting=weighting).build(model)
    loss, parts = objective.loss("main", batch_of(images(16)), step_of(16))
    loss.backward()
    assert loss.isfinite() and parts["mse"] > 0
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads and all(g.isfinite().all() for g in grads) and max(g.abs().max() for g in grads) > 0
    x = draw(model, range(2), DiffusionOptions(steps=4))
    assert x.shape == (2, *SHAPE) and x.isfinite().all()


@pytest.mark.parametrize("path", PATHS)
def test_weights_are_those_of_the_papers(path):
    """On the error of D: min(SNR, 5) (Hang et al. 2023) and (sigma^2 + data^2) / (sigma data)^2 (Karras et al. 2022)."""
    t = torch.tensor([0.02, 0.3, 0.6, 0.95])
    for prediction in PREDICTIONS:
        model = make(path=path, prediction=prediction)
        a, s = model.levels_of(t)
        moved = torch.tensor(1e-2)
        outs = []
        for d in (torch.tensor(0.0), moved):  # the prediction that means D = d at x = 0.3
            x = torch.full((4, *SHAPE), 0.3)
            out = {"flow": (x - d) / s - (a - 1 + s) / s * d if path == "flow" else (x - (a + s) * d) / s, "x0": d.expand_as(x)}
            out |= {"v": (a * x - (a * a + s * s) * d) / s, "eps": (x - a * d) / s}
            total = a * a * 0.25 + s * s
            out["edm"] = (d - a * 0.25 / total * x) * total**0.5 / (s * 0.5)
            outs.append(out[prediction])
        per_d = ((outs[1] - outs[0]) / moved).square().mean((1, 2, 3))
        sigma = (s / a).flatten()
        for weighting, expected in (("min-snr", (sigma**-2).clamp(max=5)), ("edm", (sigma**2 + 0.25) / (sigma * 0.5) ** 2)):
            w = DenoisingConfig(weighting=weighting).build(model).weight(a, s).flatten()
            torch.testing.assert_close(w * per_d, expected, rtol=2e-3, atol=1e-4)
    edm = make(path=path, prediction="edm")
    w = DenoisingConfig(weighting="edm").build(edm).weight(*edm.levels_of(t))
    torch.testing.assert_close(w.flatten(), torch.ones(4), rtol=1e-4, atol=0)


def test_times_are_drawn_as_said():
    model = make()
    batch, step = batch_of(torch.zeros(4096, 1, 1, 1)), step_of(4096)
    logit = DenoisingConfig(mean=-1.2, std=1.2).build(model).draw_times(batch, step) / model.path.start
    assert logit.logit().mean().item() == pytest.approx(-1.2, abs=0.02) and logit.logit().std().item() == pytest.approx(1.2, abs=0.02)
    flat = DenoisingConfig(times="uniform").build(model).draw_times(batch, step)
    assert flat.mean().item() == pytest.approx(0.5, abs=0.01) and flat.min() > 0 and flat.max() < 1


# ---- learned variance


def test_a_learned_variance_is_trained_by_the_bound_alone():
    model = make(learned_variance=True, path="vp-cosine", prediction="eps")
    x = images(32)
    grads = {}
    for vlb in (0.0, 1.0):
        model.zero_grad()
        loss, parts = DenoisingConfig(vlb=vlb).build(model).loss("main", batch_of(x), step_of(32))
        loss.backward()
        grads[vlb] = model.net.head.weight.grad.clone()
        assert parts["vlb"].isfinite() and parts["vlb"] > 0
    half = len(grads[0.0]) // 2
    assert (grads[0.0][half:] == 0).all() and grads[1.0][half:].abs().max() > 0
    own = model.net.head.weight.grad[:half]
    torch.testing.assert_close(own, grads[0.0][:half])  # the mean is learnt from the simple loss only


def test_the_best_variance_has_the_least_bound():
    """For N(MU, V) the true reverse variance is known; the bound, as a function of what is said, is least there."""
    model = make(learned_variance=True, path="vp-cosine", prediction="x0", shape=(1, 8, 8))
    objective = DenoisingConfig().build(model)
    n = 4096
    x0 = MU + V**0.5 * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.full((n,), 0.4)
    a, s = model.levels_of(t)
    x = a * x0 + s * torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    d = MU + a * V / (a * a * V + s * s) * (x - a * MU)
    (_, a1, s1), (_, a2, s2) = model.path.at(0.4), model.path.at(0.4 - model.path.start / CHAIN)
    weight, small, large = posterior(a1, s1, a2, s2)
    true = small + weight**2 * V * s1 * s1 / (a1 * a1 * V + s1 * s1)
    best = 2 * (math.log(true) - math.log(small)) / (math.log(large) - math.log(small)) - 1
    values = [objective.bound(x0, x, d, torch.full_like(x, share), t).mean().item() for share in (best - 0.5, best, best + 0.5)]
    assert values[1] < values[0] and values[1] < values[2]


def test_ancestral_sampling_uses_the_variance_that_was_said():
    model = make(learned_variance=True, path="vp-cosine", prediction="v")
    options = DiffusionOptions(solver="ddpm", steps=6)
    usual = draw(model, [3], options)
    inner, shift = model.predict, 0.0

    def louder(x, t, label):
        out, share = inner(x, t, label)
        return out, share + shift

    model.predict = louder
    assert torch.equal(draw(model, [3], options), usual)
    shift = 3.0
    assert not torch.equal(draw(model, [3], options), usual)
    with pytest.raises(ConfigError, match="tile by tile"):
        draw(model, [3], DiffusionOptions(solver="ddpm", steps=2, tile=4, overlap=1))


def test_the_variance_under_guidance_is_that_of_the_class():
    model = make(learned_variance=True, path="vp-cosine", prediction="v", classes=("a", "b"))
    options, rows = DiffusionOptions(solver="ddpm", steps=6, guidance=3.0), torch.tensor([1, 0])
    usual, inner, louder = draw(model, [3, 4], options, rows), model.predict, torch.zeros(3)

    def predict(x, t, told):
        out, share = inner(x, t, told)
        return out, share + louder[told.label][:, None, None, None]

    model.predict = predict
    louder[2] = 3.0  # the null class
    assert torch.equal(draw(model, [3, 4], options, rows), usual)
    louder[1] = 3.0
    changed = draw(model, [3, 4], options, rows)
    assert not torch.equal(changed[0], usual[0]) and torch.equal(changed[1], usual[1])


def test_repainting_takes_the_small_variance():
    """RePaint walks DDPM's chain with its small variance, and what the network says of another one is not even asked."""
    mask = torch.zeros(1, 1, *SHAPE[1:])
    mask[..., :4] = 1
    cond, images = Condition(image=torch.zeros(1, *SHAPE), mask=mask), []
    for louder in (0.0, 3.0):
        model = make(learned_variance=True, path="vp-cosine", prediction="v")
        inner = model.predict
        model.predict = lambda x, t, told, inner=inner, louder=louder: (inner(x, t, told)[0], inner(x, t, told)[1] + louder)
        images.append(draw(model, [3], DiffusionOptions(solver="ddpm", steps=6, rounds=2), cond=cond))
    assert torch.equal(*images)


# ---- likelihood


def test_drawn_terms_estimate_the_whole_bound():
    """Summed over every step of the chain, on a model whose denoiser is exact."""
    model = gaussian()
    x = (images(6) * 127.5).round() / 127.5
    drawn = torch.stack([model.log_prob(x, Condition(), image_rng(range(100 * k, 100 * k + 6))) for k in range(40)])
    grid = karras(model.path, CHAIN, LOW, end=False)
    g = torch.Generator().manual_seed(5)
    total = -prior_kl(x, *grid[0][1:])
    for here, there in zip(grid, grid[1:]):
        z = here[1] * x + here[2] * torch.randn(x.shape, generator=g)
        d, _ = model.estimate(z, torch.full((6,), here[0]), None)
        total = total - step_kl(x, d, *(torch.tensor(v) for v in (*here[1:], *there[1:])))
    t, a, s = grid[-1]
    d, _ = model.estimate(a * x + s * torch.randn(x.shape, generator=g), torch.full((6,), t), None)
    total = total + discretised(x, d, torch.full_like(d, math.log(s / a)))
    error = drawn.std(0) / 40**0.5
    assert ((drawn.mean(0) - total).abs() < 5 * error + 0.01 * total.abs()).all(), (drawn.mean(0), total, error)


@pytest.mark.parametrize("path", ["flow", "vp-cosine"])
def test_density_and_bound_agree_with_the_truth(path):
    """256 grey levels of N(MU, V): exact log-probability by the normal's distribution function."""
    model = gaussian(path)
    g = torch.Generator().manual_seed(0)
    x = ((MU + V**0.5 * torch.randn(64, *SHAPE, generator=g)).clamp(-1, 1) * 127.5).round() / 127.5
    normal = torch.distributions.Normal(MU, V**0.5)
    truth = (normal.cdf(x.double() + 1 / 255) - normal.cdf(x.double() - 1 / 255)).log().flatten(1).sum(1).mean().item()
    with torch.no_grad():
        density = model.log_density(x, Condition(), image_rng(range(64)), steps=40).mean().item()
        bound = model.log_prob(x, Condition(), image_rng(range(64))).mean().item()
    dims = math.prod(SHAPE)
    assert density == pytest.approx(truth, abs=0.02 * dims)
    assert truth - 0.4 * dims < bound < truth + 0.02 * dims


# ---- options


def test_a_models_own_grid_is_kept_until_its_weights_change():
    model = make(0.3)
    calls = []
    model.net.register_forward_hook(lambda *a: calls.append(1))
    first = model.grid(DiffusionOptions(grid="own", steps=7))
    looked = len(calls)
    assert looked == 64 and model.grid(DiffusionOptions(grid="own", steps=7)) == first and len(calls) == looked
    assert len(model.grid(DiffusionOptions(grid="own", steps=12))) == 13 and len(calls) == looked
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    model.grid(DiffusionOptions(grid="own", steps=7))
    assert len(calls) == 2 * looked


@pytest.mark.parametrize("solver", ["dpmpp-2m", "heun"])
def test_an_interval_saves_the_branch_that_does_not_matter(solver):
    model = make(classes=("a", "b"))
    rows = []
    model.net.register_forward_hook(lambda m, i, o: rows.append(len(o)))
    counts = {}
    for interval in ((0.0, 1.0), (0.3, 0.7), (0.0, 0.0)):
        rows.clear()
        options = DiffusionOptions(solver=solver, steps=10, guidance=2.0, interval=interval)
        counts[interval] = draw(model, [0, 1], options, torch.tensor([0, 1]))
        assert sum(rows) / 2 == model.evaluations(options)
    plain = draw(model, [0, 1], DiffusionOptions(solver=solver, steps=10), torch.tensor([0, 1]))
    torch.testing.assert_close(counts[0.0, 0.0], plain)
    assert not torch.allclose(counts[0.0, 1.0], counts[0.3, 0.7])


def test_strength_cuts_the_grid_and_defaults_come_from_the_configuration():
    model = make(options=DiffusionOptions(steps=5, solver="heun"))
    assert model.default_options().steps == 5
    grid = model.grid(DiffusionOptions(steps=10, strength=0.45))
    assert grid[0][0] == pytest.approx(0.45 * model.path.start) and len(grid) == 6 and grid[-1][0] == 0


@pytest.mark.parametrize("grid", ["uniform", "karras", "shifted"])
def test_no_strength_begins_with_a_sliver_of_a_step(grid):
    """A multistep solver would extrapolate from it by tens of times: 0.43 of 14 steps begins 0.0015 above a point of the grid."""
    model = make()
    for steps in (1, 2, 14, 50):
        for strength in (0.001, *(i / 100 for i in range(1, 100)), 0.999):
            times = [t for t, _, _ in model.grid(DiffusionOptions(steps=steps, grid=grid, strength=strength))]
            assert times[0] == strength * model.path.start and times[-1] == 0
            gaps = [a - b for a, b in zip(times, times[1:])]
            assert min(gaps) > 0 and (len(gaps) == 1 or gaps[0] > 0.4 * gaps[1])


def test_other_sizes_and_tiles():
    model = make()
    assert draw(model, [0], DiffusionOptions(steps=2, size=(5, 11))).shape == (1, 2, 5, 11)
    sizes = set()
    model.net.register_forward_hook(lambda m, i, o: sizes.add(tuple(o.shape[-2:])))
    assert draw(model, [0], DiffusionOptions(steps=2, size=(20, 30), tile=8, overlap=3)).shape == (1, 2, 20, 30)
    assert sizes == {(8, 8)}


def test_a_transformer_serves_as_well():
    model = make(net=DiTConfig(width=16, blocks=1), classes=("a",))
    assert draw(model, [0, 1], DiffusionOptions(steps=3), torch.tensor([0, 1])).shape == (2, *SHAPE)


def test_every_solver_has_its_usual_share_of_fresh_noise():
    model = gaussian()
    image = lambda **o: draw(model, [0], DiffusionOptions(steps=8, **o))  # noqa: E731
    assert torch.equal(image(solver="ddim"), image(solver="ddim", eta=0.0)) and torch.equal(image(), image(eta=0.9))
    assert not torch.equal(image(), image(eta=0.0))
    assert torch.equal(image(eta=1.0, overshoot=1.0), image(solver="dpmpp-2m-sde"))


@pytest.mark.parametrize("name, options", [
    ("eta", {"eta": 0.5, "solver": "ddpm"}),
    ("churn", {"churn": 1.0}),
    ("guidance", {"guidance": 2.0}),
    ("strength", {"strength": 0.5}),
    ("rounds", {"rounds": 2}),
    ("size", {"size": (8, 8)}),
    ("overshoot", {"overshoot": 1.0, "solver": "unipc"}),
    ("order", {"order": 3}),
    ("overlap", {"overlap": 4}),
    ("interval", {"interval": (0.2, 0.6)}),
    ("shift", {"shift": 3.0}),
    ("rho", {"rho": 5.0, "grid": "shifted"}),
    ("grid", {"grid": "karras", "solver": "diffusers:DDIM"}),
])  # fmt: skip
def test_an_option_that_cannot_act_is_refused(name, options):
    cond = Condition(image=torch.zeros(1, *SHAPE)) if name == "size" else None
    with pytest.raises(ConfigError, match=name):
        draw(gaussian(), range(1), DiffusionOptions(**options), cond=cond)


def test_only_what_was_asked_for_is_refused():
    """A model's own defaults may name what does not act everywhere: guidance, where no class is asked for."""
    model = make(classes=("a",), options=DiffusionOptions(guidance=3.0, interval=(0.2, 0.6), eta=0.5, steps=2))
    assert draw(model, [0], model.default_options()).shape == (1, *SHAPE)
    assert model.default_options().override({"steps": 3}).model_fields_set == {"steps"}
    with pytest.raises(ConfigError, match="no class is asked for"):
        draw(model, [0], model.default_options().override({"guidance": 3.0}))


def test_the_grids_and_unipc_take_their_numbers():
    model = gaussian()
    image = lambda **o: draw(model, [0], DiffusionOptions(steps=6, **o))  # noqa: E731
    for usual, other in (({"grid": "shifted"}, {"shift": 4.0}), ({"grid": "karras"}, {"rho": 3.0}), ({"solver": "unipc"}, {"order": 3})):
        said = {"shift": {"shift": 2.0}, "rho": {"rho": 7.0}, "order": {"order": 2}}[next(iter(other))]
        assert torch.equal(image(**usual), image(**usual, **said)) and not torch.equal(image(**usual), image(**usual, **other))


def test_a_student_has_one_solver_and_neither_likelihood_nor_a_way_back():
    student = StudentConfig(shape=SHAPE, net=NET).build()
    assert draw(student, [0], student.default_options()).shape == (1, *SHAPE)
    assert not isinstance(student, (Likelihood, Density, Inverter))
    with pytest.raises(ConfigError, match="consistency"):
        student.default_options().override({"solver": "heun"})
    with pytest.raises(ConfigError, match="grid"):  # it would be chosen by errors that a student's guesses do not have
        student.default_options().override({"grid": "own"})
    learned = [t for t, _, _ in student.grid(student.default_options())]
    for strength, first in ((0.9, 0), (0.8, 1), (0.6, 2), (0.1, 3)):
        assert [t for t, _, _ in student.grid(student.default_options().override({"strength": strength}))] == learned[first:]
