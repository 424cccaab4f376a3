"""What a frozen encoder makes of every picture, worked out once: a step then costs what is learnt, and no more."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from inkwash.core.cache import keep, recall
from inkwash.core.device import Precision
from inkwash.core.model import Encoding, Model
from inkwash.core.pixels import from_uint8
from inkwash.data import Dataset

TIMES = 2  # that a run must see each picture on average, for this to pay
KEPT = 20_000  # pictures from which on it is kept on disk for a resume


def remembers(model: Model, data: Dataset, images: float) -> bool:
    """Whether that can be done, and pays for a run of so many images: pictures that no flip, turn or cut changes, all of them in memory."""
    return isinstance(model, Encoding) and data.in_memory and data.view.still and images >= TIMES * len(data)


@torch.no_grad()
def latents_of(
    model: Model, data: Dataset, precision: Precision, batch: int = 64, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Tensor:
    """(N, ...) of all rows of the data, on the CPU: in half precision, whole numbers as they are."""
    key = f"{data.fingerprint()}-{precision.name}-{_digest(model.encoder)}"
    if len(data) >= KEPT and (known := recall("latents", key)):
        return known["latents"]
    parts = []
    for start in range(0, len(data), batch):
        images = from_uint8(data.rows(range(start, min(start + batch, len(data)))).images).to(model.device)
        with precision.autocast(model.device):
            z = model.encoded(images)
        parts.append((z.half() if z.is_floating_point() else z).cpu())
        on_progress(min(start + batch, len(data)), len(data))
    latents = torch.cat(parts)
    if len(data) >= KEPT:
        keep("latents", key, {"latents": latents}, data.source.name)
    return latents


def _digest(module: torch.nn.Module) -> str:
    h = hashlib.sha256()
    for name, t in sorted(module.state_dict().items()):
        h.update(name.encode())
        h.update(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return h.hexdigest()[:16]
