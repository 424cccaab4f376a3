"""PixelCNN and Gated PixelCNN.

PixelCNN masks the kernel of every convolution [1]; stacked, the masks leave a wedge to the right unseen however deep the network is. The
gated one has two stacks [2]: one over all rows above, and one along the pixel's own row, fed by the first; nothing is left unseen.

References: 1. van den Oord et al. 2016, Pixel Recurrent Neural Networks, sections 3.4 and 3.5, table 1. 2. van den Oord et al. 2016,
Conditional Image Generation with PixelCNN Decoders, equation 2 and figure 2. 3. Chen et al. 2018, PixelSNAIL, section 3.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.causal import CausalConv, Drop, Grown, Taps, Walk, keep, point, there
from inkwash.nn.causal_transformer import Look, Looking
from inkwash.nn.layers import Pointwise, positions, zero_


class PixelCNNConfig(Config):
    """width: channels between blocks, half of them inside. blocks: how many. first, reach: how far the first kernel, and the others,
    see. attention: after every so many blocks, attention to all that came before [3]; 0 for none. head: channels of one of its heads.
    """

    kind: Literal["pixelcnn"] = "pixelcnn"
    width: int = Field(128, ge=2, multiple_of=2)
    blocks: int = Field(12, ge=1)
    first: int = Field(3, ge=1)
    reach: int = Field(1, ge=1)
    attention: int = Field(0, ge=0)
    head: int = Field(128, ge=1)

    def build(self, channels: int, context: int = 0) -> "PixelCNN":
        return PixelCNN(self, channels, context)


class GatedConfig(Config):
    """width: channels of either stack. blocks: how many. first, reach: how far the first kernel, and the others, see."""

    kind: Literal["gated"] = "gated"
    width: int = Field(64, ge=1)
    blocks: int = Field(10, ge=1)
    first: int = Field(3, ge=1)
    reach: int = Field(1, ge=1)

    def build(self, channels: int, context: int = 0) -> "GatedPixelCNN":
        return GatedPixelCNN(self, channels, context)


class Masked(nn.Module):
    """x + conv1x1(relu(masked(relu(conv1x1(relu(x)))))): the block of [1], figure 5 and table 1."""

    def __init__(self, config: PixelCNNConfig, context: int):
        super().__init__()
        half = config.width // 2
        self.into = Pointwise(config.width, half)
        self.look = CausalConv(half, half, config.reach, config.reach, "itself")
        self.told = Pointwise(context, half, bias=False) if context else None
        self.out = zero_(Pointwise(half, config.width))

    def forward(self, x: Tensor, context: Tensor | None, drop: Drop) -> Tensor:
        h = self.look(F.relu(self.into(F.relu(x))))
        if self.told is not None:
            h = h + self.told(context)
        return x + self.out(drop(F.relu(h)))


class PixelCNN(nn.Module):
    """One stack of masked convolutions, with attention here and there where it is asked for."""

    def __init__(self, config: PixelCNNConfig, channels: int, context: int = 0):
        super().__init__()
        self.width, self.reach, every = config.width, max(config.first, config.reach), config.attention
        self.first = CausalConv(channels, config.width, config.first, config.first, "before")
        self.blocks = nn.ModuleList(Masked(config, context) for _ in range(config.blocks))
        self.looks = nn.ModuleList(Look(config.width, config.head) for _ in range(config.blocks // every if every else 0))
        self.look_after = {every * (i + 1) - 1: i for i in range(len(self.looks))}

    def places(self, height: int, width: int) -> Tensor:
        """Where a pixel is, for attention to tell: (H W, D)."""
        like = self.first.bias
        return positions(height, width, self.width, like.device).to(like.dtype)

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        size, x = x.shape[-2:], self.first(x)
        places = self.places(*size) if self.looks else None
        for i, block in enumerate(self.blocks):
            x = block(x, context, drop)
            if i in self.look_after:
                tokens = x.flatten(2).transpose(1, 2)  # (N, T, D)
                x = x + drop(self.looks[self.look_after[i]](tokens + places), -1).transpose(1, 2).unflatten(2, size)
        return x

    def walk(self, x: Grown, context: Tensor | None = None) -> "PixelCNNWalk":
        return PixelCNNWalk(self, x, context)


class PixelCNNWalk(Walk):
    """A PixelCNN pixel by pixel."""

    def __init__(self, net: PixelCNN, x: Grown, context: Tensor | None):
        self.net, self.x, self.context = net, x, context
        self.first, self.convs = Taps(net.first), [Taps(block.look) for block in net.blocks]
        self.maps = [x.beside(conv.layer.in_channels) for conv in self.convs]
        self.places = net.places(x.height, x.width)
        self.looks = [Looking(look, len(x.data), x.height * x.width, x.data) for look in net.looks]

    def at(self, row: int, column: int) -> Tensor:
        x, context, t = self.first.pixel(self.x, row, column), there(self.context, row, column), row * self.x.width + column
        for i, (block, conv, seen) in enumerate(zip(self.net.blocks, self.convs, self.maps)):
            seen.inside[:, row, column] = F.relu(point(block.into, F.relu(x)))
            h = conv.pixel(seen, row, column)
            if block.told is not None:
                h = h + point(block.told, context)
            x = x + point(block.out, F.relu(h))
            if i in self.net.look_after:
                x = x + self.looks[self.net.look_after[i]].at(x + self.places[t], t)
        return x


def gate(x: Tensor, dim: int) -> Tensor:
    """tanh of one half times sigmoid of the other [2, equation 2]."""
    a, b = x.chunk(2, dim)
    return torch.tanh(a) * torch.sigmoid(b)


class Gated(nn.Module):
    """A layer of both stacks [2, figure 2], residual in both. first: it reads the pixels, and leaves out the one it speaks of."""

    def __init__(self, config: GatedConfig, context: int, first: int = 0):
        super().__init__()
        w, c_in, reach = config.width, first or config.width, config.first if first else config.reach
        self.above = CausalConv(c_in, 2 * w, reach, reach, "none" if first else "all")
        self.across = CausalConv(c_in, 2 * w, 0, reach, "before" if first else "itself")
        self.down = Pointwise(2 * w, 2 * w)
        self.told = Pointwise(context, 4 * w, bias=False) if context else None
        self.out = Pointwise(w, w) if first else zero_(Pointwise(w, w))

    def forward(self, v: Tensor, h: Tensor, context: Tensor | None, drop: Drop) -> tuple[Tensor, Tensor]:
        """What is added to either stack, (N, w, H, W) each."""
        a = self.above(v)
        b = self.across(h) + self.down(a)
        if self.told is not None:
            up, low = self.told(context).chunk(2, dim=1)
            a, b = a + up, b + low
        return gate(a, 1), self.out(drop(gate(b, 1)))


class GatedPixelCNN(nn.Module):
    """Two stacks: what lies above, and what lies to the left."""

    def __init__(self, config: GatedConfig, channels: int, context: int = 0):
        super().__init__()
        self.width, self.reach = config.width, max(config.first, config.reach)
        self.first = Gated(config, context, channels)
        self.blocks = nn.ModuleList(Gated(config, context) for _ in range(config.blocks))

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        v, h = self.first(x, x, context, drop)
        for block in self.blocks:
            more_v, more_h = block(v, h, context, drop)
            v, h = v + more_v, h + more_h
        return h

    def walk(self, x: Grown, context: Tensor | None = None) -> "GatedWalk":
        return GatedWalk(self, x, context)


class GatedWalk(Walk):
    """A gated PixelCNN pixel by pixel: the upper stack a row at a time, when that row is begun."""

    def __init__(self, net: GatedPixelCNN, x: Grown, context: Tensor | None):
        self.x, self.layers, self.context = x, [net.first, *net.blocks], context
        self.above, self.across = ([Taps(t) for t in taps] for taps in zip(*((g.above, g.across) for g in self.layers)))
        self.v, self.h = ([x, *(x.beside(net.width) for _ in net.blocks)] for _ in range(2))  # what each layer reads

    def at(self, row: int, column: int) -> Tensor:
        if column == 0:
            self.fed = list(self._above(row))
        h = 0
        for i, layer in enumerate(self.layers):
            if i:
                self.h[i].inside[:, row, column] = h
            h = h + point(layer.out, gate(self.across[i].pixel(self.h[i], row, column) + self.fed[i][:, column], 1))
        return h

    def _above(self, row: int):
        """The upper stack in this row; yields what each layer hands to the lower one, (N, W, 2 w)."""
        v = 0
        for i, layer in enumerate(self.layers):
            if i:
                self.v[i].inside[:, row] = v
            a = self.above[i].row(self.v[i], row)
            fed = point(layer.down, a)
            if layer.told is not None:
                told = self.context[:, :, row % self.context.shape[2]].transpose(1, 2)  # (N, W or 1, E)
                up, low = point(layer.told, told).chunk(2, dim=-1)
                a, fed = a + up, fed + low
            v = v + gate(a, -1)
            yield fed
