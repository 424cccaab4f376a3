"""inkwash draw."""

from pathlib import Path
from typing import Any

from inkwash.cli.common import pairs, progress, size_of, tell, user_code
from inkwash.cli.sample import deliver
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.files import make_folder
from inkwash.core.model import OnStep
from inkwash.data.decode import SUFFIXES
from inkwash.inference.captions import looked
from inkwash.inference.judge import aligner, best
from inkwash.inference.maps import word_maps
from inkwash.inference.pictures import grid, save_png
from inkwash.inference.runner import Request, Result, Runner

SUFFIX = ".png"


def run(
    prompt: str, model: str, out: str, n: int, seed: int, size: str | None, named: dict[str, Any], options: list[str], how: dict[str, Any]
) -> None:
    """One picture into a file, or into a folder with the others and a grid."""
    user_code(how["code"])
    place, runner = Path(out), Runner(how["device"], how["precision"], how["download"])
    if place.suffix.lower() in SUFFIXES and place.suffix.lower() != SUFFIX:
        raise ConfigError(f"Results are PNG files, which lose nothing: write --out {place.with_suffix(SUFFIX)}.")
    if place.suffix.lower() == SUFFIX and n > 1:
        raise FileError(f"{n} pictures do not fit into one file: name a folder with --out.")
    request = Request(model=model, n=n, seed=seed, prompt=prompt, size=size_of(size), options={**named, **pairs(options)})
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
        save_png(Path(how["maps"]), looked(image, seen), {"prompt": prompt, "model": runner.model(model).name, "seed": seed})
        note.append(f"see {how['maps']}")
    if place.suffix.lower() != SUFFIX and not how["judge"]:
        return deliver(runner, request, place, how["json"], said, note)
    with progress("drawing") as on_step:
        result = judged(runner, request, how["judge"], how["of"], on_step) if how["judge"] else runner.run([request], on_step)[0]
    if place.suffix.lower() != SUFFIX:
        return written(result, place, how["json"], said, note)
    make_folder(place.parent)
    save_png(place, result.images[0], result.facts[0])
    record = {"wrote": str(place), "images": 1, "seconds": round(result.seconds, 3), "facts": result.facts[0], **said}
    tell(record, how["json"], [*note, f"wrote {place} (seed {result.seeds[0]}, {result.seconds:.1f} s)"])


def judged(runner: Runner, request: Request, judge: str, of: int, on_step: OnStep | None) -> Result:
    """The best drawings of so many times as many, the best first, each with what the judge thinks of it."""
    critic = runner.model(judge)
    aligner(critic)  # or say, before all the drawing, that it is no judge
    (many,) = runner.run([request.model_copy(update={"n": request.n * of})], on_step)
    at, scores = best(critic, many.images, request.prompt, request.n)
    facts = [many.facts[i] | {"judge": critic.name, "fits": round(s, 4)} for i, s in zip(at, scores)]
    return Result(many.images[at], [many.seeds[i] for i in at], [], facts, many.seconds)


def written(result: Result, place: Path, json: bool, said: dict[str, Any], note: list[str]) -> None:
    """A folder of what is there, and a grid."""
    make_folder(place)
    for i, (image, facts) in enumerate(zip(result.images, result.facts)):
        save_png(place / f"{i:05d}.png", image, facts)
    labels = [f"{facts['fits']:.3f}" for facts in result.facts]
    save_png(
        place / "grid.png", grid(result.images, labels=labels), {k: v for k, v in result.facts[0].items() if k not in ("seed", "fits")}
    )
    record = {"wrote": str(place), "grid": str(place / "grid.png"), "images": len(labels), "seconds": round(result.seconds, 3)}
    lines = [*note, f"wrote {len(labels)} images and grid.png to {place} ({result.seconds:.1f} s)", f"see {place / 'grid.png'}"]
    tell({**record, "seeds": result.seeds, "fits": [f["fits"] for f in result.facts], **said}, json, lines)
