"""Small data, small models and small runs for the tests. Nothing here asserts."""

import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import MODELS
from inkwash.core.files import load_tensors
from inkwash.core.rng import Rng
from inkwash.data import Facts, View, facts, open_source
from inkwash.recipes import find
from inkwash.training import RunConfig
from inkwash.training.engine import Engine
from inkwash.training.log import Log
from inkwash.training.run import open_data
from inkwash.training.trainer import Trainer

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FITTED = ("eye", "gmm", "hmm")  # kinds that are fitted at once, and have no steps
CLIPS = ("sequence",)  # kinds that learn from clips, and how their recipes' names begin
CAPTIONED = (  # kinds and recipes that learn from captions
    *("text", "told-autoencoder", "clip", "caption", "captioner", "caption-lstm", "dalle", "text-lstm", "eye", "plan", "planned"),
    *("layout", "arranged"),
)
READING = ("text", "planned", "arranged")  # of kinds there already, but told by captions; two draw after a plan, one of them of boxes
KINDS = [*sorted(set(MODELS) - set(FITTED)), *READING]
TAUGHT_BY = {
    "captioner": "caption",
    "student": "distill",
    "translator": "pix2pix",
    "latent": "latent-diffusion",
}  # kinds whose recipe has another name
SMALL = {"width": 8, "fine": 4, "most": 16, "latent": 6, "hidden": 12, "head": 8, "blocks": 1, "layers": 1, "critic_width": 8, "stride": 2}
FAST = {"batch": 8, "precision": "fp32", "warm_up": 0, "samples": 0, "log_every": 1e9, "device": "cpu", "ema": 100.0}
QUICK = [  # of a run on the command line
    *("--set", "model.net.width=4", "--set", "model.net.blocks=1", "--set", "train.precision=fp32", "--set", "train.batch=4"),
    *("--set", "train.samples=4", "--set", "train.device=cpu", "--set", "train.warm_up=0"),
]  # fmt: skip
# Recipes that begin from a trained model, and of which recipe.
BEGUN = {
    "distill": "diffusion",
    "srgan": "upscaler",
    "codes": "vqvae",
    "codes-transformer": "vqvae",
    "dalle": "vqvae",
    "eye": "caption",
    "plan": "eye",
    "layout": "text",
    "latent-diffusion": "autoencoder",
}
LED = {"plan": "text"}  # recipes with a teacher of another kind, and of which recipe
DRAWING = ("autoregressive", "diffusion", "gan", "vae")  # recipes whose models draw from noise, one for each method


def shrink(values: dict) -> dict:
    """A configuration's dictionary with every number that has a small value set to it."""
    return {k: shrink(v) if isinstance(v, dict) else SMALL.get(k, v) if isinstance(v, int) else v for k, v in values.items()}


def pictures(n: int = 24, shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0) -> np.ndarray:
    """uint8 (n, H, W, C): smooth blobs, so that there is something to learn."""
    c, h, w = shape
    r = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    cy, cx, level = r.uniform(0, h, (n, 1, 1)), r.uniform(0, w, (n, 1, 1)), r.uniform(40, 255, (n, 1, 1, c))
    blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.1 * h * w))  # (n, h, w)
    return (blob[..., None] * level).astype(np.uint8)


def write_npz(path: Path, n: int = 24, shape: tuple[int, int, int] = (3, 8, 8), classes: int = 2, test: int = 8) -> str:
    """An .npz with splits train and test (none of the latter where test = 0). Labels count up; classes = 0 leaves them out."""
    arrays = {"train_x": pictures(n, shape)}
    if test:
        arrays["test_x"] = pictures(test, shape, seed=1)
    if classes:
        arrays |= {f"{k.removesuffix('_x')}_y": np.arange(len(v)) % classes for k, v in arrays.items()}
        arrays["classes"] = np.array([f"class {i}" for i in range(classes)])
    np.savez(path, **arrays)
    return str(path)


def write_folder(root: Path, n: int = 10, size: tuple[int, int] = (8, 8), classes: tuple[str, ...] = ("cat", "dog")) -> str:
    """n RGB PNG files of size (width, height), in class folders where classes are named."""
    for i, image in enumerate(pictures(n, (3, size[1], size[0]))):
        place = root / classes[i % len(classes)] if classes else root
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:02d}.png")
    return str(root)


def facts_of(source: str, view: View | None = None) -> Facts:
    return facts(open_source(source), view)


def clips_of(source: str, frames: int = 4) -> str:
    """An .npz whose images drift to the right, beside the one that holds them; one that holds clips as it is."""
    place = Path(source).with_suffix(f".{frames}frames.npz")
    if not place.exists():
        arrays = dict(np.load(source))
        if any(v.ndim == 5 for v in arrays.values()):
            return source
        for key in [k for k in arrays if k.endswith("_x")]:
            arrays[key] = np.stack([np.roll(arrays[key], k, 2) for k in range(frames)], 1)  # (n, F, H, W, C)
        np.savez(place, **arrays)
    return str(place)


def captioned(source: str) -> str:
    """A folder of an .npz's images with captions and boxes, beside it; anything else as it is."""
    place = Path(source).with_suffix(".captioned")
    if not source.endswith(".npz") or place.exists():
        return str(place) if place.exists() else source
    rows = ["file_name,text,split"]
    arrays = dict(np.load(source))
    for split in [s for s in ("train", "test") if f"{s}_x" in arrays]:
        (place / split).mkdir(parents=True)
        for i, image in enumerate(arrays[f"{split}_x"]):
            Image.fromarray(image.squeeze()).save(place / split / f"{i:02d}.png")
            rows += [f"{split}/{i:02d}.png,{text},{split}" for text in (f"a picture number {i % 5}", f"第{i % 5}张图")]
    (place / "metadata.csv").write_text("\n".join(rows))
    files, objects = sorted({row.split(",")[0] for row in rows[1:]}), {"bbox": [[1, 2, 3, 4], [0, 1, 4, 4]], "categories": ["a dot", "点"]}
    (place / "metadata.jsonl").write_text("\n".join(json.dumps({"file_name": file, "objects": objects}) for file in files))
    return str(place)


def recipe_config(kind: str, source: str, known: Facts) -> RunConfig:
    """A kind's recipe as it ships; one that begins from a trained model begins from an untrained model's configuration."""
    name, source = TAUGHT_BY.get(kind, kind), captioned(source) if kind in CAPTIONED else source
    if kind == "planned":
        config = find("text")(source, known, plan=recipe_config("plan", source, known).model)
        return config.override({"objective.planning": 1.0})  # so that all of it learns
    if kind == "arranged":
        return find("text")(source, known, plan=recipe_config("layout", source, known).model)
    more = {role: recipe_config(of[name], source, known).model for role, of in (("start", BEGUN), ("teacher", LED)) if name in of}
    return find(name)(source, known, **more)


def run_config(kind: str, source: str, view: dict | None = None, **train) -> RunConfig:
    """The recipe of a kind on a source, made small. train: settings of TrainConfig."""
    source = clips_of(source) if kind.startswith(CLIPS) else source
    view = View(**(view or {}))
    config = recipe_config(kind, source, facts(open_source(source), view))
    values = config.model_dump(mode="json")
    values["model"], values["objective"] = shrink(values["model"]), shrink(values["objective"])
    values["train"] |= FAST | {"steps": 4} | train
    values["data"]["view"] |= {k: v for k, v in view.model_dump(mode="json").items() if v is not None}
    return RunConfig.parse(values)


def make_trainer(config: RunConfig, stir: float = 0.0, engine: Engine | None = None) -> Trainer:
    """A trainer without a folder. stir: how far to move every weight, so that no layer starts at zero."""
    t = Trainer(config, open_data(config, config.data.split), engine or Engine("cpu"), Log(Path("nowhere"), main=False))
    if stir:
        stir_(t.model, stir)
        stir_(t.objective, stir)
    return t


@torch.no_grad()
def stir_(module: torch.nn.Module, scale: float, seed: int = 3) -> None:
    """Add reproducible noise to every parameter."""
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.add_(scale * torch.randn(p.shape, generator=g))


def named_gradients(t: Trainer, phase, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradient that a phase gives each of its parameters, by name."""
    t.gradients(phase, batch)
    out = {t.names[p]: p.grad.clone() for p in phase.parameters() if p.grad is not None}
    t.model.zero_grad()
    t.objective.zero_grad()
    return out


def batch_of(image: torch.Tensor, label: torch.Tensor | None = None) -> Batch:
    return Batch(image, Condition(label=label), torch.arange(len(image)))


def step_of(n: int, progress: float = 0.5, seed: int = 0, held_out: bool = False) -> Step:
    return Step(progress, 0, Rng.of_rows(seed, range(n), "main"), held_out=held_out)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def in_child(work: Callable[[], object]) -> int:
    """Run work() in a child process. Returns its wait status: a signal's number, or an exit code times 256."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def in_two_processes(work: Callable[[], object], timeout: float = 240.0) -> None:
    """Run work() in two child processes that find each other as torchrun's do. Raises where one fails or hangs."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    children = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
                os.environ |= {k: str(v) for k, v in where.items()} | {"MASTER_ADDR": "127.0.0.1"}
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(pid)
    end, codes = time.monotonic() + timeout, {}
    while len(codes) < 2 and time.monotonic() < end and not any(codes.values()):
        for pid in children:
            if pid not in codes and (done := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = done[1]
        time.sleep(0.02)
    for pid in set(children) - set(codes):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if list(codes.values()) != [0, 0]:
        raise RuntimeError(f"two processes ended with {codes} (a missing one hung or was ended)")


def assert_same_on_both(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    """What two processes saved as RANK.safetensors is what one process has."""
    for rank in range(2):
        found, _ = load_tensors(folder / f"{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, g in expected.items():
            torch.testing.assert_close(found[name], g, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
