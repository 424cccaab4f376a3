"""GAN: one network draws, another tells drawings from data, and each learns from the other.

A generator G turns noise into an image; a critic D gives an image a score, high for real. In turns:

    critic:     minimise  E softplus(-D(x)) + E softplus(D(G(z)))
    generator:  minimise  E softplus(-D(G(z)))                        (non-saturating: the gradient lives where D is sure)
    penalty:    minimise  gamma / 2 E || grad_x D(x) ||^2             (R1: D may not be steep on real images)

The penalty is a phase of its own, run every few steps with a weight to match (lazy), in fp32. Neither network has batch
statistics, so rows are independent and any number of processes gives the same gradient.

References: 1. Goodfellow et al. 2014, Generative Adversarial Networks. 2. Radford et al. 2016, DCGAN. 3. Mescheder et al. 2018,
Which Training Methods for GANs do actually Converge? (R1). 4. Miyato and Koyama 2018 (projection). 5. Karras et al. 2020,
StyleGAN2 (lazy regularisation).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Model, OnStep, Options, Sampler
from inkwash.core.objective import Objective, Phase
from inkwash.core.rng import Rng
from inkwash.nn.pyramid import Critic, Decoder, PyramidConfig


class GANConfig(ModelConfig):
    """shape: (C, H, W). classes: names by label. latent: length of the noise vector. hidden: width of the mapping from it."""

    kind: Literal["gan"] = "gan"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    latent: int = Field(64, ge=1)
    hidden: int = Field(256, ge=1)
    net: PyramidConfig = PyramidConfig()

    def build(self) -> "GAN":
        return GAN(self)


class GANOptions(Options):
    """truncation: scale of the noise, below 1 for safer and less varied images (Brock et al. 2019)."""

    truncation: float = Field(1.0, ge=0)


class GAN(Model, Sampler):
    """The generator: one pass from noise to image."""

    Options = GANOptions

    def __init__(self, config: GANConfig):
        super().__init__(config)
        d, k = config.hidden, len(config.classes)
        self.accepts = self.requires = frozenset({"label"} if k else ())
        self.label = nn.Embedding(k + 1, config.latent) if k else None  # the last is the null class
        self.mapping = nn.Sequential(nn.Linear(config.latent * (2 if k else 1), d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())
        self.decoder = Decoder(config.net, config.shape, d)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z: (N, D) to (N, C, H, W) in [-1, 1]."""
        e = z if self.label is None else torch.cat([z, self.label(label)], dim=1)
        return self.decoder(self.mapping(e)).float().tanh()

    def sample(self, rng: Rng, cond: Condition, options: GANOptions, on_step: OnStep | None = None) -> Tensor:
        x = self(options.truncation * rng.normal(self.config.latent), cond.label)
        if on_step:
            on_step(1, 1)
        return x


class NonSaturatingConfig(ObjectiveConfig):
    """gamma: weight of R1. penalty_every: critic steps between penalties. critic_steps: k, critic steps to one of the generator."""

    kind: Literal["non-saturating"] = "non-saturating"
    gamma: float = Field(1.0, ge=0)
    penalty_every: int = Field(8, ge=1)
    critic_steps: int = Field(1, ge=1)
    net: PyramidConfig = PyramidConfig()

    def build(self, model: GAN) -> "NonSaturating":
        return NonSaturating(self, model)


class NonSaturating(Objective):
    """Critic, penalty, generator: three phases and two optimisers."""

    def __init__(self, config: NonSaturatingConfig, model: GAN):
        super().__init__(config, model)
        self.critic = Critic(config.net, model.config.shape, len(model.config.classes))

    def phases(self) -> list[Phase]:
        c, betas = self.config, (0.0, 0.99)
        phases = [Phase("critic", (self.critic,), "critic", betas=betas)]
        if c.gamma:
            phases.append(Phase("penalty", (self.critic,), "critic", every=c.penalty_every, betas=betas))
        return [*phases, Phase("generator", (self.model,), "generator", every=c.critic_steps, betas=betas)]

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        label = batch.cond.label
        if phase == "penalty":
            return self._penalty(batch.image, label)
        fake = self.model(step.rng.normal(self.model.config.latent), label)
        if phase == "generator":
            loss = F.softplus(-self.critic(fake, label)).mean()
            return loss, {"loss": loss.detach()}
        real_score, fake_score = self.critic(batch.image, label), self.critic(fake.detach(), label)
        loss = F.softplus(-real_score).mean() + F.softplus(fake_score).mean()
        right = ((real_score > 0).float().mean() + (fake_score < 0).float().mean()) / 2
        return loss, {"loss": loss.detach(), "accuracy": right.detach(), "real_score": real_score.mean().detach()}

    def _penalty(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.detach().requires_grad_()
        with torch.autocast(x.device.type, enabled=False):
            (slope,) = torch.autograd.grad(self.critic(x, label).sum(), x, create_graph=True)
        square = slope.square().flatten(1).sum(1).mean()
        return 0.5 * self.config.gamma * self.config.penalty_every * square, {"square": square.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The critic's score of held-out images; below its score of training images, it knows those by heart. No loss to choose by."""
        score = self.critic(batch.image, batch.cond.label)
        return {"real_score": score.mean()}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        if figures.get("critic/accuracy", 0.0) > 0.98 and figures.get("generator/loss", 0.0) > 6:
            yield "the critic is winning: it tells drawings from data almost surely; try a larger objective.gamma"
