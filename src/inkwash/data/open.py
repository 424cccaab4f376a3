"""From what a person typed to a source of data."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from inkwash.core.config import read_value
from inkwash.core.errors import ConfigError, DataError, nearest
from inkwash.data.arrays import digits_source, idx_images, idx_source, npz_source
from inkwash.data.files import FilesSource
from inkwash.data.source import Source
from inkwash.data.stores import ARCHIVES

_WORDS = ("scenes", "digits", "moving")


def open_source(spec: str, split: str | None = None, **options: Any) -> Source:
    """The source that a spec names: `PLACE[:SPLIT][?key=value&...]`.

    PLACE is a folder of images, a zip or tar of one, an .npz, a folder or file in IDX form, a saved Hugging Face data set,
    `hf:NAME_OR_PATH`, `scenes`, `digits` or `moving`. The split is the argument, else the spec's, else train; `all` is everything. Options
    are the source's own settings (`scenes?objects=1&size=32`). Raises DataError, or ConfigError for an option that does not exist.
    """
    place, named, given = parse_spec(spec)
    return _make(_reader(place), place, split or named or "train", given | options)


def open_held_out(spec: str) -> Source:
    """What a model is measured on: the split that the spec names, else test, else val. Raises DataError where nothing is held out."""
    source = open_source(spec)
    if parse_spec(spec)[1]:
        return source
    split = next((s for s in ("test", "val") if s in source.splits), None)
    if split is None:
        raise DataError(f"{spec} has no held-out split: name one that was not learnt from, as {spec}:train.")
    return open_source(spec, split)


def parse_spec(spec: str) -> tuple[str, str | None, dict[str, Any]]:
    """Place, split and options of a spec; a path that exists as it stands is only a place.

    Raises ConfigError for options that are not key=value.
    """
    if _exists(spec):
        return spec, None, {}
    place, split = _cut(spec)
    if split and _exists(place):
        return place, split, {}
    place, _, query = spec.partition("?")
    split = None
    if not _exists(place):
        place, split = _cut(place)
    if query and split is None:
        query, split = _cut(query)  # scenes?size=32:test is understood too
    options = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"The option {pair!r} in {spec!r} has no value: options are written ?key=value&key=value.")
        options[key] = read_value(unquote(value))
    return place, split, options


def _cut(text: str) -> tuple[str, str | None]:
    head, colon, tail = text.rpartition(":")
    drive = len(head) == 1 and head.isalpha() and not _exists(head)  # C:images
    if colon and re.fullmatch(r"\w+", tail) and head not in ("", "hf") and not drive:
        return head, tail
    return text, None


def _exists(place: str) -> bool:
    try:
        return Path(place).expanduser().exists()
    except (OSError, ValueError):
        return False


def _reader(place: str) -> Callable[..., Source]:
    if place.startswith("hf:"):
        from inkwash.data.hf import hf_source

        return hf_source
    path = Path(place).expanduser()
    if not _exists(place):
        if place == "scenes":
            from inkwash.data.scenes import ScenesSource

            return ScenesSource
        if place == "digits":
            return digits_source
        if place == "moving":
            from inkwash.data.moving import moving_source

            return moving_source
        raise DataError(f"There is no data at {place!r}: name a folder, a zip, tar, .npz or IDX file, hf:NAME, {', '.join(_WORDS)}.")
    if path.is_dir():
        if any((path / f).exists() for f in ("dataset_dict.json", "state.json")):
            from inkwash.data.hf import hf_source

            return hf_source
        return idx_source if idx_images(path) else FilesSource
    name = path.name.lower()
    if name.endswith(".npz"):
        return npz_source
    if name.endswith(ARCHIVES):
        return FilesSource
    if idx_images(path):
        return idx_source
    raise DataError(f"{place} is not a form of data that is known: {', '.join((*ARCHIVES, '.npz'))}, IDX or a folder.")


def _make(reader: Callable[..., Source], place: str, split: str, options: dict[str, Any]) -> Source:
    known = {k: p for k, p in inspect.signature(reader).parameters.items() if k not in ("self", "place", "split")}
    for key in options:
        if key not in known:
            raise ConfigError(f"{place} has no option {key!r}; {nearest(key, known)}")
    if "place" in inspect.signature(reader).parameters:
        options = {"place": place, **options}
    return reader(split=split, **options)
