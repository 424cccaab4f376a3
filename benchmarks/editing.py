"""What editing keeps: the round trip from images to noise and back, and inpainting of their middles.

usage: python benchmarks/editing.py RUN --data DATA [-n 64] [--steps 50] [--out DIR]

Round trip: each image's noise is found, and the image made from it again, with its label: PSNR in dB. In fp32.
Inpainting: the middle quarter of each image is made anew. Known pixels must come back bit by bit. The seam: mean absolute step between the
pixels on both sides of the border of the hole, and the same places in the images as they were; pixels in [-1, 1]. Pictures of rows
image, masked, filled go to DIR, and one of images and what they become two classes on. The last line is JSON.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from inkwash.core.batch import Condition
from inkwash.data import Loader, View
from inkwash.inference.draw import draw
from inkwash.inference.edit import ROUNDS
from inkwash.inference.evaluate import open_pair
from inkwash.inference.load import Loaded, load
from inkwash.inference.pictures import grid, save_png
from inkwash.metrics.paired import psnr


def seam(x: Tensor, top: int, left: int, height: int, width: int) -> float:
    """Mean absolute step across the border of a rectangle, x: (N, C, H, W)."""
    rows, columns = slice(top, top + height), slice(left, left + width)
    steps = [x[:, :, i - 1, columns] - x[:, :, i, columns] for i in (top, top + height)]
    steps += [x[:, :, rows, i - 1] - x[:, :, rows, i] for i in (left, left + width)]
    return torch.cat([s.flatten() for s in steps]).abs().mean().item()


@torch.no_grad()
def round_trip(loaded: Loaded, x: Tensor, label: Tensor | None, steps: int) -> tuple[dict, Tensor]:
    """Figures, and the noise of the images."""
    model, cond = loaded.model, Condition(label=label)
    options = loaded.options(steps=steps)
    start = time.perf_counter()
    noise = model.invert(x, cond, options)
    back = model.regenerate(noise, cond, options)
    joined = (y.flatten(0, 2)[None, None] for y in (x, back))  # (1, 1, N C H, W): of the mean squared error of all
    found = {
        "psnr": round(psnr(*joined).item(), 2),
        "worst": round(psnr(x, back).min().item(), 2),
        "noise std": round(noise.std().item(), 3),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return found, noise


def inpainting(run: str, x: Tensor, label: Tensor | None, out: Path, rounds: int) -> dict:
    loaded = load(run)
    n, _, h, w = x.shape
    top, left, height, width = h // 4, w // 4, h // 2, w // 2
    mask = torch.zeros(n, 1, h, w)
    mask[:, :, top : top + height, left : left + width] = 1
    cond = Condition(image=x, mask=mask)
    filled = draw(loaded.model, range(n), loaded.options(rounds=rounds), label, loaded.precision, n, None, cond)
    known = (mask == 0).expand_as(x)
    masked = torch.where(known, x, 0.0)
    rows = [torch.cat([part[i : i + 16] for part in (x, masked, filled)]) for i in range(0, n, 16)]
    save_png(out / f"inpainting-{rounds}.png", grid(torch.cat(rows), columns=16, smallest=56), {"run": loaded.name})
    box = (top, left, height, width)
    return {
        "known pixels equal": bool(torch.equal(x[known], filled[known])),
        "seam": round(seam(filled, *box), 4),
        "seam of the images": round(seam(x, *box), 4),
        "inside the hole": round(psnr(x, filled).mean().item(), 2),
    }


@torch.no_grad()
def another_class(loaded: Loaded, x: Tensor, noise: Tensor, label: Tensor, steps: int, out: Path) -> None:
    """Rows of images, and of their noise under the class two after theirs."""
    wanted = Condition(label=(label + 2) % len(loaded.classes))
    made = loaded.model.regenerate(noise, wanted, loaded.options(steps=steps))
    rows = [part[i : i + 16] for i in range(0, len(x), 16) for part in (x, made)]
    save_png(out / "reclass.png", grid(torch.cat(rows), columns=16, smallest=56), {"run": loaded.name})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("editing"))
    args = parser.parse_args()
    exact = load(args.run, precision="fp32")
    _, held_out = open_pair(args.data, View.parse(exact.data["view"]))
    batch = Loader(held_out, 1, seed=0, augment=False).batch_at(0, args.n)
    x, label = batch.image, batch.cond.label
    args.out.mkdir(parents=True, exist_ok=True)
    figures, noise = round_trip(exact, x, label, args.steps)
    found = {"round trip": figures}
    found |= {f"inpainting, {rounds} rounds": inpainting(args.run, x, label, args.out, rounds) for rounds in (0, ROUNDS)}
    if label is not None:
        another_class(exact, x[:32], noise[:32], label[:32], args.steps, args.out)
    for name, figures in found.items():
        print(f"{name:<24}", figures)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
