"""Sampling of autoregressive models: what each new pixel needs, against the whole network for every pixel.

usage: python benchmarks/autoregressive.py [--nets pixelcnn ...] [--n 64] [--side 28] [--kinds fp32 fp64] [--run RUN]
       [--blocks N] [--width N]

Both ways draw from the same seeds with the same weights (of --run, or random ones that are not at their start), one after the other. In
fp64 the pictures must be the same; in fp32 the share that is the same is printed. The last line is JSON.
"""

import argparse
import json
import time

import torch

from inkwash.core.device import keep_freed_memory
from inkwash.inference.draw import draw
from inkwash.inference.load import load
from inkwash.methods.autoregressive import Autoregressive, AutoregressiveConfig
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.pixelcnn import GatedConfig, PixelCNNConfig
from inkwash.nn.pixelrnn import DiagonalConfig, RowLSTMConfig

NETS = {
    "pixelcnn": PixelCNNConfig(),
    "gated": GatedConfig(),
    "row-lstm": RowLSTMConfig(),
    "diagonal-lstm": DiagonalConfig(),
    "transformer": TransformerConfig(),
}
KINDS = {"fp32": torch.float32, "fp64": torch.float64}


def fresh(name: str, side: int, blocks: int | None = None, width: int | None = None, spread: float = 0.02) -> Autoregressive:
    """A network of two levels with random weights, as deep and wide as usual unless said."""
    torch.manual_seed(0)
    net = NETS[name]
    said = {"blocks" if hasattr(net, "blocks") else "layers": blocks, "width": width}
    net = net.model_copy(update={key: value for key, value in said.items() if value})
    model = AutoregressiveConfig(shape=(1, side, side), levels=2, net=net).build().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(spread * torch.randn_like(p))
    return model


def timed(model: Autoregressive, n: int, naive: bool) -> tuple[torch.Tensor, float]:
    start = time.perf_counter()
    made = draw(model, range(n), model.Options(naive=naive), batch=n)
    return made, time.perf_counter() - start


def compare(model: Autoregressive, n: int, kind: str) -> dict[str, float]:
    """Seconds of both ways for n images, their ratio, and the share of images that are the same."""
    model = model.to(KINDS[kind])
    draw(model, range(n), model.Options(), batch=n)  # warm
    fast, quick = timed(model, n, False)
    slow, long = timed(model, n, True)
    same = (fast == slow).flatten(1).all(1).float().mean().item()
    return {
        "fast_s": round(quick, 2),
        "naive_s": round(long, 1),
        "ratio": round(long / quick, 1),
        "same": same,
        "levels_mean": fast.mean().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--blocks", type=int, help="fewer than usual, where the naive way takes hours")
    parser.add_argument("--width", type=int, help="narrower than usual")
    parser.add_argument("--run", help="a trained run, instead of random weights")
    args = parser.parse_args()
    keep_freed_memory()
    found = {}
    for name in [args.run] if args.run else args.nets:
        model = load(args.run).model if args.run else fresh(name, args.side, args.blocks, args.width)
        found[name] = {"parameters": sum(p.numel() for p in model.parameters())}
        for kind in args.kinds:
            found[name][kind] = compare(model, args.n, kind)
            print(name, kind, found[name][kind], flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
