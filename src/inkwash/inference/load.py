"""Load a run or a model folder, ready to use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.batch import Condition
from inkwash.core.config import Config
from inkwash.core.device import Precision, choose_device, choose_precision, keep_freed_memory
from inkwash.core.disk import read_json, standing
from inkwash.core.errors import ConfigError, FileError, nearest
from inkwash.core.files import CONFIG, load_model
from inkwash.core.model import Captioner, Model, OnStep, Options, Sampler
from inkwash.data import View
from inkwash.inference import hub, hub_captions
from inkwash.inference.draw import draw_batches, draw_labels
from inkwash.inference.judge import Chosen, Contest, best_batches

JUDGE = "judge.json"  # in a model folder, what Advice holds; models: folders in or beside it, or names of models in the package
DRAWINGS = 8  # that a judge chooses from, unless said


class Advice(NamedTuple):
    """Who chooses a picture for a prompt unless said, out of how many drawings, which doubts end it, who reads plans first, if any, and how
    far they are led (`Contest`)."""

    model: Path
    of: int
    enough: float | None = None
    reader: Path | None = None
    lead: float = 0.0
    lead_pictures: float = 0.0


class _AdviceFile(Config):
    model: str
    of: int = Field(ge=1)
    enough: float | None = None
    reader: str | None = None
    plans: bool = False  # the judge itself reads plans
    lead: float = Field(0.0, ge=0, allow_inf_nan=False)
    lead_pictures: float = Field(0.0, ge=0, allow_inf_nan=False)


@dataclass
class Loaded:
    """A model and the facts that travel with its weights.

    name: how a person calls it. label_counts: images of each class in the training set. data: source, split and view of that set.
    advised: who chooses a picture for a prompt unless said; None: nobody.
    """

    model: Model
    path: Path
    name: str
    label_counts: list[int] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    precision: Precision | None = None
    advised: Advice | None = None

    @cached_property
    def judge(self) -> Model | None:
        """The model that chooses, loaded when it is first asked for."""
        return None if self.advised is None else load(self.advised.model, self.model.device, "fp32").model

    @cached_property
    def reader(self) -> Model | None:
        """The model that reads plans before they are drawn after."""
        if self.advised is None or self.advised.reader is None:
            return None
        return self.judge if self.advised.reader == self.advised.model else load(self.advised.reader, self.model.device, "fp32").model

    @property
    def judge_name(self) -> str:
        return "" if self.advised is None else self.advised.model.name

    @property
    def kind(self) -> str:
        return self.model.config.kind

    @property
    def classes(self) -> tuple[str, ...]:
        return getattr(self.model.config, "classes", ())

    @property
    def view(self) -> View:
        """How training saw images; of a folder that does not tell, the size and channels that the model takes."""
        if "view" in self.data:
            return View.parse(self.data["view"])
        channels, height, width = self.model.config.shape
        return View(size=(height, width), channels=channels)

    def options(self, **values: Any) -> Options:
        """The model's own defaults with these changed. Raises ConfigError naming the nearest, and for a model that has none."""
        if not isinstance(self.model, Sampler | Captioner):
            raise ConfigError(f"A {self.kind!r} model does not make images.")
        return self.model.default_options().override(values)

    def label_of(self, name: str | int) -> int:
        """A class by name, or by number. Raises ConfigError naming the nearest."""
        if not self.classes:
            raise ConfigError(f"{self.name} was trained without classes, so none can be asked for.")
        if isinstance(name, str) and name in self.classes:
            return self.classes.index(name)
        if str(name).isdecimal() and int(name) < len(self.classes):
            return int(name)
        hint = nearest(str(name), self.classes)
        raise ConfigError(f"{self.name} has no class {str(name)!r} (a name, or 0 to {len(self.classes) - 1}); {hint}")

    def labels(self, seeds: Sequence[int], label: str | int | None = None) -> Tensor | None:
        """int64 (N,): the label asked for, else drawn with the training set's frequencies; None for a model without classes."""
        if label is not None:
            return torch.full((len(seeds),), self.label_of(label))
        return draw_labels(seeds, self.label_counts or [1] * len(self.classes)) if self.classes else None

    def sample(
        self,
        n: int = 1,
        seed: int = 0,
        label: str | int | Tensor | None = None,
        batch: int = 64,
        on_step: OnStep | None = None,
        prompt: str | Sequence[str] | None = None,
        of: int | None = None,
        **options: Any,
    ) -> Tensor:
        """n images (n, C, H, W) in [-1, 1] from seeds seed, seed + 1, ...; further keywords are the model's own options.

        Image i depends on seed + i alone, whatever n and batch are. prompt: for all, or one for each. of: out of how many drawings the
        model's judge chooses each, where it has one; 1 for the first.
        """
        parts = list(self.sample_batches(n, seed, label, batch, on_step, prompt, of, **options))
        return torch.cat(parts)

    def sample_batches(
        self,
        n: int = 1,
        seed: int = 0,
        label: str | int | Tensor | None = None,
        batch: int = 64,
        on_step: OnStep | None = None,
        prompt: str | Sequence[str] | None = None,
        of: int | None = None,
        **options: Any,
    ) -> Iterator[Tensor]:
        """`sample` batch by batch, so that memory does not grow with n."""
        return (chosen.images for chosen in self.chosen_batches(n, seed, label, batch, on_step, prompt, of, **options))

    def chosen_batches(
        self,
        n: int = 1,
        seed: int = 0,
        label: str | int | Tensor | None = None,
        batch: int = 64,
        on_step: OnStep | None = None,
        prompt: str | Sequence[str] | None = None,
        of: int | None = None,
        judge: Model | None = None,
        **options: Any,
    ) -> Iterator[Chosen]:
        """`sample_batches` with the seed of each picture and what the judge thinks of it. judge: another than the model's own."""
        seeds = range(seed, seed + n)
        labels = label if isinstance(label, Tensor) else self.labels(seeds, label)
        prompts = [prompt] * n if isinstance(prompt, str) else prompt
        return self.rows(seeds, self.options(**options), labels, prompts, batch, on_step, of, judge)

    def rows(
        self,
        seeds: Sequence[int],
        options: Options,
        labels: Tensor | None = None,
        prompts: Sequence[str] | None = None,
        batch: int = 64,
        on_step: OnStep | None = None,
        of: int | None = None,
        judge: Model | None = None,
    ) -> Iterator[Chosen]:
        """Pictures of any seeds, each with a label and a prompt of its own where there are any. Raises ConfigError before the first."""
        if prompts is None:
            return _as_chosen(draw_batches(self.model, seeds, options, labels, self.precision, batch, on_step), seeds)
        alike = len(set(prompts)) == 1  # read once
        cond = Condition(tokens=self.tokens(prompts[:1] if alike else prompts).expand(len(seeds), -1), label=labels)
        of = of or (DRAWINGS if judge else self.advised.of if self.advised else 1)
        contest = self._contest(of, judge, options)
        if contest is None:
            return _as_chosen(draw_batches(self.model, seeds, options, None, self.precision, batch, on_step, cond), seeds)
        best = best_batches(self.model, contest, seeds, prompts, options, cond, self.precision, batch, on_step)
        return best if of > 1 else (Chosen(part.images, part.seeds) for part in best)  # led, and chosen from nothing

    def _contest(self, of: int, judge: Model | None, options: Options) -> Contest | None:
        """Who chooses one of so many drawings; None where nobody looks at them. Raises ConfigError where there is no judge."""
        own = getattr(options, "size", None) in (None, tuple(self.model.config.shape[1:]))  # plans of other sizes are none that it can read
        leads = (self.advised.lead, self.advised.lead_pictures) if self.advised and own and not judge else (0.0, 0.0)
        if of == 1 and not any(leads):
            return None
        if judge:
            return Contest(judge, of)
        if self.judge is None:
            raise ConfigError(f"{self.name} has no judge to choose one of {of} drawings: name one.")
        return Contest(self.judge, of, self.advised.enough, self.reader if own else None, *leads)

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """int64 (N, L). Raises ConfigError for a model that reads no text, and for a prompt that is too long."""
        if "tokens" not in self.model.accepts:
            takes = f"; it takes a class, one of {', '.join(self.classes)}" if self.classes else ""
            raise ConfigError(f"{self.name} reads no text, so it takes no prompt{takes}.")
        return self.model.tokens(prompts, cut=False)


def _as_chosen(batches: Iterator[Tensor], seeds: Sequence[int]) -> Iterator[Chosen]:
    """Batches of pictures that nobody chose, of these seeds."""
    done = 0
    for images in batches:
        yield Chosen(images, list(seeds[done : done + len(images)]))
        done += len(images)


def bundled() -> dict[str, Path]:
    """The models inside the package, by name."""
    place = Path(str(resources.files("inkwash") / "assets" / "models"))
    return {p.parent.name: p.parent for p in sorted(place.glob(f"*/{CONFIG}"))}


def model_folder(path: str | Path) -> Path:
    """The model folder of a run, the folder itself, or that of a model inside the package. Raises FileError where it is none of them."""
    name, path = str(path), Path(path)
    if not path.exists() and (own := bundled().get(name)):
        return own
    if ((inside := standing(path / "model")) / CONFIG).is_file():
        return inside
    if (path / CONFIG).is_file():
        return path
    if (path / "run.json").is_file():
        raise FileError(f"The run {path} has saved no model yet: it does so at its first checkpoint.")
    if path.exists():
        raise FileError(f"{path} is not a run or a model folder: it has no model/config.json.")
    hint = f"; of the package's own, {nearest(name, bundled())}" if path.name == name else "."  # it may have meant one of those
    raise FileError(f"{path} does not exist{hint}")


def data_facts(path: Path, classes: int = 0) -> dict[str, Any]:
    """What metrics.json tells of the training set; nothing where there is no such file, as in a folder of config and weights only.

    classes: how many the model knows, 0 where that is not to be checked. Raises FileError for a damaged file.
    """
    facts = read_json(path) if path.is_file() else {}
    data = facts.get("data", {}) if isinstance(facts, dict) else None
    counts = data.get("label_counts", []) if isinstance(data, dict) else None
    counted = isinstance(counts, list) and all(isinstance(c, int) and c >= 0 for c in counts)
    if not counted or (classes and counts and len(counts) != classes):
        raise FileError(f"{path} is damaged: it does not tell the training set's labels as inkwash train writes them.")
    return data


def _advice(path: Path) -> Advice | None:
    """What a judge.json says; None where there is none. Raises FileError for a damaged one."""
    if not path.is_file():
        return None
    try:
        told = _AdviceFile.parse(read_json(path))
    except ConfigError:
        raise FileError(
            f"{path} is damaged: it says who judges, out of how many drawings, which doubts end it, and who reads plans first."
        ) from None

    def named(name: str) -> Path:
        return next((p for p in (path.parent / name, path.parent.parent / name) if p.exists()), Path(name))

    reader = told.reader or (told.model if told.plans else None)
    return Advice(named(told.model), told.of, told.enough, reader and named(reader), told.lead, told.lead_pictures)


def load(path: str | Path, device: str = "auto", precision: str = "auto", download: bool = False) -> Loaded:
    """Load a run, a model folder, or a folder that diffusers or transformers has written.

    Raises FileError where it is none of them or is damaged.

    precision: "auto" times one convolution (0.1 s) and takes bf16 where that pays; "fp32" for exact comparisons. download: whether a
    name on the Hugging Face hub may be fetched.
    """
    keep_freed_memory()
    where, name = choose_device(device), str(path)
    if not Path(path).exists() and name not in bundled() and hub.HUB_ID.fullmatch(name):
        if not download:
            how = "draw, edit, upscale and caption fetch a model of the Hugging Face hub with --allow-download"
            raise FileError(f"{name} does not exist here; {how}.")
        path = hub.fetched(name)
    if hub.is_pipeline(Path(path)):
        model, chosen = hub.load_pipeline(Path(path), where, precision)
        return Loaded(model, Path(path), Path(name).name, precision=chosen)
    if hub_captions.is_public(Path(path)):
        model, chosen = hub_captions.load_public(Path(path), where)
        return Loaded(model, Path(path), Path(name).name, precision=chosen)
    place = model_folder(path)
    chosen = choose_precision(where, precision)
    model = chosen.place(load_model(place).to(where))
    data = data_facts(place / "metrics.json", len(getattr(model.config, "classes", ())))
    named = Path(path).resolve()
    name = named.parent.name if named.name == "model" else named.name
    return Loaded(model, place, name, data.get("label_counts", []), data, chosen, _advice(place / JUDGE))
