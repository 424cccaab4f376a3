"""Text to tokens and back."""

import pytest
import torch

from inkwash.core.errors import ConfigError
from inkwash.nn.tokenizer import BYTES, END, PAD, TokenizerConfig, learn_tokenizer, plain, words

TEXTS = ("a red circle above a blue square", "a red ring", "a blue circle", "一个红色圆形在蓝色方块的上方", "红色的圆", "a red circle")


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS, merges=60).build()


def test_a_merge_is_the_most_frequent_pair():
    a, b = (BYTES + ord(c) for c in "ab")
    assert learn_tokenizer(["!ab !ab", "cb ab"], merges=1).merges == ((a, b),)
    assert learn_tokenizer(["ab"], merges=2, least=1).merges == ((BYTES + ord(" "), a), (BYTES + 256, b))  # equal: smaller numbers first


def test_merges_are_applied_in_their_order():
    a, b, c = (BYTES + ord(x) for x in "abc")
    t = TokenizerConfig(merges=((b, c), (a, b))).build()
    assert t.encode("!abc")[1:] == [a, BYTES + 256] and t.encode("!abab")[1:] == [BYTES + 257] * 2


def test_what_was_learnt_is_what_counting_anew_after_every_merge_gives():
    from collections import Counter

    from inkwash.nn.tokenizer import _PIECES, _merged

    learnt, pieces = learn_tokenizer(TEXTS, merges=25).merges, Counter(p for t in TEXTS for p in _PIECES.findall(plain(t)))
    rows = [([BYTES + x for x in piece.encode()], n) for piece, n in pieces.items()]
    for k, merge in enumerate(learnt):
        counts = Counter()
        for tokens, n in rows:
            for pair in zip(tokens, tokens[1:]):
                counts[pair] += n
        assert counts[merge] == max(counts.values()) >= 2, k
        rows = [(_merged(tokens, merge, BYTES + 256 + k), n) for tokens, n in rows]


@pytest.mark.parametrize(
    "text",
    [*TEXTS, "", "Ünknown wörds, 100 %!", "一个 red 圆", "🦊 fox\n\tand  more", "five-pointed star", "e\u0301", "한국어", "x" * 1000],
)
def test_tokens_come_back_as_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == plain(text).removeprefix(" ")
    assert all(0 < token < tokenizer.size for token in tokenizer.encode(text))


@pytest.mark.parametrize(
    "one, other", [("A  Red circle", "a red circle"), ("一个红色的圆", "一个 红色 的圆"), ("一个red圆", "一个 red 圆"), ("ＡＢ", "ab")]
)
def test_what_means_the_same_is_the_same(tokenizer, one, other):
    assert tokenizer.encode(one) == tokenizer.encode(other)


def test_a_word_is_spelled_the_same_wherever_it_stands(tokenizer):
    red = tokenizer.encode("red")
    assert len(red) == 1 and tokenizer.encode("a blue red circle")[-2] == red[0] == tokenizer.encode("红red")[-1]
    character = tokenizer.encode("红")
    assert len(character) == 1 and tokenizer.encode("圆红圆")[1:2] == character


def test_a_batch_is_padded_after_each_end(tokenizer):
    rows = tokenizer.batch(["a red circle", ""])
    assert rows.dtype == torch.int64 and rows[0, -1] == END and rows[1].tolist() == [END] + [PAD] * (rows.shape[1] - 1)


def test_long_texts_are_cut_or_refused():
    t = TokenizerConfig(length=4).build()
    assert t.batch(["abcdefgh"]).tolist() == [[BYTES + ord(c) for c in " ab"] + [END]]
    with pytest.raises(ConfigError, match="too long: it has 9 tokens, and this model reads 3"):
        t.batch(["abcdefgh"], cut=False)


def test_decoding_ends_at_the_end_and_survives_broken_bytes(tokenizer):
    assert tokenizer.decode([*tokenizer.encode("a red"), END, *tokenizer.encode("ring")]) == "a red"
    assert tokenizer.decode([BYTES + 0xE7]) == "\ufffd"


def test_words_it_never_saw(tokenizer):
    assert tokenizer.unknown("a Red zebra, and the zebra's 圆 马") == ["zebra", "and", "the", "s", "马"]
    assert TokenizerConfig().build().unknown("zebra") == []


def test_words():
    assert words("A five-pointed star，红色。 x2") == ["a", "five", "pointed", "star", "红", "色", "x", "2"]


def test_learning_is_a_function_of_the_texts():
    assert learn_tokenizer(TEXTS, merges=40) == learn_tokenizer(reversed(TEXTS), merges=40)
    assert len(learn_tokenizer(TEXTS, merges=10_000).merges) < 200  # nothing that occurs once is merged


def test_words_and_how_many_tokens_each_takes(tokenizer):
    for text in ("a red zebra, 一个红马 x", "five-pointed star", ""):
        tokens = tokenizer.encode(text)
        spelled = tokenizer.spelled([*tokens, END, *tokens])
        assert sum(count for _, count in spelled) == len(tokens)
        assert "".join(word for word, _ in spelled) == plain(text).replace(" ", "")
        assert [w for w, _ in spelled if w.isalnum()] == words(text)
    assert tokenizer.spelled([BYTES + 0xE7]) == [("\ufffd", 1)]
