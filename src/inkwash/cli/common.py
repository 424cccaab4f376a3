"""What the verbs share: settings from key=value, progress on the terminal, JSON on one line."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from inkwash.core.config import read_value
from inkwash.core.errors import ConfigError
from inkwash.core.model import OnStep

console = Console(stderr=True, highlight=False)


def pairs(settings: Sequence[str]) -> dict[str, Any]:
    """["a=1", "b.c=x"] to {"a": 1, "b.c": "x"}. Raises ConfigError for one without "="."""
    out = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{text!r} is not a setting: write key=value.")
        out[key.strip()] = read_value(value)
    return out


def sides(text: str) -> list[int]:
    """Pixels at the top, right, bottom and left: "8" for all, "8,0,8,0" for each. Raises ConfigError."""
    parts = [p.strip() for p in text.split(",")]
    if len(parts) not in (1, 4) or not all(p.isascii() and p.isdigit() for p in parts) or not any(map(int, parts)):
        raise ConfigError(f"{text!r} is not a number of pixels to add: write 8, or 8,0,8,0 for the top, right, bottom and left.")
    return [int(p) for p in parts] * (4 // len(parts))


def size_of(text: str | None) -> tuple[int, int] | None:
    """A size in pixels as (height, width): "64" for a square, "96x64" for width x height. Raises ConfigError."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(p.isascii() and p.isdigit() and int(p) for p in parts):
        raise ConfigError(f"{text!r} is not a size: write 64, or 96x64 for width x height.")
    return int(parts[-1]), int(parts[0])


def tell(record: dict[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """Print a result: one line of JSON, or sentences."""
    if as_json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        print("\n".join(lines))
    sys.stdout.flush()


@contextmanager
def progress(what: str) -> Iterator[OnStep]:
    """A bar with an ETA for work whose total is known: yields on_step(done, total)."""
    count = TextColumn("{task.completed:.0f}/{task.total:.0f}")
    columns = (TextColumn(what), BarColumn(), count, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def user_code(path: str | None) -> None:
    """Import a file that the user named, so that classes defined there are found."""
    if path:
        from inkwash.recipes import import_file

        import_file(Path(path))


def never_seen(name: str, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What is told of words that the model of this name does not know, as JSON and as sentences; nothing where there are none."""
    if not words:
        return {}, []
    return {"unknown": words}, [f"{name} has never seen {', '.join(map(repr, words))}: it draws what it makes of the rest."]
