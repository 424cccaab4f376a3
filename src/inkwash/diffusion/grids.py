"""Grids: at which times a solver looks at the image. Each is a list of points (t, a, s) with t falling from noise to an image.

References: 1. Karras et al. 2022, equation 5. 2. Esser et al. 2024, equation 23 (shifted times). 3. Chen et al. 2024, On the
Trajectory Regularity of ODE-based Diffusion Sampling (a grid by dynamic programming over the errors of single steps).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inkwash.diffusion.path import Denoiser, Grid, Path, gap, toward

POINTS = 64  # of the fine grid that a model's own is chosen from


def of_times(path: Path, times: Sequence[float]) -> Grid:
    """The grid of given times."""
    return [path.at(float(t)) for t in times]


def uniform(path: Path, steps: int, start: float | None = None, end: float = 0.0) -> Grid:
    """Equal steps of t from `start` (the path's own unless given) to `end`: steps + 1 points."""
    start = path.start if start is None else start
    return of_times(path, [start * (1 - i / steps) + end * (i / steps) for i in range(steps + 1)])  # exact at both ends


def karras(path: Path, steps: int, low: float = 0.02, high: float = 80.0, rho: float = 7.0, end: bool = True) -> Grid:
    """Equal steps of sigma^(1/rho) from `high` to `low`, then 0: small steps where there is little noise. (Reference 1.)

    high is at most the path's own start. Without `end` the grid stops at `low`.
    """
    _, a, s = path.at(path.start)
    high, count = min(high, s / a), steps - 1 if end else steps
    ramp = [i / max(1, count) for i in range(count + 1)]
    sigmas = [(high ** (1 / rho) + r * (low ** (1 / rho) - high ** (1 / rho))) ** rho for r in ramp]
    return of_times(path, [path.of_sigma(sigma) for sigma in sigmas] + [0.0] * end)


def shifted(path: Path, steps: int, shift: float = 2.0, start: float | None = None) -> Grid:
    """Uniform steps with sigma multiplied by `shift`: above 1 more of them at high noise. (Reference 2, in terms of sigma.)"""

    def move(t: float) -> float:
        _, a, s = path.at(t)
        return path.of_sigma(shift * s / a)

    start = path.start if start is None else start
    inner = [move(start * (1 - i / steps)) for i in range(1, steps)]
    return of_times(path, [start, *(min(t, start * (1 - 1e-6 * (i + 1))) for i, t in enumerate(inner)), 0.0])


def local_errors(denoise: Denoiser, x: Tensor, path: Path, points: int = POINTS) -> tuple[Grid, Tensor]:
    """How far one first-order step lands from a fine solution, for every pair of points of a fine grid.

    x: noise (N, C, H, W) at the path's start. Returns the fine grid, denser where there is little noise, and errors
    (points + 1, points + 1): root mean square over pixels of a step from row to column, on the scale of
    the flow path, 0 on and below the diagonal.
    Costs `points` evaluations of N images.
    """
    _, a, s = path.at(path.start)
    top = s / (a + s)
    shares = [top * (1 - i / points) ** 2 for i in range(points)]  # of noise in the mixture
    fine = of_times(path, [path.start, *(path.of_sigma(u / (1 - u)) for u in shares[1:]), 0.0])
    states, estimates, h_before = [x], [], math.inf
    for here, there in zip(fine, fine[1:]):  # the second-order solver that will use the grid, finely
        d = best = denoise(states[-1], here[0])
        h = gap(here, there)
        if math.isfinite(h) and math.isfinite(h_before):
            best = d + (d - estimates[-1]) * (h / (2 * h_before))
        states.append(toward(states[-1], best, here, there))
        estimates.append(d)
        h_before = h
    errors = torch.zeros(points + 1, points + 1, dtype=torch.float64)
    for i in range(points):
        for j in range(i + 1, points + 1):
            landed = toward(states[i], estimates[i], fine[i], fine[j])
            errors[i, j] = (landed - states[j]).square().mean().sqrt().item() / (fine[j][1] + fine[j][2])
    return fine, errors


def cheapest(cost: Tensor, steps: int) -> list[int]:
    """The path of `steps` steps from the first index to the last whose costs, cost[i, j] for a step from i to j > i, sum to least.

    Raises ValueError where there are fewer indices than steps.
    """
    last = len(cost) - 1
    if not 1 <= steps <= last:
        raise ValueError(f"{steps} steps do not fit on {last + 1} points")
    best = torch.full((steps + 1, last + 1), math.inf, dtype=torch.float64)
    came = torch.zeros(steps + 1, last + 1, dtype=torch.long)
    best[0, 0] = 0
    upper = cost.double().masked_fill(~torch.ones_like(cost, dtype=torch.bool).triu(1), math.inf)
    for k in range(1, steps + 1):
        best[k], came[k] = (best[k - 1][:, None] + upper).min(0)
    way = [last]
    for k in range(steps, 0, -1):
        way.append(int(came[k, way[-1]]))
    return way[::-1]


def chosen(fine: Grid, errors: Tensor, steps: int, power: float = 2.0) -> Grid:
    """The grid whose single steps err least, errors^power summed. (Reference 3.) Raises ValueError for more steps than were tried."""
    return [fine[i] for i in cheapest(errors**power, steps)]


GRIDS: dict[str, Callable[[Path, int], Grid]] = {
    "uniform": uniform,
    "karras": karras,
    "shifted": shifted,
}
