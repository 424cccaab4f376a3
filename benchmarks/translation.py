"""Unpaired translation where the truth is known: scenes in one look made into the other.

usage: python benchmarks/translation.py RUN [--looks day night] [-n 500] [--size 32] [--seed 9]

RUN was trained on `scenes?look=A` with --data-b `scenes?look=B` of another seed, so that no scene was seen in both looks. Here scenes that
it never saw are translated both ways and compared with the same scenes drawn in the other look: the mean absolute error in 8-bit
levels, the same of leaving the picture as it is, and the share of objects that `parse` still finds in their place, of those that it finds
in the true translation, with their shape, colour and size. The last line is JSON.
"""

import argparse
import json

import numpy as np

from inkwash.data.scenes import ScenesSource, parse
from inkwash.inference.load import load
from inkwash.inference.upscale import translate


def found(picture: np.ndarray) -> set[tuple]:
    """The objects that are read from a picture."""
    read = parse(picture)
    return {(o.shape, o.colour, o.size) for o in read.objects} if read else set()


def measure(loaded, looks: tuple[str, str], to: str, args: argparse.Namespace) -> dict[str, float]:
    there, back = (ScenesSource(args.size, args.n, args.seed, look=look) for look in looks)
    error = same = kept = known = 0.0
    for i in range(args.n):
        picture, truth = there.read(i).image, back.read(i).image
        made = translate(loaded, picture, to)
        error += np.abs(made.astype(int) - truth).mean() / args.n
        same += np.abs(picture.astype(int) - truth).mean() / args.n
        objects = found(truth)
        known, kept = known + len(objects), kept + len(objects & found(made))
    return {"error": round(error, 2), "unchanged": round(same, 2), "ratio": round(error / same, 3), "objects_kept": round(kept / known, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--looks", nargs=2, default=["day", "night"], metavar=("A", "B"))
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=9)
    args = parser.parse_args()
    loaded, (a, b), figures = load(args.run), args.looks, {}
    for looks, to in (((a, b), "b"), ((b, a), "a")):
        f = figures[f"{looks[0]} to {looks[1]}"] = measure(loaded, looks, to, args)
        print(f"{looks[0]} to {looks[1]}: error {f['error']:.2f} (unchanged {f['unchanged']:.2f}), {f['objects_kept']:.1%} of objects kept")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
