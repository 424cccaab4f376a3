"""A network that sees a picture at its own size and puts out a finer one: residual 3x3 convolutions, no norm, pixels folded at the end.

No layer looks further than its neighbours and none averages over the picture, so a pixel depends on `reach` pixels around it and on
nothing else: any size, tile by tile, is exactly what the whole picture would give.

References: 1. Lim et al. 2017, Enhanced Deep Residual Networks (EDSR: no norm). 2. Shi et al. 2016, ESPCN (pixels folded at the end, so all
work is done while the picture is small). 3. Kim et al. 2016, VDSR (what is learnt is the difference from interpolation).
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.conv import Conv3x3
from inkwash.nn.layers import zero_
from inkwash.nn.resize import resize


class RestorerConfig(Config):
    """width: channels. blocks: residual blocks of two convolutions."""

    width: int = Field(64, ge=1)
    blocks: int = Field(16, ge=1)


class Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = Conv3x3(width, width), zero_(Conv3x3(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class Restorer(nn.Module):
    """(N, C, H, W) to (N, C, scale H, scale W)."""

    def __init__(self, config: RestorerConfig, channels: int, scale: int):
        super().__init__()
        self.scale, self.reach = scale, 2 * config.blocks + 3
        self.stem = Conv3x3(channels, config.width)
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.blocks)))
        self.join = Conv3x3(config.width, config.width)
        self.out = zero_(Conv3x3(config.width, channels * scale**2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x.contiguous(memory_format=torch.channels_last))
        h = h + self.join(self.blocks(h))
        base = resize(x, self.scale * x.shape[-2], self.scale * x.shape[-1])
        return base + F.pixel_shuffle(self.out(h), self.scale).float()
