"""Grids over settings: up to three axes, each a name and values; a picture for each combination, on labelled sheets. No torch here.

What others call an X/Y/Z plot: columns along x, rows along y, a sheet for each z.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from inkwash.core.config import read_value
from inkwash.core.errors import ConfigError

AXES = ("x", "y", "z")
MOST = 400  # cells
OWN = ("seed", "model", "prompt", "label")  # axes that are a part of the request; any other is an option of the model's own
BAND, GAP, LETTER = 18, 4, 6.6  # pixels: of a line of text, between cells, of a letter's width
INK, PAPER, BLANK = (30, 30, 30), (255, 255, 255), (232, 232, 232)


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


def read_axis(text: str) -> Axis:
    """ "steps=5,10,20", "seed=1-4", "prompt=a cat|a dog": values between commas, texts between bars, whole numbers from - to.

    Raises ConfigError.
    """
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not name:
        raise ConfigError(f"{text!r} is not an axis: write name=value,value,...")
    parts = [p.strip() for p in values.split("|" if name == "prompt" or "|" in values else ",")]
    first, dash, last = parts[0].partition("-")
    if len(parts) == 1 and dash and first.isdecimal() and last.isdecimal():
        if int(last) - int(first) >= MOST:
            raise ConfigError(f"{text!r} has more than {MOST} values.")
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


def cells(axes: Sequence[Axis]) -> list[Cell]:
    """All combinations, sheet by sheet, row by row. Raises ConfigError for no axis, more than three, one twice, and too many cells."""
    if not 1 <= len(axes) <= len(AXES):
        raise ConfigError("A grid has one axis, two or three: --x, --y and --z.")
    if len({a.name for a in axes}) < len(axes):
        raise ConfigError("Two axes of a grid have the same name.")
    count = [len(a.values) for a in axes] + [1] * (len(AXES) - len(axes))
    if count[0] * count[1] * count[2] > MOST:
        raise ConfigError(f"A grid of {' x '.join(map(str, count[: len(axes)]))} cells is too large: at most {MOST}.")
    places = [(x, y, z) for z in range(count[2]) for y in range(count[1]) for x in range(count[0])]
    return [Cell(at, {axis.name: axis.values[i] for axis, i in zip(axes, at)}) for at in places]


def sheets(axes: Sequence[Axis], picture: Callable[[tuple[int, int, int]], Image.Image | None], side: int = 128) -> Iterator[Image.Image]:
    """One labelled sheet for each value of z. picture: of a place, None where there is none yet. side: of a cell, at least."""
    x, y, z = [*axes, *[Axis("", ("",))] * (len(AXES) - len(axes))]
    for k in range(len(z.values)):
        made = {(i, j): picture((i, j, k)) for j in range(len(y.values)) for i in range(len(x.values))}
        yield _sheet(x, y, z.label(k) if z.name else "", made, side)


def stacked(pages: Sequence[Image.Image]) -> Image.Image:
    """Sheets below each other."""
    out = Image.new("RGB", (max(p.width for p in pages), sum(p.height for p in pages)), PAPER)
    top = 0
    for page in pages:
        out.paste(page, (0, top))
        top += page.height
    return out


def _sheet(x: Axis, y: Axis, title: str, made: dict[tuple[int, int], Image.Image | None], side: int) -> Image.Image:
    sizes = [p.size for p in made.values() if p is not None] or [(side, side)]
    width, height = (max(size[i] for size in sizes) for i in (0, 1))
    scale = max(1, -(-side // min(width, height)))
    width, height = width * scale, height * scale
    rows = [y.label(j) if y.name else "" for j in range(len(y.values))]
    left, top = round(max(map(len, rows)) * LETTER) + GAP * bool(y.name), BAND * (1 + bool(title))
    sheet = Image.new("RGB", (left + len(x.values) * (width + GAP) + GAP, top + len(rows) * (height + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    write = lambda place, text: pen.text(place, _plain(text), fill=INK, font=font)  # noqa: E731
    write((GAP, 2), title)
    for i in range(len(x.values)):
        write((left + GAP + i * (width + GAP), top - BAND + 2), x.label(i)[: max(3, round(width / LETTER))])
    for j, row in enumerate(rows):
        write((GAP, top + GAP + j * (height + GAP) + height // 2 - 7), row)
        for i in range(len(x.values)):
            corner = (left + GAP + i * (width + GAP), top + GAP + j * (height + GAP))
            sheet.paste(_fitted(made[i, j], (width, height)), corner)
    return sheet


def _fitted(picture: Image.Image | None, size: tuple[int, int]) -> Image.Image:
    """A picture as large as a cell, on white where it is transparent; grey where there is none."""
    if picture is None:
        return Image.new("RGB", size, BLANK)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*PAPER, 255)), picture)
    whole = size[0] % picture.width == 0 and size[1] % picture.height == 0
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS)


def _plain(text: str) -> str:
    """What Pillow's own font can write: other letters by their numbers."""
    return "".join(c if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)
