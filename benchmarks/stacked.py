"""Stacked MNIST: three digits as the channels of one image, a thousand modes, and how many of them a run finds.

usage: python benchmarks/stacked.py make MNIST.npz STACKED.npz [-n 128000]
       python benchmarks/stacked.py measure RUN ... --mnist MNIST.npz [-n 26000] [--classifier FILE]

Metz et al. 2017 and Lin et al. 2018 (PacGAN): 26,000 samples, a classifier of digits reads each channel, a mode is found where a sample
is read as it; KL(samples || uniform) in nats. Sampling alone leaves about 999 / (2 n) = 0.019 of it. The classifier is trained here, in
about a minute, and its accuracy printed; --classifier keeps it. The last line is JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.inference.load import load


def make(args: argparse.Namespace) -> None:
    data, arrays = np.load(args.mnist), {}
    for split, count in (("train", args.n), ("test", 2000)):
        digits, r = data[f"{split}_x"].reshape(-1, 28, 28), np.random.default_rng(0)
        arrays[f"{split}_x"] = np.stack([digits[r.integers(len(digits), size=count)] for _ in range(3)], axis=-1)  # (n, 28, 28, 3)
    np.savez(args.out, **arrays)


def network() -> nn.Module:
    conv = lambda a, b: (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))  # noqa: E731
    return nn.Sequential(*conv(1, 32), *conv(32, 64), nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


def pixels(digits: np.ndarray) -> Tensor:
    return torch.from_numpy(digits.reshape(-1, 1, 28, 28)).float() / 127.5 - 1


def classifier(mnist: str, kept: Path | None) -> nn.Module:
    """A reader of digits: about 99.2 percent right."""
    data, net = np.load(mnist), network()
    if kept and kept.exists():
        net.load_state_dict(load_file(kept))
    else:
        torch.manual_seed(0)
        x, y = pixels(data["train_x"]), torch.from_numpy(data["train_y"].astype(np.int64))
        optimizer, epochs, size = torch.optim.Adam(net.parameters(), 1e-3), 4, 128
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, epochs * len(x) // size)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(size):
                optimizer.zero_grad()
                F.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
                schedule.step()
        if kept:
            save_file(net.state_dict(), kept)
    print(
        f"the classifier reads {(read(net, pixels(data['test_x'])) == torch.from_numpy(data['test_y'])).float().mean():.2%} of test digits"
    )
    return net.eval()


@torch.no_grad()
def read(net: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([net(part).argmax(1) for part in x.split(1000)])


def judge(net: nn.Module, images: Tensor) -> tuple[int, float]:
    """Modes found among images (N, 3, 28, 28), and KL in nats from the uniform distribution over 1,000."""
    digits = read(net, images.reshape(-1, 1, 28, 28)).view(-1, 3)
    counts = torch.bincount(digits @ torch.tensor([100, 10, 1]), minlength=1000).double()
    p = counts / counts.sum()
    return int((counts > 0).sum()), (p * (p * 1000).clamp(min=1e-30).log()).sum().item()


def measure(args: argparse.Namespace) -> None:
    net, found = classifier(args.mnist, args.classifier), {}
    uniform = torch.randint(1000, (args.n,), generator=torch.Generator().manual_seed(0)).bincount(minlength=1000).double() / args.n
    print(f"sampling alone: {(uniform * (uniform * 1000).log()).nansum():.4f}")
    for run in args.runs:
        found[run] = judge(net, load(run).sample(args.n, 0, None, 500))
        print(f"{run:<40} {found[run][0]:4d} modes, KL {found[run][1]:.4f}", flush=True)
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    first = verbs.add_parser("make")
    first.add_argument("mnist")
    first.add_argument("out")
    first.add_argument("-n", type=int, default=128000)
    first.set_defaults(work=make)
    second = verbs.add_parser("measure")
    second.add_argument("runs", nargs="+")
    second.add_argument("--mnist", required=True)
    second.add_argument("-n", type=int, default=26000)
    second.add_argument("--classifier", type=Path)
    second.set_defaults(work=measure)
    args = parser.parse_args()
    args.work(args)


if __name__ == "__main__":
    main()
