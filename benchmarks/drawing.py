"""Drawing from text: from a cold start to a file, warm, and beside a pipeline of diffusers whose U-Net has as many parameters.

usage: python benchmarks/drawing.py [--model scenes-64] [--steps 14] [--rounds 5]

cold: `inkwash draw` as a process of its own, to a file on disk. warm: one picture, and 16 at once, with the model loaded. The other side is
the loop of a pipeline of diffusers, on pixels and among latents as ours are (its decoder is not run): its conditional U-Net with random
weights, as wide as it must be to have about as many parameters as ours (a plan counts too), DDIM, the same number of steps, guidance on in
both, nothing judged. Medians over rounds that alternate between them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from inkwash.inference.load import Loaded, load

PROMPT = "a small red circle above a large blue square"


def cold(model: str, steps: int) -> float:
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "inkwash",
            "draw",
            PROMPT,
            "--model",
            model,
            "--out",
            str(Path(place) / "a.png"),
            "--steps",
            str(steps),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def peer(parameters: int, shape: tuple[int, int, int]):
    """A conditional U-Net of diffusers of about so many parameters, for what has this shape (C, H, W), and its DDIM scheduler."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    best = None
    for width in range(32, 257, 16):
        torch.manual_seed(0)
        net = UNet2DConditionModel(
            sample_size=shape[1], in_channels=shape[0], out_channels=shape[0], layers_per_block=2, cross_attention_dim=192,
            block_out_channels=(width, 2 * width, 2 * width), norm_num_groups=16, attention_head_dim=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()  # fmt: skip
        count = sum(p.numel() for p in net.parameters())
        if best is None or abs(count - parameters) < abs(best[1] - parameters):
            best = (net, count)
    return *best, DDIMScheduler()


@torch.no_grad()
def theirs(net, scheduler, n: int, shape: tuple[int, int, int], steps: int) -> torch.Tensor:
    """A pipeline's loop: two branches in one pass, classifier-free guidance, DDIM."""
    x, text = torch.randn(n, *shape), torch.randn(2 * n, 24, 192)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        null, cond = net(torch.cat([x, x]), t, text).sample.chunk(2)
        x = scheduler.step(null + 2 * (cond - null), t, x).prev_sample
    return x


def median(times: list[float]) -> str:
    return f"{statistics.median(times):.3f} s ({min(times):.3f} to {max(times):.3f})"


def clock(f) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def beside(loaded: Loaded, steps: int, rounds: int) -> None:
    model, plan = loaded.model, getattr(loaded.model, "plan", None)
    nets = [model.net, *filter(None, [model.grounding, getattr(plan, "net", plan)])]  # a plan comes first
    own = sum(p.numel() for net in nets for p in net.parameters())
    shapes = {"pixels": model.config.shape, "latents": model.space}
    peers = {name: peer(own, shape) for name, shape in shapes.items()}
    there = ", ".join(f"{count / 1e6:.2f} M there on {name}" for name, (_, count, _) in peers.items())
    print(f"parameters: {own / 1e6:.2f} M here, {there}; {loaded.precision.name} here, fp32 there")
    for n in (1, 16):
        times = {name: [] for name in ("here", *peers)}
        for _ in range(rounds + 1):
            times["here"].append(clock(partial(loaded.sample, n, prompt=PROMPT, of=1, steps=steps)))
            for name, (net, _, scheduler) in peers.items():
                times[name].append(clock(partial(theirs, net, scheduler, n, shapes[name], steps)))
        ours, *others = ([t / n for t in spent[1:]] for spent in times.values())  # the first round warms up
        print(f"{n} at once, seconds a picture: {median(ours)} here")
        for name, other in zip(peers, others):
            print(f"  diffusers on {name}: {median(other)}, {statistics.median(b / a for a, b in zip(ours, other)):.1f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes-64")
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"cold start to a file: {median([cold(args.model, args.steps) for _ in range(args.rounds)])}")
    beside(load(args.model), args.steps, args.rounds)


if __name__ == "__main__":
    main()
