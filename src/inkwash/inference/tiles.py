"""A picture of any size through a network, piece by piece: memory holds one piece, and no seam is seen.

A piece is cut with a margin as wide as the network looks; what it makes of the margin is thrown away, so that the rest is what the
whole picture would have given. A network that looks over everything has no such margin: its pieces overlap and are blended.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from inkwash.core.model import OnStep
from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.diffusion.guidance import windows

BLEND = 16  # pixels over which neighbouring pieces change into each other


def ramp(start: int, stop: int, length: int, keep: int, blend: int) -> Tensor:
    """Weights of a piece's pixels start..stop on a side of `length`: 0 within `keep` of a cut, then up over `blend`. Ends of the
    picture are no cuts."""
    at = torch.arange(start, stop, dtype=torch.float32) + 0.5
    up = torch.ones_like(at) if start == 0 else ((at - start - keep) / max(blend, 1)).clamp(0, 1)
    down = torch.ones_like(at) if stop == length else ((stop - at - keep) / max(blend, 1)).clamp(0, 1)
    return torch.minimum(up, down)


def by_tiles(
    f: Callable[[Tensor], Tensor],
    picture: np.ndarray,
    scale: int = 1,
    tile: int = 128,
    reach: int | None = None,
    on_step: OnStep | None = None,
) -> np.ndarray:
    """f, a map of images (1, C, H, W) to (1, C, scale H, scale W), over uint8 (H, W, C), to uint8 (scale H, scale W, C).

    tile: side of a piece without its margin. reach: how far f looks; None where it looks at everything it is given. on_step(done, total)
    counts pieces.
    """
    height, width, channels = picture.shape
    keep = tile // 8 if reach is None else reach
    side, shared = tile + 2 * keep, 2 * keep + BLEND
    rows, columns = windows(height, side, shared), windows(width, side, shared)
    out = np.empty((scale * height, scale * width, channels), np.uint8)
    done = 0
    band = torch.zeros(0)  # sums of weighted pieces of the rows that are not finished yet, with their weights as a last channel
    finished = 0
    for i, top in enumerate(rows):
        bottom = min(top + side, height)
        fresh = torch.zeros(channels + 1, scale * (bottom - finished), scale * width)
        fresh[:, : band.shape[1] if band.ndim == 3 else 0] = band if band.ndim == 3 else 0
        band = fresh
        for left in columns:
            right = min(left + side, width)
            x = from_uint8(torch.from_numpy(picture[top:bottom, left:right].copy())).permute(2, 0, 1)[None]
            made = f(x)[0].float().cpu()  # (C, scale h, scale w)
            weight = torch.outer(
                ramp(scale * top, scale * bottom, scale * height, scale * keep, scale * BLEND),
                ramp(scale * left, scale * right, scale * width, scale * keep, scale * BLEND),
            )
            place = band[:, scale * (top - finished) : scale * (bottom - finished), scale * left : scale * right]
            place[:-1] += made * weight
            place[-1] += weight
            done += 1
            if on_step:
                on_step(done, len(rows) * len(columns))
        until = rows[i + 1] if i + 1 < len(rows) else height  # the next row of pieces begins here
        ready, band = band[:, : scale * (until - finished)], band[:, scale * (until - finished) :]
        out[scale * finished : scale * until] = to_uint8(ready[:-1] / ready[-1]).permute(1, 2, 0).numpy()
        finished = until
    return out
