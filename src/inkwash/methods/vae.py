"""VAE: squeeze an image into a few numbers that look like noise; then turn fresh noise into images.

An encoder gives a Gaussian q(z|x), a decoder a distribution p(x|z) over pixels. Both maximise one bound on log p(x):

    log p(x) >= E_q log p(x|z) - beta KL(q(z|x) || p(z)),      beta = 1 for the bound itself

The prior p(z) is N(0, I); with class labels each class y has a Gaussian of its own, learnt with the rest, and the bound is one
on log p(x|y).

Pixels are integers, so p(x|z) is a discretised logistic: a logistic of mean m and scale s, integrated over each pixel's bin.
A plain squared error would fix that scale by hand, and with it how much the latent is used. Binary images take a Bernoulli.

References: 1. Kingma and Welling 2014, Auto-Encoding Variational Bayes. 2. Higgins et al. 2017, beta-VAE. 3. Kingma et al. 2016, Improved
Variational Inference with Inverse Autoregressive Flow (discretised logistic, appendix). 4. Rybkin et al. 2021, sigma-VAE. 5. Burda et al.
2016, Importance Weighted Autoencoders, equation 8.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Autoencoder, Importance, Model, OnStep, Options, Sampler, weighed
from inkwash.core.objective import Objective
from inkwash.core.rng import Rng
from inkwash.nn.levels import discretised_logistic
from inkwash.nn.pyramid import Decoder, Encoder, PyramidConfig


class VAEConfig(ModelConfig):
    """shape: (C, H, W). latent: how many numbers. likelihood: of pixels given the latent. scale: of the logistic, one for each pixel of
    each image, or one for all, learnt (reference 4)."""

    kind: Literal["vae"] = "vae"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    latent: int = Field(64, ge=1)
    likelihood: Literal["logistic", "bernoulli"] = "logistic"
    scale: Literal["pixel", "shared"] = "pixel"
    net: PyramidConfig = PyramidConfig()

    def build(self) -> "VAE":
        return VAE(self)


class VAEOptions(Options):
    """temperature: spread of the latent, below 1 for safer images. pixels: "mean", or "sample" with the likelihood's own noise."""

    temperature: float = Field(1.0, ge=0)
    pixels: Literal["mean", "sample"] = "mean"


class VAE(Model, Sampler, Importance, Autoencoder):
    """Encoder, decoder and the likelihood between them."""

    Options = VAEOptions
    tag = "bound"

    def __init__(self, config: VAEConfig):
        super().__init__(config)
        c, height, width = config.shape
        self.accepts = self.requires = frozenset({"label"} if config.classes else ())
        self.levels = 256 if config.likelihood == "logistic" else 2
        outputs = 2 * c if config.likelihood == "logistic" and config.scale == "pixel" else c
        d = config.latent
        self.log_scale = nn.Parameter(torch.tensor(-2.0)) if config.likelihood == "logistic" and config.scale == "shared" else None
        self.label = nn.Embedding(len(config.classes) + 1, d) if config.classes else None  # the last is the null class
        self.prior_of = nn.Embedding(len(config.classes) + 1, 2 * d) if config.classes else None
        if self.prior_of is not None:
            nn.init.zeros_(self.prior_of.weight)  # every class begins at N(0, I)
        self.encoder = Encoder(config.net, config.shape, 2 * d)
        self.decoder = Decoder(config.net, (outputs, height, width), 2 * d if config.classes else d)

    def prior(self, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log variance of p(z|y), (N, D) each; zeros (1, D) without classes."""
        if self.prior_of is None:
            zero = torch.zeros(1, self.config.latent, device=self.device)
            return zero, zero
        mean, log_var = self.prior_of(label).float().chunk(2, dim=1)
        return mean, log_var.clamp(-10, 5)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), (N, D) each."""
        mean, log_var = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_var.clamp(-20, 10)

    def pixels(self, z: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Mean in [-1, 1] and log scale of p(x|z), (N, C, H, W) each; a Bernoulli has no scale, its mean is 2 p - 1."""
        e = z if self.label is None else torch.cat([z, self.label(label)], dim=1)
        out = self.decoder(e).float()
        if self.config.likelihood == "bernoulli":
            return out.sigmoid() * 2 - 1, None
        if self.log_scale is not None:
            return out, self.log_scale.clamp(-7, 3).expand(out.shape)
        mean, log_scale = out.chunk(2, dim=1)
        return mean, (log_scale - 2).clamp(-7, 3)

    def nats(self, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """log p(x|z), (N,)."""
        out, log_scale = self.pixels(z, label)
        if log_scale is not None:
            return discretised_logistic(x, out, log_scale, self.levels).flatten(1).sum(1)
        p = ((out + 1) / 2).clamp(1e-6, 1 - 1e-6)
        return torch.where(x > 0, p.log(), torch.log1p(-p)).flatten(1).sum(1)

    def bound(self, x: Tensor, label: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x|z) at z = mean + std * noise, (N,), and the KL divergence to the prior of each latent number, (N, D): nats."""
        mean, log_var = self.posterior(x)
        prior_mean, prior_log_var = self.prior(label)
        ratio = log_var - prior_log_var
        distance = (mean - prior_mean).square() * (-prior_log_var).exp()
        kl = 0.5 * (distance + ratio.exp() - 1 - ratio)  # of two diagonal Gaussians
        return self.nats(x, mean + (log_var / 2).exp() * noise, label), kl

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        log_px, kl = self.bound(x, cond.label, rng.normal(self.config.latent))
        return log_px - kl.sum(1)

    def log_weight(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        noise = rng.normal(self.config.latent)
        mean, log_var = self.posterior(x)
        z = mean + (log_var / 2).exp() * noise
        prior_mean, prior_log_var = self.prior(cond.label)
        log_pz = (z - prior_mean).square() * (-prior_log_var).exp() + prior_log_var
        return self.nats(x, z, cond.label) + 0.5 * (noise.square() + log_var - log_pz).sum(1)

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def decode(self, z: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        return self.pixels(z, cond.label)[0].clamp(-1, 1)

    def sample(self, rng: Rng, cond: Condition, options: VAEOptions, on_step: OnStep | None = None) -> Tensor:
        centre, log_var = self.prior(cond.label)
        z = centre + options.temperature * (log_var / 2).exp() * rng.normal(self.config.latent)
        mean, log_scale = self.pixels(z, cond.label)
        if options.pixels == "sample":
            u = rng.uniform(*self.config.shape)
            if log_scale is None:
                mean = torch.where(u < (mean + 1) / 2, 1.0, -1.0)
            else:
                mean = mean + log_scale.exp() * torch.logit(u.clamp(1e-5, 1 - 1e-5))
        if on_step:
            on_step(1, 1)
        return mean.clamp(-1, 1)


class ELBOConfig(ObjectiveConfig):
    """beta: weight of the KL term. warm_up: share of the run over which beta rises from 0, so that the latent is not given up early.

    free: nats that each latent number may carry unpaid (reference 3, row by row). draws: above 1, the bound of that many weighed draws
    (reference 5), which beta and free do not touch.
    """

    kind: Literal["elbo"] = "elbo"
    beta: float = Field(1.0, ge=0)
    warm_up: float = Field(0.1, ge=0, le=1)
    free: float = Field(0.0, ge=0)
    draws: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _one_bound(self) -> "ELBOConfig":
        if self.draws > 1 and (self.beta != 1 or self.free):
            raise ValueError("a bound of several draws has no KL term: leave beta and free at their defaults")
        return self

    def build(self, model: VAE) -> "ELBO":
        return ELBO(self, model)


class ELBO(Objective):
    """The negative bound, in bits per dimension."""

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        rise = min(1.0, step.progress / self.config.warm_up) if self.config.warm_up else 1.0
        return self._weighed(batch, step) if self.config.draws > 1 else self._bits(batch, step, self.config.beta * rise, self.config.free)

    def _weighed(self, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        nats = -weighed(self.model, batch.image, batch.cond, step.rng, self.config.draws).mean()
        bits = nats / (math.log(2) * batch.image[0].numel())
        return bits, {"bound": bits.detach(), "nats": nats.detach()}

    def _bits(self, batch: Batch, step: Step, beta: float, free: float) -> tuple[Tensor, dict[str, Tensor]]:
        noise = step.rng.normal(self.model.config.latent)
        log_px, kl = self.model.bound(batch.image, batch.cond.label, noise)
        bits = 1 / (math.log(2) * batch.image[0].numel())
        pixels, rate = -bits * log_px.mean(), bits * kl.sum(1).mean()
        paid = bits * (kl - free).clamp(min=0).sum(1).mean() if free else rate
        parts = {"pixels": pixels, "kl": rate, "kl_nats": kl.sum(1).mean(), "nats": kl.sum(1).mean() - log_px.mean()}
        return pixels + beta * paid, {k: v.detach() for k, v in parts.items()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """loss: as it is trained at its end, with beta, since it chooses the checkpoint; bound: with beta at 1."""
        if self.config.draws > 1:
            loss, parts = self._weighed(batch, step)
            return {"loss": loss, **parts}
        loss, parts = self._bits(batch, step, self.config.beta, self.config.free)
        return {"loss": loss, "bound": parts["pixels"] + parts["kl"], **parts}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        if progress > 0.2 and figures.get("main/kl_nats", 9.0) < 1.0:
            yield "posterior collapse: the latent carries less than one nat an image; try a smaller objective.beta or a longer warm_up"
