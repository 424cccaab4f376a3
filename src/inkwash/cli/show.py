"""inkwash show."""

import importlib
import inspect
import json as jsonlib
from pathlib import Path
from typing import Any

from inkwash.cli.common import tell
from inkwash.core.config import MODELS, OBJECTIVES
from inkwash.core.disk import read_json
from inkwash.core.errors import FileError
from inkwash.core.files import CARD, CONFIG
from inkwash.inference.load import bundled, model_folder

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
DATA = {
    "scenes": "a procedural world of shapes, endless and exact: scenes?objects=1&plain=true&size=32",
    "moving": "clips of another source's pictures in motion: moving?of=mnist.npz&things=2&frames=20",
    "digits": "scikit-learn's 1,797 handwritten digits, 8x8",
    "FOLDER": "images of any size and format; class subfolders become labels, metadata.csv or .jsonl captions",
    "FILE.zip, .tar, .tar.gz, .tar.xz": "the same in an archive; WebDataset tars too",
    "FILE.npz": "[SPLIT_]x or images or packed, y or labels, classes",
    "IDX": "a folder with train-images-idx3-ubyte and the like, .gz too",
    "hf:NAME": "a Hugging Face data set, by name or saved to disk (extra hf)",
}


def run(what: str, json: bool) -> None:
    if what == "methods":
        record = {kind: _first_line(place) for kind, place in MODELS.items()}
        more = {kind: _first_line(place) for kind, place in OBJECTIVES.items()}
        lines = ["models", *_table(record), "objectives", *_table(more)]
        return tell({"models": record, "objectives": more}, json, lines)
    if what == "recipes":
        from inkwash.recipes import RECIPES

        files = [place.partition(":")[0] for place in RECIPES.values()]
        told = {name: place if files.count(file) > 1 else file for (name, place), file in zip(RECIPES.items(), files)}
        record = {name: _first_line(place) for name, place in told.items()}
        return tell(record, json, _table(record))
    if what == "models":
        record = {name: (place / CARD).read_text(encoding="utf-8").split("\n")[0].lstrip("# ") for name, place in bundled().items()}
        return tell(record, json, _table(record))
    if what == "data":
        return tell(DATA, json, _table(DATA))
    path = Path(what)
    if path.suffix.lower() in PICTURES and path.is_file():
        return _picture(path, json)
    if (path / "run.json").is_file():
        return _run(path, json)
    if what in bundled() or (path / CONFIG).is_file():
        config = read_json(model_folder(path) / CONFIG)
        return tell(config, json, [jsonlib.dumps(config, indent=2, ensure_ascii=False)])
    raise FileError(f"{what!r} is not methods, recipes, models, data, a run, a model folder or a picture.")


def _first_line(place: str) -> str:
    """The first line of what a catalog entry names: of the class that a configuration builds, of a function, or of a file."""
    path, _, name = place.partition(":")
    thing = module = importlib.import_module(path)
    if name:
        thing = getattr(module, name)
        built = inspect.get_annotations(getattr(thing, "build", thing)).get("return")
        if isinstance(built, str):  # the name of a class beside it
            thing = getattr(module, built)
    return inspect.getdoc(thing).split("\n")[0]


def _table(record: dict[str, str]) -> list[str]:
    width = max(map(len, record), default=0)
    return [f"  {k:<{width}}  {v}" for k, v in record.items()]


def _picture(path: Path, json: bool) -> None:
    """What a picture says of its making: settings, where it comes from, the label, and whether a signed manifest is there."""
    from inkwash.inference.provenance.read import read
    from inkwash.inference.provenance.sign import checked

    traces = read(path)
    facts: dict[str, Any] = traces.facts or ({"parameters": traces.parameters} if traces.parameters else {})
    told = {"source": traces.source, "label": traces.label, "labels": len(traces.labels) or None}
    told = {k: v for k, v in told.items() if v is not None}
    if traces.signed:
        told["c2pa"] = checked(traces.data, traces.mime) or {"state": "not checked"}
    if not facts and not told:
        return tell({"picture": str(path), "made_by": None}, json, [f"{path} does not say what made it."])
    record = {"picture": str(path), **facts, **({"provenance": told} if told else {})}
    rows = {k: str(v) for k, v in facts.items()} | _told(told)
    tell(record, json, _table(rows))


def _told(told: dict[str, Any]) -> dict[str, str]:
    """The same as rows for a person."""
    rows = {"source": told["source"]} if "source" in told else {}
    if "label" in told:
        rows["AI label"] = ", ".join(f"{k} {v}" for k, v in told["label"].items() if v)
        if told["labels"] > 1:
            rows["AI label"] += f"; {told['labels']} labels, where one is allowed"
    if "c2pa" in told:
        by = told["c2pa"].get("by")
        rows["C2PA"] = f"a manifest, {told['c2pa']['state'].lower()}" + (f", signed by {by}" if by else "")
    return rows


def _run(path: Path, json: bool) -> None:
    from inkwash.training.run import read_run

    run = read_run(path)
    if json:
        return tell(run, True, [])
    config, keys = run["config"], ("status", "step", "images", "elapsed", "precision", "saved")
    rows = {k: str(run[k]) for k in keys} | {"model": config["model"]["kind"], "objective": config["objective"]["kind"]}
    rows |= {"data": f"{config['data']['source']} ({run['data']['count']} images)", "command": " ".join(run["command"])}
    metrics = path / "model" / "metrics.json"
    lines = _table(rows)
    if metrics.is_file():
        lines += [f"  figures  {name}: {jsonlib.dumps(v)}" for name, v in read_json(metrics).get("figures", {}).items()]
    tell(run, False, lines)
