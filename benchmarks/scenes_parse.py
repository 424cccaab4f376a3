"""How well `parse` reads the world of scenes: `python benchmarks/scenes_parse.py -n 1000 --photos PHOTOS.zip`.

Prints, for renders at 32 and 64 pixels, clean and after noise (standard deviation 8 of 255), JPEG (quality 75) or a blur (Gaussian
of radius 1), the share of objects whose shape, colour and size are read right (in a picture called unreadable none is), the share of
scenes read right as a whole, and the processor's milliseconds an image. With --photos, a source of photographs, the share of them
called unreadable.
"""

import argparse
import io
import json
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from inkwash.data import open_source
from inkwash.data.scenes import SIMPLE, Scene, Settings, Unreadable, parse, render, sample


def _jpeg(image: np.ndarray, i: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def _noise(image: np.ndarray, i: int) -> np.ndarray:
    return np.clip(np.rint(image + np.random.default_rng(i).normal(0, 8, image.shape)), 0, 255).astype(np.uint8)


def _blur(image: np.ndarray, i: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1)))


HARMS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"clean": lambda image, i: image, "noise": _noise, "jpeg": _jpeg, "blur": _blur}


def right(scene: Scene, read: Scene | Unreadable) -> int:
    """How many of the scene's objects were read with the right colour, shape and size, within a tenth of the side of their place."""
    if not read:
        return 0
    seen = {o.colour: o for o in read.objects}
    pairs = [(o, seen[o.colour]) for o in scene.objects if o.colour in seen]
    return sum(o.shape == s.shape and o.size == s.size and max(abs(o.x - s.x), abs(o.y - s.y)) < 0.1 for o, s in pairs)


def measure(size: int, harm: str, n: int, seed: int, settings: Settings) -> dict:
    """The figures of one condition over scenes 0 to n - 1 of the test split's compositions and the training split's in turn."""
    objects = good = whole = 0
    spent = {"draw": 0.0, "render": 0.0, "parse": 0.0}
    for i in range(n):
        began = time.process_time()
        scene = sample(seed, i, size, settings, ("train", "test")[i % 2])
        drawn = time.process_time()
        image = render(scene, size)
        rendered = time.process_time()
        image = HARMS[harm](image, i)
        start = time.process_time()
        read = parse(image)
        end = time.process_time()
        for key, t in (("draw", drawn - began), ("render", rendered - drawn), ("parse", end - start)):
            spent[key] += t * 1000 / n
        hits = right(scene, read)
        objects, good = objects + len(scene.objects), good + hits
        whole += hits == len(scene.objects) and len(read.objects) == hits
    times = {f"{k}_ms": round(t, 2) for k, t in spent.items()}
    return {"size": size, "harm": harm, "objects": round(good / objects, 4), "scenes": round(whole / n, 4), "images": n, **times}


def photographs(place: str, size: int, n: int) -> dict:
    """The share of the first n photographs of a source, resized to `size`, that are called unreadable."""
    source = open_source(place, "all")
    n = min(n, len(source))
    refused, began = 0, time.process_time()
    for i in range(n):
        image = Image.fromarray(source.read(i).image.squeeze()).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        refused += not parse(np.asarray(image))
    spent = (time.process_time() - began) * 1000 / n
    return {"size": size, "photographs": place, "unreadable": round(refused / n, 4), "images": n, "parse_ms": round(spent, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("-n", type=int, default=300, help="images in each condition")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--harms", nargs="+", choices=HARMS, default=list(HARMS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--simple", action="store_true", help="one plain object on a flat ground, as in `make demo`")
    parser.add_argument("--photos", help="a folder, zip or tar of photographs")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(s, h, args.n, args.seed, SIMPLE if args.simple else Settings()) for s in args.sizes for h in args.harms]
    if args.photos:
        rows += [photographs(args.photos, s, args.n) for s in args.sizes]
    for row in rows:
        print(json.dumps(row) if args.json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
