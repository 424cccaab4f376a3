"""Request in, Result out: what the command line and the server both call. It knows no method by name."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError
from inkwash.core.model import OnStep
from inkwash.inference.load import Loaded, load


class Request(Config):
    """One order. model: a run or a model folder. seed: of the first image, the next ones count up. options: the model's own."""

    model: str
    n: int = 1
    seed: int = 0
    size: tuple[int, int] | None = None
    prompt: str | None = None
    label: str | int | None = None
    options: dict[str, Any] = {}
    batch: int = 64


@dataclass(frozen=True)
class Result:
    """images: (N, C, H, W) in [-1, 1]. labels: class names, empty without classes. facts: for each image, what goes into its file."""

    images: Tensor
    seeds: list[int]
    labels: list[str]
    facts: list[dict[str, Any]]
    seconds: float


class Runner:
    """Keeps models loaded and serves requests."""

    def __init__(self, device: str = "auto", precision: str = "auto"):
        self.device, self.precision = device, precision
        self.models: dict[str, Loaded] = {}

    def model(self, path: str) -> Loaded:
        """The model of a path, loaded once."""
        if path not in self.models:
            self.models[path] = load(Path(path), self.device, self.precision)
        return self.models[path]

    def run(self, requests: Sequence[Request], on_step: OnStep | None = None) -> list[Result]:
        """Serve requests in order. Raises InkwashError for the first that cannot be served."""
        return [self._one(request, on_step) for request in requests]

    def _one(self, request: Request, on_step: OnStep | None) -> Result:
        loaded = self.model(request.model)
        height, width = loaded.model.config.shape[1:]
        if request.prompt is not None:
            raise ConfigError(f"{loaded.name} takes a class, not a prompt: one of {', '.join(loaded.classes) or 'none'}.")
        if request.size not in (None, (height, width)):
            raise ConfigError(f"{loaded.name} makes images of {height} x {width} only.")
        if request.n < 1:
            raise ConfigError(f"{request.n} images cannot be made: ask for at least 1.")
        options = loaded.options(**request.options)
        seeds = list(range(request.seed, request.seed + request.n))
        label = loaded.labels(seeds, request.label)
        start = time.perf_counter()
        images = loaded.sample(request.n, request.seed, label, request.batch, on_step, **request.options)
        names = [] if label is None else [loaded.classes[i] for i in label.tolist()]
        base = {"model": loaded.name, "kind": loaded.kind, "size": f"{width}x{height}", **options.model_dump()}
        facts = [{"seed": s, **({"class": names[i]} if names else {}), **base} for i, s in enumerate(seeds)]
        return Result(images, seeds, names, facts, time.perf_counter() - start)
