"""Style in one pass: a network that paints any picture in the manner of one painting.

Gatys' way looks for the pixels of one picture (`inference/style.py`); here a network T is trained once to make them at once:

    minimise  E content | phi(T(x)) - phi(x) |^2  +  style sum_l | gram_l(T(x)) - gram_l(s) |^2  +  smooth TV(T(x))

phi and the layers l are those of a network trained to see; s is the painting. Each term is measured in units of its goal, so that the
weights mean the same for every network and painting.

References: 1. Johnson et al. 2016, Perceptual Losses for Real-Time Style Transfer and Super-Resolution. 2. Gatys et al. 2016, Image Style
Transfer Using Convolutional Neural Networks.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.errors import DataError
from inkwash.core.model import Model
from inkwash.core.objective import Objective, Phase
from inkwash.data.decode import as_rgb, opened
from inkwash.metrics.features.base import to_rgb
from inkwash.metrics.features.catalog import perceptual
from inkwash.nn.perceptual import content_loss, gram, style_loss, total_variation
from inkwash.nn.resize import resize


class StyleConfig(ObjectiveConfig):
    """painting: a picture file. network: own, squeezenet:FILE or vgg19:FILE. content, style, smooth: weights; None for the network's own.

    side: the painting's short side, in pixels, as it is looked at: strokes come out as large as they are there.
    """

    kind: Literal["style"] = "style"
    painting: str = ""
    network: str = "own"
    content: float = Field(1.0, ge=0)
    style: float = Field(10.0, ge=0)
    smooth: float | None = Field(None, ge=0)
    side: int = Field(256, ge=16)

    def build(self, model: Model) -> "Style":
        return Style(self, model)


def read_rgb(path: str, side: int) -> Tensor:
    """A picture file with its short side brought to `side`: (1, 3, H, W) in [-1, 1]. Raises DataError."""
    if not path:
        raise DataError("There is no picture to take the style from: --set objective.painting=FILE.")
    x = as_rgb(opened(path))
    scale = side / min(x.shape[-2:])
    return resize(x, max(1, round(scale * x.shape[-2])), max(1, round(scale * x.shape[-1]))).clamp(-1, 1)


class Style(Objective):
    """One phase; the network that sees is not trained and not saved, only what it saw of the painting."""

    def __init__(self, config: StyleConfig, model: Model):
        super().__init__(config, model)
        seer = perceptual(config.network)
        self._seer = (seer,)  # in a tuple: its weights are not the run's
        with torch.no_grad():
            maps = seer.layers(read_rgb(config.painting, config.side))
        self.smooth = seer.smooth if config.smooth is None else config.smooth
        self.wanted = [f"gram{i}" for i in seer.style]
        for i, name in zip(seer.style, self.wanted):
            self.register_buffer(name, gram(maps[i]))

    def phases(self) -> list[Phase]:
        return [Phase("main", (self.model,))]

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        made = self.model.translate(batch.image, self.model.directions[0])
        seer, c = self._seer[0].to(made.device), self.config
        maps = seer.layers(to_rgb(made))
        with torch.no_grad():
            there = seer.layers(to_rgb(batch.image))[seer.content]
        goals = [getattr(self, name).expand(len(made), -1, -1) for name in self.wanted]
        parts = {
            "content": content_loss(maps[seer.content], there).mean(),
            "style": style_loss([gram(maps[i]) for i in seer.style], goals).mean(),
            "smooth": total_variation(made).mean(),
        }
        loss = c.content * parts["content"] + c.style * parts["style"] + self.smooth * parts["smooth"]
        return loss, {"loss": loss.detach(), **{k: v.detach() for k, v in parts.items()}}

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        return [batch.image, self.model.translate(batch.image, self.model.directions[0])]
