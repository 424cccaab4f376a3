"""Captioning: a network looks at a picture, and writes what it sees, word by word.

    log p(text | image) = sum over t of log p(w_t | w_1 ... w_{t-1}, image)

The picture becomes a map, one vector a place. Before every word the writer asks all places, and takes a mean weighted by how well they
answer: where it looked can be shown. The writer is an LSTM (reference 1) or a transformer (reference 2); what it writes is found by
sampling, or by beam search, which keeps several beginnings and goes on with the likeliest.

The language is a token of its own that every text begins with.

References: 1. Xu et al. 2015, Show, Attend and Tell (equation 14: all places are to be looked at). 2. Vaswani et al. 2017, Attention Is
All You Need. 3. Wu et al. 2016, Google's Neural Machine Translation System (section 7: the length that a beam is divided by).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Captioner, Doubt, Encoding, Model, Options, Seer, Written
from inkwash.core.objective import Objective, Phase, refuse_uncaptioned
from inkwash.core.rng import Rng
from inkwash.core.words import JOINING, is_chinese
from inkwash.nn.augment import Kind, augment
from inkwash.nn.beams import Beams
from inkwash.nn.dit import positions
from inkwash.nn.grid_coder import GridConfig, GridEncoder
from inkwash.nn.layers import full
from inkwash.nn.tokenizer import END, PAD, TokenizerConfig, words
from inkwash.nn.writers import TransformerWriterConfig, Writer

LANGUAGES = ("en", "zh")
BECAUSE = 0.2  # nats by which a word must be likelier of a picture than of pictures of nothing, for the picture to be why it is said


def language_of(text: str) -> int:
    """The place of a text's language in LANGUAGES: Chinese where it has a Chinese character."""
    return int(is_chinese(text))


class CaptionOptions(Options):
    """lang: of what is written. beams: beginnings that are kept, 1 for the likeliest word each time. temperature: above 0, words are drawn
    instead, the lower the likelier. penalty: how much length counts, 0 for not at all [3]."""

    lang: Literal["en", "zh"] = "en"
    beams: int = Field(4, ge=1, le=64)
    temperature: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    penalty: float = Field(0.6, ge=0, le=10, allow_inf_nan=False)


class CaptionerConfig(ModelConfig):
    """shape: (C, H, W). eye: what makes the map; d: numbers of a place. writer: what writes."""

    kind: Literal["captioner"] = "captioner"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    eye: GridConfig = GridConfig(stride=8)
    d: int = Field(192, ge=4, multiple_of=4)
    writer: Writer = TransformerWriterConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    languages: tuple[Literal["en", "zh"], ...] = Field(LANGUAGES, min_length=1)

    def build(self) -> "ImageCaptioner":
        return ImageCaptioner(self)


class ImageCaptioner(Model, Captioner, Seer, Encoding):
    """A convolutional eye and a writer. As a judge: how likely it is that it would write a text."""

    Options = CaptionOptions

    def __init__(self, config: CaptionerConfig):
        super().__init__(config)
        self.tokenizer = config.tokenizer.build()
        self.grid = config.eye.size(*config.shape[1:])
        self.eye = GridEncoder(config.eye, config.shape[0], config.d)
        self.norm = nn.LayerNorm(config.d)
        tokens = self.tokenizer.size + len(LANGUAGES)
        self.writer = config.writer.build(tokens, config.tokenizer.length + 1, config.d)
        self._blank: tuple[Any, ...] = (None,)

    def default_options(self) -> CaptionOptions:
        return CaptionOptions(lang=self.config.languages[0])

    @property
    def encoder(self) -> nn.Module:
        return self.eye

    @torch.no_grad()
    def to_latent(self, image: Tensor) -> Tensor:
        """What the eye sees, (N, D, h, w)."""
        return full(self.eye(image))

    def places(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to one vector a place, (N, P, D), which says where it is."""
        return self.placed(self.eye(x))

    def placed(self, features: Tensor) -> Tensor:
        """What the eye saw, (N, D, h, w), as vectors that say where they are, (N, P, D)."""
        seen = features.flatten(2).transpose(1, 2)
        return self.norm(full(seen) + positions(*self.grid, self.config.d, features.device))

    def scores(self, x: Tensor, tokens: Tensor, languages: Tensor) -> tuple[Tensor, Tensor]:
        """Of every token of texts after those before it: (N, L, K), and where it looked, (N, L, P)."""
        return self.scores_at(self.places(x), tokens, languages)

    def scores_at(self, places: Tensor, tokens: Tensor, languages: Tensor) -> tuple[Tensor, Tensor]:
        """The same of vectors of places, (N, P, D)."""
        begin = (self.tokenizer.size + languages)[:, None]
        return self.writer(torch.cat([begin, tokens[:, :-1]], 1), places)

    def agreement(self, x: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(text | image), in nats. Between texts of one image it also weighs how usual a text is."""
        return self.foretold(self.eye(x), texts)

    def each(self, x: Tensor, texts: Sequence[str]) -> Tensor:
        return self.reads(self.eye(x), texts)

    def reads(self, features: Tensor, texts: Sequence[str]) -> Tensor:
        self._check(features)
        return self._likely(self.placed(features), texts[:1] if len(set(texts)) == 1 else texts)

    def foretold(self, features: Tensor, texts: Sequence[str]) -> Tensor:
        self._check(features)
        places = self.placed(features)
        return torch.stack([self._likely(places, [text]) for text in texts], 1)

    def _likely(self, places: Tensor, texts: Sequence[str]) -> Tensor:
        """log p of each row's text, or of one for all, given places (N, P, D): (N,)."""
        tokens = self.tokenizer.batch(texts).to(places.device).expand(len(places), -1)
        languages = torch.tensor([language_of(text) for text in texts], device=places.device).expand(len(places))
        scores, _ = self.scores_at(places, tokens, languages)
        nats = F.cross_entropy(scores.flatten(0, 1), tokens.flatten(), ignore_index=PAD, reduction="none")
        return -nats.view(tokens.shape).sum(1)

    def _check(self, features: Tensor) -> None:
        if features.shape[1:] != (self.config.d, *self.grid):
            raise ConfigError(f"This judge's eye sees {self.config.d} features in {self.grid} places, not {tuple(features.shape[1:])}.")

    def doubt(self, x: Tensor, text: str) -> Doubt:
        """Words that it would rather say of pictures of nothing too are its habits of speech, and no doubts; nor are words that it never
        learnt, which it would say of no picture, nor those that join: where a thing is missing, it is the thing's name that is doubted."""
        tokens = self.tokenizer.batch([text]).to(x.device)
        places = torch.cat([self.places(x[None]), self._nothing(x)])  # (1 + M, P, D)
        languages = torch.full((len(places),), language_of(text), device=x.device)
        scores, _ = self.scores_at(places, tokens.expand(len(places), -1), languages)
        says = self._allowed(scores).log_softmax(-1)  # (1 + M, L, K)
        most, likely = says[0].max(-1)
        usual = says[1:].exp().mean(0).gather(1, likely[:, None])[:, 0].log()
        rather = (most - says[0].gather(1, tokens[0, :, None])[:, 0]) * (most - usual > BECAUSE)
        strange = set(self.tokenizer.unknown(text))
        said = [word for word, count in self.tokenizer.spelled(tokens[0].tolist()) for _ in range(count)]  # of each token its word
        said += [""] * (len(rather) - len(said))  # the end: more should have been said
        joins = [word in JOINING or (before, word) == ("next", "to") for before, word in zip(["", *said], said)]
        telling = [not join and strange.isdisjoint(words(word)) for join, word in zip(joins, said)]
        rather = rather * torch.tensor(telling, device=x.device)
        at = int(rather.argmax())
        return Doubt(rather[at].item(), said[at])

    def _nothing(self, x: Tensor) -> Tensor:
        """Places (M, P, D) of pictures of nothing: of one tone, of coarse noise, and one that is not seen at all.

        To look at them takes longer than to look at a picture, so what is seen is kept until weights change.
        """
        version = (x.dtype, x.device, self.weights_version)
        if self._blank[0] != version:
            self._blank = (version, self._look_at_nothing(x))
        return self._blank[1]

    @torch.no_grad()
    def _look_at_nothing(self, x: Tensor) -> Tensor:
        shape, own = (4, x.shape[0], 4, 4), torch.Generator().manual_seed(0)
        noise = F.interpolate(torch.rand(shape, generator=own) * 1.6 - 0.8, x.shape[1:])
        flat = torch.tensor([-0.8, 0.0, 0.8])[:, None, None, None].expand(-1, *x.shape)
        seen = self.eye(torch.cat([flat, noise]).to(x))
        return self.placed(torch.cat([seen, torch.zeros_like(seen[:1])]))

    def caption(self, x: Tensor, rng: Rng, options: CaptionOptions) -> list[Written]:
        if options.lang not in self.config.languages:
            raise ConfigError(f"It has learnt captions in {' and '.join(self.config.languages)} only, not in {options.lang}.")
        begin = torch.full((len(x),), self.tokenizer.size + LANGUAGES.index(options.lang), device=x.device)
        way = self._drawn if options.temperature else self._searched
        with torch.autocast(x.device.type, enabled=False):
            return way(self.places(x.float()), begin, rng, options)

    def _written(self, tokens: list[int], shares: list[Tensor], nats: float) -> Written:
        """Of one picture. Shares of tokens become shares of words as `spelled` cuts them."""
        pieces = self.tokenizer.spelled(tokens)
        at, maps = 0, []
        for _, count in pieces:
            maps.append(torch.stack(shares[at : at + count]).mean(0).view(self.grid))
            at += count
        return Written(self.tokenizer.decode(tokens), tuple(word for word, _ in pieces), maps, nats)

    def _drawn(self, places: Tensor, token: Tensor, rng: Rng, options: CaptionOptions) -> list[Written]:
        state, n, nats = self.writer.begin(places), len(places), torch.zeros(len(places), device=places.device)
        tokens, looked, done = [[] for _ in range(n)], [[] for _ in range(n)], nats > 0
        for _ in range(self.config.tokenizer.length):
            scores, shares, state = self.writer.step(token, state)
            scores = self._allowed(scores)
            p = (scores / max(options.temperature, 1e-3)).softmax(-1)
            u = rng.uniform()[:, None].to(p)
            token = (p.cumsum(-1) < u * p.sum(-1, keepdim=True)).sum(-1).clamp(max=p.shape[-1] - 1)
            nats = nats + scores.log_softmax(-1).gather(1, token[:, None])[:, 0] * ~done
            done = done | (token == END)
            for i in (~done).nonzero().flatten().tolist():
                tokens[i].append(int(token[i]))
                looked[i].append(shares[i].cpu())
            if done.all():
                break
        return [self._written(*row) for row in zip(tokens, looked, nats.tolist())]

    def _allowed(self, scores: Tensor) -> Tensor:
        """Neither padding nor a language can be written."""
        scores = scores.clone()
        scores[..., PAD], scores[..., self.tokenizer.size :] = -torch.inf, -torch.inf
        return scores

    def _searched(self, places: Tensor, token: Tensor, rng: Rng, options: CaptionOptions) -> list[Written]:
        width, length = options.beams, self.config.tokenizer.length
        found = [Beams(width, options.penalty, length) for _ in places]
        left = list(found)  # those that go on: `width` rows each
        state, token = self.writer.begin(places.repeat_interleave(width, 0)), token.repeat_interleave(width)
        for t in range(length):
            scores, shares, state = self.writer.step(token, state)
            nats = self._allowed(scores).log_softmax(-1)  # (n B, K)
            if t == length - 1:
                nats = nats.where(torch.arange(nats.shape[1], device=nats.device) == END, -torch.inf)
            nats = nats.unflatten(0, (-1, width)) + nats.new_tensor([[b.nats for b in beams.open] for beams in left])[..., None]
            best, at = (x.tolist() for x in nats.flatten(1).topk(2 * width))
            shares = shares.cpu().unflatten(0, (-1, width))
            gone = [
                beams.go_on([(value, *divmod(i, nats.shape[2])) for value, i in zip(*ways)], seen)
                for beams, seen, *ways in zip(left, shares, best, at)
            ]
            rows = [k * width + row for k, each in enumerate(gone) if each is not None for row in each]
            left = [beams for beams, each in zip(left, gone) if each is not None]
            if not left:
                break
            state = self.writer.reorder(state, torch.tensor(rows, device=nats.device), same=len(rows) == len(token))
            token = torch.tensor([b.tokens[-1] for beams in left for b in beams.open], device=nats.device)
        return [self._written(text.tokens, text.looked, text.nats) for text in (beams.best() for beams in found)]


class CaptioningConfig(ObjectiveConfig):
    """everywhere: weight of the wish that over a whole text every place is looked at equally often [1, equation 14]. eye: whether the eye
    learns along; if not, what it sees in every picture is worked out once, and what was made for this eye (a plan) still fits it."""

    kind: Literal["captioning"] = "captioning"
    eye: bool = True
    everywhere: float = Field(0.0, ge=0)
    augment: tuple[Kind, ...] = ()

    @model_validator(mode="after")
    def _eye_learns(self) -> "CaptioningConfig":
        if self.augment and not self.eye:
            raise ValueError("pictures are not augmented for an eye that stays as it is: what it sees is worked out once")
        return self

    def build(self, model: ImageCaptioner) -> "Captioning":
        return Captioning(self, model)


class Captioning(Objective):
    """Cross-entropy of the next token, in nats a token."""

    def __init__(self, config: CaptioningConfig, model: ImageCaptioner):
        super().__init__(config, model)
        self.encoded = not config.eye

    def phases(self) -> list[Phase]:
        return super().phases() if self.config.eye else [Phase("main", (self.model.norm, self.model.writer))]

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        refuse_uncaptioned(batch)

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        image = batch.image if step.held_out else augment(batch.image, step.rng, self.config.augment)
        texts = step.texts(batch.text)
        tokens = self.model.tokenizer.batch(texts).to(image.device)
        languages = torch.tensor([language_of(t) for t in texts], device=image.device)
        features = self.model.eye(image) if self.config.eye else self.model.latent(batch).float()
        scores, shares = self.model.scores_at(self.model.placed(features), tokens, languages)
        there = (tokens != PAD) & torch.tensor([bool(t) for t in texts], device=tokens.device)[:, None]  # no text says nothing
        nats = F.cross_entropy(scores.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape) * there
        count = there.sum(1).clamp(min=1)  # a row's own mean, so that rows stay independent of each other
        loss = (nats.sum(1) / count).mean()
        right = ((scores.argmax(-1) == tokens) & there).sum(1) / count
        parts = {"nats": loss.detach(), "right": right.float().mean()}
        if self.config.everywhere:
            seen = (shares * there[..., None]).sum(1) * (shares.shape[-1] / count[:, None])  # (N, P), 1 on average
            uneven = (1 - seen).square().mean()
            loss, parts["uneven"] = loss + self.config.everywhere * uneven, uneven.detach()
        return loss, parts

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        figures = super().validate(batch, step)
        return figures | {"loss": 1 - figures["right"]}  # nats are least long before captions are best: they punish being too sure
