"""Condition, Batch, Step: the only ways anything reaches a model or an objective."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from inkwash.core.boxes import Box
from inkwash.core.rng import Rng

CONDITION_FIELDS = ("label", "tokens", "image", "mask", "style", "plan")
GOLDEN = 0.6180339887498949


def _identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Condition:
    """What an image depends on. Every field is a tensor with the batch axis first, or None.

    label: int64 (N,), the null class is num_classes. tokens: int64 (N, L), 0 is padding. image: float (N, C, H, W) in [-1, 1].
    mask: float (N, 1, H, W), 1 = generate here. style: float (N, D). plan: float (N, P, h, w), where it was drawn already.
    """

    label: Tensor | None = None
    tokens: Tensor | None = None
    image: Tensor | None = None
    mask: Tensor | None = None
    style: Tensor | None = None
    plan: Tensor | None = None

    def map(self, f: Callable[[Tensor], Tensor]) -> "Condition":
        """The condition with f applied to every tensor that is there."""
        values = {k.name: getattr(self, k.name) for k in fields(self)}
        return Condition(**{k: None if v is None else f(v) for k, v in values.items()})

    def __getitem__(self, rows) -> "Condition":
        return self.map(lambda t: t[rows])

    def to(self, device: torch.device | str) -> "Condition":
        return self.map(lambda t: t.to(device))

    def names(self) -> set[str]:
        """The names of the fields that are there."""
        return {k.name for k in fields(self) if getattr(self, k.name) is not None}


@dataclass(frozen=True)
class Batch:
    """Rows of data. image: float (N, C, H, W) in [-1, 1], clips (N, F, C, H, W). text: N tuples of raw strings, or None.

    index: int64 (N,), each row's position in the whole run (not in the data set): what random draws are keyed by. latent: what the model's
    frozen encoder makes of the images, (N, ...), where that was worked out before. boxes: where things are in each row, or None.
    """

    image: Tensor
    cond: Condition
    index: Tensor
    text: list[tuple[str, ...]] | None = None
    latent: Tensor | None = None
    boxes: list[tuple[Box, ...]] | None = None

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: slice | list[int]) -> "Batch":
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        text, boxes = (None if each is None else [each[i] for i in chosen] for each in (self.text, self.boxes))
        latent = None if self.latent is None else self.latent[rows]
        return Batch(self.image[rows], self.cond[rows], self.index[rows], text, latent, boxes)

    def to(self, device: torch.device | str) -> "Batch":
        latent = None if self.latent is None else self.latent.to(device)
        return Batch(self.image.to(device), self.cond.to(device), self.index, self.text, latent, self.boxes)


@dataclass(frozen=True)
class Step:
    """Where a run stands. progress: 0 to 1, the only clock an objective reads. images: images seen before this step.

    rng: one stream a row, keyed by (seed, index, phase). gather: (N, ...) of this process to (N_total, ...) of all, with
    gradient; reduce: mean over processes. In one process both do nothing. held_out: the rows are only looked at, so they stay as they
    are: nothing is augmented, hidden or dropped.
    """

    progress: float
    images: int
    rng: Rng
    gather: Callable[[Tensor], Tensor] = _identity
    reduce: Callable[[Tensor], Tensor] = _identity
    held_out: bool = False

    def share(self, of_training: float) -> float:
        """The share that is lost of what is learnt from: nothing of held-out rows."""
        return 0.0 if self.held_out else of_training

    def drop(self, label: Tensor | None, share: float, null: int) -> Tensor | None:
        """Labels (N,) of which about this share, row by row, became the null class; None stays None."""
        return label if label is None else torch.where(self.rng.uniform() < self.share(share), null, label)

    def texts(self, text: list[tuple[str, ...]] | None, share: float = 0.0) -> list[str]:
        """One of each row's texts, and nothing for about this share of them. Rows without any have nothing: all, where text is None."""
        text = [()] * len(self.rng) if text is None else text
        which, dropped = self.rng.uniform(2).cpu().unbind(1)
        chosen = (row[int(u * len(row))] if row else "" for row, u in zip(text, which.tolist()))
        share = self.share(share)
        return ["" if d < share else t for t, d in zip(chosen, dropped.tolist())]

    def quantiles(self, batch: Batch) -> Tensor:
        """Uniform in (0, 1), one for each row, float64 (N,) on the CPU. Neighbouring rows of the run take far-apart ones, by the golden
        ratio, so that a batch covers what they choose evenly: less variance."""
        u = batch.index.double() * GOLDEN + self.rng.uniform().cpu().double() * 1e-3
        return (u % 1).clamp(1e-6, 1 - 1e-6)
