"""Labelled sheets of a grid: columns along x, rows along y, a sheet for each z. Pillow only, no torch.

A label stands beside its cells where it fits there and the font has its letters. Else all values of that axis are numbered, and a legend
below says what the numbers mean: cut-off prompts look all the same.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from inkwash.inference.axes import AXES, Axis

SIZE, BAND, GAP = 13, 20, 4  # pixels: of letters, of a line of text, between cells
WIDEST, LINES = 150, 6  # pixels of a row's label, lines of one value in the legend
MOST = 32_000_000  # pixels of all cells: 400 large ones would not fit into memory
INK, PAPER, BLANK = (30, 30, 30), (255, 255, 255), (232, 232, 232)
CHINESE = (  # file names that systems come with; Pillow looks for them where fonts lie
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "msyh.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
)
Place = tuple[int, int, int]
Font = ImageFont.FreeTypeFont


class Names(NamedTuple):
    """How an axis is written: a word for each value, and lines for the legend where those are numbers only."""

    words: list[str]
    legend: list[str]


def sheets(axes: Sequence[Axis], picture: Callable[[Place], Image.Image | None], side: int = 128) -> Iterator[Image.Image]:
    """One labelled sheet for each value of z. picture: of a place, None where there is none yet. side: of a cell, at least."""
    x, y, z = [*axes, *[Axis("", ("",))] * (len(AXES) - len(axes))]
    places = [(i, j, k) for k in range(len(z.values)) for j in range(len(y.values)) for i in range(len(x.values))]
    cell = _cell([p.size for at in places if (p := picture(at)) is not None], len(places), side)  # opened, not read: one at a time
    for k in range(len(z.values)):
        yield _sheet(x, y, z, k, cell, picture)


def stacked(pages: Sequence[Image.Image]) -> Image.Image:
    """Sheets below each other."""
    out = Image.new("RGB", (max(p.width for p in pages), sum(p.height for p in pages)), PAPER)
    top = 0
    for page in pages:
        out.paste(page, (0, top))
        top += page.height
    return out


def _cell(sizes: list[tuple[int, int]], count: int, side: int) -> tuple[int, int]:
    """The size of all cells: of the largest picture, small ones enlarged by a whole factor, all reduced where they are too many."""
    width, height = (max((size[i] for size in sizes), default=side) for i in (0, 1))
    scale = max(1, -(-side // min(width, height)))
    width, height = width * scale, height * scale
    shrink = min(1.0, (MOST / (count * width * height)) ** 0.5)
    return max(1, int(width * shrink)), max(1, int(height * shrink))


def _sheet(x: Axis, y: Axis, z: Axis, k: int, cell: tuple[int, int], picture: Callable[[Place], Image.Image | None]) -> Image.Image:
    width, height = cell
    rows, columns = _names(y, WIDEST), _names(x, width)
    left = GAP + max(round(_length(w)) for w in rows.words) + (GAP if y.name else 0)
    total = max(left + len(x.values) * (width + GAP), 2 * WIDEST)
    title = _wrapped(_written(z.label(k)), total - 2 * GAP) if z.name else []
    legend = [line for names in (columns, rows) for text in names.legend for line in _wrapped(text, total - 2 * GAP)]
    head = BAND * len(title)
    foot = head + BAND + len(y.values) * (height + GAP) + GAP
    sheet = Image.new("RGB", (total, foot + BAND * len(legend) + GAP * bool(legend)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, line in enumerate(title):
        _write(pen, (GAP, BAND * i), line)
    for i, word in enumerate(columns.words):
        _write(pen, (left + i * (width + GAP), head), word)
    for j, word in enumerate(rows.words):
        top = head + BAND + j * (height + GAP)
        _write(pen, (GAP, top + (height - BAND) // 2), word)
        for i in range(len(x.values)):
            sheet.paste(_fitted(picture((i, j, k)), cell), (left + i * (width + GAP), top))
    for i, line in enumerate(legend):
        _write(pen, (GAP, foot + BAND * i), line)
    return sheet


def _fitted(picture: Image.Image | None, size: tuple[int, int]) -> Image.Image:
    """A picture in the middle of a cell, in its own shape, on white where it is transparent; grey where there is none."""
    if picture is None:
        return Image.new("RGB", size, BLANK)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*PAPER, 255)), picture)
    factor = min(size[0] / picture.width, size[1] / picture.height)
    own = tuple(max(1, round(side * factor)) for side in picture.size)
    made = picture.convert("RGB").resize(own, Image.Resampling.NEAREST if factor.is_integer() else Image.Resampling.LANCZOS)
    if own == size:
        return made
    cell = Image.new("RGB", size, PAPER)
    cell.paste(made, ((size[0] - own[0]) // 2, (size[1] - own[1]) // 2))
    return cell


# ---- words


def _names(axis: Axis, width: int) -> Names:
    """An axis as its labels where all of them fit, as bare values under those that do not, else as numbers with a legend."""
    if not axis.name:
        return Names([""] * len(axis.values), [])
    values = [_written(str(v)) for v in axis.values]
    whole = [_written(axis.label(i)) for i in range(len(axis.values))]
    for words in (whole, [w if i == 0 else v for i, (w, v) in enumerate(zip(whole, values))]):
        if all(_length(w) <= width for w in words):
            return Names(words, [])
    numbers = [str(i + 1) for i in range(len(values))]
    named = [f"{_written(axis.name)} {n}" for n in numbers]
    words = named if all(_length(w) <= width for w in named) else numbers
    return Names(words, [f"{name}: {value}" for name, value in zip(named, values)])


def _wrapped(text: str, width: int) -> list[str]:
    """Lines no wider than that, broken at a space where there is one, at most LINES of them."""
    lines = []
    while text and len(lines) < LINES:
        n = min(len(text), max(1, width // 2))  # no letter is narrower than two pixels
        while n > 1 and _length(text[:n]) > width:
            n = min(n - 1, max(1, round(n * width / _length(text[:n]))))
        space = text.rfind(" ", 1, n) if n < len(text) else -1
        n = space if space > 0 else n
        lines.append(text[:n].strip())
        text = text[n:].strip()
    return [*lines[:-1], lines[-1][:-3] + "..."] if text else lines


def _written(text: str) -> str:
    """What some font can write on one line: other letters by their numbers."""
    text = " ".join(text[:2000].split())
    font = _font(text)
    return "".join(c if _has(font, c) else c.encode("unicode_escape").decode() for c in text)


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str) -> None:
    pen.text((place[0], place[1] + 2), text, fill=INK, font=_font(text))


def _length(text: str) -> float:
    return _font(text).getlength(text)


def _font(text: str) -> Font:
    """Pillow's own where it has the letters; else the first font for Chinese that is there."""
    own = _own()
    return own if all(_has(own, c) for c in text) else _chinese() or own


@cache
def _own() -> Font:
    return ImageFont.load_default(SIZE)


@cache
def _chinese() -> Font | None:
    for name in CHINESE:
        try:
            return ImageFont.truetype(name, SIZE)
        except OSError:
            continue  # not on this machine
    return None


@cache
def _has(font: Font, letter: str) -> bool:
    """Whether the font has a letter: what it lacks, it draws as it draws what is no letter at all."""
    return letter.isprintable() and (letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff")))
