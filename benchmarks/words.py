"""How much of a denoiser's error the words take away, at each strength of noise: with the right text, another picture's, and none.

usage: python benchmarks/words.py RUN.. --data DATA [-n 128] [--times .95,.9,.8,.65,.5,.35,.2] [--lang en]

Mean squared error of D(x, t) on validation pictures, in the units of where diffusion happens (pixels, or latents of unit spread). Where the
first two rows agree, the model does not listen; where they part is where words act, and what training must draw t from. Of scenes there
is a fourth row, scenes that state a relation: what the error gains when the caption says the opposite one. Zero is a model that has not
learnt what "left of" means.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import torch

from inkwash.core.batch import Condition
from inkwash.core.pixels import from_uint8
from inkwash.data import Dataset, open_source
from inkwash.data.scenes.language import captions
from inkwash.data.scenes.source import ScenesSource
from inkwash.data.scenes.world import INVERSE
from inkwash.inference.load import Loaded, load


def opposite(source: ScenesSource, lang: str, n: int) -> tuple[list[int], list[str], list[str]]:
    """n scenes that state a relation, their captions, and the same with the opposite relation."""
    at, right, wrong = [], [], []
    related = ((i, scene) for i in range(len(source)) if (scene := source.scene(i)).relation)
    for i, scene in islice(related, n):
        at.append(i)
        for texts, relation in ((right, scene.relation), (wrong, INVERSE[scene.relation])):
            texts += captions(replace(scene, relation=relation), (lang,))
    return at, right, wrong


@torch.no_grad()
def errors(loaded: Loaded, x: torch.Tensor, texts: list[str], times: list[float], batch: int = 32) -> list[float]:
    """Of x: (N, C, H, W) in latents, one for each time; the noise is that of each time, whatever the texts."""
    model, rows = loaded.model, []
    for k, t in enumerate(times):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(k)).to(x.device)
        total = 0.0
        for i in range(0, len(x), batch):
            part = x[i : i + batch]
            at = torch.full((len(part),), t, device=x.device)
            a, s = model.levels_of(at)
            with loaded.precision.autocast(x.device):
                told = model.told(Condition(tokens=loaded.tokens(texts[i : i + batch])), len(part))
                d, _ = model.estimate(a * part + s * noise[i : i + batch], at, told)
            total += (d.float() - part).square().sum().item()
        rows.append(total / x.numel())
    return rows


@torch.no_grad()
def latents(loaded: Loaded, dataset: Dataset, rows: Sequence[int]) -> torch.Tensor:
    images = from_uint8(dataset.rows(rows).images).to(loaded.model.device)
    return torch.cat([loaded.model.to_latent(part) for part in images.split(32)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("-n", type=int, default=128)
    parser.add_argument("--times", default=".98,.95,.9,.8,.65,.5,.35,.2")
    parser.add_argument("--lang", default="en", choices=["en", "zh"])
    args = parser.parse_args()
    times = [float(t) for t in args.times.split(",")]
    print("t".ljust(32), "  ".join(f"{t:6.2f}" for t in times))
    for run in args.runs:
        loaded = load(run)
        dataset = Dataset(open_source(args.data, "val"), loaded.view)
        n = min(args.n, len(dataset))
        if isinstance(dataset.source, ScenesSource):
            at, right, wrong = opposite(dataset.source, args.lang, n)
            x = latents(loaded, dataset, at)
            gains = [b - a for a, b in zip(errors(loaded, x, right, times), errors(loaded, x, wrong, times))]
            print(f"{loaded.name}, opposite relation".ljust(32), "  ".join(f"{e:+6.4f}" for e in gains), flush=True)
        texts = [(dataset.text(i) or ("",))[0] for i in range(n)]
        x = latents(loaded, dataset, range(n))
        for name, said in (("right text", texts), ("another", texts[1:] + texts[:1]), ("none", [""] * n)):
            print(f"{loaded.name}, {name}".ljust(32), "  ".join(f"{e:6.4f}" for e in errors(loaded, x, said, times)), flush=True)


if __name__ == "__main__":
    main()
