"""A causal transformer over pixels, or over patches whose pixels follow each other inside.

A token is told the patch before its own and looks at all earlier tokens; it speaks of its own patch. Inside a patch, each pixel's
features come from the token and from the patch's earlier pixels, through two layers whose weights are masked as in MADE, so that the
whole stays exact.

References: 1. Chen et al. 2020, Generative Pretraining from Pixels (ImageGPT). 2. Germain et al. 2015, MADE (masked layers).
"""

from collections.abc import Iterator
from itertools import product
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.causal import Drop, Grown, Walk, keep, point, there, with_ones
from inkwash.nn.dit import positions
from inkwash.nn.layers import Pointwise, heads_of, zero_


class TransformerConfig(Config):
    """width: of a token. blocks: how many. fold: side of a patch, 1 for pixels. pixel: width of a pixel's features inside a patch.
    head: channels of one head. mlp: hidden width, in widths.
    """

    kind: Literal["transformer"] = "transformer"
    width: int = Field(192, ge=4, multiple_of=4)
    blocks: int = Field(8, ge=1)
    fold: int = Field(2, ge=1)
    pixel: int = Field(64, ge=1)
    head: int = Field(96, ge=1)
    mlp: int = Field(4, ge=1)

    def build(self, channels: int, context: int = 0) -> "CausalTransformer":
        return CausalTransformer(self, channels, context)


class Block(nn.Module):
    """Attention to this token and those before it, then an MLP, both residual."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        w = config.width
        self.heads = heads_of(w, config.head)
        self.norm1, self.norm2 = nn.LayerNorm(w), nn.LayerNorm(w)
        self.qkv, self.out = nn.Linear(w, 3 * w), zero_(nn.Linear(w, w))
        self.up, self.down = nn.Linear(w, config.mlp * w), zero_(nn.Linear(config.mlp * w, w))

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values: (N, T, D) to (N, heads, T, D / heads) each."""
        return tuple(y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, dim=-1))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Written out: with few wide heads two matrix products are faster on a CPU than the fused kernel. mask: added, (S, T)."""
        score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (N, heads, S, T)
        score = score if mask is None else score + mask.to(score.dtype)
        return self.out((score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2))

    def think(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.up(self.norm2(x))))

    def forward(self, x: Tensor, mask: Tensor, drop: Drop) -> Tensor:
        x = x + drop(self.attend(*self.split(x), mask), -1)
        return x + drop(self.think(x), -1)


class Inside(nn.Module):
    """Features of a patch's pixels, each from the token and from the pixels before it in the patch."""

    def __init__(self, config: TransformerConfig, channels: int):
        super().__init__()
        self.count, self.d = config.fold**2, config.pixel
        self.base = nn.Linear(config.width, self.count * self.d)
        self.first, self.second = (
            nn.Linear(self.count * channels, self.count * self.d, bias=False),
            nn.Linear(self.count * self.d, self.count * self.d),
        )
        before, upto = (torch.ones(self.count, self.count).tril(k) for k in (-1, 0))
        self.register_buffer("before", before.repeat_interleave(self.d, 0).repeat_interleave(channels, 1), persistent=False)
        self.register_buffer("upto", upto.repeat_interleave(self.d, 0).repeat_interleave(self.d, 1), persistent=False)

    def forward(self, token: Tensor, patch: Tensor) -> Tensor:
        """token: (N, T, D), patch: (N, T, count channels), pixel by pixel, to (N, T, count, d)."""
        return self.from_base(self.base(token), patch).unflatten(-1, (self.count, self.d))

    def from_base(self, base: Tensor, patch: Tensor) -> Tensor:
        """The same, of what the token says already: (..., count d)."""
        h = base + F.linear(patch, self.first.weight * self.before)
        return h + F.linear(F.relu(h), self.second.weight * self.upto, self.second.bias)


class CausalTransformer(nn.Module):
    """Tokens of patches in raster order."""

    def __init__(self, config: TransformerConfig, channels: int, context: int = 0):
        super().__init__()
        f, w = config.fold, config.width
        self.fold, self.reach = f, f
        self.width = w if f == 1 else config.pixel
        self.into = nn.Linear((channels + 1) * f * f, w)
        self.begin = nn.Parameter(torch.zeros(w))
        self.told = Pointwise(context, w, bias=False) if context else None
        self.told_pixel = Pointwise(context, self.width, bias=False) if context and f > 1 else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(w)
        self.inside = Inside(config, channels + 1) if f > 1 else None

    def patches(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, T, f f C), pixel by pixel; what lies beyond the image is zero."""
        f, (h, w) = self.fold, x.shape[-2:]
        x = F.pad(x, (0, -w % f, 0, -h % f))
        return x.unflatten(2, (-1, f)).unflatten(4, (-1, f)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def places(self, height: int, width: int, context: Tensor | None) -> Tensor:
        """What every token knows before it has seen anything: (1 or N, T, D)."""
        h, w = -(-height // self.fold), -(-width // self.fold)
        out = positions(h, w, self.begin.shape[0], self.begin.device).to(self.begin.dtype)[None]
        if self.told is not None:
            out = out + F.adaptive_avg_pool2d(self.told(context), (h, w)).flatten(2).transpose(1, 2)
        return out

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        (height, width), f = x.shape[-2:], self.fold
        patches = self.patches(with_ones(x))  # (N, T, f f C)
        tokens = torch.cat([self.begin.expand(len(x), 1, -1), self.into(patches[:, :-1])], dim=1)
        tokens = tokens + self.places(height, width, context)
        mask = torch.full((tokens.shape[1],) * 2, -torch.inf, device=x.device).triu(1)
        for block in self.blocks:
            tokens = block(tokens, mask, drop)
        tokens = self.norm(tokens)
        h, w = -(-height // f), -(-width // f)
        if self.inside is None:
            return tokens.transpose(1, 2).unflatten(2, (h, w))
        y = self.inside(tokens, patches).unflatten(2, (f, f)).unflatten(1, (h, w))  # (N, h, w, f, f, d)
        y = y.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)[:, :, :height, :width]  # (N, d, H, W)
        return y if self.told_pixel is None else y + self.told_pixel(context)

    def walk(self, x: Grown, context: Tensor | None = None) -> "TransformerWalk":
        return TransformerWalk(self, x, context)


class TransformerWalk(Walk):
    """A transformer token by token, its keys and values kept; and pixel by pixel inside a patch."""

    def __init__(self, net: CausalTransformer, x: Grown, context: Tensor | None):
        self.net, self.x, self.context, self.token = net, x, context, 0
        self.places = net.places(x.height, x.width, context)
        block, count = net.blocks[0], self.places.shape[1]
        size = (len(net.blocks), 2, len(x.data), block.heads, count, self.places.shape[2] // block.heads)
        self.seen = x.data.new_zeros(size)

    def order(self) -> Iterator[tuple[int, int]]:
        f, x = self.net.fold, self.x
        for top, left in product(range(0, x.height, f), range(0, x.width, f)):
            yield from product(range(top, min(top + f, x.height)), range(left, min(left + f, x.width)))

    def patch(self, row: int, column: int) -> Tensor:
        """The patch that a pixel is in, so far: (N, f f C)."""
        f = self.net.fold
        top, left = row // f * f, column // f * f
        pixels = self.x.inside[:, top : top + f, left : left + f]
        return F.pad(pixels, (0, 0, 0, f - pixels.shape[2], 0, f - pixels.shape[1])).flatten(1)

    def at(self, row: int, column: int) -> Tensor:
        f, inside = self.net.fold, self.net.inside
        if row % f == 0 and column % f == 0:
            token = self._next()
            self.said = token if inside is None else inside.base(token)
            self.latest = (row, column)
        if inside is None:
            return self.said
        place, d = row % f * f + column % f, inside.d
        y = inside.from_base(self.said, self.patch(row, column))[:, place * d : (place + 1) * d]
        return y if self.net.told_pixel is None else y + point(self.net.told_pixel, there(self.context, row, column))

    def _next(self) -> Tensor:
        """The next token, (N, D)."""
        net, t = self.net, self.token
        n = len(self.x.data)
        x = net.begin.expand(n, -1) if t == 0 else net.into(self.patch(*self.latest))
        x = (x + self.places[:, t])[:, None]  # (N, 1, D)
        for i, block in enumerate(net.blocks):
            q, k, v = block.split(x)
            keys, values = self.seen[i, 0], self.seen[i, 1]
            keys[:, :, t], values[:, :, t] = k[:, :, 0], v[:, :, 0]
            x = x + block.attend(q, keys[:, :, : t + 1], values[:, :, : t + 1], None)
            x = x + block.think(x)
        self.token += 1
        return net.norm(x)[:, 0]
