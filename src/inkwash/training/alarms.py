"""Alarms in words that hold for every method; what one method knows of itself is in its `Objective.watch`."""

from collections.abc import Iterable

from torch import Tensor

from inkwash.core.device import peak_memory
from inkwash.data import Dataset, Loader
from inkwash.training.config import RunConfig
from inkwash.training.estimate import Estimate


def check_start(config: RunConfig, estimate: Estimate, count: int) -> Iterable[str]:
    """What can be told before the first step. count: images in the training split."""
    t = config.train
    images = t.length(estimate.seconds) * t.batch
    if min(t.ema, t.ema_share * images) > 0.15 * images:
        yield f"train.ema is too slow for the run's length: a half-life of {t.ema:.0f} of about {images:.0f} images; try {images / 20:.0f}"
    if count < t.batch:
        yield f"there are {count} training images, fewer than a batch of {t.batch}: each is seen several times a step"
    if (free := _free_memory()) and estimate.memory - peak_memory() > free:
        yield f"the run wants about {estimate.memory / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free: try train.accumulate=4"


def roughness(x: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels: high for noise, near zero for grey. x: (N, C, H, W)."""
    return (x[..., 1:, :] - x[..., :-1, :]).abs().mean().item() + (x[..., :, 1:] - x[..., :, :-1]).abs().mean().item()


def check_samples(samples: Tensor, data: Dataset, progress: float) -> Iterable[str]:
    """Samples (N, C, H, W) in [-1, 1] against as many images of the data."""
    if progress < 0.5 or not samples.numel():
        return
    real = Loader(data, min(len(samples), len(data)), augment=False).batch_at(0).image
    ratio = roughness(samples) / max(roughness(real), 1e-6)
    if ratio > 2:
        yield f"samples are still noise: neighbouring pixels differ {ratio:.1f} times as much as in the data; train longer"
    spread, wanted = samples.std(0).mean().item(), real.std(0).mean().item()
    if spread < 0.25 * wanted:
        yield f"samples are nearly all alike: they vary {spread / max(wanted, 1e-6):.2f} times as much as the data"


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as f:
            fields = dict(line.split(":", 1) for line in f)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux: nothing to compare with
        return 0
