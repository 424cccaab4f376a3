"""Where PNG, JPEG and WebP keep what is said of a picture. Found by walking the file, without decoding a pixel.

PNG   chunks tEXt, zTXt, iTXt (PNG 3rd edition, 11.3.3; XMP under the keyword XML:com.adobe.xmp), caBX for C2PA
JPEG  segments APP1 (Exif; XMP after http://ns.adobe.com/xap/1.0/) and APP11 for C2PA (XMP specification part 3; JPEG, annex B)
WebP  chunks EXIF, XMP and C2PA of a RIFF file
Another format's XMP is found by scanning for its packet, as the specification means it to be. An error's message says what is wrong with
the file, as "it" has it: "is cut short".
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from inkwash.core.errors import DataError

PNG, XMP_KEYWORD, XMP_HEAD, EXIF_HEAD = b"\x89PNG\r\n\x1a\n", "XML:com.adobe.xmp", b"http://ns.adobe.com/xap/1.0/\x00", b"Exif\x00\x00"
MOST_TEXT = 8 << 20  # of one file, once unpacked
_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"


@dataclass
class Pieces:
    """texts: keyword and text of PNG's text chunks. xmp, exif: their payloads. c2pa: whether a manifest is there."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    exif: list[bytes] = field(default_factory=list)
    c2pa: bool = False


def pieces(data: bytes, wanted: tuple[str, ...] = ()) -> Pieces:
    """What a file keeps; of PNG's texts those with wanted keywords. Raises DataError where it is broken."""
    found = Pieces()
    if data.startswith(PNG):
        _png(data, found, wanted)
    elif data.startswith(b"\xff\xd8"):
        _jpeg(data, found)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _webp(data, found)
    else:
        found.xmp += _scanned(data)
    return found


def _scanned(data: bytes) -> Iterator[bytes]:
    """The packets in any file, in one pass: what looks like a beginning without an end ends the search."""
    at = data.find(_BEGIN)
    while at >= 0 and (end := data.find(_END, at)) >= 0:
        yield data[at : end + len(_END)]
        at = data.find(_BEGIN, end)


def _png(data: bytes, found: Pieces, wanted: tuple[str, ...]) -> None:
    room = MOST_TEXT
    for kind, payload in _chunks(data):
        if kind == b"caBX":
            found.c2pa = True
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            word, _, rest = payload.partition(b"\x00")
            keyword = word.decode("latin-1")
            if keyword != XMP_KEYWORD and keyword not in wanted:
                continue
            text, packed = _text(kind, rest, room)
            room -= len(text) * packed  # what is not packed is no longer than the file
            if keyword == XMP_KEYWORD:
                found.xmp.append(text)
            else:
                found.texts.append((keyword, _string(text, kind)))


def _string(data: bytes, kind: bytes) -> str:
    try:
        return data.decode("utf-8" if kind == b"iTXt" else "latin-1")
    except UnicodeError:
        raise DataError("has a text that is not in UTF-8, as it should be") from None


def _text(kind: bytes, rest: bytes, room: int) -> tuple[bytes, bool]:
    """The text of a chunk after its keyword, unpacked to so many bytes at most, and whether it was packed."""
    if kind == b"tEXt":
        return rest, False
    packed, method = (rest[:1] != b"\x00", rest[1:2]) if kind == b"iTXt" else (True, rest[:1])
    if kind == b"iTXt":
        rest = rest[2:].split(b"\x00", 2)[-1]  # behind the language and the translated keyword
    else:
        rest = rest[1:]
    if not packed:
        return rest, False
    try:
        if method != b"\x00":  # there is one way of packing, and Pillow's own limits look at no other
            raise zlib.error
        unpacker = zlib.decompressobj()
        out = unpacker.decompress(rest, room + 1)
    except zlib.error:
        raise DataError("has a packed text that is damaged") from None
    if len(out) > room:
        raise DataError(f"has texts of more than {MOST_TEXT:,} bytes once unpacked, which are not read")
    return out, True


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kinds and payloads of PNG's chunks. The checksums of those that hold no pixels are verified."""
    at = 8
    while at < len(data):
        if at + 8 > len(data):
            raise DataError("is cut short")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise DataError("is cut short")
        payload = data[at + 8 : end]
        if kind[:1].islower() and zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise DataError(f"has a damaged {kind.decode('latin-1')} chunk")
        yield kind, payload
        if kind == b"IEND":
            return
        at = end + 4


def _jpeg(data: bytes, found: Pieces) -> None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise DataError("is damaged between its segments")
        mark = data[at + 1]
        if mark == 0xFF:  # padding
            at += 1
            continue
        if mark in (0xD9, 0xDA):  # the end, or the pixels: everything is before them
            return
        if mark == 0x01 or 0xD0 <= mark <= 0xD7:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            raise DataError("is cut short")
        payload = data[at + 4 : at + 2 + length]
        if mark == 0xE1 and payload.startswith(XMP_HEAD):
            found.xmp.append(payload[len(XMP_HEAD) :])
        elif mark == 0xE1 and payload.startswith(EXIF_HEAD):
            found.exif.append(payload[len(EXIF_HEAD) :])
        elif mark == 0xEB and payload.startswith(b"JP") and b"c2pa" in payload[:200]:
            found.c2pa = True
        at += 2 + length
    raise DataError("is cut short")


def _webp(data: bytes, found: Pieces) -> None:
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            raise DataError("is cut short")
        payload = data[at + 8 : at + 8 + length]
        if kind == b"XMP ":
            found.xmp.append(payload)
        elif kind == b"EXIF":
            found.exif.append(payload.removeprefix(EXIF_HEAD))
        elif kind == b"C2PA":
            found.c2pa = True
        at += 8 + length + length % 2


def with_segments(jpeg: bytes, payloads: list[bytes]) -> bytes:
    """A JPEG with further APP1 segments, behind its JFIF header. Raises DataError where one is too long for a segment."""
    at = 2
    if jpeg[2:4] == b"\xff\xe0":
        at += 2 + int.from_bytes(jpeg[4:6], "big")
    more = b""
    for payload in payloads:
        if len(payload) > 65533:
            raise DataError(
                f"What is to be said of the picture takes {len(payload):,} bytes and a JPEG has room for 65,533: write PNG or WebP."
            )
        more += b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
    return jpeg[:at] + more + jpeg[at:]
