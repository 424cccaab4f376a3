"""Frechet distances of several runs or files of images, side by side, with the spread over sampling seeds.

usage: python benchmarks/distances.py NAME=WHAT[,WHAT...] ... --data DATA [-n 10000] [--seeds 3] [--extractors own,squeezenet:FILE]

WHAT is a run, of which n images are drawn from each of `seeds` seed sets with its defaults and labels as in the data, or the .npy that
another library left: uint8 (N, H, W) or (N, H, W, C), a file for each seed. Then the first NAME's distance is
given as a share of each other's. The last line is JSON.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from solvers import distances, measures
from torch import Tensor

from inkwash.core.pixels import from_uint8
from inkwash.data import View
from inkwash.inference.evaluate import open_pair
from inkwash.inference.load import load


def pictures(path: str) -> Tensor:
    """A .npy as float (N, C, H, W) in [-1, 1]."""
    images = torch.from_numpy(np.load(path))
    images = images[..., None] if images.ndim == 3 else images
    return from_uint8(images.movedim(-1, 1))


def sets(what: str, n: int, seeds: int) -> Iterator[Tensor]:
    """One set of images for each file, and `seeds` for each run."""
    for path in what.split(","):
        if Path(path).suffix == ".npy":
            yield pictures(path)[:n]
        else:
            model = load(path)
            for k in range(seeds):
                yield model.sample(n, k * 10**6, None, 125)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("named", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("-n", type=int, default=10000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--extractors", default="own", help="as inkwash evaluate takes them, separated by commas")
    args = parser.parse_args()
    train, held_out = open_pair(args.data, View())
    nets = measures(args.extractors, train, held_out, args.n)
    found: dict[str, dict[str, list[float]]] = {}
    for named in args.named:
        name, _, what = named.partition("=")
        found[name] = {key: [] for key in nets}
        for images in sets(what, args.n, args.seeds):
            for key, distance in distances(images, nets).items():
                found[name][key].append(round(distance, 3))
        print(f"{name:<16}", *(f"{key} {line(values)}" for key, values in found[name].items()), sep="  ", flush=True)
    ours = next(iter(found.values()))
    for name, values in list(found.items())[1:]:
        print(f"as a share of {name}:", *(f"{key} {statistics.fmean(ours[key]) / statistics.fmean(values[key]):.3f}" for key in nets))
    print(json.dumps(found))


def line(values: list[float]) -> str:
    spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


if __name__ == "__main__":
    main()
