"""How well texts fit pictures, as a contrastive model sees it: the best of several drawings, and finding one by the other."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.model import Aligner
from inkwash.data import Dataset, Loader, open_held_out
from inkwash.inference.load import Loaded
from inkwash.metrics.features.base import to_rgb
from inkwash.metrics.tables import Figure, share


def aligner(loaded: Loaded) -> Aligner:
    """The model as a judge. Raises ConfigError where it is none."""
    if not isinstance(loaded.model, Aligner):
        raise ConfigError(f"A {loaded.kind!r} model does not compare texts with pictures; one trained with the recipe 'clip' does.")
    return loaded.model


@torch.no_grad()
def fits(loaded: Loaded, images: Tensor, texts: Sequence[str], batch: int = 128) -> Tensor:
    """The cosine of each image (N, C, H, W) with each text: (N, M). Images of another size are brought to the judge's."""
    model, device = aligner(loaded), loaded.model.device
    channels, *size = loaded.model.config.shape
    if images.shape[1] != channels:
        rgb = to_rgb(images)  # on white where they are transparent
        opaque = torch.cat([rgb, torch.ones_like(rgb[:, :1])], 1)  # a fourth channel, for a judge that wants one
        images = rgb.mean(1, keepdim=True) if channels == 1 else opaque[:, :channels]
    if list(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    u = torch.cat([model.features(images[i : i + batch].to(device)).cpu() for i in range(0, len(images), batch)])
    v = torch.cat([model.read(model.tokens(texts[i : i + batch]).to(device)).cpu() for i in range(0, len(texts), batch)])
    return u @ v.t()


def best(loaded: Loaded, images: Tensor, text: str, n: int) -> tuple[list[int], list[float]]:
    """Which n of the images fit a text best, the best first, and their cosines."""
    scores = fits(loaded, images, [text])[:, 0]
    value, at = scores.topk(min(n, len(images)))
    return at.tolist(), value.tolist()


class RetrievalOptions(Config):
    """among: captions, or images, that the right one is looked for among."""

    among: int = Field(100, ge=2)


def retrieval_rows(loaded: Loaded, data: str, n: int, batch: int, watch: Callable[[str], Any], **options: Any) -> dict[str, list[Figure]]:
    """Of held-out images: how often the right caption is the first, or among the first five, of so many, and the right image by its
    caption. options: those of `RetrievalOptions`.

    Raises ConfigError for a model that is no judge and an option that there is not, DataError for too few captioned images.
    """
    aligner(loaded)
    among, held_out = RetrievalOptions().override(options).among, Dataset(open_held_out(data), loaded.view)
    count = min(n, len(held_out)) // among * among
    if not count or not held_out.facts.captions:
        raise DataError(f"{data} has {len(held_out)} held-out images with captions or without: {among} with captions are needed.")
    loader, found = Loader(held_out, 1, augment=False), {k: [] for k in ("caption", "caption in 5", "image", "image in 5")}
    with watch("retrieval") as on_step:
        for start in range(0, count, among):
            rows = loader.batch_at(start, among)
            scores = fits(loaded, rows.image, [text[i % len(text)] if text else "" for i, text in enumerate(rows.text)], batch)
            for way, s in (("caption", scores), ("image", scores.t())):
                rank = (s > s.diagonal()[:, None]).sum(1)
                found[way].append(rank < 1)
                found[f"{way} in 5"].append(rank < 5)
            if on_step:
                on_step(start + among, count)
    against = held_out.fingerprint()
    figures = [share(name, torch.cat(parts).tolist(), against) for name, parts in found.items()]
    return {f"{loaded.name}, among {among}": figures}
