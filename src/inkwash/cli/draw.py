"""inkwash draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inkwash.cli.common import never_seen, pairs, progress, size_of, tell, user_code
from inkwash.cli.pictures import one_file
from inkwash.cli.sample import deliver
from inkwash.core.disk import make_folder
from inkwash.core.errors import FileError
from inkwash.inference.captions import looked
from inkwash.inference.maps import crossings, word_maps
from inkwash.inference.pictures import save_picture
from inkwash.inference.runner import Request, Runner


def run(
    prompt: str, model: str, out: str, n: int, seed: int, size: str | None, named: dict[str, Any], options: list[str], how: dict[str, Any]
) -> None:
    """One picture into a file, or into a folder with the others and a grid."""
    user_code(how["code"])
    place, runner = Path(out), Runner(how["device"], how["precision"], how["download"])
    alone = one_file(place)
    if alone and n > 1:
        raise FileError(f"{n} pictures do not fit into one file: name a folder with --out.")
    chosen = {key: how[key] for key in ("judge", "of", "background")}
    request = Request(model=model, n=n, seed=seed, prompt=prompt, size=size_of(size), options={**named, **pairs(options)}, **chosen)
    said, note = never_seen(runner.model(model).name, runner.unknown(request))
    runner.stream(request)  # what cannot be drawn is refused before anything is written
    show = _maps(runner, request, how) if how["maps"] else lambda facts: []
    said |= {"maps": how["maps"]} if how["maps"] else {}
    if not alone:
        return deliver(runner, request, place, how["json"], how["given"], said, note, show)
    with progress("drawing") as on_step:
        (result,) = runner.run([request], on_step)
    make_folder(place.parent)
    facts = result.facts[0]
    save_picture(place, result.images[0], facts, how["given"])
    if word := facts.get("doubted"):
        note.append(f"{facts['judge']} would not say {word!r} of it: no drawing fits better, of all that were made.")
    record = {"wrote": str(place), "images": 1, "seconds": round(result.seconds, 3), "facts": facts, **said}
    tell(record, how["json"], [*note, f"wrote {place} (seed {result.seeds[0]}, {result.seconds:.1f} s)", *show(facts)])


def _maps(runner: Runner, request: Request, how: dict[str, Any]) -> Callable[[dict[str, Any]], list[str]]:
    """What shows, once the first picture is drawn, where its words were looked up. Raises InkwashError where that cannot be."""
    loaded, place = runner.model(request.model), Path(how["maps"])
    if not one_file(place):
        raise FileError(f"{place} is not the name of a picture: end it in .png.")
    sized = {} if request.size is None else {"size": request.size}
    crossings(loaded, request.options)

    def show(facts: dict[str, Any]) -> list[str]:
        drawn = facts.get("drawn", facts["seed"])
        image, seen = word_maps(loaded, request.prompt, drawn, **request.options, **sized)
        make_folder(place.parent)
        save_picture(place, looked(image, seen), {"prompt": request.prompt, "model": loaded.name, "seed": drawn}, how["given"])
        return [f"see {place}"]

    return show
