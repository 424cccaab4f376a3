"""The mean of all that a text may mean, place by place: a map made of the text alone, before any noise is looked at.

A denoiser hears of a layout only where there is so much noise that little can be told from what it sees. There its guess is the mean
over all layouts, and what a relation changes in that mean is little beside the noise in its gradients. Asked for the mean and nothing
else, a transformer learns relations from some ten thousand pictures, where a denoiser had learnt none from a hundred thousand. So the mean
is worked out by itself, with its own loss and its own reader; the denoiser sees it beside its noisy input, and none of its gradients
come back.

Reference: Vaswani et al. 2017, Attention Is All You Need (places ask, the tokens of the text answer).
"""

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import attend, full, heads_of, positions, zero_
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig


class SketchConfig(Config):
    """width: numbers of a place, and of a token. read: blocks of its own text encoder. blocks: of the map. head: channels of one head.
    mlp: hidden width, in widths."""

    width: int = Field(128, ge=4, multiple_of=4)
    read: int = Field(3, ge=0)
    blocks: int = Field(3, ge=1)
    head: int = Field(64, ge=1)
    mlp: int = Field(2, ge=1)

    def build(self, tokenizer: TokenizerConfig, space: tuple[int, int, int]) -> "Sketch":
        """space: (C, H, W) of what it tells the mean of."""
        return Sketch(self, tokenizer, space)


class SketchBlock(nn.Module):
    """Every place looks at the tokens, then an MLP, each after a norm and residual."""

    def __init__(self, config: SketchConfig):
        super().__init__()
        w = config.width
        self.heads, self.norm1, self.norm2 = heads_of(w, config.head), nn.LayerNorm(w), nn.LayerNorm(w)
        self.q, self.kv, self.out = nn.Linear(w, w), nn.Linear(w, 2 * w), zero_(nn.Linear(w, w))
        self.up, self.down = nn.Linear(w, config.mlp * w), zero_(nn.Linear(config.mlp * w, w))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """x: (N, P, D), context: (N, L, D), mask: bool (N, L), True = may be looked at."""
        x = x + self.out(attend(self.q(self.norm1(x)), *self.kv(context).chunk(2, dim=-1), self.heads, mask))
        return x + self.down(F.silu(self.up(self.norm2(x))))


class Sketch(nn.Module):
    """Tokens of texts to a map, and from there to the mean. space: (C, H, W) of it."""

    def __init__(self, config: SketchConfig, tokenizer: TokenizerConfig, space: tuple[int, int, int]):
        super().__init__()
        self.space, w = space, config.width
        self.width = w
        self.reader = TextConfig(width=w, blocks=config.read, head=config.head, tokenizer=tokenizer).build()
        self.place = nn.Linear(w, w)
        self.blocks = nn.ModuleList(SketchBlock(config) for _ in range(config.blocks))
        self.norm, self.out = nn.LayerNorm(w), nn.Linear(w, space[0])

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 (N, L) to (N, D, H, W)."""
        context, mask = self.reader(tokens)
        at = self.place(positions(*self.space[1:], self.width, tokens.device))  # (P, D)
        x = at.expand(len(tokens), -1, -1)
        for block in self.blocks:
            x = block(x, context, mask)
        return self.norm(x).transpose(1, 2).unflatten(2, self.space[1:])

    def mean(self, drawn: Tensor) -> Tensor:
        """A map (N, D, H, W) to the mean, (N, C, H, W)."""
        return full(self.out(drawn.flatten(2).transpose(1, 2))).transpose(1, 2).unflatten(2, self.space[1:])
