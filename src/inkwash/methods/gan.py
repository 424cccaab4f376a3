"""GAN: one network draws, another tells drawings from data, and each learns from the other.

A generator G turns noise into an image; a critic D gives an image a score, high for real. They play one of the games of `nn/games.py`,
in turns. The default one, with its penalty:

    critic:     minimise  E softplus(-D(x)) + E softplus(D(G(z)))
    penalty:    minimise  r1 / 2 E || grad D(x) ||^2  +  r2 / 2 E || grad D(G(z)) ||^2
    generator:  minimise  E softplus(-D(G(z)))

The penalty keeps the critic flat around images, and where r2 says so around drawings, without which the game need not settle. Other ways
to hold it are there for the games that were published with them: weights clipped, a slope of 1 between images and drawings, spectral norm.
Penalties are lazy: taken of every few rows, in fp32. Taking them of all rows every few steps, as is usual, gives Adam gradients
too uneven to follow: the slope that is left is many times larger. No default network has batch statistics, so that rows are
independent and any number of processes gives the same gradient.

References: 1. Goodfellow et al. 2014, Generative Adversarial Networks (section 3: the default). 2. Mescheder et al. 2018, Which Training
Methods for GANs do actually Converge? (R1, R2). 3. Jolicoeur-Martineau 2018, The Relativistic Discriminator. 4. Huang et al. 2024, The
GAN is dead; long live the GAN! (3 with both of 2). 5. Arjovsky et al. 2017, Wasserstein GAN (clipping). 6. Gulrajani et al. 2017,
Improved Training of Wasserstein GANs (the slope). 7. Karras et al. 2020, Analyzing and Improving StyleGAN (lazy penalties). 8. Karras et
al. 2020, Training GANs with Limited Data (augmentation that adapts; the figure of overfitting). 9. Lin et al. 2018, PacGAN (packs).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, OnStep, Options, Sampler
from inkwash.core.objective import Objective, Phase
from inkwash.core.rng import Rng
from inkwash.nn.augment import Kind, augment
from inkwash.nn.critics import Critic, How, Pair
from inkwash.nn.games import GAMES, coverage, slope
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.spectral import iterate_, spectral_

MEMORY = 4000.0  # images over which the critic's mean scores are remembered
LOOK = 8  # side of the small pictures by which drawings are compared with images


class GANConfig(ModelConfig):
    """shape: (C, H, W). classes: names by label. latent: length of the noise vector. mapping: layers, `hidden` wide, between it and the
    network (Karras et al. 2019); they cost variety here. spectral: spectral norm on the generator."""

    kind: Literal["gan"] = "gan"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    latent: int = Field(64, ge=1)
    hidden: int = Field(256, ge=1)
    mapping: int = Field(0, ge=0)
    spectral: bool = False
    net: Pair = PyramidConfig()

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
        k = len(config.classes)
        self.accepts = self.requires = frozenset({"label"} if k else ())
        self.label = nn.Embedding(k + 1, config.latent) if k else None  # the last is the null class
        widths = [config.latent * (2 if k else 1), *[config.hidden] * config.mapping]
        self.mapping = nn.Sequential(*(m for a, b in zip(widths, widths[1:]) for m in (nn.Linear(a, b), nn.SiLU())))
        self.decoder = config.net.generator(config.shape, widths[-1])
        if config.spectral:
            spectral_(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z: (N, D) to (N, C, H, W) in [-1, 1]."""
        e = z if self.label is None else torch.cat([z, self.label(label)], dim=1)
        return self.decoder(self.mapping(e)).float().tanh()

    def sample(self, rng: Rng, cond: Condition, options: GANOptions, on_step: OnStep | None = None) -> Tensor:
        x = self(options.truncation * rng.normal(self.config.latent), cond.label)
        if on_step:
            on_step(1, 1)
        return x


class AdversarialConfig(ObjectiveConfig):
    """loss: the game. r1, r2: weights of the penalties on the critic's slope at images and at drawings. lipschitz: weight of WGAN-GP's.
    clip: the critic's weights are kept within +-clip. spectral: its layers stretch nothing. penalty_rows: of so many rows one is penalised;
    penalty_every: critic steps between penalties, which are then steps of their own. critic_steps: k, critic steps to one of the
    generator. pack: images that the critic judges together, one score for all; more show it what is missing. condition: how the class
    reaches the critic; naming: weight of the error in naming it, where it is auxiliary. augment: changes made at random to all that the
    critic sees. adapt: the share of images that the critic calls real, beyond those that it calls drawn, that the strength of `augment` is
    steered to; None for full strength. adapt_images: how many images that strength takes from 0 to 1. critic_lr: the critic's learning
    rate, as a factor. betas: of Adam, on both sides.
    """

    kind: Literal["adversarial"] = "adversarial"
    loss: Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"] = "non-saturating"
    r1: float = Field(1.0, ge=0)
    r2: float = Field(0.0, ge=0)
    lipschitz: float = Field(0.0, ge=0)
    clip: float | None = Field(None, gt=0)
    spectral: bool = False
    penalty_rows: int = Field(8, ge=1)
    penalty_every: int = Field(1, ge=1)
    critic_steps: int = Field(1, ge=1)
    pack: int = Field(1, ge=1)
    condition: How = "projection"
    naming: float = Field(1.0, ge=0)
    augment: tuple[Kind, ...] = ()
    adapt: float | None = Field(None, gt=0, lt=1)
    adapt_images: int = Field(100_000, ge=1)
    critic_lr: float = Field(1.0, gt=0)
    betas: tuple[float, float] = (0.0, 0.99)
    net: Pair = PyramidConfig()

    def build(self, model: GAN) -> "Adversarial":
        return Adversarial(self, model)


class Adversarial(Objective):
    """Critic and generator, each with its optimiser; the penalty is part of the critic's loss, or a phase where it comes more seldom."""

    def __init__(self, config: AdversarialConfig, model: GAN):
        super().__init__(config, model)
        known, pack = model.config, config.pack
        if pack > 1 and known.classes:
            raise ConfigError("objective.pack=1 is for images with classes: a pack of several has no class.")
        self.couples = config.net.couples or known.net.couples or config.adapt is not None or pack > 1
        self.critic = Critic(config.net, (pack * known.shape[0], *known.shape[1:]), len(known.classes), config.condition)
        if config.spectral:
            spectral_(self.critic)
        self.game = GAMES[config.loss]
        self.penalised = bool(config.r1 or config.r2 or config.lipschitz)
        self.register_buffer("followed", torch.full((), -1))  # images seen when the singular vectors moved last
        self.register_buffer("scores", torch.zeros(2))  # recent mean scores of training images and of drawings
        self.register_buffer("strength", torch.tensor(1.0 if config.adapt is None else 0.0))

    def phases(self) -> list[Phase]:
        c = self.config
        phases = [Phase("critic", (self.critic,), "critic", lr=c.critic_lr, betas=c.betas)]
        if self.penalised and c.penalty_every > 1:
            phases.append(Phase("penalty", (self.critic,), "critic", every=c.penalty_every, lr=c.critic_lr, betas=c.betas))
        return [*phases, Phase("generator", (self.model,), "generator", every=c.critic_steps, betas=c.betas)]

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        self._hold(step)
        if phase == "penalty":
            return self._penalty(batch, step)
        x, label = batch.image, batch.cond.label
        drawn = self.model(step.rng.normal(self.model.config.latent), label)
        if phase == "generator":
            return self._generator(x, drawn, label, step.rng)
        loss, parts = self._critic(x, drawn.detach(), label, step)
        if self.penalised and self.config.penalty_every == 1:
            more, figures = self._penalty(batch, step, drawn.detach())
            loss, parts = loss + more, parts | figures
        return loss, parts

    def see(self, x: Tensor, label: Tensor | None, rng: Rng) -> tuple[Tensor, Tensor | None]:
        """The critic's score (N,) of an image as augmented, and its names for the class."""
        return self.critic(self.packed(augment(x, rng, self.config.augment, self.strength)), label)

    def packed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N / m, m C, H, W); where m does not divide N, the first rows come once more."""
        m = self.config.pack
        if len(x) % m:
            x = x[torch.arange(-(-len(x) // m) * m, device=x.device) % len(x)]
        return x.unflatten(0, (-1, m)).flatten(1, 2)

    @torch.no_grad()
    def _hold(self, step: Step) -> None:
        """What keeps weights in bounds, once a step."""
        if self.config.clip:
            for p in self.critic.parameters():
                p.clamp_(-self.config.clip, self.config.clip)
        if step.images != self.followed:
            iterate_(self.critic)
            iterate_(self.model)
            self.followed.fill_(step.images)

    def _critic(self, x: Tensor, drawn: Tensor, label: Tensor | None, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        (real, names), (fake, said) = self.see(x, label, step.rng), self.see(drawn, label, step.rng)
        loss = self.game.critic(real, fake).mean() + self._naming(names, label) + self._naming(said, label)
        self._remember(real.detach(), fake.detach(), step)
        right = (real > fake).float().mean()
        small = [F.adaptive_avg_pool2d(images.float(), LOOK).flatten(1) for images in (x, drawn)]
        parts = {
            "loss": loss,
            "accuracy": right,
            "real_score": real.mean(),
            "coverage": coverage(*small),
            "strength": self.strength.clone(),
        }
        return loss, {k: v.detach() for k, v in parts.items()}

    def _generator(self, x: Tensor, drawn: Tensor, label: Tensor | None, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
        fake, said = self.see(drawn, label, rng)
        with torch.no_grad():
            real = self.see(x, label, rng)[0] if self.game.paired else fake
        loss = self.game.generator(real, fake).mean() + self._naming(said, label)
        return loss, {"loss": loss.detach()}

    def _penalty(self, batch: Batch, step: Step, drawn: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the rows whose place in the run is a multiple of `penalty_rows`, whichever process and micro-batch they came to."""
        c, parts, loss = self.config, {}, torch.zeros((), device=batch.image.device)
        rows = (batch.index % c.penalty_rows == 0).nonzero()[:, 0].tolist()
        share = c.penalty_every * c.penalty_rows * len(rows) / len(batch.index)  # what the mean over them stands for
        rows = rows or [0]
        part, rng = batch[rows], step.rng[rows]
        x, label = part.image, part.cond.label
        drawn = self.model(rng.normal(self.model.config.latent), label).detach() if drawn is None else drawn[rows]
        score = lambda images: self.critic(images, label)[0]  # noqa: E731
        for weight, images, name in ((c.r1, x, "real_slope"), (c.r2, drawn, "drawn_slope")):
            if weight:
                square = slope(score, self.packed(augment(images, rng, c.augment, self.strength))).mean()
                loss, parts[name] = loss + 0.5 * weight * square, square.detach()
        if c.lipschitz:
            between = drawn + rng.uniform()[:, None, None, None] * (x - drawn)
            off = ((slope(score, self.packed(between)) + 1e-12).sqrt() - 1).square().mean()
            loss, parts["slope_off_one"] = loss + c.lipschitz * off, off.detach()
        return share * loss, parts

    def _naming(self, names: Tensor | None, label: Tensor | None) -> Tensor | float:
        """Cross-entropy of the critic's names for the class; rows of unknown class do not count."""
        if names is None:
            return 0.0
        known = label < names.shape[1]
        error = F.cross_entropy(names, label.clamp(max=names.shape[1] - 1), reduction="none")
        return self.config.naming * (error * known).mean()

    @torch.no_grad()
    def _remember(self, real: Tensor, fake: Tensor, step: Step) -> None:
        """Mean scores for the figure of overfitting; and the strength of augmentation, moved towards its target (ADA, section 3)."""
        keep = 0.5 ** (self.config.pack * len(real) / MEMORY)
        fresh = torch.stack([real.mean(), fake.mean()])
        self.scores.lerp_(torch.where(fresh.isfinite(), fresh, self.scores), 1 - keep)
        if self.config.adapt is not None:
            rows = self.config.pack * len(step.gather(real))
            towards = (step.reduce(real.sign().mean()) - self.config.adapt).sign()
            self.strength.add_(towards * rows / self.config.adapt_images).clamp_(0, 1)

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The critic's score of held-out images; and "overfit", how far that has gone from its score of training images, 0, to that of
        drawings, 1 (ADA, equation 1). No loss to choose by."""
        score, _ = self.critic(self.packed(batch.image), batch.cond.label)
        real, fake = self.scores
        gap = (real - fake).clamp(min=1e-3)
        return {"real_score": score.mean(), "overfit": (real - score.mean()) / gap}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        if figures.get("critic/accuracy", 0.0) > 0.98 and progress > 0.05:
            yield "the critic is winning: it tells drawings from data almost surely; try a larger objective.r1 and objective.r2"
        if figures.get("critic/coverage", 1.0) < 0.35 and progress > 0.2:
            yield "modes are missing: few images have a drawing near them; try larger objective.r1 and r2, a larger batch, or more steps"
        if figures.get("valid/overfit", 0.0) > 0.8:
            yield "the critic knows the training images by heart: held-out ones score like drawings; try objective.augment"
