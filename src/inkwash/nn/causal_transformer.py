"""A causal transformer: a token is told the pixel before its own and looks at all earlier tokens.

References: 1. Vaswani et al. 2017, Attention Is All You Need. 2. Chen et al. 2020, Generative Pretraining from Pixels (ImageGPT).
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.causal import Drop, Grown, Walk, keep
from inkwash.nn.layers import Pointwise, heads_of, positions, zero_


class TransformerConfig(Config):
    """width: of a token. blocks: how many. head: channels of one head. mlp: hidden width, in widths."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(192, ge=4, multiple_of=4)
    blocks: int = Field(8, ge=1)
    head: int = Field(96, ge=1)
    mlp: int = Field(4, ge=1)

    def build(self, channels: int, context: int = 0) -> "CausalTransformer":
        return CausalTransformer(self, channels, context)


class Look(nn.Module):
    """Attention of each token to itself and those before it, after a norm: what is added to the tokens, (N, T, D)."""

    def __init__(self, width: int, head: int):
        super().__init__()
        self.heads, self.norm = heads_of(width, head), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), zero_(nn.Linear(width, width))

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values: (N, T, D) to (N, heads, T, D / heads) each."""
        return tuple(y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(self.norm(x)).chunk(3, dim=-1))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Written out: with few wide heads two matrix products are faster on a CPU than the fused kernel. mask: added, (S, T)."""
        score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (N, heads, S, T)
        score = score if mask is None else score + mask.to(score.dtype)
        return self.out((score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(*self.split(x), causal(x))


def causal(x: Tensor) -> Tensor:
    """What keeps T tokens (N, T, D) from those after them, to be added to scores: (T, T)."""
    return torch.full((x.shape[1],) * 2, -torch.inf, device=x.device).triu(1)


class Looking:
    """A `Look` token by token: keys and values are kept."""

    def __init__(self, look: Look, n: int, tokens: int, like: Tensor):
        self.look = look
        size = (n, look.heads, tokens, look.out.in_features // look.heads)
        self.keys, self.values = like.new_zeros(size), like.new_zeros(size)

    def fill(self, x: Tensor) -> Tensor:
        """What is added to the first tokens, all at once: (N, T, D) to the same."""
        q, k, v = self.look.split(x)
        self.keys[:, :, : x.shape[1]], self.values[:, :, : x.shape[1]] = k, v
        return self.look.attend(q, k, v, causal(x))

    def reorder(self, rows: Tensor, t: int) -> None:
        """Go on with other rows, as many or fewer, of which t tokens are known."""
        for kept in (self.keys, self.values):
            kept[: len(rows), :, :t] = kept[rows, :, :t]
        self.keys, self.values = self.keys[: len(rows)], self.values[: len(rows)]

    def at(self, x: Tensor, t: int) -> Tensor:
        """What is added to token t: (N, D) to the same."""
        q, k, v = self.look.split(x[:, None])
        self.keys[:, :, t], self.values[:, :, t] = k[:, :, 0], v[:, :, 0]
        return self.look.attend(q, self.keys[:, :, : t + 1], self.values[:, :, : t + 1])[:, 0]


class Block(nn.Module):
    """Attention, then an MLP after a norm, both residual."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        w = config.width
        self.look, self.norm = Look(w, config.head), nn.LayerNorm(w)
        self.up, self.down = nn.Linear(w, config.mlp * w), zero_(nn.Linear(config.mlp * w, w))

    def think(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.up(self.norm(x))))

    def forward(self, x: Tensor, drop: Drop) -> Tensor:
        x = x + drop(self.look(x), -1)
        return x + drop(self.think(x), -1)


class CausalTransformer(nn.Module):
    """Tokens of pixels, row by row."""

    reach = 0

    def __init__(self, config: TransformerConfig, channels: int, context: int = 0):
        super().__init__()
        self.width = w = config.width
        self.into = nn.Linear(channels, w)
        self.begin = nn.Parameter(torch.zeros(w))
        self.told = Pointwise(context, w, bias=False) if context else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(w)

    def places(self, height: int, width: int, context: Tensor | None) -> Tensor:
        """What every token knows before it has seen anything: (1 or N, T, D)."""
        out = positions(height, width, self.width, self.begin.device).to(self.begin.dtype)[None]
        return out if self.told is None else out + self.told(context).expand(-1, -1, height, width).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor | None = None, drop: Drop = keep) -> Tensor:
        size = x.shape[-2:]
        pixels = self.into(x.flatten(2).transpose(1, 2)[:, :-1])  # (N, T - 1, D)
        tokens = torch.cat([self.begin.to(pixels.dtype).expand(len(x), 1, -1), pixels], dim=1) + self.places(*size, context)
        for block in self.blocks:
            tokens = block(tokens, drop)
        return self.norm(tokens).transpose(1, 2).unflatten(2, size)

    def walk(self, x: Grown, context: Tensor | None = None) -> "TransformerWalk":
        return TransformerWalk(self, x, context)


class TransformerWalk(Walk):
    """A transformer token by token: keys and values are kept."""

    def __init__(self, net: CausalTransformer, x: Grown, context: Tensor | None):
        self.net, self.x, self.places = net, x, net.places(x.height, x.width, context)
        self.looks = [Looking(block.look, len(x.data), x.height * x.width, x.data) for block in net.blocks]

    def at(self, row: int, column: int) -> Tensor:
        net, t = self.net, row * self.x.width + column
        before = self.x.inside[:, (t - 1) // self.x.width, (t - 1) % self.x.width]
        x = net.begin.expand(len(before), -1) if t == 0 else net.into(before)
        x = x + self.places[:, t]
        for block, look in zip(net.blocks, self.looks):
            x = x + look.at(x, t)
            x = x + block.think(x)
        return net.norm(x)
