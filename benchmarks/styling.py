"""Style transfer beside the version most often taught, at equal time, judged by the same losses.

usage: python benchmarks/styling.py PICTURES.zip [--pairs CONTENT+STYLE ...] [--size 512] [--strength 1 0.2 0.1] [--network own]
       [--run RUN] [--out DIR]

The taught version: one content layer, one style layer, Adam at 0.01, 500 steps at full size, from the photograph; a style weight that gives
it its chance is sought for it per pair among powers of ten, on a picture of 128 pixels: the one that comes nearest to our balance of both
losses. It is stopped, too, when ours was ready. Both losses are over all layers, in units of their goals; since each can be had at the cost
of the other, ours is made at one --strength after another until both of its losses are below the taught version's, or none is left.
--run: a network trained for one style, timed in one pass. Pictures go to --out, side by side: photograph, painting, taught, ours at the
first strength, ours at the last that was tried. The last line is JSON.
"""

import argparse
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.device import keep_freed_memory
from inkwash.core.pixels import to_uint8
from inkwash.data.decode import as_rgb, decode
from inkwash.inference.load import load
from inkwash.inference.style import STYLE, StyleOptions, both_losses, transfer
from inkwash.metrics.features.base import Layered
from inkwash.metrics.features.catalog import perceptual
from inkwash.nn.perceptual import gram
from inkwash.nn.resize import resize

PAIRS = (
    "tubingen+vg_starry_night", "golden_gate+the_scream", "lion+mosaic", "taj_mahal+candy",
    "figures+vg_la_cafe", "hoovertowernight+starry_night", "golden_gate2+wave_crop", "tubingen+seated-nude",
)  # fmt: skip


def read(z: zipfile.ZipFile, name: str, size: int | None = None) -> Tensor:
    """(1, 3, H, W) in [-1, 1], the long side brought to size."""
    x = as_rgb(decode(z.read(name), name))
    scale = size / max(x.shape[-2:]) if size else 1
    return resize(x, *(round(scale * side) for side in x.shape[-2:])).clamp(-1, 1)


def taught(seer: Layered, photo: Tensor, painting: Tensor, weight: float, seconds: float, steps: int = 500) -> Tensor:
    """The short version: the deepest style layer, plain squared errors, Adam."""
    layer, begin = seer.style[-1], time.perf_counter()
    with torch.no_grad():
        there, wanted = seer.layers(photo)[seer.content], gram(seer.layers(painting)[layer])
    x = photo.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], 0.01)
    for _ in range(steps):
        if time.perf_counter() - begin > seconds:
            break
        optimizer.zero_grad()
        maps = seer.layers(x)
        (F.mse_loss(maps[seer.content], there) + weight * F.mse_loss(gram(maps[layer]), wanted)).backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(-1, 1)
    return x.detach()


def chance(seer: Layered, photo: Tensor, painting: Tensor) -> float:
    """The style weight of the taught version that does best by content + STYLE style, on a small picture."""
    small = [resize(p, *(max(16, round(128 / max(p.shape[-2:]) * side)) for side in p.shape[-2:])) for p in (photo, painting)]
    losses = both_losses(seer, *small)

    def worth(weight: float) -> float:
        made = taught(seer, *small, weight, 1e9, 200)
        with torch.no_grad():
            content, style = losses(made)
        return (content + STYLE * style).item()

    return min((10.0**k for k in range(8)), key=worth)


def against(seer: Layered, photo: Tensor, painting: Tensor, seconds: float) -> tuple[Tensor, dict[str, float]]:
    """The taught version's picture after so many seconds, and its losses."""
    scale = min(1.0, min(photo.shape[-2:]) / min(painting.shape[-2:]))
    goal = resize(painting, *(max(16, round(scale * side)) for side in painting.shape[-2:]))
    made = taught(seer, photo, goal, chance(seer, photo, goal), seconds)
    with torch.no_grad():
        return made, {k: round(v.item(), 4) for k, v in zip(("content", "style"), both_losses(seer, photo, goal)(made))}


def compare(seer: Layered, photo: Tensor, painting: Tensor, strengths: list[float]) -> tuple[dict, list[Tensor]]:
    """Figures of one pair; and the taught version's picture, ours at the first strength and at the last that was tried."""
    ours: list[dict[str, float]] = []
    for strength in strengths:
        start = time.perf_counter()
        made, losses = transfer(seer, photo, painting, StyleOptions(strength=strength))
        taken = round(time.perf_counter() - start, 1)
        ours.append({"strength": strength, "seconds": taken, **{k: round(v, 4) for k, v in losses.items()}})
        if len(ours) == 1:
            first, (short, theirs) = made, against(seer, photo, painting, taken)
        if lower := all(ours[-1][k] < theirs[k] for k in theirs):
            break
    return {"ours": ours, "taught": theirs, "both_lower": lower}, [short, first, made]


def bytes_of(x: Tensor, height: int) -> np.ndarray:
    return to_uint8(resize(x, height, round(height * x.shape[-1] / x.shape[-2])))[0].permute(1, 2, 0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--strength", type=float, nargs="+", default=[1.0, 0.2, 0.1])
    parser.add_argument("--network", default="own")
    parser.add_argument("--run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    seer, found, z = perceptual(args.network), {}, zipfile.ZipFile(args.pictures)
    painter = load(args.run) if args.run else None
    for pair in args.pairs:
        content, style = pair.split("+")
        photo, painting = read(z, f"content/{content}.jpg", args.size), read(z, f"style/{style}.jpg")
        found[pair], shown = compare(seer, photo, painting, args.strength)
        print(pair, found[pair], flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            row = np.concatenate([bytes_of(p, 320) for p in (photo, painting, *shown)], axis=1)
            Image.fromarray(row).save(args.out / f"{pair}.png")
        if painter:
            with torch.no_grad():
                painter.model.translate(photo, "painted")
                start = time.perf_counter()
                painter.model.translate(photo, "painted")
            found[pair]["pass"] = round(time.perf_counter() - start, 2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
