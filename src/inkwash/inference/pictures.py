"""Pictures on disk that say what made them, and grids."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from inkwash.core.disk import write_bytes
from inkwash.core.pixels import to_uint8
from inkwash.inference.provenance.infotext import parameters as parameters
from inkwash.inference.provenance.read import Traces
from inkwash.inference.provenance.read import read_facts as read_facts
from inkwash.inference.provenance.write import FORMATS, NOTHING_MORE, Provenance, encode


def to_pil(x: Tensor) -> Image.Image:
    """(C, H, W) in [-1, 1], C = 1, 3 or 4, to a picture."""
    u = to_uint8(x).permute(1, 2, 0).cpu().numpy()  # (H, W, C)
    return Image.fromarray(u[..., 0] if u.shape[2] == 1 else u)


def save_picture(
    path: Path,
    x: Tensor | Image.Image,
    facts: dict[str, Any] | None = None,
    given: Provenance = NOTHING_MORE,
    original: Traces | None = None,
) -> None:
    """Write one picture with what made it, as PNG, or as the JPEG or WebP that its name asks for. original: what was edited."""
    picture = x if isinstance(x, Image.Image) else to_pil(x)
    write_bytes(path, encode(picture, facts, FORMATS.get(path.suffix.lower(), "png"), given, original=original), sync=False)


def save_png(path: Path, x: Tensor | Image.Image, facts: dict[str, Any] | None = None) -> None:
    """Write one PNG file with what made it."""
    write_bytes(path, encode(x if isinstance(x, Image.Image) else to_pil(x), facts, "png"), sync=False)


def save_gif(path: Path, frames: Tensor, rate: float = 10.0) -> None:
    """Frames (F, C, H, W) in [-1, 1] as an animation that repeats. rate: frames a second; a GIF counts in hundredths of one."""
    first, *rest = [to_pil(frame) for frame in frames]
    data = BytesIO()
    first.save(data, "GIF", save_all=True, append_images=rest, duration=max(2, round(100 / rate)) * 10, loop=0, disposal=2, optimize=False)
    write_bytes(path, data.getvalue(), sync=False)


def grid(
    images: Tensor, columns: int | None = None, labels: Sequence[str] = (), gap: int = 2, smallest: int = 64, background: float = 1.0
) -> Image.Image:
    """(N, C, H, W) in [-1, 1] as one picture, row by row, each under its label where labels are given.

    Small images are enlarged by a whole factor, pixel by pixel, until their short side is at least `smallest`.
    """
    n, c, h, w = images.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    scale = max(1, math.ceil(smallest / min(h, w)))
    gap, band = gap * max(1, scale // 2), 14 if labels else 0
    rows = math.ceil(n / columns)
    size = (columns * (w * scale + gap) + gap, rows * (h * scale + band + gap) + gap)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[c]
    shade = round(127.5 * background + 127.5)
    canvas = Image.new(mode, size, {1: shade, 3: (shade,) * 3, 4: (0, 0, 0, 0)}[c])
    pen = ImageDraw.Draw(canvas)
    for i in range(n):
        x, y = gap + (i % columns) * (w * scale + gap), gap + (i // columns) * (h * scale + band + gap)
        canvas.paste(to_pil(images[i]).resize((w * scale, h * scale), Image.Resampling.NEAREST), (x, y))
        if labels:
            ink = {1: 0, 3: (0, 0, 0), 4: (0, 0, 0, 255)}[c]
            pen.text((x, y + h * scale), str(labels[i])[: w * scale // 6], fill=ink, font=ImageFont.load_default(11))
    return canvas


def from_picture(picture: Image.Image) -> Tensor:
    """A picture in mode L, RGB or RGBA to (C, H, W) in [-1, 1]."""
    u = np.asarray(picture)
    u = u[..., None] if u.ndim == 2 else u
    return torch.from_numpy(u.copy()).permute(2, 0, 1).float() / 127.5 - 1
