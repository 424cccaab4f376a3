"""What took long to work out, kept on disk for the next time. Nothing needs it: what is damaged or missing is worked out again."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from inkwash.core.disk import make_folder
from inkwash.core.errors import FileError
from inkwash.core.files import load_tensors, save_tensors


def cache_folder(kind: str) -> Path:
    """A folder in INKWASH_CACHE, or in inkwash in the user's cache folder."""
    home = os.environ.get("INKWASH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "inkwash"
    return Path(home) / kind


def recall(kind: str, key: str) -> dict[str, Tensor] | None:
    """What was kept under a key; None where nothing was, or it is damaged."""
    path = cache_folder(kind) / f"{key}.safetensors"
    try:
        return load_tensors(path)[0] if path.is_file() else None
    except FileError:
        return None  # it is written anew


def keep(kind: str, key: str, tensors: Mapping[str, Tensor], note: str = "") -> None:
    """Keep tensors under a key, with a note for whoever looks into the file. Where that fails there is a warning, and no more."""
    path = cache_folder(kind) / f"{key}.safetensors"
    try:
        make_folder(path.parent)
        save_tensors(path, tensors, note)
    except FileError as error:
        warnings.warn(f"{kind} are not kept for next time: {error}", stacklevel=3)
