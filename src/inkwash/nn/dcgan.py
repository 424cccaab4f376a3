"""DCGAN's pair as published, and the fully connected pair of 2014: for history and for comparison.

Batch normalisation makes an image depend on its company: rows of a batch interact while training, so several processes or
micro-batches do not train as one. The pyramid (`pyramid.py`) has no such thing.

References: 1. Radford et al. 2016, Unsupervised Representation Learning with DCGANs, figure 1 and section 3. 2. Goodfellow et al. 2014,
Generative Adversarial Networks, section 5. 3. Goodfellow et al. 2013, Maxout Networks.
"""

import math
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, channels_last, nn
from torch.nn import functional as F

from inkwash.core.config import Config


class DCGANConfig(Config):
    """width: channels of the finest layer, doubled at each coarser one; 128 as published. The coarsest map is 4 high or less than 8."""

    kind: Literal["dcgan"] = "dcgan"
    width: int = Field(64, ge=1)
    couples: ClassVar[bool] = True  # rows of a batch, by its statistics

    def generator(self, shape: tuple[int, int, int], d_in: int) -> nn.Module:
        return Generator(self, shape, d_in)

    def trunk(self, shape: tuple[int, int, int]) -> nn.Module:
        return Trunk(self, shape)


def _levels(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """How often the map is halved, and its smallest height and width; sides that do not divide are rounded up and cut."""
    _, h, w = shape
    levels = max(1, math.ceil(math.log2(max(min(h, w), 2) / 4)))
    return levels, -(-h // 2**levels), -(-w // 2**levels)


def _draw(module: nn.Module) -> None:
    """Weights from N(0, 0.02), as published."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


class Generator(nn.Module):
    """A vector (N, D) to (N, C, H, W): a projection, then transposed convolutions, each doubling the map, with batch norm and ReLU."""

    def __init__(self, config: DCGANConfig, shape: tuple[int, int, int], d_in: int):
        super().__init__()
        levels, h, w = _levels(shape)
        self.size, channels = shape[1:], [config.width * 2**i for i in reversed(range(levels))]
        self.first = (channels[0], h, w)
        self.into = nn.Linear(d_in, math.prod(self.first))
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[0]), nn.ReLU()]
        for c_in, c_out in zip(channels, channels[1:]):
            layers += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(channels[-1], shape[0], 4, 2, 1)).apply(_draw)

    def forward(self, e: Tensor) -> Tensor:
        h = self.into(e).unflatten(1, self.first).contiguous(memory_format=channels_last)  # (N, C, h, w)
        return self.layers(h)[..., : self.size[0], : self.size[1]]


class Trunk(nn.Module):
    """(N, C, H, W) to (N, D): strided convolutions with leaky ReLU, batch norm on all but the first."""

    def __init__(self, config: DCGANConfig, shape: tuple[int, int, int]):
        super().__init__()
        levels, h, w = _levels(shape)
        self.padded, channels = (h * 2**levels, w * 2**levels), [config.width * 2**i for i in range(levels)]
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for c_in, c_out in zip(channels, channels[1:]):
            layers += [nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]
        self.layers, self.width = nn.Sequential(*layers).apply(_draw), channels[-1] * h * w

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        x = F.pad(x, (0, self.padded[1] - w, 0, self.padded[0] - h), mode="replicate")
        return self.layers(x.contiguous(memory_format=channels_last)).flatten(1)


class MLPConfig(Config):
    """The pair of 2014. width: of the generator's two hidden layers. pieces: each hidden unit of the critic is the largest of so many."""

    kind: Literal["mlp"] = "mlp"
    width: int = Field(1200, ge=1)
    layers: int = Field(2, ge=1)
    pieces: int = Field(5, ge=1)
    critic_width: int = Field(240, ge=1)
    couples: ClassVar[bool] = False

    def generator(self, shape: tuple[int, int, int], d_in: int) -> nn.Module:
        widths = [d_in, *[self.width] * self.layers]
        hidden = [m for a, b in zip(widths, widths[1:]) for m in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(self.width, math.prod(shape)), nn.Unflatten(1, shape))

    def trunk(self, shape: tuple[int, int, int]) -> nn.Module:
        return MaxoutTrunk(self, shape)


class MaxoutTrunk(nn.Module):
    """(N, C, H, W) to (N, D) through maxout layers. The dropout of 2014 is left out: anything random here belongs to a row's seed."""

    def __init__(self, config: MLPConfig, shape: tuple[int, int, int]):
        super().__init__()
        self.width, self.pieces = config.critic_width, config.pieces
        widths = [math.prod(shape), *[self.width] * config.layers]
        self.layers = nn.ModuleList(nn.Linear(a, b * self.pieces) for a, b in zip(widths, widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer in self.layers:
            h = layer(h).unflatten(1, (-1, self.pieces)).amax(2)  # (N, D)
        return h
