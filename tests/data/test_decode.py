import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from inkwash.core.errors import DataError
from inkwash.data.decode import MAX_PIXELS, decode, probe, to_channels


def encode(image: Image.Image, form: str = "PNG", **how) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def noise(*shape: int, dtype=np.uint8, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_plain_modes_come_back_as_stored(mode, channels):
    pixels = noise(5, 7, channels)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    np.testing.assert_array_equal(decode(encode(image), "a.png"), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    seen = np.zeros((16, 32, 3), np.uint8)  # what a person sees: red left, blue bottom right
    seen[:, :16] = (250, 10, 10)
    seen[8:, 16:] = (10, 10, 250)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image = Image.fromarray(seen)
    stored = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, "JPEG", exif=exif, quality=100, subsampling=0)
    assert probe(data, "a.jpg") == (16, 32, 3)
    np.testing.assert_allclose(decode(data, "a.jpg").astype(int), seen, atol=4)


def test_broken_exif_does_not_hide_an_image():
    data = encode(Image.fromarray(noise(8, 8, 3)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode(data, "a.jpg").shape == (8, 8, 3)


def test_palette_becomes_colour_and_keeps_transparency():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    index = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette(colours.tobytes())
    np.testing.assert_array_equal(decode(encode(image), "p.png"), colours[index])
    seen = decode(encode(image, transparency=1), "p.png")
    np.testing.assert_array_equal(seen[..., 3], np.where(index == 1, 0, 255))
    np.testing.assert_array_equal(seen[index != 1][:, :3], colours[index][index != 1])


def test_a_transparent_entry_that_no_pixel_uses_is_no_alpha():
    image = Image.fromarray(np.zeros((4, 4), np.uint8), "P")
    image.putpalette([9, 8, 7, 1, 2, 3])
    assert decode(encode(image, transparency=1), "p.png").shape == (4, 4, 3)


def test_one_bit_is_black_and_white():
    pixels = noise(6, 9, high=2).astype(bool)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels)), "b.png")[..., 0], pixels * 255)


def test_grey_with_alpha():
    pixels = noise(4, 5, 2)
    seen = decode(encode(Image.fromarray(pixels, "LA")), "la.png")
    np.testing.assert_array_equal(seen, pixels[..., [0, 0, 0, 1]])
    pixels[..., 1] = 255
    np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels, "LA")), "la.png"), pixels[..., :1])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(form):
    wide = np.array([[0, 257, 128 * 257, 65535, 300, 40000]], np.uint16)
    seen = decode(encode(Image.fromarray(wide), form), "deep")
    np.testing.assert_array_equal(seen[..., 0], [[0, 1, 128, 255, 1, 156]])


def test_a_dark_sixteen_bit_png_stays_dark():
    assert decode(encode(Image.fromarray(np.full((3, 3), 200, np.uint16))), "dark.png").max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[-2.0, 0.0, 2.0]], np.float32), [0, 128, 255]),
        (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
        (np.array([[-5, 257, 65535]], np.int32), [0, 1, 255]),
    ],
)
def test_wide_types_of_tiff(values, expected):
    np.testing.assert_array_equal(decode(encode(Image.fromarray(values), "TIFF"), "f.tif")[0, :, 0], expected)


def test_constant_float_image_is_read():
    assert decode(encode(Image.fromarray(np.full((2, 2), 900.0, np.float32)), "TIFF"), "f.tif").shape == (2, 2, 1)


def test_cmyk_and_ycbcr_become_rgb():
    rgb = Image.new("RGB", (16, 16), (200, 60, 20))
    for mode in ("CMYK", "YCbCr"):
        seen = decode(encode(rgb.convert(mode), "JPEG" if mode == "CMYK" else "TIFF"), mode)
        assert seen.shape == (16, 16, 3)
        np.testing.assert_allclose(seen[8, 8].astype(int), (200, 60, 20), atol=6)


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_an_animation_is_its_first_frame_or_a_clip(form):
    shots = [Image.new("RGB", (12, 8), c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    how = {"lossless": True} if form == "WEBP" else {}
    data = encode(shots[0], form, save_all=True, append_images=shots[1:], **how)
    assert decode(data, "a").shape == (8, 12, 3)
    assert decode(data, "a")[0, 0].tolist() == [255, 0, 0]
    clip = decode(data, "a", frames=2)
    assert clip.shape == (2, 8, 12, 3)
    assert clip[1, 0, 0].tolist() == [0, 255, 0]
    longer = decode(data, "a", frames=5)
    assert longer[3:, 0, 0].tolist() == [[0, 0, 255]] * 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, I am not an image" * 9, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
        (encode(Image.fromarray(noise(40, 40, 3)))[:900], "cannot be decoded"),
        (encode(Image.fromarray(noise(40, 40, 3)), "JPEG")[:700], "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n\0\0", "x.png"),
    ],
)
def test_what_is_no_image_is_an_error_that_names_the_file(data, words):
    with pytest.raises(DataError, match=r"x\.png") as raised:
        decode(data, "x.png")
    assert words in str(raised.value)


@pytest.mark.parametrize("size", [(60_000, 60_000), (MAX_PIXELS + 1, 1), (20_000, 10_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size, monkeypatch):
    def explode(*_):
        raise AssertionError("decoded")

    data = png_header(*size)
    monkeypatch.setattr(ImageFile.ImageFile, "load", explode)
    for look in (decode, probe):
        with pytest.raises(DataError, match=r"bomb\.png is .*179 megapixels"):
            look(data, "bomb.png")


def test_the_limit_holds_whatever_pillow_is_told(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(DataError, match="60000 x 60000 pixels"):
        decode(png_header(60_000, 60_000), "bomb.png")


@pytest.mark.parametrize("pixels", [noise(5, 7), noise(5, 7, 3), noise(5, 7, 4), noise(5, 7, dtype=np.uint16)])
def test_probe_agrees_with_decode(pixels):
    data = encode(Image.fromarray(pixels))
    assert probe(data, "a") == decode(data, "a").shape


def test_channels_change_as_a_person_would_expect():
    grey, colour = noise(3, 4, 1), noise(3, 4, 3)
    np.testing.assert_array_equal(to_channels(grey, 3), grey[..., [0, 0, 0]])
    np.testing.assert_array_equal(to_channels(colour, 4)[..., 3], 255)
    half = np.concatenate([np.zeros((1, 3, 3), np.uint8), np.array([[[0], [51], [255]]], np.uint8)], -1)
    assert to_channels(half, 3)[0, :, 0].tolist() == [255, 204, 0]  # black over white
    assert to_channels(half, 3, (10, 20, 30))[0, 0].tolist() == [10, 20, 30]
    assert to_channels(np.full((1, 1, 3), 77, np.uint8), 1).tolist() == [[[77]]]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(orientation):
    coarse = Image.fromarray(noise(9, 12, 3)).resize((1200, 900), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(coarse, "JPEG", exif=exif)
    whole, part = decode(data, "a.jpg"), decode(data, "a.jpg", least=(32, 24) if orientation == 6 else (24, 32))
    assert whole.shape == ((1200, 900, 3) if orientation == 6 else (900, 1200, 3))
    assert part.shape == ((150, 113, 3) if orientation == 6 else (113, 150, 3))
    size = (24, 32) if orientation == 6 else (32, 24)
    small = [np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BICUBIC)).astype(float) for x in (whole, part)]
    assert np.square(small[0] - small[1]).mean() < 255**2 / 10**3.8  # 38 dB
    assert decode(data, "a.jpg", least=(120, 120)).shape == whole.shape


def test_probe_reads_no_pixels():
    data = encode(Image.fromarray(noise(40, 40, 3)))
    assert probe(data[:200], "a.png") == (40, 40, 3)
