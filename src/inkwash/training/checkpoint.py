"""Checkpoints: everything that a run needs to go on as if it had not stopped.

RUN/checkpoints/000000500/: weights.safetensors, ema.safetensors, objective.safetensors, optimizer-NAME.safetensors, state.json.
A folder has its name only once it is complete; the oldest goes after the newest has come. Every tensor file repeats the state in
its header, under its checksum, so that files of different checkpoints, or a changed byte in any of them, are found.
"""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkwash.core.disk import read_json, replace_folder, settle_folder, write_text
from inkwash.core.errors import FileError
from inkwash.core.files import load_tensors, save_tensors

STATE = "state.json"
OURS = re.compile(r"\d{9}|\.\d{9}\.(new|old)")  # nothing else in the folder is ever removed


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> dict[str, Tensor]:
    """Adam's moments and step counts, keyed by the parameter's name."""
    return {f"{names[p]}|{key}": value for p, state in optimizer.state.items() for key, value in state.items()}


def fill_optimizer(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str], tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; raises FileError for state of another model."""
    by_name = {name: p for p, name in names.items()}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("|")
        if name not in by_name:
            raise FileError(f"The checkpoint's optimiser knows {name!r}, which this model has not.")
        p = by_name[name]  # moments take the parameter's layout (channels-last): a fused step walks all of them in step
        optimizer.state[p][slot] = value.to(p.device, copy=True) if slot == "step" else torch.empty_like(p).copy_(value)


def save_checkpoint(run: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any], keep: int) -> Path:
    """Write one checkpoint, then remove all but the newest `keep`, and what kills have left half written or half removed.

    tensors: file name without ending to tensors. Raises FileError where the disk is full.
    """
    note = json.dumps(state, indent=2, sort_keys=True)

    def fill(place: Path) -> None:
        for name, group in tensors.items():
            save_tensors(place / f"{name}.safetensors", group, note)
        write_text(place / STATE, note)

    folder = run / "checkpoints" / f"{step:09d}"
    replace_folder(folder, fill)
    kept = checkpoints(run)[-keep:]
    for old in folder.parent.iterdir():
        if old not in kept and OURS.fullmatch(old.name):
            shutil.rmtree(old, ignore_errors=True)  # a folder in use elsewhere goes next time
    return folder


def settle_checkpoints(run: Path) -> None:
    """Put back a checkpoint that was being replaced by another of the same step when the process was killed."""
    for old in (run / "checkpoints").glob(".[0-9]*.old"):
        settle_folder(old.with_name(old.name[1:].removesuffix(".old")))


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("[0-9]*") if (p / STATE).is_file())


def load_checkpoint(folder: Path, names: Iterable[str]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint's files of these names. Raises FileError where one is missing, damaged or of another checkpoint."""
    state, tensors = read_json(folder / STATE), {}
    for name in names:
        tensors[name], note = load_tensors(folder / f"{name}.safetensors")
        if note != (folder / STATE).read_text(encoding="utf-8"):
            raise FileError(f"The checkpoint {folder} is damaged: {STATE} differs from the state in {name}.safetensors.")
    return tensors, state
