"""Distillation: teach a trained diffusion model to draw in a few large steps what its teacher draws in many small ones.

A denoiser guesses the average of all images that a noisy one may come from, which is a blur where there is much noise. The teacher's own
flow, though, leads from each noisy image to a single sharp one. The student, which begins as the teacher, learns to arrive there at once:

    loss = E (a + s) / s || G(x_t, t) - ODE(x_t, t) ||,    x_t = a(t) x0 + s(t) noise

where ODE is the teacher's solver, a few steps from x_t to the end, and (a + s) / s makes it the error of a flow prediction, of about
the same size at every level. The norm of each image's error, not its square: a square would let a few hopeless images rule the rest.
The levels are those of a grid of few steps, since sampling guesses, adds fresh noise down to the next level, and guesses again.

What else was tried, distribution matching among it, was slower and worse: docs/en/diffusion.md has the figures.

References: 1. Luhman and Luhman 2021, Knowledge Distillation in Iterative Generative Models (the solver's end as the goal, from pure
noise). 2. Salimans and Ho 2022, Progressive Distillation (from noisy data, at the levels that are sampled). 3. Song et al. 2023,
Consistency Models (guess, add fresh noise, guess again). 4. Song and Dhariwal 2024, Improved Techniques for Training Consistency Models
(a norm for the square).
"""

import copy
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model
from inkwash.core.objective import Objective
from inkwash.diffusion.options import Interval
from inkwash.diffusion.path import stretch, toward_rows
from inkwash.diffusion.told import Told

SOFT = 1e-6  # under the root of the norm: an image that is right has a gradient of zero


class DistillationConfig(ObjectiveConfig):
    """steps: of the model's grid (its options), at whose levels the student learns. ends: share of rows that begin at the first one, pure
    noise; the others spread over all of them.

    teacher_steps, overshoot: of the teacher's solver; 8 and 1.7 err least for their cost. guidance: of the teacher, at times in
    interval; above 1 the student learns a flow that shows the class more clearly. label_dropout: share of rows.
    """

    kind: Literal["distillation"] = "distillation"
    steps: int = Field(4, ge=1)
    ends: float = Field(0.15, ge=0, le=1)
    teacher_steps: int = Field(8, ge=1)
    overshoot: float = Field(1.7, ge=0)
    guidance: float = Field(1.0, ge=0, allow_inf_nan=False)
    interval: Interval = (0.0, 1.0)
    label_dropout: float = Field(0.1, ge=0, le=1)

    def build(self, model: Model) -> "Distillation":
        return Distillation(self, model)


class Distillation(Objective):
    """A student that guesses at once where its teacher's flow ends. The teacher is a frozen copy of the model as it begins."""

    def __init__(self, config: DistillationConfig, model: Model):
        super().__init__(config, model)
        options = model.default_options()
        if options.steps != config.steps:
            raise ConfigError(f"objective.steps is {config.steps} and model.options.steps {options.steps}: sample where it learns.")
        self.times = [t for t, _, _ in model.grid(options)[:-1]]
        if config.guidance != 1 and not model.accepts & {"label", "tokens"}:
            raise ConfigError("objective.guidance needs a model that was trained with classes or texts.")
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    def starts(self, step: Step) -> Tensor:
        """Times at which the student guesses, (N,): points of the grid, the first for some rows, any for the others."""
        u, k = step.rng.uniform(), self.config.steps
        rest = ((u - self.config.ends) / max(1 - self.config.ends, 1e-6) * k).long().clamp(0, k - 1)
        return torch.tensor(self.times, device=u.device)[torch.where(u < self.config.ends, 0, rest)]

    def taught(self, x: Tensor, t: Tensor, told: Told) -> Tensor:
        """The teacher's D, guided where that is asked for."""
        d, _ = self.teacher.estimate(x, t, told)
        if self.config.guidance == 1:
            return d
        null, _ = self.teacher.estimate(x, t, self.teacher.nothing(len(x)))
        low, high = self.config.interval
        inside = ((low <= t) & (t <= high))[:, None, None, None]
        return d + inside * (self.config.guidance - 1) * (d - null)

    @torch.no_grad()
    def solved(self, x: Tensor, start: Tensor, cond: Condition) -> Tensor:
        """Where the teacher's flow leads from x, each row from a time of its own: DPM-Solver++(2M) in equal steps of t."""
        told = self.teacher.told(cond, len(x))  # as the teacher reads it: the student's reader is learning
        times = [start * (1 - k / self.config.teacher_steps) for k in range(self.config.teacher_steps)]
        before = h_before = None
        for t, t2 in pairwise(times):
            d = self.taught(x, t, told)
            here, there = self.model.levels_of(t), self.model.levels_of(t2)
            h = (there[0] * here[1] / (there[1] * here[0])).log()  # the step in log-SNR, (N, 1, 1, 1)
            best = d if before is None else d + (d - before) * (self.config.overshoot * h / (2 * h_before))
            x, before, h_before = toward_rows(x, best, here, there), d, h
        return self.taught(x, times[-1], told)  # the step into no noise

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        x0 = self.model.latent(batch)
        cond = self.model.hears(batch, step, self.config.label_dropout)
        t = self.starts(step)
        a, s = self.model.levels_of(t)  # (N, 1, 1, 1)
        x = a * x0 + s * step.rng.normal(*x0.shape[1:])
        guess, _ = self.model.estimate(x, t, self.model.told(cond, len(x)))
        squared = (guess - self.solved(x, t, cond)).square().mean((1, 2, 3))  # (N,)
        weight = stretch("flow", a, s).flatten()
        return (weight * (squared + SOFT).sqrt()).mean(), {"mse": squared.mean().detach()}
