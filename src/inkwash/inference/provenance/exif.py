"""EXIF, for one field: UserComment, where JPEG and WebP have the text that PNG calls `parameters` (as AUTOMATIC1111's web UI does)."""

import struct

COMMENT, POINTER = 0x9286, 0x8769  # of Exif 2.32, table 7 and 4.6.3
_UNICODE = b"UNICODE\x00"


def with_comment(text: str) -> bytes:
    """A TIFF structure, big-endian, with a UserComment in UTF-16."""
    value = _UNICODE + text.encode("utf-16-be")
    main = struct.pack(">HHHIII", 1, POINTER, 4, 1, 26, 0)  # one entry, which points at the next directory
    more = struct.pack(">HHHIII", 1, COMMENT, 7, len(value), 44, 0)
    return b"MM\x00\x2a" + struct.pack(">I", 8) + main + more + value


def comment(data: bytes) -> str:
    """The UserComment of a TIFF structure, empty where there is none or it makes no sense: a foreign EXIF often does not."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None:
        return ""
    try:
        first = struct.unpack_from(f"{order}I", data, 4)[0]
        pointer = _entry(data, order, first, POINTER)
        found = pointer and _entry(data, order, struct.unpack(f"{order}I", pointer[1])[0], COMMENT)
        if not found:
            return ""
        count, inline = found
        at = struct.unpack(f"{order}I", inline)[0]
    except struct.error:
        return ""
    return _decoded(data[at : at + count], order)


def _entry(data: bytes, order: str, at: int, tag: int) -> tuple[int, bytes] | None:
    """How many values an entry of a directory has, and its last four bytes: the value, or where it is."""
    for i in range(struct.unpack_from(f"{order}H", data, at)[0]):
        this, _, count, inline = struct.unpack_from(f"{order}HHI4s", data, at + 2 + 12 * i)
        if this == tag:
            return count, inline
    return None


def _decoded(value: bytes, order: str) -> str:
    code, text = value[:8], value[8:]
    if code == _UNICODE:
        high, low = text[::2].count(0), text[1::2].count(0)  # Latin letters have zeros at one side: writers disagree on the order
        big = high > low or (high == low and order == ">")
        return text.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\x00\ufeff")
    return text.decode("utf-8", "replace").strip("\x00 ") if code in (b"ASCII\x00\x00\x00", bytes(8)) else ""
