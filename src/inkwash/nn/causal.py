"""Convolutions that look at earlier pixels only: for a whole image in training, pixel by pixel in sampling.

Pixels come row by row, from left to right. In sampling every layer keeps a padded map of its inputs; a new pixel, or a new row, then costs
one gather and one matrix product a layer, instead of the whole image.

A causal network, here and in the files that build on this one, has two faces that give the same numbers. `net(x, context, drop)` takes
whole images, (N, C, H, W) to features (N, width, H, W). `net.walk(x, context)` takes a `Grown` map of the pixels so far and gives the
same features for one pixel at a time. context: (N, E, H, W) or (N, E, 1, 1), what every pixel may know besides. drop: what is
done to features inside a block while training.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.rng import Rng

Drop = Callable[..., Tensor]  # (x, dim of its channels)
Own = Literal["none", "before", "itself", "all"]


def keep(x: Tensor, dim: int = 1) -> Tensor:
    """No dropout."""
    return x


def dropping(rng: Rng, share: float) -> Drop:
    """Dropout of whole channels (Tompson et al. 2015): every row its own, and cheap to draw."""

    def drop(x: Tensor, dim: int = 1) -> Tensor:
        shape = [len(x), *(x.shape[i] if i == dim % x.ndim else 1 for i in range(1, x.ndim))]
        kept = (rng.uniform(x.shape[dim]) >= share) / (1 - share)  # (N, D)
        return x * kept.view(shape).to(x.dtype)

    return drop


def with_ones(x: Tensor) -> Tensor:
    """A channel of ones, so that pixels differ from the zeros around them: (N, C, ...) to (N, C + 1, ...)."""
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


def there(context: Tensor | None, row: int, column: int) -> Tensor | None:
    """What the context says at one pixel: (N, E, H, W) or (N, E, 1, 1) to (N, E)."""
    return None if context is None else context[:, :, row % context.shape[2], column % context.shape[3]]


def point(layer: nn.Linear, x: Tensor) -> Tensor:
    """A 1x1 convolution on vectors, (..., C) to (..., C_out)."""
    return F.linear(x, layer.weight, layer.bias)


class Walk:
    """A causal network pixel by pixel, for pixels in its order: from left to right, row by row, unless it says otherwise."""

    x: "Grown"

    def order(self) -> Iterator[tuple[int, int]]:
        """(row, column) of every pixel."""
        return product(range(self.x.height), range(self.x.width))

    def at(self, row: int, column: int) -> Tensor:
        """Features of a pixel, (N, width); every earlier one must be in x."""
        raise NotImplementedError


class CausalConv(nn.Conv2d):
    """A convolution over `up` rows above, `side` columns to either side, and what `own` says of the pixel's own row.

    own: "none" of it, the pixels "before" (mask A of PixelCNN), those and the pixel "itself" (mask B), or "all" of it, where what comes in
    has seen rows above only. (N, C_in, H, W) to (N, C_out, H, W).
    """

    def __init__(self, c_in: int, c_out: int, up: int, side: int, own: Own):
        self.up, self.left = up, side
        self.right = side if up else {"before": -1, "itself": 0, "all": side, "none": side}[own]  # a row alone is not masked but cut
        super().__init__(c_in, c_out, (up + (own != "none"), self.left + self.right + 1))
        mask = torch.ones(self.kernel_size)
        if own in ("before", "itself"):
            mask[-1, side + (own == "itself") :] = 0
        self.masked = bool((mask == 0).any())
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            self.weight *= (mask.numel() / mask.sum()) ** 0.5  # as for the inputs that there are, not for the whole rectangle

    def seen(self) -> Tensor:
        """The weight with zeros for what must not be seen."""
        return self.weight * self.mask if self.masked else self.weight

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[-2]
        x = F.pad(x, (self.left, self.right, self.up, 0))
        return F.conv2d(x, self.seen(), self.bias)[..., :height, :]


class Grown:
    """A map that is filled pixel by pixel: (N, H, W, D), zeros where nothing is yet and around it."""

    def __init__(self, like: Tensor, height: int, width: int, channels: int, reach: int):
        """like: (N, ...), for the number of rows, the type and the place."""
        self.height, self.width, self.reach = height, width, reach
        self.data = like.new_zeros(len(like), height + reach, width + 2 * reach, channels)
        self.inside = self.data[:, reach:, reach : reach + width]  # (N, H, W, D), a view

    def beside(self, channels: int) -> "Grown":
        """An empty one of the same size."""
        return Grown(self.data, self.height, self.width, channels, self.reach)


class Taps:
    """A causal layer made ready for one pixel, or one row, at a time: its weight as a matrix."""

    def __init__(self, layer: CausalConv):
        self.layer, self.bias = layer, layer.bias
        self.weight = layer.seen().permute(0, 2, 3, 1).flatten(1).t().contiguous()  # (kh kw C_in, C_out)

    def pixel(self, x: Grown, row: int, column: int) -> Tensor:
        """(N, C_out) at a pixel, of what is in the map so far."""
        (high, wide), s = self.layer.kernel_size, self.layer
        top, left = x.reach + row - s.up, x.reach + column - s.left
        return torch.addmm(self.bias, x.data[:, top : top + high, left : left + wide].flatten(1), self.weight)

    def row(self, x: Grown, row: int) -> Tensor:
        """(N, W, C_out) of a whole row, for layers that see nothing of it but what is in the map already."""
        (high, wide), s = self.layer.kernel_size, self.layer
        top, left = x.reach + row - s.up, x.reach - s.left
        rows = x.data[:, top : top + high, left : left + x.width + wide - 1]  # (N, kh, W + kw - 1, D)
        seen = rows.unfold(2, wide, 1).permute(0, 2, 1, 4, 3)  # (N, W, kh, kw, D)
        return seen.flatten(2) @ self.weight + self.bias
