import numpy as np
import pytest
import torch

from inkwash.core.errors import DataError
from inkwash.metrics.prdc import prdc


def brute(real, fake, k_pr, k_dc):
    """The four definitions, distance by distance."""

    def dist(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radius(a, k):
        return np.sort(dist(a, a), axis=1)[:, k]  # column 0 is the point itself

    d = dist(real, fake)
    precision = np.mean([(d[:, j] <= radius(real, k_pr)).any() for j in range(len(fake))])
    recall = np.mean([(d[i] <= radius(fake, k_pr)).any() for i in range(len(real))])
    balls = d <= radius(real, k_dc)[:, None]
    return precision, recall, balls.sum() / (k_dc * len(fake)), balls.any(1).mean()


@pytest.mark.parametrize("scale, shift, offset", [(1.0, 0.0, 0), (0.5, 0.3, 0), (2.0, 0.0, 1000)])
def test_equals_brute_force(scale, shift, offset):
    g = torch.Generator().manual_seed(0)
    real = torch.randn(90, 5, generator=g).double() + offset
    fake = torch.randn(70, 5, generator=g).double() * scale + shift + offset
    expected = brute(real.numpy(), fake.numpy(), 3, 5)
    assert 0 < expected[0] < 1 or scale < 1
    np.testing.assert_allclose(prdc(real, fake), expected, atol=1e-12)
    np.testing.assert_allclose(prdc(real, fake, 7, 2), brute(real.numpy(), fake.numpy(), 7, 2), atol=1e-12)
    for chunk in (1, 13):
        np.testing.assert_allclose(prdc(real, fake, chunk=chunk), expected, atol=1e-12)


@pytest.mark.parametrize("repeat", [1, 3])
def test_points_on_the_rim_and_repeated_points_count(repeat):
    g = torch.Generator().manual_seed(0)
    real = torch.randn(40, 300, generator=g).double() + 50
    fake = real[:10].repeat(repeat, 1)  # copies lie exactly on the rims of their neighbours' balls
    np.testing.assert_allclose(prdc(real, fake), brute(real.numpy(), fake.numpy(), 3, 5), atol=1e-12)
    assert prdc(real, fake).precision == 1


def test_modes_show():
    """Half of the modes: precision and density stay, recall and coverage halve."""
    g = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0], [50, 0]])
    real = (centres[torch.arange(400) % 2] + torch.randn(400, 2, generator=g)).double()
    fake = torch.randn(400, 2, generator=g).double()
    got = prdc(real, fake)
    assert got.precision > 0.9 and got.density > 0.8
    assert got.recall == pytest.approx(0.5, abs=0.05) and got.coverage == pytest.approx(0.5, abs=0.05)


def test_float32_input_is_measured_in_double():
    g = torch.Generator().manual_seed(0)
    real, fake = torch.randn(50, 4, generator=g), torch.randn(50, 4, generator=g)
    assert prdc(real, fake) == prdc(real.double(), fake.double())


def test_refusals():
    with pytest.raises(DataError, match="5-th nearest"):
        prdc(torch.zeros(5, 2), torch.zeros(9, 2))
    with pytest.raises(DataError, match="are needed"):
        prdc(torch.zeros(9, 2), torch.zeros(9, 3))
