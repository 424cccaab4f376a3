"""inkwash grid."""

import hashlib
import json as jsonlib
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer

from inkwash.cli.flags import Device, Guidance, Json, Out, OwnOption, PrecisionName, Solver, Steps, labelled, said
from inkwash.inference.axes import MOST

AXIS = (
    "An axis as name=value,value: seed=1-4, steps=5,10, guidance=1,3, model=A,B, class=a,b, 'prompt=a|b', or an option of the model's own."
)


@labelled
def grid(
    prompt: Annotated[str | None, typer.Argument(help="What to draw, for models that read.", show_default=False)] = None,
    x: Annotated[str | None, typer.Option("--x", help=AXIS, show_default=False)] = None,
    y: Annotated[str | None, typer.Option("--y", help="Another one, for the rows.", show_default=False)] = None,
    z: Annotated[str | None, typer.Option("--z", help="Another one: a sheet for each value.", show_default=False)] = None,
    model: Annotated[str, typer.Option("--model", help="A model by name, or a run.")] = "scenes-64",
    label: Annotated[str | None, typer.Option("--class", help="A class, for models that have them.", show_default=False)] = None,
    seed: Annotated[int, typer.Option("--seed", help="The seed of every cell, unless an axis says another.")] = 0,
    out: Out = "grid",
    negative: Annotated[str | None, typer.Option("--negative", help="What not to draw.", show_default=False)] = None,
    of: Annotated[int | None, typer.Option("--of", min=1, help="Of how many drawings a judge keeps one.", show_default=False)] = None,
    solver: Solver = None,
    steps: Steps = None,
    guidance: Guidance = None,
    option: OwnOption = None,
    precision: PrecisionName = "auto",
    device: Device = "auto",
    json: Json = False,
    most: Annotated[int, typer.Option("--most", min=1, help="How many cells a grid may have.")] = MOST,
    given: Any = None,
) -> None:
    """Draw a picture for each combination of settings, on labelled sheets. Run again, it goes on where it was."""
    from inkwash.cli.common import pairs

    options = {**said(negative=negative, solver=solver, steps=steps, guidance=guidance), **pairs(option or [])}
    asked = {"model": model, "prompt": prompt, "label": label, "seed": seed, "of": of, "options": options}
    run(asked, {"x": x, "y": y, "z": z}, most, Path(out), {"precision": precision, "device": device}, json, given)


def run(asked: dict[str, Any], texts: dict[str, str | None], most: int, out: Path, how: dict[str, Any], json: bool, given: Any) -> None:
    """Each cell's file as it is made, then the sheets."""
    from inkwash.cli.common import progress, tell
    from inkwash.core.disk import make_folder
    from inkwash.inference.axes import cells, read_axes
    from inkwash.inference.pictures import save_picture
    from inkwash.inference.runner import Request, Runner

    axes = read_axes(texts, most)
    places, runner = cells(axes, most), Runner(**how)
    requests = {cell.at: Request.parse(changed(asked, cell.changes)) for cell in places}
    for request in requests.values():
        runner.stream(request)  # what cannot be drawn is refused before anything is written
    known = _known(out)
    weights = {name: _weights(runner.model(name).path) for name in {r.model for r in requests.values()}}
    digests = {at: digest(request, given, weights[request.model]) for at, request in requests.items()}
    files = {at: out / "cells" / f"{'-'.join(map(str, at))}.png" for at in requests}
    left = [at for at in requests if known["cells"].get(files[at].name) != digests[at] or not _whole(files[at])]
    make_folder(out / "cells")
    with progress("drawing") as on_step:
        for k, at in enumerate(left):
            (result,) = runner.run([requests[at]])
            save_picture(files[at], result.images[0], result.facts[0], given)
            known["cells"][files[at].name] = digests[at]
            _note(out, known)
            on_step(k + 1, len(left))
    models = ", ".join(dict.fromkeys(runner.model(r.model).name for r in requests.values()))
    _show(out, axes, files, known, {"model": models, "axes": {a.name: list(a.values) for a in axes}}, given)
    record = {"wrote": str(out), "grid": str(out / "grid.png"), "cells": len(places), "made": len(left)}
    already = f", {len(places) - len(left)} were there already" if len(left) < len(places) else ""
    tell(record, json, [f"drew {len(left)} of {len(places)} cells{already}", f"see {out / 'grid.png'}"])


def _show(out: Path, axes: list[Any], files: dict[Any, Path], known: dict[str, Any], facts: dict[str, Any], given: Any) -> None:
    """The sheets, one by one where there are several, and all in one; those of a larger grid that stood here go."""
    from PIL import Image

    from inkwash.inference.pictures import save_picture
    from inkwash.inference.sheets import sheets, stacked

    pages = list(sheets(axes, lambda at: Image.open(files[at])))
    named = {f"sheet-{k}.png": page for k, page in enumerate(pages if len(pages) > 1 else [])}
    for name, page in named.items():
        save_picture(out / name, page, facts, given)
    save_picture(out / "grid.png", stacked(pages), facts, given)
    for name in set(known["sheets"]) - set(named):
        (out / Path(name).name).unlink(missing_ok=True)
    _note(out, known | {"sheets": list(named)})


def changed(asked: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A request with the changes of a cell."""
    from inkwash.inference.axes import OWN

    own = {k: v for k, v in changes.items() if k in OWN}
    return {**asked, **own, "options": {**asked["options"], **{k: v for k, v in changes.items() if k not in OWN}}}


def digest(request: Any, given: Any, weights: list[Any]) -> str:
    """What is asked for, of which weights, as a short word: another request has another one, and a model that was trained on too."""
    told = [request.model_dump(mode="json"), given.model_dump(mode="json"), weights]
    return hashlib.sha256(jsonlib.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _weights(folder: Path) -> list[Any]:
    """When a model's weights were written, and how many bytes they are."""
    found = [(str(p.relative_to(folder)), p.stat()) for p in sorted(folder.rglob("*.safetensors"))]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in found]


def _whole(path: Path) -> bool:
    """Whether a picture is there and can be read to its end."""
    from PIL import Image

    try:
        data = path.read_bytes()
        with Image.open(BytesIO(data)) as picture:
            picture.load()  # which forgives a PNG whose end is missing
    except (OSError, SyntaxError, ValueError):  # not there, or cut off
        return False
    return data.endswith(b"IEND\xaeB`\x82")


def _known(out: Path) -> dict[str, Any]:
    """cells: of each cell's file, what it was asked for. sheets: files that were written. Nothing where the folder is new."""
    from inkwash.core.disk import read_json

    place = out / "cells.json"
    return {"cells": {}, "sheets": []} | (read_json(place) if place.is_file() else {})


def _note(out: Path, known: dict[str, Any]) -> None:
    from inkwash.core.disk import write_text

    write_text(out / "cells.json", jsonlib.dumps(known, indent=1))
