"""PixelRNN: rows, or diagonals, of an image as the steps of an LSTM, so that a pixel may know everything above it.

Row LSTM: the state of a row comes from that of the row above by a convolution along it, so it sees a triangle above the pixel. Diagonal
BiLSTM: the state of a pixel comes from that of its left and upper neighbours, so it sees everything above and to the left; a second one,
from the right, is moved down by a row, so that it sees what is above and to the right.

Reference: 1. van den Oord et al. 2016, Pixel Recurrent Neural Networks, sections 3.1 to 3.3, table 1.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.causal import CausalConv, Drop, Grown, Taps, Walk, keep, point, there
from inkwash.nn.layers import Pointwise, zero_


class RowLSTMConfig(Config):
    """width: of the state; features between layers are twice as wide. layers: how many. first: how far the first kernel sees. reach: that
    of the kernels along a row.
    """

    kind: Literal["row-lstm"] = "row-lstm"
    width: int = Field(32, ge=1)
    layers: int = Field(7, ge=1)
    first: int = Field(3, ge=1)
    reach: int = Field(1, ge=1)

    def build(self, channels: int, context: int = 0) -> "RowLSTM":
        return RowLSTM(self, channels, context)


class DiagonalConfig(Config):
    """width: of either state; features between layers are twice as wide. layers: how many. first: how far the first kernel sees."""

    kind: Literal["diagonal-lstm"] = "diagonal-lstm"
    width: int = Field(32, ge=1)
    layers: int = Field(5, ge=1)
    first: int = Field(3, ge=1)

    def build(self, channels: int, context: int = 0) -> "DiagonalLSTM":
        return DiagonalLSTM(self, channels, context)


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: gates (..., 4 D) and the old cell (..., D) to the new state and cell [1, equation 3]."""
    o, f, i, g = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def empty(like: Tensor, *shape: int) -> Tensor:
    """A state before the first step; never in half precision, which would wear a sum of many steps down."""
    return like.new_zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32))


class RowLayer(nn.Module):
    """x + conv1x1(h), h the states of an LSTM whose steps are rows."""

    def __init__(self, config: RowLSTMConfig, context: int):
        super().__init__()
        self.w, self.reach = config.width, config.reach
        self.into = CausalConv(2 * self.w, 4 * self.w, 0, config.reach, "itself")
        self.state = nn.Linear((2 * config.reach + 1) * self.w, 4 * self.w, bias=False)
        self.told = Pointwise(context, 4 * self.w, bias=False) if context else None
        self.out = zero_(Pointwise(self.w, 2 * self.w))

    def along(self, h: Tensor) -> Tensor:
        """What the states of a row hand to the next one: (N, W, w) to (N, W, 4 w)."""
        seen = F.pad(h, (0, 0, self.reach, self.reach)).unfold(1, 2 * self.reach + 1, 1)  # (N, W, w, k)
        return self.state(seen.flatten(2))

    def forward(self, x: Tensor, context: Tensor | None, drop: Drop) -> Tensor:
        gates = self.into(x)
        if self.told is not None:
            gates = gates + self.told(context)
        rows, states = gates.permute(2, 0, 3, 1), []  # (H, N, W, 4 w)
        h = c = empty(rows, *rows.shape[1:3], self.w)
        for row in rows:
            h, c = cell(row + self.along(h), c)
            states.append(h)
        return x + self.out(drop(torch.stack(states).permute(1, 3, 0, 2)))


class RowLSTM(nn.Module):
    """A masked convolution, then layers of Row LSTM."""

    def __init__(self, config: RowLSTMConfig, channels: int, context: int = 0):
        super().__init__()
        self.width, self.reach = 2 * config.width, max(config.first, config.reach)
        self.first = CausalConv(channels, self.width, config.first, config.first, "before")
        self.layers = nn.ModuleList(RowLayer(config, context) for _ in range(config.layers))

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, context, drop)
        return x

    def walk(self, x: Grown, context: Tensor | None = None) -> "RowWalk":
        return RowWalk(self, x, context)


class RowWalk(Walk):
    """A Row LSTM pixel by pixel: what a row gets from the one above is computed when it is begun."""

    def __init__(self, net: RowLSTM, x: Grown, context: Tensor | None):
        self.net, self.x, self.context, w = net, x, context, net.width // 2
        self.first, self.into = Taps(net.first), [Taps(layer.into) for layer in net.layers]
        self.maps = [x.beside(2 * w) for _ in net.layers]
        self.h, self.c = (x.data.new_zeros(len(net.layers), len(x.data), x.width, w) for _ in range(2))  # of the row at hand

    def at(self, row: int, column: int) -> Tensor:
        if column == 0:
            self.fed = [layer.along(h) for layer, h in zip(self.net.layers, self.h)]
        x, context = self.first.pixel(self.x, row, column), there(self.context, row, column)
        for i, layer in enumerate(self.net.layers):
            self.maps[i].inside[:, row, column] = x
            gates = self.into[i].pixel(self.maps[i], row, column) + self.fed[i][:, column]
            if layer.told is not None:
                gates = gates + point(layer.told, context)
            h, self.c[i, :, column] = cell(gates, self.c[i, :, column])
            self.h[i, :, column] = h
            x = x + point(layer.out, h)
        return x


def skew(x: Tensor) -> Tensor:
    """Move row r to the right by r: (N, H, W, D) to (N, H, W + H - 1, D), diagonals as columns."""
    n, h, w, d = x.shape
    return F.pad(x, (0, 0, 0, h)).reshape(n, h * (w + h), d)[:, : h * (w + h - 1)].view(n, h, w + h - 1, d)


def unskew(x: Tensor) -> Tensor:
    """The inverse of `skew`."""
    n, h, long, d = x.shape
    return F.pad(x.reshape(n, h * long, d), (0, 0, 0, h)).view(n, h, long + 1, d)[:, :, : long + 1 - h]


class Diagonal(nn.Module):
    """An LSTM whose steps are diagonals, from the upper left: the state of a pixel comes from its left and its upper neighbour's."""

    def __init__(self, width: int, context: int):
        super().__init__()
        self.w = width
        self.into = Pointwise(2 * width, 4 * width)
        self.state = nn.Linear(2 * width, 4 * width, bias=False)
        self.told = Pointwise(context, 4 * width, bias=False) if context else None

    def gates(self, x: Tensor, context: Tensor | None) -> Tensor:
        """What the pixels say, before any state: (N, 2 w, H, W) to (N, 4 w, H, W)."""
        return self.into(x) if self.told is None else self.into(x) + self.told(context)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """(N, 2 w, H, W) to states (N, H, W, w)."""
        gates = skew(self.gates(x, context).permute(0, 2, 3, 1))  # (N, H, W + H - 1, 4 w)
        begun = torch.arange(gates.shape[1], device=x.device)[:, None]  # row r begins on diagonal r
        h = c = empty(gates, *gates.shape[:2], self.w)
        states = []
        for i, step in enumerate(gates.unbind(2)):  # (N, H, 4 w)
            above = F.pad(h, (0, 0, 1, 0))[:, :-1]
            h, c = cell(step + self.state(torch.cat([h, above], dim=-1)), c)
            h, c = h * (begun <= i), c * (begun <= i)
            states.append(h)
        return unskew(torch.stack(states, dim=2))


class DiagonalLayer(nn.Module):
    """x + conv1x1(states from the left + states from the right, a row down)."""

    def __init__(self, config: DiagonalConfig, context: int):
        super().__init__()
        self.left, self.right = Diagonal(config.width, context), Diagonal(config.width, context)
        self.out = zero_(Pointwise(config.width, 2 * config.width))

    def forward(self, x: Tensor, context: Tensor | None, drop: Drop) -> Tensor:
        turned = context.flip(3) if context is not None else None
        right = self.right(x.flip(3), turned).flip(2)
        h = self.left(x, context) + F.pad(right, (0, 0, 0, 0, 1, 0))[:, :-1]  # (N, H, W, w)
        return x + self.out(drop(h.permute(0, 3, 1, 2)))


class DiagonalLSTM(nn.Module):
    """A masked convolution, then layers of Diagonal BiLSTM."""

    def __init__(self, config: DiagonalConfig, channels: int, context: int = 0):
        super().__init__()
        self.width, self.reach = 2 * config.width, config.first
        self.first = CausalConv(channels, self.width, config.first, config.first, "before")
        self.layers = nn.ModuleList(DiagonalLayer(config, context) for _ in range(config.layers))

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, context, drop)
        return x

    def walk(self, x: Grown, context: Tensor | None = None) -> "DiagonalWalk":
        return DiagonalWalk(self, x, context)


class DiagonalWalk(Walk):
    """A Diagonal BiLSTM pixel by pixel: the states from the right follow when their row is whole."""

    def __init__(self, net: DiagonalLSTM, x: Grown, context: Tensor | None):
        self.net, self.x, self.context, w = net, x, context, net.width // 2
        self.first = Taps(net.first)
        self.maps = [x.beside(2 * w) for _ in net.layers]
        self.left, self.right = ([(x.beside(w).data, x.beside(w).data) for _ in net.layers] for _ in range(2))  # states and cells

    def at(self, row: int, column: int) -> Tensor:
        if column == 0 and row > 0:
            self._back(row - 1)
        x, context, edge = self.first.pixel(self.x, row, column), there(self.context, row, column), self.x.reach
        r, k = edge + row, edge + column
        for i, layer in enumerate(self.net.layers):
            self.maps[i].inside[:, row, column] = x
            states, cells = self.left[i]
            gates = self._gates(layer.left, x, context) + layer.left.state(torch.cat([states[:, r, k - 1], states[:, r - 1, k]], dim=-1))
            states[:, r, k], cells[:, r, k] = cell(gates, cells[:, r, k - 1])
            x = x + point(layer.out, states[:, r, k] + self.right[i][0][:, r - 1, k])
        return x

    @staticmethod
    def _gates(part: Diagonal, x: Tensor, context: Tensor | None) -> Tensor:
        return point(part.into, x) if part.told is None else point(part.into, x) + point(part.told, context)

    def _back(self, row: int) -> None:
        """The states from the right of a row that is whole."""
        r, edge = self.x.reach + row, self.x.reach
        for i, layer in enumerate(self.net.layers):
            states, cells = self.right[i]
            for column in reversed(range(self.x.width)):
                k = edge + column
                gates = self._gates(layer.right, self.maps[i].inside[:, row, column], there(self.context, row, column))
                gates = gates + layer.right.state(torch.cat([states[:, r, k + 1], states[:, r - 1, k]], dim=-1))
                states[:, r, k], cells[:, r, k] = cell(gates, cells[:, r, k + 1])
