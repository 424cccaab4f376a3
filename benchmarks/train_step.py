"""Training step: our U-Net beside diffusers' UNet2DModel at equal parameters and FLOPs, in alternating processes.

usage: python benchmarks/train_step.py [--rounds 5] [--batch 64] [--kind server|laptop|both]

A step is forward, backward, gradient clipping, AdamW and EMA, as each side's own trainer does it: theirs in fp32 and under bf16
autocast, ours in the precision that `inkwash` chooses by itself. Each turn is a process of its own, since one of the things
measured (keeping freed memory) changes a whole process. "laptop" runs again with AVX2 only. Prints a table and a JSON line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from inkwash.core.device import choose_precision, keep_freed_memory, peak_memory
from inkwash.nn.conv import direct
from inkwash.nn.unet import UNet, UNetConfig
from inkwash.training.ema import EMA

SHAPE = (3, 32, 32)
OURS = UNetConfig(width=224, mults=(1,), blocks=2, fold=2)  # wide and shallow: as many products, half as many passes over memory
# MKL's matrix products too: without the third variable they would keep the vector units of a server.
LAPTOP = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def cost(net: torch.nn.Module) -> tuple[float, float]:
    """Parameters in millions and forward GFLOP an image."""
    with direct(), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, *SHAPE), torch.zeros(1))
    return sum(p.numel() for p in net.parameters()) / 1e6, counter.get_total_flops() / 1e9


def diffusers_step(batch: int, bf16: bool) -> Callable[[], None]:
    """As its unconditional example trains (../shared/bench has the same): AdamW, clipping at 1, EMAModel."""
    net = diffusers_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, model_cls=UNet2DModel, model_config=net.config)
    x, t = torch.randn(batch, *SHAPE), torch.randint(0, 1000, (batch,))

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            out = net(x, t).sample
        F.mse_loss(out.float(), x).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(net.parameters())

    return step


def diffusers_net() -> UNet2DModel:
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )


def our_step(batch: int) -> tuple[Callable[[], None], str]:
    """As our trainer does it; and the precision it chose."""
    device = torch.device("cpu")
    precision = choose_precision(device)
    net = precision.place(UNet(OURS, 3, 3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    ema, images = EMA(net, 20000), 0
    x, t = torch.randn(batch, *SHAPE), torch.rand(batch)

    def step() -> None:
        nonlocal images
        with precision.autocast(device):
            out = net(x, t)
        F.mse_loss(out.float(), x).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        images += batch
        ema.update(net, images, batch)

    return step, precision.name


def rate(step: Callable[[], None], batch: int, seconds: float) -> float:
    """Images a second over at least two steps and about `seconds`."""
    start, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - start < seconds:
        step()
        steps += 1
    return steps * batch / (time.perf_counter() - start)


SIDES = ("inkwash", "diffusers fp32", "diffusers bf16")


def turn(side: str, batch: int, seconds: float) -> dict:
    """One side in this process: images a second after a first step that is not counted."""
    torch.manual_seed(0)
    chosen = side.rpartition(" ")[2]
    if side == "inkwash":
        keep_freed_memory()
        step, chosen = our_step(batch)
    else:
        step = diffusers_step(batch, side.endswith("bf16"))
    step()
    return {"rate": rate(step, batch, seconds), "precision": chosen, "peak": peak_memory()}


def measure(rounds: int, batch: int, seconds: float, kind: str) -> dict:
    # bf16 under autocast is accepted by a laptop's CPU and emulated: minutes a step, so that side is left out there
    sides = SIDES if kind == "server" else SIDES[:2]
    environment = {**os.environ, **(LAPTOP if kind == "laptop" else {})}
    turns: dict[str, list[dict]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            command = [sys.executable, __file__, "--turn", side, "--batch", str(batch), "--seconds", str(seconds)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            turns[side].append(json.loads(done.stdout.splitlines()[-1]))
    rates = {side: [t["rate"] for t in ts] for side, ts in turns.items()}
    medians = {side: statistics.median(r) for side, r in rates.items()}
    by_round = {side: [a / b for a, b in zip(rates["inkwash"], r)] for side, r in rates.items() if side != "inkwash"}
    (p, g), (q, h) = cost(UNet(OURS, 3, 3)), cost(diffusers_net())
    return {
        "kind": kind,
        "precision": turns["inkwash"][0]["precision"],
        "batch": batch,
        "rounds": rounds,
        "images_per_second": {k: round(v, 2) for k, v in medians.items()},
        "ratio": {k: round(statistics.median(v), 2) for k, v in by_round.items()},
        "peak_MiB": {side: round(statistics.median(t["peak"] for t in ts) / 2**20) for side, ts in turns.items()},
        "ratios_by_round": {k: [round(x, 2) for x in v] for k, v in by_round.items()},
        "tflops": {k: round(3 * (g if k == "inkwash" else h) * v / 1e3, 3) for k, v in medians.items()},
        "parameters_M": {"inkwash": round(p, 2), "diffusers": round(q, 2)},
        "forward_GFLOP": {"inkwash": round(g, 2), "diffusers": round(h, 2)},
    }


def show(result: dict) -> None:
    p, g = result["parameters_M"], result["forward_GFLOP"]
    sizes = "; ".join(f"{k} {p[k]} M, {g[k]} GFLOP" for k in p)
    print(f"{result['kind']}: {sizes}; ours in {result['precision']}")
    for name, value in result["images_per_second"].items():
        ratio = result["ratio"].get(name)
        beside = f"   ours is {ratio:.2f} times" if ratio else ""
        peak = f"{result['peak_MiB'][name]:6d} MiB at the peak"
        print(f"  {name:<16} {value:8.1f} images/s  {result['tflops'][name]:.2f} TFLOP/s  {peak}{beside}")
    print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--kind", choices=["server", "laptop", "both"], default="both")
    parser.add_argument("--turn", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        print(json.dumps(turn(args.turn, args.batch, args.seconds)))
        return
    for kind in ("server", "laptop") if args.kind == "both" else (args.kind,):
        show(measure(args.rounds, args.batch, args.seconds, kind))


if __name__ == "__main__":
    main()
