"""inkwash edit."""

from pathlib import Path
from typing import Any

import torch

from inkwash.cli.common import never_seen, pairs, progress, sides, tell, user_code
from inkwash.core.disk import make_folder
from inkwash.inference.edit import Edit
from inkwash.inference.pictures import grid, save_picture
from inkwash.inference.provenance.read import carried
from inkwash.inference.runner import Runner

IN_GRID = 98


def run(model: str, out: str, wishes: dict[str, Any], extend: str | None, named: dict[str, Any], options: list[str], more: dict) -> None:
    user_code(more["code"])
    place, runner = Path(out), Runner(more["device"], more["precision"], more["download"])
    runner.model(model)
    wishes = {k: v for k, v in wishes.items() if v is not None}
    if extend is not None:
        wishes["extend"] = sides(extend)
    named = {k: v for k, v in named.items() if v is not None}
    order = Edit.parse({**wishes, "options": {**named, **pairs(options)}})
    said, note = never_seen(runner.model(model).name, runner.strange(model, order.prompt, order.options.get("negative")))
    original = carried(order.image, *([order.to] if order.to else []))
    with progress("editing") as on_step:
        result, seen = runner.edit(model, order, on_step)
    make_folder(place)
    for i, (image, facts) in enumerate(zip(result.images, result.facts)):
        save_picture(place / f"{i:05d}.png", image, facts, more["given"], original)
    shown = torch.cat([torch.stack(seen), result.images[:IN_GRID]])
    labels = ["image", "mask"][: len(seen)] + [str(s) for s in result.seeds[:IN_GRID]]
    save_picture(place / "grid.png", grid(shown, labels=labels), {**result.facts[0], "seed": order.seed}, more["given"], original)
    record = {"wrote": str(place), "grid": str(place / "grid.png"), "images": order.n, "seconds": round(result.seconds, 3)}
    lines = [*note, f"wrote {order.n} images and grid.png to {place} ({result.seconds:.1f} s)", f"see {place / 'grid.png'}"]
    tell({**record, **said, "facts": result.facts[0]}, more["json"], lines)
