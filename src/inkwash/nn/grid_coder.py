"""From an image to a small grid of vectors, and back: what discrete and continuous latents of images are made with."""

import math

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import Down, ResBlock, Up, norm, pad_to_multiple


class GridConfig(Config):
    """stride: pixels a place of the grid stands for, to each side. width: channels at half the image's size, doubled at each halving up to
    `most`. blocks: residual blocks at each size.
    """

    stride: int = Field(4, ge=2)
    width: int = Field(64, ge=2)
    most: int = Field(256, ge=2)
    blocks: int = Field(2, ge=1)

    @field_validator("stride")
    @classmethod
    def _power(cls, stride: int) -> int:
        if stride & (stride - 1):
            raise ValueError("a stride is a power of two")
        return stride

    def widths(self) -> list[int]:
        return [min(self.width * 2**i, self.most) for i in range(int(math.log2(self.stride)))]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Of the grid."""
        return -(-height // self.stride), -(-width // self.stride)


class GridEncoder(nn.Module):
    """(N, C, H, W) to (N, D, h, w)."""

    def __init__(self, config: GridConfig, channels: int, d: int):
        super().__init__()
        self.stride, widths = config.stride, config.widths()
        self.stem = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, w in enumerate(widths):
            layers += [Down(widths[level - 1], w)] if level else []
            layers += [ResBlock(w) for _ in range(config.blocks)]
        self.layers, self.norm, self.out = nn.Sequential(*layers), norm(widths[-1]), nn.Conv2d(widths[-1], d, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pad_to_multiple(x, self.stride), 2)  # (N, 4 C, H / 2, W / 2)
        return self.out(F.silu(self.norm(self.layers(self.stem(x.contiguous(memory_format=torch.channels_last))))))


class GridDecoder(nn.Module):
    """(N, D, h, w) to (N, C, H, W); a grid of the image's own size is cut to it, any other gives all its pixels."""

    def __init__(self, config: GridConfig, shape: tuple[int, int, int], d: int):
        super().__init__()
        c, *self.side = shape
        self.grid = config.size(*self.side)
        widths = config.widths()[::-1]
        self.stem = nn.Conv2d(d, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, w in enumerate(widths):
            layers += [Up(widths[level - 1], w, "bilinear")] if level else []
            layers += [ResBlock(w) for _ in range(config.blocks)]
        top = max(1, widths[-1] // 2)
        layers += [Up(widths[-1], top, "bilinear"), ResBlock(top)]
        self.layers, self.norm, self.out = nn.Sequential(*layers), norm(top), nn.Conv2d(top, c, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.layers(self.stem(z.contiguous(memory_format=torch.channels_last)))
        height, width = self.side if z.shape[-2:] == self.grid else (None, None)
        return self.out(F.silu(self.norm(h)))[..., :height, :width]
