"""What a file says of itself: facts, the type of its source, the Chinese label, C2PA. A stranger's file is read with care."""

import json
import re
import warnings
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from inkwash.core.errors import DataError
from inkwash.inference.provenance import exif, label, xmp
from inkwash.inference.provenance.containers import Pieces, pieces

CHUNK = "inkwash"  # our JSON as a text chunk of PNG; JPEG and WebP have it in XMP
MOST = 1 << 30
PACKED = rb"zTXt|iTXt[^\x00]{1,79}\x00\x01"  # compressed text of a PNG
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# Only these are tried, whatever a file is called.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF", "JPEG2000", "QOI")
TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
_TELLING = ("Steps: ", "Seed: ", "Version: Inkwash")  # a camera's comment has none of these


@dataclass(frozen=True)
class Traces:
    """What a picture says. parameters: the text other programs read. source: the IPTC type, without the vocabulary's address.

    labels: those of GB 45438-2025; a file should have one at most. signed: whether there is a C2PA manifest, looked at by nobody yet.
    mime, data: the file itself.
    """

    facts: dict[str, Any] | None = None
    parameters: str | None = None
    source: str | None = None
    labels: tuple[dict[str, str], ...] = ()
    signed: bool = False
    mime: str = ""
    data: bytes = field(default=b"", repr=False)

    @property
    def label(self) -> dict[str, str] | None:
        """The first label."""
        return self.labels[0] if self.labels else None

    @property
    def generated(self) -> str | None:
        """The type of a picture that a model made or worked on, also where only its settings or a label tell so; else None."""
        if self.source in (TRAINED, COMPOSITE):
            return self.source
        if self.source is None and (self.parameters or "model" in (self.facts or {})):
            return COMPOSITE if "edit" in (self.facts or {}) else TRAINED
        return COMPOSITE if self.labels else None


def read(source: Path | bytes, name: str | None = None) -> Traces:
    """All that a file says. name: what to call it in a message. Raises DataError for no picture, a bomb, and damaged data about it."""
    name = name or (str(source) if isinstance(source, Path) else "The picture")
    try:
        data = source if isinstance(source, bytes) else _bytes(source)
        found = pieces(data, ("parameters", CHUNK, "AIGC"))
        return _traces(found, data, _mime(data))
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture that can be read: it is of none of the formats.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is not a picture that can be read: {error}.") from None
    except DataError as error:
        raise DataError(f"{name} is not a picture that can be read whole: it {error}.") from None


def read_facts(source: Path | bytes) -> dict[str, Any] | None:
    """What made a picture, as we wrote it; else its `parameters` text; None where it tells nothing. Raises DataError as `read` does."""
    traces = read(source)
    if traces.facts is not None:
        return traces.facts
    return None if traces.parameters is None else {"parameters": traces.parameters}


def carried(*paths: str) -> Traces:
    """What is to be kept of pictures that are edited into one: the first's, and the first label of any of them.

    Damaged data about a picture do not hinder its edit, unless a label is in them, which must not get lost: DataError.
    """
    kept = [_kept(Path(path)) for path in paths] or [Traces()]
    first, source = kept[0], kept[0].source
    if first.generated == TRAINED and any(t.generated != TRAINED for t in kept):
        source = COMPOSITE
    labels = tuple(found for traces in kept for found in traces.labels)[:1]
    return replace(first, source=source, labels=labels)


def _kept(path: Path) -> Traces:
    return salvaged(path) if path.is_file() else Traces()  # what is no picture at all is refused by whoever decodes it


def salvaged(source: Path | bytes, name: str | None = None) -> Traces:
    """`read`, but facts of ours that are damaged are left out; where the rest is damaged too, all is. Raises DataError where a label may be
    in what is damaged: it must not get lost."""
    try:
        return read(source, name)
    except DataError as error:
        try:
            data = source if isinstance(source, bytes) else _bytes(source)
            return _traces(pieces(data, ("parameters", "AIGC")), data, _mime(data), ours=False)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, DataError):
            if _may_be_labelled(source if isinstance(source, bytes) else source.read_bytes()):
                raise error from None
            return Traces()


def _may_be_labelled(data: bytes) -> bool:
    """Whether the word is anywhere, in an encoding of XMP, or text is packed that could hold it."""
    return any("AIGC".encode(code) in data for code in ("utf-8", "utf-16-le", "utf-16-be")) or bool(re.search(PACKED, data))


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > MOST:
        raise DataError(f"is larger than {MOST >> 20:,} MiB, the most that is read")
    return path.read_bytes()


def _mime(data: bytes) -> str:
    """The type of a picture; its header is read and no more, and one that claims too many pixels is refused."""
    Image.init()
    with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=[f for f in _FORMATS if f in Image.OPEN]) as picture:
        return "image/jpeg" if data[:2] == b"\xff\xd8" else Image.MIME.get(picture.format or "", "")


def _traces(found: Pieces, data: bytes, mime: str, ours: bool = True) -> Traces:
    """ours: whether our facts are read too."""
    texts = dict(found.texts)
    comments = [comment for block in found.exif if (comment := exif.comment(block))]
    if (size := sum(map(len, found.xmp))) > xmp.MOST:
        raise DataError(f"has XMP of {size:,} bytes, more than the {xmp.MOST:,} that are read")
    packets = [xmp.values(packet, xmp.FACTS, xmp.SOURCE, xmp.LABEL) for packet in found.xmp]
    in_xmp, sources, labels = ([value for packet in packets for value in packet[i]] for i in range(3))
    facts = [_facts(text) for text in ([texts[CHUNK]] if CHUNK in texts else []) + in_xmp if ours]
    labels += [text for key, text in found.texts if key == "AIGC"]
    labels += [c for c in comments if c.lstrip().startswith(('{"AIGC"', '{"Label"'))]
    says = [c for c in comments if any(word in c for word in _TELLING)]
    source = next((s.removeprefix(IPTC).removeprefix(IPTC.replace("http:", "https:")) for s in sources), None)
    return Traces(
        facts=next((f for f in facts if f is not None), None),
        parameters=texts.get("parameters") or next(iter(says), None),
        source=source,
        labels=tuple(label.parsed(text) for text in labels),
        signed=found.c2pa,
        mime=mime,
        data=data,
    )


def _facts(text: str) -> dict[str, Any] | None:
    """Our JSON; None for someone else's under the same name."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError("has facts of ours that are no JSON") from None
    return facts if isinstance(facts, dict) else None
