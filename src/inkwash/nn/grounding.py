"""What stands where, as a map: named boxes, and for every place of a picture what they mean there.

A box is a name, a centre and two sides; nearer ones come first. Boxes look at each other, since what is hidden depends on what
hides it; then each tells every place near it what it is and where in the box the place lies, and how much of what is behind it a place
does not show. A place takes the sum of what is not hidden: layers laid over each other from the front, but in features for colours.

References: 1. Li et al. 2023, GLIGEN: Open-Set Grounded Text-to-Image Generation (a box is its name's vector and a Fourier embedding of
its coordinates, equation 5). 2. Porter and Duff 1984, Compositing Digital Images (the operator "over").
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.boxes import MOST, Box
from inkwash.core.config import Config
from inkwash.nn.text import TextBlock, TextConfig

WAVES = 4  # octaves of a coordinate's Fourier embedding
REACH = 1.5  # half sides of a box, over which what it tells fades
SHOWN = -3.0  # logit of what a box hides before it has learnt: hardly anything


class Boxes(NamedTuple):
    """names: int64 (N, K, L), tokens, 0 is padding. at: (N, K, 4): x, y, width, height in units of the picture's sides, the centre from
    the upper left corner. A box without a name is none."""

    names: Tensor
    at: Tensor

    @property
    def there(self) -> Tensor:
        """bool (N, K)."""
        return (self.names > 0).any(-1)


class GroundingConfig(Config):
    """width: numbers of a place. blocks: in which boxes look at each other. head: channels of one head."""

    width: int = Field(128, ge=4)
    blocks: int = Field(2, ge=0)
    head: int = Field(64, ge=1)

    def build(self, tokens: int) -> "Grounding":
        """tokens: how many different ones names are made of."""
        return Grounding(self, tokens)


def waves(x: Tensor) -> Tensor:
    """Sines and cosines of half turns: (...) to (..., 2 WAVES)."""
    angles = x[..., None] * (math.pi / 2 * 2.0 ** torch.arange(WAVES, device=x.device))
    return torch.cat([angles.sin(), angles.cos()], -1)


class Grounding(nn.Module):
    """Boxes to a map of any size."""

    def __init__(self, config: GroundingConfig, tokens: int):
        super().__init__()
        self.width = w = config.width
        self.name, self.rank = nn.Embedding(tokens, w), nn.Embedding(MOST, w)
        for weight in (self.name.weight, self.rank.weight):
            nn.init.normal_(weight, std=0.5)
        self.place = nn.Linear(8 * WAVES, w)
        self.blocks = nn.ModuleList(TextBlock(TextConfig(width=w, head=config.head)) for _ in range(config.blocks))
        self.norm, self.own, self.inside = nn.LayerNorm(w), nn.Linear(w, w), nn.Linear(2 + 4 * WAVES, w)
        self.mix, self.hide, self.out = nn.Linear(w, w), nn.Linear(w, w), nn.Linear(w, w)
        nn.init.constant_(self.hide.bias, SHOWN)

    def forward(self, boxes: Boxes, size: tuple[int, int]) -> Tensor:
        """(N, D, h, w) for a size of (h, w)."""
        there = boxes.there
        named = (self.name(boxes.names) * (boxes.names > 0)[..., None]).sum(2)  # (N, K, D)
        x = named + self.rank.weight[: there.shape[1]] + self.place(waves(boxes.at).flatten(2))
        seen = there | ~there.any(1, keepdim=True)  # a row of no boxes looks at nothing: at what counts for nothing
        for block in self.blocks:
            x = block(x, seen)
        offset = self.offsets(boxes.at, size)  # (N, K, P, 2)
        near = (-0.5 * (offset / REACH).square().sum(-1)).exp() * there[..., None]  # (N, K, P)
        inside = self.inside(torch.cat([offset.clamp(-4, 4), waves(offset.clamp(-4, 4)).flatten(3)], -1))  # (N, K, P, D)
        told = F.silu(self.mix(F.silu(self.own(self.norm(x))[:, :, None] + inside)))
        through = (1 - self.hide(told).sigmoid() * near[..., None]).cumprod(1)  # what all boxes up to this one let through
        shown = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], 1)  # (N, K, P, D)
        total = (told * near[..., None] * shown).sum(1)  # (N, P, D)
        return self.out(total).transpose(1, 2).unflatten(2, size)

    def gathered(self, boxes: Sequence[Sequence[Box]], encode: Callable[[str], list[int]]) -> Boxes:
        """Boxes of N pictures as tensors, by depth. encode: a name to tokens. Of more than MOST the first count."""
        named = [[(encode(box.name), box[1:5]) for box in sorted(row[:MOST], key=lambda box: box.depth)] for row in boxes]
        most = max((len(row) for row in named), default=0)
        length = max((len(name) for row in named for name, _ in row), default=0)
        names, at = torch.zeros(len(named), most, max(length, 1), dtype=torch.long), torch.ones(len(named), most, 4)
        for n, row in enumerate(named):
            for k, (name, sides) in enumerate(row):
                names[n, k, : len(name)], at[n, k] = torch.tensor(name, dtype=torch.long), torch.tensor(sides)
        device = self.name.weight.device
        return Boxes(names.to(device), at.to(device))

    @staticmethod
    def offsets(at: Tensor, size: tuple[int, int]) -> Tensor:
        """How far from a box's centre every place lies, in half sides of it: (N, K, P, 2), x first."""
        rows, columns = ((torch.arange(n, device=at.device) + 0.5) / n for n in size)
        places = torch.stack([columns.repeat(size[0]), rows.repeat_interleave(size[1])], -1)  # (P, 2)
        return (places - at[:, :, None, :2]) / (at[:, :, None, 2:] / 2).clamp(min=1e-3)
