"""inkwash caption."""

from pathlib import Path
from typing import Any

from inkwash.cli.common import pairs, tell, user_code
from inkwash.core.disk import make_folder
from inkwash.core.errors import ConfigError
from inkwash.inference.captions import describe, looked, writer_of
from inkwash.inference.load import load
from inkwash.inference.pictures import save_picture
from inkwash.inference.provenance.read import carried


def run(
    pictures: list[str], model: str, maps: str | None, seed: int, named: dict[str, Any], options: list[str], how: dict[str, Any]
) -> None:
    """A line for each picture; with maps, a picture for each of where the model looked, word by word."""
    user_code(how["code"])
    loaded = load(model, how["device"], download=how["download"])
    if maps is not None and writer_of(loaded).any_size:
        raise ConfigError(f"{loaded.name} does not tell where it looked: leave out --maps.")
    found = describe(loaded, pictures, seed, {**named, **pairs(options)})
    wrote = []
    if maps is not None:
        place = Path(maps)
        make_folder(place.parent if len(found) == 1 and place.suffix == ".png" else place)
        for i, (path, (x, written)) in enumerate(zip(pictures, found)):
            file = place if len(found) == 1 and place.suffix == ".png" else place / f"{i:05d}-{Path(path).stem}.png"
            told = {"prompt": written.text, "model": loaded.name, "of": Path(path).name}
            save_picture(file, looked(x, written), told, original=carried(path))
            wrote.append(str(file))
    rows = [
        {"picture": path, "text": w.text, "words": list(w.words), "nats": w.nats and round(w.nats, 4)}
        for path, (_, w) in zip(pictures, found)
    ]
    lines = [w.text if len(found) == 1 else f"{path}: {w.text}" for path, (_, w) in zip(pictures, found)]
    tell({"captions": rows, "wrote": wrote}, how["json"], [*lines, *(f"see {w}" for w in wrote)])
