"""A head over codes that knows which are alike."""

import copy

import pytest
import torch

from inkwash.core.config import MODELS, lookup
from inkwash.methods.autoregressive import CodesConfig
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.pixel_heads import OverCodes, unit
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
