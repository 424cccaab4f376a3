"""Checkpoints: everything that a run needs to go on as if it had not stopped.

RUN/checkpoints/000000500/: weights.safetensors, ema.safetensors, objective.safetensors, optimizer-NAME.safetensors, state.json.
A folder has its name only once it is complete; the oldest goes after the newest has come.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkwash.core.errors import FileError
from inkwash.core.files import load_tensors, read_json, replace_folder, save_tensors, write_text

STATE = "state.json"


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> dict[str, Tensor]:
    """Adam's moments and step counts, keyed by the parameter's name."""
    return {f"{names[p]}|{key}": value for p, state in optimizer.state.items() for key, value in state.items()}


def fill_optimizer(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str], tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    by_name = {name: p for p, name in names.items()}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("|")
        if name not in by_name:
            raise FileError(f"The checkpoint's optimiser knows {name!r}, which this model has not.")
        place = by_name[name].device if slot != "step" else value.device
        optimizer.state[by_name[name]][slot] = value.to(place)


def save_checkpoint(run: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any], keep: int) -> Path:
    """Write one checkpoint, then remove all but the newest `keep`. tensors: file name without ending to tensors."""

    def fill(place: Path) -> None:
        for name, group in tensors.items():
            save_tensors(place / f"{name}.safetensors", group)
        write_text(place / STATE, json.dumps(state, indent=2, sort_keys=True))

    folder = run / "checkpoints" / f"{step:09d}"
    replace_folder(folder, fill)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("[0-9]*") if (p / STATE).is_file())


def load_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint. Raises FileError where a file is missing or damaged."""
    state = read_json(folder / STATE)
    return {p.stem: load_tensors(p)[0] for p in sorted(folder.glob("*.safetensors"))}, state
