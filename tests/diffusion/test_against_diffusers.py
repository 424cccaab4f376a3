"""Our solvers beside diffusers' schedulers, on the scheduler's own tables: 20 steps in double precision from the same noise.

Both sides ask the same exact denoiser of a Gaussian; where a step is random, both get the same noise.
"""

import math

import pytest
import torch

from inkwash.diffusion.solvers import ancestral, ddim, dpmpp_2m, dpmpp_2m_sde, heun, unipc

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MU = torch.tensor([0.7, -0.3, 0.0, 0.2], dtype=torch.float64)
V = torch.tensor([0.04, 0.5, 2.0, 0.1], dtype=torch.float64)
STEPS, TOLERANCE = 20, 1e-5


def best(x, a, s):
    """E[x0 | x = a x0 + s noise]."""
    return MU + a * V / (a * a * V + s * s) * (x - a * MU)


def stream(seed=1):
    g = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(6, 4, generator=g, dtype=torch.float64)


def make(name, **settings):
    scheduler = getattr(diffusers, name)(**settings)
    for table in ("betas", "alphas", "alphas_cumprod", "sigmas", "one", "timesteps"):  # their tables are made in fp32
        if isinstance(t := getattr(scheduler, table, None), torch.Tensor) and t.is_floating_point():
            setattr(scheduler, table, t.double())
    if "num_train_timesteps" in scheduler.config and hasattr(scheduler, "betas"):
        low, high, n = scheduler.config.beta_start, scheduler.config.beta_end, scheduler.config.num_train_timesteps
        scheduler.betas = torch.linspace(low**0.5, high**0.5, n, dtype=torch.float64) ** 2
        scheduler.alphas = 1 - scheduler.betas
        scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
        scheduler.alpha_t, scheduler.sigma_t = scheduler.alphas_cumprod.sqrt(), (1 - scheduler.alphas_cumprod).sqrt()
        scheduler.lambda_t = scheduler.alpha_t.log() - scheduler.sigma_t.log()
    return scheduler


VP = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "sample"}


def vp_grid(scheduler, times, last=1.0):
    """Grid points of a table of cumulative alphas at these timesteps; `last` is the one that sampling ends in."""
    bars = [scheduler.alphas_cumprod[int(t)].item() for t in times] + [last]
    return [(i, math.sqrt(b), math.sqrt(1 - b)) for i, b in enumerate(bars)]


def ours(solver, grid, x, **more):
    return solver(lambda y, i: best(y, *grid[int(i)][1:]), x, grid, **more)


def same(a, b):
    assert a.dtype == torch.float64
    torch.testing.assert_close(a, b.double(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim(eta):
    scheduler = make("DDIMScheduler", **VP, clip_sample=False)
    scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(STEPS)
    grid, x, z = vp_grid(scheduler, scheduler.timesteps), stream(0)(), stream()
    y = x.clone()
    for i, t in enumerate(scheduler.timesteps):
        drawn = z() if eta and i < STEPS - 1 else torch.zeros_like(y)
        y = scheduler.step(best(y, *grid[i][1:]), t, y, eta=eta, variance_noise=drawn if eta else None).prev_sample
    same(ours(ddim, grid, x, noise=stream(), eta=eta), y)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned_range"])
def test_ddpm(variance, monkeypatch):
    scheduler = make("DDPMScheduler", **VP, variance_type=variance, clip_sample=False)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(STEPS)
    grid, x, z = vp_grid(scheduler, scheduler.timesteps), stream(0)(), stream()
    share = lambda y: torch.tanh(y)  # what a network may say of the variance, from -1 (small) to 1 (large)  # noqa: E731
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: z()[..., None, None])
    y = x.clone()
    for i, t in enumerate(scheduler.timesteps):
        out = best(y, *grid[i][1:])
        out = torch.cat([out, share(y)], 1) if variance == "learned_range" else out
        # the step splits its output by channels: rows of four numbers are images of four channels
        y = scheduler.step(out[..., None, None], t, y[..., None, None]).prev_sample[..., 0, 0]

    def large(i):
        a, a2 = grid[i][1], grid[i + 1][1]
        return 1 - (a / a2) ** 2  # beta of the respaced chain

    def std(x, i, _):
        s, s2 = grid[int(i)][2], grid[int(i) + 1][2]
        most = large(int(i))
        small = most * s2**2 / s**2
        if variance == "fixed_large":
            return torch.full_like(x, math.sqrt(most))
        f = (share(x) + 1) / 2
        return (0.5 * (f * math.log(most) + (1 - f) * math.log(small))).exp()

    noise = stream()
    # theirs draws for every step but the last; so does ours
    same(ours(ancestral, grid, x, noise=noise, std=None if variance == "fixed_small" else std), y)


@pytest.mark.parametrize("kind", ["dpmsolver++", "sde-dpmsolver++"])
def test_dpm_solver(kind):
    settings = {"algorithm_type": kind, "solver_order": 2, "final_sigmas_type": "zero", "timestep_spacing": "linspace"}
    scheduler = make("DPMSolverMultistepScheduler", **VP, **settings)
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = sigmas_of(scheduler)
    grid, x, z = vp_grid(scheduler, scheduler.timesteps), stream(0)(), stream()
    y = x.clone()
    for i, t in enumerate(scheduler.timesteps):
        drawn = z() if kind.startswith("sde") and i < STEPS - 1 else torch.zeros_like(y)
        y = scheduler.step(best(y, *grid[i][1:]), t, y, variance_noise=drawn).prev_sample
    solver = dpmpp_2m_sde if kind.startswith("sde") else dpmpp_2m
    same(ours(solver, grid, x, noise=stream()), y)


def sigmas_of(scheduler):
    """s / a in double precision at the timesteps, then 0."""
    bars = torch.stack([scheduler.alphas_cumprod[int(t)] for t in scheduler.timesteps])
    return torch.cat([((1 - bars) / bars).sqrt(), torch.zeros(1, dtype=torch.float64)])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(order):
    scheduler = make("UniPCMultistepScheduler", **VP, solver_order=order, final_sigmas_type="zero", timestep_spacing="linspace")
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = sigmas_of(scheduler)
    grid, x = vp_grid(scheduler, scheduler.timesteps), stream(0)()
    y = x.clone()
    for i, t in enumerate(scheduler.timesteps):
        y = scheduler.step(best(y, *grid[i][1:]), t, y).prev_sample
    same(ours(unipc, grid, x, order=order), y)


@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "EulerDiscreteScheduler"])
def test_sigma_schedulers(name):
    """These walk y = x / a in sigma = s / a; ours walks x along the variance-preserving path and must meet them."""
    spaced = {"timestep_spacing": "linspace"}
    scheduler = make(name, **VP, **spaced)
    scheduler.set_timesteps(STEPS)
    sigmas = scheduler.sigmas.double()
    scheduler.sigmas = sigmas
    unique = [sigmas[0].item()]
    unique += (
        [v.item() for v in sigmas if v.item() != unique[-1]]
        if name.startswith("Euler")
        else [v.item() for i, v in enumerate(sigmas[1:]) if i % 2 == 1 or i == len(sigmas) - 2]
    )
    unique = sorted(set(unique), reverse=True)
    assert len(unique) == STEPS + 1 and unique[-1] == 0
    grid = [(i, (1 + v * v) ** -0.5, v * (1 + v * v) ** -0.5) for i, v in enumerate(unique)]
    x = stream(0)()
    y = x / grid[0][1]
    for i, t in enumerate(scheduler.timesteps):
        sigma = sigmas[i].item()
        y = scheduler.step(best(y, 1.0, sigma), t, y).prev_sample
    same(ours(heun, grid, x, bounded=False) if name.startswith("Heun") else ours(ddim, grid, x), y)


def test_flow_euler():
    scheduler = make("FlowMatchEulerDiscreteScheduler", shift=3.0)
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = scheduler.sigmas.double()
    grid = [(i, 1 - v, v) for i, v in enumerate(scheduler.sigmas.tolist())]
    x = stream(0)()
    y = x.clone()
    for i, t in enumerate(scheduler.timesteps):
        _, a, s = grid[i]
        velocity = (y - best(y, a, s)) / s
        y = scheduler.step(velocity, t, y).prev_sample
    same(ours(ddim, grid, x), y)
