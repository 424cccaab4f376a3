"""PSNR and SSIM between pairs of images, in float64, with the conventions of super-resolution as options.

Both work on the 8-bit scale, data range 255: values in [-1, 1] are first rounded to the levels that a file would hold.

[1] Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment: From Error Visibility to Structural Similarity,
    IEEE TIP 13(4), 2004, eq. 13-17
[2] ITU-R BT.601-7: Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 for R, G, B in 0..255
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from inkwash.core.errors import DataError
from inkwash.core.pixels import to_uint8

RANGE = 255.0
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2


def psnr(x: Tensor, y: Tensor, luma: bool = False, shave: int = 0) -> Tensor:
    """10 log10(255^2 / mean squared error) in dB, (N,), for images (N, C, H, W) in [-1, 1]; inf for equal images.

    luma: measure BT.601 luminance of RGB [2], unrounded; shave: leave out a border this wide (by custom, the scale).
    """
    x, y = _levels(x, y, luma, shave)
    return 10 * torch.log10(RANGE**2 / (x - y).square().flatten(1).mean(1))


def ssim(x: Tensor, y: Tensor, luma: bool = False, shave: int = 0) -> Tensor:
    """Mean structural similarity (N,), at most 1, of images (N, C, H, W) in [-1, 1], channels averaged; options: `psnr`.

    Gaussian 11x11 window of sigma 1.5, K1 = 0.01, K2 = 0.03, only where the window lies inside the image, biased (1/N)
    local moments and no down-sampling, as in [1]. Raises DataError below 11 pixels a side.
    """
    x, y = _levels(x, y, luma, shave)
    if min(x.shape[-2:]) < WINDOW:
        raise DataError(f"SSIM needs at least {WINDOW} pixels a side, {x.shape[-1]}x{x.shape[-2]} are left.")
    mx, my = _window(x), _window(y)
    vx, vy, cov = _window(x * x) - mx * mx, _window(y * y) - my * my, _window(x * y) - mx * my
    index = (2 * mx * my + C1) * (2 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return index.flatten(1).mean(1)


def luminance(rgb: Tensor) -> Tensor:
    """BT.601 luminance (N, 1, H, W), 16..235, of RGB levels (N, 3, H, W) in 0..255 [2]."""
    weight = torch.tensor([65.481, 128.553, 24.966], dtype=rgb.dtype, device=rgb.device).view(1, 3, 1, 1)
    return 16 + (rgb * weight).sum(1, keepdim=True) / 255


def _levels(x: Tensor, y: Tensor, luma: bool, shave: int) -> tuple[Tensor, Tensor]:
    if x.ndim != 4 or x.shape != y.shape:
        raise DataError(f"pairs need equal shapes (N, C, H, W); these are {tuple(x.shape)} and {tuple(y.shape)}.")
    if luma and x.shape[1] != 3:
        raise DataError(f"luminance is taken from RGB, and these images have {x.shape[1]} channels.")
    if shave < 0 or 2 * shave >= min(x.shape[-2:]):
        raise DataError(f"a border of {shave} pixels leaves nothing of {x.shape[-1]}x{x.shape[-2]} images.")
    h, w = x.shape[-2:]
    pair = [to_uint8(v).double() for v in (x, y)]
    pair = [luminance(v) if luma else v for v in pair]
    return tuple(v[..., shave : h - shave, shave : w - shave] for v in pair)


def _window(x: Tensor) -> Tensor:
    """Local Gaussian mean, valid positions only: (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    t = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    g = torch.exp(-t.square() / (2 * SIGMA**2))
    g, flat = g / g.sum(), x.reshape(-1, 1, *x.shape[-2:])
    out = F.conv2d(F.conv2d(flat, g.view(1, 1, 1, -1)), g.view(1, 1, -1, 1))
    return out.view(*x.shape[:2], *out.shape[-2:])
