"""From seeds to images, in batches: the one place where a model is sampled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from inkwash.core.batch import Condition
from inkwash.core.device import Precision
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, OnStep, Options, Sampler
from inkwash.core.rng import Rng, mix
from inkwash.data import Dataset
from inkwash.diffusion.guidance import Lead

Leads = Callable[[slice], Lead]  # what rows are led towards


def image_rng(seeds: Sequence[int], device: torch.device | str = "cpu") -> Rng:
    """The random streams of images with these seeds: an image depends on its own seed only."""
    return Rng([mix(s, "image") for s in seeds], device, seeds)


def draw_labels(seeds: Sequence[int], counts: Sequence[int]) -> Tensor:
    """A label for each seed, with the frequencies of the training set: int64 (N,). It is a function of the seed alone."""
    ends = torch.tensor(counts, dtype=torch.float64).cumsum(0)
    u = Rng([mix(s, "label") for s in seeds]).uniform().double() * ends[-1]
    return torch.searchsorted(ends, u, right=True).clamp_(max=len(ends) - 1)


def draw_texts(seeds: Sequence[int], data: Dataset) -> list[str]:
    """A caption of the data for each seed, of which it is a function."""
    texts = [data.text(mix(s, "row") % len(data)) for s in seeds]
    return [row[mix(s, "text") % len(row)] if row else "" for s, row in zip(seeds, texts)]


def draw(
    model: Model,
    seeds: Sequence[int],
    options: Options,
    label: Tensor | None = None,
    precision: Precision | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
    cond: Condition | None = None,
    lead: Leads | None = None,
) -> Tensor:
    """One image for each seed: (N, C, H, W) in [-1, 1] on the CPU. label: int64 (N,) or None. cond: what else they depend on, N rows.
    lead: what a diffusion model's are led towards.

    on_step(done, total) counts solver steps over all batches.
    Raises ConfigError where the model does not sample, or not under this condition.
    """
    parts = list(draw_batches(model, seeds, options, label, precision, batch, on_step, cond, lead))
    return torch.cat(parts) if parts else torch.empty(0, *model.config.shape)


def draw_batches(
    model: Model,
    seeds: Sequence[int],
    options: Options,
    label: Tensor | None = None,
    precision: Precision | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
    cond: Condition | None = None,
    lead: Leads | None = None,
) -> Iterator[Tensor]:
    """`draw` batch by batch: memory does not grow with the number of images. Raises ConfigError as `draw` does, before the first."""
    if not isinstance(model, Sampler):
        raise ConfigError(f"A {model.config.kind!r} model does not make images.")
    given = replace(cond or Condition(), **({} if label is None else {"label": label}))
    model.check(given)
    model.refuse(options, given)
    return _batches(model, seeds, options, given, precision, min(batch, model.at_once), on_step, lead)


def _batches(
    model: Model,
    seeds: Sequence[int],
    options: Options,
    cond: Condition,
    precision: Precision | None,
    batch: int,
    on_step: OnStep | None,
    lead: Leads | None,
) -> Iterator[Tensor]:
    starts = range(0, len(seeds), batch)
    for i, start in enumerate(starts):
        rows = slice(start, start + batch)
        yield _made(model, seeds[rows], options, cond[rows], precision, stage(on_step, i, len(starts)), lead and lead(rows))


@contextmanager
def _inferring(model: Model, precision: Precision | None) -> Iterator[None]:
    with torch.no_grad(), nullcontext() if precision is None else precision.autocast(model.device):
        yield


def _made(
    model: Model,
    seeds: Sequence[int],
    options: Options,
    cond: Condition,
    precision: Precision | None,
    on_step: OnStep | None,
    lead: Lead | None,
) -> Tensor:
    led = {"lead": lead} if lead else {}  # few models can be
    with _inferring(model, precision):
        images = model.sample(image_rng(seeds, model.device), cond.to(model.device), options, on_step, **led)
    return images.float().cpu() if precision else images.cpu()


def foreseen(
    model: Model,
    seeds: Sequence[int],
    options: Options,
    cond: Condition,
    precision: Precision | None = None,
    batch: int = 64,
    lead: Leads | None = None,
) -> tuple[Tensor, Tensor]:
    """The plans that the images of these seeds are drawn after, (N, P, h, w), and what an eye is going to see in the images, as far as they
    tell: features (N, F, h, w). lead: what those of some rows are led towards."""
    parts = []
    for i in range(0, len(seeds), batch := min(batch, model.at_once)):
        rows = slice(i, i + batch)
        with _inferring(model, precision):
            rng, given = image_rng(seeds[rows], model.device), cond[rows].to(model.device)
            parts.append([t.float().cpu() for t in model.foresee(rng, given, options, lead and lead(rows))])
    plans, features = (torch.cat(part) for part in zip(*parts))
    return plans, features


def stage(on_step: OnStep | None, i: int, count: int) -> OnStep | None:
    """What counts the steps of the i-th of `count` equal stages for one that counts them all."""
    return on_step and (lambda done, total: on_step(i * total + done, count * total))
