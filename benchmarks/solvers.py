"""Distance of a diffusion run's samples by solver and number of network evaluations, and images a second.

usage: python benchmarks/solvers.py RUN --data DATA [-n 2500] [--seeds 3] [--evaluations 5,10,20,50] [--solvers a,b] [--grid uniform]
       [--ancestral] [--few FEWRUN]

Every cell has n images from each of `seeds` seed sets; what is printed is the mean of the Frechet distances and their standard deviation.
The first cell is the model's own defaults; the others are unguided. A solver may bring options with it: "dpmpp-2m eta=0 overshoot=1".

--ancestral adds DDPM with 1,000 steps, once. --few adds a distilled run at 1, 2 and 4 steps. The last line is JSON.
"""

import argparse
import json
import statistics
import time

from torch import Tensor

from inkwash.data import Dataset, View
from inkwash.inference.evaluate import Reference, open_pair, reference, silent
from inkwash.inference.load import Loaded, load
from inkwash.metrics.features.base import FeatureNet, extract
from inkwash.metrics.features.catalog import extractor
from inkwash.metrics.frechet import frechet_distance, moments

SOLVERS = ("ddim", "dpmpp-2m", "dpmpp-2m eta=0 overshoot=1", "unipc", "heun", "ddpm", "dpmpp-2m-sde")


def measures(specs: str, train: Dataset, held_out: Dataset, n: int) -> dict[str, tuple[FeatureNet, Reference]]:
    """Feature networks by name, each with what it sees in the data."""
    nets = {spec.partition(":")[0]: extractor(spec) for spec in specs.split(",")}
    return {name: (net, reference(net, train, held_out, n, silent)) for name, net in nets.items()}


def distances(images: Tensor, nets: dict[str, tuple[FeatureNet, Reference]]) -> dict[str, float]:
    """The Frechet distance of images (N, C, H, W) by feature network."""
    return {name: frechet_distance(moments(extract(net, images)), known.moments) for name, (net, known) in nets.items()}


def steps_of(solver: str, evaluations: int) -> int:
    """Heun costs two evaluations a step and one for the last."""
    return (evaluations + 1) // 2 if solver == "heun" else evaluations


def cell(model: Loaded, nets: dict, n: int, seeds: int, options: dict) -> dict:
    """Distances by feature network, over seed sets, and images a second."""
    found, seconds = [], 0.0
    for k in range(seeds):
        start = time.perf_counter()
        images = model.sample(n, k * 10**6, None, 125, **options)
        seconds += time.perf_counter() - start
        found.append(distances(images, nets))
    out = {"options": options, "rate": round(n * seeds / seconds, 2)}
    for name in nets:
        values = [each[name] for each in found]
        out[name] = round(statistics.fmean(values), 3)
        out[f"{name} spread"] = round(statistics.stdev(values), 3) if seeds > 1 else None
    return out


def show(what: str, found: dict, nets: dict) -> None:
    spread = lambda name: "" if found[f"{name} spread"] is None else f" +- {found[f'{name} spread']:.2f}"  # noqa: E731
    print(f"{what:<34}", *(f"{name} {found[name]:7.2f}{spread(name)}" for name in nets), f"{found['rate']:8.1f} images/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("-n", type=int, default=2500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", default="5,10,20,50")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--grid", default="uniform")
    parser.add_argument("--ancestral", action="store_true")
    parser.add_argument("--few")
    parser.add_argument("--extractors", default="own", help="as inkwash evaluate takes them, separated by commas")
    args = parser.parse_args()
    model = load(args.run)
    train, held_out = open_pair(args.data, View.parse(model.data["view"]))
    nets = measures(args.extractors, train, held_out, args.n)
    found = {"default": cell(model, nets, args.n, args.seeds, {})}
    show("default", found["default"], nets)
    for solver in filter(None, args.solvers.split(",")):
        for count in map(int, args.evaluations.split(",")):
            key = f"{solver} {count}"
            name, *more = solver.split()
            options = {"solver": name, "steps": steps_of(name, count), "grid": args.grid, "guidance": 1.0}
            options |= dict(part.split("=") for part in more)
            found[key] = cell(model, nets, args.n, args.seeds, options)
            show(key, found[key], nets)
    if args.ancestral:
        found["ddpm 1000"] = cell(model, nets, args.n, 1, {"solver": "ddpm", "steps": 1000, "guidance": 1.0})
        show("ddpm 1000", found["ddpm 1000"], nets)
    if args.few:
        few = load(args.few)
        for steps in (4, 2, 1):
            found[f"distilled {steps}"] = cell(few, nets, args.n, args.seeds, {"steps": steps})
            show(f"distilled {steps}", found[f"distilled {steps}"], nets)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
