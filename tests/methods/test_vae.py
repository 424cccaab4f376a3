"""The VAE's bounds, against the integral that they are bounds of."""

import math

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.model import weighed
from inkwash.inference.draw import image_rng
from inkwash.methods.vae import ELBOConfig, VAEConfig
from inkwash.nn.levels import discretised_logistic
from inkwash.nn.pyramid import PyramidConfig
from tiny import batch_of, step_of, stir_

NET = PyramidConfig(width=4, fold=1)


def build(latent=1, **more):
    model = VAEConfig(shape=(1, 4, 4), latent=latent, likelihood="bernoulli", net=NET, **more).build().eval()
    stir_(model, 0.2)
    return model


def binary(n=3):
    return torch.where(torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1)) < 0.5, 1.0, -1.0)


def integral(model, x, label=None):
    """log p(x) by summing p(x|z) p(z) over a grid of z, (N,)."""
    z = torch.linspace(-12, 12, 4001)[:, None]
    mean, log_var = model.prior(None if label is None else label[:1])
    log_pz = -0.5 * ((z - mean).square() * (-log_var).exp() + log_var + math.log(2 * math.pi)).sum(1)
    labels = None if label is None else label[:1].expand(len(z))
    return torch.stack([(model.nats(one[None].expand(len(z), -1, -1, -1), z, labels) + log_pz).logsumexp(0) for one in x]) + math.log(
        24 / 4000
    )


@torch.no_grad()
@pytest.mark.parametrize("classes", [(), ("a", "b")], ids=["plain", "classes"])
def test_bounds_rise_to_the_probability(classes):
    model, x = build(classes=classes), binary()
    label = torch.ones(3, dtype=torch.long) if classes else None
    cond, truth = Condition(label=label), integral(model, x, label)
    many_x = x.repeat(300, 1, 1, 1)  # each row has noise of its own
    many_cond = Condition(label=label.repeat(300) if classes else None)
    bound = model.log_prob(many_x, many_cond, image_rng(range(900))).view(300, 3).mean(0)
    few = weighed(model, many_x, many_cond, image_rng(range(900)), 5).view(300, 3).mean(0)
    many = weighed(model, x, cond, image_rng(range(3)), 3000)
    assert (bound < truth).all() and (few < truth + 0.05).all()
    assert (few > bound).all()
    torch.testing.assert_close(many, truth, atol=0.2, rtol=0)


@torch.no_grad()
def test_one_weight_is_the_bound_on_average():
    model, x = build(latent=3), binary()
    many, rng = x.repeat(1000, 1, 1, 1), image_rng(range(3000))  # each row has noise of its own
    draws = model.log_prob(many, Condition(), rng), model.log_weight(many, Condition(), rng.fork("w"))
    bound, weight = (v.view(1000, 3).mean(0) for v in draws)
    torch.testing.assert_close(weight, bound, atol=0.15, rtol=0)


def test_free_nats_are_not_paid_for():
    model, batch, step = build(latent=4), batch_of(binary()), step_of(3, progress=1.0)
    loss = lambda **k: ELBOConfig(**k).build(model).loss("main", batch, step_of(3, progress=1.0))[0].item()  # noqa: E731
    _, kl = model.bound(batch.image, None, step.rng.normal(4))
    assert loss(free=kl.max().item()) == pytest.approx(loss(beta=0.0))
    assert loss(beta=0.0) < loss(free=kl.median().item()) < loss()


def test_several_draws_have_no_weight_of_the_divergence():
    with pytest.raises(ConfigError, match="no KL term"):
        ELBOConfig.parse({"draws": 5, "beta": 0.5})
    model, batch = build(latent=2), batch_of(binary())
    loss, parts = ELBOConfig(draws=5).build(model).loss("main", batch, step_of(3))
    loss.backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert parts["nats"].item() == pytest.approx(loss.item() * 16 * math.log(2), rel=1e-5)


@torch.no_grad()
def test_one_scale_for_all_pixels_is_a_distribution_of_levels():
    config = VAEConfig(shape=(1, 4, 4), latent=2, scale="shared", net=NET)
    model = config.build().eval()
    stir_(model, 0.2)
    z = torch.zeros(256, 2)
    mean, log_scale = model.pixels(z, None)
    assert mean.shape == log_scale.shape == (256, 1, 4, 4) and len(log_scale.unique()) == 1
    every = (torch.arange(256.0) / 127.5 - 1)[:, None, None, None].expand(-1, 1, 4, 4)
    nats = discretised_logistic(every, mean, log_scale).exp().sum(0)
    torch.testing.assert_close(nats, torch.ones(1, 4, 4), atol=1e-4, rtol=0)


def test_the_shared_scale_learns():
    model = VAEConfig(shape=(1, 4, 4), latent=2, scale="shared", net=NET).build()
    loss, _ = ELBOConfig().build(model).loss("main", batch_of(binary()), step_of(3))
    loss.backward()
    assert model.log_scale.grad.abs() > 0
