"""Consistency: teach a trained diffusion model to jump to the end of its own path in one step.

A solver follows the teacher's path from noise to an image in many small steps. Every point of that path ends in the same image, so
a student's guess from any point should equal its guess from the next one:

    loss = E w(t) || D(x_t, t) - D_frozen(x_r, r) ||,    x_r one step of the teacher from x_t towards its own guess

From little noise (`anchor`) the teacher itself goes straight to the end, which anchors the chain: without that, guessing the same image
everywhere would be consistent too. The step from t to r shrinks as training goes on. The student starts from the teacher's
weights. One evaluation then gives an image; two or four, with fresh noise between, a better one.

References: 1. Song, Dhariwal, Chen and Sutskever 2023, Consistency Models (distillation, multistep sampling). 2. Song and Dhariwal 2023,
Improved Techniques for Training Consistency Models (no EMA target, pseudo-Huber loss, weight 1/(t - r)). 3. Geng et al. 2024,
Consistency Models Made Easy (start from diffusion, r/t rising to 1 in stages).
"""

import copy
import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.model import Model
from inkwash.core.objective import Objective
from inkwash.diffusion.path import toward_rows

GOLDEN = 0.6180339887498949


class ConsistencyConfig(ObjectiveConfig):
    """mean, std: of log sigma, at which a step begins. ends: share of rows that begin at the path's start, where sampling does.

    coarse, fine: by how much sigma falls in one step, r/t = 1 - 1/n, n rising from coarse to fine. anchor: the sigma from which on the
    teacher goes straight to the image. huber: scale of the loss, in pixels. label_dropout: share of rows.
    """

    kind: Literal["consistency"] = "consistency"
    mean: float = -0.4
    std: float = Field(1.6, gt=0)
    ends: float = Field(0.1, ge=0, le=1)
    coarse: float = Field(2.0, gt=1)
    fine: float = Field(12.0, gt=1)
    anchor: float = Field(0.08, gt=0)
    huber: float = Field(0.03, gt=0)
    label_dropout: float = Field(0.1, ge=0, le=1)

    def build(self, model: Model) -> "Consistency":
        return Consistency(self, model)


class Consistency(Objective):
    """A student that agrees with itself along the paths of a frozen copy of what it was when training began."""

    def __init__(self, config: ConsistencyConfig, model: Model):
        super().__init__(config, model)
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    def draw_sigmas(self, batch: Batch, step: Step) -> Tensor:
        """Sigmas at which steps begin, (N,): quantiles far apart for neighbouring rows, some at the path's start."""
        u = (batch.index.double() * GOLDEN + step.rng.uniform().cpu().double() * 1e-3) % 1
        ends = step.rng.uniform().cpu() < self.config.ends
        sigma = (torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)) * self.config.std + self.config.mean).exp()
        _, a, s = self.model.path.at(self.model.path.start)
        return torch.where(ends, s / a, sigma.clamp(max=s / a)).to(batch.image.device)

    def follow(self, x: Tensor, here: tuple[Tensor, ...], there: tuple[Tensor, ...], label: Tensor | None) -> Tensor:
        """One step of the teacher from x at (t, a, s) to (r, a', s'): the midpoint of the estimates at both ends; straight where r = 0."""
        d, _ = self.teacher.estimate(x, here[0], label)
        x2 = toward_rows(x, d, here[1:], there[1:])
        d2, _ = self.teacher.estimate(x2, there[0].clamp(min=1e-3), label)
        d2 = torch.where((there[0] > 0)[:, None, None, None], (d + d2) / 2, d)
        return toward_rows(x, d2, here[1:], there[1:])

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model, path, x0 = self.model, self.model.path, self.model.to_latent(batch.image)
        sigma = self.draw_sigmas(batch, step)
        n = self.config.coarse * (self.config.fine / self.config.coarse) ** step.progress
        lower = sigma * (1 - 1 / n)
        lower = torch.where(lower < self.config.anchor, 0.0, lower)
        t, r = path.time(sigma).float(), path.time(lower).float()
        label = batch.cond.label
        if label is not None:
            dropped = step.rng.uniform() < self.config.label_dropout
            label = torch.where(dropped, len(model.config.classes), label)
        here, there = model.levels_of(t), model.levels_of(r)
        x = here[0] * x0 + here[1] * step.rng.normal(*x0.shape[1:])
        with torch.no_grad():
            x2 = self.follow(x, (t, *here), (r, *there), label)
            goal, _ = model.estimate(x2, r, label)
            goal = torch.where((r > 0)[:, None, None, None], goal, x2)  # (N, C, H, W)
        guess, _ = model.estimate(x, t, label)
        square = (guess - goal).square().mean((1, 2, 3))  # (N,)
        c = self.config.huber
        # the weight is that of the references, 1 / (t - r), on the bounded scale of shares of noise
        loss = (((square + c * c).sqrt() - c) / (t - r).clamp(min=1e-3)).mean()
        return loss, {"mse": square.detach().mean(), "step": torch.tensor(math.log(n), device=x0.device)}
