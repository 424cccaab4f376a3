"""inkwash demo: train on the embedded world, sample every class, and read the samples back."""

from pathlib import Path
from time import monotonic

import numpy as np
import torch

from inkwash.cli.common import console, progress, tell
from inkwash.core.errors import FileError
from inkwash.core.pixels import to_uint8
from inkwash.data.scenes import parse
from inkwash.inference.load import load
from inkwash.inference.pictures import grid, save_png
from inkwash.recipes.start import configure, resumed, seconds
from inkwash.training.log import duration
from inkwash.training.run import read_run, train

SOURCE = "scenes?objects=1&plain=true&size=32&count=20000"
SAMPLES = 100
GUIDANCE = 2.5


def shown(image: torch.Tensor) -> str | None:
    """The class that a picture (3, H, W) shows, "red circle" for one, as the parser reads it; None where it shows none."""
    scene = parse(to_uint8(image).permute(1, 2, 0).numpy())
    if not scene or len(scene.objects) != 1:
        return None
    return f"{scene.objects[0].colour} {scene.objects[0].shape}"


def train_or_go_on(place: Path, budget: str) -> None:
    """Train into a new folder, or go on with a demo that was stopped. Raises FileError for a folder with another run."""
    if not (place / "run.json").exists():
        console.print(f"1. Training a diffusion model on `scenes`, one object a picture, for {duration(seconds(budget))}.")
        # Many small steps: time is short.
        settings = {"train.samples": 36, "data.validation": None, "train.batch": 32, "train.lr": 8e-4, "train.warm_up": 1000}
        train(configure("diffusion", SOURCE, budget=budget, settings=settings), place)
        return
    record = read_run(place)
    if record["data"]["source"] != SOURCE:
        raise FileError(f"{place} holds a run of something else: name another folder with --out.")
    console.print(f"1. {place} holds a demo that {'is trained already' if record['status'] == 'finished' else 'was stopped: going on'}.")
    if record["status"] != "finished":
        train(resumed(place), place, resume=True)


def run(out: str, budget: str, json: bool) -> None:
    begin, place = monotonic(), Path(out)
    train_or_go_on(place, budget)
    if read_run(place)["status"] != "finished":
        return tell({"run": out, "status": "stopped"}, json, ["Stopped before its end: the same command goes on from here."])
    console.print(f"2. Drawing {SAMPLES} pictures, every class in turn, with guidance {GUIDANCE}.")
    loaded = load(place)
    label = torch.arange(SAMPLES) % len(loaded.classes)
    with progress("sampling") as on_step:
        images = loaded.sample(SAMPLES, 0, label, SAMPLES, on_step, guidance=GUIDANCE)
    console.print("3. Reading them back: what does each show?")
    asked = [loaded.classes[i] for i in label]
    read = [shown(image) for image in images]
    right = float(np.mean([a == r for a, r in zip(asked, read)]))
    marks = [a if a == r else f"{a} ?" for a, r in zip(asked, read)]
    picture = place / "samples.png"
    facts = {"model": str(place / "model"), "seeds": f"0 to {SAMPLES - 1}", "guidance": GUIDANCE}
    save_png(picture, grid(images, columns=10, labels=marks), facts)
    pictures = [str(picture), *(str(p) for p in sorted((place / "samples").glob("*.png"))[-1:])]
    record = {"pictures": pictures, "share_right": right, "samples": SAMPLES, "seconds": round(monotonic() - begin, 1), "run": out}
    tell(record, json, _closing(out, pictures, right, record["seconds"]))


def _closing(out: str, pictures: list[str], right: float, spent: float) -> list[str]:
    return [
        "",
        *(f"picture: {p}" for p in pictures),
        f"{right:.0%} of {SAMPLES} samples show the shape and colour asked for ({duration(spent)} in all).",
        "",
        "Next, try:",
        f"  inkwash sample {out} -n 16 --class 'red circle' --guidance {GUIDANCE} --out red-circles",
        f"  inkwash show {out}/samples.png",
        "  inkwash train diffusion --data YOUR_FOLDER --budget 10m --out runs/mine",
    ]
