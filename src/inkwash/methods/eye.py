"""An eye's features as latents: what a trained captioner sees in each place of a picture, on its first principal components.

    z = P (eye(x) - m) / s

Pixels, and latents that a picture can be made of again, say little of what words are about: where a thing stands is a few thousandths of
their squared error. Among features that were learnt from captions it is a tenth. So a text model that diffuses among these
(`inkwash train plan`) learns what shall be where, and a picture is drawn after its plan (`model.plan` in `diffusion.py`). A linear map from
each place's numbers to its pixels makes the plan visible, as a blurry picture.

Components keep their own spread, all divided by one number: those that tell little stay small, and are the last to be settled.

References: 1. Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation (first what a picture says, from its text; then the
picture). 2. Yu et al. 2025, Representation Alignment for Generation (features of a network that knows pictures, for one that draws).
"""

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Condition
from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Autoencoder, Fittable, Model, OnStep
from inkwash.core.rng import Rng
from inkwash.nn.grid_coder import GridConfig, GridEncoder
from inkwash.nn.layers import full

ROWS = 100_000  # places that the components are found from, at most
RIDGE = 1e-3  # of the map back to pixels, as a share of the components' mean square
AT_ONCE = 250  # images that are looked at together


class EyeConfig(ModelConfig):
    """shape: (C, H, W). net: the captioner's `eye`; features: numbers that it gives a place. keep: components of these."""

    kind: Literal["eye"] = "eye"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    net: GridConfig
    features: int = Field(192, ge=1)
    keep: int = Field(32, ge=1)

    def build(self) -> "Eye":
        return Eye(self)


class Eye(Model, Autoencoder, Fittable):
    """space: (D, h, w) of the latents."""

    def __init__(self, config: EyeConfig):
        super().__init__(config)
        if config.keep > config.features:
            raise ConfigError(f"model.keep is {config.keep}: an eye of {config.features} features has no more components than these.")
        self.space = (config.keep, *config.net.size(*config.shape[1:]))
        self.eye = GridEncoder(config.net, config.shape[0], config.features).requires_grad_(False)
        pixels = config.shape[0] * config.net.stride**2
        frozen = {"centre": (config.features,), "axes": (config.keep, config.features), "paint": (pixels, config.keep), "ground": (pixels,)}
        for name, shape in frozen.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape), requires_grad=False))
        self.register_buffer("spread", torch.ones(()))

    def adopted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a captioner its eye; another eye's tensors as they are."""
        if "axes" in tensors:
            return tensors
        return self.state_dict() | {name: value for name, value in tensors.items() if name.startswith("eye.")}

    def fit(self, images: Tensor, labels: Tensor | None, rng: Rng, on_step: OnStep | None = None) -> None:
        """Find the components of what the eye sees in images (N, C, H, W), and the map back to their pixels."""
        seen = torch.cat([full(self.eye(x)) for x in images.split(AT_ONCE)])
        x = seen.permute(0, 2, 3, 1).flatten(0, 2).double()  # (N h w, features)
        patches = F.pixel_unshuffle(self._whole(images), self.config.net.stride).permute(0, 2, 3, 1).flatten(0, 2).double()
        some = torch.linspace(0, len(x) - 1, min(len(x), ROWS)).long()
        x, patches = x[some], patches[some]
        centre, ground = x.mean(0), patches.mean(0)
        _, power, axes = torch.linalg.svd(((x - centre).t() @ (x - centre)) / len(x))
        kept = axes[: self.config.keep]
        z = (x - centre) @ kept.t()
        spread = z.square().mean().sqrt()
        z = z / spread
        ridge = RIDGE * torch.eye(len(kept), dtype=z.dtype)
        paint = torch.linalg.solve(z.t() @ z / len(z) + ridge, z.t() @ (patches - ground) / len(z))
        found = {"centre": centre, "axes": kept, "spread": spread, "ground": ground, "paint": paint.t()}
        for name, value in found.items():
            getattr(self, name).copy_(value)

    def _whole(self, images: Tensor) -> Tensor:
        """Filled up to whole places."""
        (h, w), stride = self.space[1:], self.config.net.stride
        return F.pad(images, (0, w * stride - images.shape[-1], 0, h * stride - images.shape[-2]), mode="replicate")

    def encode(self, x: Tensor) -> Tensor:
        seen = full(self.eye(x)) - self.centre[:, None, None]
        return torch.einsum("kf,nfhw->nkhw", self.axes, seen) / self.spread

    def features(self, z: Tensor) -> Tensor:
        """Latents (N, D, h, w) to the features that they stand for, (N, F, h, w)."""
        return torch.einsum("kf,nkhw->nfhw", self.axes, z * self.spread) + self.centre[:, None, None]

    def decode(self, z: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        patches = torch.einsum("pk,nkhw->nphw", self.paint, z) + self.ground[:, None, None]
        height, width = self.config.shape[1:] if z.shape[-2:] == self.space[1:] else (None, None)
        return F.pixel_shuffle(patches, self.config.net.stride)[..., :height, :width].clamp(-1, 1)
