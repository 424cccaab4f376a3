"""Request in, Result out: what the command line and the server both call. It knows no method by name."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import ImageColor
from pydantic import Field
from torch import Tensor

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError
from inkwash.core.model import OnStep, Options
from inkwash.core.pixels import from_uint8
from inkwash.inference.edit import Edit, edit
from inkwash.inference.judge import Chosen, joined, judge_of
from inkwash.inference.load import Loaded, load
from inkwash.metrics.features.base import to_rgb


class Request(Config):
    """One order. model: a run or a model folder. seed: of the first image, the next ones count up. options: the model's own.

    judge: a run of clip or caption that keeps the best of `of` drawings; the model's own, where it has one, unless said. background: a
    colour to lay under transparent pictures.
    """

    model: str
    n: int = 1
    seed: int = 0
    size: tuple[int, int] | None = None
    prompt: str | None = None
    label: str | int | None = None
    judge: str | None = None
    of: int | None = Field(None, ge=1)
    background: str | None = None
    options: dict[str, Any] = {}
    batch: int = 64


@dataclass(frozen=True)
class Result:
    """images: (N, C, H, W) in [-1, 1]. seeds: as asked for. labels: class names, empty without classes. facts: for each image, what goes
    into its file."""

    images: Tensor
    seeds: list[int]
    labels: list[str]
    facts: list[dict[str, Any]]
    seconds: float


class Runner:
    """Keeps models loaded and serves requests."""

    def __init__(self, device: str = "auto", precision: str = "auto", download: bool = False):
        self.device, self.precision, self.download = device, precision, download
        self.models: dict[str, Loaded] = {}

    def model(self, path: str) -> Loaded:
        """The model of a path, loaded once."""
        if path not in self.models:
            self.models[path] = load(path, self.device, self.precision, self.download)
        return self.models[path]

    def unknown(self, request: Request) -> list[str]:
        """Words of a prompt, and of what is to be avoided, that the model has never seen."""
        return self.strange(request.model, request.prompt, request.options.get("negative"))

    def strange(self, model: str, *texts: str | None) -> list[str]:
        """Words of texts that a model which reads has never seen, each once."""
        reads = self.model(model).model
        found = [word for text in texts if isinstance(text, str) and text and "tokens" in reads.accepts for word in reads.unknown(text)]
        return list(dict.fromkeys(found))

    def run(self, requests: Sequence[Request], on_step: OnStep | None = None) -> list[Result]:
        """Serve requests in order. Raises InkwashError for the first that cannot be served."""
        return [_whole(list(self.stream(request, on_step))) for request in requests]

    def stream(self, request: Request, on_step: OnStep | None = None) -> Iterator[Result]:
        """Serve one request batch by batch. Raises InkwashError, at once, where it cannot be served."""
        order = self.order(request)
        batches = order.drawn([order], request.batch, on_step)  # refuses here
        return order.results(batches)

    def together(self, requests: Sequence[Request], on_step: OnStep | None = None) -> list[Result]:
        """Serve requests as one: whatever they ask for, a picture depends on its own seed and prompt alone. All must ask for the same
        model and options (`alike`). Raises InkwashError as `stream` does.
        """
        orders = [self.order(request) for request in requests]
        chosen, results = joined(orders[0].drawn(orders, requests[0].batch, on_step)), []
        for order in orders:
            own, chosen = chosen.split(len(order.seeds))
            results.append(_whole(list(order.results(iter([own])))))
        return results

    def alike(self, one: Request, other: Request) -> bool:
        """Whether two requests can be served together."""
        fixed = ("model", "size", "judge", "of", "options", "batch")
        return all(getattr(one, name) == getattr(other, name) for name in fixed) and (one.prompt is None) == (other.prompt is None)

    def order(self, request: Request) -> "Order":
        """What a request asks for, looked up. Raises ConfigError where it cannot be served."""
        loaded = self.model(request.model)
        height, width = loaded.model.config.shape[1:]
        if request.prompt is not None and not request.prompt.strip():
            raise ConfigError("The prompt is empty: say what to draw.")
        wishes = dict(request.options)
        if request.size not in (None, (height, width)):
            if "size" not in type(loaded.options()).model_fields:
                raise ConfigError(f"{loaded.name} makes images of {height} x {width} only.")
            wishes["size"] = request.size
        if request.n < 1:
            raise ConfigError(f"{request.n} images cannot be made: ask for at least 1.")
        seeds = range(request.seed, request.seed + request.n)
        under = ground(request.background, loaded) if request.background else None
        judge = self.model(request.judge) if request.judge else None
        if judge:
            judge_of(judge.model)  # refuses here
        return Order(request, loaded, seeds, loaded.options(**wishes), loaded.labels(seeds, request.label), judge, under)

    def edit(self, model: str, order: Edit, on_step: OnStep | None = None) -> tuple[Result, list[Tensor]]:
        """Serve an edit. Returns the result, and the image it began with and its mask (where there is one) as they were seen.

        Raises InkwashError where it cannot be served.
        """
        loaded, start = self.model(model), time.perf_counter()
        done = edit(loaded, order, on_step)
        seeds = list(range(order.seed, order.seed + order.n))
        names = [] if order.label is None else [loaded.classes[loaded.label_of(order.label)]] * order.n
        height, width = done.images.shape[-2:]
        base = {"model": loaded.name, "kind": loaded.kind, "edit": order.kind(), "of": Path(order.image).name, "size": f"{width}x{height}"}
        wishes = {k: getattr(order, k) for k in ("prompt", "to", "vary", "was", "mask", "extend")}
        said = {k: getattr(done.options, k) for k in done.options.model_fields_set}  # the others may not have acted
        base |= {k: v for k, v in (wishes | said).items() if v is not None}
        facts = [{"seed": s, **({"class": names[i]} if names else {}), **base} for i, s in enumerate(seeds)]
        shown = [done.seen] + ([] if done.mask is None else [done.mask.expand_as(done.seen) * 2 - 1])
        return Result(done.images, seeds, names, facts, time.perf_counter() - start), shown


@dataclass(frozen=True)
class Order:
    """A request and what it names. under: a colour (3, 1, 1) to lay under transparent pictures."""

    request: Request
    loaded: Loaded
    seeds: range
    options: Options
    label: Tensor | None
    judge: Loaded | None
    under: Tensor | None

    def drawn(self, orders: Sequence["Order"], batch: int, on_step: OnStep | None = None) -> Iterator[Chosen]:
        """The pictures of orders that are alike, this one among them. Raises ConfigError before the first."""
        seeds = [seed for o in orders for seed in o.seeds]
        label = None if self.label is None else torch.cat([o.label for o in orders])
        prompts = None if self.request.prompt is None else [o.request.prompt for o in orders for _ in o.seeds]
        judge = self.judge and self.judge.model
        return self.loaded.rows(seeds, self.options, label, prompts, batch, on_step, self.request.of, judge)

    def facts(self) -> dict[str, Any]:
        """What all its pictures have in common."""
        height, width = getattr(self.options, "size", None) or self.loaded.model.config.shape[1:]
        said = {} if self.request.prompt is None else {"prompt": self.request.prompt}
        named = {"model": self.loaded.name, "kind": self.loaded.kind}
        return {**said, **named, **self.options.model_dump(), "size": f"{width}x{height}"}

    def results(self, batches: Iterator[Chosen]) -> Iterator[Result]:
        """Its pictures, with what goes into their files."""
        start, done, base = time.perf_counter(), 0, self.facts()
        judge = self.judge.name if self.judge else self.loaded.judge_name
        for images, seeds, fits, doubted in batches:
            rows = slice(done, done + len(images))
            names = [] if self.label is None else [self.loaded.classes[i] for i in self.label[rows].tolist()]
            own = list(self.seeds[rows])
            facts = [{"seed": s, **({"class": names[i]} if names else {}), **base} for i, s in enumerate(own)]
            if fits is not None:  # drawn: the seed of the drawing that was kept, which asked for without a judge gives it again
                facts = [f | {"judge": judge, "fits": round(fit, 4), "drawn": s} for f, fit, s in zip(facts, fits, seeds)]
            if doubted is not None:
                facts = [f | ({"doubted": word} if word else {}) for f, word in zip(facts, doubted)]
            shown = images if self.under is None else to_rgb(images, self.under)
            yield Result(shown, own, names, facts, time.perf_counter() - start)
            start, done = time.perf_counter(), done + len(images)


def ground(colour: str, loaded: Loaded) -> Tensor:
    """A colour's name or #rrggbb as (3, 1, 1) in [-1, 1]. Raises ConfigError for another word, and a model whose pictures have no holes."""
    if loaded.model.config.shape[0] != 4:
        raise ConfigError(f"{loaded.name} makes pictures without transparency: there is nothing for a background to show through.")
    try:
        return from_uint8(torch.tensor(ImageColor.getrgb(colour)[:3], dtype=torch.uint8)).view(3, 1, 1)
    except ValueError:
        raise ConfigError(f"{colour!r} is not a colour: write a name, as white, or #rrggbb.") from None


def _whole(parts: list[Result]) -> Result:
    """Several batches as one result."""
    joined = [[x for p in parts for x in getattr(p, name)] for name in ("seeds", "labels", "facts")]
    return Result(torch.cat([p.images for p in parts]), *joined, sum(p.seconds for p in parts))
