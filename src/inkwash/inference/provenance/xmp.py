"""The XMP packet (ISO 16684-1): RDF in XML, the place that PNG, JPEG and WebP have in common.

What a stranger wrote is read with care: whoever reads takes no more than MOST bytes, and no document type is taken, which is where XML
hides its bombs.
"""

import codecs
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from inkwash.core.errors import DataError
from inkwash.inference.provenance.label import NAMESPACE as TC260

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
BASIC = "http://ns.adobe.com/xap/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"  # IPTC Photo Metadata, the Extension schema
OWN = "urn:inkwash:facts:1.0:"
PREFIXES = {"rdf": RDF, "x": META, "xmp": BASIC, "Iptc4xmpExt": IPTC, "TC260": TC260, "inkwash": OWN}
TOOL, SOURCE, LABEL, FACTS = f"{{{BASIC}}}CreatorTool", f"{{{IPTC}}}DigitalSourceType", f"{{{TC260}}}AIGC", f"{{{OWN}}}facts"
MOST = 4 << 20  # bytes of all packets of a file
_ID = "W5M0MpCehiHzreSzNTczkc9d"  # the same in every packet: programs scan for it
_MARKS = (
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF16_LE, "utf-16"),
)
_OUTSIDE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # characters that XML 1.0 has not

for _prefix, _uri in PREFIXES.items():
    ElementTree.register_namespace(_prefix, _uri)  # else they were called ns0 and so on, and naive readers look for TC260:AIGC


def packet(properties: dict[str, str]) -> bytes:
    """Properties, by their full names, each once, as a packet."""
    meta = ElementTree.Element(f"{{{META}}}xmpmeta")
    about = ElementTree.SubElement(ElementTree.SubElement(meta, f"{{{RDF}}}RDF"), f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    for name, value in properties.items():
        ElementTree.SubElement(about, name).text = _OUTSIDE.sub("", value)
    body = ElementTree.tostring(meta, encoding="unicode")
    return f'<?xpacket begin="\ufeff" id="{_ID}"?>{body}<?xpacket end="w"?>'.encode()


def values(data: bytes, *names: str) -> list[list[str]]:
    """For each property named, every value that a packet has, as an element or as an attribute. Raises DataError if it cannot be read."""
    root = _root(data)
    return [list(_of(root, name)) for name in names]


def _of(root: ElementTree.Element, name: str) -> Iterator[str]:
    """No property is sought inside itself: all that is in it is its value."""
    left = [root]
    while left:
        element = left.pop()
        if name in element.attrib:
            yield element.attrib[name].strip()
        if element.tag == name:
            yield "".join(element.itertext()).strip() or element.attrib.get(f"{{{RDF}}}resource", "")
        else:
            left += reversed(element)


def _root(data: bytes) -> ElementTree.Element:
    try:
        text = data.decode(next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8-sig")).strip("\x00\ufeff \t\r\n")
    except UnicodeError:
        raise DataError("has XMP in an encoding other than the one it names") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("has XMP with a document type, which none needs and which is not read")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: an encoding that Python does not know
        raise DataError(f"has XMP that is no XML ({error})") from None
