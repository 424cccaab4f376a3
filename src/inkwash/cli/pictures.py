"""inkwash upscale and inkwash translate: files in, files out."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from inkwash.cli.common import progress, tell
from inkwash.core.disk import make_folder
from inkwash.core.errors import ConfigError
from inkwash.core.model import OnStep
from inkwash.data.decode import SUFFIXES, opened
from inkwash.inference.interpolation import METHODS
from inkwash.inference.load import load
from inkwash.inference.pictures import save_picture
from inkwash.inference.provenance.read import carried
from inkwash.inference.provenance.write import FORMATS, NOTHING_MORE, Provenance
from inkwash.inference.upscale import TILE, enlarge
from inkwash.inference.upscale import translate as translated
from inkwash.inference.upscale import upscale as upscaled


def one_file(place: Path) -> bool:
    """Whether a place is a file for one picture rather than a folder. Raises ConfigError for a format that is not written."""
    suffix = place.suffix.lower()
    if suffix in SUFFIXES and suffix not in FORMATS:
        raise ConfigError(f"Results are PNG, JPEG or WebP files; PNG loses nothing: write --out {place.with_suffix('.png')}.")
    return suffix in FORMATS


def places(pictures: Sequence[str], out: str) -> list[Path]:
    """Where each result goes: the file named, or PNG files of the same names in the folder named. Raises ConfigError."""
    place = Path(out)
    if one_file(place):
        if len(pictures) > 1:
            raise ConfigError(f"{len(pictures)} pictures do not go into one file: name a folder with --out.")
        return [place]
    names = [f"{Path(p).stem}.png" for p in pictures]
    if len(set(names)) < len(names):
        raise ConfigError("Two of the pictures have the same name: enlarge them into different folders.")
    return [place / name for name in names]


def tile_of(text: str, usual: int) -> int:
    """A number of pixels, or auto. Raises ConfigError."""
    if text == "auto":
        return usual
    if not text.isascii() or not text.isdigit() or int(text) < 16:
        raise ConfigError(f"{text!r} is not a tile: write auto, or a number of pixels from 16 on.")
    return int(text)


def work(
    pictures: Sequence[str],
    out: str,
    f: Callable[[np.ndarray, OnStep], np.ndarray],
    facts: dict,
    what: str,
    json: bool,
    given: Provenance = NOTHING_MORE,
) -> None:
    """Each picture through f, on disk as soon as it is done."""
    targets, start = places(pictures, out), time.perf_counter()
    for picture, target in zip(pictures, targets):
        pixels, original = opened(picture), carried(picture)
        with progress(f"{what} {Path(picture).name}") as on_step:
            made = f(pixels, on_step)
        make_folder(target.parent)
        image = Image.fromarray(made[..., 0] if made.shape[-1] == 1 else made)
        told = facts | {"of": Path(picture).name, "size": f"{made.shape[1]}x{made.shape[0]}"}
        save_picture(target, image, told, given, original)
    seconds = time.perf_counter() - start
    files = [str(t) for t in targets]
    tell({"wrote": files, "seconds": round(seconds, 3), **facts}, json, [f"wrote {f}" for f in files] + [f"{seconds:.1f} s"])


def upscale(pictures: Sequence[str], out: str, scale: int, model: str, tile: str, device: str, json: bool, download: bool = False,
            prompt: str | None = None, steps: int | None = None, given: Provenance = NOTHING_MORE) -> None:  # fmt: skip
    """Files larger by a model's run, or by interpolation. prompt, steps: for pipelines of diffusers."""
    side = tile_of(tile, TILE)
    facts = {"model": model, "edit": "upscale", "scale": scale}
    places(pictures, out)  # before a model is loaded
    if model in METHODS:
        facts["edit"] = "resize"  # which is no work of an AI
        work(pictures, out, lambda pixels, on_step: enlarge(pixels, scale, model), facts, "enlarging", json, given)
        return
    loaded = load(model, device, download=download)
    for name, value in (("prompt", prompt), ("steps", steps)):
        if value is not None and not hasattr(loaded.model, name):
            raise ConfigError(f"--{name} is for pipelines of diffusers: {loaded.name} is a {loaded.kind!r} model.")
        if value is not None:
            setattr(loaded.model, name, value)
    work(pictures, out, lambda pixels, on_step: upscaled(loaded, pixels, scale, side, on_step), facts, "enlarging", json, given)


def translate(
    model: str, pictures: Sequence[str], out: str, to: str | None, tile: str, device: str, json: bool, given: Provenance = NOTHING_MORE
) -> None:
    """Files as a model's run makes others of them."""
    side = tile_of(tile, 0)
    places(pictures, out)
    loaded = load(model, device)
    facts = {"model": loaded.name, "edit": "translate", **({"to": to} if to else {})}
    work(pictures, out, lambda pixels, on_step: translated(loaded, pixels, to, side, on_step), facts, "translating", json, given)
