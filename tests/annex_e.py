"""A strict checker of the label of GB 45438-2025, written from the standard's annex E and TC260-PG-20259A, and from nothing of ours.

Clauses that are checked: 6.1 c, one label in a file; annex E a, a field called AIGC; b, a JSON object; c to i, seven elements, all strings;
j, their characters; note 1, at the first writing the propagation's elements are the production's. The guide: XMP, its namespace, and where
each format keeps its packet (PNG: iTXt, JPEG: APP1, WebP: the chunk called XMP).
"""

import json
import re
import struct
import zlib
from xml.dom import minidom

ELEMENTS = ["Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2"]
ALLOWED = {0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F)}
ADDRESS = "http://www.tc260.org.cn/ns/AIGC/1.0/"


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    out, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, payload = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (sum_,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert zlib.crc32(kind + payload) == sum_
        out.append((kind, payload))
        at += 12 + length
    assert out[0][0] == b"IHDR" and out[-1] == (b"IEND", b"")
    return out


def jpeg_segments(data: bytes) -> list[tuple[int, bytes]]:
    assert data[:2] == b"\xff\xd8"
    out, at = [], 2
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        out.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return out


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP" and struct.unpack("<I", data[4:8])[0] == len(data) - 8
    out, at = [], 12
    while at < len(data):
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        out.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return out


def packets(data: bytes) -> list[bytes]:
    """The XMP packets of a file, from where its format keeps them."""
    if data[:4] == b"\x89PNG":
        texts = [p for kind, p in png_chunks(data) if kind in (b"iTXt", b"tEXt", b"zTXt") and p.startswith(b"XML:com.adobe.xmp\x00")]
        head = b"XML:com.adobe.xmp\x00\x00\x00\x00\x00"  # not packed, no language, no translated keyword
        assert all(p.startswith(head) for p in texts)
        return [p[len(head) :] for p in texts]
    if data[:2] == b"\xff\xd8":
        head = b"http://ns.adobe.com/xap/1.0/\x00"
        return [p[len(head) :] for mark, p in jpeg_segments(data) if mark == 0xE1 and p.startswith(head)]
    chunks = riff_chunks(data)
    assert chunks[0][0] == b"VP8X", "only the extended form has room for metadata"
    flags = chunks[0][1][0]
    found = [p for kind, p in chunks if kind == b"XMP "]
    assert bool(flags & 0x04) == bool(found), "the flag for XMP"
    return found


def elsewhere(data: bytes) -> int:
    """Labels outside XMP: annex B of the guide has PNG's tEXt and Exif's UserComment."""
    if data[:4] == b"\x89PNG":
        return sum(p.startswith(b"AIGC\x00") for kind, p in png_chunks(data) if kind in (b"iTXt", b"tEXt", b"zTXt"))
    blocks = jpeg_segments(data) if data[:2] == b"\xff\xd8" else riff_chunks(data)
    exif = b"".join(p for mark, p in blocks if mark in (b"EXIF", 0xE1) and not p.startswith(b"http"))
    return len(re.findall(rb'"(?:\x00?)A\x00?I\x00?G\x00?C', exif))


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), "an element is there twice"
    return dict(pairs)


def label_of(data: bytes) -> dict[str, str]:
    """The one label of a file. Fails where a clause is not kept."""
    (packet,) = packets(data)
    assert elsewhere(data) == 0, "6.1 c"
    text = packet.decode("utf-8")
    assert text.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>') and text.rstrip().endswith('<?xpacket end="w"?>')
    tree = minidom.parseString(packet)
    found = tree.getElementsByTagNameNS(ADDRESS, "AIGC")
    assert len(found) == 1 and len(tree.getElementsByTagName("TC260:AIGC")) == 1, "6.1 c, and the prefix that the guide gives"
    assert len(re.findall(r"\bAIGC\b", re.sub(re.escape(ADDRESS), "", text))) == 2, "its two tags and no attribute"
    about = found[0].parentNode
    assert about.localName == "Description" and about.namespaceURI == "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    assert about.parentNode.localName == "RDF" and about.parentNode.parentNode.localName == "xmpmeta"
    label = json.loads("".join(node.data for node in found[0].childNodes), object_pairs_hook=_pairs)
    assert list(label) == ELEMENTS
    assert all(isinstance(value, str) for value in label.values())
    assert all(set(map(ord, value)) <= ALLOWED for value in label.values()), "annex E j"
    assert label["Label"] in ("1", "2", "3") and label["ContentProducer"] and label["ProduceID"]
    return label


def first_label_of(data: bytes) -> dict[str, str]:
    """The label of a file that has just been made. Note 1 of annex E."""
    label = label_of(data)
    assert label["ContentPropagator"] == label["ContentProducer"] and label["PropagateID"] == label["ProduceID"]
    return label


# AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py, re_param_code: how the web UI reads the last line of `parameters`
RE_PARAM = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def infotext(text: str) -> dict[str, str]:
    """What the web UI understands of `parameters`: it takes the last line for pairs where it finds at least three."""
    *lines, last = text.strip().split("\n")
    assert len(RE_PARAM.findall(last)) >= 3, last
    parts: dict[str, list[str]] = {"Prompt": [], "Negative prompt": []}
    now = "Prompt"
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            now, line = "Negative prompt", line[16:].strip()
        parts[now].append(line)
    pairs = {k: json.loads(v) if v[0] == v[-1] == '"' else v for k, v in RE_PARAM.findall(last)}
    return {key: "\n".join(value) for key, value in parts.items()} | pairs
