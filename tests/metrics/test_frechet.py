import math

import numpy as np
import pytest
import torch
from scipy import linalg

from inkwash.core.errors import DataError
from inkwash.metrics.frechet import Moments, frechet_distance, gaussian_frechet, moments


def rows(n, d, seed=0, rank=None):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(rank or d, d, generator=g, dtype=torch.float64)
    return torch.randn(n, rank or d, generator=g, dtype=torch.float64) @ mix + torch.randn(d, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_moments_equal_numpy_in_any_batching(offset):
    x = rows(103, 7) + offset
    streamed = Moments(7)
    for part in x.split(10):
        streamed.update(part)
    left, right = moments(x[:31]), moments(x[31:])
    for m in (streamed, left.merge(right), Moments.from_state(streamed.state()), Moments(7).merge(moments(x))):
        assert m.n == 103
        np.testing.assert_allclose(m.mean, x.numpy().mean(0), rtol=1e-12)
        np.testing.assert_allclose(m.cov, np.cov(x.numpy(), rowvar=False), rtol=1e-8, atol=1e-10)


def test_from_state_does_not_share_memory():
    a = moments(rows(9, 3))
    before = a.cov.clone()
    Moments.from_state(a.state()).update(rows(5, 3, seed=1))
    assert torch.equal(a.cov, before)


def test_one_dimension_closed_form():
    one = torch.ones(1, 1, dtype=torch.float64)
    got = gaussian_frechet(torch.tensor([1.0]), 4 * one, torch.tensor([-2.0]), 25 * one)
    assert got == pytest.approx(9 + (2 - 5) ** 2, abs=1e-9)


def test_commuting_covariances_closed_form():
    q = torch.linalg.qr(rows(6, 6))[0]
    a, b = torch.tensor([0.0, 1, 2, 3, 4, 5]).double(), torch.tensor([7.0, 0, 1, 2, 3, 0.5]).double()
    got = gaussian_frechet(torch.zeros(6), q @ a.diag() @ q.T, torch.zeros(6), q @ b.diag() @ q.T)
    assert got == pytest.approx(float((a.sqrt() - b.sqrt()).square().sum()), abs=1e-9)


def test_equals_scipy_sqrtm():
    a, b = moments(rows(200, 24)), moments(rows(150, 24, seed=1))
    root = linalg.sqrtm((a.cov @ b.cov).numpy())
    expected = float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace()) - 2 * np.trace(root).real
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n, rank", [(10, 40), (100, 5), (2, 40)])
def test_rank_deficient(n, rank):
    a, b = moments(rows(n, 40, rank=rank)), moments(rows(300, 40, seed=1))
    # in the row space of a's covariance S1 = F F^T the product F^T S2 F is small and regular, so sqrtm is safe there
    values, vectors = torch.linalg.eigh(a.cov)
    keep = values > 1e-9
    f = vectors[:, keep] * values[keep].sqrt()
    root = linalg.sqrtm((f.T @ b.cov @ f).numpy())
    expected = float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace()) - 2 * np.trace(root).real
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_constant_features_have_only_a_mean_term():
    a, b = moments(torch.zeros(5, 3)), moments(torch.ones(4, 3))
    assert frechet_distance(a, b) == pytest.approx(3, abs=1e-12)


def test_shift_adds_its_square():
    x = rows(50, 8)
    assert frechet_distance(moments(x), moments(x + 0.5)) == pytest.approx(8 * 0.25, abs=1e-8)


def test_refusals():
    with pytest.raises(DataError, match="dimension 3"):
        Moments(3).update(torch.zeros(2, 4))
    with pytest.raises(DataError, match="not finite"):
        Moments(1).update(torch.tensor([[math.nan]]))
    with pytest.raises(DataError, match="at least 2"):
        Moments(3).update(torch.zeros(1, 3)).cov  # noqa: B018
    with pytest.raises(DataError, match="3 and 4"):
        frechet_distance(Moments(3), Moments(4))
    with pytest.raises(DataError, match="3 and 4"):
        Moments(3).merge(Moments(4))
