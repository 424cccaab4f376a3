"""Functions from denoiser to denoiser."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from inkwash.diffusion.path import Denoiser, Path


def guided(both: Denoiser, scale: float, plain: Denoiser | None = None, interval: tuple[float, float] = (0.0, 1.0)) -> Denoiser:
    """Classifier-free guidance, D_null + scale (D_cond - D_null) (Ho and Salimans 2022, equation 6).

    both: a denoiser of 2N rows whose first half is conditioned and whose second half is not: one pass serves both branches.
    interval: guide where t lies between these (Kynkaanniemi et al. 2024); elsewhere `plain`, the conditioned denoiser of N rows, is
    asked alone, at half the cost.
    """
    low, high = interval

    def denoise(x: Tensor, t: float) -> Tensor:
        if plain is not None and not low <= t <= high:
            return plain(x, t)
        cond, null = both(torch.cat([x, x]), t).chunk(2)
        return null + scale * (cond - null)

    return denoise


class Lead(NamedTuple):
    """What estimates are led towards. fit: (N, C, H, W) to (N,), how well each fits, which has a gradient. scale: how far they are led.
    start: the t from which on they are."""

    fit: Callable[[Tensor], Tensor]
    scale: float
    start: float = 1.0

    def within(self, image: Callable[[Tensor], Tensor]) -> "Lead":
        """The same for what such images are made of."""
        return self._replace(fit=lambda z: self.fit(image(z)))


def led(denoise: Denoiser, lead: Lead, path: Path) -> Denoiser:
    """Guidance by a gradient, D + scale s^2 / (a^2 + s^2) grad fit(D): that of Dhariwal and Nichol 2021, algorithm 1, but taken at the
    estimate, as in the backward guidance of Bansal et al. 2023 (Universal Guidance), so that what judges need not know noise, and no
    gradient goes through the denoiser. The factor is the variance of clean x about its estimate, for data of unit spread."""

    def denoise_led(x: Tensor, t: float) -> Tensor:
        d, (_, a, s) = denoise(x, t), path.at(t)
        if t > lead.start:
            return d
        with torch.enable_grad():
            at = d.detach().requires_grad_()
            (slope,) = torch.autograd.grad(lead.fit(at).sum(), at)
        return d + lead.scale * s * s / (a * a + s * s) * slope.to(d)

    return denoise_led


def clamped(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Keep the estimate of clean x within the range of pixels."""
    return lambda x, t: denoise(x, t).clamp(low, high)


def keeping(denoise: Denoiser, known: Tensor, mask: Tensor) -> Denoiser:
    """Believe in the known pixels: the estimate is replaced by `known` where mask (N, 1, H, W) is 0."""
    return lambda x, t: known + mask * (denoise(x, t) - known)


def windows(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of one side begin, so that neighbours share at least `overlap` pixels and the last ends at `length`."""
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tiled(denoise: Denoiser, tile: tuple[int, int], overlap: int) -> Denoiser:
    """Ask for the estimate tile by tile and blend where they overlap, so that images larger than those of training stay coherent.

    Every step blends anew, so no seam survives (Bar-Tal et al. 2023, MultiDiffusion). tile: (H, W) of one. overlap: in pixels.
    """

    def denoise_tiles(x: Tensor, t: float) -> Tensor:
        height, width = x.shape[-2:]
        h, w = min(tile[0], height), min(tile[1], width)
        total, weight = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        window = _hill(h, x)[:, None] * _hill(w, x)  # (h, w): highest in the middle, never 0
        for top in windows(height, h, min(overlap, h - 1)):
            for left in windows(width, w, min(overlap, w - 1)):
                rows, columns = slice(top, top + h), slice(left, left + w)
                total[..., rows, columns] += window * denoise(x[..., rows, columns], t)
                weight[..., rows, columns] += window
        return total / weight

    return denoise_tiles


def _hill(length: int, like: Tensor) -> Tensor:
    return torch.sin((torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) * math.pi / length) ** 2
