"""What a denoising network is told besides its noisy input."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Told(NamedTuple):
    """What a network is told besides x and t. label: int64 (N,). context: of a text, (N, L, D); mask: bool (N, L), where there is any.

    plan: (N, P, H, W), what shall be where, for a model that has a plan (`plans.py`) or a sketch (`nn/sketch.py`).
    """

    label: Tensor | None = None
    context: Tensor | None = None
    mask: Tensor | None = None
    plan: Tensor | None = None

    @property
    def heard(self) -> Tensor:
        """Which rows were told a text that says something, bool (N,)."""
        return self.mask.sum(1) > 1  # more than the end

    def beside(self, other: "Told") -> "Told":
        """The rows of both, the other's last."""
        if self.context is None:
            return Told(None if self.label is None else torch.cat([self.label, other.label]))
        most = max(self.mask.shape[1], other.mask.shape[1])
        context = torch.cat([F.pad(t.context, (0, 0, 0, most - t.mask.shape[1])) for t in (self, other)])
        mask = torch.cat([F.pad(t.mask, (0, most - t.mask.shape[1])) for t in (self, other)])
        label = None if self.label is None else torch.cat([self.label, other.label])
        some = other.plan if self.plan is None else self.plan
        if some is None:
            return Told(label, context, mask)
        none = torch.zeros_like(some[:1])
        plans = [none.expand(len(t.mask), -1, -1, -1) if t.plan is None else t.plan for t in (self, other)]
        return Told(label, context, mask, torch.cat(plans))
