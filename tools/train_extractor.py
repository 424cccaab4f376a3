"""Trains the feature extractor that ships with the package, and writes it with its model card.

    python tools/train_extractor.py --data-root FOLDER [--budget 20m] [--out src/inkwash/assets/extractor]

One trunk, many questions: the class (one head a data set), which way up, and what was done to the image and how strongly. Class
heads teach it what pictures show; the other two use every image and teach it blur, noise, compression and broken shapes, which
classes alone would have it forget. Only training splits of sets whose licence lets weights ship are read. Batch norm helps the
training and is folded into the convolutions at the end.
"""

import argparse
import io
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.device import best_device, choose_precision, keep_freed_memory
from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.data import Dataset, View, open_source
from inkwash.metrics.features.base import extract, resize, to_rgb
from inkwash.metrics.features.own import OwnNet, load_own, save_own

TONE = r"(,? (medium-)?(light|medium|dark) skin tone)+|_tone\d.*"  # variants of one emoji stay in one split

# file, view, share of each batch, mirrored, licence. Skipped, with a word, where the file is not there.
SETS = (
    ("fashion_mnist.npz", View(), 0.16, True, "MIT, Zalando Research"),
    ("mnist.npz", View(), 0.06, False, "CC BY-SA 3.0, LeCun, Cortes and Burges"),
    ("cifar10_jpeg.tar.xz", View(), 0.36, True, "CIFAR-10 (JPEG), Krizhevsky 2009, research use"),
    ("noto_emoji.zip", View(size=64, channels=3), 0.14, False, "Apache-2.0, Google Noto Emoji"),
    ("dungeon_tiles.zip?labels=path", View(size=32, channels=3), 0.1, True, "CC0, Dungeon Crawl Stone Soup"),
    ("pneumonia_mnist.npz", View(), 0.04, True, "CC BY 4.0, MedMNIST v2"),
    ("bsds500_train.zip", View(size=(160, 240), channels=3), 0.14, True, "BSDS500, research use"),
)
WEIGHT = {"kind": 0.45, "level": 0.45, "turn": 0.5}  # classes, together, weigh 1: at equal weights corruption drowned them
KINDS = ("none", "blur", "noise", "jpeg", "low resolution", "tiles", "contrast")


class Folded(nn.Conv2d):
    """A convolution with batch norm behind it while training; `fold` gives the one convolution that both amount to."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))

    def fold(self, conv: nn.Conv2d) -> None:
        gain = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        conv.weight.data.copy_(self.weight * gain.view(-1, 1, 1, 1))
        conv.bias.data.copy_(self.norm.bias - self.norm.running_mean * gain)


def with_norms(net: OwnNet) -> OwnNet:
    """The same network with every convolution followed by batch norm."""
    for name, conv in [(k, m) for k, m in net.named_modules() if isinstance(m, nn.Conv2d)]:
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, Folded(conv))
    return net


def without_norms(trained: OwnNet) -> OwnNet:
    """The network that ships, with the norms folded in."""
    net = OwnNet(**trained.settings)
    for name, module in trained.named_modules():
        if isinstance(module, Folded):
            module.fold(net.get_submodule(name))
    return net.eval()


class Material:
    """One training split in memory and its labels: those of the source, or for emoji the base emoji, or none."""

    def __init__(self, root: Path, spec: str, view: View, share: float, mirrored: bool, licence: str):
        options = {"group": TONE} if spec.startswith("noto") else {}
        self.name, self.share, self.mirrored, self.licence = spec.partition("?")[0], share, mirrored, licence
        data = Dataset(open_source(str(root / spec), "train", **options), view)
        rows = data.rows(range(len(data)))
        self.images, self.labels, self.classes = rows.images, rows.labels, len(data.classes)
        if options:
            base = [re.sub(TONE, "", Path(f).stem).replace("_", " ") for f in data.source.files]
            names = sorted(set(base))
            self.labels, self.classes = torch.tensor([names.index(b) for b in base]), len(names)
        self.order, self.at = np.arange(0), 0

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """n rows, each once before any twice, shifted by up to an eighth, or cut to 64 pixels from larger ones."""
        while len(self.order) - self.at < n:
            self.order, self.at = np.concatenate([self.order[self.at :], rng.permutation(len(self.images))]), 0
        pick = torch.from_numpy(self.order[self.at : self.at + n])
        self.at += n
        x = from_uint8(self.images[pick])
        h, w = x.shape[-2:]
        side = min(h, w, 64)
        pad = side // 8 if (h, w) == (side, side) else 0
        x = F.pad(x, (pad,) * 4, mode="replicate")
        tops, lefts = rng.integers(0, x.shape[-2] - side + 1, n), rng.integers(0, x.shape[-1] - side + 1, n)
        x = torch.stack([image[:, t : t + side, l : l + side] for image, t, l in zip(x, tops, lefts)])
        if self.mirrored:
            flip = torch.from_numpy(rng.random(n) < 0.5)
            x[flip] = x[flip].flip(-1)
        return x, None if self.labels is None else self.labels[pick]


def corrupt(x: Tensor, kind: int, level: float, rng: np.random.Generator) -> Tensor:
    """One image (C, H, W) in [-1, 1], spoilt in the way of KINDS[kind]; level 0..1 from hardly visible to strong."""
    name, side = KINDS[kind], x.shape[-1]
    if name == "blur":
        sigma = (0.4 + 1.8 * level) * side / 32
        r = math.ceil(3 * sigma)
        g = torch.exp(-torch.arange(-r, r + 1.0).square() / (2 * sigma**2))
        g, y = g / g.sum(), F.pad(x[:, None], (r,) * 4, mode="replicate")
        return F.conv2d(F.conv2d(y, g.view(1, 1, 1, -1)), g.view(1, 1, -1, 1))[:, 0]
    if name == "noise":
        white = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
        return (x + (0.03 + 0.5 * level**2) * white).clamp(-1, 1)
    if name == "jpeg":
        file, image = io.BytesIO(), to_uint8(x).permute(1, 2, 0).numpy()
        Image.fromarray(image.squeeze(-1) if len(x) == 1 else image).save(file, "jpeg", quality=round(60 - 55 * level))
        return from_uint8(torch.from_numpy(np.array(Image.open(file)))).view(side, side, -1).permute(2, 0, 1)
    if name == "low resolution":
        small = F.interpolate(x[None], (round(side / (1.3 + 2.7 * level)),) * 2, mode="bilinear", antialias=True)
        return F.interpolate(small, (side, side), mode="bicubic").clamp(-1, 1)[0]
    if name == "tiles":
        parts = 2 + round(2 * level)
        edge = side // parts
        tiles = x[:, : edge * parts, : edge * parts].reshape(len(x), parts, edge, parts, edge).transpose(2, 3)
        tiles = tiles.flatten(1, 2)[:, torch.from_numpy(rng.permutation(parts**2))].view(len(x), parts, parts, edge, edge)
        out = x.clone()
        out[:, : edge * parts, : edge * parts] = tiles.transpose(2, 3).reshape(len(x), edge * parts, edge * parts)
        return out
    if name == "contrast":
        middle = x.mean((1, 2), keepdim=True)
        return middle + (x - middle) * (0.8 - 0.6 * level)
    return x


def spoil(x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Half of the rows (N, C, H, W) corrupted; kinds (N,) and levels (N,)."""
    kinds = rng.integers(1, len(KINDS), len(x)) * (rng.random(len(x)) < 0.5)
    levels = rng.random(len(x)).astype(np.float32)
    out = []
    for image, kind, level in zip(x, kinds, levels):
        out.append(corrupt(image, int(kind), float(level), rng))
    return torch.stack(out), torch.from_numpy(kinds), torch.from_numpy(levels)


def batch(materials: list[Material], n: int, size: int, rng: np.random.Generator) -> dict[str, Tensor | list]:
    """Images (N, 3, size, size) of all materials with targets; -1 where a question does not apply."""
    parts = {k: [] for k in ("image", "kind", "level", "turn", "label", "owner")}
    total = sum(m.share for m in materials)
    for owner, m in enumerate(materials):
        count = max(2, round(n * m.share / total))
        x, labels = m.draw(count, rng)
        turns = torch.from_numpy(rng.integers(0, 4, count) * (rng.random(count) < 0.25))
        asked = torch.from_numpy(rng.random(count) < 0.25) | (turns > 0)
        x = torch.stack([torch.rot90(image, int(k), (1, 2)) for image, k in zip(x, turns)])
        x, kind, level = spoil(x, rng)
        labels = torch.full((count,), -1) if labels is None else labels
        hard = (turns > 0) | ((kind > 0) & (level > 0.7)) | (kind == KINDS.index("tiles"))
        parts["image"].append(resize(to_rgb(x), size))
        parts["kind"].append(kind)
        parts["level"].append(level)
        parts["turn"].append(torch.where(asked & (kind != KINDS.index("tiles")), turns, -1))
        parts["label"].append(torch.where(hard, -1, labels))
        parts["owner"].append(torch.full((count,), owner))
    return {k: torch.cat(v) for k, v in parts.items()}


class Heads(nn.Module):
    """A linear question for each set with labels, and the three that every image answers."""

    def __init__(self, dim: int, materials: list[Material]):
        super().__init__()
        self.classes = nn.ModuleDict({str(i): nn.Linear(dim, m.classes) for i, m in enumerate(materials) if m.classes > 1})
        self.kind, self.level, self.turn = nn.Linear(dim, len(KINDS)), nn.Linear(dim, len(KINDS)), nn.Linear(dim, 4)

    def losses(self, f: Tensor, b: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Name -> (loss, right answers in 0..1): cross-entropies over the logarithm of the number of answers."""
        out = {}
        known = (b["label"] >= 0).float().mean()
        for i, head in self.classes.items():
            mine = (b["owner"] == int(i)) & (b["label"] >= 0)
            loss, right = ask(head(f[mine]), b["label"][mine])
            out[f"class {i}"] = loss * (mine.float().mean() / known), right
        out["kind"] = ask(self.kind(f), b["kind"])
        spoilt = b["kind"] > 0
        level = self.level(f[spoilt]).gather(1, b["kind"][spoilt, None])[:, 0].sigmoid()
        out["level"] = (level - b["level"][spoilt]).square().mean() * 4, 1 - (level - b["level"][spoilt]).abs().mean()
        turned = b["turn"] >= 0
        out["turn"] = ask(self.turn(f[turned]), b["turn"][turned])
        return out


def ask(logits: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy as a share of guessing's, and the share of right answers."""
    if not len(answer):
        return logits.sum(), torch.ones(())
    return F.cross_entropy(logits, answer, label_smoothing=0.05) / math.log(logits.shape[1]), (logits.argmax(1) == answer).float().mean()


def train(net: OwnNet, materials: list[Material], budget: float, size: int, lr: float, seed: int) -> dict:
    """Trains in place within budget seconds; the learning rate falls with the clock. Returns what it cost and reached."""
    device, rng = best_device(), np.random.default_rng(seed)
    precision = choose_precision(device)
    heads = Heads(net.dim, materials).to(device)
    precision.place(net.to(device)).train()
    parameters = [*net.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05, fused=True)
    start, seen, step, mean = time.monotonic(), 0, 0, {}
    while (progress := (time.monotonic() - start) / budget) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * progress)) / 2
        b = {k: v.to(device) for k, v in batch(materials, size, net.size, rng).items()}
        with precision.autocast(device):
            f = net.raw(b["image"].contiguous(memory_format=torch.channels_last))
        parts = heads.losses(f.float(), b)
        loss = sum(WEIGHT.get(k, 1.0) * p for k, (p, _) in parts.items())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        seen, step = seen + len(f), step + 1
        for k, (_, right) in parts.items():
            mean[k] = right.item() if k not in mean else mean[k] + 0.02 * (right.item() - mean[k])
        if step % 100 == 0:
            rate = seen / (time.monotonic() - start)
            print(
                f"{progress:4.0%} {seen:8d} images {rate:5.0f}/s loss {loss.item():.3f}",
                *(f"{k} {v:.2f}" for k, v in mean.items()),
                flush=True,
            )
    names = {f"class {i}": f"class, {m.name}" for i, m in enumerate(materials)}
    seconds = time.monotonic() - start
    return {
        "images": seen,
        "seconds": round(seconds),
        "precision": precision.name,
        "right": {names.get(k, k): round(v, 3) for k, v in mean.items()},
    }


def calibrate(net: OwnNet, materials: list[Material], n: int, seed: int) -> None:
    """Whitens the features on clean training images, equally many of each set."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        raw = [net.raw(part) for m in materials for part in to_rgb(m.draw(n, rng)[0]).split(64)]
    net.calibrate(torch.cat(raw))


CARD = """# {id}

The feature network that ships with Inkwash: a convnet of {parameters:,} parameters ({megabytes:.2f} MB in fp16), input
{size} x {size} RGB (grey is repeated, RGBA lies over white), {dim} features. It measures distances between sets of small images
offline. Its distances compare with each other only, at equal numbers of images; they are not FID, and photographs larger than
64 pixels are outside what it was made for.

Trained by `tools/train_extractor.py` on training splits only, from random weights, with no other network as a teacher.

| data | licence and source |
| --- | --- |
{data}

Cost: {images:,} images in {seconds} s ({precision}). Tasks: the class, in one head a set; rotation by quarter turns; kind and strength
of corruption. Right answers at the end, on augmented training batches (level: 1 - mean absolute error):

| task | right |
| --- | --- |
{right}

To check it: `python tools/check_extractor.py --data FILE... --against squeezenet1_1_features.npz`.
"""


def write_card(folder: Path, name: str, net: OwnNet, materials: list[Material], cost: dict) -> None:
    rows = "\n".join(f"| {m.name}, {len(m.images):,} images | {m.licence} |" for m in materials)
    right = "\n".join(f"| {k} | {v:.3f} |" for k, v in cost["right"].items())
    size = (folder / "model.safetensors").stat().st_size / 1e6
    count = sum(p.numel() for p in net.parameters())
    facts = {"id": name, "parameters": count, "megabytes": size, "size": net.size, "dim": net.dim, "data": rows, **cost, "right": right}
    (folder / "README.md").write_text(CARD.format(**facts), encoding="utf-8")


def seconds(text: str) -> float:
    """90, 90s, 20m or 1h in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: 90s, 20m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--budget", type=seconds, default=1200.0, help="wall clock of training: 90s, 20m, 1h")
    parser.add_argument("--out", type=Path, default=Path("src/inkwash/assets/extractor"))
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(args.seed)
    materials = []
    for spec, *rest in SETS:
        if not (args.data_root / spec.partition("?")[0]).exists():
            print(f"{spec} is not in {args.data_root}: left out")
            continue
        materials.append(Material(args.data_root, spec, *rest))
        print(f"{materials[-1].name}: {len(materials[-1].images)} images, {materials[-1].classes} classes", flush=True)
    net = with_norms(OwnNet())
    cost = train(net, materials, args.budget, args.batch, args.lr, args.seed)
    net = without_norms(net.cpu())
    calibrate(net, materials, 512, args.seed)
    name = save_own(net, args.out)
    write_card(args.out, name, net, materials, cost)
    probe = extract(load_own(args.out), materials[0].draw(64, np.random.default_rng(0))[0])
    print(json.dumps({"id": name, "out": str(args.out), "features": list(probe.shape), **cost}))


if __name__ == "__main__":
    main()
