"""Clips: going on from frames that are known, and how far that is from what came."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, DataError, nearest
from inkwash.core.model import Sequence as Continues
from inkwash.core.rng import Rng, mix
from inkwash.data import Dataset, Loader, open_held_out
from inkwash.data.decode import SUFFIXES, decode, decode_clip
from inkwash.inference.draw import image_rng
from inkwash.inference.edit import as_seen
from inkwash.inference.load import Loaded
from inkwash.metrics.paired import WINDOW, ssim
from inkwash.metrics.tables import Figure

MEASURES = ("mse", "ssim")


class Forecast(Config):
    """frames: an animation, or a folder whose pictures are frames in the order of their names. n: how many shall follow. futures: how many
    times; they differ where the model is stochastic."""

    frames: str
    n: int = Field(10, ge=1)
    futures: int = Field(1, ge=1)
    seed: int = 0


def forecaster(loaded: Loaded) -> Continues:
    """Raises ConfigError for a model that does not continue clips."""
    if not isinstance(loaded.model, Continues):
        raise ConfigError(f"A {loaded.kind!r} model does not continue clips; one trained with `inkwash train sequence` does.")
    return loaded.model


def read_clip(place: str, loaded: Loaded) -> Tensor:
    """Frames as the model sees them, (F, C, H, W) in [-1, 1]. Raises DataError where there are none."""
    path = Path(place)
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.name != "grid.png")
        if not files:
            raise DataError(f"{place} holds no pictures.")
        return torch.stack([as_seen(decode(f.read_bytes(), str(f)), loaded, False) for f in files])
    if not path.is_file():
        raise DataError(f"There is no clip {place}: name an animation, or a folder of frames.")
    return as_seen(decode_clip(path.read_bytes(), place), loaded, False)


@torch.no_grad()
def forecast(loaded: Loaded, order: Forecast) -> tuple[Tensor, Tensor]:
    """The frames that are known, (F, C, H, W), and those that follow, (futures, n, C, H, W)."""
    model = forecaster(loaded)
    known = read_clip(order.frames, loaded)
    rng = image_rng(range(order.seed, order.seed + order.futures), model.device)
    many = known.expand(order.futures, *known.shape).to(model.device)
    with loaded.precision.autocast(model.device):
        made = model.predict(many, order.n, rng)
    return known, made.float().cpu()


def measures(metrics: str | Sequence[str], side: int) -> list[str]:
    """The measures asked for; "auto" is all that the frames are large enough for. Raises ConfigError."""
    able = [m for m in MEASURES if m != "ssim" or side >= WINDOW]
    names = [m.strip() for m in metrics.split(",")] if isinstance(metrics, str) else list(metrics)
    if names == ["auto"]:
        return able
    for name in names:
        if name not in able:
            raise ConfigError(f"{name} cannot be measured of a clip here; {nearest(name, able)}")
    return names


class ClipOptions(Config):
    """known: frames that are shown before it predicts, 0 for half of them."""

    known: int = Field(0, ge=0)


@torch.no_grad()
def clip_rows(
    loaded: Loaded, data: str, n: int, metrics: str | Sequence[str], batch: int, watch: Callable[[str], Any], **options: Any
) -> dict[str, list[Figure]]:
    """Figures of held-out clips, predicted from their first frames, as many as `ClipOptions` say, and of repeating the last of those.
    Raises ConfigError for a measure or a number of frames that cannot be, DataError for data of one split.

    mse: squared error of values in [0, 1], summed over a frame, as the literature has it. ssim: of frames of 8 bits. The mean over frames.
    """
    model, view = forecaster(loaded), loaded.view
    clips = Dataset(open_held_out(data), view)
    length = clips.facts.frames
    known = ClipOptions().override(options).known or length // 2
    if not 1 <= known < length:
        raise ConfigError(f"Of clips of {length} frames 1 to {length - 1} can be known, not {known}.")
    names, loader = measures(metrics, min(clips.view.size)), Loader(clips, 1, augment=False)
    ways = (loaded.name, "copying the last frame")
    values: dict[str, dict[str, list[Tensor]]] = {way: {m: [] for m in names} for way in ways}
    total = min(n, len(clips))
    with watch("held-out clips") as on_step:
        for start in range(0, total, batch):
            rows = loader.batch_at(start, min(batch, total - start)).to(model.device)
            seen, true = rows.image[:, :known], rows.image[:, known:]
            rng = Rng([mix(i, "evaluate") for i in rows.index.tolist()], model.device)
            with loaded.precision.autocast(model.device):
                made = model.predict(seen, true.shape[1], rng)
            for way, guess in zip(ways, (made.float(), seen[:, -1:].expand_as(true))):
                for name in names:
                    values[way][name].append(_measured(name, guess, true))
            if on_step:
                on_step(min(start + batch, total), total)
    against = f"{clips.fingerprint()}, {length - known} frames from {known}"
    return {way: [_figure(name, torch.cat(parts), against) for name, parts in of.items()] for way, of in values.items()}


def _measured(name: str, guess: Tensor, true: Tensor) -> Tensor:
    """(N, F, C, H, W) twice to (N,): the mean over frames."""
    if name == "mse":
        return ((guess - true) / 2).square().flatten(2).sum(2).mean(1).cpu()
    return ssim(guess.flatten(0, 1).cpu(), true.flatten(0, 1).cpu()).view(true.shape[:2]).mean(1)


def _figure(name: str, v: Tensor, against: str) -> Figure:
    title = {"mse": "MSE/frame", "ssim": "SSIM"}[name]
    return Figure(title, v.double().mean().item(), len(v), (v.double().std() / len(v) ** 0.5).item(), None, against)
