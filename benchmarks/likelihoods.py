"""Every likelihood model on the same images, for the same time, measured on the same test images.

usage: python benchmarks/likelihoods.py DATA --out DIR [--budget 30m] [--recipes pixelcnn,vae,...] [--n 10000] [--set key=value ...]

Each recipe trains into DIR/RECIPE, then its probabilities of n test images are taken, once; checkpoints are chosen on the split that
--validation names. A run that is there already is only measured, so that a sitting can be broken off. Printed, and added to
DIR/likelihoods.jsonl: parameters, images seen and images a second, nats and bits per dimension with their standard error, and what kind
of number they are. Models that are fitted at once take the time they take. Give each process cores of its own (taskset), and
OMP_NUM_THREADS to match.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from inkwash.core.files import load_tensors
from inkwash.inference.load import model_folder

RECIPES = (
    *("autoregressive", "pixelcnn", "gated-pixelcnn", "row-lstm", "diagonal-lstm", "pixel-transformer", "vae", "diffusion"),
    *("rbm", "gmm", "hmm"),
)
PLAIN = ("autoregressive", "pixelcnn", "gated-pixelcnn", "row-lstm", "diagonal-lstm", "pixel-transformer", "vae", "diffusion")
MEASURES = {"vae": "bpd,iwae", "diffusion": "bpd"}  # others: bpd
BOUNDED = {"diffusion": 500}  # test images at most, for measures that take many network evaluations an image


def inkwash(*args: object) -> str:
    command = [sys.executable, "-m", "inkwash", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def measured(recipe: str, args: argparse.Namespace) -> dict:
    """Train where there is no run, measure, and say what came of it."""
    out = args.out / recipe
    settings = [f"data.validation={args.validation}", "train.validate_images=2000", *args.set]
    settings += ["model.classes=[]"] if recipe in PLAIN and args.plain else []
    if not (out / "run.json").is_file():
        pairs = [word for s in settings for word in ("--set", s)]
        inkwash("train", recipe, "--data", args.data, "--budget", args.budget, "--out", out, *pairs)
    run = json.loads((out / "run.json").read_text())
    n = min(args.n, BOUNDED.get(recipe, args.n))
    start = time.perf_counter()
    told = inkwash("evaluate", out, "--data", args.data, "--metrics", MEASURES.get(recipe, "bpd"), "-n", n, "--json")
    figures = [{k: f[k] for k in ("name", "value", "spread", "tag", "n")} for f in json.loads(told)["figures"]]
    weights, _ = load_tensors(model_folder(out) / "model.safetensors")
    return {
        "recipe": recipe,
        "parameters": sum(v.numel() for v in weights.values()),
        "images": run["images"],
        "seconds": run["elapsed"],
        "images_per_second": round(run["images"] / max(run["elapsed"], 1e-3), 1),
        "measuring": round(time.perf_counter() - start, 1),
        "figures": figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--validation", default="test", help="the split that chooses checkpoints")
    parser.add_argument("--plain", action="store_true", help="without classes, also where the data have them")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--set", action="append", default=[], help="a setting of every run")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for recipe in args.recipes.split(","):
        row = measured(recipe, args)
        print(json.dumps(row), flush=True)
        with open(args.out / "likelihoods.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
