"""VQ-VAE: an image as a small grid of whole numbers.

An encoder makes a grid of vectors, each is replaced by the nearest of K codes, and a decoder makes the image again:

    loss = || x - D(q(E(x))) ||^2 + commitment || E(x) - q ||^2,      gradients pass q as if it were the identity

Codes are averages of the vectors that chose them, kept by exponential moving averages; a code that nothing chooses any more is put where a
vector of the batch is. FSQ has no codes to learn: numbers are rounded. To draw new images, an autoregressive model learns the grids
(`inkwash train codes --from RUN`).

References: 1. van den Oord et al. 2017, Neural Discrete Representation Learning. 2. Razavi et al. 2019, VQ-VAE-2. 3. Mentzer et al. 2023,
Finite Scalar Quantization. 4. Dhariwal et al. 2020, Jukebox, section 3.1 (codes that are put back to use). 5. Esser et al. 2021, Taming
Transformers for High-Resolution Image Synthesis (VQGAN).
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
from inkwash.core.objective import Objective, Phase
from inkwash.nn.critics import AdversaryConfig, patch_watch
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

    def picture(self, z: Tensor) -> Tensor:
        """What the decoder makes of a grid, (N, h, w, D) to (N, C, H, W), not yet held within [-1, 1]."""
        return full(self.decoder(z.permute(0, 3, 1, 2)))

    def decode(self, z: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        return self.picture(z).clamp(-1, 1)

    def codes(self, x: Tensor) -> Tensor:
        return self.quantiser.codes_of(self.encode(x))

    def vectors(self, codes: Tensor) -> Tensor:
        return self.quantiser.vectors(codes)

    def from_codes(self, codes: Tensor) -> Tensor:
        return self.decode(self.vectors(codes))

    def reconstruct(self, x: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """The image by way of its codes: (N, C, H, W) to the same."""
        return self.from_codes(self.codes(x))


class VQConfig(ObjectiveConfig):
    """commitment: weight of keeping vectors near their codes. decay: of the moving averages, a step. revive: codes that are chosen less
    often than this share of an equal share are put where a vector of the batch is. adversary: a critic beside the squared error, which
    alone blurs what the codes do not say (reference 5).
    """

    kind: Literal["vq"] = "vq"
    commitment: float = Field(0.25, ge=0)
    decay: float = Field(0.99, gt=0, lt=1)
    revive: float = Field(0.03, ge=0, lt=1)
    adversary: AdversaryConfig | None = None

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
        self.adversary = config.adversary.build(model.config.shape[0]) if config.adversary else None

    def phases(self) -> list[Phase]:
        return self.adversary.phases(self.model) if self.adversary else super().phases()

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "penalty":
            return self.adversary.penalty(batch.image)
        if phase == "critic":
            with torch.no_grad():
                made = self.model.picture(self.model.quantiser(self.model.encode(batch.image))[0])
            return self.adversary.judge(batch.image, made)
        z = self.model.encode(batch.image)  # (N, h, w, D)
        if self.book is not None:
            self._move(z.detach(), step)
        return self._error(batch.image, z)

    def _error(self, x: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        q, codes = self.model.quantiser(z)
        made = self.model.picture(q)
        loss = error = F.mse_loss(made, x)
        parts = {"error": error.detach(), "used": self._used(codes)}
        if self.adversary is not None:
            fooled = self.adversary.fooled(x, made)
            loss, parts["fooled"] = loss + fooled, fooled.detach()
        if self.book is not None:
            away = (z - self.book.vectors(codes)).square().mean()
            loss, parts["away"] = loss + self.config.commitment * away, away.detach()
        return loss, parts

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
        if self.adversary is not None:  # what the critic of the day thinks is no figure to choose by, nor is the error, which blurs
            return {"error": parts["error"]}
        return {"loss": loss, "error": parts["error"]}  # what is in use depends on how many are looked at

    @torch.no_grad()
    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        return [batch.image, self.model.reconstruct(batch.image, batch.cond)]

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        yield from patch_watch(figures, progress)
        if progress > 0.2 and figures.get("main/used", figures.get("generator/used", 1.0)) < 0.05:
            yield "the codes collapse: few of them are chosen; try model.quantiser.kind=fsq, or a larger batch"
