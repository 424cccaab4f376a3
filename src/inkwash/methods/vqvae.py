"""VQ-VAE: an image as a small grid of whole numbers.

An encoder makes a grid of vectors, each is replaced by the nearest of K codes, and a decoder makes the image again:

    loss = || x - D(q(E(x))) ||^2 + commitment || E(x) - q ||^2,      gradients pass q as if it were the identity

Codes are averages of the vectors that chose them, kept by exponential moving averages; a code that nothing chooses any more is put where a
vector of the batch is. FSQ has no codes to learn: numbers are rounded. To draw new images, an autoregressive model learns the grids
(`inkwash train codes --from RUN`).

References: 1. van den Oord et al. 2017, Neural Discrete Representation Learning. 2. Razavi et al. 2019, VQ-VAE-2. 3. Mentzer et al. 2023,
Finite Scalar Quantization. 4. Dhariwal et al. 2020, Jukebox, section 3.1 (codes that are put back to use).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Autoencoder, Codes, Model
from inkwash.core.objective import Objective
from inkwash.nn.grid_coder import GridConfig, GridDecoder, GridEncoder
from inkwash.nn.layers import full
from inkwash.nn.quantisers import Codebook, CodebookConfig, QuantiserConfig

PLACED = 8  # codes that can be put back to use in a step, for each of its rows


class VQVAEConfig(ModelConfig):
    """shape: (C, H, W). quantiser: a learnt codebook, or rounding."""

    kind: Literal["vqvae"] = "vqvae"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    quantiser: QuantiserConfig = CodebookConfig()
    net: GridConfig = GridConfig()

    def build(self) -> "VQVAE":
        return VQVAE(self)


class VQVAE(Model, Autoencoder, Codes):
    """An encoder, a quantiser and a decoder: images as codes. It draws nothing by itself."""

    def __init__(self, config: VQVAEConfig):
        super().__init__(config)
        self.quantiser = config.quantiser.build()
        self.codebook_size = self.quantiser.size
        self.grid = config.net.size(*config.shape[1:])
        self.encoder = GridEncoder(config.net, config.shape[0], self.quantiser.width)
        self.decoder = GridDecoder(config.net, config.shape, self.quantiser.width)

    def encode(self, x: Tensor) -> Tensor:
        return full(self.encoder(x)).permute(0, 2, 3, 1)  # (N, h, w, D)

    def decode(self, z: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        return full(self.decoder(z.permute(0, 3, 1, 2))).clamp(-1, 1)

    def codes(self, x: Tensor) -> Tensor:
        return self.quantiser.codes_of(self.encode(x))

    def from_codes(self, codes: Tensor) -> Tensor:
        return self.decode(self.quantiser.vectors(codes))

    def reconstruct(self, x: Tensor, cond: Condition) -> Tensor:
        """The image by way of its codes: (N, C, H, W) to the same."""
        return self.from_codes(self.codes(x))


class VQConfig(ObjectiveConfig):
    """commitment: weight of keeping vectors near their codes. decay: of the moving averages, a step. revive: codes that are chosen less
    often than this share of an equal share are put where a vector of the batch is.
    """

    kind: Literal["vq"] = "vq"
    commitment: float = Field(0.25, ge=0)
    decay: float = Field(0.99, gt=0, lt=1)
    revive: float = Field(0.03, ge=0, lt=1)

    def build(self, model: VQVAE) -> "VQ":
        return VQ(self, model)


class VQ(Objective):
    """Squared error and commitment; the codebook's averages."""

    def __init__(self, config: VQConfig, model: VQVAE):
        super().__init__(config, model)
        self.book = model.quantiser if isinstance(model.quantiser, Codebook) else None
        self.couples = self.book is not None  # codes are averages over the batch
        if self.book is not None:
            self.register_buffer("chosen", torch.zeros(self.book.size))  # share of vectors that chose a code, averaged; all begin unused,
            self.register_buffer("sums", torch.zeros_like(self.book.codes))  # so that the first batch places them

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.model.encode(batch.image)  # (N, h, w, D)
        if self.book is not None:
            self._move(z.detach(), step)
        return self._error(batch.image, z)

    def _error(self, x: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        q, codes = self.model.quantiser(z)
        error = F.mse_loss(self.model.decoder(q.permute(0, 3, 1, 2)).float(), x)
        parts = {"error": error.detach(), "used": self._used(codes)}
        if self.book is None:
            return error, parts
        away = (z - self.book.vectors(codes)).square().mean()
        return error + self.config.commitment * away, {**parts, "away": away.detach()}

    def _used(self, codes: Tensor) -> Tensor:
        """Perplexity of the codes in use, as a share of all."""
        share = torch.bincount(codes.flatten(), minlength=self.model.codebook_size).float() / codes.numel()
        return torch.exp(-(share * share.clamp(min=1e-12).log()).sum()) / self.model.codebook_size

    @torch.no_grad()
    def _move(self, z: Tensor, step: Step) -> None:
        """The averages, over the vectors of all processes; and codes that nothing chooses. z: (N, h, w, D)."""
        z = step.gather(z.flatten(1, 2)).flatten(0, 1)  # (N h w of all, D)
        pick = step.gather(step.rng.uniform(PLACED)).flatten()  # the same numbers on every process
        codes, keep = self.book.codes_of(z), self.config.decay
        count = torch.bincount(codes, minlength=self.book.size).float()
        self.chosen.lerp_(count / len(z), 1 - keep)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, codes, z) / len(z), 1 - keep)
        least = self.config.revive / self.book.size
        dead = (self.chosen < least).nonzero().flatten()[: len(pick)]
        if len(dead):
            at = (pick[: len(dead)] * len(z)).long().clamp(max=len(z) - 1)
            self.chosen[dead] = 2 * least  # not more: where nothing chooses it, it shall be put elsewhere soon
            self.sums[dead] = z[at] * 2 * least
        self.book.codes.copy_(self.sums / self.chosen.clamp(min=1e-8)[:, None])

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        loss, parts = self._error(batch.image, self.model.encode(batch.image))
        return {"loss": loss, "error": parts["error"]}  # what is in use depends on how many are looked at

    @torch.no_grad()
    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        return [batch.image, self.model.reconstruct(batch.image, batch.cond)]

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        if progress > 0.2 and figures.get("main/used", 1.0) < 0.05:
            yield "the codes collapse: few of them are chosen; try model.quantiser.kind=fsq, or a larger batch"
