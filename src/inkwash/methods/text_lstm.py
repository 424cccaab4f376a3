"""An older design of text to image, kept as history: an LSTM emits pictures, each finer than the one before, until it says stop.

    c = mean of word vectors W e(w),   h_t = LSTM([c, E(x_{t-1})], h_{t-1}),   x_t = sigmoid(A h_t + b),   stop_t = sigmoid(s . h_t)

E is a residual network that looks at the picture so far (noise at first); A is one linear layer to all pixels. It learns the picture at
sides of an eighth, a quarter, a half of its own first, and then itself, by the cross-entropy of pixels; that colours are as frequent as in
the real picture, by the distance of their histograms; and to use its hidden units sparingly.

Nothing rewards it for what it makes of the noise: a prompt has one picture, the mean of all that it may mean, and so a blur. That is why it
is history.

References: 1. Gregor et al. 2015, DRAW: A Recurrent Neural Network for Image Generation (pictures by steps). 2. Mansimov et al. 2016,
Generating Images from Captions with Attention (from captions). 3. Hochreiter and Schmidhuber 1997, Long Short-Term Memory.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Model, OnStep, Options, Prompted, Sampler
from inkwash.core.objective import Objective
from inkwash.core.rng import Rng
from inkwash.nn.layers import full
from inkwash.nn.pyramid import Encoder, PyramidConfig
from inkwash.nn.recurrent import cell
from inkwash.nn.tokenizer import PAD, TokenizerConfig

BINS = 8  # of a channel's histogram


class TextLSTMConfig(ModelConfig):
    """shape: (C, H, W). stages: pictures it learns to emit, the last as fine as the real one. hidden: units of the LSTM. width: of a
    word."""

    kind: Literal["text-lstm"] = "text-lstm"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    stages: int = Field(4, ge=1, le=8)
    hidden: int = Field(512, ge=1)
    width: int = Field(128, ge=1)
    eye: PyramidConfig = PyramidConfig(width=32, most=128)
    tokenizer: TokenizerConfig = TokenizerConfig()

    def build(self) -> "TextLSTM":
        return TextLSTM(self)


class TextLSTMOptions(Options):
    """most: pictures after which it stops in any case, 0 for as many as it has learnt."""

    most: int = Field(0, ge=0)


class TextLSTM(Model, Sampler, Prompted):
    """Words to a vector, and from the picture so far to the next."""

    Options = TextLSTMOptions

    def __init__(self, config: TextLSTMConfig):
        super().__init__(config)
        self.accepts, self.tokenizer = frozenset({"tokens"}), config.tokenizer.build()
        self.word, self.into = nn.Embedding(self.tokenizer.size, config.width), nn.Linear(config.width, config.width)
        self.eye = Encoder(config.eye, config.shape, config.width)
        self.gates = nn.Linear(2 * config.width + config.hidden, 4 * config.hidden)
        self.out, self.stop = nn.Linear(config.hidden, config.shape[0] * config.shape[1] * config.shape[2]), nn.Linear(config.hidden, 1)

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        return self.tokenizer.batch(texts, cut)

    def unknown(self, text: str) -> list[str]:
        return self.tokenizer.unknown(text)

    def said(self, tokens: Tensor) -> Tensor:
        """int64 (N, L) to (N, D)."""
        there = (tokens != PAD)[..., None]
        return F.silu(self.into((self.word(tokens) * there).sum(1) / there.sum(1)))

    def emit(self, said: Tensor, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """From the picture so far to logits of the next one's pixels, (N, C, H, W), and of stopping, (N,)."""
        seen = self.eye(x)
        h, c = cell(self.gates(torch.cat([said.to(seen.dtype), seen, state[0].to(seen.dtype)], 1)), state[1])
        return full(self.out(h)).view(x.shape), full(self.stop(h))[:, 0], (h, c)

    def begin(self, rng: Rng) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Noise, and nothing in mind."""
        zero = torch.zeros(len(rng), self.config.hidden, device=self.device)
        return rng.normal(*self.config.shape), (zero, zero)

    def sample(self, rng: Rng, cond: Condition, options: TextLSTMOptions, on_step: OnStep | None = None) -> Tensor:
        n, most = len(rng), options.most or self.config.stages
        said, (x, state) = self.said(self.prompts(cond, n)), self.begin(rng)
        done = torch.zeros(n, dtype=torch.bool, device=self.device)
        for t in range(most):
            logits, stop, state = self.emit(said, x, state)
            x = torch.where(done[:, None, None, None], x, (logits / 2).tanh())
            done = done | (stop > 0)
            if on_step:
                on_step(t + 1, most)
        return x

    def evaluations(self, options: TextLSTMOptions) -> int:
        return options.most or self.config.stages


class StagesConfig(ObjectiveConfig):
    """colour: weight of the distance of colour histograms. sparse: of the mean square of hidden units."""

    kind: Literal["stages"] = "stages"
    colour: float = Field(0.1, ge=0)
    sparse: float = Field(1e-3, ge=0)

    def build(self, model: TextLSTM) -> "Stages":
        return Stages(self, model)


def histogram(x: Tensor) -> Tensor:
    """Soft histograms of (N, C, H, W) in [-1, 1]: shares (N, C, BINS), with gradients. A value counts for the two bins beside it."""
    centre = torch.linspace(-1, 1, BINS, device=x.device)
    near = (1 - (x.flatten(2)[..., None] - centre).abs() * (BINS - 1) / 2).clamp(min=0)  # (N, C, HW, BINS)
    return near.mean(2)


class Stages(Objective):
    """Cross-entropy of every stage and of stopping, colours, sparseness."""

    def goals(self, x: Tensor) -> list[Tensor]:
        """The pictures it shall emit, coarse ones first, all at full size."""
        h, w = x.shape[-2:]
        out = []
        for k in reversed(range(self.model.config.stages)):
            small = F.adaptive_avg_pool2d(x, (max(1, h >> k), max(1, w >> k)))
            out.append(F.interpolate(small, (h, w), mode="nearest"))
        return out

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model, goals = self.model, self.goals(batch.image)
        tokens = model.tokens(step.texts(batch.text)).to(batch.image.device)
        said, (x, state) = model.said(tokens), model.begin(step.rng)
        pixels = stopping = sparse = 0.0
        for t, goal in enumerate(goals):
            logits, stop, state = model.emit(said, x, state)
            pixels = pixels + F.binary_cross_entropy_with_logits(logits, (goal + 1) / 2) / len(goals)
            last = torch.full_like(stop, float(t == len(goals) - 1))
            stopping = stopping + F.binary_cross_entropy_with_logits(stop, last) / len(goals)
            sparse = sparse + state[0].square().mean() / len(goals)
            x = (logits / 2).tanh()
        colour = (histogram(x) - histogram(batch.image)).abs().sum(-1).mean()
        loss = pixels + stopping + self.config.colour * colour + self.config.sparse * sparse
        parts = {"pixels": pixels, "stop": stopping, "colour": colour, "error": (x - batch.image).square().mean()}
        return loss, {k: v.detach() for k, v in parts.items()}
