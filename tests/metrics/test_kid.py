import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel as sk_kernel

from inkwash.core.errors import DataError
from inkwash.metrics.kid import kid, mmd2_unbiased, polynomial_kernel


def sets(n=30, m=23, d=11):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=g).double(), torch.randn(m, d, generator=g).double() * 1.3 + 0.2


def test_kernel_equals_scikit_learn():
    x, y = sets()
    np.testing.assert_allclose(polynomial_kernel(x, y), sk_kernel(x.numpy(), y.numpy(), degree=3, coef0=1), rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_mmd_equals_brute_force(chunk):
    x, y = sets()

    def k(a, b):
        return (float(a @ b) / 11 + 1) ** 3

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert mmd2_unbiased(x, y, chunk) == pytest.approx(xx + yy - 2 * xy, rel=1e-9)


def test_unbiased_on_equal_distributions():
    g = torch.Generator().manual_seed(1)
    values = [mmd2_unbiased(torch.randn(20, 4, generator=g), torch.randn(20, 4, generator=g)) for _ in range(400)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0  # a biased estimate never is


def test_subsets():
    x, y = sets(300, 260)
    a = kid(x, y, subsets=50, size=100)
    assert a == kid(x, y, subsets=50, size=100)
    assert a.size == 100 and a.subsets == 50 and a.spread > 0
    assert a.value == pytest.approx(mmd2_unbiased(x, y), abs=4 * a.spread / np.sqrt(50))
    assert kid(x, y, subsets=3).size == 130  # half of the smaller set
    assert kid(x, y, subsets=3, seed=1).value != kid(x, y, subsets=3).value


def test_refusals():
    with pytest.raises(DataError, match="at least 2"):
        mmd2_unbiased(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(DataError, match="are needed"):
        kid(torch.zeros(4, 2), torch.zeros(4, 3))
