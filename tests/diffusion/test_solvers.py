"""Solvers against the one distribution whose denoiser is known: a Gaussian N(mu, diag(v)).

On x = a x0 + s noise the posterior mean is D(x) = mu + a v / (a^2 v + s^2) (x - a mu), so a solver maps a Gaussian to a Gaussian, and the
exact flow multiplies (x - a mu) by the ratio of the marginal standard deviations.
"""

import math

import pytest
import torch

from inkwash.diffusion.grids import uniform
from inkwash.diffusion.guidance import clamped, guided
from inkwash.diffusion.path import PATHS
from inkwash.diffusion.solvers import SOLVERS, ancestral, ddim, dpmpp_2m, heun, renoise, unipc

MU = torch.tensor([0.7, -0.3, 0.0], dtype=torch.float64)
V = torch.tensor([0.04, 0.5, 2.0], dtype=torch.float64)
DETERMINISTIC = {"ddim": (ddim, 1), "heun": (heun, 2), "dpmpp-2m": (dpmpp_2m, 2), "unipc": (unipc, 2)}
PATH_NAMES = sorted(PATHS)


def denoiser(path):
    def denoise(x, t):
        _, a, s = path.at(t)
        return MU + a * V / (a * a * V + s * s) * (x - a * MU)

    return denoise


def spread(point):
    """Standard deviations of the marginal at a grid point."""
    _, a, s = point
    return (a * a * V + s * s).sqrt()


def carried(solver, path, grid, **more):
    """Mean and standard deviation at the end of the grid, of the exact marginal at its start. Deterministic solvers are affine."""
    start = grid[0]
    mean, std = start[1] * MU, spread(start)
    ends = [solver(denoiser(path), x, grid, **more) for x in (mean, mean + std)]
    return ends[0], (ends[1] - ends[0]).abs()


@pytest.mark.parametrize("name", PATH_NAMES)
@pytest.mark.parametrize("kind", DETERMINISTIC)
def test_reaches_mean_and_variance(kind, name):
    path = PATHS[name]
    grid = uniform(path, 1600 if DETERMINISTIC[kind][1] == 1 else 400)
    assert grid[-1] == (0.0, 1.0, 0.0)
    mean, std = carried(DETERMINISTIC[kind][0], path, grid)
    torch.testing.assert_close(mean, MU, atol=2e-3, rtol=0)
    torch.testing.assert_close(std, V.sqrt(), atol=0, rtol=1e-2)


@pytest.mark.parametrize("name", PATH_NAMES)
@pytest.mark.parametrize("kind", DETERMINISTIC)
def test_observed_order(kind, name):
    """Halving the step divides the error by 2^order, between path times 0.95 and 0.05."""
    solver, order = DETERMINISTIC[kind]
    path, errors = PATHS[name], []
    for steps in (64, 128, 256):
        grid = uniform(path, steps, 0.95, 0.05)
        mean, std = carried(solver, path, grid)
        exact = spread(grid[-1])
        errors.append(((std - exact).square() + (mean - grid[-1][1] * MU).square()).sum().sqrt().item())
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:])]
    assert errors[-1] > 1e-13, "nothing to measure"
    assert orders[-1] == pytest.approx(order, abs=0.15), (errors, orders)


class Moments:
    """Carries mean and covariance of independent coordinates through solver steps: x is a (1 + K, D) bundle of the mean and K columns.

    Every operation of a solver is affine in x and in fresh noise, so the bundle is enough: noise() adds columns.
    """

    def __init__(self, path):
        self.path = path

    def run(self, solver, grid, **more):
        rows = 1 + 1 + len(grid)  # the mean, the start's noise, one for each step's noise
        x = torch.zeros(rows, len(MU), dtype=torch.float64)
        x[0], x[1] = grid[0][1] * MU, spread(grid[0])
        drawn = [1]

        def noise():
            drawn[0] += 1
            z = torch.zeros_like(x)
            z[drawn[0]] = 1.0
            return z

        def denoise(x, t):  # the affine map on the mean, its linear part on the columns
            _, a, s = self.path.at(t)
            gain = a * V / (a * a * V + s * s)
            d = gain * x
            d[0] = MU + gain * (x[0] - a * MU)
            return d

        out = solver(denoise, x, grid, noise, **more)
        return out[0], out[1:].square().sum(0).sqrt(), drawn[0] - 1


@pytest.mark.parametrize("name", PATH_NAMES)
def test_ancestral_reaches_mean_and_variance(name):
    path = PATHS[name]
    errors = []
    for steps in (200, 400, 800):
        mean, std, draws = Moments(path).run(ancestral, uniform(path, steps))
        torch.testing.assert_close(mean, MU, atol=2e-3, rtol=0)
        errors.append((std / V.sqrt() - 1).abs().max().item())
        assert draws == steps - 1, "no noise into s = 0"
    assert errors[-1] < 0.03
    assert 1.5 < errors[0] / errors[1] < 2.6 and 1.5 < errors[1] / errors[2] < 2.6, "first order in the variance"


@pytest.mark.parametrize("name", PATH_NAMES)
def test_a_guess_gets_all_its_noise_afresh(name):
    """After a guess D of the image, x at the next point is a' D + s' z: its spread is that of both, and the old noise is gone."""
    grid = uniform(PATHS[name], 3)[:3]  # two steps, the last one to a point with noise
    mean, std, draws = Moments(PATHS[name]).run(SOLVERS["consistency"], grid)
    before = spread(grid[0])
    for (_, a, s), (_, a2, s2) in zip(grid, grid[1:]):
        before = (a2**2 * (a * V / (a * a * V + s * s) * before) ** 2 + s2**2).sqrt()
    torch.testing.assert_close(std, before)
    torch.testing.assert_close(mean, grid[2][1] * MU)
    assert draws == 2


@pytest.mark.parametrize("name", PATH_NAMES)
@pytest.mark.parametrize("kind", ["dpmpp-2m-sde", "heun"])
def test_stochastic_second_order_solvers_reach_the_variance(kind, name):
    """Mean and variance are carried in closed form; the error falls faster than a first-order solver's."""
    path, errors = PATHS[name], []
    more = {"churn": 20.0, "path": path} if kind == "heun" else {}
    for steps in (100, 200, 400):
        mean, std, draws = Moments(path).run(SOLVERS[kind], uniform(path, steps), **more)
        torch.testing.assert_close(mean, MU, atol=2e-3, rtol=0)
        errors.append((std / V.sqrt() - 1).abs().max().item())
        assert draws == steps - 1
    assert errors[-1] < 6e-3
    assert errors[0] / errors[-1] > 2.3, errors
    _, first, _ = Moments(path).run(ancestral, uniform(path, 400))
    assert errors[-1] < 0.5 * (first / V.sqrt() - 1).abs().max().item()


def test_heun_goes_astray_where_sigma_has_no_bound():
    """From s / a = 1000 a first step in s / a overshoots; in s / (a + s) it does not."""
    path = PATHS["flow"]
    x = 3 * torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = uniform(path, 10)
    wide, safe = (heun(denoiser(path), x, grid, bounded=b) for b in (False, True))
    exact = MU + V.sqrt() / spread(grid[0]) * (x - grid[0][1] * MU)
    assert (safe - exact).abs().max() < 0.5
    assert (wide - exact).abs().max() > 5 * (safe - exact).abs().max()
    both = [heun(denoiser(path), x, uniform(path, 400, 0.9, 0.05), bounded=b) for b in (False, True)]
    torch.testing.assert_close(*both, atol=1e-3, rtol=0)


def test_churn_needs_no_noise_at_the_start_and_none_without_churn():
    path, d = PATHS["flow"], denoiser(PATHS["flow"])
    x = torch.randn(4, 3, dtype=torch.float64)
    grid = uniform(path, 6)
    assert torch.equal(heun(d, x, grid), heun(d, x, grid, churn=0.0, path=path))
    asked = []

    def watched(x, t):
        asked.append(t)
        return d(x, t)

    heun(watched, x, grid, lambda: torch.zeros_like(x), churn=3.0, path=path)
    assert asked[0] == path.start and asked[2] > grid[1][0], "the noise that was added is taken off again"


@pytest.mark.parametrize("name", PATH_NAMES)
def test_renoising_keeps_the_marginal(name):
    """x at t1, made noisier, is distributed as x at t2."""
    path = PATHS[name]
    here, there = path.at(0.2), path.at(0.7)
    for signal, noise_level in ((1.0, 0.0), (0.0, 1.0)):  # columns: x0, the noise that is there
        x = torch.tensor([here[1] * signal + here[2] * noise_level], dtype=torch.float64)
        kept = renoise(x, here, there, torch.zeros_like(x)).item()
        fresh = renoise(x, here, there, torch.ones_like(x)).item() - kept
        if signal:
            assert kept == pytest.approx(there[1], abs=1e-12)
        else:
            assert kept**2 + fresh**2 == pytest.approx(there[2] ** 2, abs=1e-12)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_any_eta_keeps_the_marginals(name):
    path = PATHS[name]
    for solver, steps in ((ddim, 600), (dpmpp_2m, 300)):
        for eta in (0.0, 0.3, 0.7, 0.9, 1.0):
            mean, std, _ = Moments(path).run(solver, uniform(path, steps), eta=eta)
            torch.testing.assert_close(mean, MU, atol=2e-3, rtol=0)
            torch.testing.assert_close(std, V.sqrt(), atol=0, rtol=0.04 if solver is ddim else 0.015)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_one_exact_step_keeps_any_marginal(name):
    """With D = x0 itself, a step of any eta gives exactly a' x0 + s' noise: mean a' x0, variance s'^2."""
    path = PATHS[name]
    here, there = path.at(0.6), path.at(0.35)
    for eta in (0.0, 0.4, 1.0):
        x0 = torch.tensor([0.8], dtype=torch.float64)
        bundle = torch.stack([here[1] * x0, here[2] * torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
        known = torch.stack([x0, 0 * x0, 0 * x0])
        z = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
        out = ddim(lambda x, t, k=known: k, bundle, [here, there], lambda z=z: z, eta=eta)
        assert out[0].item() == pytest.approx(there[1] * 0.8, abs=1e-12)
        assert out[1:].norm().item() == pytest.approx(there[2], abs=1e-12)
        assert (out[2] != 0).item() == (eta > 0)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_ddim_with_eta_one_is_ancestral_and_its_step_is_the_posterior(name):
    path, d = PATHS[name], denoiser(PATHS[name])
    x = torch.randn(5, 3, dtype=torch.float64)

    def stream():
        g = torch.Generator().manual_seed(1)
        return lambda: torch.randn(5, 3, generator=g, dtype=torch.float64)

    grid = uniform(path, 17)
    assert torch.equal(ddim(d, x, grid, stream(), eta=1.0), ancestral(d, x, grid, stream()))
    # the exact posterior q(x_s | x_t, x0) of a Gaussian chain, from its definition
    here, there = path.at(0.7), path.at(0.4)
    ratio = here[1] / there[1]
    forward = here[2] ** 2 - ratio**2 * there[2] ** 2  # variance of x_t given x_s
    variance = 1 / (1 / there[2] ** 2 + ratio**2 / forward)
    x0 = d(x, 0.7)
    mean = variance * (there[1] * x0 / there[2] ** 2 + ratio * x / forward)
    out = ancestral(d, x, [here, there], lambda: torch.zeros_like(x))
    torch.testing.assert_close(out, mean, atol=1e-10, rtol=0)
    noisy = ancestral(d, x, [here, there], lambda: torch.ones_like(x))
    torch.testing.assert_close(noisy - out, torch.full_like(x, math.sqrt(variance)), atol=1e-10, rtol=0)


def test_ancestral_takes_a_variance_of_its_own():
    path, asked = PATHS["vp-cosine"], []
    d, x, grid = denoiser(path), torch.randn(4, 3, dtype=torch.float64), uniform(path, 3)

    def std(x, t, s):
        asked.append((t, s))
        return torch.full_like(x, 0.5)

    quiet = ancestral(d, x, grid[:2], lambda: torch.zeros_like(x))
    loud = ancestral(d, x, grid[:2], lambda: torch.ones_like(x), std=std)
    torch.testing.assert_close(loud - quiet, torch.full_like(x, 0.5))
    assert asked == [(grid[0][0], grid[1][0])]
    last = ancestral(d, x, grid[-2:], lambda: torch.ones_like(x), std=std)
    torch.testing.assert_close(last, d(x, grid[-2][0]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_a_grid_of_any_number_of_steps_ends_at_a_clean_image(name):
    """t = 0 exactly: a rounding error there made log-SNRs of -1e-16."""
    path = PATHS[name]
    for steps in [*range(1, 130), 250, 1000]:
        grid = uniform(path, steps)
        assert len(grid) == steps + 1 and grid[0][0] == path.start and grid[-1] == (0.0, 1.0, 0.0)
        assert all(a[0] > b[0] for a, b in zip(grid, grid[1:]))


@pytest.mark.parametrize("name", PATH_NAMES)
@pytest.mark.parametrize("kind", SOLVERS)
def test_any_number_of_steps_ends_at_a_clean_image(kind, name):
    path = PATHS[name]
    for steps in (1, 2, 11, 19, 25, 50):
        calls, ticks = [], []

        def denoise(x, t, calls=calls):
            calls.append(t)
            return denoiser(path)(x, t)

        grid = uniform(path, steps)
        x = torch.randn(4, 3, dtype=torch.float64)
        done = lambda i, n, ticks=ticks: ticks.append((i, n))  # noqa: E731
        out = SOLVERS[kind](denoise, x, grid, lambda: torch.zeros(4, 3, dtype=torch.float64), on_step=done)
        assert out.isfinite().all()
        assert len(calls) == (2 * steps - 1 if kind == "heun" else steps)
        assert ticks == [(i + 1, steps) for i in range(steps)]
        assert out.abs().max() < 8


def test_ddim_on_the_flow_path_is_eulers_method():
    path = PATHS["flow"]
    d, x = denoiser(path), torch.randn(4, 3, dtype=torch.float64)
    grid = uniform(path, 20, 0.9, 0.1)
    y = x.clone()
    for (t, _, _), (t2, _, _) in zip(grid, grid[1:]):
        y = y + (t2 - t) * (y - d(y, t)) / t  # the velocity noise - x0
    torch.testing.assert_close(ddim(d, x, grid), y, atol=1e-12, rtol=0)


def test_multistep_uses_what_it_has_seen():
    """Second order beats first at equal evaluations; on its first step and into s = 0 it is DDIM."""
    path = PATHS["vp-cosine"]
    d, x = denoiser(path), torch.randn(4, 3, dtype=torch.float64)
    inside = uniform(path, 20, 0.9, 0.1)
    fine = ddim(d, x, uniform(path, 20000, 0.9, 0.1))
    second, first = ((solver(d, x, inside) - fine).abs().max() for solver in (dpmpp_2m, ddim))
    assert second < 0.2 * first
    one = uniform(path, 1, 0.8, 0.5)
    assert torch.equal(dpmpp_2m(d, x, one), ddim(d, x, one))
    grid = uniform(path, 20)
    torch.testing.assert_close(dpmpp_2m(d, x, grid[-2:]), d(x, grid[-2][0]), atol=1e-12, rtol=0)
    last = dpmpp_2m(d, x, grid[:-1])
    torch.testing.assert_close(dpmpp_2m(d, x, grid), d(last, grid[-2][0]), atol=1e-12, rtol=0)


# ---- from denoiser to denoiser


def test_guidance():
    rows = []

    def both(x, t):
        rows.append(len(x))
        n = len(x) // 2
        return torch.cat([2 * x[:n], 3 * x[n:]])

    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.allclose(guided(both, 1.0)(x, 0.5), 2 * x, atol=1e-15), "scale 1 is the condition"
    assert torch.equal(guided(both, 0.0)(x, 0.5), 3 * x), "scale 0 is no condition"
    torch.testing.assert_close(guided(both, 3.0)(x, 0.5), 3 * x + 3 * (2 * x - 3 * x))
    assert rows == [8, 8, 8]


def test_clamping():
    x = torch.tensor([-3.0, -0.5, 0.5, 3.0])
    assert clamped(lambda x, t: x)(x, 0.1).tolist() == [-1.0, -0.5, 0.5, 1.0]
    assert clamped(lambda x, t: x, 0.0, 2.0)(x, 0.1).tolist() == [0.0, 0.0, 0.5, 2.0]


def test_overshoot_multiplies_the_extrapolation_alone():
    path = PATHS["flow"]
    grid, x = uniform(path, 3)[:-1], torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)  # one step of first order, one of second
    none, plain, more = (dpmpp_2m(denoiser(path), x, grid, overshoot=c) for c in (0.0, 1.0, 1.4))
    torch.testing.assert_close(none, ddim(denoiser(path), x, grid))
    assert (plain - none).abs().min() > 1e-3
    torch.testing.assert_close(more - none, 1.4 * (plain - none))
