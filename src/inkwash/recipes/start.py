"""From a recipe's name, data and wishes to a run: what `inkwash train` and `inkwash.train` both call."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inkwash.core.errors import ConfigError
from inkwash.core.files import read_model_config
from inkwash.data import View, facts, open_source
from inkwash.inference.load import data_facts, model_folder
from inkwash.recipes import Recipe, find
from inkwash.training import RunConfig
from inkwash.training import train as train_run
from inkwash.training.run import read_run


def seconds(text: str | float) -> float:
    """A length of time in seconds: 90, "90s", "10m", "2h", "1h30m". Raises ConfigError."""
    if isinstance(text, (int, float)):
        return float(text)
    plain = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]|$)", plain, re.ASCII)
    total = sum(float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}[unit] for number, unit in parts)
    if total <= 0 or "".join(map("".join, parts)) != plain:
        raise ConfigError(f"{text!r} is not a length of time: write 90s, 10m, 2h or 1h30m.")
    return total


def configure(
    recipe: str | RunConfig,
    data: str | None = None,
    steps: int | None = None,
    budget: str | float | None = None,
    settings: dict[str, Any] | None = None,
    tell: Callable[[str], object] | None = None,
    start: str | Path | None = None,
    teacher: str | Path | None = None,
    plan: str | Path | None = None,
) -> RunConfig:
    """The configuration of a new run. settings: dotted keys, {"model.net.width": 96}; data.view.* are known to the recipe too.

    steps, budget: where the run ends, what comes first of both; where either is named, it alone of a RunConfig's stays.
    start: a run or model folder to begin from: its weights, its model where the recipe asks for one, its data where none are
        named, prepared as for it unless said. teacher: another, for a recipe in which one model teaches another.
    tell: hears what was decided for the person, as the size that images of mixed sizes become.

    Raises ConfigError for no data, or a setting that does not exist.
    """
    settings = dict(settings or {})
    if isinstance(recipe, RunConfig):
        config = recipe
    else:
        make = find(recipe)
        if start is not None:
            model_folder(start)  # or say that there is none such, before anything else is asked for
        data, settings = data or data_of(start), view_of(start) | settings
        if data is None:
            raise ConfigError("Name the data to train on: --data FOLDER, FILE, scenes, ...")
        view = {k.removeprefix("data.view."): v for k, v in settings.items() if k.startswith("data.view.")}
        wished = View().override(view)
        source = open_source(data)
        known = facts(source, wished)
        named = {"start": start, "teacher": teacher, "plan": plan}
        config = make(data, known, **{k: v for role, folder in named.items() for k, v in begun(make, recipe, role, folder).items()})
        if known.note and tell and config.data.view.size == (known.height, known.width):  # not where a recipe cuts its own pieces
            tell(known.note)
        validation = None if source.split in ("all", source.validation) else source.validation
        found = {"data.split": source.split, "data.validation": validation}
        settings = {k: v for k, v in found.items() if k.removeprefix("data.") not in config.data.model_fields_set} | settings
    if start is not None:
        settings.setdefault("start", str(start))
    if teacher is not None and getattr(config.objective, "teacher", None) is not None:
        settings.setdefault("teacher", str(teacher))
    if plan is not None:
        settings.setdefault("plan", str(plan))
    if steps is not None or budget is not None:
        settings |= {"train.steps": steps, "train.budget": None if budget is None else seconds(budget)}
    config = config.override(settings)
    if getattr(config.model, "lora", 0) and config.start is None:
        raise ConfigError("model.lora learns thin matrices beside the weights of a trained model: name it with --from.")
    return config


FLAGS = {"start": "--from", "teacher": "--teacher", "plan": "--plan"}  # by the parameter of a recipe that asks for a trained model


def begun(make: Recipe, name: str, role: str, folder: str | Path | None) -> dict[str, Any]:
    """The model that a run begins from, is taught by or draws after, for a recipe that asks for one or takes one. Raises ConfigError where
    none is named, or one that the recipe does not know what to do with."""
    wanted = inspect.signature(make).parameters.get(role)
    if wanted is None and folder is not None and role != "start":
        raise ConfigError(f"The recipe {name!r} has no use for {FLAGS[role]}.")
    if wanted is None or (folder is None and wanted.default is None):
        return {}
    if folder is None:
        said = "begins from a trained model" if role == "start" else f"takes a trained model as a {role}"
        raise ConfigError(f"The recipe {name!r} {said}: name its run with {FLAGS[role]}.")
    return {role: read_model_config(model_folder(folder))}


def data_of(start: str | Path | None) -> str | None:
    """The data that a run was trained on, None where there is no run."""
    return read_run(Path(start))["data"]["source"] if start is not None and (Path(start) / "run.json").is_file() else None


def view_of(start: str | Path | None) -> dict[str, Any]:
    """How the images of a run were prepared, as settings; their size and channels are the model's affair. Empty where there is no run."""
    view = {} if start is None else data_facts(model_folder(start) / "metrics.json").get("view", {})
    return {f"data.view.{k}": v for k, v in view.items() if k not in ("size", "channels")}


def train(
    recipe: str | RunConfig | None = None,
    data: str | None = None,
    out: str | Path = "run",
    steps: int | None = None,
    budget: str | float | None = None,
    settings: dict[str, Any] | None = None,
    resume: bool = False,
    quiet: bool = False,
    start: str | Path | None = None,
    teacher: str | Path | None = None,
    plan: str | Path | None = None,
) -> Path:
    """Train a recipe (by name, FILE.py:FUNCTION, or a whole RunConfig) on data into the folder `out`, and return the folder.

    start: a run to begin from. teacher: one to be taught by. plan: one to draw after. With `resume` the configuration comes from the
    folder; steps or budget may be raised then, and nothing else changed.
    """
    if resume:
        return train_run(resumed(Path(out), steps, budget, settings, data), out, resume=True, quiet=quiet)
    if recipe is None:
        raise ConfigError("Name a recipe: see `inkwash show recipes`.")
    return train_run(configure(recipe, data, steps, budget, settings, start=start, teacher=teacher, plan=plan), out, quiet=quiet)


def resumed(
    out: Path,
    steps: int | None = None,
    budget: str | float | None = None,
    settings: dict[str, Any] | None = None,
    data: str | None = None,
) -> RunConfig:
    """The configuration of a run on disk, with a new end where one is given.

    Raises ConfigError for a folder that is no run, settings that a run cannot change, or other data than its own.
    """
    if not (out / "run.json").is_file():
        raise ConfigError(f"{out} is not a run folder: it has no run.json, so there is nothing to resume.")
    config = RunConfig.parse(read_run(out)["config"])
    if settings and (other := [k for k in settings if not k.startswith("train.keep") and k != "train.checkpoint_every"]):
        raise ConfigError(f"A resumed run keeps its settings; {other[0]!r} cannot change. Start a new run for that.")
    if data is not None and data != config.data.source:
        raise ConfigError(f"{out} was trained on {config.data.source}: a resumed run keeps its data. Leave --data out, or start a new run.")
    return configure(config, None, steps, budget, settings)
