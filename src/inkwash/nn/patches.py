"""A causal network over patches, exact all the same: patches follow each other row by row, and pixels inside a patch as well.

The network sees earlier patches only, a fourth or a sixteenth as many places as there are pixels. A pixel's features come from those of its
patch and from the patch's earlier pixels, through two layers whose weights are masked [1].

Reference: 1. Germain et al. 2015, MADE: Masked Autoencoder for Distribution Estimation, equations 9 to 13.
"""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.causal import Drop, Grown, Walk, keep, point, there
from inkwash.nn.layers import Pointwise


class Inside(nn.Module):
    """Features of a patch's pixels, each from the patch's own and from the pixels before it in the patch."""

    def __init__(self, width: int, channels: int, count: int, d: int):
        super().__init__()
        self.count, self.d = count, d
        self.base = nn.Linear(width, count * d)
        self.first = nn.Linear(count * channels, count * d, bias=False)
        self.second = nn.Linear(count * d, count * d)
        before, upto = (torch.ones(count, count).tril(k).repeat_interleave(d, 0) for k in (-1, 0))
        self.register_buffer("before", before.repeat_interleave(channels, 1), persistent=False)
        self.register_buffer("upto", upto.repeat_interleave(d, 1), persistent=False)

    def forward(self, base: Tensor, patch: Tensor) -> Tensor:
        """base: what `self.base` made of the patch's features, (..., count d). patch: (..., count channels), pixel by pixel."""
        h = base + F.linear(patch, self.first.weight * self.before)
        return h + F.linear(F.relu(h), self.second.weight * self.upto, self.second.bias)


class Patched(nn.Module):
    """A causal network over patches of fold x fold pixels, with the face of one over pixels."""

    reach = 0

    def __init__(self, net: nn.Module, fold: int, channels: int, width: int, context: int = 0):
        """net: takes fold * fold * channels. width: of a pixel's features."""
        super().__init__()
        self.net, self.fold, self.width = net, fold, width
        self.inside = Inside(net.width, channels, fold * fold, width)
        self.told = Pointwise(context, width, bias=False) if context else None

    def grid(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to patches (N, f f C, h, w), pixel by pixel; what lies beyond the image is zero."""
        f, (h, w) = self.fold, x.shape[-2:]
        x = F.pad(x, (0, -w % f, 0, -h % f)).unflatten(2, (-1, f)).unflatten(4, (-1, f))  # (N, C, h, f, w, f)
        return x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)

    def coarse(self, context: Tensor | None) -> Tensor | None:
        """What a patch may know besides: the mean over it."""
        if context is None or context.shape[2:] == (1, 1):
            return context
        h, w = context.shape[-2:]
        return F.avg_pool2d(F.pad(context, (0, -w % self.fold, 0, -h % self.fold), mode="replicate"), self.fold)

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        (height, width), f = x.shape[-2:], self.fold
        patches = self.grid(x)
        features = self.net(patches, self.coarse(context), drop).permute(0, 2, 3, 1)  # (N, h, w, D)
        y = self.inside(self.inside.base(features), patches.permute(0, 2, 3, 1))  # (N, h, w, f f d)
        y = y.unflatten(3, (f, f, self.width)).permute(0, 5, 1, 3, 2, 4)  # (N, d, h, f, w, f)
        y = y.flatten(4, 5).flatten(2, 3)[:, :, :height, :width]
        return y if self.told is None else y + self.told(context)

    def walk(self, x: Grown, context: Tensor | None = None) -> "PatchedWalk":
        return PatchedWalk(self, x, context)


class PatchedWalk(Walk):
    """Patch by patch, and pixel by pixel inside each."""

    def __init__(self, net: Patched, x: Grown, context: Tensor | None):
        self.net, self.x, self.context, self.latest = net, x, context, None
        f, inner = net.fold, net.net
        self.patches = Grown(x.data, -(-x.height // f), -(-x.width // f), x.data.shape[-1] * f * f, inner.reach)
        self.coarse = inner.walk(self.patches, net.coarse(context))

    def order(self) -> Iterator[tuple[int, int]]:
        f, x = self.net.fold, self.x
        for top, left in product(range(0, x.height, f), range(0, x.width, f)):
            yield from product(range(top, min(top + f, x.height)), range(left, min(left + f, x.width)))

    def patch(self, top: int, left: int) -> Tensor:
        """The patch at a place of the grid, so far: (N, f f C)."""
        f = self.net.fold
        pixels = self.x.inside[:, top * f : (top + 1) * f, left * f : (left + 1) * f]
        return F.pad(pixels, (0, 0, 0, f - pixels.shape[2], 0, f - pixels.shape[1])).flatten(1)

    def at(self, row: int, column: int) -> Tensor:
        net, f = self.net, self.net.fold
        (top, i), (left, j) = divmod(row, f), divmod(column, f)
        if i == 0 and j == 0:
            if self.latest is not None:
                self.patches.inside[:, *self.latest] = self.patch(*self.latest)
            self.latest, self.base = (top, left), net.inside.base(self.coarse.at(top, left))
        place, d = i * f + j, net.width
        y = net.inside(self.base, self.patch(top, left))[:, place * d : (place + 1) * d]
        return y if net.told is None else y + point(net.told, there(self.context, row, column))
