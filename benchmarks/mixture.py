"""Twenty-five Gaussians on a 5 x 5 grid: how many of them a GAN finds, and how many of its points lie near one.

usage: python benchmarks/mixture.py [--loss NAME ...] [--seeds 0 1 2 3 4] [--steps 30000] [--batch 256] [--picture FILE.png]

Srivastava et al. 2017 (VEEGAN): means at -4, -2, 0, 2, 4, standard deviation 0.05; 2,500 points; a point is good within three standard
deviations of the nearest mean (98.9 percent of real ones are), a mode is found where a good point is nearest to it. Points are images of
2 x 1 x 1, divided by 5; both networks are fully connected. "minimax" plays without penalties, as in 2014. The last line is JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.rng import Rng
from inkwash.methods.gan import AdversarialConfig, GANConfig
from inkwash.nn.dcgan import MLPConfig
from inkwash.nn.games import GAMES

SCALE, STD, POINTS = 5.0, 0.05, 2500
MEANS = torch.cartesian_prod(*[torch.arange(-4.0, 5, 2)] * 2) / SCALE  # (25, 2)


def real(index: Tensor) -> Tensor:
    """Points for rows of the run: (N, 2, 1, 1)."""
    rng = Rng.of_rows(1, index, "data")
    return (MEANS[rng.integers(len(MEANS))] + STD / SCALE * rng.normal(2))[:, :, None, None]


def judge(points: Tensor) -> tuple[int, float]:
    """Modes found, and the share of good points."""
    distance, nearest = torch.cdist(points.flatten(1), MEANS).min(1)
    good = distance < 3 * STD / SCALE
    return len(nearest[good].unique()), good.float().mean().item()


def panel(points: Tensor, title: str, side: int = 320) -> Image.Image:
    """Points over rings around the means, four standard deviations wide."""
    canvas = Image.new("RGB", (side, side + 24), "white")
    pen, at = ImageDraw.Draw(canvas), lambda p: ((p + 1) / 2 * side).tolist()
    for x, y in map(at, MEANS):
        ring = 4 * STD / SCALE * side / 2
        pen.ellipse((x - ring, y - ring, x + ring, y + ring), outline=(200, 120, 60))
    for x, y in map(at, points.flatten(1)):
        pen.point((x, y), fill=(30, 60, 120))
    pen.text((8, side + 6), title, fill=(40, 40, 40))
    return canvas


def train(loss: str, seed: int, args: argparse.Namespace) -> tuple[int, float, Tensor]:
    torch.manual_seed(seed)
    net = MLPConfig(width=args.width, layers=3, critic_width=args.width, pieces=2)
    model = GANConfig(shape=(2, 1, 1), latent=32, net=net).build()
    held = {"r1": 0, "r2": 0} if loss == "minimax" else {"r1": args.r1, "r2": args.r2}
    objective = AdversarialConfig(loss=loss, net=net, penalty_rows=args.rows, **held).build(model)
    phases = objective.phases()
    optimizers = {p.optimizer: torch.optim.Adam(list(p.parameters()), args.lr, p.betas) for p in phases}
    average = {k: v.clone() for k, v in model.state_dict().items()}
    for step in range(args.steps):
        index = torch.arange(step * args.batch, (step + 1) * args.batch)
        batch = Batch(real(index), Condition(), index)
        rate = args.lr * min(1.0, 2 * (1 - step / args.steps))
        for phase in phases:
            if step % phase.every == 0:
                objective.zero_grad()
                model.zero_grad()
                rng = Rng.of_rows(seed, index, phase.name)
                objective.loss(phase.name, batch, Step(step / args.steps, step * args.batch, rng))[0].backward()
                for group in optimizers[phase.optimizer].param_groups:
                    group["lr"] = rate
                optimizers[phase.optimizer].step()
        for k, v in model.state_dict().items():
            average[k].lerp_(v, 0.005)
    model.load_state_dict(average)
    with torch.no_grad():
        points = model(Rng.of_rows(seed, range(POINTS), "sample").normal(32))
    return *judge(points), points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", nargs="+", default=["non-saturating", "minimax"], choices=sorted(GAMES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=30000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--r1", type=float, default=0.003)
    parser.add_argument("--r2", type=float, default=0.0)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    found: dict[str, list] = {}
    shown = {"data": real(torch.arange(POINTS))}
    for loss in args.loss:
        for seed in args.seeds:
            start = time.perf_counter()
            modes, good, points = train(loss, seed, args)
            shown.setdefault(loss, points)
            found.setdefault(loss, []).append((modes, round(good, 4)))
            print(f"{loss:<16} seed {seed}: {modes:2d} modes, {good:.1%} good, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"real points: {judge(shown['data'])[1]:.1%} good")
    if args.picture:
        Image.fromarray(np.concatenate([panel(points, name) for name, points in shown.items()], axis=1)).save(args.picture)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
