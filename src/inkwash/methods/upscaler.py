"""Super-resolution: a small picture made large by a network that has seen what small pictures come of.

Good pictures x are made small by a known way of wearing out, y = small(x), and a network G learns the way back:

    minimise  E | G(y) - x |

The absolute error, not its square, which would rather blur than risk an edge. What the network gives is added to the bicubic
enlargement. That is the recipe for fidelity (PSNR); `srgan.py` trades some for sharpness.

References: 1. Dong et al. 2014, Learning a Deep Convolutional Network for Image Super-Resolution (SRCNN). 2. Lim et al. 2017,
EDSR (the network, the absolute error). 3. Zhao et al. 2017, Loss Functions for Image Restoration with Neural Networks.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, Translator
from inkwash.core.objective import Objective
from inkwash.nn.degrade import Wear, blocks, worn
from inkwash.nn.restorer import Restorer, RestorerConfig

PEAK = 2.0  # from black to white


class UpscalerConfig(ModelConfig):
    """shape: (C, H, W) of the large pictures in training. scale: how many times larger than the small ones; 1 restores in place."""

    kind: Literal["upscaler"] = "upscaler"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    scale: Literal[1, 2, 3, 4, 8] = 4
    net: RestorerConfig = RestorerConfig()

    def build(self) -> "Upscaler":
        if any(side % self.scale for side in self.shape[1:]):
            raise ConfigError(
                f"Pictures of {self.shape[1]} x {self.shape[2]} cannot be made {self.scale} times smaller: choose data.view.size."
            )
        return Upscaler(self)


class Upscaler(Model, Translator):
    """One pass from a small picture to a large one."""

    directions = ("large",)

    def __init__(self, config: UpscalerConfig):
        super().__init__(config)
        self.scale = config.scale
        self.net = Restorer(config.net, config.shape[0], config.scale)
        self.reach = self.net.reach

    def translate(self, x: Tensor, to: str = "large") -> Tensor:
        return self.net(x)


class RestorationConfig(ObjectiveConfig):
    """wear: how large pictures become small ones, "bicubic" as the literature has it, or "camera", blur and noise and JPEG."""

    kind: Literal["restoration"] = "restoration"
    wear: Wear = "bicubic"

    def build(self, model: Upscaler) -> "Restoration":
        return Restoration(self, model)


class Restoration(Objective):
    """The absolute error of what comes back."""

    def worn(self, x: Tensor, step: Step) -> Tensor:
        return worn(x, self.model.scale, self.config.wear, step.rng)

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        made = self.model.translate(self.worn(batch.image, step), "large")
        loss = (made - batch.image).abs().mean()
        error = (made - batch.image).detach().square().flatten(1).mean(1)
        return loss, {"loss": loss.detach(), "psnr": (10 * torch.log10(PEAK**2 / error.clamp(min=1e-10))).mean()}

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        seen = self.worn(batch.image, step)
        return [blocks(seen, self.model.scale), self.model.translate(seen, "large"), batch.image]
