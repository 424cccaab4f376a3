"""Hidden Markov models against enumeration of their states."""

import itertools
import math

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.hmm import HMMConfig
from inkwash.nn.levels import from_levels, to_levels

ROWS = {"shape": (1, 3, 2), "states": 3, "levels": 2}
PATCHES = {"shape": (2, 2, 4), "states": 3, "levels": 3, "unit": (1, 2)}


def build(**config):
    """Random tables."""
    model = HMMConfig(**config).build().double().eval()
    g = torch.Generator().manual_seed(5)
    for table in (model.start, model.move, model.emit):
        table.copy_((2 * torch.randn(table.shape, generator=g, dtype=torch.float64)).log_softmax(-1))
    return model


def by_enumeration(model, x):
    """log p(x) by a sum over all sequences of states, (N,)."""
    codes = to_levels(model.sequence(x), model.levels)
    n, length, units = codes.shape
    total = []
    for path in itertools.product(range(model.config.states), repeat=length):
        value = torch.full((n,), model.start[path[0]].item(), dtype=torch.float64)
        for t, s in enumerate(path):
            value = value + (model.move[path[t - 1], s] if t else 0)
            value = value + sum(model.emit[s, u, codes[:, t, u]] for u in range(units))
        total.append(value)
    return torch.stack(total).logsumexp(0)


@pytest.mark.parametrize("config", [ROWS, PATCHES], ids=["rows", "patches"])
def test_the_probability_is_the_sum_over_all_states(config):
    model = build(**config)
    x = from_levels(torch.randint(config["levels"], (6, *config["shape"])), config["levels"]).double()
    found = model.log_prob(x, Condition(), image_rng(range(6)))
    torch.testing.assert_close(found, by_enumeration(model, x), atol=1e-9, rtol=0)
    assert torch.equal(model.image(model.sequence(x)), x)


def test_probabilities_sum_to_one_and_draws_are_as_frequent():
    model = build(shape=(1, 2, 2), states=3, levels=2)
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)
    p = model.log_prob(every, Condition(), image_rng(range(16))).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    made = draw(model, range(4000), model.Options(), batch=4000)
    found = torch.bincount((made.flatten(1) > 0).long() @ torch.tensor([8, 4, 2, 1]), minlength=16) / 4000
    assert (found - p).abs().max() < 4 * (p * (1 - p) / 4000).sqrt().max()


def test_missing_pixels_are_drawn_from_their_conditional():
    model = build(shape=(1, 2, 2), states=3, levels=2)
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)
    p = model.log_prob(every, Condition(), image_rng(range(16))).exp()
    given, mask = every[[6]].expand(4000, -1, -1, -1), torch.zeros(4000, 1, 2, 2, dtype=torch.float64)
    mask[:, :, 0] = 1  # the first row is missing: what follows must tell of it
    made = draw(model, range(4000), model.Options(), batch=4000, cond=Condition(image=given, mask=mask))
    assert torch.equal(made[:, :, 1], given[:, :, 1])
    agree = (every[:, 0, 1] == given[0, 0, 1]).all(1)
    wanted = p[agree] / p[agree].sum()
    found = torch.bincount((made[:, 0, 0] > 0).long() @ torch.tensor([2, 1]), minlength=4) / 4000
    assert (found - wanted).abs().max() < 4 * (wanted * (1 - wanted) / 4000).sqrt().max()
    with pytest.raises(ConfigError, match="give it a mask"):
        draw(model, range(2), model.Options(), cond=Condition(image=given[:2]))


@torch.no_grad()
def test_every_round_of_fitting_raises_the_likelihood():
    truth = build(shape=(1, 4, 3), states=3, levels=3)
    images = draw(truth, range(600), truth.Options(), batch=600)
    model = HMMConfig(shape=(1, 4, 3), states=3, levels=3, prior=1e-4).build().double()
    codes, rng = to_levels(model.sequence(images), 3), image_rng(range(600))
    model._begin(codes, rng)
    nats = []
    for _ in range(25):
        nats.append(model.log_prob(images, Condition(), rng).mean().item())
        model._round(codes)
    assert all(b > a - 1e-6 for a, b in zip(nats, nats[1:])), nats
    assert nats[-1] > -12 * math.log(3) + 0.5  # what a model that knows nothing would say
    assert nats[-1] > truth.log_prob(images, Condition(), rng).mean().item() - 0.6


def test_units_that_do_not_fill_the_image_are_refused():
    with pytest.raises(ConfigError, match="do not fill"):
        HMMConfig(shape=(1, 5, 4), unit=(2, 2)).build()
