"""inkwash sample."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from inkwash.cli.common import pairs, progress, size_of, tell, user_code
from inkwash.core.disk import make_folder
from inkwash.inference.pictures import grid, save_picture
from inkwash.inference.provenance.write import NOTHING_MORE, Provenance
from inkwash.inference.runner import Request, Runner

IN_GRID = 100


def run(
    model: str,
    out: str,
    n: int,
    label: str | None,
    seed: int,
    size: str | None,
    named: dict[str, Any],
    options: list[str],
    batch: int,
    precision: str,
    device: str,
    code: str | None,
    json: bool,
    given: Provenance = NOTHING_MORE,
) -> None:
    user_code(code)
    place, runner = Path(out), Runner(device, precision)
    runner.model(model)
    request = Request(model=model, n=n, seed=seed, size=size_of(size), label=label, options={**named, **pairs(options)}, batch=batch)
    deliver(runner, request, place, json, given)


def deliver(
    runner: Runner,
    request: Request,
    place: Path,
    json: bool,
    given: Provenance,
    said: dict[str, Any] | None = None,
    note: Sequence[str] = (),
    finish: Callable[[dict[str, Any]], list[str]] = lambda facts: [],
) -> None:
    """Serve a request into a folder: one PNG an image, and grid.png. said, note: what else to tell, as JSON and as sentences.
    finish: called with the first picture's facts, for more sentences."""
    shown, labels, seconds, first, n, seeds, doubts = [], [], 0.0, {}, request.n, [], []
    with progress("sampling") as on_step:
        results = runner.stream(request, on_step)
        make_folder(place)
        for result in results:  # written as they come: memory does not grow with n
            for i, (image, facts) in enumerate(zip(result.images, result.facts), len(seeds)):
                save_picture(place / f"{i:05d}.png", image, facts, given)
                doubts += [f"{i:05d}.png: {facts['judge']} would not say {facts['doubted']!r} of it."] if "doubted" in facts else []
            room = IN_GRID - len(shown)
            shown, labels = [*shown, *result.images[:room]], [*labels, *result.labels[:room]]
            seconds, first, seeds = seconds + result.seconds, first or result.facts[0], [*seeds, *result.seeds]
    told = {} if request.prompt is None else {"prompt": request.prompt}
    own = f"{seeds[0]} to {seeds[len(shown) - 1]}"
    facts = {**told, "model": first["model"], "seeds": own, **request.options}
    save_picture(place / "grid.png", grid(torch.stack(shown), labels=labels), facts, given)
    record = {"wrote": str(place), "grid": str(place / "grid.png"), "images": n, "seconds": round(seconds, 3)}
    every = f"seed {seeds[0]}" if n == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    rate = f"{every}, {seconds:.1f} s, {n / seconds:.1f} images/s"
    wrote = f"wrote {n} images and grid.png to {place} ({rate})"
    lines = [*note, *doubts, wrote, f"see {place / 'grid.png'}", *finish(first)]
    tell({**record, "seeds": seeds, "facts": first, **(said or {})}, json, lines)
