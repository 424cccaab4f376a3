"""A second task for what reads a text."""

import pytest
import torch

from inkwash.core.errors import ConfigError
from inkwash.methods.diffusion import DenoisingConfig, DiffusionConfig
from inkwash.nn.telling import Telling
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.unet import UNetConfig
from tiny import batch_of, step_of, stir_

READER = TextConfig(width=16, blocks=1, head=8, tokenizer=TokenizerConfig(length=12))
SAME = [("red on top", "上面是红的"), ("blue below", "下面是蓝的")]


@pytest.fixture
def told():
    torch.manual_seed(0)
    encoder, task = READER.build(), Telling(16, READER.tokenizer, width=16, head=8)
    stir_(encoder, 0.1), stir_(task, 0.1)
    return lambda texts, other: task(*encoder(encoder.tokens(texts)), other)


@torch.no_grad()
def test_padding_counts_on_neither_side(told):
    both = told(["ab", "abcdefgh"], ["cd", "abcdefghi"])
    torch.testing.assert_close(both[:1], told(["ab"], ["cd"]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_nats_are_those_of_every_next_token(told):
    torch.manual_seed(0)
    encoder, task = READER.build().eval(), Telling(16, READER.tokenizer, width=16, head=8)
    stir_(task, 0.5)
    vectors, mask = encoder(encoder.tokens(["ab"]))
    tokens = encoder.tokens(["cd"])[0]
    begin, total = torch.tensor([[task.tokenizer.size]]), 0.0
    for t, token in enumerate(tokens):
        so_far = torch.cat([begin, tokens[None, :t]], 1)
        total -= task.writer(so_far, vectors, mask)[0][0, -1].log_softmax(-1)[token]
    torch.testing.assert_close(task(vectors, mask, ["cd"])[0], total / len(tokens))


def test_it_is_learnt_beside_the_noise_and_rows_without_text_count_for_nothing():
    torch.manual_seed(0)
    model = DiffusionConfig(shape=(3, 8, 8), net=UNetConfig(width=8, mults=(1,), blocks=1, fold=2), text=READER).build()
    objective = DenoisingConfig(retelling=0.5, label_dropout=0.0).build(model)
    stir_(model, 0.1), stir_(objective, 0.1)
    batch = batch_of(torch.rand(2, 3, 8, 8) * 2 - 1)
    batch = type(batch)(batch.image, batch.cond, batch.index, SAME)
    loss, parts = objective.loss("main", batch, step_of(2))
    torch.testing.assert_close(loss.detach(), parts["mse"] + 0.5 * parts["retelling"])
    loss.backward()
    assert all(p.grad is not None for p in objective.phases()[0].parameters())
    early = DenoisingConfig(retelling=0.5, retelling_until=0.5).build(model)
    assert "retelling" in early.loss("main", batch, step_of(2, 0.49))[1]
    assert "retelling" not in early.loss("main", batch, step_of(2, 0.5))[1]
    silent = DenoisingConfig(retelling=0.5, label_dropout=1.0).build(model)
    assert silent.loss("main", batch, step_of(2))[1]["retelling"] == 0


def test_only_an_encoder_that_learns_along_has_a_second_task():
    model = DiffusionConfig(shape=(3, 8, 8), net=UNetConfig(width=8, mults=(1,), blocks=1, fold=2)).build()
    with pytest.raises(ConfigError, match="text encoder"):
        DenoisingConfig(retelling=0.5).build(model)
