"""Drawing from text: from a cold start to a file, warm, and beside a pipeline of diffusers whose U-Net has as many parameters.

usage: python benchmarks/drawing.py [--model scenes-64] [--steps 14] [--rounds 5]

cold: `inkwash draw` as a process of its own, to a file on disk. warm: one picture, and 16 at once, with the model loaded. The other side is
the loop of a pipeline of diffusers on pixels: its conditional U-Net with random weights, as wide as it must be to have about as many
parameters as ours (a plan's net counts too), DDIM, the same number of steps, guidance on in both, nothing judged. Medians over rounds that
alternate between the two.
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


def peer(parameters: int, side: int):
    """A conditional U-Net of diffusers of about so many parameters, for pictures of `side` pixels, and its DDIM scheduler."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    best = None
    for width in range(32, 257, 32):
        torch.manual_seed(0)
        net = UNet2DConditionModel(
            sample_size=side, in_channels=3, out_channels=3, layers_per_block=2, cross_attention_dim=192, norm_num_groups=32,
            block_out_channels=(width, 2 * width, 2 * width), attention_head_dim=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()  # fmt: skip
        count = sum(p.numel() for p in net.parameters())
        if best is None or abs(count - parameters) < abs(best[1] - parameters):
            best = (net, count)
    return *best, DDIMScheduler()


@torch.no_grad()
def theirs(net, scheduler, n: int, side: int, steps: int) -> torch.Tensor:
    """A pipeline's loop: two branches in one pass, classifier-free guidance, DDIM."""
    x, text = torch.randn(n, 3, side, side), torch.randn(2 * n, 24, 192)
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
    side = loaded.model.config.shape[1]
    nets = [loaded.model.net, *([loaded.model.plan.net] if getattr(loaded.model, "plan", None) else [])]  # a plan's steps come first
    own = sum(p.numel() for net in nets for p in net.parameters())
    net, count, scheduler = peer(own, side)
    print(f"parameters of the U-Net: {own / 1e6:.2f} M here, {count / 1e6:.2f} M there; {loaded.precision.name} here, fp32 there")
    for n in (1, 16):
        ours, other = [], []
        for _ in range(rounds + 1):
            ours.append(clock(partial(loaded.sample, n, prompt=PROMPT, of=1, steps=steps)))
            other.append(clock(partial(theirs, net, scheduler, n, side, steps)))
        ours, other = ([t / n for t in times[1:]] for times in (ours, other))  # the first round warms up
        ratio = statistics.median(b / a for a, b in zip(ours, other))
        print(f"{n} at once, seconds a picture: {median(ours)} here, {median(other)} with diffusers, {ratio:.1f} times")


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
