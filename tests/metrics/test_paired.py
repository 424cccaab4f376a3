import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from inkwash.core.errors import DataError
from inkwash.metrics.paired import luminance, psnr, ssim


def pair(c=3, h=24, w=31, noise=0.2):
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(2, c, 6, 7, generator=g), (h, w), mode="bilinear") * 2 - 1
    return x, (x + noise * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def levels(x):
    return np.floor(np.clip(np.float32(127.5) * x.numpy() + np.float32(128), 0, 255)).astype(float)


def reference_ssim(a, b):
    """Wang 2004 on two grey images of 0..255, window by scipy.signal, valid part."""
    t = np.arange(-5, 6)
    g = np.exp(-(t**2) / (2 * 1.5**2))
    g = np.outer(g, g) / g.sum() ** 2

    def mean(v):
        return signal.convolve2d(v, g, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return np.mean((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))


@pytest.mark.parametrize("c", [1, 3, 4])
def test_ssim_equals_direct_definition(c):
    x, y = pair(c)
    a, b = levels(x), levels(y)
    expected = [np.mean([reference_ssim(a[n, k], b[n, k]) for k in range(c)]) for n in range(2)]
    assert 0.1 < expected[0] < 0.95
    np.testing.assert_allclose(ssim(x, y), expected, atol=1e-10)


def test_window_equals_scipy_ndimage():
    """The local mean of one image by a truncated Gaussian filter: radius 5 at sigma 1.5."""
    x, y = pair(1)

    def f(v):
        return ndimage.gaussian_filter(v, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    a, b = levels(x)[0, 0], levels(y)[0, 0]
    c1, c2 = 6.5025, 58.5225
    index = (2 * f(a) * f(b) + c1) * (2 * (f(a * b) - f(a) * f(b)) + c2)
    index /= (f(a) ** 2 + f(b) ** 2 + c1) * (f(a * a) - f(a) ** 2 + f(b * b) - f(b) ** 2 + c2)
    assert float(ssim(x, y)[0]) == pytest.approx(index.mean(), abs=1e-10)


@pytest.mark.parametrize("shave", [0, 4])
def test_psnr_equals_definition(shave):
    x, y = pair()
    a, b = levels(x)[..., shave : 24 - shave, shave : 31 - shave], levels(y)[..., shave : 24 - shave, shave : 31 - shave]
    expected = 10 * np.log10(255**2 / ((a - b) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(psnr(x, y, shave=shave), expected, rtol=1e-12)


def test_luminance_of_known_colours():
    """BT.601: black 16, white 235, and the three primaries."""
    rgb = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).double().view(5, 3, 1, 1)
    expected = torch.tensor([16, 235, 81.481, 144.553, 40.966]).double()
    torch.testing.assert_close(luminance(rgb).flatten(), expected)


def test_luma_option():
    x, y = pair()
    weight = np.array([65.481, 128.553, 24.966])[None, :, None, None] / 255
    a, b = ((levels(v) * weight).sum(1) + 16 for v in (x, y))
    cut = np.s_[:, 2:-2, 2:-2]
    expected = 10 * np.log10(255**2 / ((a - b)[cut] ** 2).mean((1, 2)))
    np.testing.assert_allclose(psnr(x, y, luma=True, shave=2), expected, rtol=1e-12)
    expected = [reference_ssim(p, q) for p, q in zip(a[cut], b[cut])]
    np.testing.assert_allclose(ssim(x, y, luma=True, shave=2), expected, atol=1e-10)


def test_equal_images_and_extremes():
    x, _ = pair()
    assert torch.isinf(psnr(x, x)).all() and torch.allclose(ssim(x, x), torch.ones(2).double())
    black, white = -torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    assert float(psnr(black, white)) == 0
    assert float(ssim(black, white)) == pytest.approx(6.5025 / (255**2 + 6.5025), rel=1e-9)


def test_values_below_a_level_do_not_count():
    x = torch.zeros(1, 1, 16, 16)
    assert torch.isinf(psnr(x, x + 1e-3)).all()


def test_refusals():
    x, y = pair()
    with pytest.raises(DataError, match="equal shapes"):
        psnr(x, y[..., 1:])
    with pytest.raises(DataError, match="1 channels"):
        psnr(x[:, :1], y[:, :1], luma=True)
    with pytest.raises(DataError, match="leaves nothing"):
        psnr(x, y, shave=12)
    with pytest.raises(DataError, match="at least 11"):
        ssim(x, y, shave=7)
