"""Gaussian mixtures against scikit-learn and against the rules of normal distributions."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

import inkwash
from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError, FileError
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.fitting import FitConfig
from inkwash.methods.gmm import GMMConfig
from inkwash.recipes.start import train
from tiny import write_npz


def clouds(n=400, shape=(1, 3, 4), spread=0.1):
    """Images around two centres."""
    g = torch.Generator().manual_seed(4)
    centres = torch.randn(2, *shape, generator=g) * 0.3
    return (centres[torch.arange(n) % 2] + spread * torch.randn(n, *shape, generator=g)).clamp(-1, 1)


def fitted(images, **more):
    model = GMMConfig(**{"shape": tuple(images.shape[1:]), "components": 2} | more).build()
    model.fit(images, None, image_rng(range(len(images))))
    return model.eval()


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_log_likelihood_is_that_of_scikit_learn(covariance):
    images = clouds()
    model = fitted(images, covariance=covariance)
    x = model._continuous(images, image_rng(range(len(images)))).double()
    seed = image_rng(range(len(images))).keys[0] % 2**31
    theirs = GaussianMixture(2, covariance_type=covariance, reg_covar=1e-3, random_state=seed).fit(x.numpy())
    np.testing.assert_allclose(model.nats(x).numpy(), theirs.score_samples(x.numpy()), atol=2e-3)
    volume = x.shape[1] * math.log(2 / 255)
    nats = model.log_prob(images, Condition(), image_rng(range(len(images))))
    np.testing.assert_allclose(nats.numpy(), theirs.score_samples(x.numpy()) + volume, atol=0.5)  # another draw of the noise


@pytest.mark.parametrize("more", [{"pca": 5}, {"pca": 5, "covariance": "diag"}, {"covariance": "factors", "factors": 2}], ids=str)
def test_every_form_is_the_density_of_its_moments(more):
    """Principal components with a rest, and factors, are Gaussians over the pixels after all."""
    images = clouds()
    model = fitted(images, **more)
    means, covariances = model.moments()
    x = images.flatten(1).double()
    parts = [torch.distributions.MultivariateNormal(m, c).log_prob(x) for m, c in zip(means, covariances)]
    direct = (torch.stack(parts, 1) + model.log_weight.double()).logsumexp(1)
    torch.testing.assert_close(model.nats(x), direct, atol=2e-3, rtol=1e-4)
    assert model.log_weight.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_draws_have_the_moments_of_the_mixture():
    model = fitted(clouds(spread=0.05), pca=5)
    made = draw(model, range(4000), model.Options(), batch=4000).flatten(1).double()
    means, covariances = model.moments()
    weights = model.log_weight.double().exp()
    mean = (weights[:, None] * means).sum(0)
    away = means - mean
    covariance = (weights[:, None, None] * (covariances + away[:, :, None] * away[:, None])).sum(0)
    inner = model.axes.double() @ covariance @ model.axes.double().t()  # what the rest adds is not drawn: it would be noise
    torch.testing.assert_close(made.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(model.axes.double() @ made.t().cov() @ model.axes.double().t(), inner, atol=0.03, rtol=0)


def test_completion_follows_the_conditional_and_keeps_what_is_given():
    model = fitted(clouds(), components=1)
    x, mask = clouds(3), torch.zeros(3, 1, 3, 4)
    mask[:, :, 1:] = 1
    made = draw(model, range(3), model.Options(temperature=0.0), cond=Condition(image=x, mask=mask))
    assert torch.equal(made[:, :, :1], x[:, :, :1])
    (mean,), (s,) = model.moments()
    a, b = slice(0, 4), slice(4, 12)
    wanted = mean[b] + (s[b, a] @ torch.linalg.solve(s[a, a], (x.flatten(1).double()[:, a] - mean[a]).t())).t()
    torch.testing.assert_close(made.flatten(1)[:, b].double(), wanted.clamp(-1, 1), atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="give it a mask"):
        draw(model, range(3), model.Options(), cond=Condition(image=x))


def test_a_run_folder_like_any_other(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=60, shape=(1, 6, 6), classes=0)
    settings = {"model.components": 2, "model.pca": 4, "train.samples": 4}
    out = train("gmm", source, tmp_path / "run", steps=1, settings=settings, quiet=True)
    assert (out / "model" / "README.md").is_file() and len(list((out / "samples").iterdir())) == 1
    loaded = inkwash.load(out)
    assert loaded.sample(3, seed=5).shape == (3, 1, 6, 6)
    again = train("gmm", source, tmp_path / "again", steps=1, settings=settings, quiet=True)
    assert (out / "model" / "model.safetensors").read_bytes() == (again / "model" / "model.safetensors").read_bytes()
    with pytest.raises(FileError, match="already a run"):
        train("gmm", source, out, steps=1, settings=settings, quiet=True)
    with pytest.raises(ConfigError, match="nothing to resume"):
        train(out=out, resume=True, quiet=True)


def test_settings_that_do_not_go_together():
    with pytest.raises(ConfigError, match="smaller than the number of pixels"):
        GMMConfig(shape=(1, 3, 3), pca=9).build()
    with pytest.raises(ConfigError, match="fitted at once"):
        FitConfig().build(GMMConfig(shape=(1, 3, 3)).build())
