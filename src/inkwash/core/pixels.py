"""The one pixel codec: bytes at the edge, floats in [-1, 1] inside."""

import torch
from torch import Tensor


def from_uint8(u: Tensor) -> Tensor:
    """uint8 0..255 to float in [-1, 1]: x = u / 127.5 - 1."""
    return u.float() / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8: u = floor(clip(127.5 x + 128, 0, 255)), the exact inverse of `from_uint8`."""
    return (x.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
