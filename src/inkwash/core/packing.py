"""Weights in 8 bits, for files that travel: each row of a matrix as whole numbers of -127 to 127 and one scale. Half the size of fp16."""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = "::scale"  # what the name of a packed tensor's scales ends in
FEW = 4096  # numbers, below which a tensor is kept in half precision


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as int8 and scales of their rows, other numbers in half precision, whole numbers as they are."""
    out = {}
    for name, t in tensors.items():
        if not t.is_floating_point() or t.ndim < 2 or t.numel() < FEW:
            out[name] = t.half() if t.is_floating_point() else t
            continue
        rows = t.float().flatten(1)
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127  # (R, 1)
        out[name] = (rows / scale).round().to(torch.int8).view(t.shape)
        out[name + SCALE] = scale[:, 0]
    return out


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`, in fp32, but for what rounding lost; tensors that were never packed as they are."""
    out = {name: t for name, t in tensors.items() if not name.endswith(SCALE)}
    for name, scale in tensors.items():
        if name.endswith(SCALE):
            key = name.removesuffix(SCALE)
            out[key] = (out[key].float().flatten(1) * scale[:, None]).view(out[key].shape)
    return out
