"""A U-Net for machines without a GPU as well as with one (Ronneberger et al. 2015; Ho et al. 2020; Dhariwal and Nichol 2021).

What differs from the usual one, and why (docs/en/performance.md has the figures): 2x2 pixels are folded into channels after a thin first
layer, because a wide convolution on a small map runs five times faster than a narrow one on a large map; a thin last layer at full
resolution sees the first one's output again, so that single pixels come out right; a block has one norm and one
activation for its two convolutions, because passes over memory cost as much as they do; skips are added, not concatenated, so that
the way up has convolutions as cheap as the way down; norms have one group, attention one wide head at the lowest resolution; maps
are halved and doubled by 1x1 convolutions.
"""

from typing import Literal

import torch
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.conv import Conv3x3
from inkwash.nn.layers import Attention, Down, Embedding, Pointwise, Up, VectorLinear, norm, pad_to_multiple, positions, zero_


class UNetConfig(Config):
    """width: channels at the first level. mults: width of each level, each at half the resolution of the one before.

    blocks: residual blocks a level, on the way down and on the way up. fold: side of the squares of pixels that are folded into channels.
    fine: channels at full resolution, before folding and after unfolding.
    attention: levels with self-attention in every block, beside the middle, which always has it. head: channels of one head.
    gate: the last layer sees the first one's output as it is, scaled and shifted by the time, and not through an activation: how much
    of the noise to pass on is then one number a channel. positions: sines of each place's row and column are added to the first level's
    map, so that attention knows left from right and above from below.
    """

    kind: Literal["unet"] = "unet"
    width: int = Field(64, ge=2, multiple_of=2)
    mults: tuple[PositiveInt, ...] = Field((1, 2), min_length=1)
    blocks: int = Field(2, ge=0)
    fold: int = Field(2, ge=1)
    fine: int = Field(16, ge=1)
    attention: tuple[int, ...] = ()
    head: int = Field(128, ge=1)
    gate: bool = False
    positions: bool = False

    @field_validator("attention")
    @classmethod
    def _levels(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if outside := [level for level in value if not 0 <= level < len(info.data.get("mults", ()))]:
            raise ValueError(f"level {outside[0]} does not exist: levels count from 0 and mults has {len(info.data.get('mults', ()))}")
        return value

    @property
    def stride(self) -> int:
        """Sides are padded to a multiple of this."""
        return self.fold * 2 ** (len(self.mults) - 1)

    def build(self, c_in: int, c_out: int, num_classes: int = 0, context: int | None = None) -> "UNet":
        """context: width of the tokens that every place with self-attention also attends to (cross-attention), None for none."""
        return UNet(self, c_in, c_out, num_classes, context)


def modulated(x: Tensor, by: Tensor) -> Tensor:
    """(N, C, H, W), scaled and shifted by (N, 2 C)."""
    scale, shift = by[:, :, None, None].to(x.dtype).chunk(2, dim=1)  # (N, C, 1, 1)
    return torch.addcmul(shift, x, 1 + scale)


class Looks(nn.Module):
    """Self-attention, then cross-attention where there is a context."""

    def __init__(self, channels: int, head: int, context: int | None):
        super().__init__()
        self.own = Attention(channels, head)
        self.cross = Attention(channels, head, context) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        x = self.own(x)
        return x if context is None else self.cross(x, context, mask)


class Block(nn.Module):
    """x + conv(act(scale norm(conv(x)) + shift)), scale and shift from the embedding; then attention, where its level has it."""

    def __init__(self, channels: int, embedding: int, looks: Looks | None = None):
        super().__init__()
        self.conv1, self.conv2 = Conv3x3(channels, channels), zero_(Conv3x3(channels, channels))
        self.modulate = VectorLinear(embedding, 2 * channels)
        self.looks = looks

    def forward(self, x: Tensor, e: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x: (N, C, H, W), e: (N, D), context: (N, L, D'), mask: bool (N, L)."""
        h = F.group_norm(self.conv1(x), 1)
        x = x + self.conv2(F.hardswish(modulated(h, self.modulate(e))))
        return x if self.looks is None else self.looks(x, context, mask)


class UNet(nn.Module):
    """x: (N, C_in, H, W) of any size, t: (N,) in [0, 1], label: int64 (N,) with num_classes as the null class; to (N, C_out, H, W).

    context: (N, L, D) and mask: bool (N, L), True = may be looked at.
    """

    def __init__(self, config: UNetConfig, c_in: int, c_out: int, num_classes: int = 0, context: int | None = None):
        super().__init__()
        self.config = config
        widths = [config.width * m for m in config.mults]
        w, d = widths[0], max(256, 2 * config.width)
        self.embed = Embedding(w, d, num_classes)
        self.door = nn.Conv2d(c_in, config.fine, 3, padding=1)
        self.stem = Pointwise(config.fine * config.fold**2, w)

        def blocks(level: int) -> list[Block]:
            def looks() -> Looks | None:
                return Looks(widths[level], config.head, context) if level in config.attention else None

            return [Block(widths[level], d, looks()) for _ in range(config.blocks)]

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, c in enumerate(widths):
            if level:
                self.down.append(Down(widths[level - 1], c))
            self.down.extend(blocks(level))
        self.middle = nn.ModuleList([Block(c, d, Looks(c, config.head, context)), Block(c, d)])
        for level, c in reversed(list(enumerate(widths))):
            self.up.extend(blocks(level))
            if level:
                self.up.append(Up(c, widths[level - 1]))
        self.norm = norm(c)
        self.unfold = Pointwise(c, config.fine * config.fold**2)
        self.head = nn.Conv2d(config.fine, c_out, 3, padding=1)
        self.gate = zero_(VectorLinear(d, 2 * config.fine)) if config.gate else None
        zero_(self.head) if self.gate is None else nn.init.zeros_(self.head.bias)

    def forward(
        self, x: Tensor, t: Tensor, label: Tensor | None = None, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        height, width = x.shape[-2:]
        e = self.embed(t, label)
        pixels = self.door(pad_to_multiple(x, self.config.stride).contiguous(memory_format=torch.channels_last))  # (N, F, H, W)
        h, skips = self.stem(F.pixel_unshuffle(pixels, self.config.fold)), []  # (N, C, H/f, W/f)
        if self.config.positions:
            h = h + positions(*h.shape[-2:], h.shape[1], h.device).t().unflatten(1, h.shape[-2:]).to(h.dtype)  # (C, H/f, W/f)
        for layer in self.down:
            if isinstance(layer, Down):
                h = layer(h)
            else:
                h = layer(h, e, context, mask)
                skips.append(h)
        for layer in self.middle:
            h = layer(h, e, context, mask)
        for layer in self.up:
            h = layer(h) if isinstance(layer, Up) else layer(h + skips.pop(), e, context, mask)
        h = F.pixel_shuffle(self.unfold(F.hardswish(self.norm(h))), self.config.fold)  # (N, F, H, W)
        h = F.hardswish(h + pixels) if self.gate is None else F.hardswish(h) + modulated(pixels, self.gate(e))
        return self.head(h)[..., :height, :width]  # (N, C_out, H, W)
