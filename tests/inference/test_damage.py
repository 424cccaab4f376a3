"""Pictures that are damaged, or made to do harm: one sentence each, and no label is lost."""

import random
import struct
import zlib

import pytest

from inkwash.core.errors import DataError
from inkwash.inference.provenance import xmp
from inkwash.inference.provenance.containers import XMP_KEYWORD, with_segments
from inkwash.inference.provenance.label import NAMESPACE as TC260
from inkwash.inference.provenance.read import carried, read
from inkwash.inference.provenance.write import encode
from marked import CN, FACTS, FORMATS, picture


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    data = encode(picture(), None, "png")
    made = b"".join(struct.pack(">I", len(p)) + k + p + struct.pack(">I", zlib.crc32(k + p)) for k, p in chunks)
    return data[:33] + made + data[33:]


def with_xmp(packet: bytes) -> bytes:
    return png_with((b"iTXt", XMP_KEYWORD.encode() + bytes(5) + packet))


NESTED = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:t="%s">' % TC260.encode() + b"<t:AIGC>a" * 20_000 + b"</t:AIGC>" * 20_000 + b"</x:xmpmeta>"
)
PACKED = zlib.compress(bytes(3 << 20))
BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'
DAMAGED = {
    "entity bomb": (with_xmp(BOMB), "document type"),
    "entity bomb in UTF-16": (with_xmp(BOMB.decode().encode("utf-16")), "document type"),
    "no XML": (with_xmp(b"<x:xmpmeta"), "no XML"),
    "wrong encoding": (with_xmp(b"<x>\xff\xfe\xfa</x>"), "encoding"),
    "unknown encoding": (with_xmp(b'<?xml version="1.0" encoding="klingon"?><x/>'), None),
    "deep": (with_xmp(b"<x>" * 50_000 + b"</x>" * 50_000), None),
    "many": (with_xmp(b"<x>" + b"<y/>" * 50_000 + b"</x>"), None),
    "beginnings without an end": (b"GIF89a" + b"<x:xmpmeta " * 500_000, "can be read"),
    "nested": (with_xmp(NESTED), "no JSON object"),
    "huge": (with_xmp(b"<x>" + b" " * xmp.MOST + b"</x>"), "more than the"),
    "packed bomb": (png_with((b"zTXt", b"parameters\x00\x00" + zlib.compress(bytes(20 << 20)))), "once unpacked"),
    "packed bombs": (png_with(*[(b"iTXt", XMP_KEYWORD.encode() + b"\x00\x01\x00\x00\x00" + PACKED)] * 3), "once unpacked"),
    "XMP in parts": (png_with(*[(b"iTXt", XMP_KEYWORD.encode() + bytes(5) + b" " * (xmp.MOST // 2 + 1))] * 2), "more than the"),
    "packed in no known way": (png_with((b"iTXt", XMP_KEYWORD.encode() + b"\x00\x01\x01\x00\x00" + PACKED)), "damaged"),
    "packed badly": (png_with((b"zTXt", b"parameters\x00\x00nonsense")), "damaged"),
    "text that is no UTF-8": (png_with((b"iTXt", b"parameters" + bytes(5) + b"\xff")), "UTF-8"),
    "facts that are no JSON": (png_with((b"tEXt", b"inkwash\x00{")), "no JSON"),
    "facts without bottom": (png_with((b"tEXt", b"inkwash\x00" + b"[" * 100000)), "no JSON"),
    "label that is no JSON": (with_xmp(xmp.packet({xmp.LABEL: "yes"})), "no JSON object"),
    "label without bottom": (with_xmp(xmp.packet({xmp.LABEL: "[" * 100000})), "no JSON object"),
    "flipped": (png_with((b"tEXt", b"parameters\x00a dog")).replace(b"a dog", b"a cat"), "damaged tEXt"),
    "cut": (encode(picture(), FACTS, "png")[:-30], "cut short"),
    "cut JPEG": (encode(picture(), FACTS, "jpeg")[:600], "cut short"),
    "JPEG with a hole": (with_segments(encode(picture(), None, "jpeg"), [b"x" * 50]).replace(b"x" * 50, b"x" * 49), None),
    "cut WebP": (encode(picture(), FACTS, "webp")[:200], None),
    "text": (b"hello", "is not a picture that can be read"),
    "nothing": (b"", "is not a picture that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_sentence(name, tmp_path):
    data, message = DAMAGED[name]
    (tmp_path / "a.png").write_bytes(data)
    try:
        read(tmp_path / "a.png")
        assert message is None
    except DataError as error:
        assert "a.png is not a picture that can be read" in str(error) and (message or "") in str(error)
        assert "\n" not in str(error) and len(str(error)) < 400 and str(error).endswith(".")


def test_a_property_is_not_sought_inside_itself():
    """Else it would be read as often as it is deep."""
    ((value,),) = xmp.values(NESTED, xmp.LABEL)
    assert value == "a" * 20_000


def test_a_picture_that_claims_too_many_pixels_is_refused():
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = png_with()
    data = data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]
    with pytest.raises(DataError, match="decompression bomb"):
        read(data)


def test_cut_and_flipped_files_never_do_worse_than_one_sentence():
    rng = random.Random(0)
    for format in FORMATS:
        whole = encode(picture(), FACTS, format, CN)
        for _ in range(150):
            data = bytearray(whole[: rng.randint(1, len(whole))] if rng.random() < 0.5 else whole)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                read(bytes(data))
            except DataError as error:
                assert "\n" not in str(error)


def test_a_damaged_label_hinders_an_edit_and_other_damage_does_not(tmp_path):
    for name in ("label that is no JSON", "entity bomb", "facts that are no JSON"):
        (tmp_path / "a.png").write_bytes(DAMAGED[name][0])
        if name.startswith("label"):
            with pytest.raises(DataError, match="label"):
                carried(str(tmp_path / "a.png"))
        else:
            kept = carried(str(tmp_path / "a.png"))
            assert kept.facts is None and kept.labels == ()


def test_a_label_stays_whatever_else_is_damaged(tmp_path):
    place, broken, own = tmp_path / "a.png", (b"tEXt", b"inkwash\x00{"), b'{"AIGC": {"Label": "1"}}'
    place.write_bytes(png_with((b"tEXt", b"AIGC\x00" + own), broken))
    assert [found["Label"] for found in carried(str(place)).labels] == ["1"]
    place.write_bytes(png_with((b"zTXt", b"AIGC\x00\x00" + zlib.compress(own)), broken))
    assert [found["Label"] for found in carried(str(place)).labels] == ["1"]
    nobody_reads = xmp.packet({xmp.LABEL: "yes"})
    for data in (b"\0\1\0\0\0" + zlib.compress(nobody_reads), b"\0\0\0\0\0" + nobody_reads.decode().encode("utf-16")):
        place.write_bytes(png_with((b"iTXt", b"XML:com.adobe.xmp" + data), broken))
        with pytest.raises(DataError):
            carried(str(place))
