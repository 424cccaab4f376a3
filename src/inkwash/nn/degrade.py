"""How a small, worn picture comes of a good one: what a network learns to undo.

"bicubic" is what the literature measures: made small, rounded to 8 bits. "camera" is a chain of what happens to pictures on their way:
blur by a lens, a size in between by whatever interpolation some program has, the small size, noise of a sensor, JPEG (in the spirit of
Wang et al. 2021, Real-ESRGAN, and Zhang et al. 2021, BSRGAN, in one pass). Every row has its own random numbers.
"""

import io
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.core.rng import Rng
from inkwash.nn.resize import resize

Wear = Literal["bicubic", "camera"]
BLUR, NOISE, QUALITY = 2.0, 12.0, (40, 95)  # most blur in pixels of the small picture; most noise in 8-bit levels; of JPEG
TAPS = 21


def small(x: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) in [-1, 1] to (N, C, H / scale, W / scale), bicubic, rounded to 8 bits."""
    h, w = x.shape[-2] // scale, x.shape[-1] // scale
    return from_uint8(to_uint8(resize(x[..., : h * scale, : w * scale], h, w)))


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian blur of its own for each row. sigma: (N,) in pixels."""
    n, c = x.shape[:2]
    at = torch.arange(TAPS, device=x.device) - TAPS // 2
    g = torch.exp(-at.square() / (2 * sigma.clamp(min=0.05)[:, None] ** 2))
    g = (g / g.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (N C, TAPS)
    flat = F.pad(x.reshape(1, n * c, *x.shape[-2:]), (TAPS // 2,) * 4, mode="reflect")
    flat = F.conv2d(F.conv2d(flat, g[:, None, None], groups=n * c), g[:, None, :, None], groups=n * c)
    return flat.view_as(x)


def jpeg(x: Tensor, quality: list[int]) -> Tensor:
    """Saved as JPEG and read again, row by row. Grey or RGB; an alpha channel passes by."""
    out = []
    for image, q in zip(to_uint8(x).cpu().permute(0, 2, 3, 1).numpy(), quality):
        colour, rest = (image[..., :3], image[..., 3:]) if image.shape[-1] > 1 else (image[..., 0], image[..., :0])
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(colour)).save(file, "JPEG", quality=q)
        again = np.asarray(Image.open(file)).reshape(*image.shape[:2], -1)
        out.append(torch.from_numpy(np.concatenate([again, rest], axis=-1)))
    return from_uint8(torch.stack(out).permute(0, 3, 1, 2)).to(x.device)


def between(x: Tensor, scale: int, u: Tensor) -> Tensor:
    """Resized to a size between its own and the small one, and back, linear, cubic or Lanczos, each row for itself. u: uniform (N, 2)."""
    h, w = x.shape[-2:]
    out = []
    for row, (share, kind) in zip(x, u.tolist()):
        factor, kernel = scale**-share, ("linear", "cubic", "lanczos")[int(3 * kind)]
        middle = resize(row, max(1, round(h * factor)), max(1, round(w * factor)), kernel)
        out.append(resize(middle, h, w, kernel))
    return torch.stack(out)


def camera(x: Tensor, scale: int, rng: Rng) -> Tensor:
    """Blur, a size in between, bicubic reduction, noise, JPEG, as strong as chance has it: (N, C, H, W) to (N, C, H / scale, W / scale)."""
    u = rng.uniform(5)  # (N, 5)
    x = small(between(blurred(x, BLUR * scale / 2 * u[:, 0]), scale, u[:, 3:]), scale)
    x = x + (NOISE / 127.5) * u[:, 1].square()[:, None, None, None] * rng.normal(*x.shape[1:])
    low, high = QUALITY
    return jpeg(x, (low + (high - low) * u[:, 2]).round().int().tolist())


def worn(x: Tensor, scale: int, wear: Wear, rng: Rng) -> Tensor:
    """What a picture comes to by either way: (N, C, H, W) to (N, C, H / scale, W / scale)."""
    return small(x, scale) if wear == "bicubic" else camera(x, scale, rng)


def blocks(x: Tensor, scale: int) -> Tensor:
    """Every pixel as a square, to look at: (N, C, H, W) to (N, C, scale H, scale W)."""
    return x.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
