"""A U-Net for machines without a GPU as well as with one (Ronneberger et al. 2015; Ho et al. 2020; Dhariwal and Nichol 2021).

What differs from the usual one, and why: 2x2 pixels are folded into channels before the first layer, because a wide convolution
on a small map runs five times faster than a narrow one on a large map; norms have one group; attention has one wide head and sits at
the lowest resolution; maps are halved and doubled by 1x1 convolutions.
"""

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import Attention, Down, ResBlock, Up, fourier, norm, pad_to_multiple, zero_


class UNetConfig(Config):
    """width: channels at the first level. mults: width of each level, each at half the resolution of the one before.

    blocks: residual blocks a level on the way down (one more on the way up). fold: pixels folded into channels at the door.
    attention: levels with self-attention in every block, beside the middle, which always has it. head: channels of one head.
    """

    width: int = Field(64, ge=2, multiple_of=2)
    mults: tuple[PositiveInt, ...] = Field((1, 2), min_length=1)
    blocks: int = Field(2, ge=0)
    fold: int = Field(2, ge=1)
    attention: tuple[int, ...] = ()
    head: int = Field(128, ge=1)

    @property
    def stride(self) -> int:
        """Sides are padded to a multiple of this."""
        return self.fold * 2 ** (len(self.mults) - 1)


class UNet(nn.Module):
    """x: (N, C_in, H, W) of any size, t: (N,) in [0, 1], label: int64 (N,) with num_classes as the null class; to (N, C_out, H, W)."""

    def __init__(self, config: UNetConfig, c_in: int, c_out: int, num_classes: int = 0):
        super().__init__()
        self.config = config
        widths = [config.width * m for m in config.mults]
        w, d = widths[0], max(256, 2 * config.width)
        self.time = nn.Sequential(nn.Linear(w, d), nn.SiLU(), nn.Linear(d, d))
        self.label = nn.Embedding(num_classes + 1, d) if num_classes else None
        self.stem = nn.Conv2d(c_in * config.fold**2, w, 3, padding=1)

        def block(channels: int, level: int, extra: bool = False) -> nn.ModuleList:
            attend = Attention(channels, config.head) if level in config.attention else nn.Identity()
            return nn.ModuleList([ResBlock(channels, d, extra), attend])

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, c in enumerate(widths):
            if level:
                self.down.append(Down(widths[level - 1], c))
            self.down.extend(block(c, level) for _ in range(config.blocks))
        self.middle = nn.ModuleList([ResBlock(c, d), Attention(c, config.head), ResBlock(c, d)])
        for level, c in reversed(list(enumerate(widths))):
            self.up.extend(block(c, level, extra=True) for _ in range(config.blocks + 1))
            if level:
                self.up.append(Up(c, widths[level - 1]))
        self.norm = norm(c)
        self.head = zero_(nn.Conv2d(c, c_out * config.fold**2, 3, padding=1))

    def embed(self, t: Tensor, label: Tensor | None) -> Tensor:
        """(N,) and (N,) to (N, D). Without a label the null class is meant."""
        e = self.time(fourier(t, self.time[0].in_features))
        if self.label is not None:
            null = torch.full_like(t, self.label.num_embeddings - 1, dtype=torch.long)
            e = e + self.label(null if label is None else label)
        return F.silu(e)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        height, width = x.shape[-2:]
        e = self.embed(t, label)
        x = F.pixel_unshuffle(pad_to_multiple(x, self.config.stride), self.config.fold)  # (N, C f^2, H/f, W/f)
        h = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = [h]
        for layer in self.down:
            h = layer(h) if isinstance(layer, Down) else layer[1](layer[0](h, e))
            skips.append(h)
        h = self.middle[2](self.middle[1](self.middle[0](h, e)), e)
        for layer in self.up:
            h = layer(h) if isinstance(layer, Up) else layer[1](layer[0](h, e, skips.pop()))
        h = self.head(F.silu(self.norm(h)))
        return F.pixel_shuffle(h, self.config.fold)[..., :height, :width]  # (N, C_out, H, W)
