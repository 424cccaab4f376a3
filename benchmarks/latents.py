"""What the latents of a VAE know of scenes, whose factors are known.

usage: python benchmarks/latents.py RUN [--plus red --minus blue] [-n 500] [--seed 9] [--amount 1 1.5 2]

RUN was trained on `scenes?objects=1&plain=true`, without classes (--set model.classes=[]). Arithmetic: the mean latent of pictures of one
colour less that of another's is added to pictures of the latter; `parse` then reads the results. Printed for each amount: the share that
became the new colour, the share that kept its shape, the share that cannot be read; all of pictures whose plain reconstruction is read
right, and of all pictures. Disentanglement: for every factor, the mutual information of the single latent number that tells most of it,
less that of the next, over the factor's entropy; their mean is the MIG of Chen et al. 2018 (section 4.1). The last line is JSON.
"""

import argparse
import json

import numpy as np
import torch
from torch import Tensor

from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.data.scenes import ScenesSource, parse
from inkwash.data.scenes.world import Object
from inkwash.inference.load import Loaded, load

BINS = 20  # of a latent number, and of a place


def scenes(size: int, n: int, seed: int) -> tuple[Tensor, list[Object]]:
    """Pictures (n, 3, H, W) of single objects, and the objects."""
    source = ScenesSource(size, n, seed, "all", objects=1, plain=True)
    pictures = np.stack([source.read(i).image for i in range(n)])
    return from_uint8(torch.from_numpy(pictures).permute(0, 3, 1, 2)), [source.scene(i).objects[0] for i in range(n)]


def read(pictures: Tensor) -> list[tuple[str, str] | None]:
    """(shape, colour) of each picture's object, None where there is not exactly one to be read."""
    out = []
    for picture in to_uint8(pictures).permute(0, 2, 3, 1).numpy():
        found = parse(picture)
        out.append((found.objects[0].shape, found.objects[0].colour) if found and len(found.objects) == 1 else None)
    return out


@torch.no_grad()
def arithmetic(loaded: Loaded, args: argparse.Namespace) -> list[dict[str, float]]:
    size = loaded.model.config.shape[1]
    pictures, objects = scenes(size, 16 * args.n, args.seed)
    colours = np.array([o.colour for o in objects])
    z = torch.cat([loaded.model.encode(p) for p in pictures.split(256)])
    plus, minus = (np.flatnonzero(colours == c) for c in (args.plus, args.minus))
    half = len(minus) // 2  # the direction is taken from other pictures than those it is added to
    direction = z[plus].mean(0) - z[minus[:half]].mean(0)
    wanted = minus[half:][: args.n]
    plain = read(loaded.model.decode(z[wanted]))
    readable = [p == (objects[i].shape, args.minus) for p, i in zip(plain, wanted)]
    rows = []
    for amount in args.amount:
        made = read(loaded.model.decode(z[wanted] + amount * direction))
        kept = [m is not None and m[0] == objects[i].shape for m, i in zip(made, wanted)]
        changed = [m is not None and m[1] == args.plus for m in made]
        rows.append({"amount": amount, "colour": np.mean(changed), "shape": np.mean(kept), "unread": np.mean([m is None for m in made])})
        rows[-1] |= {"colour_of_readable": np.mean(np.array(changed)[readable]), "shape_of_readable": np.mean(np.array(kept)[readable])}
    print(f"{len(wanted)} pictures, {np.mean(readable):.1%} of whose plain reconstructions are read right")
    return [{k: round(float(v), 4) for k, v in row.items()} for row in rows]


def information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information of two whole-numbered variables, in nats."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def binned(values: np.ndarray) -> np.ndarray:
    """Real numbers as BINS classes of equal size."""
    return (values.argsort().argsort() * BINS) // len(values)


@torch.no_grad()
def disentanglement(loaded: Loaded, n: int, seed: int) -> dict[str, float]:
    pictures, objects = scenes(loaded.model.config.shape[1], n, seed)
    z = torch.cat([loaded.model.encode(p) for p in pictures.split(256)]).numpy()
    factors = {k: np.unique([getattr(o, k) for o in objects], return_inverse=True)[1] for k in ("shape", "colour", "size")}
    factors |= {k: binned(np.array([getattr(o, k) for o in objects])) for k in ("x", "y")}
    numbers, gaps = [binned(column) for column in z.T], {}
    for name, factor in factors.items():
        told = sorted((information(column, factor) for column in numbers), reverse=True)
        gaps[name] = round((told[0] - told[1]) / information(factor, factor), 4)
    return gaps | {"mig": round(float(np.mean(list(gaps.values()))), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--plus", default="red")
    parser.add_argument("--minus", default="blue")
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--amount", type=float, nargs="+", default=[1.0, 1.5, 2.0])
    args = parser.parse_args()
    loaded = load(args.run, precision="fp32")
    found = {"arithmetic": arithmetic(loaded, args)}
    for row in found["arithmetic"]:
        print(row)
    found["disentanglement"] = disentanglement(loaded, 10 * args.n, args.seed)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
