"""Picture to picture, with pairs to learn from (pix2pix): G is told what to come to, and a critic of patches whether it looks real.

    critic:     the game's critic loss between D(c, x) and D(c, G(c))
    generator:  the game's generator loss + pixel E | x - G(c) |

c is the picture that goes in, x the one that belongs to it. The absolute error alone gives the average of what c may become, which is a
blur; the critic asks for one of them. Without pairs, see `cyclegan.py`.

Reference: Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks (equation 4; PatchGAN, section 3.2.2).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, Translator
from inkwash.core.objective import Objective, Phase
from inkwash.nn.critics import PatchConfig, PatchCritic, patch_penalty, patch_phases, patch_watch
from inkwash.nn.games import GAMES
from inkwash.nn.translator import TranslatorNet, TranslatorNetConfig


class TranslatorConfig(ModelConfig):
    """shape: (C, H, W) of pictures in training. directions: names of what is made; for two, one network each."""

    kind: Literal["translator"] = "translator"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    directions: tuple[str, ...] = Field(("b",), min_length=1, max_length=2)
    net: TranslatorNetConfig = TranslatorNetConfig()

    def build(self) -> "PictureToPicture":
        return PictureToPicture(self)


class PictureToPicture(Model, Translator):
    """One network for each direction."""

    def __init__(self, config: TranslatorConfig):
        super().__init__(config)
        self.directions = config.directions
        self.nets = nn.ModuleDict({to: TranslatorNet(config.net, config.shape[0]) for to in config.directions})

    def translate(self, x: Tensor, to: str) -> Tensor:
        if to not in self.directions:
            raise ConfigError(f"This model makes {' or '.join(self.directions)}, not {to!r}.")
        return self.nets[to](x)


class PairedConfig(ObjectiveConfig):
    """loss: the game. pixel: weight of the absolute error. r1: weight of the penalty on the critic's slope at real pictures.
    penalty_every: steps between penalties."""

    kind: Literal["paired"] = "paired"
    loss: Literal["non-saturating", "least-squares", "hinge", "relativistic"] = "non-saturating"
    pixel: float = Field(100.0, ge=0)
    r1: float = Field(1.0, gt=0)
    penalty_every: int = Field(8, ge=1)
    critic: PatchConfig = PatchConfig()

    def build(self, model: PictureToPicture) -> "Paired":
        return Paired(self, model)


class Paired(Objective):
    """Critic, penalty, generator. `batch.cond.image` is what goes in, `batch.image` what shall come out."""

    def __init__(self, config: PairedConfig, model: Model):
        super().__init__(config, model)
        self.critic = PatchCritic(config.critic, 2 * model.config.shape[0])
        self.game = GAMES[config.loss]

    def phases(self) -> list[Phase]:
        return patch_phases(self.critic, self.model, self.config.penalty_every)

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        if batch.cond.image is None:
            raise ConfigError(
                "Learning from pairs needs pairs: --set data.view.pair=right where each file holds two pictures side by side."
            )

    def made(self, batch: Batch) -> Tensor:
        """What comes of the pictures that go in."""
        return self.model.translate(batch.cond.image, self.model.directions[0])

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        made, x = self.made(batch), batch.image
        judge = lambda picture: self.critic(torch.cat([batch.cond.image, picture], dim=1))  # noqa: E731
        if phase == "penalty":
            both = torch.cat([batch.cond.image, x], dim=1)
            return patch_penalty([self.critic], [both], self.config.r1, self.config.penalty_every)
        if phase == "critic":
            real, fake = judge(x), judge(made.detach())
            loss = self.game.critic(real, fake).mean()
            return loss, {"loss": loss.detach(), "accuracy": (real > fake).float().mean()}
        with torch.no_grad():
            real = judge(x) if self.game.paired else None
        fooled, pixel = self.game.generator(real, judge(made)).mean(), (made - x).abs().mean()
        loss = fooled + self.config.pixel * pixel
        return loss, {"loss": loss.detach(), "fooled": fooled.detach(), "pixel": pixel.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The absolute error of held-out pairs. Not a loss to choose by: the blurriest would win."""
        return {"pixel": (self.made(batch) - batch.image).abs().mean()}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        return patch_watch(figures, progress)

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        return [batch.cond.image, self.made(batch), batch.image]
