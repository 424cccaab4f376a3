"""From a job to its pictures and texts: one function for each kind of job, and what happens to a picture on its way to the disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from inkwash.core.device import choose_device
from inkwash.core.model import OnStep
from inkwash.data.decode import as_rgb, opened
from inkwash.inference.captions import describe
from inkwash.inference.edit import Edit
from inkwash.inference.interpolation import METHODS
from inkwash.inference.pictures import to_pil
from inkwash.inference.provenance.read import Traces, carried
from inkwash.inference.provenance.write import ENHANCED, Provenance, encode, source_of
from inkwash.inference.runner import Request, Runner
from inkwash.inference.style import StyleOptions, transfer
from inkwash.inference.upscale import enlarge, upscale
from inkwash.metrics.features.catalog import perceptual
from inkwash.server.queue import Job
from inkwash.server.store import Store


class Made(NamedTuple):
    """Pictures with what goes into their files, and texts."""

    pictures: list[Image.Image]
    facts: list[dict[str, Any]]
    texts: list[str] = []
    original: Traces | None = None  # of what was edited


def generate(runner: Runner, store: Store, jobs: list[Job], on_step: OnStep) -> list[Made]:
    """Jobs that are alike."""
    results = runner.together([Request.parse(job.payload["request"]) for job in jobs], on_step)
    return [Made([to_pil(x) for x in r.images], r.facts) for r in results]


def edit(runner: Runner, store: Store, jobs: list[Job], on_step: OnStep) -> list[Made]:
    """One job: pictures made of a picture."""
    (job,) = jobs
    order = dict(job.payload["edit"])
    for name in ("image", "mask"):
        if order.get(name):
            order[name] = str(_upload(store, order[name]))
    result, _ = runner.edit(job.payload["path"], Edit.parse(order), on_step)
    facts = [{k: v for k, v in f.items() if k not in ("of", "mask")} for f in result.facts]  # the names of uploads say nothing
    return [Made([to_pil(x) for x in result.images], facts, original=carried(order["image"]))]


def caption(runner: Runner, store: Store, jobs: list[Job], on_step: OnStep) -> list[Made]:
    """One job: what is in a picture."""
    (job,) = jobs
    place, asked = _upload(store, job.payload["image"]), job.payload
    ((_, written),) = describe(runner.model(asked["path"]), [str(place)], asked["seed"], asked["options"])
    return [Made([], [], [written.text])]


def enlarged(runner: Runner, store: Store, jobs: list[Job], on_step: OnStep) -> list[Made]:
    """One job: a picture made larger, by a model or by interpolation."""
    (job,) = jobs
    place, asked = str(_upload(store, job.payload["image"])), job.payload
    if asked["path"] in METHODS:
        made, kind = enlarge(opened(place), asked["scale"], asked["path"]), "resize"
    else:
        made, kind = upscale(runner.model(asked["path"]), opened(place), asked["scale"], on_step=on_step), "upscale"
    picture = Image.fromarray(made[..., 0] if made.shape[-1] == 1 else made)
    return [Made([picture], [{"model": job.model, "edit": kind, "scale": asked["scale"]}], original=carried(place))]


def style(runner: Runner, store: Store, jobs: list[Job], on_step: OnStep) -> list[Made]:
    """One job: a photograph in the style of a painting."""
    (job,) = jobs
    places = [str(_upload(store, job.payload[name])) for name in ("image", "style")]
    photo, painting = (as_rgb(opened(place)) for place in places)
    options = StyleOptions().override(job.payload["options"])
    device = choose_device(runner.device)
    seer = perceptual("own").to(device)
    made, _ = transfer(seer, photo.to(device), painting.to(device), options, on_step)
    facts = {"edit": "style", "network": seer.id, **options.model_dump()}
    return [Made([to_pil(made[0].cpu())], [facts], original=carried(*places))]


MAKERS: dict[str, Callable[[Runner, Store, list[Job], OnStep], list[Made]]] = {
    "generate": generate,
    "edit": edit,
    "caption": caption,
    "upscale": enlarged,
    "style": style,
}


def deliver(payload: dict[str, Any], made: Made, store: Store, given: Provenance) -> dict[str, Any]:
    """Pictures of the size and format that were asked for, on disk; what a client is told of them."""
    told, kind = [], payload.get("format", "png")
    before = made.original and replace(made.original, source=payload.get("source"))
    for picture, facts in zip(made.pictures, made.facts):
        own = picture.size
        picture = _sized(picture, payload.get("scaled_to"))
        facts = facts | ({"scaled": f"{own[0]}x{own[1]}"} if picture.size != own else {})
        nothing_new = source_of(facts, before) == ENHANCED  # of what is no AI's work, interpolation makes none
        labelled = given.override({"label": None, "producer": None, "visible": False}) if nothing_new else given
        name = store.put(encode(picture, facts, kind, labelled, payload.get("compression"), before), kind)
        told.append({"file": name, "seed": facts.get("seed"), "size": list(picture.size), "made": list(own), "facts": facts})
    return {"pictures": told, "texts": made.texts}


def preview(image: Tensor, payload: dict[str, Any], store: Store, given: Provenance) -> str:
    """A picture that is not ready, (C, H, W), on disk: the name of its file."""
    kind = payload.get("format", "png")
    return store.put(encode(_sized(to_pil(image), payload.get("scaled_to")), {"model": "preview"}, kind, given), kind)


def _sized(picture: Image.Image, size: list[int] | None) -> Image.Image:
    """As large as asked for: as much of the middle as has that shape, enlarged or reduced."""
    if size is None or tuple(size) == picture.size:
        return picture
    width, height = size
    share = min(picture.width / width, picture.height / height)
    w, h = share * width, share * height
    x, y = (picture.width - w) / 2, (picture.height - h) / 2
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=(x, y, x + w, y + h))


def _upload(store: Store, name: str) -> Path:
    path = store.path(name)
    if path is None:
        raise FileNotFoundError(f"The upload {name} is gone.")
    return path
