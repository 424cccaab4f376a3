"""DALL-E's two stages: an image becomes a small grid of codes, and a transformer learns text and codes as one sequence.

    log p(text, image) = sum over i of log p(s_i | s_1 ... s_{i-1}),      s = (tokens of the text, codes of the image)

The first stage is any model with codes (a VQ-VAE); it stays as it is. The second writes the codes after the text, one by one, and the first
makes a picture of them. A text that is too short is filled up with tokens that have a place of their own each.

With the text left out for a tenth of the rows, the same network knows images without one, and log-probabilities can be led away from those:
guidance among tokens.

References: 1. Ramesh et al. 2021, Zero-Shot Text-to-Image Generation (weights of the two losses: section 2.2; padding: appendix B).
2. Yu et al. 2022, Scaling Autoregressive Models for Content-Rich Text-to-Image Generation (section 2.3: guidance).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import AnyModel, ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Codes, Encoding, Model, OnStep, Options, Prompted, Sampler
from inkwash.core.objective import Objective, Phase
from inkwash.core.rng import Rng
from inkwash.nn.causal import keep
from inkwash.nn.causal_transformer import Block, Looking, TransformerConfig
from inkwash.nn.layers import full, positions
from inkwash.nn.lowrank import Thin
from inkwash.nn.pixel_heads import OverCodes, choose
from inkwash.nn.tokenizer import PAD, TokenizerConfig


class DalleConfig(ModelConfig):
    """shape: (C, H, W). autoencoder: of images into grids of codes."""

    kind: Literal["dalle"] = "dalle"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    tokenizer: TokenizerConfig = TokenizerConfig()
    net: TransformerConfig = TransformerConfig()
    autoencoder: AnyModel

    def build(self) -> "Dalle":
        return Dalle(self)


class DalleOptions(Options):
    """temperature: below 1 for likelier codes. top: only so many of the likeliest, 0 for all. guidance: 1 is off, above 1 exaggerates the
    text; negative: a text that it leads away from."""

    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    top: int = Field(0, ge=0)
    guidance: float = Field(1.0, ge=0, allow_inf_nan=False)
    negative: str = ""


class Dalle(Model, Sampler, Prompted, Encoding):
    """Text, then codes."""

    Options = DalleOptions

    def __init__(self, config: DalleConfig):
        super().__init__(config)
        autoencoder = config.autoencoder.build()
        if not isinstance(autoencoder, Codes):
            raise ConfigError(f"A {config.autoencoder.kind!r} model has no codes to learn.")
        self.accepts, w = frozenset({"tokens"}), config.net.width
        self.tokenizer, self.length = config.tokenizer.build(), config.tokenizer.length
        self.autoencoder, self.count = autoencoder, math.prod(autoencoder.grid)
        d = autoencoder.vectors(torch.zeros(1, dtype=torch.long)).shape[-1]
        self.word, self.code, self.alike = nn.Embedding(self.tokenizer.size, w), nn.Embedding(autoencoder.codebook_size, w), nn.Linear(d, w)
        self.begin, self.at, self.blank = (nn.Parameter(torch.empty(n, w)) for n in (1, self.length + 1, self.length))
        for weight in (self.word.weight, self.code.weight, self.begin, self.at, self.blank):
            nn.init.normal_(weight, std=0.1)
        self.blocks, self.norm = nn.ModuleList(Block(config.net) for _ in range(config.net.blocks)), nn.LayerNorm(w)
        self.say, self.draw = nn.Linear(w, self.tokenizer.size), OverCodes(w, autoencoder, d)

    def learnt(self) -> tuple[nn.Module, ...]:
        """What training changes."""
        return (*(m for name, m in self.named_children() if name != "autoencoder"), Thin(list(self.parameters(recurse=False))))

    @property
    def encoder(self) -> Model:
        return self.autoencoder

    @torch.no_grad()
    def to_latent(self, image: Tensor) -> Tensor:
        return self.autoencoder.codes(image).flatten(1)

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        return self.tokenizer.batch(texts, cut)

    def unknown(self, text: str) -> list[str]:
        return self.tokenizer.unknown(text)

    def told(self, tokens: Tensor) -> Tensor:
        """The beginning and a text, filled up: int64 (N, L') to (N, L + 1, D)."""
        tokens = F.pad(tokens, (0, self.length - tokens.shape[1]), value=PAD)
        words = torch.where((tokens == PAD)[..., None], self.blank, self.word(tokens))
        return torch.cat([self.begin.expand(len(tokens), 1, -1), words], 1) + self.at

    def drawn(self, codes: Tensor, at: Tensor) -> Tensor:
        """Codes (N, T) as inputs, at their places (T, D): (N, T, D)."""
        return self.code(codes) + self.alike(self.autoencoder.vectors(codes)) + at

    def places(self) -> Tensor:
        return positions(*self.autoencoder.grid, self.config.net.width, self.device)

    def scores(self, tokens: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Of every token, (N, L, K), and of every code, (N, T, K'), after what comes before it. int64 (N, L') and (N, T)."""
        x = torch.cat([self.told(tokens), self.drawn(codes[:, :-1], self.places()[1:])], 1)  # a code is told its own place before
        for block in self.blocks:
            x = block(x, keep)
        x = self.norm(x)
        return full(self.say(x[:, : self.length])), full(self.draw.logits(x[:, self.length :], []))

    def sample(self, rng: Rng, cond: Condition, options: DalleOptions, on_step: OnStep | None = None) -> Tensor:
        n, guided = len(rng), options.guidance != 1
        told = self.told(self.prompts(cond, n))
        if guided:
            told = torch.cat([told, self.told(self.tokens([options.negative]).to(self.device)).expand(n, -1, -1)])
        u, codes = rng.uniform(self.count), torch.zeros(n, self.count, dtype=torch.long, device=self.device)
        with torch.autocast(self.device.type, enabled=False):  # a matrix product of a few rows gains nothing by half precision
            looks = [Looking(block.look, len(told), self.length + self.count, told) for block in self.blocks]
            for block, look in zip(self.blocks, looks):
                told = told + look.fill(told)
                told = told + block.think(told)
            x, places = told[:, -1], self.places()
            for t in range(self.count):
                if t:
                    x = self.drawn(codes[:, t - 1 : t].repeat(1 + guided, 1), places[t : t + 1])[:, 0]
                    for block, look in zip(self.blocks, looks):
                        x = x + look.at(x, self.length + t)
                        x = x + block.think(x)
                scores = full(self.draw.logits(self.norm(x), []))
                codes[:, t] = self._chosen(scores, u[:, t], options)
                if on_step:
                    on_step(t + 1, self.count)
        return self.autoencoder.from_codes(codes.view(n, *self.autoencoder.grid))

    def _chosen(self, scores: Tensor, u: Tensor, options: DalleOptions) -> Tensor:
        """Scores (N, K), or (2 N, K) with guidance, to codes (N,)."""
        if options.guidance != 1:
            cond, null = scores.log_softmax(-1).chunk(2)
            scores = null + options.guidance * (cond - null)
        if options.top:
            least = scores.topk(min(options.top, scores.shape[-1]), -1).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        return choose(scores / max(options.temperature, 1e-6), u)

    def refuse(self, options: DalleOptions, cond: Condition) -> None:
        if cond.tokens is None and options.guidance != 1:
            raise ConfigError("An option cannot act here, guidance: no text is asked for.")
        if options.negative and options.guidance == 1:
            raise ConfigError("An option cannot act here, negative: there is no guidance.")
        if options.negative:
            self.tokens([options.negative], cut=False)  # refuses what is too long


class NextTokenConfig(ObjectiveConfig):
    """text: share of the text's loss, against the image's. dropout: share of rows that learn without text."""

    kind: Literal["next-token"] = "next-token"
    text: float = Field(0.125, ge=0, le=1)
    dropout: float = Field(0.1, ge=0, le=1)

    def build(self, model: Dalle) -> "NextToken":
        return NextToken(self, model)


class NextToken(Objective):
    """Cross-entropy of the next token, bits a code and bits a token of the text, weighed (reference 1)."""

    def phases(self) -> list[Phase]:
        return [Phase("main", self.model.learnt())]

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model = self.model
        tokens = model.tokens(step.texts(batch.text, self.config.dropout)).to(batch.image.device)
        codes = model.latent(batch)  # (N, T)
        said, drawn = model.scores(tokens, codes)
        wanted = F.pad(tokens, (0, model.length - tokens.shape[1]), value=PAD)
        words = F.cross_entropy(said.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        there = wanted != PAD
        text = ((words * there).sum(1) / there.sum(1)).mean() / math.log(2)
        image = F.cross_entropy(drawn.flatten(0, 1), codes.flatten()) / math.log(2)
        return self.config.text * text + (1 - self.config.text) * image, {"bits": image.detach(), "text": text.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        figures = super().validate(batch, step)
        return figures | {"loss": figures["bits"]}
