"""Autoregressive models: an image is a sequence of pixels, and each is predicted from those before it.

    log p(x) = sum over pixels i of log p(x_i | x_1 ... x_{i-1}),      exact, and learnt by raising it

A network whose features at a pixel depend on earlier pixels only gives all the factors in one pass (`inkwash.nn.pixelcnn`, `pixelrnn`,
`causal_transformer`); a head makes of them a distribution over a pixel's levels, channel after channel (`inkwash.nn.pixel_heads`).

Sampling goes pixel by pixel. The common way runs the whole network for each of them; here every layer keeps what it has computed, and
only what the new pixel needs is added. Both ways draw the same images from the same seeds, since each pixel's uniform numbers are fixed
beforehand.

References: 1. van den Oord et al. 2016, Pixel Recurrent Neural Networks. 2. van den Oord et al. 2016, Conditional Image Generation with
PixelCNN Decoders. 3. Salimans et al. 2017, PixelCNN++. 4. Chen et al. 2020, Generative Pretraining from Pixels. 5. Ramachandran et al.
2017, Fast Generation for Convolutional Autoregressive Models (caches).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Likelihood, Model, OnStep, Options, Sampler
from inkwash.core.objective import Objective
from inkwash.core.rng import Rng
from inkwash.nn.causal import Drop, Grown, dropping, keep, with_ones
from inkwash.nn.causal_nets import CausalNet
from inkwash.nn.levels import binarised, quantised
from inkwash.nn.patches import Patched
from inkwash.nn.pixel_heads import Categorical, LogisticMixture
from inkwash.nn.pixelcnn import GatedConfig


class AutoregressiveConfig(ModelConfig):
    """shape: (C, H, W). levels: how many values a pixel's channel has. binarise: grey images become black and white anew each time
    they are seen, at random as they are bright. head: a softmax over the levels, or a mixture of so many logistics.
    """

    kind: Literal["autoregressive"] = "autoregressive"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    levels: int = Field(256, ge=2, le=256)
    binarise: bool = False
    head: Literal["categorical", "logistic"] = "categorical"
    mixtures: int = Field(10, ge=1)
    embedding: int = Field(64, ge=1)
    fold: int = Field(1, ge=1)
    pixel: int = Field(64, ge=1)
    net: CausalNet = GatedConfig()

    def build(self) -> "Autoregressive":
        return Autoregressive(self)


class AutoregressiveOptions(Options):
    """temperature: below 1 for likelier pixels, 0 for the likeliest. naive: run the whole network for every pixel, to compare with."""

    temperature: float = Field(1.0, ge=0)
    naive: bool = False


class Autoregressive(Model, Sampler, Likelihood):
    """A causal network and a head."""

    Options = AutoregressiveOptions
    tag = "exact"

    def __init__(self, config: AutoregressiveConfig):
        super().__init__(config)
        c = config.shape[0]
        self.levels = 2 if config.binarise else config.levels
        self.requires = frozenset({"label"} if config.classes else ())
        self.accepts = self.requires | {"image", "mask"}
        self.label = nn.Embedding(len(config.classes) + 1, config.embedding) if config.classes else None  # the last is the null class
        channels, told = c + 1, config.embedding if config.classes else 0  # pixels come with ones, to differ from what lies outside
        self.net = config.net.build(channels * config.fold**2, told)
        if config.fold > 1:
            self.net = Patched(self.net, config.fold, channels, config.pixel, told)
        if config.head == "logistic":
            self.head = LogisticMixture(self.net.width, c, self.levels, config.mixtures)
        else:
            self.head = Categorical(self.net.width, c, self.levels)

    def seen(self, x: Tensor, rng: Rng) -> Tensor:
        """Images as this model counts their levels."""
        return binarised(x, rng) if self.config.binarise else quantised(x, self.levels)

    def context(self, cond: Condition) -> Tensor | None:
        """What every pixel may know besides earlier ones, (N, E, 1, 1)."""
        return None if self.label is None else self.label(cond.label)[:, :, None, None]

    def nats(self, x: Tensor, cond: Condition, drop: Drop = keep) -> Tensor:
        """log p of every value of images that have this model's levels: (N, C, H, W), or (N, 1, H, W) where a head gives whole pixels."""
        return self.head.log_prob(self.net(with_ones(x), self.context(cond), drop), x)

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        return self.nats(self.seen(x, rng), cond).flatten(1).sum(1)

    def refuse(self, options: AutoregressiveOptions, cond: Condition) -> None:
        if cond.image is not None and cond.mask is None:
            raise ConfigError("An autoregressive model completes a picture: give it a mask, white where pixels are to be made.")

    def sample(self, rng: Rng, cond: Condition, options: AutoregressiveOptions, on_step: OnStep | None = None) -> Tensor:
        """Pixels that the mask keeps are given; each new one knows the given and the new ones before it, not those after it."""
        c, height, width = self.config.shape
        kind = next(self.parameters()).dtype
        u = rng.uniform(height, width, c, self.head.draws)
        x = Grown(torch.zeros(len(rng), 1, dtype=kind, device=self.device), height, width, c + 1, self.net.reach)
        known = None if cond.image is None else self.seen(cond.image, rng.fork("known")).to(kind)
        with torch.autocast(self.device.type, enabled=False):  # a matrix product of a few rows gains nothing by half precision
            context = self.context(cond)
            walk = self.net.walk(x, context)
            features = self._whole(x, context) if options.naive else walk.at
            for done, (row, column) in enumerate(walk.order(), 1):
                pixel = self.head.sample(features(row, column), u[:, row, column], options.temperature)
                if known is not None:
                    pixel = torch.where(cond.mask[:, :, row, column] > 0, pixel, known[:, :, row, column])
                x.inside[:, row, column] = with_ones(pixel)
                if on_step:
                    on_step(done, height * width)
        return x.inside[..., :c].permute(0, 3, 1, 2).contiguous()

    def _whole(self, x: Grown, context: Tensor | None) -> Callable[[int, int], Tensor]:
        """The common way: every pixel by a pass over the whole image."""
        return lambda row, column: self.net(x.inside.permute(0, 3, 1, 2).contiguous(), context)[:, :, row, column]

    def evaluations(self, options: AutoregressiveOptions) -> int:
        return math.prod(self.config.shape[1:]) if options.naive else 1


class LikelihoodConfig(ObjectiveConfig):
    """dropout: share of a block's channels that a row goes without while learning."""

    kind: Literal["likelihood"] = "likelihood"
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, model: Autoregressive) -> "MaximumLikelihood":
        return MaximumLikelihood(self, model)


class MaximumLikelihood(Objective):
    """-log p(x), in bits per dimension."""

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        drop = dropping(step.rng, self.config.dropout) if self.config.dropout else keep
        return self._bits(batch, step, drop)

    def _bits(self, batch: Batch, step: Step, drop: Drop) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.model.seen(batch.image, step.rng)
        nats = -self.model.nats(x, batch.cond, drop).flatten(1).sum(1).mean()
        bits = nats / (math.log(2) * x[0].numel())
        return bits, {"bits": bits.detach(), "nats": nats.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        bits, parts = self._bits(batch, step, keep)
        return {"loss": bits, **parts}
