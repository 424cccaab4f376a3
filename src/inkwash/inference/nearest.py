"""The training pictures that given pictures are most like: whether a model makes new ones or repeats what it saw."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from inkwash.core.errors import DataError
from inkwash.core.pixels import from_uint8
from inkwash.data import Dataset, View, open_source
from inkwash.data.decode import opened
from inkwash.inference.features import MOST, features_of, thinned
from inkwash.inference.pictures import grid
from inkwash.metrics.features.catalog import extractor
from inkwash.metrics.neighbours import squared_distances

GRID = "grid.png"  # of a folder that we wrote: no picture of its own


class Near(NamedTuple):
    """path: of the picture. rows: of the training pictures nearest to it, the nearest first. distance: to each. text: of each, "" for
    none. images: the picture and these, (1 + k, 3, H, W) in [-1, 1]."""

    path: Path
    rows: list[int]
    distance: list[float]
    text: list[str]
    images: Tensor


def files_of(paths: list[str]) -> list[Path]:
    """Pictures, and those in folders, in the order of their names. Raises DataError where there are none."""
    out = []
    for path in map(Path, paths):
        out += sorted(p for p in path.glob("*.png") if p.name != GRID) if path.is_dir() else [path]
    if not out:
        raise DataError(f"There are no PNG files in {', '.join(paths)}.")
    return out


def nearest_pictures(
    paths: list[str], data: str, k: int = 3, network: str = "own", on_step: Callable[[int, int], None] | None = None
) -> list[Near]:
    """For each picture the k training pictures nearest to it, by a network's features.

    Training pictures are seen as large as the first of the pictures. Of more than 60,000 an even share is looked at. Raises
    InkwashError for a file that is no picture, or data with fewer than k.
    """
    files, net = files_of(paths), extractor(network)
    pixels = [opened(str(f)) for f in files]
    view = View(size=pixels[0].shape[:2], channels=3)
    train = Dataset(open_source(data, "train"), view)
    if len(train) < k:
        raise DataError(f"{data} has {len(train)} training pictures, fewer than {k}.")
    asked = from_uint8(torch.stack([torch.from_numpy(view.prepare(p)) for p in pixels]))  # (N, 3, H, W)
    seen = torch.cat([net(part) for part in asked.split(256)])
    known, which = features_of(net, train, MOST, on_step), thinned(len(train), MOST)
    far, at = squared_distances(seen.double(), known.double()).sqrt().topk(k, dim=1, largest=False)
    out = []
    for file, image, row, distance in zip(files, asked, which[at].tolist(), far.tolist()):
        others = from_uint8(torch.as_tensor(train.rows(row).images))
        text = [next(iter(train.text(i)), "") for i in row] if train.facts.captions else [""] * k
        out.append(Near(file, row, distance, text, torch.cat([image[None], others])))
    return out


def beside(found: list[Near], columns: int = 4) -> Image.Image:
    """Each picture with the training pictures nearest to it on its right, `columns` such rows side by side."""
    each = len(found[0].images)
    labels = [label for near in found for label in (near.path.stem, *(f"{d:.1f}" for d in near.distance))]
    return grid(torch.cat([near.images for near in found]), columns=each * min(columns, len(found)), labels=labels)
