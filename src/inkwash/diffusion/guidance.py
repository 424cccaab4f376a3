"""Functions from denoiser to denoiser."""

import torch
from torch import Tensor

from inkwash.diffusion.path import Denoiser


def guided(both: Denoiser, scale: float) -> Denoiser:
    """Classifier-free guidance, D_null + scale (D_cond - D_null) (Ho and Salimans 2022, equation 6).

    both: a denoiser of 2N rows whose first half is conditioned and whose second half is not: one pass serves both branches.
    """

    def denoise(x: Tensor, t: float) -> Tensor:
        cond, null = both(torch.cat([x, x]), t).chunk(2)
        return null + scale * (cond - null)

    return denoise


def clamped(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Keep the estimate of clean x within the range of pixels."""
    return lambda x, t: denoise(x, t).clamp(low, high)
