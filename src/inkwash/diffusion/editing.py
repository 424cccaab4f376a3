"""Images back to noise, and images with known pixels: what editing is made of.

References: 1. Song, Meng and Ermon 2021, DDIM (deterministic, so that it can be walked backwards). 2. Lugmayr et al. 2022, RePaint,
algorithm 1 (steps back and forth harmonise what is known with what is made). 3. Pan et al. 2023, AIDI (fixed-point inversion).
4. Shoemake 1985 (spherical interpolation).
"""

import torch
from torch import Tensor

from inkwash.diffusion.path import Denoiser, Grid, toward
from inkwash.diffusion.solvers import Noise, OnStep, renoise


def invert(denoise: Denoiser, x: Tensor, grid: Grid, rounds: int = 4, on_step: OnStep | None = None) -> Tensor:
    """The x at the grid's first point from which `ddim` leads to this x at its last; the last point must have s > 0.

    rounds = 1 takes each estimate from where it is known, DDIM's inversion (reference 1); each further round brings it nearer to the step's
    own equation by fixed-point iteration (reference 3). With r the ratio of the step's noise levels, a plain iteration diverges where
    (r - 1) |dD/dx| > 1, long steps; taking 2 / (1 + r) of each move contracts by (r - 1) / (r + 1) for every |dD/dx| up to 1.
    Costs `rounds` evaluations a step.
    """
    steps = len(grid) - 1
    for i in range(steps, 0, -1):
        here, there = grid[i - 1], grid[i]
        (t, a, s), (t2, a2, s2) = here, there
        share = 2 / (1 + s * a2 / (a * s2))
        found = toward(x, denoise(x, t2), there, here)
        for _ in range(rounds - 1):
            d = denoise(found, t)
            wanted = a * d + (s / s2) * (x - a2 * d)  # `toward` solved for where it began, given d
            found = found + share * (wanted - found)
        x = found
        if on_step:
            on_step(steps - i + 1, steps)
    return x


def repaint(
    denoise: Denoiser,
    x: Tensor,
    grid: Grid,
    noise: Noise,
    known: Tensor,
    mask: Tensor,
    rounds: int = 4,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDPM's chain with known pixels put in at their noise level, each step taken `rounds` times with a step back between. (Reference 2.)

    known: (N, C, H, W). mask: (N, 1, H, W), 1 = make. Costs `rounds` evaluations a step.
    """
    for i, (here, there) in enumerate(zip(grid, grid[1:])):
        for again in range(rounds if there[2] else 1):
            if again:
                x = renoise(x, there, here, noise())
            made = toward(x, denoise(x, here[0]), here, there, 1.0, noise() if there[2] else None)
            given = there[1] * known + (there[2] * noise() if there[2] else 0)
            x = given + mask * (made - given)
        if on_step:
            on_step(i + 1, len(grid) - 1)
    return x


def slerp(a: Tensor, b: Tensor, w: float) -> Tensor:
    """From a (w = 0) to b (w = 1) along the great circle between their directions, row by row; noise stays noise. (Reference 4.)"""
    p, q = a.flatten(1), b.flatten(1)
    cosine = (p * q).sum(1) / (p.norm(dim=1) * q.norm(dim=1))
    angle = torch.arccos(cosine.clamp(-1, 1))
    straight = angle.sin() < 1e-4
    safe = torch.where(straight, torch.ones_like(angle), angle)
    near, far = torch.sin((1 - w) * safe) / safe.sin(), torch.sin(w * safe) / safe.sin()
    near, far = torch.where(straight, 1 - w, near)[:, None], torch.where(straight, w, far)[:, None]
    return (near * p + far * q).view_as(a)
