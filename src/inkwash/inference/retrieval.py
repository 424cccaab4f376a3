"""Finding a caption by its picture and a picture by its caption, among so many."""

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field

from inkwash.core.config import Config
from inkwash.core.errors import DataError
from inkwash.data import Dataset, Loader, open_held_out
from inkwash.inference.judge import fits, judge_of
from inkwash.inference.load import Loaded
from inkwash.metrics.tables import Figure, share


class RetrievalOptions(Config):
    """among: captions, or images, that the right one is looked for among."""

    among: int = Field(100, ge=2)


def retrieval_rows(loaded: Loaded, data: str, n: int, batch: int, watch: Callable[[str], Any], **options: Any) -> dict[str, list[Figure]]:
    """Of held-out images: how often the right caption is the first, or among the first five, of so many, and the right image by its
    caption. options: those of `RetrievalOptions`.

    Raises ConfigError for a model that is no judge and an option that there is not, DataError for too few captioned images.
    """
    judge_of(loaded.model)
    among, held_out = RetrievalOptions().override(options).among, Dataset(open_held_out(data), loaded.view)
    count = min(n, len(held_out)) // among * among
    if not count or not held_out.facts.captions:
        raise DataError(f"{data} has {len(held_out)} held-out images with captions or without: {among} with captions are needed.")
    loader, found = Loader(held_out, 1, augment=False), {k: [] for k in ("caption", "caption in 5", "image", "image in 5")}
    with watch("retrieval") as on_step:
        for start in range(0, count, among):
            rows = loader.batch_at(start, among)
            scores = fits(loaded.model, rows.image, [text[i % len(text)] if text else "" for i, text in enumerate(rows.text)], batch)
            for way, s in (("caption", scores), ("image", scores.t())):
                rank = (~(s < s.diagonal()[:, None])).sum(1) - 1  # what ties, or is no number, counts against it
                found[way].append(rank < 1)
                found[f"{way} in 5"].append(rank < 5)
            if on_step:
                on_step(start + among, count)
    against = held_out.fingerprint()
    figures = [share(name, torch.cat(parts).tolist(), against) for name, parts in found.items()]
    return {f"{loaded.name}, among {among}": figures}
