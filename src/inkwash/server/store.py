"""Pictures on the server's disk: names that nobody can guess, files that are whole or not there, uploads that are pictures and no more."""

import base64
import binascii
import io
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, ImageOps

from inkwash.core.disk import write_bytes
from inkwash.core.errors import DataError
from inkwash.inference.provenance.read import Traces
from inkwash.inference.provenance.write import encode

TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
NAME = re.compile(rf"[A-Za-z0-9_-]{{32}}\.({'|'.join(TYPES)})")
UPLOADED = ("PNG", "JPEG", "WEBP")
DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<more>(?:;[\w.+-]+=[^;,]*)*)(?P<base64>;base64)?,", re.ASCII)
STALE = 3600.0  # seconds after which a file that belongs to no job goes


class Store:
    """A folder of pictures."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes, suffix: str) -> str:
        """Keep bytes under a new name, all or nothing, and return it. Raises FileError where the disk is full."""
        name = f"{secrets.token_urlsafe(24)}.{suffix}"
        write_bytes(self.folder / name, data, sync=False)
        return name

    def path(self, name: str) -> Path | None:
        """The file of that name; None for one that is not there, or could not have been given by `put`."""
        path = self.folder / name
        return path if NAME.fullmatch(name) and path.is_file() else None

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            if NAME.fullmatch(name):
                (self.folder / name).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> int:
        """Remove files that belong to no job and have lain here for an hour, as a killed process leaves them. How many."""
        old = time.time() - STALE
        gone = 0
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # renamed or removed meanwhile
                if path.name not in known and path.is_file() and path.stat().st_mtime < old:
                    path.unlink()
                    gone += 1
        return gone


def read_picture(data: bytes, most_pixels: int, what: str) -> Image.Image:
    """An uploaded file as a picture, L, RGB or RGBA, turned as its EXIF says. Its size is looked at before a pixel is decoded.

    Only pixels come out of it: what else a file may hold does not reach a model or a disk. Raises DataError.
    """
    try:
        with Image.open(io.BytesIO(data), formats=UPLOADED) as picture:
            width, height = picture.size
            if width * height > most_pixels:
                raise DataError(f"The {what} has {width} x {height} pixels; at most {most_pixels} are taken.")
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):  # 16 bits of a PNG, which Pillow would cut off at 255
                return Image.fromarray(((np.asarray(upright).astype(np.int64) + 128) // 257).clip(0, 255).astype(np.uint8))
            alpha = "transparency" in upright.info or upright.mode in ("LA", "PA", "RGBA", "RGBa", "La")
            return upright.convert("RGBA" if alpha else "L" if upright.mode in ("1", "L") else "RGB")
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"The {what} has too many pixels; at most {most_pixels} are taken.") from None
    except Exception:  # a decoder that stumbles over a broken file may raise anything
        raise DataError(f"The {what} is not a PNG, JPEG or WebP picture that can be read.") from None


def as_png(picture: Image.Image, traces: Traces = Traces()) -> bytes:  # noqa: B008 (frozen)
    """The pixels as a PNG, with the label of what was uploaded, where it had one, and nothing else."""
    return encode(picture, None, "png", original=Traces(labels=traces.labels[:1]))


def from_data_url(url: str, most_bytes: int, what: str) -> bytes:
    """The bytes of a data: URL. Raises DataError for any other: no address is fetched on a client's behalf."""
    head = DATA_URL.match(url[:200])
    if head is None:
        raise DataError(f"The {what} is not a data: URL; this server fetches no addresses, so send the picture itself.")
    body = url[head.end() :]
    if len(body) > most_bytes * 4 // 3 + 4:
        raise DataError(f"The {what} is larger than {most_bytes} bytes.")
    if not head["base64"]:
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise DataError(f"The {what} is not valid base64.") from None
