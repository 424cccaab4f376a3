"""inkwash nearest."""

from pathlib import Path

from inkwash.cli.common import progress, tell
from inkwash.core.disk import make_folder
from inkwash.inference.nearest import beside, nearest_pictures
from inkwash.inference.pictures import save_png


def run(pictures: list[str], data: str, k: int, network: str, out: str, json: bool) -> None:
    """A line for each picture, and one picture of all beside the training pictures that they are most like."""
    with progress("looking") as on_step:
        found = nearest_pictures(pictures, data, k, network, on_step)
    place = Path(out)
    make_folder(place.parent)
    save_png(place, beside(found), {"data": data})
    lines = [f"{f.path}: " + ", ".join(f"{d:.1f} {t or i}" for d, t, i in zip(f.distance, f.text, f.rows)) for f in found]
    rows = [{"picture": str(f.path), "rows": f.rows, "distance": [round(d, 3) for d in f.distance], "text": f.text} for f in found]
    tell({"nearest": rows, "wrote": out}, json, [*lines, f"see {out}"])
