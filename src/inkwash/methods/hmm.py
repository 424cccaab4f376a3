"""Hidden Markov model: an image is a sequence of rows, or of patches, and behind each stands a hidden state.

    p(x) = sum over s_1 ... s_T of p(s_1) p(x_1 | s_1) prod over t of p(s_t | s_{t-1}) p(x_t | s_t)

A state moves to the next by a table, and draws the pixels of its row or patch independently, each from a table of its own. The sum over all
sequences of states is a product of matrices (forward recursion), so the probability of an image is exact. Fitted by Baum and Welch's
expectation and maximisation. Missing pixels are no trouble: states are drawn given what is known, backwards through the sequence.

References: 1. Rabiner 1989, A Tutorial on Hidden Markov Models, sections III.A to III.C. 2. Scott 2002, Bayesian Methods for Hidden Markov
Models (drawing states given what is seen).
"""

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Condition
from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Completer, Fittable, Likelihood, Model, OnStep, Options
from inkwash.core.rng import Rng
from inkwash.nn.levels import from_levels, quantised, to_levels
from inkwash.nn.pixel_heads import choose

CHUNK = 2000  # images whose states are summed over at once


def through(logs: Tensor, table: Tensor) -> Tensor:
    """log(exp(logs) @ table), (N, S) and (S, S): what lies 100 nats and more below a row's largest counts for nothing."""
    top = logs.amax(1, keepdim=True).clamp(min=-1e30)  # a row may have no way at all
    return ((logs - top).exp() @ table).log() + top


class HMMConfig(ModelConfig):
    """shape: (C, H, W). states: hidden ones. unit: height and width of what a state draws; None for a row. levels: of a pixel.
    rounds: of expectation and maximisation. prior: counts that every level begins with, against probabilities of zero.
    """

    kind: Literal["hmm"] = "hmm"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    states: int = Field(64, ge=1)
    unit: tuple[PositiveInt, PositiveInt] | None = None
    levels: int = Field(256, ge=2, le=256)
    rounds: int = Field(30, ge=1)
    prior: float = Field(0.1, gt=0)

    def build(self) -> "HMM":
        return HMM(self)


class HMMOptions(Options):
    """temperature: of the pixels, below 1 for likelier ones; states are drawn as they are."""

    temperature: float = Field(1.0, ge=0)


class HMM(Model, Completer, Likelihood, Fittable):
    """A chain of hidden states, each of which draws a row or a patch: three tables of log-probabilities."""

    Options = HMMOptions
    tag = "exact"
    accepts = frozenset({"image", "mask"})

    def __init__(self, config: HMMConfig):
        super().__init__(config)
        c, height, width = config.shape
        self.levels, self.unit = config.levels, config.unit or (1, width)
        if height % self.unit[0] or width % self.unit[1]:
            raise ConfigError(f"Units of {self.unit[0]} x {self.unit[1]} do not fill an image of {height} x {width}.")
        s, pixels = config.states, c * math.prod(self.unit)
        tables = {"start": (s,), "move": (s, s), "emit": (s, pixels, config.levels)}
        for name, size in tables.items():
            self.register_parameter(name, nn.Parameter(torch.full(size, -math.log(size[-1])), requires_grad=False))

    def sequence(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to units in order, (N, T, U)."""
        h, w = self.unit
        x = x.unflatten(2, (-1, h)).unflatten(4, (-1, w))  # (N, C, rows, h, columns, w)
        return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def image(self, units: Tensor) -> Tensor:
        """The inverse of `sequence`."""
        (c, height, width), (h, w) = self.config.shape, self.unit
        x = units.view(len(units), height // h, width // w, c, h, w)
        return x.permute(0, 3, 1, 4, 2, 5).reshape(len(units), c, height, width)

    def emitted(self, codes: Tensor, known: Tensor | None = None) -> Tensor:
        """log p(x_t | s) of every state, of the known pixels: codes (N, T, U), known bool (N, T, U), to (N, T, S)."""
        weights = None if known is None else known.flatten(0, 1).to(self.emit.dtype)
        table = self.emit.flatten(1).t().contiguous()  # (U L, S): its rows are added up, which needs no one-hot vectors
        return F.embedding_bag(self.places(codes), table, mode="sum", per_sample_weights=weights).unflatten(0, codes.shape[:2])

    def places(self, codes: Tensor) -> Tensor:
        """(N, T, U) to rows of a table with one for each level of each place of a unit, (N T, U)."""
        return codes.flatten(0, 1) + torch.arange(codes.shape[2], device=codes.device) * self.levels

    def forward_messages(self, emitted: Tensor) -> Tensor:
        """log p(x_1 ... x_t, s_t): (N, T, S) to the same."""
        a, out, move = self.start + emitted[:, 0], [], self.move.exp()
        out.append(a)
        for e in emitted[:, 1:].unbind(1):
            a = through(a, move) + e
            out.append(a)
        return torch.stack(out, dim=1)

    def backward_messages(self, emitted: Tensor) -> Tensor:
        """log p(x_{t+1} ... x_T | s_t): (N, T, S) to the same."""
        b, back = torch.zeros_like(emitted[:, 0]), self.move.exp().t()
        out = [b]
        for e in emitted[:, 1:].flip(1).unbind(1):
            b = through(e + b, back)
            out.append(b)
        return torch.stack(out[::-1], dim=1)

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            codes = to_levels(self.sequence(quantised(x, self.levels)), self.levels)
            return self.forward_messages(self.emitted(codes))[:, -1].logsumexp(-1)

    # ---- fitting

    def fit(self, images: Tensor, labels: Tensor | None, rng: Rng, on_step: OnStep | None = None) -> None:
        codes = to_levels(self.sequence(images), self.levels)  # (N, T, U)
        self._begin(codes, rng)
        for done in range(1, self.config.rounds + 1):
            self._round(codes)
            if on_step:
                on_step(done, self.config.rounds)

    def _begin(self, codes: Tensor, rng: Rng) -> None:
        """Every state draws like a unit of the data, half way to all of them."""
        t, s = codes.shape[1], self.config.states
        order = rng.uniform(1).flatten().argsort()
        rows = order[torch.arange(s) % len(order)]
        chosen = codes[rows, (torch.arange(s) * 7919 + rows) % t]  # (S, U)
        everyone = F.one_hot(codes[order[:CHUNK]].flatten(0, 1), self.levels).float().mean(0)  # (U, L)
        mixed = 0.5 * F.one_hot(chosen, self.levels).float() + 0.5 * everyone
        self.emit.copy_((mixed + 1e-3).log() - (mixed + 1e-3).sum(-1, keepdim=True).log())
        self.start.fill_(-math.log(s))
        self.move.fill_(-math.log(s))

    def _round(self, codes: Tensor) -> None:
        """How often each state begins, follows each other, and draws each level; and these as the new tables [1, equations 40]."""
        start, move = (torch.full_like(t, self.config.prior) for t in (self.start, self.move))
        emit = torch.full_like(self.emit.flatten(1).t(), self.config.prior, memory_format=torch.contiguous_format)  # (U L, S)
        for part in codes.split(CHUNK):
            emitted = self.emitted(part)
            a, b = self.forward_messages(emitted), self.backward_messages(emitted)
            total = a[:, -1].logsumexp(-1)[:, None]
            state = (a + b - total[:, None]).exp()  # (N, T, S)
            start += state[:, 0].sum(0)
            for i in range(part.shape[1] - 1):
                # joint of a state and the next: a outer product of two vectors, times the table
                ahead = emitted[:, i + 1] + b[:, i + 1]
                here, there = a[:, i] - a[:, i].amax(1, keepdim=True), ahead - ahead.amax(1, keepdim=True)
                weight = (here.exp() @ self.move.exp() * there.exp()).sum(1, keepdim=True)
                move += (here.exp() / weight).t() @ there.exp() * self.move.exp()
            for rows in self.places(part).unbind(1):
                emit.index_add_(0, rows, state.flatten(0, 1))
        emit = emit.t().reshape(self.emit.shape)
        for table, counts in ((self.start, start), (self.move, move), (self.emit, emit)):
            table.copy_(counts.log() - counts.sum(-1, keepdim=True).log())

    # ---- sampling

    def sample(self, rng: Rng, cond: Condition, options: HMMOptions, on_step: OnStep | None = None) -> Tensor:
        """States from the last one back, given all that is known; then the pixels."""
        n, length = len(rng), math.prod(self.config.shape) // self.emit.shape[1]
        codes = torch.zeros(n, length, self.emit.shape[1], dtype=torch.long, device=self.device)
        known = torch.zeros_like(codes, dtype=torch.bool)
        if cond.image is not None:
            codes = to_levels(self.sequence(quantised(cond.image, self.levels)), self.levels)
            known = self.sequence(cond.mask.expand_as(cond.image)) <= 0
        u, v = rng.uniform(length), rng.uniform(length, self.emit.shape[1])
        with torch.autocast(self.device.type, enabled=False):
            a = self.forward_messages(self.emitted(codes, known))
            states = [choose(a[:, -1], u[:, -1])]
            for i in reversed(range(length - 1)):
                states.append(choose(a[:, i] + self.move.t()[states[-1]], u[:, i]))
            s = torch.stack(states[::-1], dim=1)  # (N, T)
            drawn = choose(self.emit[s] / max(options.temperature, 1e-6), v)  # (N, T, U)
        made = from_levels(torch.where(known, codes, drawn), self.levels).to(self.emit.dtype)
        return self.image(made)
