"""A head over codes that knows which are alike."""

import copy

import pytest
import torch

from inkwash.core.config import MODELS, lookup
from inkwash.methods.autoregressive import CodesConfig
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.pixel_heads import Categorical, OverCodes, nucleus, unit
from tiny import stir_


class Book(torch.nn.Module):
    codebook_size = 4

    def __init__(self):
        super().__init__()
        self.register_buffer("codes", torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0], [-1.0, 0.5]]))

    def vectors(self, codes):
        return self.codes[codes]


def test_codes_that_are_alike_have_a_part_of_their_score_in_common():
    torch.manual_seed(0)
    head = OverCodes(6, Book(), 2)
    for layer in head.out:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    features = torch.randn(3, 6)
    scores = head.logits(features, [])
    assert torch.equal(scores[:, 0], scores[:, 1]) and not torch.allclose(scores[:, 0], scores[:, 2])
    v = unit(Book().codes)
    assert v.square().mean().item() == pytest.approx(1)
    torch.testing.assert_close(scores, head.query(torch.relu(features)) @ head.key(v).t())


def test_the_book_is_no_part_of_the_head_and_is_copied_with_the_model():
    vq = {"kind": "vqvae", "shape": [1, 8, 8], "quantiser": {"kind": "codebook", "size": 4, "width": 2}, "net": {"width": 8, "blocks": 1}}
    net = TransformerConfig(width=8, blocks=1, head=4)
    model = CodesConfig(shape=(1, 8, 8), net=net, embedding=4, autoencoder=lookup("vqvae", MODELS).parse(vq)).build()
    assert not [k for k in model.head.state_dict() if "codes" in k]
    twin = copy.deepcopy(model)
    assert twin.head._coder[0] is twin.autoencoder is not model.autoencoder
    stir_(twin, 0.5)
    features = torch.randn(1, 8)
    twin.autoencoder.quantiser.codes.mul_(torch.tensor([[1.0], [-1.0], [2.0], [0.0]]))
    assert not torch.allclose(twin.head.logits(features, []), model.head.logits(features, []))


def test_the_nucleus_is_the_likeliest_values_that_together_have_the_share():
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.7, 0.1, 0.1, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(nucleus(p.log(), 0.7).softmax(-1), torch.tensor([[0, 2 / 3, 0, 1 / 3], [1, 0, 0, 0]], dtype=torch.float64))
    assert nucleus(p.log(), 1.0).equal(p.log())


def test_values_are_drawn_from_the_nucleus_alone():
    torch.manual_seed(0)
    head, features = Categorical(4, 1, 8).double(), torch.randn(2, 4, dtype=torch.float64)
    kept = nucleus(head.logits(features, []), 0.5).isfinite()
    u = torch.linspace(0.001, 0.999, 200, dtype=torch.float64)
    for row in range(2):
        drawn = head.sample(features[row].expand(200, 4), u[:, None, None], 1.0, top_p=0.5)  # (200, 1)
        assert set(((drawn[:, 0] + 1) * 3.5).round().long().tolist()) == set(kept[row].nonzero()[:, 0].tolist())
    assert not kept.all()
