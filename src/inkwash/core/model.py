"""Model: weights + config. What it can do are mix-ins, so that a model promises exactly what it does."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from inkwash.core.batch import Batch, Condition
from inkwash.core.boxes import Box
from inkwash.core.config import Config, ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.rng import Rng

OnStep = Callable[[int, int], None]  # (steps done, steps in all)
Tag = Literal["exact", "bound", "density", "estimate"]


Look = Callable[[Callable[[], Tensor]], None]  # is handed what makes images (N, C, H, W) of how far a sampler is
_LOOK: ContextVar[Look | None] = ContextVar("look", default=None)


@contextmanager
def watched(look: Look) -> Iterator[None]:
    """Show `look` what becomes of the images while they are sampled. An image is only made of it where `look` asks for one."""
    token = _LOOK.set(look)
    try:
        yield
    finally:
        _LOOK.reset(token)


def seen(images: Callable[[], Tensor]) -> None:
    """A sampler says how far it is, to whoever watches."""
    if look := _LOOK.get():
        look(images)


class Options(Config):
    """The sampling knobs of a model, typed: the command line's -o, the server's fields and the page's form come from it.

    `model_fields_set` names those that somebody asked for, as against a model's own defaults.
    """

    def override(self, settings: dict[str, Any]) -> Self:
        new, said = super().override(settings), {key.partition(".")[0] for key in settings}
        return type(self).model_construct(_fields_set=self.model_fields_set | said, **dict(new))

    def unsaid(self) -> Self:
        """The same values, none of them asked for."""
        return type(self).model_construct(_fields_set=set(), **dict(self))


class Model(nn.Module):
    """Weights and the configuration they belong to.

    shape: (C, H, W) of one image. accepts, requires: names of `Condition` fields. classes: names by label.
    Networks hold no dropout layer: anything random comes from an `Rng`, so that rows stay independent of each other.
    """

    accepts: frozenset[str] = frozenset()
    requires: frozenset[str] = frozenset()

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def weights_version(self) -> int:
        """A number that changes whenever weights do, for what is kept until then."""
        return sum(p._version for p in self.parameters())

    def deployed(self) -> tuple[nn.Module, dict[str, Tensor]]:
        """What another runtime needs of this model: a module of tensors only, and an example of its inputs, two rows, by name.

        Raises ConfigError where there is nothing to hand over.
        """
        raise ConfigError(f"A {self.config.kind!r} model cannot be exported yet.")

    def adopted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a model that training begins from, made to fit this one: as they are, unless it can do more than that one."""
        return tensors

    def check(self, cond: Condition) -> None:
        """Raise ConfigError where the condition holds what the model does not take, or lacks what it needs."""
        if extra := cond.names() - self.accepts:
            takes = ", ".join(sorted(self.accepts)) or "no condition at all"
            raise ConfigError(f"This model does not take {', '.join(sorted(extra))}; it takes {takes}.")
        if cond.mask is not None and cond.image is None:
            raise ConfigError("A mask says which pixels of an image to make anew: it needs the image.")
        if missing := self.requires - cond.names():
            raise ConfigError(f"This model needs {', '.join('a prompt' if m == 'tokens' else m for m in sorted(missing))}.")


class Sampler(ABC):
    """A model that makes images. at_once: how many it makes together at most, for those that take much memory each."""

    Options: ClassVar[type[Options]] = Options
    at_once: ClassVar[int] = 1 << 30

    @abstractmethod
    def sample(self, rng: Rng, cond: Condition, options: Options, on_step: OnStep | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1], one for each row of `rng`; row i depends on its key and its condition only."""

    def refuse(self, options: Options, cond: Condition) -> None:
        """Raise ConfigError for something that was asked for and cannot act under this condition: silence would pass for obedience."""
        return None

    def default_options(self) -> Options:
        """The options that this model is sampled with unless others are asked for."""
        return self.Options()

    def evaluations(self, options: Options) -> int:
        """Network evaluations that one image costs under these options."""
        return 1


class Prompted(ABC):
    """A sampler that may know what a text says; it does where it accepts tokens."""

    @abstractmethod
    def tokens(self, texts: SequenceOf[str], cut: bool = True) -> Tensor:
        """int64 (N, L), on the CPU. cut: shorten what is too long; else raise ConfigError."""

    @abstractmethod
    def unknown(self, text: str) -> list[str]:
        """Words of a text that it has never seen."""

    def prompts(self, cond: Condition, n: int, instead: str = "") -> Tensor:
        """Tokens of n rows, on the model's device: the condition's, or those of `instead` where it has none."""
        return self.tokens([instead]).expand(n, -1).to(self.device) if cond.tokens is None else cond.tokens


class Completer(Sampler):
    """A sampler of images of one size that makes what the mask of a picture leaves open. Of a picture without a mask it makes nothing."""

    def refuse(self, options: Options, cond: Condition) -> None:
        if cond.image is None:
            return
        if cond.mask is None:
            raise ConfigError(f"A {self.config.kind!r} model completes a picture: give it a mask, white where pixels are to be made.")
        if cond.image.shape[1:] != tuple(self.config.shape):
            raise ConfigError(f"This model completes pictures of {self.config.shape[1]} x {self.config.shape[2]} only.")


class Likelihood(ABC):
    """A model that says how probable an image is."""

    tag: ClassVar[Tag]
    levels: int = 256

    @abstractmethod
    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        """Nats of the `levels`-level image (or of a density, by `tag`), summed over dimensions: (N, C, H, W) to (N,)."""


class Importance(Likelihood):
    """One whose probability of an image is the mean of weights that it can draw: the more draws, the closer the bound."""

    tag = "bound"

    @abstractmethod
    def log_weight(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        """Log of a positive number whose mean over draws is p(x): (N, C, H, W) to (N,)."""


def weighed(model: Importance, x: Tensor, cond: Condition, rng: Rng, draws: int) -> Tensor:
    """log of the mean of so many weights, (N,): a lower bound on log p(x) (Burda et al. 2016, equation 8)."""
    return torch.stack([model.log_weight(x, cond, rng) for _ in range(draws)]).logsumexp(0) - math.log(draws)


class Density(ABC):
    """A model that knows a density of images, which stands in for their probability."""

    @abstractmethod
    def log_density(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        """Nats of the 256-level image under uniform dequantisation: log-density of x plus noise within its grey level, times that level's
        volume. (N, C, H, W) to (N,)."""


class Inverter(ABC):
    """A sampler that finds the noise an image comes from."""

    @abstractmethod
    def invert(self, x: Tensor, cond: Condition, options: Options, on_step: OnStep | None = None) -> Tensor:
        """(N, C, H, W) in [-1, 1] to noise of the same shape, standard normal for images of the model's own kind."""

    @abstractmethod
    def regenerate(self, noise: Tensor, cond: Condition, options: Options, on_step: OnStep | None = None) -> Tensor:
        """The image that noise leads to, deterministically: the inverse of `invert`."""


class Translator(ABC):
    """A model that makes one picture of another, of any size.

    directions: names of what it makes. scale: how many times larger. reach: how many pixels around a pixel it looks at, to each
    side; None where that is the whole picture.
    """

    directions: tuple[str, ...]
    scale: int = 1
    reach: int | None = None

    @abstractmethod
    def translate(self, x: Tensor, to: str) -> Tensor:
        """(N, C, H, W) in [-1, 1] to (N, C, scale H, scale W). `to` is one of the directions."""


class Autoencoder(ABC):
    """A model that maps images to latents and back."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to latents, batch axis first."""

    @abstractmethod
    def decode(self, z: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """Latents to (N, C, H, W) in [-1, 1]."""

    def reconstruct(self, x: Tensor, cond: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """(N, C, H, W) to the same, by way of the latents."""
        return self.decode(self.encode(x), cond)


class Encoding(ABC):
    """A model that learns from what a frozen part makes of images: training may work that out once for each."""

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The frozen part."""

    @abstractmethod
    def to_latent(self, image: Tensor) -> Tensor:
        """(N, C, H, W) to (N, ...), without gradients; each row by itself."""

    def encoded(self, image: Tensor) -> Tensor:
        """All that is worked out once of images, (N, C, H, W) to (N, ...): what becomes a batch's `latent`."""
        return self.to_latent(image)

    def latent(self, batch: Batch) -> Tensor:
        """(N, ...) of a batch."""
        return self.to_latent(batch.image) if batch.latent is None else batch.latent


class Arranger(ABC):
    """A model that tells from a text which things shall be where."""

    @abstractmethod
    def arrange(self, rng: Rng, tokens: Tensor) -> list[tuple[Box, ...]]:
        """Boxes for each row of tokens, int64 (N, L). A row depends on its key and its text alone."""


class Codes(ABC):
    """An autoencoder whose latents are integers. grid: (h, w) of them."""

    codebook_size: int
    grid: tuple[int, int]

    @abstractmethod
    def codes(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to int64 (N, h, w)."""

    @abstractmethod
    def from_codes(self, codes: Tensor) -> Tensor:
        """int64 (N, h, w) to (N, C, H, W)."""

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """What codes stand for, near for codes that are alike: int64 (...) to (..., D)."""


class Sequence(ABC):
    """A model that continues a clip."""

    @abstractmethod
    def predict(self, frames: Tensor, n: int, rng: Rng) -> Tensor:
        """(N, F, C, H, W) to its next n frames (N, n, C, H, W)."""


class Written(NamedTuple):
    """What a model wrote of an image. nats: log p of it, where it tells. maps: for each of its words where the model looked, (h, w) that
    sum to 1."""

    text: str
    words: tuple[str, ...]
    maps: list[Tensor]
    nats: float | None


class Captioner(ABC):
    """A model that describes images in words. any_size: it prepares pictures of any size itself."""

    Options: ClassVar[type[Options]] = Options
    any_size: ClassVar[bool] = False

    def default_options(self) -> Options:
        return self.Options()

    @abstractmethod
    def caption(self, x: Tensor, rng: Rng, options: Options) -> list[Written]:
        """(N, C, H, W) to N texts. Row i depends on its image and its key only."""


class Extractor(ABC):
    """A model that maps images to feature vectors."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, D)."""


class Doubt(NamedTuple):
    """The word of a text that a judge would be least ready to say of an image, and by how many nats it would rather say another."""

    nats: float
    word: str


class Judge(ABC):
    """A model that says how well texts fit images."""

    @abstractmethod
    def agreement(self, x: Tensor, texts: SequenceOf[str]) -> Tensor:
        """(N, C, H, W) in [-1, 1] and M texts, as far as they are not too long, to (N, M): the more, the better a text fits an image."""

    def each(self, x: Tensor, texts: SequenceOf[str]) -> Tensor:
        """How well each of N images fits its own text: (N,), with gradients."""
        fits = x.new_zeros(len(x))
        for text in dict.fromkeys(texts):
            rows = [i for i, own in enumerate(texts) if own == text]
            fits = fits.index_copy(0, torch.tensor(rows, device=x.device), self.agreement(x[rows], [text])[:, 0].to(fits))
        return fits

    def doubt(self, x: Tensor, text: str) -> Doubt | None:
        """Of one image (C, H, W); None from a judge that does not look at words one by one."""
        return None


class Seer(Judge):
    """A judge whose eye sees features, by which it can read a plan."""

    @abstractmethod
    def reads(self, features: Tensor, texts: SequenceOf[str]) -> Tensor:
        """How well what its eye would see fits each one's own text: features (N, F, h, w) and N texts to (N,), with gradients."""

    def foretold(self, features: Tensor, texts: SequenceOf[str]) -> Tensor:
        """`agreement` with what its eye would see: features (N, F, h, w) and M texts to (N, M)."""
        return torch.stack([self.reads(features, [text] * len(features)) for text in texts], 1)


class Aligner(Judge):
    """A judge by vectors: the cosine of a text's and an image's."""

    @abstractmethod
    def tokens(self, texts: SequenceOf[str], cut: bool = True) -> Tensor:
        """int64 (N, L), on the CPU. cut: shorten what is too long; else raise ConfigError."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to vectors of length 1, (N, D)."""

    @abstractmethod
    def read(self, tokens: Tensor) -> Tensor:
        """int64 (N, L) to vectors of length 1, (N, D)."""

    def agreement(self, x: Tensor, texts: SequenceOf[str]) -> Tensor:
        return self.features(x) @ self.read(self.tokens(texts).to(x.device)).t()


class Fittable(ABC):
    """A model that is fitted at once, without gradients."""

    @abstractmethod
    def fit(self, images: Tensor, labels: Tensor | None, rng: Rng, on_step: OnStep | None = None) -> None:
        """images: (N, C, H, W) in [-1, 1], one row of `rng` for each."""
