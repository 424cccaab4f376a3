import numpy as np
import pytest
import torch

from inkwash.core.errors import DataError
from inkwash.metrics.neighbours import memorisation, nearest, squared_distances


@pytest.mark.parametrize("chunk", [3, 1024])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_nearest_equals_brute_force(chunk, offset):
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(20, 1, 6, 6, generator=g) + offset, torch.rand(50, 1, 6, 6, generator=g) + offset
    d = np.sqrt(((x.numpy().reshape(20, 1, 36).astype(float) - y.numpy().reshape(1, 50, 36)) ** 2).sum(-1))
    distance, index = nearest(x, y, chunk)
    np.testing.assert_array_equal(index, d.argmin(1))
    np.testing.assert_allclose(distance, d.min(1), rtol=1e-9)


def test_equal_rows_are_at_zero():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(8, 64, generator=g).double() + 3
    assert (squared_distances(x, x).diagonal() == 0).all()
    distance, index = nearest(x, x)
    assert (distance == 0).all() and torch.equal(index, torch.arange(8))


def test_memorisation_tells_copies_from_new_images():
    g = torch.Generator().manual_seed(0)
    train, heldout, new = (torch.randn(300, 12, generator=g) for _ in range(3))
    fresh = memorisation(new, heldout, train)
    assert fresh.ratio == pytest.approx(1, abs=0.1) and fresh.copies < 0.05
    copied = memorisation(train[:50] + 1e-3 * torch.randn(50, 12, generator=g), heldout, train)
    assert copied.ratio < 0.01 and copied.copies == 1
    assert torch.equal(copied.nearest, torch.arange(50))
    half = memorisation(torch.cat([train[:60], new[:140]]), heldout, train)
    assert half.copies == pytest.approx(0.3, abs=0.05)  # the median alone would miss them
    torch.testing.assert_close(fresh.ratio, fresh.sample_median / fresh.heldout_median)


def test_refusals():
    with pytest.raises(DataError, match="one width"):
        nearest(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(DataError, match="held-out images are training images"):
        memorisation(torch.ones(4, 3), torch.zeros(4, 3), torch.zeros(5, 3))
