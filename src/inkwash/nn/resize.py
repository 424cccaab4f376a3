"""Resizing by interpolation, the classical way to make a picture larger: nearest, linear, cubic, Lanczos and cubic splines.

Every output pixel is a weighted sum of input pixels around the place it comes from; rows and columns separately. Where a picture shrinks
the kernel is widened by as much, so that nothing aliases. At the edges the picture is mirrored. "cubic" is then what MATLAB's imresize
does, by which the literature makes its small pictures.

References: 1. Keys 1981, Cubic Convolution Interpolation for Digital Image Processing (a = -1/2). 2. Unser 1999, Splines: A Perfect Fit for
Signal and Image Processing (an interpolating spline needs its samples filtered first). 3. Duchon 1979, Lanczos Filtering.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

KERNELS = ("nearest", "linear", "cubic", "lanczos", "spline")


def _cubic(x: Tensor) -> Tensor:
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0))


def _spline(x: Tensor) -> Tensor:
    return torch.where(x <= 1, (4 - 6 * x**2 + 3 * x**3) / 6, torch.where(x < 2, (2 - x).clamp(min=0) ** 3 / 6, 0))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0)


_SHAPES = {  # half the width of the kernel, and its value at a distance
    "nearest": (0.5, lambda x: (x <= 0.5).to(x.dtype)),
    "linear": (1, lambda x: (1 - x).clamp(min=0)),
    "cubic": (2, _cubic),
    "lanczos": (3, _lanczos),
    "spline": (2, _spline),
}


@lru_cache(64)
def weights(old: int, new: int, kernel: str) -> Tensor:
    """float64 (new, old): what each of `new` pixels takes of each of `old`. Rows sum to 1."""
    reach, shape = _SHAPES[kernel]
    scale = new / old
    narrow = min(1.0, scale) if kernel not in ("nearest", "spline") else 1.0
    centre = (torch.arange(new, dtype=torch.float64) + 0.5) / scale - 0.5  # where a pixel comes from
    if kernel == "nearest":
        places = (centre + 0.5).floor().long().clamp(max=old - 1)[:, None]
        value = torch.ones(new, 1, dtype=torch.float64)
    else:
        places = torch.floor(centre - reach / narrow).long()[:, None] + torch.arange(math.ceil(2 * reach / narrow) + 2)
        value = shape((narrow * (centre[:, None] - places)).abs())
        value = value / value.sum(1, keepdim=True)
    mirrored = places % (2 * old)
    mirrored = torch.where(mirrored < old, mirrored, 2 * old - 1 - mirrored)
    out = torch.zeros(new, old, dtype=torch.float64).scatter_add_(1, mirrored, value)
    if kernel == "spline" and old > 1:  # so that the curve goes through the pixels: solved with the spline's own matrix
        out = torch.linalg.solve(weights_at_pixels(old).T, out.T).T
    return out


def weights_at_pixels(n: int) -> Tensor:
    """float64 (n, n): the cubic B-spline's values at the pixels, 1/6 4/6 1/6, mirrored at the edges."""
    out = torch.diag(torch.full((n,), 4 / 6, dtype=torch.float64))
    i = torch.arange(n)
    for step in (-1, 1):
        at = (i + step).clamp(0, n - 1)
        out.index_put_((i, at), torch.full((n,), 1 / 6, dtype=torch.float64), accumulate=True)
    return out


def resize(x: Tensor, height: int, width: int, kernel: str = "cubic") -> Tensor:
    """(..., H, W) to (..., height, width), in float32 or x's own wider type, whatever autocast says."""
    x = x if x.dtype == torch.float64 else x.float()
    rows, columns = (weights(old, new, kernel).to(x) for old, new in ((x.shape[-2], height), (x.shape[-1], width)))
    with torch.autocast(x.device.type, enabled=False):
        return rows @ x @ columns.T
