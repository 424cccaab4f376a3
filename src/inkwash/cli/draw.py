"""inkwash draw."""

from pathlib import Path
from typing import Any

from inkwash.cli.common import pairs, progress, size_of, tell, user_code
from inkwash.cli.pictures import one_file
from inkwash.cli.sample import deliver
from inkwash.core.disk import make_folder
from inkwash.core.errors import FileError
from inkwash.inference.captions import looked
from inkwash.inference.maps import word_maps
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
    if unknown := runner.unknown(request):
        said = {"unknown": unknown}
        note = [f"{runner.model(model).name} has never seen {', '.join(map(repr, unknown))}: it draws what it makes of the rest."]
    else:
        said, note = {}, []
    runner.stream(request)  # what cannot be drawn is refused before anything is written
    if how["maps"]:
        sized = {} if request.size is None else {"size": request.size}
        image, seen = word_maps(runner.model(model), prompt, seed, **request.options, **sized)
        make_folder(Path(how["maps"]).parent)
        told = {"prompt": prompt, "model": runner.model(model).name, "seed": seed}
        save_picture(Path(how["maps"]), looked(image, seen), told, how["given"])
        note.append(f"see {how['maps']}")
    if not alone:
        return deliver(runner, request, place, how["json"], how["given"], said, note)
    with progress("drawing") as on_step:
        (result,) = runner.run([request], on_step)
    make_folder(place.parent)
    save_picture(place, result.images[0], result.facts[0], how["given"])
    if word := result.facts[0].get("doubted"):
        note.append(f"{result.facts[0]['judge']} would not say {word!r} of it: no drawing fits better, of all that were made.")
    record = {"wrote": str(place), "images": 1, "seconds": round(result.seconds, 3), "facts": result.facts[0], **said}
    tell(record, how["json"], [*note, f"wrote {place} (seed {result.seeds[0]}, {result.seconds:.1f} s)"])
