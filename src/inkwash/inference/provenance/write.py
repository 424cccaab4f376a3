"""Pictures to files that say how they were made: what the command line and the server both write."""

import json
import re
from io import BytesIO
from typing import Any, Literal, Self

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import model_validator

from inkwash import __version__
from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, DataError
from inkwash.inference.provenance import exif, label, xmp
from inkwash.inference.provenance.containers import EXIF_HEAD, XMP_HEAD, XMP_KEYWORD, with_segments
from inkwash.inference.provenance.infotext import parameters
from inkwash.inference.provenance.mark import marked
from inkwash.inference.provenance.read import CHUNK, COMPOSITE, IPTC, TRAINED, Traces
from inkwash.inference.provenance.sign import signed, signer

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
LARGEST = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}  # pixels of a side
JPEG_QUALITY = 95
PLAIN = ("kind", "edit", "scale", "size", "solver", "steps", "guidance", "strength")  # facts that tell of nobody
ENHANCED = "algorithmicallyEnhanced"
_APART = re.compile(r"[\ud800-\udfff\ufffe\uffff]")


class Provenance(Config):
    """What to write besides the facts. label: of which country. visible: the mark in the picture. producer: name or code of the service
    that makes it, propagator: that passes it on, where another. personal: False leaves out prompts, names, classes, models and seeds, and
    keeps what standards ask for. sign: a folder with key.pem and chain.pem.
    """

    label: Literal["cn"] | None = None
    visible: bool = False
    producer: str | None = None
    propagator: str | None = None
    personal: bool = True
    sign: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.label is not None:
            label.check_name(self.producer)
            label.check_name(self.propagator or self.producer)
        elif self.producer is not None or self.propagator is not None:
            raise ConfigError("A producer is named in a label: ask for one with --label cn.")
        return self

    def check(self) -> None:
        """Raises ConfigError where the key is missing or of no use: before a picture is made, rather than after."""
        if self.sign is not None:
            signer(self.sign)


NOTHING_MORE = Provenance()


def encode(
    picture: Image.Image,
    facts: dict[str, Any] | None,
    format: str,
    given: Provenance = NOTHING_MORE,
    quality: int | None = None,
    original: Traces | None = None,
) -> bytes:
    """The bytes of a PNG, JPEG or WebP file. quality: 1 to 100; unless said, 95 for JPEG, and WebP loses nothing.

    original: what the picture that was edited says of itself. Its label is kept, whatever is asked for. A JPEG has no transparency: what
    shows through becomes white. Raises ConfigError for another format, DataError where the picture does not go into this one.
    """
    if format not in LARGEST:
        raise ConfigError(f"Pictures are written as {', '.join(LARGEST)}, not as {format!r}.")
    if max(picture.size) > LARGEST[format]:
        raise DataError(f"{picture.width}x{picture.height} pixels are more than {format.upper()} holds: write PNG.")
    source = source_of(facts, original)
    if source == ENHANCED and (given.label or given.visible):
        raise ConfigError("Interpolation alone is no work of an AI: there is nothing to label.")
    picture = _plain(picture, format)
    picture = marked(picture) if given.visible else picture
    told = facts if facts is None or given.personal else {k: facts[k] for k in PLAIN if k in facts}
    properties = _properties(picture, told, source, given, original, in_xmp=format != "png")
    data = _WRITERS[format](picture, parameters(told) if told else "", _json(told) if told else "", properties, quality)
    if given.sign is None:
        return data
    uri = IPTC + source if source else None
    before = (original.mime, original.data) if original and original.mime in ("image/png", "image/jpeg", "image/webp") else None
    return signed(data, f"image/{format}", signer(given.sign), uri, before)


def source_of(facts: dict[str, Any] | None, original: Traces | None = None) -> str | None:
    """The IPTC type of what is written, None where the facts do not tell.

    A model's picture is trainedAlgorithmicMedia, an edit of a given one compositeWithTrainedAlgorithmicMedia, unless a model had made that
    one too. Interpolation alone is algorithmicallyEnhanced, and changes nothing in what an AI had to do with the picture.
    """
    edit, before = (facts or {}).get("edit"), original.generated if original else None
    if edit is None:
        return TRAINED if facts and "model" in facts and "of" not in facts else None
    if edit == "resize":
        return before or ENHANCED
    return TRAINED if before == TRAINED else COMPOSITE


def _plain(picture: Image.Image, format: str) -> Image.Image:
    """A copy in a mode that is written, without what came along with it: Pillow would write a foreign file's EXIF and XMP again."""
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if picture.mode == "RGBA" and format == "jpeg":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (255,) * 4), picture).convert("RGB")
    picture = picture.copy()
    picture.info = {}
    return picture


def _properties(
    picture: Image.Image, facts: dict[str, Any] | None, source: str | None, given: Provenance, original: Traces | None, in_xmp: bool
) -> dict[str, str]:
    """What goes into XMP, by full names."""
    out = {} if source is None else {xmp.SOURCE: IPTC + source}
    if value := _label(picture, source, given, original):
        out[xmp.LABEL] = label.written(value)
    if facts and in_xmp:
        out[xmp.FACTS] = _json(facts)
    return {xmp.TOOL: f"Inkwash {__version__}", **out} if out else {}


def _label(picture: Image.Image, source: str | None, given: Provenance, original: Traces | None) -> dict[str, str] | None:
    """The one label: that of the picture before, passed on; else a first one, where it is asked for and true."""
    by = given.propagator or given.producer
    if original and original.label:
        return label.passed_on(original.label, by, label.number(picture))
    if given.label is None:
        return None
    return label.first(given.producer or "", label.number(picture), given.propagator)


def _json(facts: dict[str, Any]) -> str:
    """Facts as JSON that XML can hold."""
    return _APART.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(facts, ensure_ascii=False, sort_keys=True))


def _png(picture: Image.Image, text: str, facts: str, properties: dict[str, str], quality: int | None) -> bytes:
    info = PngInfo()
    packet = xmp.packet(properties).decode() if properties else ""
    for key, value in ((XMP_KEYWORD, packet), ("parameters", text), (CHUNK, facts)):  # Adobe's XMP toolkit reads the first iTXt only
        if value:
            info.add_itxt(key, value)
    out = BytesIO()
    picture.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _jpeg(picture: Image.Image, text: str, facts: str, properties: dict[str, str], quality: int | None) -> bytes:
    out = BytesIO()
    picture.save(out, "JPEG", quality=JPEG_QUALITY if quality is None else max(1, quality), subsampling=0)
    segments = [EXIF_HEAD + exif.with_comment(text)] if text else []
    segments += [XMP_HEAD + xmp.packet(properties)] if properties else []
    return with_segments(out.getvalue(), segments)


def _webp(picture: Image.Image, text: str, facts: str, properties: dict[str, str], quality: int | None) -> bytes:
    more = {"exif": exif.with_comment(text)} if text else {}
    more |= {"xmp": xmp.packet(properties)} if properties else {}
    how = {"lossless": True} if quality is None else {"quality": quality}
    out = BytesIO()
    picture.save(out, "WEBP", exact=True, **how, **more)
    return out.getvalue()


_WRITERS = {"png": _png, "jpeg": _jpeg, "webp": _webp}
