"""Restricted Boltzmann machine: pixels and hidden units that excite or quieten each other.

    p(v) = 1 / Z  sum over h of exp(b.v + c.h + v.W h),      v and h of zeros and ones

Units of one kind do not touch each other, so all of them are drawn at once given the other kind (Gibbs sampling). The gradient of log p is
what the data excite less what the model excites; the latter comes from chains that go on from step to step (persistent contrastive
divergence). Z is a sum over all images; annealed importance sampling estimates it, by leading chains from a machine without W, whose Z is
known, to this one.

References: 1. Smolensky 1986, Harmony Theory. 2. Tieleman 2008, Training RBMs using Approximations to the Likelihood Gradient.
3. Salakhutdinov and Murray 2008, On the Quantitative Analysis of Deep Belief Networks, sections 3 and 4.1. 4. Hinton 2010, A Practical
Guide to Training Restricted Boltzmann Machines.
"""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Completer, Likelihood, Model, OnStep, Options
from inkwash.core.objective import Objective
from inkwash.core.rng import Rng, mix
from inkwash.nn.levels import binarised, quantised

CHAINS, BETAS = 100, 2000  # of the estimate of Z that `log_prob` uses


class RBMConfig(ModelConfig):
    """shape: (C, H, W). hidden: units. binarise: grey images become black and white anew each time they are seen."""

    kind: Literal["rbm"] = "rbm"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    hidden: int = Field(500, ge=1)
    binarise: bool = False

    def build(self) -> "RBM":
        return RBM(self)


class RBMOptions(Options):
    """sweeps: of Gibbs sampling from noise. pixels: "mean" of each given the hidden units, or "sample"."""

    sweeps: int = Field(1000, ge=1)
    pixels: Literal["mean", "sample"] = "mean"


class Partition(NamedTuple):
    """An estimate of log Z, and its standard error."""

    value: float
    error: float


class RBM(Model, Completer, Likelihood):
    """Pixels and hidden units that excite each other: weights between them, and a bias for each."""

    Options = RBMOptions
    tag = "estimate"
    levels = 2
    accepts = frozenset({"image", "mask"})

    def __init__(self, config: RBMConfig):
        super().__init__(config)
        self.visible = math.prod(config.shape)
        self.weight = nn.Parameter(0.01 * torch.randn(self.visible, config.hidden))
        self.b, self.c = nn.Parameter(torch.zeros(self.visible)), nn.Parameter(torch.zeros(config.hidden))
        self._partition: tuple[int, Partition | None] = (-1, None)

    def units(self, x: Tensor, rng: Rng) -> Tensor:
        """Images as pixels of 0 and 1: (N, C, H, W) to (N, V)."""
        return ((binarised(x, rng) if self.config.binarise else quantised(x, 2)) + 1).flatten(1) / 2

    def nats(self, v: Tensor, beta: float = 1.0) -> Tensor:
        """log p(v) + log Z, (N,); at beta below 1, of the machine whose hidden units are excited less."""
        return v @ self.b + F.softplus(beta * (v @ self.weight + self.c)).sum(1)

    def sweep(self, v: Tensor, rng: Rng, beta: float = 1.0) -> tuple[Tensor, Tensor]:
        """Hidden units given pixels, then pixels given those: (N, V) to new pixels, and their probabilities."""
        h = (rng.uniform(len(self.c)) < torch.sigmoid(beta * (v @ self.weight + self.c))).to(v.dtype)
        p = torch.sigmoid(self.b + beta * (h @ self.weight.t()))
        return (rng.uniform(self.visible) < p).to(v.dtype), p

    @torch.no_grad()
    def partition(self, chains: int = CHAINS, betas: int = BETAS) -> Partition:
        """log Z by annealed importance sampling [3, algorithm 1]."""
        rng = Rng(range(chains), self.device)
        v = (rng.uniform(self.visible) < torch.sigmoid(self.b)).to(self.b.dtype)
        weight = torch.zeros(chains, dtype=torch.float64)
        for k in range(betas):
            low, high = k / betas, (k + 1) / betas
            weight += (self.nats(v, high) - self.nats(v, low)).double().cpu()
            v, _ = self.sweep(v, rng, high)
        known = F.softplus(self.b).sum().item() + len(self.c) * math.log(2)
        spread = (weight - weight.max()).exp()
        return Partition(known + (weight.logsumexp(0) - math.log(chains)).item(), (spread.std() / spread.mean() / chains**0.5).item())

    def log_z(self) -> Partition:
        """The estimate for these weights; kept until they change."""
        version = sum(p._version for p in self.parameters())
        if self._partition[0] != version:
            self._partition = (version, self.partition())
        return self._partition[1]

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.nats(self.units(x, rng)) - self.log_z().value

    def sample(self, rng: Rng, cond: Condition, options: RBMOptions, on_step: OnStep | None = None) -> Tensor:
        """Chains from noise; given pixels are held. A chain forgets where it began slowly: fewer sweeps, less varied images."""
        v = (rng.uniform(self.visible) < 0.5).to(self.b.dtype)
        known = None if cond.image is None else self.units(cond.image, rng.fork("known")).to(v.dtype)
        free = None if known is None else cond.mask.expand(-1, self.config.shape[0], -1, -1).flatten(1) > 0
        with torch.autocast(self.device.type, enabled=False):
            for done in range(1, options.sweeps + 1):
                if known is not None:
                    v = torch.where(free, v, known)
                v, p = self.sweep(v, rng)
                if on_step:
                    on_step(done, options.sweeps)
        made = v if options.pixels == "sample" else p
        made = made if known is None else torch.where(free, made, known)
        return made.unflatten(1, self.config.shape) * 2 - 1

    def evaluations(self, options: RBMOptions) -> int:
        return options.sweeps


class PCDConfig(ObjectiveConfig):
    """chains: how many go on from step to step. sweeps: of each, a step."""

    kind: Literal["pcd"] = "pcd"
    chains: int = Field(128, ge=1)
    sweeps: int = Field(1, ge=1)

    def build(self, model: RBM) -> "PCD":
        return PCD(self, model)


class PCD(Objective):
    """What the model thinks of its own chains less what it thinks of the data: its gradient is that of -log p [2]."""

    def __init__(self, config: PCDConfig, model: RBM):
        super().__init__(config, model)
        self.register_buffer("chain", torch.full((config.chains, model.visible), 0.5).bernoulli(generator=torch.Generator().manual_seed(0)))
        self.register_buffer("moved_at", torch.tensor(-1))

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(batch.image.device.type, enabled=False):
            if self.moved_at.item() != step.images:  # once a step, however many parts its batch has; alike on every process
                self._move(step.images)
            data, own = self.model.nats(self.model.units(batch.image, step.rng)).mean(), self.model.nats(self.chain).mean()
        gap = own - data
        return gap, {"gap": gap.detach(), "error": self._error(batch, step)}

    @torch.no_grad()
    def _move(self, images: int) -> None:
        rng = Rng([mix(i, images, "chain") for i in range(self.config.chains)], self.chain.device)
        for _ in range(self.config.sweeps):
            self.chain.copy_(self.model.sweep(self.chain, rng)[0])
        self.moved_at.fill_(images)

    @torch.no_grad()
    def _error(self, batch: Batch, step: Step) -> Tensor:
        """Squared error of the pixels' probabilities after one sweep: easy to watch, and no measure of the model."""
        with torch.autocast(batch.image.device.type, enabled=False):
            v = self.model.units(batch.image, step.rng)
            return (self.model.sweep(v, step.rng)[1] - v).square().mean()

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """loss: the error after one sweep. log p needs Z, which takes minutes: `inkwash evaluate --metrics bpd`."""
        error = self._error(batch, step)
        return {"loss": error, "error": error}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        if abs(figures.get("main/gap", 0.0)) > 100:
            yield "the chains are far from the data: the model drifts; try a smaller train.lr, or more objective.sweeps"
