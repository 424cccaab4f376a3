"""Does a feature network see? Fréchet distances of spoilt images, alone and against SqueezeNet's order.

    python tools/check_extractor.py --data FILE_OR_FOLDER... [--extractor FOLDER] [--against squeezenet1_1_features.npz]

1. The distance to training images has to rise with blur, with noise, with fewer classes and with repeated images.
2. Ten spoilt versions of the held-out images have to be ordered as SqueezeNet orders them: Spearman 0.9 or more for each data set.

Prints a table for each data set and one JSON line; exits with 1 where a bar is missed.
"""

import argparse
import io
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.data import Dataset, open_source
from inkwash.metrics.features.base import FeatureNet, extract
from inkwash.metrics.features.own import load_own
from inkwash.metrics.features.squeezenet import load_squeezenet
from inkwash.metrics.frechet import Moments, frechet_distance, moments

BAR = 0.9


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, C, H, W), sigma in pixels, borders replicated."""
    r = max(1, round(3 * sigma))
    g = torch.exp(-torch.arange(-r, r + 1.0).square() / (2 * sigma**2))
    g, c = (g / g.sum()).expand(x.shape[1], 1, -1), x.shape[1]
    x = F.pad(x, (r, r, r, r), mode="replicate")
    return F.conv2d(F.conv2d(x, g[:, :, None, :], groups=c), g[:, :, :, None], groups=c)


def noise(x: Tensor, std: float, rng: torch.Generator) -> Tensor:
    """White noise; std on the scale of [-1, 1]."""
    return (x + std * torch.randn(x.shape, generator=rng)).clamp(-1, 1)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Saved as JPEG and read again."""
    out = []
    for image in to_uint8(x).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "jpeg", quality=quality)
        back = torch.frombuffer(bytearray(Image.open(file).tobytes()), dtype=torch.uint8)
        out.append(back.view(*image.shape).permute(2, 0, 1))
    return from_uint8(torch.stack(out))


def low_resolution(x: Tensor, factor: float) -> Tensor:
    """Made smaller and larger again."""
    small = F.interpolate(x, scale_factor=1 / factor, mode="bilinear", antialias=True)
    return F.interpolate(small, x.shape[-2:], mode="bicubic").clamp(-1, 1)


def shuffled(x: Tensor, parts: int, rng: torch.Generator) -> Tensor:
    """Each image's parts x parts tiles in another order: right textures, wrong shapes."""
    n, c, h, w = x.shape
    h, w = h // parts, w // parts
    tiles = x[..., : h * parts, : w * parts].reshape(n, c, parts, h, parts, w).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.rand(n, parts * parts, generator=rng).argsort(1)
    tiles = tiles[torch.arange(n)[:, None], order].view(n, parts, parts, c, h, w)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(n, c, h * parts, w * parts)


def series(pool: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> dict[str, list[Tensor]]:
    """Four ways to get worse, each from mild to strong, after n clean images of the pool."""
    x = pool[:n]

    def classes(k: int) -> Tensor:
        found = pool[labels < k]
        return found[torch.arange(n) % len(found)]

    return {
        "blur": [x, blur(x, 0.5), blur(x, 0.8), blur(x, 1.5)],
        "noise": [x, noise(x, 0.05, rng), noise(x, 0.15, rng), noise(x, 0.4, rng)],
        "fewer classes": [x, classes(7), classes(4), classes(1)],
        "repeated images": [x, x[torch.arange(n) % (n // 8)], x[torch.arange(n) % (n // 32)], x[torch.arange(n) % (n // 128)]],
    }


def spoilt(pool: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> dict[str, Tensor]:
    """Ten spoilt sets of n images, of kinds and strengths that generative models show."""
    x = pool[:n]
    some = pool[labels < 3]
    return {
        "blur 0.6": blur(x, 0.6),
        "blur 1.2": blur(x, 1.2),
        "noise 0.1": noise(x, 0.1, rng),
        "noise 0.3": noise(x, 0.3, rng),
        "JPEG 20": jpeg(x, 20),
        "low resolution x2": low_resolution(x, 2),
        "ghosts": 0.65 * x + 0.35 * x.roll(1, 0),
        "tiles shuffled": shuffled(x, 2, rng),
        "3 classes": some[torch.arange(n) % len(some)],
        "64 images repeated": x[torch.arange(n) % 64],
    }


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation of values without ties."""
    ranks = [torch.tensor(v).argsort().argsort().double() for v in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def distances(net: FeatureNet, reference: Moments, sets: list[Tensor]) -> list[float]:
    return [frechet_distance(moments(extract(net, x)), reference) for x in sets]


def check(place: str, net: FeatureNet, judge: FeatureNet | None, n: int, seed: int) -> dict:
    """All figures of one data set."""
    rng = torch.Generator().manual_seed(seed)
    data = {}
    for split in ("train", "test"):
        d = Dataset(open_source(place, split))
        pick = torch.randperm(len(d), generator=rng)[: 5 * n]
        rows = d.rows(pick)
        data[split] = from_uint8(rows.images), rows.labels
    (train, _), (pool, labels) = data["train"], data["test"]
    nets = [net, judge] if judge else [net]
    reference = [moments(extract(k, train[: 2 * n])) for k in nets]
    result = {"data": Path(place).name, "images": n, "series": {}, "spoilt": {}}
    for name, sets in series(pool, labels, n, rng).items():
        result["series"][name] = distances(net, reference[0], sets)
    sets = spoilt(pool, labels, n, rng)
    columns = [distances(k, r, list(sets.values())) for k, r in zip(nets, reference)]
    result["spoilt"] = dict(zip(sets, zip(*columns)))
    result["spearman"] = spearman(*columns) if judge else None
    result["rises"] = {k: all(a < b for a, b in zip(v, v[1:])) for k, v in result["series"].items()}
    return result


def report(result: dict, nets: list[str]) -> None:
    print(f"\n{result['data']}, {result['images']} images against {2 * result['images']} training images")
    for name, values in result["series"].items():
        verdict = "rises" if result["rises"][name] else "DOES NOT RISE"
        print(f"  {name:20}", *(f"{v:10.3f}" for v in values), f" {verdict}")
    print(f"  {'spoilt sets':20}", *(f"{name.split('-')[0]:>14}" for name in nets))
    for name, values in sorted(result["spoilt"].items(), key=lambda item: item[1]):
        print(f"  {name:20}", *(f"{v:14.3f}" for v in values))
    if result["spearman"] is not None:
        print(f"  Spearman {result['spearman']:.3f} (bar {BAR})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True, help="data sets with classes and the splits train and test")
    parser.add_argument("--extractor", type=Path, help="folder of the extractor; the packaged one if left out; or an .npz of SqueezeNet")
    parser.add_argument("--against", type=Path, help="local .npz of SqueezeNet weights")
    parser.add_argument("--size", type=int, default=128, help="input side of SqueezeNet")
    parser.add_argument("-n", type=int, default=1000, help="images a set")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    npz = args.extractor is not None and args.extractor.suffix == ".npz"
    net = load_squeezenet(args.extractor) if npz else load_own(args.extractor)
    judge = load_squeezenet(args.against, args.size) if args.against else None
    nets = [k.id for k in (net, judge) if k]
    results = []
    for place in args.data:
        results.append(check(place, net, judge, args.n, args.seed))
        report(results[-1], nets)
    good = all(all(r["rises"].values()) and (r["spearman"] is None or r["spearman"] >= BAR) for r in results)
    print(json.dumps({"extractors": nets, "bar": BAR, "passed": good, "results": results}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
