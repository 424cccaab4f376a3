"""inkwash interpolate and inkwash arithmetic."""

from pathlib import Path

import torch
from torch import Tensor

from inkwash.cli.common import progress, tell, user_code
from inkwash.cli.pictures import places
from inkwash.core.disk import make_folder
from inkwash.core.errors import ConfigError
from inkwash.inference.latents import Sum, Walk, arithmetic, traverse
from inkwash.inference.latents import interpolate as interpolated
from inkwash.inference.load import Loaded, load
from inkwash.inference.pictures import grid, save_picture
from inkwash.inference.provenance.read import Traces, carried


def opened(model: str, device: str, code: str | None) -> Loaded:
    user_code(code)
    return load(model, device, "fp32")


def interpolate(model: str, start: str, to: str | None, dims: int, n: int, how: str, label: str | None, out: str, more: dict) -> None:
    """Pictures between two, or along single numbers of one."""
    if (to is None) == (dims == 0):
        raise ConfigError("Name another picture with --to, or how many latent numbers to go along with --dims.")
    loaded, place = opened(model, more["device"], more["code"]), Path(out)
    if to is None:
        images, columns = traverse(loaded, start, dims, n, label=label), n
    else:
        order = Walk.parse({"image": start, "to": to, "n": n, "how": how, "label": label})
        images, columns = interpolated(loaded, order), None
    facts = {
        "model": loaded.name,
        "edit": "interpolate",
        "of": Path(start).name,
        **({"to": Path(to).name, "how": how} if to else {"dims": dims}),
    }
    make_folder(place)
    original = carried(start, *([to] if to else []))
    for i, image in enumerate(images):
        save_picture(place / f"{i:05d}.png", image, facts | {"step": i}, more["given"], original)
    _finish(images, columns, place / "grid.png", facts, original, more)


def sums(model: str, plus: str, minus: str, on: str, amount: float, label: str | None, out: str, more: dict) -> None:
    """A picture plus the difference of two folders."""
    (place,) = places([on], out)
    loaded = opened(model, more["device"], more["code"])
    order = Sum.parse({"image": on, "plus": plus, "minus": minus, "amount": amount, "label": label})
    with progress("looking at the folders") as on_step:
        made, _ = arithmetic(loaded, order, on_step)
    make_folder(place.parent)
    facts = {
        "model": loaded.name,
        "edit": "arithmetic",
        "of": Path(on).name,
        "plus": Path(plus).name,
        "minus": Path(minus).name,
        "amount": amount,
    }
    save_picture(place, made[0], facts, more["given"], carried(on))
    tell({"wrote": str(place), "facts": facts}, more["json"], [f"wrote {place}"])


def _finish(images: Tensor, columns: int | None, path: Path, facts: dict, original: Traces, more: dict) -> None:
    count = len(images)
    save_picture(path, grid(torch.as_tensor(images), columns), facts, more["given"], original)
    tell(
        {"wrote": str(path.parent), "grid": str(path), "images": count, "facts": facts},
        more["json"],
        [f"wrote {count} images to {path.parent}", f"see {path}"],
    )
