"""SRGAN: super-resolution that looks sharp, where `upscaler.py` measures well.

The average of all pictures that a small one may come from is a blur, and that is what an error in pixels asks for. So a critic is asked
whether the large picture looks real, and a network that sees whether it shows the same things:

    critic:     the game's critic loss between D(x) and D(G(y));  penalty  r1 / 2 E || grad D(x) ||^2
    generator:  seen E | phi(G(y)) - phi(x) |^2 / | phi(x) |^2  +  fooled * the game's generator loss  +  pixel E | G(y) - x |

It begins from a network trained on pixels, or the critic wins at once. The relativistic game is ESRGAN's.

References: 1. Ledig et al. 2017, Photo-Realistic Single Image Super-Resolution Using a GAN. 2. Wang et al. 2018, ESRGAN (relativistic,
features before activation's end, pixels as anchor). 3. Johnson et al. 2016, Perceptual Losses.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.model import Model
from inkwash.core.objective import Objective, Phase
from inkwash.metrics.features.base import to_rgb
from inkwash.metrics.features.catalog import perceptual
from inkwash.nn.critics import PatchConfig, PatchCritic, patch_penalty, patch_phases, patch_watch
from inkwash.nn.degrade import Wear, blocks, worn
from inkwash.nn.games import GAMES
from inkwash.nn.perceptual import content_loss


class SRGANConfig(ObjectiveConfig):
    """loss: the game. network: own, squeezenet:FILE or vgg19:FILE, whose layers up to the content layer are compared. seen, fooled,
    pixel: weights. wear: as of the restoration objective. r1: weight of the penalty; penalty_every: steps between penalties."""

    kind: Literal["perceptual"] = "perceptual"
    loss: Literal["non-saturating", "least-squares", "hinge", "relativistic"] = "relativistic"
    network: str = "own"
    seen: float = Field(1.0, ge=0)
    fooled: float = Field(0.02, ge=0)
    pixel: float = Field(2.0, ge=0)
    wear: Wear = "bicubic"
    r1: float = Field(1.0, gt=0)
    penalty_every: int = Field(8, ge=1)
    critic: PatchConfig = PatchConfig()

    def build(self, model: Model) -> "SRGAN":
        return SRGAN(self, model)


class SRGAN(Objective):
    """Critic, penalty, generator."""

    def __init__(self, config: SRGANConfig, model: Model):
        super().__init__(config, model)
        self.critic = PatchCritic(config.critic, model.config.shape[0])
        self.game = GAMES[config.loss]
        self._seer = (perceptual(config.network),)  # in a tuple: its weights are not the run's

    def phases(self) -> list[Phase]:
        return patch_phases(self.critic, self.model, self.config.penalty_every)

    def worn(self, x: Tensor, step: Step) -> Tensor:
        return worn(x, self.model.scale, self.config.wear, step.rng)

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch.image
        if phase == "penalty":
            return patch_penalty([self.critic], [x], self.config.r1, self.config.penalty_every)
        made = self.model.translate(self.worn(x, step), "large")
        if phase == "critic":
            real, fake = self.critic(x), self.critic(made.detach())
            loss = self.game.critic(real, fake).mean()
            return loss, {"loss": loss.detach(), "accuracy": (real > fake).float().mean()}
        return self._generator(x, made)

    def _generator(self, x: Tensor, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        c, seer = self.config, self._seer[0].to(x.device)
        with torch.no_grad():
            there = seer.layers(to_rgb(x))
            real = self.critic(x) if self.game.paired else None
        maps = seer.layers(to_rgb(made))
        looked = range(seer.content + 1)
        parts = {
            "seen": sum(content_loss(maps[i], there[i]).mean() for i in looked) / len(looked),
            "fooled": self.game.generator(real, self.critic(made)).mean(),
            "pixel": (made - x).abs().mean(),
        }
        loss = c.seen * parts["seen"] + c.fooled * parts["fooled"] + c.pixel * parts["pixel"]
        return loss, {"loss": loss.detach(), **{k: v.detach() for k, v in parts.items()}}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The absolute error of held-out pictures. Not a loss to choose by: the blurriest would win."""
        return {"pixel": (self.model.translate(self.worn(batch.image, step), "large") - batch.image).abs().mean()}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        return patch_watch(figures, progress)

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        seen = self.worn(batch.image, step)
        return [blocks(seen, self.model.scale), self.model.translate(seen, "large"), batch.image]
