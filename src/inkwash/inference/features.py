"""Features of images, and a cache of what a network saw, keyed by data, network and preprocessing."""

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from inkwash.core.errors import FileError
from inkwash.core.files import load_tensors, make_folder, save_tensors
from inkwash.core.pixels import from_uint8
from inkwash.data import Dataset
from inkwash.metrics.features.base import FeatureNet

MOST = 60_000  # training images that the reference is made of; more are thinned out evenly


def cache_folder() -> Path:
    """INKWASH_CACHE, or inkwash in the user's cache folder."""
    home = os.environ.get("INKWASH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "inkwash"
    return Path(home) / "features"


def thinned(count: int, most: int) -> Tensor:
    """Up to `most` rows of `count`, spread evenly: int64."""
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most, dtype=torch.float64).round().long()


def features_of(net: FeatureNet, data: Dataset, most: int, on_step: Callable[[int, int], None] | None = None) -> Tensor:
    """float32 (N, D) features of up to `most` images of a data set, spread evenly; read from the cache where they are known."""
    which = thinned(len(data), most)
    key = hashlib.sha256(f"{data.fingerprint()} {net.id} {len(which)} {data.source.split}".encode()).hexdigest()[:24]
    path = cache_folder() / f"{key}.safetensors"
    if path.is_file():
        try:
            return load_tensors(path)[0]["features"]
        except FileError:
            path.unlink()  # a damaged cache is made again
    parts, device = [], next(net.parameters()).device
    for start in range(0, len(which), 256):
        rows = data.rows(which[start : start + 256])
        parts.append(net(from_uint8(torch.as_tensor(rows.images)).to(device)).cpu())
        if on_step:
            on_step(min(start + 256, len(which)), len(which))
    features = torch.cat(parts)
    try:
        make_folder(path.parent)
        save_tensors(path, {"features": features}, net.id)
    except FileError as error:  # the figures do not need the cache
        warnings.warn(f"features are not kept for next time: {error}", stacklevel=2)
    return features
