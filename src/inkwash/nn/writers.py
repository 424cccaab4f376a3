"""Networks that write: a picture's places and the tokens so far in, scores of the next token and where they looked out.

Both kinds have two faces that give the same numbers: `forward` for whole captions in training, `begin` and `step` for one token at a time.

References: 1. Xu et al. 2015, Show, Attend and Tell: Neural Image Caption Generation with Visual Attention (LSTM, soft attention: section
3.1.2 and 4.2). 2. Vaswani et al. 2017, Attention Is All You Need (decoder).
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.causal_transformer import Look, Looking
from inkwash.nn.layers import full, zero_
from inkwash.nn.recurrent import cell


class LSTMWriterConfig(Config):
    """width: of a token, of the LSTM and of its attention."""

    kind: Literal["lstm"] = "lstm"
    width: int = Field(256, ge=1)

    def build(self, tokens: int, length: int, d: int) -> "LSTMWriter":
        return LSTMWriter(self, tokens, d)


class TransformerWriterConfig(Config):
    """width: of a token. blocks: how many. head: channels of one head."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(192, ge=4)
    blocks: int = Field(3, ge=1)
    head: int = Field(64, ge=1)

    def build(self, tokens: int, length: int, d: int) -> "TransformerWriter":
        return TransformerWriter(self, tokens, length, d)


Writer = Annotated[LSTMWriterConfig | TransformerWriterConfig, Field(discriminator="kind")]


class Asking(nn.Module):
    """Attention of one query to the places of a picture: what it sees there, and where it looked."""

    def __init__(self, width: int, d: int):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(d, width), nn.Linear(d, width)

    def keys(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """(N, P, D) to keys and values, (N, P, W) each."""
        return self.key(places), self.value(places)

    def forward(self, x: Tensor, keys: tuple[Tensor, Tensor], mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, L, W) to (N, L, W) and shares (N, L, P). mask: bool (N, P), True = may be looked at."""
        k, v = keys
        score = full((self.query(x) * k.shape[-1] ** -0.5) @ k.transpose(1, 2))  # (N, L, P)
        shares = (score if mask is None else score.masked_fill(~mask[:, None], -torch.inf)).softmax(-1)
        return shares.to(v.dtype) @ v, shares


class LSTMWriter(nn.Module):
    """An LSTM that looks at the picture before every word [1]. It begins with the mean of all places in mind."""

    def __init__(self, config: LSTMWriterConfig, tokens: int, d: int):
        super().__init__()
        w = config.width
        self.into, self.first = nn.Embedding(tokens, w), nn.Linear(d, 2 * w)
        self.ask, self.gate = Asking(w, d), nn.Linear(w, w)
        self.gates, self.out = nn.Linear(3 * w, 4 * w), nn.Linear(2 * w, tokens)

    def begin(self, places: Tensor) -> Any:
        """The state before any word, of pictures (N, P, D)."""
        h, c = full(self.first(places.mean(1))).tanh().chunk(2, 1)
        return (h, c), self.ask.keys(places)

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]:
        """int64 (N,) to scores of the next token (N, K), shares of the places (N, P), and the next state."""
        (h, c), keys = state
        seen, shares = self.ask(h[:, None].to(keys[0].dtype), keys)
        seen = seen[:, 0] * self.gate(h).sigmoid()  # [1], section 4.2.1: how much the picture matters for this word
        h, c = cell(self.gates(torch.cat([self.into(token).to(seen.dtype), seen, h.to(seen.dtype)], 1)), c)
        return full(self.out(torch.cat([h.to(seen.dtype), seen], 1))), shares[:, 0], ((h, c), keys)

    def forward(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (N, L) to scores of each next token (N, L, K), and shares (N, L, P)."""
        state, scores, shares = self.begin(places), [], []
        for token in tokens.unbind(1):
            score, share, state = self.step(token, state)
            scores.append(score)
            shares.append(share)
        return torch.stack(scores, 1), torch.stack(shares, 1)

    def reorder(self, state: Any, rows: Tensor, same: bool = False) -> Any:
        """The state of other rows. same: there are as many, each of the picture of the row in whose place it comes."""
        (h, c), keys = state
        return (h[rows], c[rows]), keys if same else tuple(k[rows] for k in keys)


class WriterBlock(nn.Module):
    """Attention to the tokens before, then to the picture, then an MLP, each after a norm and residual."""

    def __init__(self, width: int, head: int, d: int):
        super().__init__()
        self.look, self.norm1, self.norm2 = Look(width, head), nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.seen = Asking(width, d), zero_(nn.Linear(width, width))
        self.up, self.down = nn.Linear(width, 4 * width), zero_(nn.Linear(4 * width, width))

    def rest(self, x: Tensor, keys: tuple[Tensor, Tensor], mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen, shares = self.ask(self.norm1(x), keys, mask)
        x = x + self.seen(seen)
        return x + self.down(F.silu(self.up(self.norm2(x)))), shares


class TransformerWriter(nn.Module):
    """A decoder [2]. Shares are those of its last block."""

    def __init__(self, config: TransformerWriterConfig, tokens: int, length: int, d: int):
        super().__init__()
        w = self.width = config.width
        self.length, self.into, self.at = length, nn.Embedding(tokens, w), nn.Parameter(torch.randn(length, w) * 0.1)
        nn.init.normal_(self.into.weight, std=0.1)
        self.blocks = nn.ModuleList(WriterBlock(w, config.head, d) for _ in range(config.blocks))
        self.norm, self.out = nn.LayerNorm(w), nn.Linear(w, tokens)

    def begin(self, places: Tensor) -> Any:
        keys = [block.ask.keys(places) for block in self.blocks]
        return 0, [Looking(block.look, len(places), self.length, keys[0][0]) for block in self.blocks], keys

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]:
        t, looks, keys = state
        x = self.into(token).to(keys[0][0].dtype) + self.at[t]
        for block, look, k in zip(self.blocks, looks, keys):
            x = x + look.at(x, t)
            x, shares = (y[:, 0] for y in block.rest(x[:, None], k))
        return full(self.out(self.norm(x))), shares, (t + 1, looks, keys)

    def forward(self, tokens: Tensor, places: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """mask: bool (N, P), where there is something to look at; everywhere, unless given."""
        x = self.into(tokens) + self.at[: tokens.shape[1]]
        for block in self.blocks:
            x, shares = block.rest(x + block.look(x), block.ask.keys(places), mask)
        return full(self.out(self.norm(x))), shares

    def reorder(self, state: Any, rows: Tensor, same: bool = False) -> Any:
        t, looks, keys = state
        for look in looks:
            look.reorder(rows, t)
        return t, looks, keys if same else [(k[rows], v[rows]) for k, v in keys]
