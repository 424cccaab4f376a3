"""The Boltzmann machine against enumeration."""

import itertools
import math

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.rbm import PCDConfig, RBMConfig
from tiny import batch_of, step_of, stir_


def build(shape=(1, 4, 4), hidden=6, stir=0.7):
    model = RBMConfig(shape=shape, hidden=hidden).build()
    stir_(model, stir)
    return model


def exact_log_z(model):
    """By a sum over the hidden units; the pixels are independent given them."""
    h = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(model.c))), dtype=torch.float64)
    w, b, c = model.weight.double(), model.b.double(), model.c.double()
    return (h @ c + torch.nn.functional.softplus(b + h @ w.t()).sum(1)).logsumexp(0).item()


def all_images(shape):
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=math.prod(shape)))).view(-1, *shape)


@torch.no_grad()
@pytest.mark.parametrize("stir", [0.3, 0.7, 1.0])
def test_the_estimate_of_z_holds_within_its_own_error(stir):
    model = build(stir=stir)
    found = model.partition(chains=400, betas=300)
    assert 0 < found.error < 0.1
    assert abs(found.value - exact_log_z(model)) < 3 * found.error


@torch.no_grad()
def test_exact_probabilities_sum_to_one_and_log_prob_is_theirs():
    model = build((1, 3, 4))
    x = all_images((1, 3, 4))
    nats = model.nats((x.flatten(1) + 1) / 2) - exact_log_z(model)
    assert nats.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
    z = model.log_z()
    torch.testing.assert_close(model.log_prob(x, Condition(), image_rng(range(len(x)))), nats, atol=4 * z.error + 1e-3, rtol=0)


@torch.no_grad()
def test_draws_are_as_frequent_as_they_are_probable():
    model = build((1, 2, 2), hidden=3)
    p = (model.nats((all_images((1, 2, 2)).flatten(1) + 1) / 2) - exact_log_z(model)).exp()
    made = draw(model, range(4000), model.Options(sweeps=25, pixels="sample"), batch=4000)
    found = torch.bincount(((made.flatten(1) > 0).long() @ torch.tensor([8, 4, 2, 1])), minlength=16) / 4000
    assert (found - p).abs().max() < 4 * (p * (1 - p) / 4000).sqrt().max()


def test_the_gradient_is_that_of_the_likelihood_when_the_chains_are_true_draws():
    model = build((1, 2, 3), hidden=3, stir=0.5)
    images = all_images((1, 2, 3))
    v = (images.flatten(1) + 1) / 2
    data = images[[3, 11, 40]]
    pcd = PCDConfig(chains=len(v)).build(model)
    pcd.chain.copy_(v)
    pcd.moved_at.fill_(0)  # as if they had moved in this step already
    h = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    log_z = (h @ model.c + torch.nn.functional.softplus(model.b + h @ model.weight.t()).sum(1)).logsumexp(0)
    true = torch.autograd.grad(log_z - model.nats((data.flatten(1) + 1) / 2).mean(), model.weight)[0]
    p = (model.nats(v) - log_z).exp().detach()
    found = torch.autograd.grad((p * model.nats(v)).sum() - model.nats((data.flatten(1) + 1) / 2).mean(), model.weight)[0]
    torch.testing.assert_close(found, true, atol=1e-6, rtol=1e-5)
    loss, _ = pcd.loss("main", batch_of(data), step_of(3))
    torch.testing.assert_close(loss, model.nats(v).mean() - model.nats((data.flatten(1) + 1) / 2).mean())


def test_chains_move_once_a_step():
    model = build()
    pcd, batch = PCDConfig(chains=9).build(model), batch_of(all_images((1, 4, 4))[:4])
    before = pcd.chain.clone()
    pcd.loss("main", batch[:2], step_of(2))
    once = pcd.chain.clone()
    pcd.loss("main", batch[2:], step_of(2))
    assert not torch.equal(before, once) and torch.equal(once, pcd.chain)


@torch.no_grad()
def test_given_pixels_are_held():
    model = build()
    image, mask = all_images((1, 4, 4))[[77, 4000]], torch.zeros(2, 1, 4, 4)
    mask[..., 2:] = 1
    made = draw(model, range(2), model.Options(sweeps=5), cond=Condition(image=image, mask=mask))
    assert torch.equal(made[..., :2], image[..., :2])
    assert ((made[..., 2:] > -1) & (made[..., 2:] < 1)).all()
