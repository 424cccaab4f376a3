"""Fréchet distance between two Gaussians fitted to features, from streaming float64 moments.

With Inception-v3 features it is known as FID [1]; with any other network it is the Fréchet distance of that network.
The estimate is biased upwards for small n [2]: print n, and compare at equal n only.

[1] Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, NeurIPS 2017,
    arXiv:1706.08500, eq. 6
[2] Bińkowski et al., Demystifying MMD GANs, ICLR 2018, arXiv:1801.01401, appendix D
[3] Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979
"""

import torch
from torch import Tensor

from inkwash.core.errors import DataError


class Moments:
    """Count, mean (D,) and scatter matrix (D, D) of the rows seen so far, in float64.

    Batches are joined by the pairwise update of [3], which stays exact where the mean is large against the spread.
    `merge` joins two halves in the same way, so processes can each hold one.
    """

    def __init__(self, dim: int):
        self.n = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, features: Tensor) -> "Moments":
        """Adds the rows of features (N, D); raises DataError for another width or values that are not finite."""
        x = features.detach().to("cpu", torch.float64)
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise DataError(f"features of shape {tuple(x.shape)} do not fit moments of dimension {len(self.mean)}.")
        if not x.isfinite().all():
            raise DataError("the features hold values that are not finite, so they have no mean.")
        if len(x):
            mean = x.mean(0)
            self._join(len(x), mean, (x - mean).T @ (x - mean))
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Adds the rows that another Moments has seen."""
        if len(other.mean) != len(self.mean):
            raise DataError(f"moments of dimensions {len(self.mean)} and {len(other.mean)} cannot be joined.")
        if other.n:
            self._join(other.n, other.mean, other.scatter)
        return self

    def _join(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        total, delta = self.n + n, mean - self.mean
        self.scatter += scatter + torch.outer(delta, delta) * (self.n * n / total)
        self.mean += delta * (n / total)
        self.n = total

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance (D, D); raises DataError below two rows."""
        if self.n < 2:
            raise DataError(f"a covariance needs at least 2 images, {self.n} given.")
        return self.scatter / (self.n - 1)

    def state(self) -> dict[str, Tensor]:
        """The three sums as float64 tensors, to gather across processes or to keep on disk."""
        return {"n": torch.tensor(float(self.n), dtype=torch.float64), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> "Moments":
        """The Moments whose `state` this is."""
        moments = cls(len(state["mean"]))
        moments.n = int(state["n"])
        moments.mean, moments.scatter = state["mean"].double().clone(), state["scatter"].double().clone()
        return moments


def moments(features: Tensor) -> Moments:
    """Moments of one set of features (N, D)."""
    return Moments(features.shape[1]).update(features)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians [1, eq. 6], in squared units of the features:

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2

    Raises DataError where the two have other numbers of features.
    """
    if len(a.mean) != len(b.mean):
        raise DataError(f"features of dimensions {len(a.mean)} and {len(b.mean)} cannot be compared.")
    return gaussian_frechet(a.mean, a.cov, b.mean, b.cov)


def gaussian_frechet(m1: Tensor, s1: Tensor, m2: Tensor, s2: Tensor) -> float:
    """`frechet_distance` of N(m1, s1) and N(m2, s2): means (D,), covariances (D, D), which may be rank-deficient.

    With S = F F^T the last trace is the sum of the singular values of F1^T F2. They are the square roots of the
    eigenvalues of S1^1/2 S2 S1^1/2, but are found without squaring, so a null direction costs 1e-16 and not 1e-8.
    """
    cross = torch.linalg.svdvals(_factor(s1).T @ _factor(s2)).sum()
    distance = (m1 - m2).double().square().sum() + s1.double().trace() + s2.double().trace() - 2 * cross
    return max(float(distance), 0.0)


def _factor(cov: Tensor) -> Tensor:
    """F (D, R) with F F^T = cov: the eigenvectors above rounding noise, scaled by the root of their eigenvalues."""
    values, vectors = torch.linalg.eigh(cov.double())
    keep = values > values[-1].clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    return vectors[:, keep] * values[keep].sqrt()
