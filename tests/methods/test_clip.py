"""Pictures and captions in one space."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.methods.clip import SHARPEST, ClipConfig, ContrastiveConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from tiny import step_of, stir_

TEXTS = ["one", "two", "three", "four", "five"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    text = TextConfig(width=16, blocks=1, head=8, tokenizer=TokenizerConfig(length=16))
    model = ClipConfig(shape=(3, 8, 8), width=6, eye=PyramidConfig(width=8, most=8), text=text).build()
    stir_(model, 0.1)
    return model.eval()


def batch(n=5):
    x = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(x, Condition(), torch.arange(n), [(t,) for t in TEXTS[:n]])


def test_vectors_have_length_one(model):
    u, v = model.features(batch().image), model.read(model.tokens(TEXTS))
    assert u.shape == v.shape == (5, 6)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(v.norm(dim=1), torch.ones(5))


def test_padding_changes_nothing(model):
    torch.testing.assert_close(model.read(model.tokens(["two"])), model.read(model.tokens(TEXTS))[1:2], atol=1e-6, rtol=0)


def test_the_loss_is_that_of_the_paper_by_hand(model):
    rows = batch()
    loss, parts = ContrastiveConfig().build(model).loss("main", rows, step_of(5))
    u, v = model.features(rows.image), model.read(model.tokens(TEXTS))
    s = (model.log_scale.exp() * u @ v.t()).double()
    by_image = sum(-(s[i, i] - s[i].logsumexp(0)) for i in range(5)) / 5
    by_text = sum(-(s[i, i] - s[:, i].logsumexp(0)) for i in range(5)) / 5
    assert loss.item() == pytest.approx(((by_image + by_text) / 2).item(), rel=1e-5)
    assert parts["found"].item() == pytest.approx(sum(int(s[i].argmax()) == i for i in range(5)) / 5)


def test_pictures_are_changed_in_training_and_not_where_held_out_ones_are_looked_at(model):
    rows, step = batch(), step_of(5)
    plain, changed = (ContrastiveConfig(augment=kinds).build(model) for kinds in ((), ("affine", "cutout")))
    loss = plain.loss("main", rows, step)[0]
    assert changed.loss("main", rows, step_of(5))[0] != loss
    seen, as_is = (c.validate(rows, step_of(5, held_out=True))["loss"] for c in (changed, plain))
    assert seen == as_is == loss


def test_the_scale_has_an_end_and_comes_back_from_it(model):
    model.log_scale.data.fill_(math.log(1e4))
    assert model.scale.item() == pytest.approx(SHARPEST)
    rows = batch()
    rows = replace(rows, text=rows.text[1:] + rows.text[:1])  # wrong captions: to be less sure is better
    ContrastiveConfig().build(model).loss("main", rows, step_of(5))[0].backward()
    assert model.scale.item() == pytest.approx(SHARPEST) and model.log_scale.grad.item() > 0


def test_pictures_without_captions_do_not_play(model):
    rows, objective = batch(), ContrastiveConfig().build(model)
    some = replace(rows, text=[rows.text[0], (), rows.text[2], rows.text[3], ()])
    here = [0, 2, 3]
    few = Batch(rows.image[here], Condition(), torch.arange(3), [rows.text[i] for i in here])
    loss, parts = objective.loss("main", some, step_of(5))
    torch.testing.assert_close(loss, objective.loss("main", few, step_of(3))[0])
    loss.backward()
    none = replace(rows, text=[()] * 5)
    assert objective.loss("main", none, step_of(5))[0].item() == 0 and 0 <= parts["found"] <= 1


def test_pictures_without_captions_are_refused(model):
    rows = batch()
    with pytest.raises(ConfigError, match="have no captions"):
        ContrastiveConfig().build(model).refuse(Batch(rows.image, rows.cond, rows.index))


def test_it_learns_which_caption_belongs_to_which_picture(model):
    rows, objective = batch(), ContrastiveConfig().build(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        objective.loss("main", rows, step_of(5))[0].backward()
        optimizer.step()
    scores = model.features(rows.image) @ model.read(model.tokens(TEXTS)).t()
    assert scores.argmax(1).tolist() == scores.argmax(0).tolist() == list(range(5))
    assert (F.softmax(model.scale * scores, 1).diagonal() > 0.6).all()
