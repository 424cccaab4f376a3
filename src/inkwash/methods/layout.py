"""A layout from a text: which things there shall be, and where, before any picture is drawn.

    log p(boxes | text) = sum over t of log p(w_t | w_1 ... w_{t-1}, text)

Boxes are written as words are, in the order that data have them in (as they are spoken of, in the best case): a name, then its sides, how
deep it lies and, when all else is known, how far its centre lies from that of the box before, as one token each, counted in equal parts. A
transformer that looks at the text learns to write them, from pictures whose things are known to be somewhere. Relations between things,
which in a picture's error weigh next to nothing, are all that there is to learn here.

References: 1. Hong et al. 2018, Inferring Semantic Layout for Hierarchical Text-to-Image Synthesis (boxes from a text, one after the other,
then the picture). 2. Chen et al. 2022, Pix2seq (coordinates as tokens among words). 3. Feng et al. 2023, LayoutGPT.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.boxes import MOST, Box
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Arranger, Model
from inkwash.core.objective import Objective, refuse_uncaptioned
from inkwash.core.rng import Rng
from inkwash.nn.grounding import waves
from inkwash.nn.layers import full
from inkwash.nn.pixel_heads import choose
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import END, PAD
from inkwash.nn.writers import TransformerWriterConfig

SIDES = ("width", "height", "depth", "x", "y")  # tokens of a box after its name
MIDDLE = {"x": 0.5, "y": 0.5}  # where the first box is counted from


class LayoutConfig(ModelConfig):
    """shape: (C, H, W) of the pictures. text: what reads. writer: what writes. parts: of the picture's sides that coordinates are
    counted in, from -1 to 1. length: most tokens of a layout, its end included. temperature: below 1 for likelier layouts."""

    kind: Literal["layout"] = "layout"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    text: TextConfig = TextConfig()
    writer: TransformerWriterConfig = TransformerWriterConfig()
    parts: int = Field(64, ge=2)
    length: int = Field(64, ge=2)
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)

    def build(self) -> "Layout":
        return Layout(self)


class Layout(Model, Arranger):
    """A text encoder and a writer of boxes."""

    def __init__(self, config: LayoutConfig):
        super().__init__(config)
        self.text = config.text.build()
        self.tokenizer, words = self.text.tokenizer, self.text.tokenizer.size
        self.first, self.begin = words, words + 2 * config.parts  # tokens: the first of a coordinate, what a layout begins with
        self.writer = config.writer.build(self.begin + 1, config.length + 1, config.text.width)
        self._begin_in_order_()

    @torch.no_grad()
    def _begin_in_order_(self) -> None:
        """Coordinates that are near each other begin as tokens that are alike, and are as likely as each other."""
        seen = waves((torch.arange(2 * self.config.parts) + 0.5) / self.config.parts - 1)  # (2 P, F)
        for weight in (self.writer.into.weight, self.writer.out.weight):
            mix = torch.randn(seen.shape[1], weight.shape[1]) * weight.std() / seen.square().sum(1).mean().sqrt()
            weight[self.first : self.begin] = seen @ mix

    def adopted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a model that draws from texts its reader, that of its plan where it has one; another layout's tensors as they are."""
        if "writer.into.weight" in tensors:
            return tensors
        part = next(name for name in ("plan.text.", "text.") if any(key.startswith(name) for key in tensors))
        read = {f"text.{key.removeprefix(part)}": value for key, value in tensors.items() if key.startswith(part)}
        return self.state_dict() | read

    def written(self, boxes: Iterable[Box]) -> list[int]:
        """Boxes as tokens, and the end; those that do not fit are left out."""
        out: list[int] = []
        parts, before = self.config.parts, MIDDLE
        for box in list(boxes)[:MOST]:
            at = [int((getattr(box, side) - before.get(side, 0.0) + 1) * parts) for side in SIDES]
            at = [self.first + min(max(k, 0), 2 * parts - 1) for k in at]
            more = [*self.tokenizer.encode(box.name), *at]
            if len(out) + len(more) >= self.config.length:
                break
            out, before = out + more, self._centre(at, before)
        return [*out, END]

    def _value(self, token: int) -> float:
        return (token - self.first + 0.5) / self.config.parts - 1

    def _centre(self, at: list[int], before: dict[str, float]) -> dict[str, float]:
        """Where the box of these coordinates lies, after one that lies there."""
        told = dict(zip(SIDES, at))
        return {side: self._value(told[side]) + before[side] for side in MIDDLE}

    def read(self, tokens: Iterable[int]) -> tuple[Box, ...]:
        """The inverse of `written`, but for what lies between two parts. What is no whole box is left out."""
        boxes, name, at, before = [], [], [], MIDDLE
        for token in tokens:
            if token in (END, PAD):
                break
            if token < self.first:
                name.append(token)
                continue
            at.append(token)
            if len(at) == len(SIDES):
                before = self._centre(at, before)
                boxes.append(Box(self.tokenizer.decode(name), **{s: self._value(t) for s, t in zip(SIDES, at)} | before))
                name, at = [], []
        return tuple(boxes)

    def batch(self, boxes: list[tuple[Box, ...]]) -> Tensor:
        """int64 (N, L), padded."""
        rows = [torch.tensor(self.written(row)) for row in boxes]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)

    def scores(self, tokens: Tensor, layouts: Tensor, forgotten: Tensor | None = None) -> Tensor:
        """Of every token of layouts (N, T) after those before it, given texts (N, L): (N, T, K). forgotten: bool (N, T), where words of
        names are not seen by what comes after them."""
        seen = layouts if forgotten is None else layouts.masked_fill(forgotten & (layouts < self.first), self.begin)
        begin = torch.full_like(layouts[:, :1], self.begin)
        context, mask = self.text(tokens)
        return self.writer(torch.cat([begin, seen[:, :-1]], 1), context, mask)[0]

    @torch.no_grad()
    def arrange(self, rng: Rng, tokens: Tensor) -> list[tuple[Box, ...]]:
        u = rng.uniform(self.config.length)  # (N, T)
        lengths = (tokens != PAD).sum(1).tolist()
        out: list[tuple[Box, ...]] = [()] * len(tokens)
        with torch.autocast(tokens.device.type, enabled=False):  # a matrix product of a few rows gains nothing by half precision
            for length, group in groupby(sorted(range(len(tokens)), key=lengths.__getitem__), lengths.__getitem__):
                rows = list(group)  # of one length: nothing is padded, so that a row depends on its own text alone
                for row, layout in zip(rows, self._arranged(tokens[rows, :length], u[rows])):
                    out[row] = self.read(layout.tolist())
        return out

    def _arranged(self, tokens: Tensor, u: Tensor) -> Tensor:
        """Layouts int64 (N, T) of texts of one length, by numbers u (N, T) from 0 to 1."""
        state, n = self.writer.begin(self.text(tokens)[0].float()), len(tokens)
        token = torch.full((n,), self.begin, device=tokens.device)
        named, sides = torch.zeros_like(token, dtype=torch.bool), torch.zeros_like(token)
        done, out = torch.zeros_like(named), torch.full((n, self.config.length), PAD, device=tokens.device)
        for t in range(self.config.length):
            scores, _, state = self.writer.step(token, state)
            token = choose(self._allowed(full(scores), named, sides) / self.config.temperature, u[:, t])
            out[:, t] = torch.where(done, PAD, token)
            done = done | (token == END)
            if done.all():
                break
            sides = torch.where(token >= self.first, sides + 1, 0) % len(SIDES)
            named = (token < self.first) | (sides > 0)
        return out

    def _allowed(self, scores: Tensor, named: Tensor, sides: Tensor) -> Tensor:
        """Scores (N, K) of what may come next: a name before coordinates, all of these, and an end between boxes only."""
        scores, inside = scores.clone(), (sides > 0)[:, None]
        scores[:, PAD], scores[:, self.begin] = -torch.inf, -torch.inf
        scores[:, END : END + 1].masked_fill_(named[:, None], -torch.inf)
        scores[:, END + 1 : self.first].masked_fill_(inside, -torch.inf)
        scores[:, self.first : self.begin].masked_fill_(~named[:, None], -torch.inf)
        return scores


class NextBoxConfig(ObjectiveConfig):
    """forget: share of the words of names that are hidden from what is written after them. A writer that sees "red" knows what is red in
    its data, and would write that rather than what the text says: hidden words send it back to the text (Bowman et al. 2016, 3.1)."""

    kind: Literal["next-box"] = "next-box"
    forget: float = Field(0.0, ge=0, lt=1)

    def build(self, model: Layout) -> "NextBox":
        return NextBox(self, model)


class NextBox(Objective):
    """Cross-entropy of the next token of a layout, in nats a layout."""

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        refuse_uncaptioned(batch)
        if batch.boxes is None:
            raise ConfigError(
                "These pictures do not tell where things are in them: layouts are learnt from boxes, such as those of scenes."
            )

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model, device = self.model, batch.image.device
        forget = step.share(self.config.forget)
        tokens = model.text.tokens(step.texts(batch.text)).to(device)
        layouts = model.batch(batch.boxes).to(device)
        forgotten = step.rng.uniform(model.config.length)[:, : layouts.shape[1]].to(device) < forget if forget else None
        scores = full(model.scores(tokens, layouts, forgotten))
        nats = F.cross_entropy(scores.flatten(0, 1), layouts.flatten(), ignore_index=PAD, reduction="none").view(layouts.shape)
        loss, at = nats.sum(1).mean(), layouts >= model.first
        return loss, {"nats": loss.detach(), "places": ((nats * at).sum(1) / at.sum(1).clamp(min=1)).mean().detach()}

    @torch.no_grad()
    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        """The pictures, and layouts that are written for their texts, outlined."""
        tokens = self.model.text.tokens(step.texts(batch.text)).to(batch.image.device)
        return [batch.image, torch.stack([outlined(x, row) for x, row in zip(batch.image, self.model.arrange(step.rng, tokens))])]


def outlined(image: Tensor, boxes: Iterable[Box]) -> Tensor:
    """A paler picture (C, H, W) with the edges of boxes."""
    out, (height, width) = image * 0.3 + 0.6, image.shape[-2:]
    for box in boxes:
        left, right = (round((box.x + s * box.width / 2) * (width - 1)) for s in (-1, 1))
        top, bottom = (round((box.y + s * box.height / 2) * (height - 1)) for s in (-1, 1))
        left, right = (min(max(v, 0), width - 1) for v in (left, right))
        top, bottom = (min(max(v, 0), height - 1) for v in (top, bottom))
        out[:, top : bottom + 1, [left, right]] = -1.0
        out[:, [top, bottom], left : right + 1] = -1.0
    return out
