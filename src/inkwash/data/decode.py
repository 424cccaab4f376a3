"""Bytes of a file to pixels, as a person sees them."""

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from inkwash.core.errors import DataError
from inkwash.core.pixels import from_uint8

SUFFIXES = frozenset([
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".avif", ".jp2", ".j2k", ".qoi",
])  # fmt: skip
MAX_PIXELS = 178_956_970  # Pillow's own point of refusal: 512 MiB of RGB
# Only these are tried, whatever a file is called: Pillow runs a program of its own to read an EPS. TGA, which has no mark, is last.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "AVIF", "JPEG2000", "QOI", "TGA")
_GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, name: str, frames: int | None = None, least: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels of an image file: uint8 (H, W, C), C = 1 (grey), 3 (RGB) or 4 (RGBA, straight alpha).

    EXIF orientation is applied, palettes are looked up, 16 bits become 8 (u / 257), CMYK and YCbCr become RGB. Of an animation the
    first frame is read, or with `frames` = F its first F as (F, H, W, C), the last one repeated where it is shorter.
    least: (height, width); a JPEG of several times this size is decoded at a half, a quarter or an eighth, still at least four times it:
    three to four times as fast, and once shrunk a photograph is about 45 dB from what it is when decoded whole.
    Raises DataError, naming the file, where it is empty, no image, cut short or larger than MAX_PIXELS.
    """
    image = _open(data, name, frames or 1)
    try:
        if least is not None and image.format == "JPEG":
            height, width = least if _orientation(image) < 5 else least[::-1]
            image.draft(None, (4 * width, 4 * height))
        if frames is None:
            return _pixels(image)
        shots = []
        for k in range(min(frames, getattr(image, "n_frames", 1))):
            image.seek(k)
            shots.append(_pixels(image.copy()))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them trip over
        raise DataError(f"{name} cannot be decoded: {error or type(error).__name__}.") from error
    shots += shots[-1:] * (frames - len(shots))
    deepest = max(s.shape[-1] for s in shots)
    return np.stack([to_channels(s, deepest) if s.shape[-1] != deepest else s for s in shots])  # (F, H, W, C)


def decode_clip(data: bytes, name: str) -> np.ndarray:
    """All frames of an animation, uint8 (F, H, W, C); one frame of a picture that does not move.

    One that is shown k times as long as the shortest is k frames: those that write GIFs make one of frames that are alike. Raises
    DataError as `decode` does.
    """
    image, held = _open(data, name, 1), []
    try:
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            held.append(image.info.get("duration") or 0)
    except Exception as error:
        raise DataError(f"{name} cannot be decoded: {error or type(error).__name__}.") from error
    shortest = min(filter(None, held), default=1)
    return np.repeat(decode(data, name, len(held)), [max(1, round(d / shortest)) for d in held], axis=0)


def opened(path: str, what: str = "picture") -> np.ndarray:
    """The pixels of a file, uint8 (H, W, C). Raises DataError for a file that is no picture."""
    place = Path(path)
    if not place.is_file():
        raise DataError(f"There is no {what} {path}.")
    return decode(place.read_bytes(), path)


def probe(data: bytes, name: str, frames: int | None = None) -> tuple[int, ...]:
    """The shape that `decode` would return, from the header alone. A palette with a transparent entry counts as RGBA."""
    image = _open(data, name, frames or 1)
    width, height = image.size
    if _orientation(image) >= 5:
        width, height = height, width
    alpha = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    channels = 4 if alpha else 1 if image.mode in _GREY else 3
    return (height, width, channels) if frames is None else (frames, height, width, channels)


def to_channels(image: np.ndarray, channels: int, background: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """uint8 (H, W, any of 1, 3, 4) to (H, W, channels). Alpha is laid over the background unless it is kept."""
    have = image.shape[-1]
    if have == channels:
        return image
    if channels == 4:
        colour = np.repeat(image, 3, -1) if have == 1 else image
        return np.concatenate([colour, np.full_like(image[..., :1], 255)], -1)
    if have == 4:
        alpha = image[..., 3:].astype(np.uint32)
        over = image[..., :3] * alpha + np.array(background, np.uint32) * (255 - alpha)
        image = ((over + 127) // 255).astype(np.uint8)
        if channels == 3:
            return image
    if channels == 3:
        return np.repeat(image, 3, -1)
    return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def as_rgb(image: np.ndarray) -> Tensor:
    """uint8 (H, W, C) to a batch of one, (1, 3, H, W) in [-1, 1]."""
    return from_uint8(torch.from_numpy(to_channels(image, 3).copy())).permute(2, 0, 1)[None]


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)  # AVIF depends on how Pillow was built


def _open(data: bytes, name: str, frames: int) -> Image.Image:
    if not data:
        raise DataError(f"{name} is an empty file.")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except Image.DecompressionBombError:
        raise DataError(f"{name} is larger than {MAX_PIXELS / 1e6:.0f} megapixels, the most that is decoded.") from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is not an image that can be read.") from None
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(f"{name} has a broken header: {error or type(error).__name__}.") from error
    width, height = image.size
    if width * height * frames > MAX_PIXELS:
        raise DataError(
            f"{name} is {width} x {height} pixels{f' x {frames} frames' if frames > 1 else ''}, "
            f"more than {MAX_PIXELS / 1e6:.0f} megapixels, the most that is decoded."
        )
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return Image.Image.getexif(image).get(_ORIENTATION, 1)  # a PNG's own method would decode it
    except (SyntaxError, ValueError, KeyError, struct.error):  # viewers show an image with broken EXIF as it is stored
        return 1


def _pixels(image: Image.Image) -> np.ndarray:
    image.load()
    png = image.format == "PNG"
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        info = image.info
        image = image.transpose(turn)
        image.info = info
    if image.mode.startswith("I") or image.mode == "F":
        return _deep(np.asarray(image), png)[..., None]
    if "transparency" in image.info or image.mode in ("LA", "La", "PA"):
        pixels = np.asarray(image.convert("RGBA"))
        if (pixels[..., 3] < 255).any():
            return pixels
        image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "RGBa":
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _deep(values: np.ndarray, png: bool) -> np.ndarray:
    """Grey of more than 8 bits to uint8 (H, W). Its range is the type's, or for int32 and float the smallest usual one that holds it.

    Floats: [0, 1], else [0, 255], else the image's own minimum to maximum. int32: 8 bits, else 16, else 31; negative is black.
    """
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64))
        low, high = values.min(), values.max()
        if low < 0 or high > 255:
            values = (values - low) / max(high - low, 1e-300)
        elif high > 1:
            values = values / 255
        return (values * 255 + 0.5).astype(np.uint8)
    eight = values.dtype == np.int32 and not png and values.max() <= 255  # a PNG of mode I has 16 bits, however dark
    values = values.astype(np.int64).clip(min=0)
    high = values.max()
    if eight:
        return values.astype(np.uint8)
    step = 257 if high <= 65535 else (2**31 - 1) // 255
    return ((values + step // 2) // step).clip(max=255).astype(np.uint8)
