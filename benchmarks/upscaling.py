"""Super-resolution on Set5 and Set14 by the usual protocol: PSNR and SSIM of luminance, a border as wide as the scale left out.

usage: python benchmarks/upscaling.py [RUN ...] --sets DIR [--scale 4] [--ensemble]

DIR holds set5.zip and set14.zip: img_NNN_SRF_4_HR.png and ..._LR.png, the small ones by MATLAB's bicubic reduction. Luminance is of 8-bit
RGB; grey pictures are measured as they are. "bicubic" must read 28.42 and 26.00 dB at scale 4, or the protocol is wrong. --ensemble
also gives the mean of a picture's eight turned and mirrored versions. The last line is JSON.
"""

import argparse
import json
import time
import zipfile
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from inkwash.core.pixels import from_uint8
from inkwash.data.decode import decode
from inkwash.inference.load import load
from inkwash.inference.upscale import METHODS, enlarge, upscale
from inkwash.metrics.paired import psnr, ssim


def pairs(place: Path, scale: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(large, small) of every picture of a set, uint8 (H, W, C)."""
    with zipfile.ZipFile(place) as z:
        names = sorted(n for n in z.namelist() if n.endswith(f"SRF_{scale}_HR.png"))
        read = lambda name: decode(z.read(name), name)  # noqa: E731
        return [(read(n), read(n.replace("_HR", "_LR"))) for n in names]


def score(made: np.ndarray, large: np.ndarray, scale: int) -> tuple[float, float]:
    x, y = (from_uint8(torch.from_numpy(v.copy())).permute(2, 0, 1)[None] for v in (made, large))
    options = {"luma": x.shape[1] == 3, "shave": scale}
    return psnr(x, y, **options).item(), ssim(x, y, **options).item()


def ensemble(f, small: np.ndarray) -> np.ndarray:
    total = 0
    for turns in range(4):
        for mirror in (False, True):
            seen = np.rot90(small, turns)
            made = f(np.ascontiguousarray(seen[:, ::-1] if mirror else seen)).astype(np.float32)
            total = total + np.rot90(made[:, ::-1] if mirror else made, -turns)
    return (total / 8 + 0.5).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--ensemble", action="store_true")
    args = parser.parse_args()
    ways = {name: (lambda x, name=name: enlarge(x, args.scale, name)) for name in METHODS}
    for run in args.runs:
        loaded = load(run, precision="fp32")
        ways[run] = lambda x, loaded=loaded: upscale(loaded, x, args.scale)
        if args.ensemble:
            ways[f"{run} x8"] = lambda x, one=ways[run]: ensemble(one, x)
    found: dict[str, dict] = {}
    for name in ("set5", "set14"):
        known = pairs(args.sets / f"{name}.zip", args.scale)
        for way, f in ways.items():
            start = time.perf_counter()
            values = [score(f(small), large, args.scale) for large, small in known]
            p, s = (fmean(v) for v in zip(*values))
            found.setdefault(way, {})[name] = (round(p, 3), round(s, 4))
            print(f"{name:<6} {way:<30} {p:6.2f} dB  {s:.4f}  {time.perf_counter() - start:.1f} s", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
