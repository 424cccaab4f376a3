"""Style transfer beside the version most often taught, at equal time, judged by the same losses.

usage: python benchmarks/styling.py PICTURES.zip [--pairs CONTENT+STYLE ...] [--size 512] [--strength 1] [--network own] [--run RUN]
       [--out DIR]

The taught version: one content layer, one style layer, Adam at 0.01, 500 steps at full size, from the photograph; a style weight that gives
it its chance is sought for it per pair among powers of ten, on a picture of 128 pixels: the one that comes nearest to our balance of both
losses. It is stopped, too, when ours was ready. Both losses are over all layers, in units of their goals. --run: a network trained for
one style, timed in one pass. Pictures go to --out, side by side: photograph, painting, taught, ours. The last line is JSON.
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


def bytes_of(x: Tensor, height: int) -> np.ndarray:
    return to_uint8(resize(x, height, round(height * x.shape[-1] / x.shape[-2])))[0].permute(1, 2, 0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--strength", type=float, default=1.0)
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
        start = time.perf_counter()
        made, ours = transfer(seer, photo, painting, StyleOptions(strength=args.strength))
        seconds = time.perf_counter() - start
        scale = min(1.0, min(photo.shape[-2:]) / min(painting.shape[-2:]))
        goal = resize(painting, *(max(16, round(scale * side)) for side in painting.shape[-2:]))
        short = taught(seer, photo, goal, chance(seer, photo, goal), seconds)
        with torch.no_grad():
            theirs = [v.item() for v in both_losses(seer, photo, goal)(short)]
        found[pair] = {"seconds": round(seconds, 1), "ours": [round(v, 4) for v in ours.values()], "taught": [round(v, 4) for v in theirs]}
        print(pair, found[pair], flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            row = np.concatenate([bytes_of(p, 320) for p in (photo, painting, short, made)], axis=1)
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
