"""A critic: a trunk that looks at an image, and a head that scores it, for its class where there are classes.

`condition` says how the class comes in:
    projection  score + <features, embedding of the class>       (Miyato and Koyama 2018, equation 3)
    auxiliary   the critic also names the class                  (Odena et al. 2017, AC-GAN)
    concat      the class is an input, as planes beside the image (Mirza and Osindero 2014, CGAN)
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.core.objective import Phase
from inkwash.nn.conv import Conv3x3
from inkwash.nn.dcgan import DCGANConfig, MLPConfig
from inkwash.nn.games import GAMES, slope
from inkwash.nn.layers import Down, pad_to_multiple
from inkwash.nn.pyramid import PyramidConfig

How = Literal["projection", "auxiliary", "concat"]


def _kind(net: Any) -> Any:
    """A network's kind; the pyramid where a dictionary names none."""
    return net.get("kind", "pyramid") if isinstance(net, dict) else getattr(net, "kind", None)


# A configuration that builds both sides: generator(shape, d_in) from a vector to an image, trunk(shape) from an image to a vector.
Pair = Annotated[
    Annotated[PyramidConfig, Tag("pyramid")] | Annotated[DCGANConfig, Tag("dcgan")] | Annotated[MLPConfig, Tag("mlp")],
    Discriminator(_kind),
]


class Critic(nn.Module):
    """(N, C, H, W) and labels (N,) to a score (N,), high for real, and class logits (N, K) where they are auxiliary, else None.

    The null class, the last, is of rows whose class is not known.
    """

    def __init__(self, net: Pair, shape: tuple[int, int, int], num_classes: int = 0, condition: How = "projection"):
        super().__init__()
        self.planes = num_classes + 1 if num_classes and condition == "concat" else 0
        self.trunk = net.trunk((shape[0] + self.planes, *shape[1:]))
        d = self.trunk.width
        self.score = nn.Linear(d, 1)
        self.label = nn.Embedding(num_classes + 1, d) if num_classes and condition == "projection" else None
        self.names = nn.Linear(d, num_classes) if num_classes and condition == "auxiliary" else None

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if self.planes:
            planes = F.one_hot(label, self.planes).to(x.dtype)[:, :, None, None]  # (N, K + 1, 1, 1)
            x = torch.cat([x, planes.expand(-1, -1, *x.shape[-2:])], dim=1)
        h = self.trunk(x).float()  # (N, D)
        score = self.score(h).squeeze(1)
        if self.label is not None:
            score = score + (h * self.label(label)).sum(1) * h.shape[1] ** -0.5
        return score.float(), None if self.names is None else self.names(h).float()


def patch_phases(critic: nn.Module, model: nn.Module, every: int, s: str = "") -> list[Phase]:
    """Critic, lazy penalty, generator, with two optimisers; no penalty where `every` is 0. s: an ending of names, for several of them."""
    betas, name = (0.5, 0.99), f"critic{s}"
    phases = [Phase(name, (critic,), name, betas=betas)]
    if every:
        phases.append(Phase("penalty", (critic,), name, every=every, betas=betas))
    return [*phases, Phase(f"generator{s}", (model,), f"generator{s}", betas=betas)]


def patch_penalty(critics: Iterable[nn.Module], real: Iterable[Tensor], r1: float, every: int) -> tuple[Tensor, dict[str, Tensor]]:
    """R1 on the mean score over patches, each critic at its own real pictures, weighed as coming every so many steps."""
    square = sum(slope(lambda picture, critic=critic: critic(picture).mean(1), x).mean() for critic, x in zip(critics, real))
    return 0.5 * r1 * every * square, {"square": square.detach()}


def patch_watch(figures: dict[str, float], progress: float, s: str = "") -> Iterable[str]:
    """An alarm where the critic tells nearly every drawing from its real picture. s: as in `patch_phases`."""
    if figures.get(f"critic{s}/accuracy", 0.0) > 0.98 and progress > 0.05:
        who, them = ("the critics are", "they tell") if s else ("the critic is", "it tells")
        yield f"{who} winning: {them} drawings from data almost surely; try a larger objective.r1"


class PatchConfig(Config):
    """width: channels of the first map, doubled at each further one up to four times. levels: how often the map is halved; each score then
    looks at a patch of about 10, 24, 52, ... pixels, 2^levels apart."""

    width: int = Field(64, ge=1)
    levels: int = Field(3, ge=1)


class PatchCritic(nn.Module):
    """(N, C, H, W) to a score for every patch (N, P), with which style is judged and the whole is not (Isola et al. 2017, PatchGAN)."""

    def __init__(self, config: PatchConfig, channels: int):
        super().__init__()
        self.stride = 2**config.levels
        widths = [config.width * min(2**i, 4) for i in range(config.levels)]
        self.stem = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.LeakyReLU(0.2), Down(a, b), nn.LeakyReLU(0.2), Conv3x3(b, b)]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pad_to_multiple(x, self.stride), 2)
        return self.layers(self.stem(x.contiguous(memory_format=torch.channels_last))).flatten(1).float()


class AdversaryConfig(Config):
    """weight: of being taken for real, beside the other terms of a loss. loss: the game. r1: weight of the penalty on the critic's slope at
    real pictures; penalty_every: steps between penalties."""

    weight: float = Field(0.03, gt=0)
    loss: Literal["non-saturating", "least-squares", "hinge", "relativistic"] = "non-saturating"
    r1: float = Field(1.0, gt=0)
    penalty_every: int = Field(8, ge=1)
    critic: PatchConfig = PatchConfig(width=32, levels=2)

    def build(self, channels: int) -> "Adversary":
        return Adversary(self, channels)


class Adversary(nn.Module):
    """A critic of patches at the side of an objective that has a loss of its own (Esser et al. 2021, Taming Transformers, equation 7)."""

    def __init__(self, config: AdversaryConfig, channels: int):
        super().__init__()
        self.config, self.game = config, GAMES[config.loss]
        self.critic = PatchCritic(config.critic, channels)

    def phases(self, model: nn.Module) -> list[Phase]:
        """critic, penalty, generator."""
        return patch_phases(self.critic, model, self.config.penalty_every)

    def penalty(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return patch_penalty([self.critic], [x], self.config.r1, self.config.penalty_every)

    def judge(self, x: Tensor, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss."""
        real, fake = self.critic(x), self.critic(made.detach())
        loss = self.game.critic(real, fake).mean()
        return loss, {"loss": loss.detach(), "accuracy": (real > fake).float().mean()}

    def fooled(self, x: Tensor, made: Tensor) -> Tensor:
        """What the maker's loss gets, weighed."""
        with torch.no_grad():
            real = self.critic(x) if self.game.paired else None
        return self.config.weight * self.game.generator(real, self.critic(made)).mean()
