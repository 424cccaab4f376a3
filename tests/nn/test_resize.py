import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.rng import Rng
from inkwash.nn.degrade import blurred, camera, jpeg, small
from inkwash.nn.resize import KERNELS, resize, weights

PILLOW = {"linear": Image.Resampling.BILINEAR, "cubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def picture(h=24, w=30, seed=0):
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("old, new", [(7, 7), (7, 28), (24, 6), (5, 13), (13, 5), (1, 4), (4, 1)])
def test_rows_sum_to_one_and_a_flat_picture_stays_flat(kernel, old, new):
    w = weights(old, new, kernel)
    assert w.shape == (new, old)
    torch.testing.assert_close(w.sum(1), torch.ones(new, dtype=torch.float64))
    torch.testing.assert_close(
        resize(torch.full((1, old, old), 0.3, dtype=torch.float64), new, new, kernel), torch.full((1, new, new), 0.3, dtype=torch.float64)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_size_is_the_same_picture(kernel):
    x = picture()
    torch.testing.assert_close(resize(x, 24, 30, kernel), x)


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize("size", [(96, 120), (8, 10), (31, 17)])
def test_away_from_edges_it_is_pillows(kernel, size):
    """Pillow cuts kernels at the edge where we mirror."""
    x = picture(48, 60).float()
    ours = resize(x, *size, kernel)
    theirs = np.stack([np.asarray(Image.fromarray(c.numpy()).resize(size[::-1], PILLOW[kernel])) for c in x])
    cut = [max(1, round(4 * max(1, new / old))) for old, new in zip((48, 60), size)]
    inner = (slice(None), slice(cut[0], -cut[0]), slice(cut[1], -cut[1]))
    if min(size) > 2 * max(cut):
        torch.testing.assert_close(ours[inner], torch.from_numpy(theirs)[inner], atol=1e-5, rtol=0)
    else:
        assert (ours.mean() - theirs.mean()).abs() < 0.02


def test_cubic_reduction_is_matlabs():
    """imresize([0 .. 15], 1/4) in one dimension, worked out by hand from the widened kernel and mirrored edges."""
    x = torch.arange(16, dtype=torch.float64)
    found = resize(x.expand(16, 16)[None], 4, 4)[0, 0]
    expected = []
    for i in range(4):
        centre, total, mass = (i + 0.5) * 4 - 0.5, 0.0, 0.0
        for j in range(-8, 24):
            d = abs(centre - j) / 4
            k = 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0
            at = j if 0 <= j < 16 else -1 - j if j < 0 else 31 - j
            total, mass = total + k * at, mass + k
        expected.append(total / mass)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_a_spline_goes_through_its_pixels_and_follows_a_cubic():
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    curve = torch.sin(6 * t)
    fine = resize(curve.expand(41, 41)[None], 41, 123, "spline")[0, 0]  # every third falls on a pixel
    torch.testing.assert_close(fine[1::3], curve, atol=1e-10, rtol=0)
    places = (torch.arange(123, dtype=torch.float64) + 0.5) / 3 - 0.5
    inner = slice(24, -24)
    error = {
        k: (resize(curve.expand(41, 41)[None], 41, 123, k)[0, 0] - torch.sin(6 * places / 40))[inner].abs().max()
        for k in ("linear", "cubic", "spline")
    }
    assert error["spline"] < error["cubic"] / 5 < error["linear"]


def test_nearest_repeats_pixels():
    x = picture(3, 4)
    assert torch.equal(resize(x, 9, 12, "nearest"), x.repeat_interleave(3, 1).repeat_interleave(3, 2))


def test_autocast_changes_nothing():
    x = picture().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resize(x, 40, 50), resize(x, 40, 50).float())
        y = resize(x, 40, 50)
    assert torch.equal(y, resize(x, 40, 50))


# ---- wearing out


def test_a_small_picture_has_levels_of_a_file():
    x = 2 * picture(16, 16).float()[None] - 1
    y = small(x, 4)
    levels = (y + 1) * 127.5
    assert y.shape == (1, 3, 4, 4) and (levels - levels.round()).abs().max() < 1e-3


def test_blur_is_each_rows_own():
    x = torch.zeros(2, 1, 31, 31)
    x[..., 15, 15] = 1
    y = blurred(x, torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(y[0], x[0], atol=1e-6, rtol=0)
    at = torch.arange(31.0) - 15
    spread = (y[1, 0].sum(0) * at.square()).sum() / y[1].sum()
    assert spread.item() == pytest.approx(4, rel=0.01) and y[1].sum().item() == pytest.approx(1, abs=1e-4)


def test_jpeg_is_worse_where_quality_is_low():
    x = (2 * picture(32, 32).float()[None] - 1).repeat(2, 1, 1, 1)
    y = jpeg(x, [20, 95])
    errors = (y - x).square().flatten(1).mean(1)
    assert y.shape == x.shape and errors[0] > 1.2 * errors[1] > 0
    assert jpeg(x[:, :1], [50, 50]).shape == (2, 1, 32, 32)


def test_the_camera_wears_each_row_by_its_own_numbers():
    x = (2 * picture(32, 32).float()[None] - 1).repeat(3, 1, 1, 1)
    y = camera(x, 4, Rng([1, 2, 3]))
    assert y.shape == (3, 3, 8, 8) and not torch.equal(y[0], y[1])
    torch.testing.assert_close(camera(x[:1], 4, Rng([2])), y[1:2], atol=1e-6, rtol=0)
