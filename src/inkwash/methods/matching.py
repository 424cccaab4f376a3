"""Distribution matching: teach a trained diffusion model to draw in a few large steps, so that its images are distributed as the teacher's.

A denoiser guesses the average of all images that a noisy one may come from, which is a blur where there is much noise. The student,
which begins as the teacher, learns to return one sharp image instead: G(x_t, t). Nobody can say which one it should be; but the whole
crowd of them is right when no noise level tells them from the teacher's images. A second copy of the teacher, the critic, is trained
all the while to denoise the student's images. Where the two disagree about a noisy version y of G, such images are too common or too
rare, and each moves accordingly:

    grad_G = w (D_critic(y, s) - D_teacher(y, s)),    y = a(s) G + s(s) noise,    w = 1 / mean |G - D_teacher|

which is the gradient of the Kullback-Leibler divergence between the two crowds at level s, weighted by w. The student learns at the levels
of a grid of few steps, from what it will see there: sampling guesses, adds fresh noise down to the next level, and guesses again. The
critic is told at which level each image was guessed: one that knows only all of them together has late guesses make up for early ones.

A crowd can be right where single images are not, and the critic lags behind. So the student also learns by example where the teacher's
own ODE leads from x_t: one of the many right answers, which a few steps of a solver tell, and down to the last pixel.

The teacher errs too. A judge, a small network that tells images of the data set from the student's, both with a little noise, as in a
GAN, knows nothing of it: the student also minimises E softplus(-judge(y)), with a small weight.

References: 1. Yin et al. 2024, One-step Diffusion with Distribution Matching Distillation (equations 7 and 8; its examples
are drawn beforehand, from pure noise). 2. Yin et al. 2024, Improved Distribution Matching Distillation (several steps, several critic
steps, the judge). 3. Salimans et al. 2024, Multistep Distillation of Diffusion Models via Moment Matching (the same gradient, from noisy
data).
"""

import copy
from contextlib import nullcontext
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model
from inkwash.core.objective import Objective, Phase
from inkwash.diffusion.path import stretch, toward_rows
from inkwash.nn.layers import Embedding
from inkwash.nn.pyramid import Critic, PyramidConfig

SEEN = (-2.5, 1.0)  # mean and std of log sigma at which the judge sees images: little noise, where single pixels tell
OVERSHOOT = 2.0  # of the teacher's solver: its six steps then err least (Frechet distance 11.5, with 1 it is 20.2)


class MatchingConfig(ObjectiveConfig):
    """steps: of the uniform grid at whose levels the student learns. ends: share of rows at its first level, pure noise.

    mean, std: of log sigma, at which teacher and critic are compared, and the critic learns. critic_steps: to one of the student.
    critic_lr: the critic's learning rate, as a factor. regression: weight of the teacher's example, 0 for none; teacher_steps: of its
    solver. judge: weight of the judge's opinion, 0 for none; net: its network.
    label_dropout: share of rows.
    """

    kind: Literal["matching"] = "matching"
    steps: int = Field(4, ge=1)
    ends: float = Field(0.35, ge=0, le=1)
    mean: float = 0.2
    std: float = Field(1.6, gt=0)
    critic_steps: int = Field(2, ge=1)
    critic_lr: float = Field(4.0, gt=0)
    regression: float = Field(0.3, ge=0)
    teacher_steps: int = Field(6, ge=1)
    judge: float = Field(0.01, ge=0)
    net: PyramidConfig = PyramidConfig()
    label_dropout: float = Field(0.0, ge=0, le=1)

    def build(self, model: Model) -> "Matching":
        return Matching(self, model)


def crowded(model: Model, places: int) -> Model:
    """The model with a class of its own for every place and class: it begins as it was, and learns to tell them apart."""
    for m in model.modules():
        if isinstance(m, Embedding):
            known = torch.zeros(1, m.time[-1].out_features) if m.label is None else m.label.weight.data
            m.label = nn.Embedding.from_pretrained(known.repeat(places, 1), freeze=False)
    return model


class Matching(Objective):
    """A student whose images no noise level tells from its teacher's. The critic's turn comes first, the student's every few steps."""

    def __init__(self, config: MatchingConfig, model: Model):
        super().__init__(config, model)
        asked = getattr(getattr(model.config, "options", None), "steps", config.steps)
        if asked != config.steps:
            raise ConfigError(f"objective.steps is {config.steps} and model.options.steps {asked}: sample where it learns.")
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.critic = crowded(copy.deepcopy(model), config.steps)
        crowds = config.steps * (len(model.config.classes) + 1)
        self.judge = Critic(config.net, model.config.shape, crowds) if config.judge else None

    def phases(self) -> list[Phase]:
        learners = (self.critic,) if self.judge is None else (self.critic, self.judge)
        critic = Phase("critic", learners, "critic", lr=self.config.critic_lr)
        return [critic, Phase("student", (self.model,), "student", every=self.config.critic_steps)]

    def places(self, batch: Batch, step: Step) -> Tensor:
        """Points of the grid at which the student guesses, int64 (N,): the first, 0, for some rows, any for the others."""
        u, k = step.rng.uniform(), self.config.steps
        rest = ((u - self.config.ends) / max(1 - self.config.ends, 1e-6) * k).long()
        return torch.where(u < self.config.ends, 0, rest.clamp(0, k - 1))

    def times(self, place: Tensor) -> Tensor:
        return self.model.path.start * (1 - place / self.config.steps)

    def crowd(self, place: Tensor, label: Tensor | None) -> Tensor:
        """Which images the critic is asked about: those guessed at this place, of this class. int64 (N,)."""
        null = len(self.model.config.classes)
        return place * (null + 1) + (null if label is None else label)

    @torch.no_grad()
    def begin(self, x0: Tensor, place: Tensor, label: Tensor | None, step: Step) -> Tensor:
        """What the student sees there: its own guess from the point before, with fresh noise, as in sampling. (Reference 2.)

        The point before is reached from the data set, not by sampling from the first point on.
        """
        if self.config.steps == 1:
            return self.noisy(x0, self.times(place), step)
        later = place > 0
        before = self.times((place - 1).clamp(min=0))
        x = self.noisy(x0, before, step)
        guess, _ = self.model.estimate(x, before, label)  # of all rows, so that shapes never change
        x0 = torch.where(later[:, None, None, None], guess, x0)
        return self.noisy(x0, self.times(place), step)

    def levels(self, start: Tensor, batch: Batch, step: Step, mean: float, std: float) -> Tensor:
        """Times at which images are compared, (N,): log sigma is normal, up to where each started.

        With more noise than that there is nothing to learn: the image that it started from is known better.
        """
        a, s = (f(start.cpu().double()) for f in (self.model.path.a, self.model.path.s))
        highest = torch.special.ndtr(((s / a).log() - mean) / std)
        sigma = (torch.special.ndtri(step.quantiles(batch) * highest) * std + mean).exp()
        return self.model.path.time(sigma).clamp(max=self.model.path.start).float().to(batch.image.device)

    def noisy(self, x0: Tensor, t: Tensor, step: Step) -> Tensor:
        a, s = self.model.levels_of(t)
        return a * x0 + s * step.rng.normal(*x0.shape[1:])

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        x0 = self.model.to_latent(batch.image)
        label = step.drop(batch.cond.label, self.config.label_dropout, len(self.model.config.classes))
        place = self.places(batch, step)
        start, x, crowd = self.times(place), self.begin(x0, place, label, step), self.crowd(place, label)
        with torch.no_grad() if phase == "critic" else nullcontext():
            guess, _ = self.model.estimate(x, start, label)
        t = self.levels(start, batch, step, self.config.mean, self.config.std)
        y = self.noisy(guess.detach(), t, step)
        seen = None if self.judge is None else self.levels(start, batch, step, *SEEN)  # at what noise the judge sees images
        if phase == "critic":
            loss, parts = self.learn(guess, y, t, crowd)
            told, more = (0.0, {}) if seen is None else self.tell(x0, guess, seen, crowd, step)
            return loss + told, parts | more
        loss, parts = self.divergence(guess, y, t, label, crowd)
        if self.config.regression:
            example = self.regress(guess, x, start, label)
            loss, parts["example"] = loss + self.config.regression * example, example.detach()
        if self.judge is not None:
            score = self.judge(self.noisy(guess, seen, step), crowd)
            loss, parts["score"] = loss + self.config.judge * F.softplus(-score).mean(), score.mean().detach()
        return loss, parts

    def divergence(self, guess: Tensor, y: Tensor, t: Tensor, label: Tensor | None, crowd: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's loss, whose gradient is that of the divergence."""
        with torch.no_grad():
            real, _ = self.teacher.estimate(y, t, label)
            fake, _ = self.critic.estimate(y, t, crowd)
            weight = 1 / (guess - real).abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
            goal = guess - weight * (fake - real)
        return 0.5 * (guess - goal).square().mean(), {"apart": (fake - real).square().mean()}

    @torch.no_grad()
    def solved(self, x: Tensor, start: Tensor, label: Tensor | None) -> Tensor:
        """Where the teacher's ODE leads from x, each row from a time of its own: DPM-Solver++(2M) in equal steps of t."""
        times = [start * (1 - k / self.config.teacher_steps) for k in range(self.config.teacher_steps)]
        before = h_before = None
        for t, t2 in pairwise(times):
            d, _ = self.teacher.estimate(x, t, label)
            here, there = self.model.levels_of(t), self.model.levels_of(t2)
            h = (there[0] * here[1] / (there[1] * here[0])).log()  # the step in log-SNR, (N, 1, 1, 1)
            best = d if before is None else d + (d - before) * (OVERSHOOT * h / (2 * h_before))
            x, before, h_before = toward_rows(x, best, here, there), d, h
        return self.teacher.estimate(x, times[-1], label)[0]  # the step into no noise

    def regress(self, guess: Tensor, x: Tensor, start: Tensor, label: Tensor | None) -> Tensor:
        """How far the guess is from the teacher's example."""
        return self.error(guess, self.solved(x, start, label), start)

    def error(self, d: Tensor, goal: Tensor, t: Tensor) -> Tensor:
        """Squared error of a flow prediction, whatever the model predicts: about the same weight at every level."""
        return (stretch("flow", *self.model.levels_of(t)).square() * (d - goal).square()).mean()

    def learn(self, guess: Tensor, y: Tensor, t: Tensor, crowd: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss: it denoises guesses."""
        d, _ = self.critic.estimate(y, t, crowd)
        loss = self.error(d, guess, t)
        return loss, {"mse": loss.detach()}

    def tell(self, x0: Tensor, guess: Tensor, t: Tensor, crowd: Tensor, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The judge's loss: it tells noisy guesses from noisy images of the data set."""
        right, wrong = (self.judge(self.noisy(x, t, step), crowd) for x in (x0, guess))
        told = F.softplus(-right).mean() + F.softplus(wrong).mean()
        accuracy = ((right > 0).float() + (wrong < 0).float()).mean() / 2
        return told, {"judge": told.detach(), "accuracy": accuracy.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """How far teacher and critic disagree on held-out rows. No loss to choose by."""
        return {"apart": self.loss("student", batch, step)[1]["apart"]}
