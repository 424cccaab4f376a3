"""Kernel inception distance: the unbiased squared MMD of two sets of features under a cubic kernel.

    k(x, y) = (x.y / d + 1)^3
    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

Unbiased at any n, so that figures from few images can be compared; it may fall below zero.

[1] Bińkowski, Sutherland, Arbel and Gretton, Demystifying MMD GANs, ICLR 2018, arXiv:1801.01401, section 4
[2] Gretton et al., A Kernel Two-Sample Test, JMLR 2012, lemma 6 (eq. 3)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from inkwash.core.errors import DataError


class Kid(NamedTuple):
    """Mean over the subsets, their standard deviation, how many there were and how many images each held."""

    value: float
    spread: float
    subsets: int
    size: int


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / d + 1)^3 for all pairs: (N, d), (M, d) -> (N, M)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def mmd2_unbiased(x: Tensor, y: Tensor, chunk: int = 1024) -> float:
    """Unbiased MMD^2 [2, eq. 3] of features (N, d) and (M, d) under the cubic kernel, in chunk x max(N, M) memory."""
    _check(x, y)
    x, y = x.double(), y.double()
    n, m = len(x), len(y)
    xx = sum(polynomial_kernel(a, x).sum() for a in x.split(chunk)) - _diagonal(x)
    yy = sum(polynomial_kernel(b, y).sum() for b in y.split(chunk)) - _diagonal(y)
    xy = sum(polynomial_kernel(a, y).sum() for a in x.split(chunk))
    return float(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))


def kid(x: Tensor, y: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0) -> Kid:
    """Mean and spread of `mmd2_unbiased` over random subsets of features (N, d) and (M, d), as [1] reports it.

    A subset takes `size` rows of each set without repeats, and at most half of the smaller set: taking all of it every
    time would report a spread of zero. The draw depends on seed only.
    """
    _check(x, y)
    size = max(2, min(size, len(x) // 2, len(y) // 2))
    rng = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        i, j = torch.randperm(len(x), generator=rng)[:size], torch.randperm(len(y), generator=rng)[:size]
        values.append(mmd2_unbiased(x[i], y[j]))
    values = torch.tensor(values, dtype=torch.float64)
    return Kid(float(values.mean()), float(values.std(correction=0)), subsets, size)


def _diagonal(x: Tensor) -> Tensor:
    return ((x.square().sum(1) / x.shape[1] + 1) ** 3).sum()


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise DataError(f"features (N, d) and (M, d) are needed; these are {tuple(x.shape)} and {tuple(y.shape)}.")
    if min(len(x), len(y)) < 2:
        raise DataError(f"a kernel distance needs at least 2 images a side, {min(len(x), len(y))} given.")
