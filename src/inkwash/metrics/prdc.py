"""Precision and recall, density and coverage: fidelity and diversity apart, from k-nearest-neighbour balls.

All-pairs distances are formed in chunks of rows, so memory grows with chunk x (N + M) and not with N x M.

[1] Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019,
    arXiv:1904.06991, eq. 1-2
[2] Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020, arXiv:2002.09797
"""

from typing import NamedTuple

import torch
from torch import Tensor

from inkwash.core.errors import DataError
from inkwash.metrics.neighbours import squared_distances

SLACK = 1 + 1e-9  # a point on the rim of a ball is inside, whichever way the rounding fell


class PRDC(NamedTuple):
    precision: float
    recall: float
    density: float
    coverage: float


def radii(x: Tensor, k: int, chunk: int = 1024) -> Tensor:
    """Squared distance (N,) from each row of x (N, D), float64, to its k-th nearest other row."""
    if len(x) <= k:
        raise DataError(f"{len(x)} images have no {k}-th nearest neighbour: give at least {k + 1}.")
    out = []
    for start in range(0, len(x), chunk):
        d2 = squared_distances(x[start : start + chunk], x)
        rows = torch.arange(len(d2))
        d2[rows, rows + start] = torch.inf
        out.append(d2.kthvalue(k, dim=1).values)
    return torch.cat(out)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3, chunk: int = 1024) -> tuple[float, float]:
    """Share of fake (M, D) inside balls of real (N, D), and of real inside balls of fake [1, eq. 1-2]; k = 3 there."""
    real, fake = _prepare(real, fake)
    return _covered(fake, real, radii(real, k, chunk), chunk), _covered(real, fake, radii(fake, k, chunk), chunk)


def density_coverage(real: Tensor, fake: Tensor, k: int = 5, chunk: int = 1024) -> tuple[float, float]:
    """How many balls of real (N, D) hold a fake (M, D) on average, over k (may pass 1), and the share of real balls that
    hold any fake [2, section 3]; k = 5 there."""
    real, fake = _prepare(real, fake)
    inside, covered = 0, 0
    for part, radius in zip(real.split(chunk), radii(real, k, chunk).split(chunk)):
        hit = squared_distances(part, fake) <= radius[:, None] * SLACK  # (n, M)
        inside, covered = inside + int(hit.sum()), covered + int(hit.any(1).sum())
    return inside / (k * len(fake)), covered / len(real)


def prdc(real: Tensor, fake: Tensor, k_pr: int = 3, k_dc: int = 5) -> PRDC:
    """All four, each with its paper's k, for real (N, D) and fake (M, D) features."""
    return PRDC(*precision_recall(real, fake, k_pr), *density_coverage(real, fake, k_dc))


def _covered(points: Tensor, centres: Tensor, radius: Tensor, chunk: int) -> float:
    hits = (squared_distances(part, centres) <= radius * SLACK for part in points.split(chunk))
    return sum(int(h.any(1).sum()) for h in hits) / len(points)


def _prepare(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise DataError(f"features (N, D) and (M, D) are needed; these are {tuple(real.shape)} and {tuple(fake.shape)}.")
    real, fake = real.double(), fake.double()
    centre = real.mean(0)  # distances do not see it, cancellation does
    return real - centre, fake - centre
