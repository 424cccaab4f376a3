"""Bounds and densities against closed forms: a Gaussian, whose posterior is known, and a mixture, whose denoiser is."""

import math

import pytest
import torch
from torch.distributions import MixtureSameFamily, Normal
from torch.distributions.categorical import Categorical

from inkwash.diffusion.grids import karras
from inkwash.diffusion.likelihood import discretised, flow_log_density, kl_normal, learned_log_var, posterior, prior_kl, step_kl
from inkwash.diffusion.path import PATHS

MU = torch.tensor([0.7, -0.3, 0.0], dtype=torch.float64)
V = torch.tensor([0.04, 0.5, 2.0], dtype=torch.float64)
WEIGHTS, CENTRES, STD = (torch.tensor(v, dtype=torch.float64) for v in ([0.3, 0.7], [-0.6, 0.5], [0.1, 0.25]))
PATH_NAMES = sorted(PATHS)
# What is left of the mean where the noise ends: sampling starts from N(0, s^2) as if nothing were.
END = {"flow": 3e-3, "vp-cosine": 3e-3, "vp-linear": 1.5e-2, "edm": 3e-2}


def gaussian(path):
    def denoise(x, t):
        _, a, s = path.at(t)
        return MU + a * V / (a * a * V + s * s) * (x - a * MU)

    return denoise


def mixture(path):
    """E[x0 | x] of a mixture of two normals in one dimension."""

    def denoise(x, t):
        _, a, s = path.at(t)
        spread = (a * a * STD**2 + s * s).sqrt()
        odds = WEIGHTS.log() + Normal(a * CENTRES, spread).log_prob(x[..., None])  # (N, 1, 2)
        each = CENTRES + a * STD**2 / spread**2 * (x[..., None] - a * CENTRES)
        return (odds.softmax(-1) * each).sum(-1)

    return denoise


def signs(x):
    return torch.where(torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0).to(x)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_density_of_a_gaussian(name):
    path = PATHS[name]
    x = MU + V.sqrt() * torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = Normal(MU, V.sqrt()).log_prob(x).sum(1)
    errors = []
    for steps in (15, 30, 80):
        found = flow_log_density(gaussian(path), x, path, [signs(x)], steps, low=1e-4)
        errors.append((found - exact).abs().max().item())
    assert errors[-1] < END[name], errors
    if END[name] < 1e-2:
        assert errors[0] > 8 * errors[1], "fourth order, until the ends limit it"


@pytest.mark.parametrize("name", PATH_NAMES)
def test_density_of_a_mixture(name):
    """The divergence matters here: it differs from place to place."""
    path = PATHS[name]
    x = torch.linspace(-1.1, 1.4, 26, dtype=torch.float64)[:, None]
    exact = MixtureSameFamily(Categorical(WEIGHTS), Normal(CENTRES, STD)).log_prob(x[:, 0])
    found = flow_log_density(mixture(path), x, path, [signs(x)], 100, low=1e-4)
    torch.testing.assert_close(found, exact, atol=END[name], rtol=0)
    assert exact.max() - exact.min() > 5


def test_the_trace_is_averaged_over_probes():
    """A denoiser that mixes coordinates: one probe errs, all sign patterns together are exact."""
    path = PATHS["flow"]
    mix = torch.tensor([[0.5, 0.3], [0.2, 0.4]], dtype=torch.float64)
    x = torch.randn(4, 2, dtype=torch.float64)
    patterns = [torch.tensor(p, dtype=torch.float64).expand(4, 2) for p in ([1.0, 1.0], [1.0, -1.0])]
    kept = [flow_log_density(lambda y, t: y @ mix.T, x, path, p, 4) for p in ([patterns[0]], [patterns[1]], patterns)]
    torch.testing.assert_close((kept[0] + kept[1]) / 2, kept[2])
    assert (kept[0] - kept[1]).abs().min() > 1e-3
    diagonal = flow_log_density(lambda y, t: y @ mix.T, x, path, [patterns[0]], 4) - kept[2]
    assert diagonal.abs().min() > 1e-3


@pytest.mark.parametrize("name", PATH_NAMES)
def test_posterior_is_that_of_the_chain(name):
    """By Bayes' rule on q(x_s | x0) q(x_t | x_s), and with x0 ~ N(0, 1) integrated out."""
    path = PATHS[name]
    (_, a, s), (_, a2, s2) = path.at(0.7), path.at(0.4)
    weight, small, large = posterior(a, s, a2, s2)
    ratio, forward = a / a2, s * s - (a / a2 * s2) ** 2
    variance = 1 / (1 / s2**2 + ratio**2 / forward)
    assert small == pytest.approx(variance, rel=1e-12)
    assert weight == pytest.approx(variance * a2 / s2**2, rel=1e-12)
    assert large == pytest.approx(small + weight**2 * s * s / (a * a + s * s), rel=1e-12)
    if name.startswith("vp"):
        assert large == pytest.approx(1 - ratio**2, rel=1e-12), "DDPM's beta"


def test_a_learned_variance_goes_from_small_to_large():
    ends = learned_log_var(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64), 0.1, 0.4)
    torch.testing.assert_close(ends.exp(), torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64))


def test_kl_of_normals():
    p, q = Normal(0.3, 0.5), Normal(-0.2, 0.9)
    known = torch.distributions.kl_divergence(p, q)
    log = lambda v: torch.tensor(2 * math.log(v))  # noqa: E731
    torch.testing.assert_close(kl_normal(torch.tensor(0.3), log(0.5), torch.tensor(-0.2), log(0.9)), known)


def chain_bound(path, x0, steps, learned=False):
    """The bound of a Gaussian model by its chain, with a density for its last step: N(D, small noise) on real numbers."""
    points = karras(path, steps, 0.01, 1000.0, end=False)
    g = torch.Generator().manual_seed(1)
    total = -prior_kl(x0, points[0][1], points[0][2])
    for (t, a, s), (_, a2, s2) in zip(points, points[1:]):
        x = a * x0 + s * torch.randn(x0.shape, generator=g, dtype=torch.float64)
        d = gaussian(path)(x, t)
        values = (torch.tensor(v, dtype=torch.float64) for v in (a, s, a2, s2))
        share = None
        if learned:  # the variance that is best for this Gaussian: small plus weight^2 Var(x0 | x)
            weight, small, large = posterior(a, s, a2, s2)
            best = small + weight**2 * V * s * s / (a * a * V + s * s)
            share = (2 * (best.log() - math.log(small)) / (math.log(large) - math.log(small)) - 1).expand_as(x)
        total = total - step_kl(x0, d, *values, share)
    t, a, s = points[-1]
    x = a * x0 + s * torch.randn(x0.shape, generator=g, dtype=torch.float64)
    left = V * s * s / (a * a * V + s * s)  # variance of x0 given x at the last point: the exact last step
    return total + Normal(gaussian(path)(x, t), left.sqrt()).log_prob(x0).sum(1)


@pytest.mark.parametrize("name", PATH_NAMES)
def test_the_bound_is_below_the_truth_and_close(name):
    path = PATHS[name]
    g = torch.Generator().manual_seed(0)
    x0 = MU + V.sqrt() * torch.randn(4000, 3, dtype=torch.float64, generator=g)
    truth = Normal(MU, V.sqrt()).log_prob(x0).sum(1).mean().item()
    prior = prior_kl(x0, *karras(path, 9, 0.01, 1000.0)[0][1:]).mean().item()
    coarse, fine = (chain_bound(path, x0, n).mean().item() for n in (25, 400))
    assert coarse < fine < truth + 0.05
    assert truth - fine < 0.7 + 2 * prior
    best = chain_bound(path, x0, 25, learned=True).mean().item()
    assert best > coarse + 0.1, "a variance of its own is worth the most where steps are few"
    assert truth - best < 0.15 + 2 * prior


def test_a_discretised_normal_is_a_distribution():
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean, std in ((0.0, 0.01), (0.3, 0.3), (-0.99, 0.05), (1.7, 0.1)):
        x = levels[:, None, None, None]
        log = discretised(x, torch.full_like(x, mean), torch.full_like(x, math.log(std)))
        assert log.exp().sum().item() == pytest.approx(1, abs=1e-4)
    x = torch.tensor([[[[1.0]]]])
    far = discretised(x.float(), -x.float(), torch.full_like(x, math.log(0.01)).float())
    assert far.isfinite().all() and far.item() < -1000, "an image far from the mean is improbable, not impossible"
