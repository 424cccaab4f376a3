"""inkwash train."""

import os
from pathlib import Path

from inkwash.cli.common import console, pairs, tell, user_code
from inkwash.core.errors import ConfigError
from inkwash.recipes.start import configure, resumed
from inkwash.training.config import RunConfig
from inkwash.training.estimate import measure
from inkwash.training.run import read_run, rehearsing
from inkwash.training.run import train as train_run

BUDGET = 600.0  # seconds, where neither the recipe nor the person says when to stop


def run(
    recipe: str | None,
    data: str | None,
    out: str,
    settings: list[str],
    budget: str | None,
    steps: int | None,
    resume: bool,
    dry_run: bool,
    code: str | None,
    json: bool,
    start: str | None,
    teacher: str | None,
    plan: str | None,
) -> None:
    user_code(code)
    place, wishes = Path(out), pairs(settings)
    if resume:
        config = resumed(place, steps, budget, wishes, data)
    else:
        if recipe is None:
            raise ConfigError("Name a recipe, or your own FILE.py:FUNCTION: `inkwash show recipes` lists them.")
        config = configure(recipe, data, steps, budget, wishes, console.print, start, teacher, plan)
        if config.train.steps is None and config.train.budget is None:
            config = config.override({"train.budget": BUDGET})
    if dry_run:
        return rehearse(config, json)
    own = recipe.rpartition(":")[0] if recipe and ".py:" in recipe else None
    train_run(config, place, resume, quiet=json, code=code or own)
    if int(os.environ.get("RANK", "0")):
        return  # one process speaks for all
    record = read_run(place)
    keys = ("status", "step", "images", "elapsed", "precision", "peak_memory")
    files = [str(place / "model"), str(place / "metrics.jsonl"), *(str(p) for p in sorted((place / "samples").glob("*.png"))[-1:])]
    facts = {"run": out, **{k: record[k] for k in keys}, "wrote": files}
    rate = record["images"] / max(record["elapsed"], 1e-9)
    summary = f"{record['status']}: {record['images']} images in {record['step']} steps, {rate:.0f} images/s"
    tell(facts, json, [summary, *(f"wrote {f}" for f in files)])


def rehearse(config: RunConfig, json: bool) -> None:
    """The whole configuration and what it costs; nothing is written."""
    with rehearsing(config) as trainer:
        estimate = measure(trainer)
        steps = int(config.train.length(estimate.seconds))
        if not json:
            console.print("Dry run: nothing is written.")
            print(config.to_json())
        lines = estimate.lines(config.train.batch, steps, trainer.precision)
        tell({"config": config.model_dump(mode="json"), **estimate.facts(), "steps": steps}, json, lines)
