"""The 3x3 convolution of every network here: one layer, three ways to compute it, the same numbers.

On a GPU, and wherever nothing is known to be faster, torch's own. On a CPU in fp32 with many channels, Winograd's (`winograd.py`). On a CPU
with matrix units in bf16, torch's own forward; but there the gradient by the weight is slow on narrow maps, whose rows are shorter than
a register tile, so images are laid side by side for it: 0.7 of the time on maps 7 wide, 0.4 on maps 4 wide.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.winograd import convolve, weight_gradient

LEAST = 96 * 96  # input times output channels from which Winograd's is the faster way
NARROW = 8  # the widest map whose images are laid side by side
_allowed = True


@contextmanager
def direct() -> Iterator[None]:
    """Convolve torch's way inside: for counting FLOPs as everybody does, for exporting, and for comparing."""
    global _allowed
    before, _allowed = _allowed, False
    try:
        yield
    finally:
        _allowed = before


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolve(x, weight)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        turned = weight.transpose(0, 1).flip(2, 3)
        return (convolve(dy, turned) if ctx.needs_input_grad[0] else None), (weight_gradient(x, dy) if ctx.needs_input_grad[1] else None)


def side_by_side(x: Tensor, count: int) -> Tensor:
    """`count` images as one, a column of zeros after each: (N, C, H, W) to (N / count, C, H, count (W + 1)), channels-last."""
    n, c, h, w = x.shape
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 1)).view(n // count, count, h, w + 1, c)
    return x.transpose(1, 2).reshape(n // count, h, count * (w + 1), c).permute(0, 3, 1, 2)


class _Narrow(torch.autograd.Function):
    """A convolution whose gradient by weight and bias sees several images as one. The zeros between them change nothing."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.count = count
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx, dw, db = (None, None, None)
        if ctx.needs_input_grad[0]:
            dx = _backward(dy, x, weight, [True, False, False])[0]
        if ctx.needs_input_grad[1]:
            _, dw, db = _backward(side_by_side(dy, ctx.count), side_by_side(x, ctx.count), weight, [False, True, True])
        return dx, dw, db, None


def _backward(dy: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, ...]:
    one = [1, 1]
    return torch.ops.aten.convolution_backward(dy, x, weight, [len(weight)], one, one, one, False, [0, 0], 1, mask)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with zero padding. (N, C_in, H, W) to (N, C_out, H, W)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not _allowed:
            return super().forward(x)
        n, width, half = len(x), x.shape[-1], torch.is_autocast_enabled("cpu")
        if half and width <= NARROW and n % 4 == 0 and torch.is_grad_enabled() and self.weight.requires_grad:
            kind = torch.get_autocast_dtype("cpu")
            count = 8 if width <= 4 and n % 8 == 0 else 4
            return _Narrow.apply(x.to(kind), self.weight.to(kind), self.bias.to(kind), count)
        if not half and x.dtype == torch.float32 and self.in_channels * self.out_channels >= LEAST and min(x.shape[-2:]) >= 4:
            return _Winograd.apply(x, self.weight) + self.bias[:, None, None]
        return super().forward(x)
