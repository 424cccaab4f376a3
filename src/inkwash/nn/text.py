"""What a text says, as one vector a token: a small transformer, trained together with the model that reads it.

References: 1. Vaswani et al. 2017, Attention Is All You Need. 2. Saharia et al. 2022, Imagen (every token of the text, not one vector, is
what an image model attends to).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import attend, heads_of, zero_
from inkwash.nn.tokenizer import PAD, TokenizerConfig


class TextConfig(Config):
    """width: of a token. blocks: how many. head: channels of one head. mlp: hidden width, in widths."""

    kind: Literal["own"] = "own"
    width: int = Field(192, ge=4, multiple_of=4)
    blocks: int = Field(4, ge=0)
    head: int = Field(64, ge=1)
    mlp: int = Field(4, ge=1)
    tokenizer: TokenizerConfig = TokenizerConfig()

    def build(self) -> "TextEncoder":
        return TextEncoder(self)


class TextBlock(nn.Module):
    """Attention of all tokens to all others, then an MLP, each after a norm and residual."""

    def __init__(self, config: TextConfig):
        super().__init__()
        w = config.width
        self.heads, self.norm1, self.norm2 = heads_of(w, config.head), nn.LayerNorm(w), nn.LayerNorm(w)
        self.qkv, self.out = nn.Linear(w, 3 * w), zero_(nn.Linear(w, w))
        self.up, self.down = nn.Linear(w, config.mlp * w), zero_(nn.Linear(config.mlp * w, w))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (N, L, D), mask: bool (N, L), True = may be looked at."""
        x = x + self.out(attend(*self.qkv(self.norm1(x)).chunk(3, dim=-1), self.heads, mask))
        return x + self.down(F.silu(self.up(self.norm2(x))))


class TextEncoder(nn.Module):
    """Tokens of texts to vectors. Every text has an end, so that none is empty."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.width, self.length, self.tokenizer = config.width, config.tokenizer.length, config.tokenizer.build()
        self.into = nn.Embedding(self.tokenizer.size, config.width)
        self.places = nn.Parameter(torch.empty(config.tokenizer.length, config.width))
        for weight in (self.into.weight, self.places):
            nn.init.normal_(weight, std=0.5)
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        """int64 (N, L), on the CPU. cut: shorten what is too long; else raise ConfigError."""
        return self.tokenizer.batch(texts, cut)

    def unknown(self, text: str) -> list[str]:
        """Words of a text that it has not learnt from."""
        return self.tokenizer.unknown(text)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (N, L) to vectors (N, L, D), and where there are any: bool (N, L)."""
        mask = tokens != PAD
        x = self.into(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x), mask
