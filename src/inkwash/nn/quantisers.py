"""From vectors to whole numbers and back: a learnt codebook, or rounding.

References: 1. van den Oord et al. 2017, Neural Discrete Representation Learning, section 3.1 and appendix A.1 (nearest code, gradients
straight through, a codebook by moving averages). 2. Mentzer et al. 2023, Finite Scalar Quantization: VQ-VAE Made Simple, section 3.1.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inkwash.core.config import Config
from inkwash.nn.layers import full


class CodebookConfig(Config):
    """size: how many codes. width: of a code."""

    kind: Literal["codebook"] = "codebook"
    size: int = Field(512, ge=2)
    width: int = Field(32, ge=1)

    def build(self) -> "Codebook":
        return Codebook(self)


class FSQConfig(Config):
    """levels: values of each of the rounded numbers; their product is the number of codes."""

    kind: Literal["fsq"] = "fsq"
    levels: tuple[Annotated[int, Field(ge=2)], ...] = (8, 5, 5, 5)

    def build(self) -> "FSQ":
        return FSQ(self)


QuantiserConfig = Annotated[CodebookConfig | FSQConfig, Field(discriminator="kind")]


class Codebook(nn.Module):
    """The nearest of `size` vectors [1]. They are a buffer: averages move them, no gradient does."""

    def __init__(self, config: CodebookConfig):
        super().__init__()
        self.size, self.width = config.size, config.width
        self.register_buffer("codes", torch.randn(config.size, config.width))

    def codes_of(self, z: Tensor) -> Tensor:
        """(..., D) to int64 (...)."""
        with torch.autocast(z.device.type, enabled=False):  # in half precision near codes are mistaken for each other
            flat = z.flatten(0, -2).to(self.codes.dtype)
            far = self.codes.square().sum(1) - 2 * flat @ self.codes.t()  # but for |z|^2, which is the same for every code
        return far.argmin(1).view(z.shape[:-1])

    def vectors(self, codes: Tensor) -> Tensor:
        """int64 (...) to (..., D)."""
        return self.codes[codes]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) to its code's vector, through which gradients pass as through the identity, and the code."""
        codes = self.codes_of(z.detach())
        return z + (self.vectors(codes).to(z.dtype) - z).detach(), codes


class FSQ(nn.Module):
    """Each number is squeezed into an interval and rounded [2]: no codebook, nothing to collapse."""

    def __init__(self, config: FSQConfig):
        super().__init__()
        self.size, self.width = math.prod(config.levels), len(config.levels)
        levels = torch.tensor(config.levels)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("reach", (levels // 2).float(), persistent=False)
        self.register_buffer("steps", torch.cat([torch.ones(1, dtype=torch.long), levels[:-1].cumprod(0)]), persistent=False)

    def whole(self, z: Tensor) -> Tensor:
        """(..., D) of any real numbers to whole ones, 0 to level - 1, as reals that gradients pass through."""
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        shift = torch.atanh(offset / half)
        bounded = torch.tanh(z + shift) * half - offset
        return bounded + (bounded.round() - bounded).detach() + self.levels // 2

    def codes_of(self, z: Tensor) -> Tensor:
        """(..., D) to int64 (...)."""
        return (self.whole(z).round().long() * self.steps).sum(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """int64 (...) to (..., D) in [-1, 1]."""
        whole = codes[..., None] // self.steps % self.levels
        return (whole - self.levels // 2) / self.reach

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) to its code's vector, through which gradients pass, and the code."""
        whole = self.whole(full(z))
        return (whole - self.levels // 2) / self.reach, (whole.detach().round().long() * self.steps).sum(-1)
