import math

import pytest
import torch

from inkwash.diffusion.editing import invert, repaint, slerp
from inkwash.diffusion.grids import karras, uniform
from inkwash.diffusion.guidance import keeping, tiled, windows
from inkwash.diffusion.path import PATHS
from inkwash.diffusion.solvers import SOLVERS, ddim

PATH_NAMES = sorted(PATHS)
# A Gaussian of two pixels that go together: what is known of one tells about the other.
COV = torch.tensor([[0.5, 0.4], [0.4, 0.5]], dtype=torch.float64)
MU = torch.tensor([0.2, -0.1], dtype=torch.float64)


def denoiser(path):
    """E[x0 | x] on (N, 1, 1, 2)."""

    def denoise(x, t):
        _, a, s = path.at(t)
        gain = a * COV @ torch.linalg.inv(a * a * COV + s * s * torch.eye(2, dtype=torch.float64))
        return MU + (x - a * MU) @ gain.T

    return denoise


def draws(n=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 1, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_inversion_is_exact_with_rounds_and_not_without(name):
    path = PATHS[name]
    d, grid, x = denoiser(path), karras(path, 50, 0.005, end=False), 0.5 * draws()
    errors = []
    for rounds in (1, 3, 6, 12):
        noise = invert(d, x, grid, rounds)
        errors.append((ddim(d, noise, grid) - x).abs().max().item())
    assert errors[0] > 3 * errors[1] > 9 * errors[2], errors
    assert errors[-1] < 1e-6


@pytest.mark.parametrize("steps", [6, 10, 20, 50])
def test_inversion_of_long_steps_contracts(steps):
    """A plain fixed-point iteration was off by thousands at 10 steps."""
    path = PATHS["flow"]
    d, grid, x = denoiser(path), karras(path, steps, 0.002, end=False), 0.5 * draws()
    errors = [(ddim(d, invert(d, x, grid, rounds), grid) - x).abs().max().item() for rounds in (6, 30)]
    assert errors[0] < 0.1 and errors[1] < 0.01, errors


def test_inverted_noise_is_noise():
    """Images of the model's own distribution come from standard normal noise."""
    path = PATHS["vp-cosine"]
    x = MU + draws(4000) @ torch.linalg.cholesky(COV).T
    noise = invert(denoiser(path), x, karras(path, 200, 0.01, end=False), 3)
    assert noise.mean((0, 1, 2)).abs().max() < 0.06
    torch.testing.assert_close(torch.cov(noise.view(-1, 2).T), torch.eye(2, dtype=torch.float64), atol=0.08, rtol=0)


@pytest.mark.parametrize("name", PATH_NAMES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_known_pixels_stay(solver, name):
    path, known = PATHS[name], torch.full((6, 1, 1, 2), 0.9, dtype=torch.float64)
    mask = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(6, 1, 1, 2)
    grid = uniform(path, 30)
    x = SOLVERS[solver](keeping(denoiser(path), known, mask), grid[0][2] * draws(), grid, draws)
    assert x[..., 0].sub(0.9).abs().max() < 1e-9
    assert x[..., 1].isfinite().all() and not (x[..., 1] - 0.9).abs().min() < 1e-9


def test_repainting_draws_from_the_conditional():
    """Given the first pixel the second is normal with a known mean and variance; resampling comes closer than one pass."""
    path, n = PATHS["vp-cosine"], 20000
    value = 1.2
    known = torch.full((n, 1, 1, 2), value, dtype=torch.float64)
    mask = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(n, 1, 1, 2)
    mean = MU[1] + COV[1, 0] / COV[0, 0] * (value - MU[0])
    std = math.sqrt(COV[1, 1] - COV[1, 0] ** 2 / COV[0, 0])
    grid, errors = uniform(path, 60), []
    for rounds in (1, 10):
        g = torch.Generator().manual_seed(1)
        noise = lambda g=g: torch.randn(n, 1, 1, 2, generator=g, dtype=torch.float64)  # noqa: E731
        x = repaint(denoiser(path), grid[0][2] * noise(), grid, noise, known, mask, rounds)
        assert (x[..., 0] == value).all()
        errors.append(abs(x[..., 1].mean() - mean).item() + abs(x[..., 1].std() - std).item())
    assert errors[1] < 0.12 and errors[1] < 0.4 * errors[0], errors


def test_slerp():
    a, b = draws(5, 1), draws(5, 2)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    p, q = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    torch.testing.assert_close(slerp(p, q, 0.5), torch.full((1, 1, 1, 2), 0.5**0.5))
    wide = torch.randn(2, 1, 64, 64)
    assert slerp(*(v[None] for v in wide), 0.5).std() == pytest.approx(1, abs=0.05), "the mean of two noises would have 0.7"


def test_windows_cover_and_overlap():
    for length in range(1, 90):
        for tile, overlap in ((16, 4), (16, 8), (8, 0), (8, 7)):
            starts = windows(length, tile, overlap)
            ends = [min(s + tile, length) for s in starts]
            assert starts[0] == 0 and ends[-1] == length
            assert all(b <= e - overlap for b, e in zip(starts[1:], ends)), (length, tile, overlap)
            assert len(set(starts)) == len(starts)


def test_tiles_of_a_denoiser_that_sees_one_pixel_change_nothing():
    x = torch.randn(2, 3, 21, 34, dtype=torch.float64)
    one = lambda x, t: 3 * x - t  # noqa: E731
    torch.testing.assert_close(tiled(one, (8, 8), 3)(x, 0.3), one(x, 0.3))
    sizes = []

    def watched(x, t):
        sizes.append(tuple(x.shape[-2:]))
        return x

    tiled(watched, (8, 16), 4)(x, 0.3)
    assert set(sizes) == {(8, 16)}, "every tile has the size of training"
    sizes.clear()
    tiled(watched, (64, 64), 4)(x, 0.3)
    assert sizes == [(21, 34)]


def test_tiles_blend_without_a_seam():
    """Tiles that disagree by a constant meet gradually: no step between neighbouring pixels above a part of it."""
    x, calls = torch.zeros(1, 1, 8, 40, dtype=torch.float64), []

    def disagree(x, t):
        calls.append(1)
        return torch.full_like(x, float(len(calls) % 2))

    out = tiled(disagree, (8, 16), 8)(x, 0.5)
    assert len(calls) == 4 and out.max() > 0.99 and out.min() < 0.01
    assert out.diff(dim=-1).abs().max() < 0.3
