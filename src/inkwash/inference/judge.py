"""How well texts fit pictures, as a judge sees it: a contrastive model, or a captioner, by how likely it would write the text. With a judge
the best of several drawings is kept.

Reference: Ramesh et al. 2021, Zero-Shot Text-to-Image Generation (section 2.6: candidates are ranked by a contrastive model).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.batch import Condition
from inkwash.core.device import Precision
from inkwash.core.errors import ConfigError
from inkwash.core.model import Judge, Model, OnStep, Options
from inkwash.inference.draw import draw_batches, stage
from inkwash.metrics.features.base import to_rgb

APART = 10**9  # between the seeds of one picture's drawings: whoever counts seeds up does not meet them


class Chosen(NamedTuple):
    """images: (N, C, H, W). seeds: what they were drawn with. fits: what the judge thinks of each, None without one."""

    images: Tensor
    seeds: list[int]
    fits: list[float] | None = None


def judge_of(model: Model) -> Judge:
    """The model as a judge. Raises ConfigError where it is none."""
    if not isinstance(model, Judge):
        said = "one trained with the recipe 'clip' or 'caption' does"
        raise ConfigError(f"A {model.config.kind!r} model does not compare texts with pictures; {said}.")
    return model


@torch.no_grad()
def fits(model: Model, images: Tensor, texts: Sequence[str], batch: int = 128) -> Tensor:
    """How well each text fits each image (N, C, H, W): (N, M). Images of another size are brought to the judge's."""
    judge, device = judge_of(model), model.device
    channels, *size = model.config.shape
    if images.shape[1] != channels:
        rgb = to_rgb(images)  # on white where they are transparent
        opaque = torch.cat([rgb, torch.ones_like(rgb[:, :1])], 1)  # a fourth channel, for a judge that wants one
        images = rgb.mean(1, keepdim=True) if channels == 1 else opaque[:, :channels]
    if list(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    return torch.cat([judge.agreement(part.to(device), texts).cpu() for part in images.split(batch)])


def drawings(seed: int, of: int) -> list[int]:
    """The seeds of one picture's drawings, its own first."""
    return [seed + k * APART for k in range(of)]


def best_batches(
    model: Model,
    judge: Model,
    seeds: Sequence[int],
    of: int,
    prompts: Sequence[str],
    options: Options,
    cond: Condition,
    precision: Precision | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
) -> Iterator[Chosen]:
    """For each seed the best of so many drawings for its prompt, batch by batch. The picture of a seed depends on that seed alone.

    cond: what the pictures depend on, N rows, the prompts' tokens among them. Raises ConfigError as `draw_batches` does, before the first.
    """
    judge_of(judge)
    rows = max(1, batch // of)
    starts = range(0, len(seeds), rows)
    asked = []
    for k, start in enumerate(starts):
        own = seeds[start : start + rows]
        many = [s for seed in own for s in drawings(seed, of)]
        told = cond[start : start + rows].map(lambda t: t.repeat_interleave(of, 0))
        asked.append((start, own, draw_batches(model, many, options, None, precision, batch, stage(on_step, k, len(starts)), told)))
    return (_best(judge, own, of, prompts[start : start + len(own)], torch.cat(list(parts))) for start, own, parts in asked)


def _best(judge: Model, seeds: Sequence[int], of: int, prompts: Sequence[str], images: Tensor) -> Chosen:
    """images: (len(seeds) * of, C, H, W), the drawings of one seed together."""
    kept, chosen, scores = [], [], []
    for seed, prompt, group in zip(seeds, prompts, images.split(of)):
        score, at = fits(judge, group, [prompt])[:, 0].max(0)
        kept.append(group[at])
        chosen.append(drawings(seed, of)[at])
        scores.append(score.item())
    return Chosen(torch.stack(kept), chosen, scores)
