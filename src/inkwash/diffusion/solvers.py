"""Solvers: from noise to an image with a denoiser and a grid. Each is a plain function that knows no labels and no networks.

A denoiser maps (x, t) to D, the estimate of clean x. A grid is a list of points (t, a, s) with t falling; x starts as the noisy x
at its first point and ends at its last, usually t = 0. `noise()` gives a standard normal tensor like x.

References: 1. Ho et al. 2020, DDPM. 2. Song, Meng and Ermon 2021, DDIM, equations 12 and 16. 3. Karras et al. 2022, algorithm 1.
4. Lu et al. 2022, DPM-Solver++, algorithm 2 (2M).
"""

import math
from collections.abc import Callable

from torch import Tensor

from inkwash.diffusion.path import Denoiser, Path

Grid = list[tuple[float, float, float]]
Noise = Callable[[], Tensor]
OnStep = Callable[[int, int], None]


def uniform(path: Path, steps: int, start: float | None = None, end: float = 0.0) -> Grid:
    """Equal steps of t from `start` (the path's own unless given) to `end`: steps + 1 points."""
    start = path.start if start is None else start
    return [path.at(start * (1 - i / steps) + end * (i / steps)) for i in range(steps + 1)]  # exact at both ends


def _toward(x: Tensor, d: Tensor, here: tuple, there: tuple, eta: float = 0.0, z: Tensor | None = None) -> Tensor:
    """One step along the path when clean x is believed to be d; eta = 0 keeps the noise, eta = 1 draws the DDPM posterior."""
    (_, a, s), (_, a2, s2) = here, there
    e = (x - a * d) / s
    if eta == 0 or s2 == 0:
        return a2 * d + s2 * e
    k = s2 * a / (a2 * s)
    fresh = 1 - k * k
    return a2 * d + s2 * math.sqrt(1 - eta * eta * fresh) * e + eta * s2 * math.sqrt(fresh) * z


def ddim(
    denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise | None = None, eta: float = 0.0, on_step: OnStep | None = None
) -> Tensor:
    """DDIM; with eta = 0 it is deterministic, and Euler's method on the flow path. First order. (Reference 2.)"""
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        x = _toward(x, denoise(x, here[0]), here, there, eta, noise() if eta and there[2] else None)
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def ancestral(
    denoise: Denoiser,
    x: Tensor,
    grid: Grid,
    noise: Noise,
    std: Callable[[Tensor, float, float], Tensor] | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDPM's reverse chain. The posterior's mean with the small variance, or with std(x, t, next t) where given. (Reference 1.)"""
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        d = denoise(x, here[0])
        z = noise() if there[2] else 0 * x
        if std is None:
            x = _toward(x, d, here, there, 1.0, z)
        else:
            x = _toward(x, d, here, there, 1.0, 0 * x) + (std(x, here[0], there[0]) * z if there[2] else 0)
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def heun(denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise | None = None, on_step: OnStep | None = None) -> Tensor:
    """Heun's method on y = x / a in sigma = s / a, where dy/dsigma = (y - D) / sigma; Euler into s = 0. Second order. (Reference 3.)

    The grid must start where a > 0. Two evaluations a step, one for the last step into s = 0.
    """
    y = x / grid[0][1]
    for i, ((t, a, s), (t2, a2, s2)) in enumerate(zip(grid, grid[1:])):
        sigma, sigma2 = s / a, s2 / a2
        slope = (y - denoise(a * y, t)) / sigma
        y2 = y + (sigma2 - sigma) * slope
        if s2:
            y2 = y + (sigma2 - sigma) * (slope + (y2 - denoise(a2 * y2, t2)) / sigma2) / 2
        y = y2
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return y * grid[-1][1]


def dpmpp_2m(denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise | None = None, on_step: OnStep | None = None) -> Tensor:
    """DPM-Solver++(2M): D is extrapolated in log-SNR from the last two evaluations. Second order, one evaluation a step. (Reference 4.)

    First order on the first step and into s = 0, where the log-SNR has no bound.
    """
    before, h_before = None, math.inf
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        (t, a, s), (_, a2, s2) = here, there
        d = best = denoise(x, t)
        h = math.log(a2 * s / (s2 * a)) if s2 and a else math.inf
        if before is not None and math.isfinite(h) and math.isfinite(h_before):
            best = d + (d - before) * (h / (2 * h_before))
        x = _toward(x, best, here, there)
        before, h_before = d, h
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


SOLVERS = {"ddim": ddim, "ddpm": ancestral, "heun": heun, "dpmpp-2m": dpmpp_2m}


def evaluations(solver: str, steps: int) -> int:
    """Denoiser calls that one image costs on a grid that ends in s = 0."""
    return 2 * steps - 1 if solver == "heun" else steps
