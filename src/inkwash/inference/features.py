"""Features of images, and a cache of what a network saw, keyed by data, network and preprocessing."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from inkwash.core.cache import keep, recall
from inkwash.core.pixels import from_uint8
from inkwash.data import Dataset
from inkwash.metrics.features.base import FeatureNet

MOST = 60_000  # training images that the reference is made of; more are thinned out evenly


def thinned(count: int, most: int) -> Tensor:
    """Up to `most` rows of `count`, spread evenly: int64."""
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most, dtype=torch.float64).round().long()


def features_of(net: FeatureNet, data: Dataset, most: int, on_step: Callable[[int, int], None] | None = None) -> Tensor:
    """float32 (N, D) features of up to `most` images of a data set, spread evenly; read from the cache where they are known."""
    which = thinned(len(data), most)
    key = hashlib.sha256(f"{data.fingerprint()} {net.id} {len(which)} {data.source.split}".encode()).hexdigest()[:24]
    if known := recall("features", key):
        return known["features"]
    parts, device = [], next(net.parameters()).device
    for start in range(0, len(which), 256):
        rows = data.rows(which[start : start + 256])
        parts.append(net(from_uint8(torch.as_tensor(rows.images)).to(device)).cpu())
        if on_step:
            on_step(min(start + 256, len(which)), len(which))
    features = torch.cat(parts)
    keep("features", key, {"features": features}, net.id)
    return features
