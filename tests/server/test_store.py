"""Files on the server's disk, and uploads."""

import base64
import io
import os
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from inkwash.core.errors import DataError
from inkwash.server.store import Store, as_png, from_data_url, read_picture


def picture(mode="RGB", size=(5, 4), kind="PNG", **more) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 120 if mode == "L" else tuple(range(10, 10 * len(mode) + 1, 10))).save(out, kind, **more)
    return out.getvalue()


def test_names_cannot_be_guessed_and_lead_nowhere_else(tmp_path):
    store = Store(tmp_path / "p")
    names = {store.put(b"x", "png") for _ in range(50)}
    assert len(names) == 50 and all(len(n) == 36 for n in names)
    name = names.pop()
    assert store.path(name).read_bytes() == b"x"
    (tmp_path / "secret.png").write_bytes(b"s")
    for bad in (
        "../secret.png",
        "..%2fsecret.png",
        "",
        ".",
        name[:-4],
        f"{name}.part",
        "a" * 32 + ".png",
        "a" * 32 + ".exe",
        f"./{name}",
        f"{name}\n",
    ):
        assert store.path(bad) is None
    store.remove(["../secret.png", name])
    assert (tmp_path / "secret.png").exists() and store.path(name) is None


def test_what_belongs_to_nobody_goes(tmp_path):
    store = Store(tmp_path)
    kept, old, fresh = (store.put(b"x", "png") for _ in range(3))
    (tmp_path / ".half.png.part").write_bytes(b"x")
    for name in (kept, old, ".half.png.part"):
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    assert store.sweep({kept}) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([kept, fresh])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_read(kind):
    read = read_picture(picture(kind=kind), 100, "image")
    assert read.mode == "RGB" and read.size == (5, 4)
    assert read_picture(picture("RGBA"), 100, "image").mode == "RGBA" and read_picture(picture("L"), 100, "image").mode == "L"


def test_what_else_a_file_holds_stays_outside():
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "secret words")
    data = picture(pnginfo=info) + b"<script>alert(1)</script>PK\x03\x04"
    clean = as_png(read_picture(data, 100, "image"))
    assert b"secret" not in clean and b"script" not in clean and b"PK" not in clean and Image.open(io.BytesIO(clean)).size == (5, 4)


def test_an_exif_turn_is_taken():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(picture(kind="JPEG", exif=exif), 100, "image").size == (4, 5)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"GIF89a", picture(kind="GIF"), picture(kind="BMP"), picture()[:-32], picture()[:40], b"%PDF-1.4"]
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(DataError, match="is not a PNG, JPEG or WebP picture"):
        read_picture(data, 100, "image")


def test_pixels_are_counted_before_they_are_decoded():
    with pytest.raises(DataError, match="has 300 x 200 pixels; at most 59999"):
        read_picture(picture(size=(300, 200)), 59_999, "image")
    bomb = bytearray(picture())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # its header claims 3.6 gigapixels
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    start = time.monotonic()
    with pytest.raises(DataError, match="pixels"):
        read_picture(bytes(bomb), 1 << 24, "image")
    assert time.monotonic() - start < 0.5


def test_addresses():
    data = picture()
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    assert from_data_url(url, 1000, "image") == data and from_data_url("data:,a%20b", 1000, "image") == b"a b"
    with pytest.raises(DataError, match="fetches no addresses"):
        from_data_url("http://127.0.0.1/x.png", 1000, "image")
    with pytest.raises(DataError, match="fetches no addresses"):
        from_data_url("file:///etc/passwd", 1000, "image")
    with pytest.raises(DataError, match="larger than 10 bytes"):
        from_data_url(url, 10, "image")
    with pytest.raises(DataError, match="not valid base64"):
        from_data_url("data:image/png;base64,@@@", 1000, "image")


def test_sixteen_bits_of_grey_become_eight():
    deep = Image.fromarray(np.array([[0, 20000], [40000, 65535]], np.uint16))
    out = io.BytesIO()
    deep.save(out, "PNG")
    assert np.asarray(read_picture(out.getvalue(), 100, "image")).tolist() == [[0, 78], [156, 255]]
