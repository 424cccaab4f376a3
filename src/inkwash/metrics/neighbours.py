"""Nearest neighbours in pixels or features, and what they say about memorised training images.

[1] Meehan, Chaudhuri and Dasgupta, A Non-Parametric Test to Detect Data-Copying in Generative Models, AISTATS 2020,
    arXiv:2004.05675
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.errors import DataError

EPS = 1e-12  # a squared distance below this share of the largest squared norms is rounding: the rows are the same


class Memorisation(NamedTuple):
    """`ratio`: median distance of samples to the nearest training image over that of held-out images: about 1 where the
    samples are as new as unseen data, near 0 for copies. `copies`: share of samples nearer to the training set than 99 of
    100 held-out images are (0.01 expected). `nearest` (N,): row of each sample's nearest training image, `distance` (N,)
    away."""

    ratio: float
    copies: float
    sample_median: float
    heldout_median: float
    distance: Tensor
    nearest: Tensor


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2 for all pairs by one matrix product: (N, D), (M, D) -> (N, M), float64, exactly 0 for equal rows."""
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    rounding = EPS * float(norms.max())
    return F.threshold_(norms.addmm_(x, y.T, alpha=-2), rounding, 0)


def nearest(x: Tensor, y: Tensor, chunk: int = 1024, candidates: int = 4) -> tuple[Tensor, Tensor]:
    """Euclidean distance (N,), float64, from each row of x (N, ...) to its nearest row of y (M, ...), and its index (N,).

    All pairs are searched in float32; the best few are measured again in float64, without cancellation.
    Raises DataError where rows differ in width.
    """
    x, y = x.flatten(1).float(), y.flatten(1).float()
    if x.shape[1] != y.shape[1] or not len(y):
        raise DataError(f"nearest neighbours need rows of one width; these are {tuple(x.shape)} and {tuple(y.shape)}.")
    centre = y.mean(0)
    yc = y - centre
    half = yc.square().sum(1) / 2
    distances, indices = [], []
    for part in x.split(chunk):
        score = half - (part - centre) @ yc.T  # (n, M): half the squared distance, less what depends on x alone
        near = score.topk(min(candidates, len(y)), dim=1, largest=False).indices  # (n, K)
        exact = (part[:, None].double() - y[near].double()).square().sum(-1)
        best = exact.argmin(1, keepdim=True)
        distances.append(exact.gather(1, best)[:, 0].sqrt())
        indices.append(near.gather(1, best)[:, 0])
    return torch.cat(distances), torch.cat(indices)


def memorisation(samples: Tensor, heldout: Tensor, train: Tensor) -> Memorisation:
    """Distance to the nearest training row of samples (N, ...) against that of held-out images (H, ...) [1, section 3].

    Works on pixels and on features. Held-out images are as far from the training set as new data are, which frees the
    ratio of units and of the set's density. Raises DataError where half of
    the held-out images are training images.
    """
    distance, index = nearest(samples, train)
    reference, _ = nearest(heldout, train)
    median, floor = float(distance.median()), float(reference.median())
    if floor == 0:
        raise DataError("half of the held-out images are training images too, so they cannot show what new images look like.")
    copies = float((distance < reference.quantile(0.01)).double().mean())
    return Memorisation(median / floor, copies, median, floor, distance, index)
