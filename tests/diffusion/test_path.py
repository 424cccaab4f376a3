import math

import pytest
import torch

from inkwash.diffusion.path import PATHS, clean, scales, stretch, target

PREDICTIONS = ("flow", "v", "eps", "x0", "edm")
T = torch.linspace(0, 1, 201, dtype=torch.float64)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_goes_from_data_to_noise(name):
    path = PATHS[name]
    a, s = path.a(T), path.s(T)
    assert a[0] == 1 and s[0] == 0
    assert a[1:-1].isfinite().all() and path.at(path.start)[2] / path.at(path.start)[1] > 79, "little of the image is left at the start"
    if name != "edm":
        assert s[-1] == pytest.approx(1, abs=5e-5) and abs(a[-1]) < 0.01
    snr = (a[1:-1] / s[1:-1]).log()
    assert (snr.diff() < 0).all(), "the signal-to-noise ratio falls"
    assert 0.98 < path.start <= 1 and path.a(torch.tensor(path.start, dtype=torch.float64)) > 0
    if name.startswith("vp"):
        torch.testing.assert_close(a * a + s * s, torch.ones_like(T), atol=1e-12, rtol=0)
    elif name == "edm":
        assert (a == 1).all()
    else:
        torch.testing.assert_close(a + s, torch.ones_like(T), atol=1e-12, rtol=0)
    assert path.at(0.3) == (0.3, *(f(torch.tensor(0.3, dtype=torch.float64)).item() for f in (path.a, path.s)))


def test_vp_linear_integrates_its_beta():
    """a(t) = exp(-1/2 integral of beta), beta from 0.1 to 20 (Song et al. 2021, equation 33), by numeric quadrature."""
    beta = lambda t: 0.1 + t * (20 - 0.1)  # noqa: E731
    grid = torch.linspace(0, 0.7, 20001, dtype=torch.float64)
    integral = torch.trapezoid(beta(grid), grid)
    a = PATHS["vp-linear"].a(torch.tensor(0.7, dtype=torch.float64))
    assert a.item() == pytest.approx(math.exp(-0.5 * integral.item()), rel=1e-8)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_prediction_turns_back_into_the_clean_image(prediction, name):
    g = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(64, generator=g, dtype=torch.float64) for _ in range(2))
    for t in (1e-3, 0.02, 0.3, 0.5, 0.9, PATHS[name].start):
        _, a, s = PATHS[name].at(t)
        out = target(prediction, x0, noise, torch.tensor(a, dtype=torch.float64), torch.tensor(s, dtype=torch.float64))
        torch.testing.assert_close(clean(prediction, a * x0 + s * noise, out, a, s), x0, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_best_least_squares_prediction_is_the_denoiser(prediction, name):
    """E[target | x_t] turned into D equals E[x0 | x_t]: both are linear for a Gaussian, so it is enough on the regression line."""
    mu, v = 0.4, 0.3
    _, a, s = PATHS[name].at(0.55)
    x = torch.tensor([1.3], dtype=torch.float64)
    d = mu + a * v / (a * a * v + s * s) * (x - a * mu)  # E[x0 | x_t]
    e = (x - a * d) / s  # E[noise | x_t]
    skip, out, _ = scales(a, s, 0.5)
    best = {"flow": e - d, "v": a * e - s * d, "eps": e, "x0": d, "edm": (d - skip * x) / out}[prediction]
    torch.testing.assert_close(clean(prediction, x, best, a, s), d, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PATHS)
def test_time_is_the_inverse_of_sigma(name):
    path = PATHS[name]
    for t in (1e-4, 0.01, 0.3, 0.7, 0.97, path.start):
        _, a, s = path.at(t)
        assert path.of_sigma(s / a) == pytest.approx(t, rel=1e-9)
    assert path.of_sigma(0.0) == 0


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_stretch_is_the_derivative_of_the_prediction_by_the_estimate(prediction, name):
    _, a, s = PATHS[name].at(0.4)
    x = torch.tensor(0.6, dtype=torch.float64)
    low, high = (clean(prediction, x, torch.tensor(v, dtype=torch.float64), a, s) for v in (0.2, 0.3))
    known = stretch(prediction, torch.tensor(a, dtype=torch.float64), torch.tensor(s, dtype=torch.float64))
    assert known.item() == pytest.approx(0.1 / abs((high - low).item()), rel=1e-9)


def test_edm_with_unit_data_on_a_variance_preserving_path_is_v():
    x0, noise = torch.randn(2, 9, dtype=torch.float64)
    a, s = torch.tensor(0.8, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    torch.testing.assert_close(target("edm", x0, noise, a, s, 1.0), -target("v", x0, noise, a, s), atol=1e-12, rtol=0)


def test_edm_scales_keep_input_and_target_at_unit_variance():
    """For data of standard deviation data_std, whatever the noise (Karras et al. 2022, equations 4 to 8)."""
    g = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(200_000, generator=g, dtype=torch.float64) for _ in range(2))
    x0 = 0.5 * x0
    for t in (0.05, 0.5, 0.95):
        _, a, s = PATHS["edm"].at(t)
        a, s = torch.tensor(a, dtype=torch.float64), torch.tensor(s, dtype=torch.float64)
        assert (scales(a, s, 0.5)[2] * (a * x0 + s * noise)).std() == pytest.approx(1, abs=0.01)
        assert target("edm", x0, noise, a, s).std() == pytest.approx(1, abs=0.01)
