"""Pictures made larger, or into others: by a trained model, tile by tile, or by interpolation, in the same words."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from inkwash.core.errors import ConfigError
from inkwash.core.model import OnStep, Translator
from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.data.decode import to_channels
from inkwash.inference.interpolation import METHODS
from inkwash.inference.load import Loaded
from inkwash.inference.tiles import by_tiles
from inkwash.nn.resize import resize

TILE = 192  # pixels of the small picture, unless said
WHOLE = 1024  # side of a picture that is translated at once
MOST = 400_000_000  # pixels of a result


def enlarge(pixels: np.ndarray, scale: int, method: str) -> np.ndarray:
    """uint8 (H, W, C) to (scale H, scale W, C) by interpolation; the colour of transparent pixels does not bleed."""
    height, width, channels = pixels.shape
    size = (scale * height, scale * width)
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if channels == 4 else (pixels, None)
    x = torch.from_numpy(colour.astype(np.float32)).permute(2, 0, 1)
    if alpha is None:
        return _bytes(resize(x, *size, METHODS[method]))
    share = torch.from_numpy(alpha.astype(np.float32)).permute(2, 0, 1) / 255
    opaque = resize(share, *size, METHODS[method])
    x = resize(x * share, *size, METHODS[method]) / opaque.clamp(min=1 / 255)
    return np.concatenate([_bytes(x), _bytes(255 * opaque)], axis=-1)


def covered(pixels: np.ndarray) -> np.ndarray:
    """The colours of uint8 (H, W, 4); pixels that nobody sees, but a network does, take those that lie nearest, more or less."""
    share = torch.from_numpy(pixels[..., 3:].astype(np.float32)).permute(2, 0, 1)[None] / 255
    colour = torch.from_numpy(pixels[..., :3].astype(np.float32)).permute(2, 0, 1)[None]
    return _bytes(_spread(colour * share, share)[0])


def _spread(sums: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """sums / share, and where share is 0 the same of the picture at half its size, and so on."""
    out = sums / share.clamp(min=1e-6)
    if bool((share > 0).all()) or max(share.shape[-2:]) == 1:
        return out
    halves = [F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (sums, share)]
    behind = F.interpolate(_spread(*halves), share.shape[-2:], mode="bilinear")
    return torch.where(share > 0, out, behind)


def _bytes(x: torch.Tensor) -> np.ndarray:
    """(C, H, W) in 0..255 to uint8 (H, W, C)."""
    return (x + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def upscale(loaded: Loaded, pixels: np.ndarray, scale: int | None = None, tile: int = TILE, on_step: OnStep | None = None) -> np.ndarray:
    """uint8 (H, W, C) to (s H, s W, C), C kept: the model makes the colours, and alpha goes by cubic interpolation.

    scale: another than the model's own is reached by going there as often as needed and back by bicubic reduction.
    Raises ConfigError where the model makes no picture of another, or the result would be too large.
    """
    model = loaded.model
    if not isinstance(model, Translator) or model.scale < 2:
        raise ConfigError(f"{loaded.name} does not make pictures larger: it is a {loaded.kind!r} model.")
    wanted = scale or model.scale
    height, width, channels = pixels.shape
    times, reached = 0, 1
    while reached < wanted:
        times, reached = times + 1, reached * model.scale
    if height * width * reached**2 > MOST:
        raise ConfigError(f"{width} x {height} pixels {reached} times larger are more than {MOST / 1e6:.0f} megapixels.")
    own = model.config.shape[0]
    colour = to_channels(covered(pixels) if channels == 4 else pixels, own)
    f = _mapping(loaded, "large")
    for i in range(times):
        step = on_step and (lambda done, total, i=i: on_step(i * total + done, times * total))
        colour = by_tiles(f, colour, model.scale, tile, model.reach, step)
    if reached != wanted:
        x = from_uint8(torch.from_numpy(colour)).permute(2, 0, 1)
        colour = to_uint8(resize(x, wanted * height, wanted * width)).permute(1, 2, 0).numpy()
    if channels == 4:
        alpha = enlarge(pixels[..., 3:], wanted, "bicubic")
        return np.concatenate([to_channels(colour, 3), alpha], axis=-1)
    return colour if channels == own else to_channels(colour, channels)


def translate(loaded: Loaded, pixels: np.ndarray, to: str | None = None, tile: int = 0, on_step: OnStep | None = None) -> np.ndarray:
    """uint8 (H, W, C) to another picture of its size; alpha is kept. tile: 0 for the whole picture at once where that is small enough.

    Raises ConfigError where the model makes no picture of another, or not this one.
    """
    model = loaded.model
    if not isinstance(model, Translator) or model.scale != 1:
        raise ConfigError(f"{loaded.name} does not make one picture of another of its size: it is a {loaded.kind!r} model.")
    if to is None and len(model.directions) > 1:
        raise ConfigError(f"{loaded.name} makes {' and '.join(model.directions)}: say which with --to.")
    if to is not None and to not in model.directions:
        raise ConfigError(f"{loaded.name} makes {' and '.join(model.directions)}, not {to!r}.")
    own, channels = model.config.shape[0], pixels.shape[-1]
    colour = to_channels(covered(pixels) if channels == 4 and own != 4 else pixels, own)
    made = by_tiles(_mapping(loaded, to or model.directions[0]), colour, 1, tile or WHOLE, model.reach, on_step)
    return np.concatenate([to_channels(made, 3), pixels[..., 3:]], axis=-1) if channels == 4 and own != 4 else made


def _mapping(loaded: Loaded, to: str) -> Callable[[torch.Tensor], torch.Tensor]:
    device = loaded.model.device

    def f(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), loaded.precision.autocast(device):
            return loaded.model.translate(x.to(device), to)

    return f
