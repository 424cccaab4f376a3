"""Writes measured figures into the pages. docs/figures.json is the one place where they live:

    {"demo.seconds": {"value": 412, "unit": "s", "what": "the command and the conditions"}, ...}

    python tools/fill_figures.py [--check]

In a page, what stands between `<!-- fig:KEY -->`, `<!-- table:NAME -->` or `<!-- picture:NAME alt text -->` and its closing marker,
`<!-- /fig -->` and so on, is replaced. A missing figure reads "not measured yet"; a row without any figure and a picture that does
not exist are left out. --check changes nothing and exits with 1 where a page is behind.
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from figure_tables import TABLES

ROOT = Path(__file__).parents[1]
MISSING = {"en": "not measured yet", "zh": "尚未测量"}
MARKER = re.compile(r"(<!-- (fig|table|picture):(\S+)([^>]*?) -->)(.*?)(<!-- /\2 -->)", re.DOTALL)


def language(page: Path) -> str:
    return "zh" if page.parent.name == "zh" or page.name.endswith(".zh.md") else "en"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*/*.md"))]


def read() -> dict[str, dict]:
    path = ROOT / "docs" / "figures.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def shown(figure: dict) -> str:
    """A value as it is read: at most four digits that count, a percent sign where that is the unit."""
    value = figure["value"]
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text + ("%" if figure.get("unit") == "%" else "")


def table(name: str, figures: dict[str, dict], tongue: str) -> str:
    """A table in Markdown, without the rows and columns that hold nothing."""
    title, columns, rows = TABLES[name]
    have = {r: {c: shown(figures[f"{r}.{c}"]) for c in columns if f"{r}.{c}" in figures} for r in rows}
    rows = {r: words for r, words in rows.items() if have[r]}
    columns = {c: words for c, words in columns.items() if any(c in have[r] for r in rows)}
    if not rows:
        return f"\n*{MISSING[tongue]}*\n"
    lines = [[title[tongue], *(words[tongue] for words in columns.values())], ["---", *("---:" for _ in columns)]]
    lines += [[words[tongue], *(have[r].get(c, "–") for c in columns)] for r, words in rows.items()]
    return "\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n\n"


def picture(name: str, alt: str, page: Path) -> str:
    path = ROOT / "docs" / "pictures" / f"{name}.png"
    if not path.is_file():
        return ""
    place = f"docs/pictures/{name}.png" if page.parent == ROOT else f"../pictures/{name}.png"
    return f"\n![{alt.strip()}]({place})\n"


def filled(page: Path, figures: dict[str, dict]) -> str:
    """The page's text with every marker up to date. Raises KeyError for a table that does not exist."""
    tongue = language(page)

    def value(match: re.Match) -> str:
        head, kind, name, alt, _, tail = match.groups()
        if kind == "fig":
            inside = shown(figures[name]) if name in figures else MISSING[tongue]
        else:
            inside = table(name, figures, tongue) if kind == "table" else picture(name, alt, page)
        return head + inside + tail

    return MARKER.sub(value, page.read_text(encoding="utf-8"))


def main() -> None:
    figures, behind = read(), []
    for page in pages():
        text = filled(page, figures)
        if text != page.read_text(encoding="utf-8"):
            behind.append(page)
            if "--check" not in sys.argv:
                page.write_text(text, encoding="utf-8")
    verb = "behind" if "--check" in sys.argv else "wrote"
    print("\n".join(f"{verb}: {p.relative_to(ROOT)}" for p in behind) or "every page is up to date")
    sys.exit(1 if behind and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
