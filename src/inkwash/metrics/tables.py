"""A measured number that carries what it was measured with, and tables that refuse to mix measures."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from inkwash.core.errors import InkwashError
from inkwash.metrics.likelihood import TAGS, Tag


@dataclass(frozen=True)
class Figure:
    """One number. n: images it was measured on; spread: standard deviation over subsets or seeds; extractor: id of the
    feature network; reference: what it was measured against; tag: kind of likelihood. None where there is no such thing."""

    name: str
    value: float
    n: int
    spread: float | None = None
    extractor: str | None = None
    reference: str | None = None
    tag: Tag | None = None

    def __post_init__(self):
        if self.tag is not None and self.tag not in TAGS:
            raise InkwashError(f"unknown kind of likelihood {self.tag!r}; known: {', '.join(TAGS)}.")

    def __str__(self):
        spread = "" if self.spread is None else f" ± {self.spread:.2g}"
        return f"{self.value:.4g}{spread}{f' ({self.tag})' if self.tag else ''}"


def share(name: str, values: Sequence[bool], reference: str) -> Figure:
    """How many of some answers are right, with its standard error as the spread."""
    p, n = sum(values) / len(values), len(values)
    return Figure(name, p, n, (p * (1 - p) / n) ** 0.5, None, reference)


def check_comparable(a: Figure, b: Figure) -> None:
    """Raises InkwashError unless a - b means something: one measure, extractor and reference, no density with others."""
    for what in ("name", "extractor", "reference"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            raise InkwashError(f"{a.name} of different {what}s cannot be compared: {one!r} and {other!r}.")
    if (a.tag == "density") != (b.tag == "density"):
        raise InkwashError(f"{a.name} of a density and of an image with levels have different units, so cannot be compared.")


def difference(a: Figure, b: Figure) -> float:
    """a - b, for figures that may be compared; raises InkwashError for others."""
    check_comparable(a, b)
    return a.value - b.value


@dataclass
class Table:
    """Rows of figures under a title, one column a measure. Figures of one column must be comparable."""

    title: str
    rows: dict[str, dict[str, Figure]] = field(default_factory=dict)

    def add(self, row: str, *figures: Figure) -> "Table":
        """Adds figures to a row; raises InkwashError where one does not compare with its column."""
        for figure in figures:
            for cells in self.rows.values():
                if figure.name in cells:
                    check_comparable(cells[figure.name], figure)
        self.rows.setdefault(row, {}).update({f.name: f for f in figures})
        return self

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for cells in self.rows.values() for name in cells))

    def text(self) -> str:
        """The table in plain aligned text, with the image counts; extractors and references stand below."""
        figures = [f for cells in self.rows.values() for f in cells.values()]
        lines = [["", "images", *self.columns]]
        for row, cells in self.rows.items():
            images = "/".join(str(n) for n in sorted({f.n for f in cells.values()}))
            lines.append([row, images, *(str(cells.get(c, "-")) for c in self.columns)])
        width = [max(map(len, column)) for column in zip(*lines)]
        out = [self.title]
        for first, *rest in lines:
            out.append("  ".join([first.ljust(width[0]), *(cell.rjust(w) for cell, w in zip(rest, width[1:]))]))
        for what in ("extractor", "reference"):
            ids = dict.fromkeys(getattr(f, what) for f in figures if getattr(f, what))
            out += [f"{what}: {', '.join(ids)}"] if ids else []
        return "\n".join(out)

    def records(self) -> list[dict]:
        """One dict a figure, for JSON; a value that is not finite, as the PSNR of equal images, is null."""
        every = [{"row": row, **asdict(f)} for row, cells in self.rows.items() for f in cells.values()]
        return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in r.items()} for r in every]
