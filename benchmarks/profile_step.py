"""Where the time of one training step and of one sampling step goes, operator by operator.

usage: python benchmarks/profile_step.py --data DATA [--recipe diffusion] [--batch 64] [--rows 14] [--set key=value ...]

The training step is the trainer's own: loss, gradients, clipping, optimiser, average of the weights. The sampling step is one
evaluation of the network without gradients. Prints milliseconds a step, the share, and calls, for the operators that take the most.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from inkwash.recipes.start import configure
from inkwash.training.engine import Engine
from inkwash.training.log import Log
from inkwash.training.run import open_data
from inkwash.training.trainer import Trainer

REPEATS = 8


def measured(step: Callable[[], object]) -> float:
    """Median milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def table(title: str, step: Callable[[], object], batch: int, rows: int) -> None:
    for _ in range(3):
        step()
    took = measured(step)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        for _ in range(REPEATS):
            step()
    events = [e for e in trace.key_averages() if e.self_cpu_time_total > 0]
    total = sum(e.self_cpu_time_total for e in events)
    print(f"\n{title}: {took:.1f} ms, {batch / took * 1e3:.0f} images/s; {sum(e.count for e in events) // REPEATS} calls\n")
    print("| operator | ms | share | calls |\n| --- | ---: | ---: | ---: |")
    for e in sorted(events, key=lambda e: -e.self_cpu_time_total)[:rows]:
        ms = e.self_cpu_time_total / REPEATS / 1e3
        print(f"| `{e.key}` | {ms:.2f} | {e.self_cpu_time_total / total:.1%} | {e.count // REPEATS} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="diffusion")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in args.set) | {"train.batch": args.batch}
    config = configure(args.recipe, args.data, steps=10**6, settings=settings)
    trainer = Trainer(config, open_data(config, config.data.split), Engine(config.train.device), Log(Path("nowhere"), main=False))
    trainer._batches = trainer.loader.stream()
    size = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    print(f"{args.recipe}, {config.model.kind} of {size:.2f} M, {trainer.precision.name}")
    table("training step", trainer.step, args.batch, args.rows)

    x = torch.randn(args.batch, *config.model.shape)
    label = torch.zeros(args.batch, dtype=torch.long) if config.model.classes else None
    denoise = trainer.model.eval().denoiser(label)

    def sampling() -> None:
        with torch.no_grad(), trainer.precision.autocast(trainer.engine.device):
            denoise(x, 0.5)

    table("sampling step", sampling, args.batch, args.rows)


if __name__ == "__main__":
    main()
