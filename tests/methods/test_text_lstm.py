"""Pictures from coarse to fine until it says stop."""

import pytest
import torch

from inkwash.core.batch import Batch, Condition
from inkwash.core.rng import Rng
from inkwash.methods.text_lstm import BINS, StagesConfig, TextLSTMConfig, TextLSTMOptions, histogram
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.tokenizer import TokenizerConfig
from tiny import step_of, stir_


def make(stages=3):
    torch.manual_seed(0)
    eye = PyramidConfig(width=8, most=8, fold=1)
    config = TextLSTMConfig(shape=(3, 8, 8), stages=stages, hidden=16, width=8, eye=eye, tokenizer=TokenizerConfig(length=8))
    model = config.build()
    stir_(model, 0.1)
    return model


def test_goals_go_from_coarse_to_the_picture():
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    coarse, middle, fine = StagesConfig().build(make()).goals(x)
    assert torch.equal(fine, x) and [len(g[0, 0].unique()) for g in (coarse, middle)] == [4, 16]
    torch.testing.assert_close(coarse.mean((2, 3)), x.mean((2, 3)))


def test_a_histogram_counts_and_passes_gradients():
    x = torch.tensor([-1.0, -1.0, 0.999999, 0.0]).view(1, 1, 2, 2).requires_grad_()
    h = histogram(x)
    assert h.sum().item() == pytest.approx(1) and h[0, 0, 0].item() == 0.5 and h[0, 0, -1].item() == pytest.approx(0.25, abs=1e-5)
    assert h[0, 0, BINS // 2 - 1].item() == pytest.approx(0.125)  # a value in the middle counts for both beside it
    h[0, 0, -1].backward()
    assert x.grad.abs().sum() > 0


def test_it_stops_where_it_says_so():
    model = make().eval()
    tokens, few = model.tokens(["ab", "cd"]), []
    for bias in (-100.0, 100.0):
        model.stop.bias.data.fill_(bias)
        few.append([model.sample(Rng(range(2)), Condition(tokens=tokens), TextLSTMOptions(most=k)) for k in (1, 2)])
    assert not torch.allclose(*few[0]) and torch.equal(*few[1])


def test_words_matter_and_their_order_does_not():
    """What is wrong with a mean of words."""
    model = make().eval()
    one, two, three = (model.sample(Rng([0]), Condition(tokens=model.tokens([t])), TextLSTMOptions()) for t in ("ab cd", " cd ab", "ef"))
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, three)


def test_learns_two_pictures_by_name():
    model = make()
    x = torch.stack([torch.full((3, 8, 8), 0.9), -torch.ones(3, 8, 8)])
    x[0, 0, :4] = -0.5
    rows, objective = Batch(x, Condition(), torch.arange(2), [("up",), ("black",)]), StagesConfig().build(model)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for k in range(1000):  # after 600 one processor's roundings leave a pixel .5 off
        optimizer.zero_grad()
        objective.loss("main", rows, step_of(2, seed=k))[0].backward()
        optimizer.step()
    with torch.no_grad():
        made = model.eval().sample(Rng([0, 1]), Condition(tokens=model.tokens(["up", "black"])), TextLSTMOptions(most=9))
    assert (made - x).abs().max() < 0.35, "and it stopped in time"
