"""Images as whole numbers: k grey levels, and a distribution over them.

References: 1. Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow (discretised logistic, appendix).
2. Salakhutdinov and Murray 2008, On the Quantitative Analysis of Deep Belief Networks (a pixel is on as often as it is bright).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.rng import Rng


def to_levels(x: Tensor, levels: int) -> Tensor:
    """The nearest level, int64 from 0: x in [-1, 1]."""
    return ((x.clamp(-1, 1) + 1) * ((levels - 1) / 2) + 0.5).floor().long()


def from_levels(codes: Tensor, levels: int) -> Tensor:
    """The inverse of `to_levels`, float in [-1, 1]."""
    return codes.to(torch.get_default_dtype()) * (2 / (levels - 1)) - 1


def quantised(x: Tensor, levels: int) -> Tensor:
    """The nearest of `levels` values."""
    return x if levels == 256 else from_levels(to_levels(x, levels), levels).to(x.dtype)


def binarised(x: Tensor, rng: Rng) -> Tensor:
    """A pixel is 1 with the probability of its brightness, else -1 [2]: (N, C, H, W) in [-1, 1]."""
    return torch.where(rng.uniform(*x.shape[1:]) < (x + 1) / 2, 1.0, -1.0).to(x.dtype)


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int = 256) -> Tensor:
    """log P of `levels`-level pixels x in [-1, 1]: the logistic's mass in each pixel's bin, the outer bins open [1]. Elementwise nats."""
    half = 1 / (levels - 1)
    inverse = torch.exp(-log_scale)
    high, low = (x - mean + half) * inverse, (x - mean - half) * inverse
    # log(sigmoid(high) - sigmoid(low)), factored so that it keeps its digits however far x is from the mean
    inside = F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(-2 * half * inverse))
    first, last = F.logsigmoid(high), F.logsigmoid(-low)
    return torch.where(x < -1 + half, first, torch.where(x > 1 - half, last, inside))
