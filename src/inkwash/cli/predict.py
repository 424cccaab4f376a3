"""inkwash predict."""

from pathlib import Path

import torch

from inkwash.cli.common import tell, user_code
from inkwash.core.disk import make_folder
from inkwash.data.decode import SUFFIXES
from inkwash.inference.clips import Forecast, forecast
from inkwash.inference.load import load
from inkwash.inference.pictures import grid, save_gif, save_picture
from inkwash.inference.provenance.read import carried
from inkwash.inference.provenance.write import NOTHING_MORE, Provenance


def run(model: str, frames: str, n: int, futures: int, seed: int, out: str, rate: float, device: str, code: str | None, json: bool,
        given: Provenance = NOTHING_MORE) -> None:  # fmt: skip
    """New frames as PNG, the clip with them as GIF, and all frames in one picture: known ones in the first row, then one row a future."""
    user_code(code)
    order = Forecast(frames=frames, n=n, futures=futures, seed=seed)
    loaded, place = load(model, device), Path(out)
    known, made = forecast(loaded, order)
    facts = {"model": loaded.name, "edit": "predict", "of": Path(frames).name, "known": len(known), "seed": seed}
    clip = Path(frames)
    original = carried(*map(str, [clip] if clip.is_file() else sorted(p for p in clip.iterdir() if p.suffix.lower() in SUFFIXES)))
    make_folder(place)
    wrote = []
    for k, future in enumerate(made):
        folder = place / f"future-{k:02d}" if futures > 1 else place
        make_folder(folder)
        for i, frame in enumerate(future):
            told = facts | {"seed": seed + k, "frame": len(known) + i}
            save_picture(folder / f"{len(known) + i:05d}.png", frame, told, given, original)
        save_gif(folder / "clip.gif", torch.cat([known, future]), rate)
        wrote.append(str(folder / "clip.gif"))
    columns = max(len(known), n)
    rows = [known, *made]
    padded = [torch.cat([row, torch.ones(columns - len(row), *known.shape[1:])]) for row in rows]
    save_picture(place / "grid.png", grid(torch.cat(padded), columns), facts, given, original)
    lines = [f"{len(known)} frames known, {n} made", *(f"wrote {w}" for w in wrote), f"see {place / 'grid.png'}"]
    tell({"wrote": wrote, "grid": str(place / "grid.png"), "facts": facts, "frames": n}, json, lines)
