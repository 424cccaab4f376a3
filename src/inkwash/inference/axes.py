"""Grids over settings: up to three axes, each a name and values; a request for each combination. No torch here.

What others call an X/Y/Z plot: columns along x, rows along y, a sheet for each z.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from inkwash.core.errors import ConfigError

AXES = ("x", "y", "z")
MOST = 400  # cells, unless more are allowed
OWN = ("seed", "model", "prompt", "label")  # axes that are a part of the request; any other is an option of the model's own


class Axis(NamedTuple):
    """A setting, and the values that it takes in turn."""

    name: str
    values: tuple[Any, ...]

    def label(self, i: int) -> str:
        return f"{self.name}: {self.values[i]}"


class Cell(NamedTuple):
    """A place in the grid, (x, y, z), and what is asked for there."""

    at: tuple[int, int, int]
    changes: dict[str, Any]


def read_axes(texts: Mapping[str, str | None], most: int = MOST) -> list[Axis]:
    """Axes by the letters that they were given for; None where one is not wanted. Raises ConfigError."""
    given = {key: text for key in AXES if (text := texts.get(key)) is not None}
    check_order(given)
    return [read_axis(text, most) for text in given.values()]


def check_order(keys: Collection[str]) -> None:
    """Raises ConfigError for rows without columns, and sheets without rows: what is meant by them is not known."""
    if set(keys) != set(AXES[: len(keys)]):
        raise ConfigError("A grid has a y only beside an x, and a z only beside both.")


def read_axis(text: str, most: int = MOST) -> Axis:
    """ "steps=5,10,20", "seed=1-4", "prompt=a cat|a dog": values between commas, texts between bars, whole numbers from - to.

    Raises ConfigError.
    """
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    name = "label" if name == "class" else name  # --class, as the command line calls it
    if not equals or not name:
        raise ConfigError(f"{text!r} is not an axis: write name=value,value,...")
    from inkwash.core.config import read_value  # pydantic, which the command line's help does without

    parts = [p.strip() for p in values.split("|" if name == "prompt" or "|" in values else ",")]
    first, dash, last = parts[0].partition("-")
    if len(parts) == 1 and dash and first.isdecimal() and last.isdecimal():
        if int(last) - int(first) >= most:
            raise ConfigError(f"{text!r} has more than {most} values.")
        return check(Axis(name, tuple(range(int(first), int(last) + 1))))
    plain = (lambda p: p) if name in ("model", "prompt", "label") else read_value
    return check(Axis(name, tuple(plain(p) for p in parts if p)))


def check(axis: Axis) -> Axis:
    """The axis. Raises ConfigError for one without values, or with one twice."""
    if not axis.values:
        raise ConfigError(f"The axis {axis.name!r} has no values.")
    if len({repr(v) for v in axis.values}) < len(axis.values):
        raise ConfigError(f"The axis {axis.name!r} has a value twice.")
    if axis.name == "seed" and any(not isinstance(v, int) or isinstance(v, bool) or v < 0 for v in axis.values):
        raise ConfigError("Seeds are whole numbers from 0 on.")
    return axis


def cells(axes: Sequence[Axis], most: int = MOST) -> list[Cell]:
    """All combinations, sheet by sheet, row by row. Raises ConfigError for no axis, more than three, one twice, and too many cells."""
    if not 1 <= len(axes) <= len(AXES):
        raise ConfigError("A grid has one axis, two or three: --x, --y and --z.")
    if len({a.name for a in axes}) < len(axes):
        raise ConfigError("Two axes of a grid have the same name.")
    count = [len(a.values) for a in axes] + [1] * (len(AXES) - len(axes))
    if count[0] * count[1] * count[2] > most:
        raise ConfigError(f"A grid of {' x '.join(map(str, count[: len(axes)]))} cells is too large: at most {most}.")
    places = [(x, y, z) for z in range(count[2]) for y in range(count[1]) for x in range(count[0])]
    return [Cell(at, {axis.name: axis.values[i] for axis, i in zip(axes, at)}) for at in places]
