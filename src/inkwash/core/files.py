"""A model folder on disk, written all or nothing, and checked when read.

A tensor file is safetensors. Its header repeats the configuration and holds a SHA-256 of tensors and configuration, so that a
flipped byte is found. Nothing here reads or writes a pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from inkwash.core.config import MODELS, ModelConfig, lookup
from inkwash.core.disk import read_json, replace_folder, standing, write_bytes, write_text
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.model import Model
from inkwash.core.packing import unpacked

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def _digest(tensors: Mapping[str, Tensor], note: str) -> str:
    h = hashlib.sha256(note.encode())
    for name in sorted(tensors):
        t = tensors[name]
        h.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        h.update(t.reshape(-1).view(torch.uint8).numpy().data if t.numel() else b"")
    return h.hexdigest()


def _sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header's keys in order: the library writes metadata in an order of chance."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(data)[end:]))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: str = "") -> None:
    """Write tensors with a note (the configuration, as JSON) and their digest. Equal contents give equal bytes."""
    flat = {k: t.detach().cpu().contiguous() for k, t in sorted(tensors.items())}
    write_bytes(path, _sorted_header(serialise(flat, {"inkwash": note, "sha256": _digest(flat, note)})))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read tensors, unpacked where they were packed into 8 bits, and the note.

    Raises FileError where the file is missing, is no safetensors file, or has changed since.
    """
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as f:
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dictionary)
            meta = f.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(f"{path} is not a safetensors file, or is damaged ({error}); pickled weights are never read.") from None
    # A file of ours has both; one from elsewhere neither. A flipped byte in either name is found here too.
    if meta.keys() & {"sha256", "inkwash"} and meta.get("sha256") != _digest(tensors, meta.get("inkwash", "")):
        raise FileError(f"{path} is damaged: its contents do not match the checksum in its header.")
    return unpacked(tensors), meta.get("inkwash", "")


def fill_state(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a module whose names and shapes must match exactly. Raises FileError naming the first that does not."""
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in own or name not in tensors:
            where = "the file lacks" if name in own else "the model has no"
            raise FileError(f"{path} does not fit its configuration: {where} {name!r}.")
        if own[name].shape != tensors[name].shape:
            shapes = f"{tuple(tensors[name].shape)} in the file, {tuple(own[name].shape)} in the model"
            raise FileError(f"{path} does not fit its configuration: {name!r} is {shapes}.")
    module.load_state_dict(dict(tensors))


def save_model(
    folder: Path, config: ModelConfig, state: Mapping[str, Tensor], card: str = "", extra: Mapping[str, str] | None = None
) -> None:
    """Write a model folder whole: config.json, model.safetensors, README.md, and further text files by name."""

    def fill(place: Path) -> None:
        save_tensors(place / WEIGHTS, state, config.to_json())
        write_text(place / CONFIG, config.to_json())
        write_text(place / CARD, card)
        for name, text in (extra or {}).items():
            write_text(place / name, text)

    replace_folder(folder, fill)


def _parsed(note: str, kind: type[ModelConfig]) -> ModelConfig | None:
    try:
        return kind.parse(json.loads(note))
    except (ValueError, ConfigError):
        return None


def read_model_config(folder: Path) -> ModelConfig:
    """What a model folder describes. Raises FileError where it is not one or is damaged."""
    folder = standing(folder)
    if not (folder / CONFIG).is_file():
        raise FileError(f"{folder} is not a model folder: it has no {CONFIG}.")
    values = read_json(folder / CONFIG)
    if not isinstance(values, dict) or "kind" not in values:
        raise FileError(f"{folder / CONFIG} does not say what kind of model it describes.")
    return lookup(values["kind"], MODELS).parse(values)


def load_model(folder: Path) -> Model:
    """Read a model folder. Raises FileError where it is not one or is damaged."""
    config, folder = read_model_config(folder), standing(folder)
    tensors, note = load_tensors(folder / WEIGHTS)
    if _parsed(note, type(config)) != config:
        raise FileError(f"{folder} is damaged: {CONFIG} differs from the configuration in {WEIGHTS}.")
    model = config.build()
    fill_state(model, tensors, folder / WEIGHTS)
    return model.eval()
