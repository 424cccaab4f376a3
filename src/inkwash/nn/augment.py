"""Differentiable augmentation: what a network sees is changed at random, and gradients pass through to the picture.

With few images a critic, or a captioner, learns them by heart. Changing only what a critic sees of the real ones would teach the generator
to draw changed ones; changing both, by operations with a gradient, does not (Zhao et al. 2020, DiffAugment; Karras et al. 2020, ADA). Every
row has its own random numbers.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.rng import Rng


def colour(x: Tensor, u: Tensor) -> Tensor:
    """Brightness by up to +-0.5, saturation times 0 to 2, contrast times 0.5 to 1.5. x: (N, C, H, W), u: uniform (N, 3)."""
    u = u.to(x.dtype)[:, :, None, None, None]
    x = x + (u[:, 0] - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * u[:, 1])
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (u[:, 2] + 0.5)


def translation(x: Tensor, u: Tensor, share: float = 0.125) -> Tensor:
    """Shift by up to an eighth of the sides; what comes in is 0, grey. u: uniform (N, 3), the third unused."""
    h, w = x.shape[-2:]
    reach = torch.tensor([round(share * h), round(share * w)], device=x.device)
    down, right = ((u[:, :2] * (2 * reach + 1)).floor().long() - reach).unbind(1)
    rows = torch.arange(h, device=x.device) - down[:, None]  # (N, H): where each row comes from
    columns = torch.arange(w, device=x.device) - right[:, None]
    n = torch.arange(len(x), device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[n, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None, :]]  # (N, H, W, C)
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    return (moved * inside[..., None]).permute(0, 3, 1, 2)


def cutout(x: Tensor, u: Tensor, share: float = 0.5) -> Tensor:
    """A window of half the sides, anywhere, becomes 0. u: uniform (N, 3), the third unused."""
    inside = []
    for axis, side in enumerate(x.shape[-2:]):
        middle, places = u[:, axis, None] * side, torch.arange(side, device=x.device) + 0.5
        inside.append((places - middle).abs() < share * side / 2)  # (N, side)
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return x * ~hole[:, None]


def affine(x: Tensor, u: Tensor, degrees: float = 15.0, octaves: float = 0.25) -> Tensor:
    """Turned by up to so many degrees either way, and enlarged by 2^-octaves to 2^octaves; the border goes on outwards. u: uniform (N, 3),
    the third unused."""
    h, w = x.shape[-2:]
    angle, size = (2 * u[:, 0] - 1) * math.radians(degrees), 2 ** ((2 * u[:, 1] - 1) * octaves)
    c, s, none = angle.cos() / size, angle.sin() / size, torch.zeros_like(angle)
    rows = torch.stack([torch.stack([c, -s * h / w, none], 1), torch.stack([s * w / h, c, none], 1)], 1)  # (N, 2, 3)
    where = F.affine_grid(rows, list(x.shape), align_corners=False).to(x.dtype)
    return F.grid_sample(x, where, padding_mode="border", align_corners=False)


Kind = Literal["colour", "translation", "cutout", "affine"]
KINDS = {"colour": colour, "translation": translation, "cutout": cutout, "affine": affine}


def augment(x: Tensor, rng: Rng, kinds: tuple[Kind, ...], strength: Tensor | float = 1.0) -> Tensor:
    """Each kind, in order, on each row with probability `strength`. x: (N, C, H, W); two draws of `rng` a kind."""
    for kind in kinds:
        u, chance = rng.uniform(3), rng.uniform()
        x = torch.where((chance < strength)[:, None, None, None], KINDS[kind](x, u), x)
    return x
