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
    """The four figures; the first two and coverage in 0..1."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: Tensor, fake: Tensor, k_pr: int = 3, k_dc: int = 5, chunk: int = 1024) -> PRDC:
    """The four figures of real (N, D) and fake (M, D) features, each pair with the k of its paper.

    Precision: share of fake inside a ball of real; recall: share of real inside a ball of fake [1, eq. 1-2], k_pr. Density: how
    many balls of real hold a fake on average, over k_dc (may pass 1); coverage: share of real balls that hold any fake [2, section 3].
    Raises DataError where a set has no k-th neighbour.
    """
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise DataError(f"features (N, D) and (M, D) are needed; these are {tuple(real.shape)} and {tuple(fake.shape)}.")
    real, fake = real.double(), fake.double()
    centre = real.mean(0)  # distances do not see it, cancellation does
    real, fake = real - centre, fake - centre
    around_fake = radii(fake, (k_pr,), chunk)[:, 0]
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled = inside = covered = 0
    for part, radius in zip(real.split(chunk), radii(real, (k_pr, k_dc), chunk).split(chunk)):
        d2 = squared_distances(part, fake)  # (n, M)
        precise |= (d2 <= radius[:, :1]).any(0)
        recalled += int((d2 <= around_fake).any(1).sum())
        hit = d2 <= radius[:, 1:]
        inside, covered = inside + int(hit.sum()), covered + int(hit.any(1).sum())
    precision = float(precise.double().mean())
    return PRDC(precision, recalled / len(real), inside / (k_dc * len(fake)), covered / len(real))


def radii(x: Tensor, ks: tuple[int, ...], chunk: int = 1024) -> Tensor:
    """Squared distance (N, len(ks)) from each row of x (N, D), float64, to its k-th nearest other rows, times SLACK.

    Raises DataError for too few rows.
    """
    if len(x) <= max(ks):
        raise DataError(f"{len(x)} images have no {max(ks)}-th nearest neighbour: give at least {max(ks) + 1}.")
    out = []
    for start in range(0, len(x), chunk):
        d2 = squared_distances(x[start : start + chunk], x)
        rows = torch.arange(len(d2), device=x.device)
        d2[rows, rows + start] = torch.inf
        near = d2.topk(max(ks), dim=1, largest=False).values  # ascending
        out.append(near[:, [k - 1 for k in ks]] * SLACK)
    return torch.cat(out)
