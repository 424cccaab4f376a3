"""inkwash style."""

from pathlib import Path

from inkwash.cli.common import pairs, progress, tell
from inkwash.cli.pictures import places
from inkwash.core.device import choose_device, keep_freed_memory
from inkwash.core.disk import make_folder
from inkwash.data.decode import as_rgb, opened
from inkwash.inference.pictures import save_picture
from inkwash.inference.provenance.read import carried
from inkwash.inference.provenance.write import NOTHING_MORE, Provenance
from inkwash.inference.style import StyleOptions, transfer
from inkwash.metrics.features.catalog import perceptual
from inkwash.nn.resize import resize


def run(
    picture: str,
    style: str,
    out: str,
    strength: float,
    keep_colour: bool,
    size: int | None,
    network: str,
    options: list[str],
    device: str,
    json: bool,
    given: Provenance = NOTHING_MORE,
) -> None:
    keep_freed_memory()
    (place,) = places([picture], out)
    wishes = StyleOptions().override({"strength": strength, "keep_colour": keep_colour} | pairs(options))
    photo, painting = (as_rgb(opened(p)) for p in (picture, style))
    if size is not None:
        scale = size / max(photo.shape[-2:])
        photo = resize(photo, *(max(16, round(scale * side)) for side in photo.shape[-2:])).clamp(-1, 1)
    where, original = choose_device(device), carried(picture)
    seer = perceptual(network).to(where)
    with progress("painting") as on_step:
        made, losses = transfer(seer, photo.to(where), painting.to(where), wishes, on_step)
    make_folder(place.parent)
    facts = {"edit": "style", "of": Path(picture).name, "style": Path(style).name, "network": seer.id, **wishes.model_dump()}
    save_picture(place, made[0].cpu(), facts, given, original)
    tell({"wrote": str(place), **losses}, json, [f"wrote {place} (content {losses['content']:.3f}, style {losses['style']:.4f})"])
