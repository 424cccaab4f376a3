"""Where things go, from the text alone: a map with one vector a place, made before any picture is.

A denoiser hears of a layout only where there is so much noise that little can be told from the picture, and there a relation between two
things is worth a few hundredths of the squared error: it learns colours and shapes, and leaves places to chance. A map of its own,
taught by what a captioner sees in each place (`methods/planning.py`), says it at once; the denoiser sees it beside its noisy picture, and
leaves it as it is.

Reference: Vaswani et al. 2017, Attention Is All You Need (places ask, the tokens of the text answer).
"""

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import attend, heads_of, positions, zero_
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig


class PlanConfig(Config):
    """width: numbers of a place, and of a token. read: blocks of its own text encoder. blocks: of the map. head: channels of one head.
    mlp: hidden width, in widths. stride: numbers of the space of diffusion that one place stands for, to each side."""

    width: int = Field(128, ge=4, multiple_of=4)
    read: int = Field(3, ge=0)
    blocks: int = Field(3, ge=1)
    head: int = Field(64, ge=1)
    mlp: int = Field(2, ge=1)
    stride: int = Field(1, ge=1)

    def build(self, tokenizer: TokenizerConfig, space: tuple[int, int]) -> "Plan":
        """space: (H, W) of where diffusion happens."""
        return Plan(self, tokenizer, (-(-space[0] // self.stride), -(-space[1] // self.stride)))


class PlanBlock(nn.Module):
    """Every place looks at the tokens, then an MLP, each after a norm and residual."""

    def __init__(self, config: PlanConfig):
        super().__init__()
        w = config.width
        self.heads, self.norm1, self.norm2 = heads_of(w, config.head), nn.LayerNorm(w), nn.LayerNorm(w)
        self.q, self.kv, self.out = nn.Linear(w, w), nn.Linear(w, 2 * w), zero_(nn.Linear(w, w))
        self.up, self.down = nn.Linear(w, config.mlp * w), zero_(nn.Linear(config.mlp * w, w))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """x: (N, P, D), context: (N, L, D), mask: bool (N, L), True = may be looked at."""
        x = x + self.out(attend(self.q(self.norm1(x)), *self.kv(context).chunk(2, dim=-1), self.heads, mask))
        return x + self.down(F.silu(self.up(self.norm2(x))))


class Plan(nn.Module):
    """Tokens of texts to a map of places. It reads with an encoder of its own: what is learnt with the pictures would be drawn away from
    places. grid: (H, W) of the map."""

    def __init__(self, config: PlanConfig, tokenizer: TokenizerConfig, grid: tuple[int, int]):
        super().__init__()
        self.grid, self.width = grid, config.width
        self.reader = TextConfig(width=config.width, blocks=config.read, head=config.head, tokenizer=tokenizer).build()
        self.place = nn.Linear(config.width, config.width)
        self.blocks = nn.ModuleList(PlanBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 (N, L) to (N, D, H, W)."""
        context, mask = self.reader(tokens)
        at = self.place(positions(*self.grid, self.width, tokens.device))  # (P, D)
        x = at.expand(len(tokens), -1, -1)
        for block in self.blocks:
            x = block(x, context, mask)
        return self.norm(x).transpose(1, 2).unflatten(2, self.grid)
