"""inkwash demo: draw from a prompt; train on the embedded world, sample every class, and read the samples back."""

from pathlib import Path
from time import monotonic

import numpy as np
import torch

from inkwash.cli.common import console, progress, tell
from inkwash.core.disk import make_folder
from inkwash.core.errors import FileError
from inkwash.core.pixels import to_uint8
from inkwash.data.scenes import parse
from inkwash.inference.load import load
from inkwash.inference.pictures import grid, save_png
from inkwash.inference.runner import Request, Runner
from inkwash.recipes.start import configure, resumed
from inkwash.training.config import RunConfig
from inkwash.training.log import duration
from inkwash.training.run import read_run, train

PROMPT = "a small red circle above a large blue square"
DRAWER = "scenes-64"
SOURCE = "scenes?objects=1&plain=true&size=32&count=20000"
PICTURES, BATCH = 80_000, 16  # to learn from; many small steps, as they are few
MOST = 600.0  # seconds that they may take
SAMPLES = 100
GUIDANCE = 2.5


def shown(image: torch.Tensor) -> str | None:
    """The class that a picture (3, H, W) shows, "red circle" for one, as the parser reads it; None where it shows none."""
    scene = parse(to_uint8(image).permute(1, 2, 0).numpy())
    if not scene or len(scene.objects) != 1:
        return None
    return f"{scene.objects[0].colour} {scene.objects[0].shape}"


def drawn(place: Path) -> str:
    """The path of a picture of PROMPT, made by a model of the package."""
    console.print(f'1. Drawing "{PROMPT}" with {DRAWER}, a model of the package.')
    (result,) = Runner().run([Request(model=DRAWER, prompt=PROMPT)])
    picture = place / "drawn.png"
    save_png(picture, result.images[0], result.facts[0])
    return str(picture)


def planned(budget: str | None) -> RunConfig:
    """What the demo trains: for so long, or on PICTURES pictures, so that it comes out alike on every machine that manages them in MOST."""
    learning = {"train.batch": BATCH, "train.lr": 8e-4, "train.warm_up": 1000}
    settings = {"model.net.width": 48, "train.samples": 36, "data.validation": None, **learning}
    end = {"steps": PICTURES // BATCH, "budget": MOST} if budget is None else {"budget": budget}
    return configure("diffusion", SOURCE, settings=settings, **end)


def train_or_go_on(place: Path, budget: str | None) -> None:
    """Train into a new folder, or go on with a demo that was stopped."""
    if not (place / "run.json").exists():
        config = planned(budget)
        most = duration(config.train.budget)
        length = f"on {PICTURES:,} pictures, or for {most}," if config.train.steps else f"for {most} on pictures"
        console.print(f"2. Training a diffusion model {length} of `scenes`, one object in each.")
        train(config, place)
        return
    record = read_run(place)
    console.print(f"2. {place} holds a demo that {'is trained already' if record['status'] == 'finished' else 'was stopped: going on'}.")
    if record["status"] != "finished":
        train(resumed(place), place, resume=True)


def run(out: str, budget: str | None, json: bool) -> None:
    """Raises FileError for a folder with another run."""
    begin, place = monotonic(), Path(out)
    if (place / "run.json").exists() and read_run(place)["data"]["source"] != SOURCE:
        raise FileError(f"{place} holds a run of something else: name another folder with --out.")
    make_folder(place)
    first = drawn(place)
    train_or_go_on(place, budget)
    if read_run(place)["status"] != "finished":
        return tell({"run": out, "status": "stopped"}, json, ["Stopped before its end: the same command goes on from here."])
    console.print(f"3. Drawing {SAMPLES} pictures, every class in turn, with guidance {GUIDANCE}.")
    loaded = load(place)
    label = torch.arange(SAMPLES) % len(loaded.classes)
    with progress("sampling") as on_step:
        images = loaded.sample(SAMPLES, 0, label, SAMPLES, on_step, guidance=GUIDANCE)
    console.print("4. Reading them back: what does each show?")
    asked = [loaded.classes[i] for i in label]
    read = [shown(image) for image in images]
    right = float(np.mean([a == r for a, r in zip(asked, read)]))
    marks = [a if a == r else f"{a} ?" for a, r in zip(asked, read)]
    picture = place / "samples.png"
    facts = {"model": str(place / "model"), "seeds": f"0 to {SAMPLES - 1}", "guidance": GUIDANCE}
    save_png(picture, grid(images, columns=10, labels=marks), facts)
    pictures = [first, str(picture), *(str(p) for p in sorted((place / "samples").glob("*.png"))[-1:])]
    record = {"pictures": pictures, "share_right": right, "samples": SAMPLES, "seconds": round(monotonic() - begin, 1), "run": out}
    tell(record, json, _closing(out, pictures, right, record["seconds"]))


def _closing(out: str, pictures: list[str], right: float, spent: float) -> list[str]:
    return [
        "",
        *(f"picture: {p}" for p in pictures),
        f"{right:.0%} of {SAMPLES} samples show the shape and colour asked for ({duration(spent)} in all).",
        "",
        "Next, try:",
        "  inkwash draw '一个红色的小圆在蓝色大方块上方' --out circle.png",
        f"  inkwash sample {out} -n 16 --class 'red circle' --guidance {GUIDANCE} --out red-circles",
        f"  inkwash show {out}/samples.png",
        "  inkwash train diffusion --data YOUR_FOLDER --budget 10m --out runs/mine",
    ]
