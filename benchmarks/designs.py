"""Designs that draw what is written, on the same scenes, in the same training time, measured on the same prompts.

usage: python benchmarks/designs.py --out DIR [--budget 30m] [--designs latent,layout,pixel,dalle,lstm] [--data DATA] [-n 200] [--seeds 1]

latent, pixel: diffusion with cross-attention, among an auto-encoder's latents, on pixels. layout: among latents, and after boxes that a
transformer writes. dalle: the codes of a VQ-VAE after the words, in one sequence. lstm: a drawing that becomes finer from frame to frame,
an older design. Every stage takes its share of the time. Scenes of 32 pixels hold one object or two: what can be learnt in minutes. Each
design trains into DIR/DESIGN; stages that are there already are only measured. Printed, and added to DIR/designs.jsonl: the figures of
`inkwash evaluate --metrics prompts`, images seen by the last stage, and seconds a picture, 16 at once, the median of five. Give every
process cores of its own (taskset), and OMP_NUM_THREADS to match. DIR/designs.png: what each draws for the prompts below, a row each.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from likelihoods import inkwash

from inkwash.inference.load import load
from inkwash.inference.pictures import grid, save_png
from inkwash.recipes.start import seconds

PROMPTS = (
    *("a large red circle", "a small blue star", "一个绿色的圆环", "a purple crescent", "a red circle above a blue square"),
    *("a yellow star to the left of a green heart", "橙色三角形在粉色圆形的右边", "a cyan cross below a purple ring"),
)


class Stage(NamedTuple):
    """A recipe, its share of the time, and its settings. One that is not the first begins --from the one before, or where that is to be its
    --plan, from the one before that."""

    recipe: str
    share: float
    settings: tuple[str, ...] = ()
    plan: bool = False


LATENTS = ("model.net.stride=4", "model.net.width=32", "model.latent=16", "train.batch=32")
RETELLING = ("objective.retelling=0.3",)

DESIGNS = {
    "latent": (Stage("autoencoder", 0.35, LATENTS), Stage("text", 0.65, RETELLING)),
    "layout": (Stage("autoencoder", 0.3, LATENTS), Stage("text", 0.25, RETELLING), Stage("layout", 0.2), Stage("text", 0.25, plan=True)),
    "pixel": (Stage("text", 1.0, RETELLING),),
    "dalle": (Stage("vqvae", 0.35, ("model.net.stride=4",)), Stage("dalle", 0.65)),
    "lstm": (Stage("text-lstm", 1.0),),
}


def trained(design: str, args: argparse.Namespace) -> Path:
    """The last stage's run."""
    runs: list[Path] = []
    for k, stage in enumerate(DESIGNS[design]):
        out = args.out / (design if k == len(DESIGNS[design]) - 1 else f"{design}-{k}")
        words = [word for s in stage.settings for word in ("--set", s)]
        if runs:
            words += ["--from", runs[-2], "--plan", runs[-1]] if stage.plan else ["--from", runs[-1]]
        if not (out / "run.json").is_file():
            inkwash("train", stage.recipe, "--data", args.data, "--budget", stage.share * seconds(args.budget), "--out", out, *words)
        runs.append(out)
    return runs[-1]


def measured(design: str, args: argparse.Namespace) -> tuple[dict, torch.Tensor]:
    """Figures, and pictures of PROMPTS."""
    run = trained(design, args)
    told = inkwash("evaluate", run, "--data", args.data, "--metrics", "prompts", "-n", args.n, "--seeds", args.seeds, "--json")
    figures = [{k: f[k] for k in ("row", "name", "value", "n") if k in f} for f in json.loads(told)["figures"]]
    loaded, times = load(run), []
    for _ in range(6):
        start = time.perf_counter()
        loaded.sample(16, prompt=PROMPTS[4])
        times.append((time.perf_counter() - start) / 16)
    record = json.loads((run / "run.json").read_text())
    row = {"design": design, "images": record["images"], "seconds_a_picture": statistics.median(times[1:]), "figures": figures}
    return row, loaded.sample(len(PROMPTS), args.seed, prompt=PROMPTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="scenes?size=32&count=40000&captions=2")
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--designs", default=",".join(DESIGNS))
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the picture")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    drawn = []
    for design in args.designs.split(","):
        row, pictures = measured(design, args)
        drawn.append(pictures)
        print(json.dumps(row), flush=True)
        with open(args.out / "designs.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
    save_png(args.out / "designs.png", grid(torch.cat(drawn), columns=len(PROMPTS), smallest=96))


if __name__ == "__main__":
    main()
