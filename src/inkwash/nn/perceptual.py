"""Pictures compared by what a network sees in them: what is there, and how it is painted.

References: 1. Gatys et al. 2016, Image Style Transfer Using Convolutional Neural Networks (equations 1, 3, 4, 5). 2. Johnson et al. 2016,
Perceptual Losses for Real-Time Style Transfer and Super-Resolution.
"""

from torch import Tensor


def gram(maps: Tensor) -> Tensor:
    """How often channels fire together, wherever that is: (N, C, H, W) to (N, C, C), the mean over places, divided by C."""
    flat = maps.float().flatten(2)  # (N, C, HW)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def content_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of maps, in units of what the wanted ones vary by: (N, C, H, W) each to (N,)."""
    return (made - wanted).float().square().flatten(1).mean(1) / wanted.float().square().flatten(1).mean(1).clamp(min=1e-8)


def style_loss(made: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean over layers of the squared difference of Gram matrices, in units of the wanted ones: lists of (N, C, C) to (N,).

    Layers count alike, however large their channels' values are.
    """
    parts = [(m - w).square().flatten(1).sum(1) / w.square().flatten(1).sum(1).clamp(min=1e-12) for m, w in zip(made, wanted)]
    return sum(parts) / len(parts)


def total_variation(x: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels: (N, C, H, W) to (N,)."""
    down, right = x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]
    return down.square().flatten(1).mean(1) + right.square().flatten(1).mean(1)
