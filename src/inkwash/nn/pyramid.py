"""Encoder, decoder and critic's trunk: residual blocks that halve or double a map. VAEs, GANs and classifiers are made of them."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.conv import Conv3x3
from inkwash.nn.layers import Attention, Down, ResBlock, Up, norm, pad_to_multiple


class PyramidConfig(Config):
    """width: channels at the first level, doubled at each further level up to `most`. blocks: residual blocks a level.

    fold: pixels folded into channels at the door. smallest: levels are added while the map's short side stays at least this.
    attention: short sides of the maps that a layer of self-attention looks over (Zhang et al. 2019, SAGAN).
    """

    kind: Literal["pyramid"] = "pyramid"
    couples: ClassVar[bool] = False
    width: int = Field(64, ge=1)
    most: int = Field(256, ge=1)
    blocks: int = Field(1, ge=0)
    fold: int = Field(2, ge=1)
    smallest: int = Field(4, ge=1)
    attention: tuple[int, ...] = ()

    def levels(self, height: int, width: int) -> int:
        side = min(height, width) / self.fold
        return 1 + max(0, int(math.log2(max(side, 1) / self.smallest)))

    def widths(self, height: int, width: int) -> list[int]:
        return [min(self.width * 2**i, self.most) for i in range(self.levels(height, width))]

    def bottom(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the smallest map, and so the stride: sides are padded to a multiple of it."""
        stride = self.stride(height, width)
        return self.widths(height, width)[-1], -(-height // stride), -(-width // stride)

    def stride(self, height: int, width: int) -> int:
        return self.fold * 2 ** (self.levels(height, width) - 1)

    def looks(self, height: int, width: int, level: int, channels: int) -> list[nn.Module]:
        """The attention of a level, or nothing."""
        side = -(-min(height, width) // (self.fold * 2**level))
        return [Attention(channels)] if side in self.attention else []

    def generator(self, shape: tuple[int, int, int], d_in: int) -> "Decoder":
        return Decoder(self, shape, d_in)

    def trunk(self, shape: tuple[int, int, int]) -> "Trunk":
        return Trunk(self, shape)


class Encoder(nn.Module):
    """(N, C, H, W) to a vector (N, D)."""

    def __init__(self, config: PyramidConfig, shape: tuple[int, int, int], d_out: int):
        super().__init__()
        c, height, width = shape
        self.config, widths = config, config.widths(height, width)
        self.stride = config.stride(height, width)
        self.stem = nn.Conv2d(c * config.fold**2, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, w in enumerate(widths):
            if level:
                layers.append(Down(widths[level - 1], w))
            layers += [ResBlock(w) for _ in range(config.blocks)]
        self.layers = nn.Sequential(*layers)
        self.norm = norm(widths[-1])
        self.out = nn.Linear(math.prod(config.bottom(height, width)), d_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pad_to_multiple(x, self.stride), self.config.fold)  # (N, C f^2, H/f, W/f)
        h = self.layers(self.stem(x.contiguous(memory_format=torch.channels_last)))
        return self.out(F.silu(self.norm(h)).flatten(1))


class Decoder(nn.Module):
    """A vector (N, D) to (N, C, H, W); every block is modulated by the vector too (Karras et al. 2019, AdaIN in spirit)."""

    def __init__(self, config: PyramidConfig, shape: tuple[int, int, int], d_in: int):
        super().__init__()
        c, self.height, self.width = shape
        self.config, widths = config, config.widths(self.height, self.width)
        self.bottom = config.bottom(self.height, self.width)
        self.into = nn.Linear(d_in, math.prod(self.bottom))
        self.layers = nn.ModuleList()
        for level in reversed(range(len(widths))):
            self.layers.extend(ResBlock(widths[level], d_in) for _ in range(config.blocks))
            self.layers.extend(config.looks(self.height, self.width, level, widths[level]))
            if level:
                self.layers.append(Up(widths[level], widths[level - 1], "bilinear"))
        top = widths[0]
        if config.fold > 1:  # not the encoder's fold undone: pixels unfolded from one place show as a grid
            coarse, top = top, max(1, top // 2)
            self.layers.extend([Up(coarse, top, "bilinear", config.fold), ResBlock(top, d_in)])
        self.norm = norm(top)
        self.out = nn.Conv2d(top, c, 3, padding=1)

    def forward(self, e: Tensor) -> Tensor:
        h = self.into(e).unflatten(1, self.bottom).contiguous(memory_format=torch.channels_last)  # (N, C, h, w)
        for layer in self.layers:
            h = layer(h, e) if isinstance(layer, ResBlock) else layer(h)
        return self.out(F.silu(self.norm(h)))[..., : self.height, : self.width]


class _CriticBlock(nn.Module):
    """A residual block without a norm, for critics: a norm would couple what R1 penalises."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = (Conv3x3(channels, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.leaky_relu(x, 0.2))
        return (x + self.conv2(F.leaky_relu(h, 0.2))) * 0.5**0.5


class Trunk(nn.Module):
    """A critic but for its last layer: (N, C, H, W) to (N, D)."""

    def __init__(self, config: PyramidConfig, shape: tuple[int, int, int]):
        super().__init__()
        c, height, width = shape
        self.config, widths = config, config.widths(height, width)
        self.stride, self.width = config.stride(height, width), widths[-1]
        self.stem = nn.Conv2d(c * config.fold**2, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, w in enumerate(widths):
            if level:
                layers.append(Down(widths[level - 1], w))
            layers += [_CriticBlock(w) for _ in range(config.blocks)]
            layers += config.looks(height, width, level, w)
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(math.prod(config.bottom(height, width)), widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pad_to_multiple(x, self.stride), self.config.fold)
        h = self.layers(self.stem(x.contiguous(memory_format=torch.channels_last)))
        return F.leaky_relu(self.hidden(F.leaky_relu(h, 0.2).flatten(1)), 0.2)
