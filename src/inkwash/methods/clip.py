"""CLIP: a picture and its caption become vectors that point the same way, and other captions point elsewhere.

    u_i = f(image_i) / |f|,   v_j = g(text_j) / |g|,      loss = mean over i of - log softmax_j(s u_i . v_j)[i],  and the same the other way

Every batch is a game: which of these N captions belongs to this picture, and which picture to this caption. The scale s is learnt. It ends
in a measure of how well a text fits a picture: to find one by the other, and to choose the best of several drawings.

References: 1. Radford et al. 2021, Learning Transferable Visual Models from Natural Language Supervision, section 2.3 and figure 3.
2. Oord et al. 2018, Contrastive Predictive Coding (the loss).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Aligner, Extractor, Model
from inkwash.core.objective import Objective, refuse_uncaptioned
from inkwash.nn.augment import Kind, augment
from inkwash.nn.layers import full
from inkwash.nn.pyramid import Encoder, PyramidConfig
from inkwash.nn.text import TextConfig

SHARPEST = 100.0  # the largest scale (reference 1, section 2.5)


class ClipConfig(ModelConfig):
    """shape: (C, H, W). width: of the space that pictures and texts share."""

    kind: Literal["clip"] = "clip"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    width: int = Field(128, ge=2)
    eye: PyramidConfig = PyramidConfig()
    text: TextConfig = TextConfig()

    def build(self) -> "Clip":
        return Clip(self)


class Clip(Model, Extractor, Aligner):
    """Two encoders into one space."""

    def __init__(self, config: ClipConfig):
        super().__init__(config)
        self.eye = Encoder(config.eye, config.shape, config.width)
        self.text = config.text.build()
        self.out = nn.Linear(config.text.width, config.width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        return self.text.tokens(texts, cut)

    def features(self, x: Tensor) -> Tensor:
        return F.normalize(full(self.eye(x)), dim=1)

    def read(self, tokens: Tensor) -> Tensor:
        out, mask = self.text(tokens)
        mean = (full(out) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)  # (N, D), of all tokens
        return F.normalize(full(self.out(mean)), dim=1)

    @property
    def scale(self) -> Tensor:
        return self.log_scale.clamp(max=math.log(SHARPEST)).exp()


class ContrastiveConfig(ObjectiveConfig):
    """As in the references. augment: changes made at random to pictures in training."""

    kind: Literal["contrastive"] = "contrastive"
    augment: tuple[Kind, ...] = ()

    def build(self, model: Clip) -> "Contrastive":
        return Contrastive(self, model)


class Contrastive(Objective):
    """Cross-entropy of finding the caption by the picture, and the picture by the caption, among all of the batch."""

    couples = True

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        refuse_uncaptioned(batch)

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        self.model.log_scale.data.clamp_(max=math.log(SHARPEST))  # the number itself: behind a mere cut no gradient leads back
        image = batch.image if step.held_out else augment(batch.image, step.rng, self.config.augment)
        texts = step.texts(batch.text)
        there = step.gather(torch.tensor([float(bool(t)) for t in texts], device=image.device)) > 0  # others do not play
        tokens = self.model.tokens(texts).to(image.device)
        u, v = step.gather(self.model.features(image))[there], step.gather(self.model.read(tokens))[there]  # (M of all, D)
        with torch.autocast(u.device.type, enabled=False):  # a score near 100 would be known to half a unit
            scores = self.model.scale.float() * u.float() @ v.float().t()
        right = torch.arange(len(u), device=u.device)
        count, ways = max(len(u), 1), (scores, scores.t())
        loss = sum(F.cross_entropy(way, right, reduction="sum") for way in ways) / (2 * count)
        found = (scores.argmax(1) == right).sum() / count if len(u) else scores.new_zeros(())
        return loss, {"found": found, "scale": self.model.scale.detach()}
