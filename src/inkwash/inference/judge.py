"""How well texts fit pictures, as a judge sees it: a contrastive model, or a captioner, by how likely it would write the text. With a judge
the best of several drawings is kept.

Reference: Ramesh et al. 2021, Zero-Shot Text-to-Image Generation (section 2.6: candidates are ranked by a contrastive model).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.batch import Condition
from inkwash.core.device import Precision
from inkwash.core.errors import ConfigError
from inkwash.core.model import Doubt, Judge, Model, OnStep, Options, Seer
from inkwash.diffusion.guidance import Lead
from inkwash.inference.draw import Leads, draw, draw_batches, foreseen, stage
from inkwash.metrics.features.base import to_rgb

FIRST = 1  # drawings of a picture before a judge that may be content looks; each round after that doubles what there is
PLANS, PAINTED = 8, 4  # of a round in which plans are read first: how many, and how many of them are drawn after
LATE = 0.8  # t from which on pictures are led: before, a judge sees nothing in them
APART = 10**9  # between the seeds of one picture's drawings: whoever counts seeds up does not meet them


class Chosen(NamedTuple):
    """images: (N, C, H, W). seeds: what they were drawn with. fits: what the judge thinks of each, None without one. doubted: for each the
    word that the judge would not say of it, where all drawings were spent on it, else ""."""

    images: Tensor
    seeds: list[int]
    fits: list[float] | None = None
    doubted: list[str] | None = None

    def split(self, n: int) -> tuple["Chosen", "Chosen"]:
        """The first n pictures, and the others."""
        parts = [(None, None) if v is None else (v[:n], v[n:]) for v in self]
        return Chosen(*(p[0] for p in parts)), Chosen(*(p[1] for p in parts))


def joined(batches: Iterable[Chosen]) -> Chosen:
    """Several batches as one."""
    images, *lists = zip(*batches)
    return Chosen(torch.cat(images), *(None if parts[0] is None else [x for part in parts for x in part] for parts in lists))


def judge_of(model: Model) -> Judge:
    """The model as a judge. Raises ConfigError where it is none."""
    if not isinstance(model, Judge):
        said = "one trained with the recipe 'clip' or 'caption' does"
        raise ConfigError(f"A {model.config.kind!r} model does not compare texts with pictures; {said}.")
    return model


@torch.no_grad()
def fits(model: Model, images: Tensor, texts: Sequence[str], batch: int = 128) -> Tensor:
    """How well each text fits each image (N, C, H, W): (N, M)."""
    judge, device = judge_of(model), model.device
    return torch.cat([judge.agreement(part.to(device), texts).cpu() for part in as_judge_sees(model, images).split(batch)])


@torch.no_grad()
def foretold(model: Model, features: Tensor, text: str) -> Tensor:
    """How well plans' features (N, F, h, w) fit a text: (N,). Raises ConfigError for a model that has no eye of such features."""
    return _seer(model).foretold(features.to(model.device), [text])[:, 0].cpu()


def _seer(model: Model) -> Seer:
    if not isinstance(model, Seer):
        raise ConfigError(f"A {model.config.kind!r} model does not read plans; a 'captioner' does.")
    return model


def as_judge_sees(model: Model, images: Tensor) -> Tensor:
    """Images (N, C, H, W) with the judge's channels, on white where they are transparent, and of its size."""
    channels, *size = model.config.shape
    if images.shape[1] != channels:
        rgb = to_rgb(images)
        opaque = torch.cat([rgb, torch.ones_like(rgb[:, :1])], 1)  # a fourth channel, for a judge that wants one
        images = rgb.mean(1, keepdim=True) if channels == 1 else opaque[:, :channels]
    if list(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    return images


def drawings(seed: int, of: int) -> list[int]:
    """The seeds of one picture's drawings, its own first."""
    return [seed + k * APART for k in range(of)]


@dataclass(frozen=True)
class Contest:
    """Of `of` drawings the judge keeps one. enough: it is content where it doubts no word by more nats than that, and no more is drawn;
    None: all are drawn. reader: reads the model's plans first, and only after the best of each round a picture is drawn. lead: how far
    plans are led, while they are drawn, towards what it would read the text from, lead_pictures: how far pictures towards what the judge
    would; 0 for not at all."""

    judge: Model
    of: int
    enough: float | None = None
    reader: Model | None = None
    lead: float = 0.0
    lead_pictures: float = 0.0

    def rounds(self) -> list[slice]:
        """Which of the drawings are made at once, between two looks of the judge."""
        if self.reader:
            ends = range(PLANS, self.of, PLANS)
        else:
            ends = () if self.enough is None else [FIRST << k for k in range(self.of.bit_length()) if FIRST << k < self.of]
        return [slice(*pair) for pair in pairwise([0, *ends, self.of])]


class Best(NamedTuple):
    """The best drawing of one picture so far."""

    image: Tensor
    seed: int
    fit: float
    doubt: Doubt | None


def best_batches(
    model: Model,
    contest: Contest,
    seeds: Sequence[int],
    prompts: Sequence[str],
    options: Options,
    cond: Condition,
    precision: Precision | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
) -> Iterator[Chosen]:
    """For each seed the best of several drawings for its prompt, batch by batch. The picture of a seed depends on that seed alone.

    cond: what the pictures depend on, N rows, the prompts' tokens among them. Raises ConfigError as `draw_batches` does, before the first.
    """
    judge_of(contest.judge)
    draw_batches(model, seeds[:1], options, None, precision, batch, None, cond[:1])  # refuses here
    rounds = contest.rounds()
    rows = max(1, batch // rounds[0].stop)
    starts = range(0, len(seeds), rows)

    def spread(tries: list[list[int]], at: list[int]) -> tuple[list[int], Condition, list[str]]:
        """Each row's seeds as one list, what each of them depends on, and its prompt."""
        each = [row for row, own in zip(at, tries) for _ in own]
        return [s for own in tries for s in own], cond.map(lambda t: t[each]), [prompts[row] for row in each]

    def promising(tries: list[list[int]], at: list[int]) -> tuple[list[list[int]], Tensor]:
        """The seeds of each row whose plans fit best, and those plans."""
        many, told, texts = spread(tries, at)
        plans, features = foreseen(model, many, options, told, precision, batch, _lead_plans(contest, texts))
        scores = [foretold(contest.reader, group, prompts[row]) for row, group in zip(at, features.split(len(tries[0])))]
        best = [sorted(f.topk(min(PAINTED, len(f))).indices.tolist()) for f in scores]
        kept = [group[rows] for group, rows in zip(plans.split(len(tries[0])), best)]
        return [[own[i] for i in rows] for own, rows in zip(tries, best)], torch.cat(kept)

    def drawn(tries: list[list[int]], at: list[int], plans: Tensor | None, k: int) -> Tensor:
        """k: which round of all it is."""
        many, told, texts = spread(tries, at)
        told, counted = replace(told, plan=plans), stage(on_step, k, len(starts) * len(rounds))
        return draw(model, many, options, None, precision, batch, counted, told, _lead_pictures(contest, texts))

    def parts() -> Iterator[Chosen]:
        for i, start in enumerate(starts):
            best: dict[int, Best] = {}
            left = list(range(start, min(start + rows, len(seeds))))
            for k, these in enumerate(rounds):
                tries = [drawings(seeds[row], contest.of)[these] for row in left]
                tries, plans = promising(tries, left) if contest.reader else (tries, None)
                images = drawn(tries, left, plans, i * len(rounds) + k)
                size = len(tries[0])
                scores = _own_fits(contest.judge, images, [prompts[row] for row in left for _ in range(size)])
                for row, own, group, fit in zip(left, tries, images.split(size), scores.split(size)):
                    best[row] = _better(best.get(row), contest, group, own, fit, prompts[row])
                left = [row for row in left if _doubtful(best[row], contest)]
                if not left:
                    break
            yield _chosen(list(best.values()), contest)

    return parts()


def _lead_plans(contest: Contest, texts: list[str]) -> Leads | None:
    """What plans for these texts are led towards."""
    if not contest.lead:
        return None
    reader = _seer(contest.reader)
    return lambda rows: Lead(lambda features: reader.reads(features, texts[rows]), contest.lead)


def _lead_pictures(contest: Contest, texts: list[str]) -> Leads | None:
    """What pictures for these texts are led towards."""
    if not contest.lead_pictures:
        return None
    judge = judge_of(contest.judge)

    return lambda rows: Lead(lambda images: judge.each(as_judge_sees(judge, images), texts[rows]), contest.lead_pictures, LATE)


@torch.no_grad()
def _own_fits(model: Model, images: Tensor, texts: list[str], batch: int = 128) -> Tensor:
    """How well each image fits its own text: (N,)."""
    parts = as_judge_sees(model, images).split(batch)
    return torch.cat([judge_of(model).each(x.to(model.device), texts[i * batch :][: len(x)]).cpu() for i, x in enumerate(parts)])


def _better(old: Best | None, contest: Contest, images: Tensor, seeds: list[int], scores: Tensor, prompt: str) -> Best:
    """The best of the old one and images (N, C, H, W), which fit so well (N)."""
    fit, at = scores.max(0)
    if old is not None and old.fit >= fit.item():
        return old
    return Best(images[at], seeds[at], fit.item(), None if contest.enough is None else _doubt(contest.judge, images[at], prompt))


@torch.no_grad()
def _doubt(model: Model, image: Tensor, prompt: str) -> Doubt | None:
    """image: (C, H, W)."""
    return judge_of(model).doubt(as_judge_sees(model, image[None])[0].to(model.device), prompt)


def _doubtful(best: Best, contest: Contest) -> bool:
    return contest.enough is None or best.doubt is None or best.doubt.nats > contest.enough


def _chosen(best: list[Best], contest: Contest) -> Chosen:
    doubted = [b.doubt.word if b.doubt and _doubtful(b, contest) else "" for b in best]
    return Chosen(torch.stack([b.image for b in best]), [b.seed for b in best], [b.fit for b in best], doubted)
