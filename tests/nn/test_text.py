"""What reads a text."""

import pytest
import torch

from inkwash.core.batch import Step
from inkwash.core.errors import ConfigError
from inkwash.core.rng import Rng
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from tiny import stir_


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    net = TextConfig(width=16, blocks=2, head=8, tokenizer=TokenizerConfig(length=12)).build()
    stir_(net, 0.1)
    return net.eval()


def test_every_token_has_a_vector_that_depends_on_all_others(encoder):
    one, mask = encoder(encoder.tokens(["ab cd"]))
    other, _ = encoder(encoder.tokens(["ab ce"]))
    assert one.shape == (1, 7, 16) and mask.all()
    assert ((one - other).abs().amax(-1) > 1e-4).all()


def test_padding_is_not_read(encoder):
    alone, _ = encoder(encoder.tokens(["ab"]))
    both, mask = encoder(encoder.tokens(["ab", "abcdefg"]))
    assert mask[0].tolist() == [True] * 4 + [False] * 5
    torch.testing.assert_close(both[0, :4], alone[0], atol=1e-6, rtol=0)


def test_order_is_read(encoder):
    one, two = (encoder(encoder.tokens([t]))[0][0, -1] for t in ("ab cd", "cd ab"))
    assert (one - two).abs().max() > 1e-3


def test_no_text_is_a_text(encoder):
    out, mask = encoder(encoder.tokens([""]))
    assert out.shape == (1, 1, 16) and mask.all() and out.isfinite().all()


def test_too_long_a_text_is_cut_where_it_may_be(encoder):
    assert encoder.tokens(["x" * 50]).shape == (1, 12)
    with pytest.raises(ConfigError, match="too long"):
        encoder.tokens(["x" * 50], cut=False)


class TestTexts:
    """One of the texts of each row, and now and then none."""

    rows = [("a", "b", "c"), (), ("d",)] * 200

    def step(self, rows):
        return Step(0.5, 0, Rng.of_rows(0, rows, "main"))

    def test_all_are_chosen_equally(self):
        got = self.step(range(600)).texts(self.rows)
        assert set(got[1::3]) == {""} and set(got[2::3]) == {"d"}
        assert all(40 < got[::3].count(c) < 95 for c in "abc")

    def test_a_share_is_left_out(self):
        got = self.step(range(600)).texts([("a",)] * 600, 0.25)
        assert 110 < got.count("") < 190

    def test_a_row_chooses_for_itself(self):
        whole = self.step(range(600)).texts(self.rows, 0.1)
        assert self.step(range(300, 306)).texts(self.rows[300:306], 0.1) == whole[300:306]
