"""Autoregressive models: an image is a sequence of pixels, and each is predicted from those before it.

    log p(x) = sum over pixels i of log p(x_i | x_1 ... x_{i-1}),      exact, and learnt by raising it

A network whose features at a pixel depend on earlier pixels only gives all the factors in one pass (`inkwash.nn.pixelcnn`, `pixelrnn`,
`causal_transformer`); a head makes of them a distribution over a pixel's levels, channel after channel (`inkwash.nn.pixel_heads`).

Sampling goes pixel by pixel. The common way runs the whole network for each of them; here every layer keeps what it has computed, and
only what the new pixel needs is added. Both ways draw the same images from the same seeds, since each pixel's uniform numbers are fixed
beforehand.

References: 1. van den Oord et al. 2016, Pixel Recurrent Neural Networks. 2. van den Oord et al. 2016, Conditional Image Generation with
PixelCNN Decoders. 3. Salimans et al. 2017, PixelCNN++. 4. Chen et al. 2020, Generative Pretraining from Pixels. 5. Ramachandran et al.
2017, Fast Generation for Convolutional Autoregressive Models (caches). 6. Dahl et al. 2017, Pixel Recursive Super Resolution.
"""

import math
from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import AnyModel, ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Codes, Completer, Likelihood, Model, OnStep, Options, Translator
from inkwash.core.objective import Objective, Phase
from inkwash.core.rng import Rng
from inkwash.nn.causal import Drop, Grown, dropping, keep, with_ones
from inkwash.nn.causal_nets import CausalNet
from inkwash.nn.degrade import blocks, small
from inkwash.nn.layers import ResBlock, full
from inkwash.nn.levels import binarised, from_levels, quantised, to_levels
from inkwash.nn.patches import Patched
from inkwash.nn.pixel_heads import Categorical, LogisticMixture, OverCodes
from inkwash.nn.pixelcnn import GatedConfig


class AutoregressiveConfig(ModelConfig):
    """shape: (C, H, W). levels: how many values a pixel's channel has. binarise: grey images become black and white anew each time they
    are seen, at random as they are bright. head: a softmax over the levels, or a mixture of so many logistics. fold: above 1, the network
    goes over patches of that side, and a pixel inside its patch has features of width `pixel`. embedding: width of a class, or of a code.
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


class CodesConfig(AutoregressiveConfig):
    """autoencoder: of images into grids of codes, which are learnt in place of pixels; it stays as it is."""

    kind: Literal["codes"] = "codes"
    head: Literal["categorical"] = "categorical"
    binarise: Literal[False] = False
    autoencoder: AnyModel

    def build(self) -> "CodePrior":
        return CodePrior(self)


class AutoregressiveOptions(Options):
    """temperature: below 1 for likelier pixels, 0 for the likeliest. top_p: draw among the likeliest values that together have this share
    of the probability, 1 for all. naive: run the whole network for every pixel, to compare with."""

    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1)
    naive: bool = False


class Causal(Model):
    """A causal network and a head over maps of whole numbers: pixels' levels, or codes. A map is (N, C, H, W) in [-1, 1], as images are."""

    def __init__(self, config: AutoregressiveConfig, size: tuple[int, int, int], levels: int, inputs: int, told: int):
        """size: of a map. inputs: channels that the network sees of it. told: channels of what every pixel may know besides."""
        super().__init__(config)
        self.size, self.levels = size, levels
        self.net = config.net.build(inputs * config.fold**2, told)
        if config.fold > 1:
            self.net = Patched(self.net, config.fold, inputs, config.pixel, told)
        if config.head == "logistic":
            self.head = LogisticMixture(self.net.width, size[0], levels, config.mixtures)
        else:
            self.head = Categorical(self.net.width, size[0], levels)

    @abstractmethod
    def seen(self, x: Tensor, rng: Rng) -> Tensor:
        """Images as maps of this model's levels."""

    def inputs(self, x: Tensor) -> Tensor:
        """What the network is given of a map: its values and ones, to differ from what lies outside. (N, C, ...) to (N, C', ...)."""
        return with_ones(x)

    def learnt(self) -> tuple[nn.Module, ...]:
        """What training changes."""
        return (self,)

    @abstractmethod
    def context(self, x: Tensor, cond: Condition) -> Tensor | None:
        """What every pixel of a map may know besides earlier ones, (N, E, 1, 1) or (N, E, H, W)."""

    def nats(self, x: Tensor, cond: Condition, drop: Drop = keep) -> Tensor:
        """log p of every value of maps: (N, C, H, W), or (N, 1, H, W) where a head gives whole pixels."""
        return self.head.log_prob(self.net(self.inputs(x), self.context(x, cond), drop), x)

    def pixel_by_pixel(
        self,
        rng: Rng,
        context: Tensor | None,
        options: AutoregressiveOptions,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A map, (N, C, H, W). known: one of what is given where the mask is 0; each new value knows the given and the new ones before it,
        not those after it."""
        (c, height, width), kind = self.size, next(self.parameters()).dtype
        u = rng.uniform(height, width, c, self.head.draws)
        x = torch.zeros(len(rng), c, height, width, dtype=kind, device=self.device)
        seen = Grown(x, height, width, self.inputs(x[:1]).shape[1], self.net.reach)
        with torch.autocast(self.device.type, enabled=False):  # a matrix product of a few rows gains nothing by half precision
            walk = self.net.walk(seen, context)
            for done, (row, column) in enumerate(walk.order(), 1):
                whole = self.net(self.inputs(x), context)[:, :, row, column] if options.naive else None
                features = walk.at(row, column) if whole is None else whole
                pixel = self.head.sample(features, u[:, row, column], options.temperature, options.top_p)
                if known is not None:
                    pixel = torch.where(mask[:, :, row, column] > 0, pixel, known[:, :, row, column].to(kind))
                x[:, :, row, column] = pixel
                seen.inside[:, row, column] = self.inputs(pixel)
                if on_step:
                    on_step(done, height * width)
        return x


class Drawing(Causal, Completer):
    """One that makes images from nothing, of a class where it knows any, or from known pixels."""

    Options = AutoregressiveOptions

    def __init__(self, config: AutoregressiveConfig, size: tuple[int, int, int], levels: int, inputs: int):
        super().__init__(config, size, levels, inputs, config.embedding if config.classes else 0)
        self.requires = frozenset({"label"} if config.classes else ())
        self.accepts = self.requires | {"image", "mask"}
        self.label = nn.Embedding(len(config.classes) + 1, config.embedding) if config.classes else None  # the last is the null class

    def context(self, x: Tensor | None, cond: Condition) -> Tensor | None:
        return None if self.label is None else self.label(cond.label)[:, :, None, None]

    def shown(self, x: Tensor, cond: Condition) -> Tensor:
        """The images of maps; known pixels as they are."""
        return x

    def known(self, cond: Condition, rng: Rng) -> tuple[Tensor | None, Tensor | None]:
        """A map of what is given, and where it is not: 1 = to be made, (N, 1, H, W)."""
        return (None, None) if cond.image is None else (self.seen(cond.image, rng.fork("known")), cond.mask)

    def sample(self, rng: Rng, cond: Condition, options: AutoregressiveOptions, on_step: OnStep | None = None) -> Tensor:
        x = self.pixel_by_pixel(rng, self.context(None, cond), options, *self.known(cond, rng), on_step)
        return self.shown(x, cond)

    def evaluations(self, options: AutoregressiveOptions) -> int:
        return math.prod(self.size[1:]) if options.naive else 1


class Autoregressive(Drawing, Likelihood):
    """Pixel after pixel: the probability of an image is exact."""

    tag = "exact"

    def __init__(self, config: AutoregressiveConfig):
        super().__init__(config, config.shape, 2 if config.binarise else config.levels, config.shape[0] + 1)

    def seen(self, x: Tensor, rng: Rng) -> Tensor:
        return binarised(x, rng) if self.config.binarise else quantised(x, self.levels)

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        return self.nats(self.seen(x, rng), cond).flatten(1).sum(1)


class CodePrior(Drawing):
    """Code after code of an autoencoder: the second of two stages."""

    def __init__(self, config: CodesConfig):
        autoencoder = config.autoencoder.build()
        if not isinstance(autoencoder, Codes):
            raise ConfigError(f"A {config.autoencoder.kind!r} model has no codes to learn.")
        super().__init__(config, (1, *autoencoder.grid), autoencoder.codebook_size, config.embedding)
        self.autoencoder = autoencoder
        d = autoencoder.vectors(torch.zeros(1, dtype=torch.long)).shape[-1]
        self.head = OverCodes(self.net.width, autoencoder, d)
        self.into, self.alike = nn.Embedding(self.levels, config.embedding), nn.Linear(d, config.embedding)

    def learnt(self) -> tuple[nn.Module, ...]:
        return tuple(m for name, m in self.named_children() if name != "autoencoder")

    @torch.no_grad()
    def seen(self, x: Tensor, rng: Rng) -> Tensor:
        return from_levels(self.autoencoder.codes(x)[:, None], self.levels)

    def inputs(self, x: Tensor) -> Tensor:
        codes = to_levels(x[:, 0], self.levels)
        return (self.into(codes) + self.alike(self.autoencoder.vectors(codes))).movedim(-1, 1)

    def known(self, cond: Condition, rng: Rng) -> tuple[Tensor | None, Tensor | None]:
        known, mask = super().known(cond, rng)
        return known, None if mask is None else F.adaptive_max_pool2d(mask, self.size[1:])

    def shown(self, x: Tensor, cond: Condition) -> Tensor:
        made = self.autoencoder.from_codes(to_levels(x[:, 0], self.levels))
        return made if cond.image is None else cond.image + cond.mask * (made - cond.image)


class PixelUpscalerConfig(AutoregressiveConfig):
    """scale: how many times larger pictures become. embedding: channels of what the network is told of the small one."""

    kind: Literal["pixel-upscaler"] = "pixel-upscaler"
    classes: tuple[()] = ()
    binarise: Literal[False] = False
    scale: Literal[2, 4, 8] = 4

    def build(self) -> "PixelUpscaler":
        if any(side % self.scale for side in self.shape[1:]):
            raise ConfigError(
                f"Pictures of {self.shape[1]} x {self.shape[2]} cannot be made {self.scale} times smaller: choose data.view.size."
            )
        return PixelUpscaler(self)


class PixelUpscaler(Causal, Likelihood, Translator):
    """p(large picture | small one): pixel after pixel, each told what the small picture shows there. It draws one of the pictures that the
    small one may come from (reference 6); `upscaler.py` gives what they have in common."""

    tag = "exact"
    directions = ("large",)

    def __init__(self, config: PixelUpscalerConfig):
        super().__init__(config, config.shape, config.levels, config.shape[0] + 1, config.embedding)
        self.scale, width = config.scale, config.embedding
        self.eye = nn.Sequential(nn.Conv2d(config.shape[0], width, 3, padding=1), ResBlock(width), ResBlock(width))

    def seen(self, x: Tensor, rng: Rng) -> Tensor:
        return quantised(x, self.levels)

    def told(self, small_: Tensor) -> Tensor:
        """(N, C, h, w) to what each large pixel knows of it, (N, E, H, W)."""
        return blocks(full(self.eye(small_.contiguous(memory_format=torch.channels_last))), self.scale)

    def context(self, x: Tensor, cond: Condition) -> Tensor:
        return self.told(small(x, self.scale))

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        return self.nats(self.seen(x, rng), cond).flatten(1).sum(1)

    def translate(self, x: Tensor, to: str = "large", options: AutoregressiveOptions = AutoregressiveOptions()) -> Tensor:  # noqa: B008
        """A draw with seeds 0, 1, ... Raises ConfigError for pictures of another size than those it has learnt from."""
        size = tuple(side // self.scale for side in self.config.shape[1:])
        if x.shape[-2:] != size:
            raise ConfigError(f"This model enlarges pictures of {size[1]} x {size[0]} pixels only, not {x.shape[-1]} x {x.shape[-2]}.")
        return self.pixel_by_pixel(Rng(range(len(x)), x.device), self.told(x), options)


class LikelihoodConfig(ObjectiveConfig):
    """dropout: share of a block's channels that a row goes without while learning."""

    kind: Literal["likelihood"] = "likelihood"
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, model: Causal) -> "MaximumLikelihood":
        return MaximumLikelihood(self, model)


class MaximumLikelihood(Objective):
    """-log p(x), in bits per dimension, or per code."""

    def phases(self) -> list[Phase]:
        return [Phase("main", self.model.learnt())]

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        dropout = step.share(self.config.dropout)
        drop = dropping(step.rng, dropout) if dropout else keep
        x = self.model.seen(batch.image, step.rng)
        nats = -self.model.nats(x, batch.cond, drop).flatten(1).sum(1).mean()
        bits = nats / (math.log(2) * x[0].numel())
        return bits, {"bits": bits.detach(), "nats": nats.detach()}

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        if not isinstance(self.model, Translator):
            return []
        seen = small(batch.image, self.model.scale)
        return [blocks(seen, self.model.scale), self.model.translate(seen), batch.image]
