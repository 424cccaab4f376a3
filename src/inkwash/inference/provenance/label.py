"""The implicit label of GB 45438-2025, the Chinese standard for content made by AI (in force since 2025-09-01).

Annex E names seven elements, all of them strings, and TC260-PG-20259A, the committee's guide for picture files, puts them as one JSON
object into the XMP property TC260:AIGC:

    Label              "1" is made by AI, "2" may be, "3" is suspected to be
    ContentProducer    the name or the code of the service that made it
    ProduceID          that service's number for it
    ReservedCode1      for the service's own protection of the label, may be empty
    ContentPropagator  the same three of the service that passes it on; at the first writing
    PropagateID        they are those of the one that made it (annex E, note 1)
    ReservedCode2

Values have the characters 0x21, 0x23 to 0x5B and 0x5D to 0x7E only (annex E, j): no spaces, quotes or backslashes, nothing beyond ASCII, so
a service whose name is Chinese writes its code. One file has one label (6.1 c), and nobody may take it away or forge it (article 10 of
the Measures for labelling): of a picture that has one, whoever made it first stays its producer, and we pass it on.
"""

import hashlib
import json
import re
from typing import Any

from PIL import Image

from inkwash.core.errors import ConfigError, DataError

NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
FIELDS = ("Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2")
MADE = "1"
_VALUE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")


def check_name(name: str | None) -> str:
    """The name or code of a service. Raises ConfigError where there is none, or the standard has no room for it."""
    if not name:
        raise ConfigError("A label says whose service made the picture: name it with --producer.")
    if not _VALUE.fullmatch(name):
        raise ConfigError(
            f"{name!r} does not fit into a label: GB 45438-2025 wants 1 to 256 characters of ASCII, without spaces, quotes "
            "and backslashes, as the code of a service has them."
        )
    return name


def number(picture: Image.Image) -> str:
    """The number of a picture's content: a digest of its pixels, so that the same picture has the same one."""
    head = f"{picture.mode} {picture.width}x{picture.height}\n".encode()
    return hashlib.sha256(head + picture.tobytes()).hexdigest()[:32]


def first(producer: str, content: str, propagator: str | None = None) -> dict[str, str]:
    """The label of a picture that has none."""
    values = (MADE, check_name(producer), content, "", check_name(propagator or producer), content, "")
    return dict(zip(FIELDS, values))


def passed_on(label: dict[str, str], propagator: str | None, content: str) -> dict[str, str]:
    """A label of someone's, in the file that comes after: who made it stays; who passes it on is new, where that is known."""
    kept = {key: label.get(key, "") for key in FIELDS}
    if propagator is None:
        return kept
    return kept | {"ContentPropagator": check_name(propagator), "PropagateID": content, "ReservedCode2": ""}


def written(label: dict[str, str]) -> str:
    """The value of the property."""
    return json.dumps(label, ensure_ascii=False, separators=(",", ":"))


def parsed(text: str) -> dict[str, str]:
    """The label in a text, by itself or inside {"AIGC": ...}, as annex B of the guide has it. Raises DataError where there is none."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("AIGC"), dict):
        value = value["AIGC"]
    if not isinstance(value, dict) or "Label" not in value:
        raise DataError("has a TC260:AIGC label that is no JSON object with a Label")
    return {str(k): v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in value.items()}
