"""inkwash sample."""

from pathlib import Path
from typing import Any

from inkwash.cli.common import pairs, progress, size_of, tell, user_code
from inkwash.core.files import make_folder
from inkwash.inference.pictures import grid, save_png
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
) -> None:
    user_code(code)
    place, runner = Path(out), Runner(device, precision)
    runner.model(model)
    make_folder(place)
    request = Request(model=model, n=n, seed=seed, size=size_of(size), label=label, options={**named, **pairs(options)}, batch=batch)
    with progress("sampling") as on_step:
        (result,) = runner.run([request], on_step)
    for i, (image, facts) in enumerate(zip(result.images, result.facts)):
        save_png(place / f"{i:05d}.png", image, facts)
    shown = min(n, IN_GRID)
    facts = {"model": result.facts[0]["model"], "seeds": f"{seed} to {seed + shown - 1}", **request.options}
    save_png(place / "grid.png", grid(result.images[:shown], labels=result.labels[:shown]), facts)
    record = {"wrote": str(place), "grid": str(place / "grid.png"), "images": n, "seconds": round(result.seconds, 3)}
    rate = f"{result.seconds:.1f} s, {n / result.seconds:.1f} images/s"
    tell({**record, "facts": result.facts[0]}, json, [f"wrote {n} images and grid.png to {place} ({rate})", f"see {place / 'grid.png'}"])
