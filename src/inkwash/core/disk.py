"""Files and folders, all or nothing: whoever reads finds the old one or the new one, whenever a process dies or a disk fills up."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inkwash.core.errors import FileError


def _sync_folder(path: Path) -> None:
    """Flush a folder's names to the disk: a rename is not on it before that."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes, sync: bool = True) -> None:
    """Write to a temporary name beside `path`, flush to the disk, rename over it. Raises FileError where the disk is full.

    sync: wait until the disk has it (5 to 50 ms): for what cannot be made again.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
            if sync:
                f.flush()
                os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileError(f"Cannot write {path}: {error.strerror or error}; what was there before is kept.") from None


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises FileError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot make the folder {path}: {error.strerror or error}.") from None


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder anew: fill(temporary) beside it, then swap. The old folder goes only once the new one has its name.

    A crash between the two renames leaves the old folder under its other name: `settle_folder` puts it back. Raises FileError
    where the disk refuses, and the old folder stays.
    """
    fresh, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        fill(fresh)
        _sync_folder(fresh)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(fresh, path)
        _sync_folder(path.parent)
    except OSError as error:
        settle_folder(path)
        raise FileError(f"Cannot write {path}: {error.strerror or error}; what was there before is kept.") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def settle_folder(path: Path) -> None:
    """Put the old folder back where a crash came between the two renames of `replace_folder`. Only for who writes `path`."""
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        os.replace(old, path)


def standing(path: Path) -> Path:
    """The folder to read: `path`, or what a crash inside `replace_folder` left in its place. Changes nothing."""
    old = path.with_name(f".{path.name}.old")
    return old if old.exists() and not path.exists() else path


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises FileError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} is damaged: {error}.") from None
