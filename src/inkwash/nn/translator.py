"""A network from one picture to another of its size: pixels folded, the map halved, residual blocks, and back (Johnson et al. 2016; Zhu
et al. 2017, with folds for strided convolutions)."""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import Down, ResBlock, Up, norm, pad_to_multiple, zero_

FINE = 16  # channels at full resolution


class TranslatorNetConfig(Config):
    """width: channels of the first map, twice that in the middle. blocks: residual blocks in the middle. fold: pixels folded into channels.

    residual: what is learnt is the difference from the picture that goes in, so that training starts at leaving it alone.
    """

    width: int = Field(64, ge=1)
    blocks: int = Field(6, ge=1)
    fold: int = Field(2, ge=1)
    residual: bool = True

    @property
    def stride(self) -> int:
        return 2 * self.fold


class TranslatorNet(nn.Module):
    """(N, C, H, W) to (N, C, H, W), any size."""

    def __init__(self, config: TranslatorNetConfig, channels: int):
        super().__init__()
        w, f = config.width, config.fold
        self.config = config
        self.stem = nn.Conv2d(channels * f * f, w, 3, padding=1)
        middle = (ResBlock(2 * w) for _ in range(config.blocks))
        self.layers = nn.Sequential(ResBlock(w), Down(w, 2 * w), *middle, Up(2 * w, w), ResBlock(w))
        self.norm = norm(w)
        self.unfold = nn.Conv2d(w, FINE * f * f, 3, padding=1)
        self.out = nn.Conv2d(FINE, channels, 3, padding=1)
        if config.residual:
            zero_(self.out)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        h = F.pixel_unshuffle(pad_to_multiple(x, self.config.stride), self.config.fold)  # (N, C f^2, H/f, W/f)
        h = self.layers(self.stem(h.contiguous(memory_format=torch.channels_last)))
        h = F.pixel_shuffle(self.unfold(F.silu(self.norm(h))), self.config.fold)
        h = self.out(F.silu(h))[..., :height, :width].float()
        return x.float() + h if self.config.residual else h.tanh()
