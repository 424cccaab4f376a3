"""A diffusion transformer: patches as tokens, every block modulated by time and class (Peebles and Xie 2023, adaLN-Zero).

What differs from the published one, and why: heads are wide, because many small heads are slow on a CPU; positions are sines of each
token's own row and column, so that any size of image goes through.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import Embedding, VectorLinear, attend, heads_of, pad_to_multiple, positions, zero_


class DiTConfig(Config):
    """width: of a token. blocks: how many. fold: side of a patch. head: channels of one head. mlp: hidden width, in widths."""

    kind: Literal["dit"] = "dit"
    width: int = Field(192, ge=4, multiple_of=4)
    blocks: int = Field(8, ge=1)
    fold: int = Field(2, ge=1)
    head: int = Field(96, ge=1)
    mlp: int = Field(4, ge=1)

    @property
    def stride(self) -> int:
        """Sides are padded to a multiple of this."""
        return self.fold

    def build(self, c_in: int, c_out: int, num_classes: int = 0, context: int | None = None) -> "DiT":
        """context: width of the tokens that each block also attends to (cross-attention), None for none."""
        return DiT(self, c_in, c_out, num_classes, context)


class DiTBlock(nn.Module):
    """Attention and an MLP, each x + gate f(scale norm(x) + shift), with scale, shift and gate from the embedding; starts as identity."""

    def __init__(self, config: DiTConfig, context: int | None = None):
        super().__init__()
        w = config.width
        self.heads = heads_of(w, config.head)
        self.modulate = zero_(VectorLinear(w, 6 * w))
        self.qkv, self.out = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.up, self.down = nn.Linear(w, config.mlp * w), nn.Linear(config.mlp * w, w)
        self.look = nn.ModuleList()
        if context:
            self.look.extend([nn.LayerNorm(w), nn.Linear(w, w), nn.Linear(context, 2 * w), zero_(nn.Linear(w, w))])

    def forward(self, x: Tensor, e: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x: (N, T, D), e: (N, D), context: (N, L, C), mask: bool (N, L)."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulate(e)[:, None].to(x.dtype).chunk(6, dim=-1)  # (N, 1, D) each
        h = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)
        x = torch.addcmul(x, gate, self.out(attend(*self.qkv(h).chunk(3, dim=-1), self.heads)))
        if context is not None:
            norm, q, kv, out = self.look
            x = x + out(attend(q(norm(x)), *kv(context).chunk(2, dim=-1), self.heads, mask))
        h = torch.addcmul(shift2, F.layer_norm(x, x.shape[-1:]), 1 + scale2)
        return torch.addcmul(x, gate2, self.down(F.silu(self.up(h))))


class DiT(nn.Module):
    """x: (N, C_in, H, W) of any size, t: (N,) in [0, 1], label: int64 (N,) with num_classes as the null class; to (N, C_out, H, W)."""

    def __init__(self, config: DiTConfig, c_in: int, c_out: int, num_classes: int = 0, context: int | None = None):
        super().__init__()
        self.config, w = config, config.width
        self.embed = Embedding(w, w, num_classes)
        self.stem = nn.Linear(c_in * config.fold**2, w)
        self.layers = nn.ModuleList(DiTBlock(config, context) for _ in range(config.blocks))
        self.modulate = zero_(VectorLinear(w, 2 * w))
        self.head = zero_(nn.Linear(w, c_out * config.fold**2))

    def forward(
        self, x: Tensor, t: Tensor, label: Tensor | None = None, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        height, width = x.shape[-2:]
        e = self.embed(t, label)
        x = F.pixel_unshuffle(pad_to_multiple(x, self.config.fold), self.config.fold)  # (N, C f^2, h, w)
        h, w = x.shape[-2:]
        tokens = self.stem(x.flatten(2).transpose(1, 2))  # (N, h w, D)
        tokens = tokens + positions(h, w, self.config.width, x.device).to(tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens, e, context, mask)
        shift, scale = self.modulate(e)[:, None].to(tokens.dtype).chunk(2, dim=-1)
        tokens = self.head(torch.addcmul(shift, F.layer_norm(tokens, tokens.shape[-1:]), 1 + scale))
        x = tokens.transpose(1, 2).unflatten(2, (h, w))  # (N, C f^2, h, w)
        return F.pixel_shuffle(x, self.config.fold)[..., :height, :width]  # (N, C_out, H, W)
