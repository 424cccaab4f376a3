"""Text and codes as one sequence."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from inkwash.core.batch import Batch, Condition
from inkwash.core.config import MODELS, lookup
from inkwash.core.errors import ConfigError
from inkwash.core.rng import Rng
from inkwash.methods.dalle import DalleConfig, DalleOptions, NextTokenConfig
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.pixel_heads import choose
from inkwash.nn.tokenizer import END, TokenizerConfig
from tiny import step_of, stir_

VQ = {
    "kind": "vqvae",
    "shape": [1, 4, 8],
    "quantiser": {"kind": "codebook", "size": 3, "width": 4},
    "net": {"stride": 4, "width": 8, "blocks": 1},
}


def make(dtype=torch.float64):
    torch.manual_seed(0)
    model = DalleConfig(
        shape=(1, 4, 8),
        tokenizer=TokenizerConfig(length=6),
        net=TransformerConfig(width=16, blocks=2, head=8),
        autoencoder=lookup("vqvae", MODELS).parse(VQ),
    ).build()
    stir_(model, 0.2)
    return model.to(dtype).eval()


def test_probabilities_of_all_pictures_sum_to_one():
    model = make()
    tokens = model.tokens(["ab"]).expand(9, -1)
    codes = torch.tensor(list(product(range(3), repeat=2)))
    _, drawn = model.scores(tokens, codes)
    nats = drawn.log_softmax(-1).gather(-1, codes[..., None])[..., 0].sum(1)
    assert nats.exp().sum().item() == pytest.approx(1)


def test_nothing_is_told_of_what_comes_after():
    model, tokens = make(), torch.tensor([[5, 6, 7, END]])
    words, codes = model.scores(tokens, torch.tensor([[0, 1]]))
    other, changed = model.scores(torch.tensor([[5, 6, 8, END]]), torch.tensor([[0, 2]]))
    assert torch.equal(words[:, :3], other[:, :3]) and not torch.allclose(words[:, 3], other[:, 3])
    same, after = model.scores(tokens, torch.tensor([[0, 2]]))
    assert torch.equal(codes[:, :2], after[:, :2]) and torch.equal(words, same) and not torch.allclose(codes, changed)
    assert not torch.allclose(model.scores(tokens, torch.tensor([[1, 1]]))[1][:, 1], codes[:, 1])


def test_kept_keys_and_values_draw_what_the_whole_network_does():
    model, rng = make(), Rng(range(40))
    tokens = model.tokens(["ab", "c", "abcde", "", "ab"] * 8)
    images = model.sample(rng, Condition(tokens=tokens), DalleOptions())
    u, codes = Rng(range(40)).uniform(2), torch.zeros(40, 2, dtype=torch.long)
    for t in range(2):
        codes[:, t] = choose(model.scores(tokens, codes)[1][:, t], u[:, t])
    torch.testing.assert_close(images, model.autoencoder.from_codes(codes.view(40, 1, 2)))
    assert len(codes.unique(dim=0)) > 1


class TestOptions:
    def codes(self, model, **options):
        seen = {}
        inner = model.autoencoder.from_codes
        model.autoencoder.from_codes = lambda codes: seen.setdefault("codes", codes) is None or inner(codes)
        model.sample(Rng(range(400)), Condition(tokens=model.tokens(["ab"]).expand(400, -1)), DalleOptions(**options))
        model.autoencoder.from_codes = inner
        return seen["codes"].flatten(1)

    def first(self, model, text="ab"):
        return model.scores(model.tokens([text]), torch.zeros(1, 2, dtype=torch.long))[1][0, 0].log_softmax(-1)

    def test_frequencies_are_probabilities(self):
        model = make()
        share = torch.bincount(self.codes(model)[:, 0], minlength=3) / 400
        torch.testing.assert_close(share.double(), self.first(model).exp(), atol=0.08, rtol=0)

    def test_no_temperature_and_the_one_likeliest_are_the_same(self):
        model = make()
        cold, one = self.codes(model, temperature=0), self.codes(model, top=1)
        assert torch.equal(cold, one) and len(cold.unique(dim=0)) == 1 and cold[0, 0] == self.first(model).argmax()

    def test_guidance_leads_away_from_the_negative_prompt(self):
        model = make()
        wanted = (self.first(model, "xyz") + 3 * (self.first(model) - self.first(model, "xyz"))).softmax(-1)
        share = torch.bincount(self.codes(model, guidance=3.0, negative="xyz")[:, 0], minlength=3) / 400
        torch.testing.assert_close(share.double(), wanted, atol=0.08, rtol=0)
        assert (wanted - self.first(model).exp()).abs().max() > 0.05

    def test_what_cannot_act_is_refused(self):
        model = make()
        with pytest.raises(ConfigError, match="guidance: no text"):
            model.refuse(DalleOptions(guidance=2.0), Condition())
        with pytest.raises(ConfigError, match="negative: there is no guidance"):
            model.refuse(DalleOptions(negative="x"), Condition(tokens=model.tokens(["a"])))


def test_the_loss_weighs_text_and_image_and_leaves_padding_out():
    model = make(torch.float32)
    x = torch.rand(2, 1, 4, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    rows = Batch(x, Condition(), torch.arange(2), [("ab",), ("abcd",)])
    loss, parts = NextTokenConfig(text=0.25, dropout=0).build(model).loss("main", rows, step_of(2))
    codes, text, image = model.autoencoder.codes(x).flatten(1), 0.0, 0.0
    for i, t in enumerate(("ab", "abcd")):
        tokens = model.tokens([t])
        words, drawn = model.scores(tokens, codes[i : i + 1])
        text -= words[0, : tokens.shape[1]].log_softmax(-1).gather(1, tokens[0][:, None]).mean().item() / 2
        image -= drawn[0].log_softmax(-1).gather(1, codes[i][:, None]).mean().item() / 2
    assert parts["text"].item() == pytest.approx(text / math.log(2), rel=1e-4)
    assert loss.item() == pytest.approx((0.25 * text + 0.75 * image) / math.log(2), rel=1e-4)


def test_the_first_stage_stays_as_it_is():
    model = make(torch.float32)
    (phase,) = NextTokenConfig().build(model).phases()
    trained = {id(p) for p in phase.parameters()}
    frozen = {id(p) for p in model.autoencoder.parameters()}
    assert not trained & frozen and trained | frozen == {id(p) for p in model.parameters()}


def test_a_model_without_codes_is_refused():
    with pytest.raises(ConfigError, match="'vae' model has no codes"):
        DalleConfig(shape=(1, 8, 8), autoencoder=lookup("vae", MODELS).parse({"kind": "vae", "shape": [1, 8, 8]})).build()
    assert isinstance(make(), nn.Module)
