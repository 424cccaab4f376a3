"""Solvers: from noise to an image with a denoiser and a grid. Each is a plain function that knows no labels and no networks.

A denoiser maps (x, t) to D, the estimate of clean x. A grid is a list of points (t, a, s) with t falling; x starts as the noisy x
at its first point and ends at its last, usually t = 0. `noise()` gives a standard normal tensor like x.

References: 1. Ho et al. 2020, DDPM. 2. Song, Meng and Ermon 2021, DDIM, equations 12 and 16. 3. Karras et al. 2022, algorithms 1
and 2. 4. Lu et al. 2022, DPM-Solver++, algorithm 2 (2M) and equation 18 (its stochastic form). 5. Zhao et al. 2023, UniPC, algorithms 1
and 2 with B(h) = exp(h) - 1. 6. Song et al. 2023, Consistency Models, algorithm 1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from inkwash.diffusion.path import Denoiser, Grid, Path, Point, gap, toward

Noise = Callable[[], Tensor]
OnStep = Callable[[int, int], None]
Std = Callable[[Tensor, float, float], Tensor]


def ddim(denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise | None = None, eta: float = 0.0, on_step: OnStep | None = None) -> Tensor:
    """DDIM; with eta = 0 it is deterministic: Euler's method on the flow path, and on x / a in s / a on any. First order. (Reference 2.)"""
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        x = toward(x, denoise(x, here[0]), here, there, eta, noise() if eta and there[2] else None)
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def ancestral(
    denoise: Denoiser,
    x: Tensor,
    grid: Grid,
    noise: Noise,
    std: Std | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDPM's reverse chain. The posterior's mean with the small variance, or with std(x, t, next t) where given. (Reference 1.)"""
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        d = denoise(x, here[0])
        z = noise() if there[2] else 0 * x
        if std is None:
            x = toward(x, d, here, there, 1.0, z)
        else:
            x = toward(x, d, here, there, 1.0, 0 * x) + (std(x, here[0], there[0]) * z if there[2] else 0)
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def heun(
    denoise: Denoiser,
    x: Tensor,
    grid: Grid,
    noise: Noise | None = None,
    churn: float = 0.0,
    path: Path | None = None,
    bounded: bool = True,
    on_step: OnStep | None = None,
) -> Tensor:
    """Heun's method, second order; two evaluations a step, one for the last step into s = 0. (Reference 3.)

    It integrates z = x / (a + s) in u = s / (a + s), on the flow path x in t: dz/du = e - D with the noise e that D leaves, bounded
    at both ends. bounded = False: x / a in s / a, as the reference does and diffusers after it; from a grid that starts at
    s / a = 1000 its first step then goes astray. churn: noise that is added before each step and removed with it, S_churn
    of algorithm 2 at every sigma; it needs noise and path.
    """
    steps = len(grid) - 1
    base = (lambda a, s: a + s) if bounded else (lambda a, s: a)
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        if churn and i:  # the first point is as noisy as the model knows
            _, a, s = here
            more = path.at(path.of_sigma(s / a * (1 + min(churn / steps, math.sqrt(2) - 1))))
            x, here = renoise(x, here, more, noise()), more
        (t, a, s), (t2, a2, s2) = here, there
        width = s2 / base(a2, s2) - s / base(a, s)

        def slope(x: Tensor, d: Tensor, a: float, s: float) -> Tensor:
            e = (x - a * d) / s
            return e - d if bounded else e

        z = x / base(a, s)
        first = slope(x, denoise(x, t), a, s)
        z2 = z + width * first
        if s2:
            x2 = z2 * base(a2, s2)
            z2 = z + width * (first + slope(x2, denoise(x2, t2), a2, s2)) / 2
        x = z2 * base(a2, s2)
        if on_step:
            on_step(i + 1, steps)
    return x


def dpmpp_2m(
    denoise: Denoiser,
    x: Tensor,
    grid: Grid,
    noise: Noise | None = None,
    eta: float = 0.0,
    overshoot: float = 1.0,
    on_step: OnStep | None = None,
) -> Tensor:
    """DPM-Solver++(2M): D is extrapolated in log-SNR from the last two evaluations. Second order, one evaluation a step. (Reference 4.)

    First order on the first step and into s = 0, where the log-SNR has no bound. eta = 1: its stochastic form. overshoot: the
    extrapolation times this. 1 is exact to second order; a little more walks ahead of the network, whose D lags behind in detail.
    """
    before, h_before = None, math.inf
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        d = best = denoise(x, here[0])
        h = gap(here, there)
        if before is not None and math.isfinite(h) and math.isfinite(h_before):
            best = d + (d - before) * (overshoot * h / (2 * h_before))
        x = toward(x, best, here, there, eta, noise() if eta and there[2] else None)
        before, h_before = d, h
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def dpmpp_2m_sde(denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise, on_step: OnStep | None = None) -> Tensor:
    """DPM-Solver++(2M) with the fresh noise of the reverse diffusion: DDPM's chain with an extrapolated estimate. (Reference 4.)"""
    return dpmpp_2m(denoise, x, grid, noise, 1.0, on_step=on_step)


def _weights(ratios: list[float], h: float, corrector: bool) -> list[float]:
    """UniPC's coefficients of the differences (D_k - D_0) / r_k, from its order conditions (reference 5, equation 9)."""
    order = len(ratios)
    if order == 1 or (order == 2 and not corrector):
        return [0.5]
    rows, goal = [], []
    phi, factorial = math.expm1(-h) / -h - 1, 1.0
    for k in range(1, order + 1):
        rows.append([r ** (k - 1) for r in ratios])
        goal.append(phi * factorial / math.expm1(-h))
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    size = order if corrector else order - 1
    matrix = torch.tensor([row[:size] for row in rows[:size]], dtype=torch.float64)
    return torch.linalg.solve(matrix, torch.tensor(goal[:size], dtype=torch.float64)).tolist()


def unipc(denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise | None = None, order: int = 2, on_step: OnStep | None = None) -> Tensor:
    """UniPC: a multistep prediction, corrected once D at its end is known, which the next step needs anyway. (Reference 5.)

    Order `order` (1 to 3) with one evaluation a step; lower on the first steps, and falling to 1 on the last.
    """
    steps, seen = len(grid) - 1, []  # seen: (point, D) of earlier evaluations, the newest last
    base = x
    used, ratios, h = 0, [], 0.0
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        d = denoise(x, here[0])
        if used:  # correct x at `here`: `base` is the state that the last step left from
            start, first = seen[-1]
            past = [(old - first) / r for (_, old), r in zip(reversed(seen[:-1]), ratios)]
            x = _uni(base, first, [*past, d - first], _weights([*ratios, 1.0], h, True), start, here, h)
        seen = [*seen, (here, d)][-order:]
        h = gap(here, there)
        bounded = math.isfinite(h) and math.isfinite(gap(seen[0][0], here))
        used = min(order, len(seen), steps - i) if bounded else 1
        ratios = [-gap(p, here) / h for p, _ in reversed(seen[len(seen) - used : -1])]
        past = [(old - d) / r for (_, old), r in zip(reversed(seen[:-1]), ratios)]
        base, x = x, _uni(x, d, past, _weights([*ratios, 1.0], h, False) if past else [], here, there, h)
        if on_step:
            on_step(i + 1, steps)
    return x


def _uni(x: Tensor, d: Tensor, differences: list[Tensor], weights: list[float], here: Point, there: Point, h: float) -> Tensor:
    """A step that believes D = d, plus weighted differences of D."""
    x = toward(x, d, here, there)
    for w, difference in zip(weights, differences):
        x = x - there[1] * math.expm1(-h) * w * difference
    return x


def consistency(denoise: Denoiser, x: Tensor, grid: Grid, noise: Noise, on_step: OnStep | None = None) -> Tensor:
    """For models that guess the image in one step: guess, add all the noise of the next point anew, guess again. (Reference 6.)"""
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        d = denoise(x, here[0])
        x = there[1] * d + there[2] * noise() if there[2] else there[1] * d
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def renoise(x: Tensor, here: Point, there: Point, z: Tensor) -> Tensor:
    """Forward along the path, from less noise to more: a sample of x at `there` given x at `here`."""
    (_, a, s), (_, a2, s2) = here, there
    ratio = a2 / a
    return ratio * x + math.sqrt(max(0.0, s2 * s2 - ratio * ratio * s * s)) * z


SOLVERS = {
    "consistency": consistency,
    "ddim": ddim,
    "ddpm": ancestral,
    "dpmpp-2m": dpmpp_2m,
    "dpmpp-2m-sde": dpmpp_2m_sde,
    "euler": ddim,
    "heun": heun,
    "unipc": unipc,
}
