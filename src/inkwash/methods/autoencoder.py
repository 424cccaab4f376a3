"""Auto-encoder: squeeze a picture into a small map of numbers and make it again; what survives is what matters.

    loss = || x - D(z) ||^2 + kl KL(q(z|x) || N(0, I)),      z = E(x), with a little noise where kl is above 0

With kl = 0 this is the plain auto-encoder. It draws nothing: its latents lie anywhere, and a random one decodes to rubble. A small kl
keeps them smooth and in one place (reference 2), so that a diffusion model can learn where they lie
(`inkwash train latent-diffusion --from RUN`). With the whole of log p(x|z) and kl = 1 it would be a VAE (`vae.py`).

Squared error answers doubt with a mean, which is a blur: a critic of patches beside it (reference 2) makes the decoder decide. And latents
that a diffusion model drew are never quite such as the encoder makes: a decoder that learns from noisy ones mends them (reference 4).

Latents go out centred, each channel by itself, and of unit spread over all channels together: a channel that the divergence has silenced
stays small, and a diffusion model does not learn what the decoder does not heed. The averages are kept while learning.

Latents may be asked for more than pixels: to tell the picture's caption (`telling`). Then what things are lies open in them, and a model
that draws from text has less to find out (reference 3 does it with the features of a network that knows pictures).

References: 1. Hinton and Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks. 2. Rombach et al. 2022,
High-Resolution Image Synthesis with Latent Diffusion Models, section 3.1 (KL-reg.). 3. Yao, Yang and Wang 2025, Reconstruction vs.
Generation: Taming Optimization Dilemma in Latent Diffusion Models. 4. Zheng et al. 2025, Diffusion Transformers with Representation
Autoencoders (section 4.3, noise-augmented decoding).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Autoencoder, Model
from inkwash.core.objective import Objective, Phase, refuse_uncaptioned
from inkwash.nn.critics import AdversaryConfig, patch_watch
from inkwash.nn.grid_coder import GridConfig, GridDecoder, GridEncoder
from inkwash.nn.layers import full, positions
from inkwash.nn.telling import Telling
from inkwash.nn.tokenizer import TokenizerConfig

KEEP, WARM = 0.99, 1000  # of the averages, a step; images over which they warm up
WIDTH = 128  # of the writer that tells captions from latents


class AutoencoderConfig(ModelConfig):
    """shape: (C, H, W). latent: numbers at each place of the map."""

    kind: Literal["autoencoder"] = "autoencoder"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    latent: int = Field(4, ge=1)
    net: GridConfig = GridConfig()

    def build(self) -> "GridAutoencoder":
        return GridAutoencoder(self)


class GridAutoencoder(Model, Autoencoder):
    """An encoder to a Gaussian at each place, and a decoder. space: (D, h, w) of the latents."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__(config)
        self.space = (config.latent, *config.net.size(*config.shape[1:]))
        self.encoder = GridEncoder(config.net, config.shape[0], 2 * config.latent)
        self.decoder = GridDecoder(config.net, config.shape, config.latent)
        self.register_buffer("centre", torch.zeros(config.latent, 1, 1))
        self.register_buffer("power", torch.ones(config.latent, 1, 1))  # mean square about the centre, the same for all

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), (N, D, h, w) each, as the networks have them: neither centred nor scaled."""
        mean, log_var = full(self.encoder(x)).chunk(2, dim=1)
        return mean, log_var.clamp(-20, 10)

    def picture(self, z: Tensor) -> Tensor:
        """What the decoder makes of such a z: (N, C, H, W)."""
        return full(self.decoder(z))

    def encode(self, x: Tensor) -> Tensor:
        return (self.posterior(x)[0] - self.centre) / self.power.sqrt()

    def decode(self, z: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        return self.picture(z * self.power.sqrt() + self.centre).clamp(-1, 1)


class ReconstructionConfig(ObjectiveConfig):
    """kl: weight of the divergence, in nats a pixel; 0 for a plain auto-encoder without noise.

    decoder_only: latents stay what they are, and only what is made of them gets better: for models that draw among them already. adversary:
    a critic beside the squared error. noise: what is decoded has noise of up to this share.
    telling: weight of a second task, to tell a picture's caption from its latents (`nn/telling.py`); nats a token, 0 for none. through: the
    noise they are seen through then, up to this share, as a diffusion model sees them early; tokenizer: of the captions.
    """

    kind: Literal["reconstruction"] = "reconstruction"
    kl: float = Field(1e-4, ge=0)
    decoder_only: bool = False
    adversary: AdversaryConfig | None = None
    noise: float = Field(0.0, ge=0, lt=1)
    telling: float = Field(0.0, ge=0)
    through: float = Field(0.5, ge=0, lt=1)
    tokenizer: TokenizerConfig = TokenizerConfig()

    def build(self, model: GridAutoencoder) -> "Reconstruction":
        return Reconstruction(self, model)


class Reconstruction(Objective):
    """Squared error, a little divergence, and the caption where latents shall tell it."""

    couples = True  # averages over the batch

    def __init__(self, config: ReconstructionConfig, model: GridAutoencoder):
        super().__init__(config, model)
        if config.telling and config.decoder_only:
            raise ConfigError("Latents that stay what they are learn to tell nothing: choose objective.telling or objective.decoder_only.")
        self.telling = Telling(WIDTH, config.tokenizer, WIDTH) if config.telling else None
        self.seen = nn.Linear(model.config.latent, WIDTH) if config.telling else None
        if config.adversary and config.telling:
            raise ConfigError("A critic comes after latents have learnt to tell: choose objective.telling or objective.adversary.")
        self.adversary = config.adversary.build(model.config.shape[0]) if config.adversary else None

    def phases(self) -> list[Phase]:
        learns = self.model.decoder if self.config.decoder_only else self.model
        if self.adversary:
            return self.adversary.phases(learns)
        return [Phase("main", (learns, *([self.telling, self.seen] if self.telling else [])))]

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        if self.telling:
            refuse_uncaptioned(batch)

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "penalty":
            return self.adversary.penalty(batch.image)
        if phase == "critic":
            with torch.no_grad():
                made = self._made(*self.model.posterior(batch.image), step)
            return self.adversary.judge(batch.image, made)
        mean, log_var = self.model.posterior(batch.image)
        if not self.config.decoder_only:
            self._measure(mean.detach(), step)
        loss, parts = self._error(batch.image, mean, log_var, step)
        if self.telling:
            nats = self._told(mean, batch, step)
            loss, parts["telling"] = loss + self.config.telling * nats, nats.detach()
        return loss, parts

    def _told(self, mean: Tensor, batch: Batch, step: Step) -> Tensor:
        """Nats a token of a caption of each row, given its latents as a diffusion model sees them; rows without any count for none."""
        texts = step.texts(batch.text)
        z = (mean - self.model.centre) / self.model.power.sqrt()
        t = self.config.through * step.rng.uniform().to(z)[:, None, None, None]
        z = (1 - t) * z + t * step.rng.normal(*z.shape[1:])
        places = self.seen(z.flatten(2).transpose(1, 2)) + positions(*z.shape[-2:], WIDTH, z.device)  # (N, h w, WIDTH)
        known = torch.tensor([bool(text) for text in texts], device=z.device)
        return (self.telling(places, None, texts) * known).mean()

    @torch.no_grad()
    def _measure(self, z: Tensor, step: Step) -> None:
        """Move the averages of centre and spread."""
        model, keep = self.model, min(KEEP, step.images / (step.images + WARM))  # the first batches count more
        centre = step.reduce(z.mean((0, 2, 3)))[:, None, None]
        power = step.reduce((z - centre).square().mean())
        model.centre.lerp_(centre, 1 - keep)
        model.power.lerp_(power.clamp(min=1e-6).expand_as(model.power), 1 - keep)

    def _made(self, mean: Tensor, log_var: Tensor, step: Step) -> Tensor:
        """The picture again, (N, C, H, W), from latents as they are drawn."""
        z = mean + (log_var / 2).exp() * step.rng.normal(*mean.shape[1:]) if self.config.kl else mean
        if self.config.noise:
            spread, t = self.model.power.sqrt(), self.config.noise * step.rng.uniform().to(z)[:, None, None, None]
            z = z + t * (self.model.centre - z + spread * step.rng.normal(*z.shape[1:]))
        return self.model.picture(z)

    def _error(self, x: Tensor, mean: Tensor, log_var: Tensor, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).flatten(1).sum(1).mean() / x[0].numel()
        made = self._made(mean, log_var, step)
        error = (made - x).square().mean()
        loss = error + self.config.kl * kl if self.config.kl else error
        parts = {"error": error.detach(), "kl": kl.detach()}
        if self.adversary:
            fooled = self.adversary.fooled(x, made)
            loss, parts["fooled"] = loss + fooled, fooled.detach()
        return loss, parts

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        loss, parts = self._error(batch.image, *self.model.posterior(batch.image), step)
        if self.adversary:  # what the critic of the day thinks is no figure to choose by, nor is the error, which blurs
            return {name: parts[name] for name in ("error", "kl")}
        return {"loss": loss, **parts}

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        return [batch.image, self.model.reconstruct(batch.image, batch.cond)]

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        return patch_watch(figures, progress)
