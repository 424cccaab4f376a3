"""Looking and writing."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.core.model import Judge
from inkwash.core.rng import Rng
from inkwash.data import facts, open_source
from inkwash.methods import captioner
from inkwash.methods.captioner import LANGUAGES, CaptionerConfig, CaptioningConfig, CaptionOptions, language_of
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.tokenizer import END, PAD, TokenizerConfig
from inkwash.nn.writers import LSTMWriterConfig, TransformerWriterConfig
from inkwash.recipes import find
from tiny import batch_of, make_trainer, run_config, step_of, stir_

WRITERS = {"lstm": LSTMWriterConfig(width=12), "transformer": TransformerWriterConfig(width=12, blocks=2, head=6)}


def model_of(writer, length=8):
    torch.manual_seed(0)
    config = CaptionerConfig(
        shape=(3, 8, 12),
        eye=GridConfig(stride=4, width=8, blocks=1),
        d=8,
        writer=WRITERS[writer],
        tokenizer=TokenizerConfig(length=length),
    )
    model = config.build()
    stir_(model, 0.3)
    return model.eval()


def pictures(n=3):
    return torch.rand(n, 3, 8, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("writer", WRITERS)
class TestWriters:
    def test_token_by_token_is_the_whole_at_once(self, writer):
        model, x = model_of(writer), pictures()
        tokens = torch.tensor([[5, 6, 7, END], [9, END, PAD, PAD], [70, 80, 90, END]])
        languages = torch.tensor([0, 1, 0])
        scores, shares = model.scores(x, tokens, languages)
        state, token = model.writer.begin(model.places(x)), model.tokenizer.size + languages
        for t in range(4):
            score, share, state = model.writer.step(token, state)
            torch.testing.assert_close(score, scores[:, t], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(share, shares[:, t], atol=1e-5, rtol=1e-4)
            token = tokens[:, t]
        torch.testing.assert_close(shares.sum(-1), torch.ones(3, 4))

    def test_a_token_depends_on_those_before_it_only_and_on_the_picture(self, writer):
        model, x, languages = model_of(writer), pictures(1), torch.tensor([0])
        one, two = (model.scores(x, torch.tensor([[5, 6, k, END]]), languages)[0] for k in (7, 8))
        assert torch.equal(one[:, :3], two[:, :3]) and not torch.allclose(one[:, 3], two[:, 3])
        assert not torch.allclose(model.scores(-x, torch.tensor([[5, 6, 7, END]]), languages)[0][:, 0], one[:, 0])
        assert not torch.allclose(model.scores(x, torch.tensor([[5, 6, 7, END]]), torch.tensor([1]))[0][:, 0], one[:, 0])

    def test_what_is_written_has_the_probability_it_says(self, writer):
        model, x = model_of(writer), pictures()
        for options in (CaptionOptions(beams=3), CaptionOptions(temperature=0.7)):
            for i, written in enumerate(model.caption(x, Rng(range(3)), options)):
                tokens = [*model_tokens(model, written.text), END] if written.text.isascii() and "\ufffd" not in written.text else None
                if tokens is None or len(tokens) > 8 or model.tokenizer.decode(tokens) != written.text:
                    continue  # bytes that are no text are not spelled again as they were
                scores, _ = model.scores(x[i : i + 1], torch.tensor([tokens]), torch.tensor([0]))
                nats = scores[0].log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum().item()
                assert nats == pytest.approx(written.nats, abs=0.2)  # what may not be written takes a little

    def test_beams_find_the_likeliest_text_that_begins_with_a_likely_token(self, writer):
        model, x = model_of(writer, length=2), pictures(1)
        begin = torch.tensor([model.tokenizer.size])
        first, _, _ = model.writer.step(begin, model.writer.begin(model.places(x)))
        first = model._allowed(first).log_softmax(-1)[0]
        best = (first[END].item() if END in first.topk(128).indices.tolist() else -math.inf, [])
        for v in [v for v in first.topk(65).indices.tolist() if v != END][:64]:
            state = model.writer.begin(model.places(x))
            _, _, state = model.writer.step(begin, state)
            after, _, _ = model.writer.step(torch.tensor([v]), state)
            best = max(best, (first[v].item() + model._allowed(after).log_softmax(-1)[0, END].item(), [v]))
        found = model.caption(x, Rng([0]), CaptionOptions(beams=64, penalty=0))[0]
        assert found.nats == pytest.approx(best[0], abs=1e-4) and found.text == model.tokenizer.decode(best[1])

    def test_one_beam_takes_the_likeliest_token_each_time(self, writer):
        model, x = model_of(writer), pictures(1)
        token, state, tokens = torch.tensor([model.tokenizer.size + 1]), model.writer.begin(model.places(x)), []
        for _ in range(7):  # the eighth is its end
            score, _, state = model.writer.step(token, state)
            token = model._allowed(score).argmax(-1)
            if token.item() == END:
                break
            tokens.append(token.item())
        (written,) = model.caption(x, Rng([0]), CaptionOptions(beams=1, lang="zh"))
        assert written.text == model.tokenizer.decode(tokens)

    def test_a_picture_is_described_alone_as_in_a_batch(self, writer):
        model, x = model_of(writer), pictures()
        for options in (CaptionOptions(), CaptionOptions(temperature=1.0)):
            whole = model.caption(x, Rng(range(3)), options)
            (alone,) = model.caption(x[1:2], Rng([1]), options)
            assert alone.text == whole[1].text and alone.nats == pytest.approx(whole[1].nats, abs=1e-3)
            assert len(alone.words) == len(alone.maps)
            assert all(m.shape == (2, 3) and m.sum().item() == pytest.approx(1, abs=1e-4) for m in alone.maps)


def model_tokens(model, text):
    return model.tokenizer.encode(text)


def test_a_language_is_known_by_its_characters():
    assert [LANGUAGES[language_of(t)] for t in ("a red 圆", "red", "红色", "")] == ["zh", "en", "zh", "en"]


def test_the_loss_leaves_padding_and_missing_texts_out():
    model, x = model_of("lstm"), pictures()
    rows = batch_of(x)
    rows = type(rows)(rows.image, rows.cond, rows.index, [("ab",), ("abcde",), ()])
    loss, parts = CaptioningConfig().build(model).loss("main", rows, step_of(3))
    total = 0.0
    for i, text in enumerate(("ab", "abcde")):
        tokens = model.tokenizer.batch([text])
        scores, _ = model.scores(x[i : i + 1], tokens, torch.tensor([0]))
        total -= scores[0].log_softmax(-1).gather(1, tokens[0][:, None]).mean().item()
    assert loss.item() == pytest.approx(total / 3, rel=1e-4) and parts["nats"].item() == pytest.approx(loss.item())


def test_looking_everywhere_equally_costs_nothing():
    model, x = model_of("lstm"), pictures(1)
    for p in model.writer.ask.query.parameters():
        p.data.zero_()
    rows = batch_of(x)
    rows = type(rows)(rows.image, rows.cond, rows.index, [("abc",)])
    _, parts = CaptioningConfig(everywhere=1.0).build(model).loss("main", rows, step_of(1))
    assert parts["uneven"].item() == pytest.approx(0, abs=1e-10)


def test_pictures_are_changed_in_training_and_not_where_held_out_ones_are_looked_at():
    model, x = model_of("transformer"), pictures(2)
    rows = batch_of(x)
    rows = type(rows)(rows.image, rows.cond, rows.index, [("abc",), ("de",)])
    plain, changed = (CaptioningConfig(augment=kinds).build(model) for kinds in ((), ("affine", "cutout")))
    loss = plain.loss("main", rows, step_of(2))[0]
    assert changed.loss("main", rows, step_of(2))[0] != loss
    seen, as_is = (c.validate(rows, step_of(2, held_out=True)) for c in (changed, plain))
    assert seen == as_is and as_is["nats"] == loss and as_is["loss"] == 1 - as_is["right"]
    with pytest.raises(ValueError, match="stays as it is"):
        CaptioningConfig(augment=("affine",), eye=False)


@pytest.mark.parametrize("writer", WRITERS)
def test_learns_to_say_what_it_sees_in_both_languages(writer, tmp_path):
    from PIL import Image

    rows = ["file_name,text"]
    for i in range(8):
        name, value = (("black", "黑色"), ("white", "白色"))[i % 2], 255 * (i % 2)
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / f"{i}.png")
        rows += [f"{i}.png,it is {name[0]}", f"{i}.png,{name[1]}的"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    config = run_config("captioner", str(tmp_path) + ":all", steps=150, lr=1e-2, batch=8)
    t = make_trainer(config.override({"model.writer": {"kind": writer, "width": 24}, "data.validation": None}))
    t.run(lambda: None, lambda: None)
    model = t.model.eval()
    x = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, model.config.shape[0], 8, 8)
    assert [w.text for w in model.caption(x, Rng([0, 1]), CaptionOptions())] == ["it is black", "it is white"]
    assert [w.text for w in model.caption(x, Rng([0, 1]), CaptionOptions(lang="zh", temperature=0.1))] == ["黑色的", "白色的"]
    assert model.caption(x, Rng([0, 1]), CaptionOptions())[1].words == ("it", "is", "white")
    assert math.exp(model.caption(x, Rng([0, 1]), CaptionOptions())[0].nats) > 0.5


def test_it_writes_the_languages_that_it_has_learnt(tmp_path):
    (tmp_path / "a").mkdir()
    for k in range(6):
        Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(tmp_path / "a" / f"{k}.png")
        (tmp_path / "a" / f"{k}.txt").write_text("一个圆", encoding="utf-8")
    place = str(tmp_path / "a")
    config = find("caption")(place, facts(open_source(place)))
    model = config.model.override({"shape": [3, 8, 12]}).build()
    assert config.model.languages == ("zh",) and model.default_options().lang == "zh"
    with pytest.raises(ConfigError, match="captions in zh only, not in en"):
        model.caption(pictures(1), Rng([0]), CaptionOptions(lang="en"))


@pytest.mark.parametrize("recipe, kind", [("caption", "captioner"), ("caption-lstm", "captioner"), ("clip", "clip")])
def test_going_on_keeps_the_model_and_its_words(recipe, kind):
    """Other data, another size: the trained model's own tokenizer, size and width stay, or its weights would mean something else."""
    source, known = "scenes?size=16&count=40", facts(open_source("scenes?size=16&count=40"))
    started = find(recipe)(source, known).model.override({"shape": [3, 24, 24], "d": 24} if kind == "captioner" else {"shape": [3, 24, 24]})
    config = find(recipe)("scenes?size=32&count=100&captions=2&loose=1", known, start=started)
    tokens, before = (m.tokenizer if kind == "captioner" else m.text.tokenizer for m in (config.model, started))
    assert {*before.words, "next"} <= set(tokens.words) and "next" not in before.words
    renamed = {"tokenizer": before} if kind == "captioner" else {"text": config.model.text.model_copy(update={"tokenizer": before})}
    assert tokens.model_copy(update={"words": before.words}) == before, "but for the words that it remembers"
    assert config.model.model_copy(update=renamed) == started and config.data.view.size == (24, 24)
    other = find("diffusion")(source, known).model
    with pytest.raises(ConfigError, match=f"goes on with a '{kind}' model, not with a 'diffusion' one"):
        find(recipe)(source, known, start=other)


@torch.no_grad()
def test_as_a_judge_it_tells_how_likely_it_would_write_a_text():
    model, x = model_of("transformer"), pictures()
    scores = model.agreement(x, ["ab", "图"])
    assert scores.shape == (3, 2)
    tokens = model.tokenizer.batch(["图"]).expand(3, -1)
    each = model.scores(x, tokens, torch.tensor([1, 1, 1]))[0].log_softmax(-1).gather(-1, tokens[..., None]).sum((1, 2))
    torch.testing.assert_close(scores[:, 1], each, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_many_pictures_are_judged_each_by_its_own_text_as_one_by_one():
    model, x, texts = model_of("transformer"), pictures(), ["ab", "图 c c", "ab"]
    table = model.agreement(x, ["ab", "图 c c"])
    own = torch.stack([table[0, 0], table[1, 1], table[2, 0]])
    torch.testing.assert_close(model.each(x, texts), own, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(Judge.each(model, x, texts), own, atol=1e-4, rtol=1e-5)  # as a judge without an eye of its own does


@torch.no_grad()
def test_what_is_said_of_nothing_is_asked_again_when_weights_have_changed():
    model, x = model_of("transformer"), pictures(1)[0]
    seen = model._nothing(x)
    assert model._nothing(x) is seen
    stir_(model, 0.1)
    assert not torch.allclose(model._nothing(x), seen)


@torch.no_grad()
def test_a_habit_of_speech_is_no_doubt(monkeypatch):
    model, x = model_of("transformer"), pictures(1)[0]
    assert model.doubt(x, "ab c").nats >= 0
    monkeypatch.setattr(model, "_nothing", lambda x: model.places(x[None]))  # as it speaks of this picture, it speaks of nothing
    assert model.doubt(x, "ab c").nats == 0


@torch.no_grad()
def test_it_doubts_the_word_that_it_would_replace_most_readily(monkeypatch):
    model, x = model_of("transformer"), pictures(1)[0]
    monkeypatch.setattr(captioner, "BECAUSE", -1e9)
    for text in ("ab c", "图a", "b"):
        tokens = [*model_tokens(model, text), END]
        language = torch.tensor([int("图" in text)])
        scores = model.scores(x[None], torch.tensor([tokens]), language)[0][0].log_softmax(-1)
        allowed = [k for k in range(scores.shape[1]) if k != PAD and k < model.tokenizer.size]
        rather = [(max(row[k].item() for k in allowed) - row[token].item()) for row, token in zip(scores, tokens)]
        doubt, worst = model.doubt(x, text), max(range(len(rather)), key=rather.__getitem__)
        assert doubt.nats == pytest.approx(rather[worst], abs=1e-5)
        ends, at = [], 0
        for word, count in model.tokenizer.spelled(tokens):
            at += count
            ends.append((at, word))
        assert doubt.word == next((word for end, word in ends if worst < end), "")


@torch.no_grad()
def test_words_that_join_are_no_doubts(monkeypatch):
    model, x = model_of("transformer"), pictures(1)[0]
    monkeypatch.setattr(captioner, "BECAUSE", -1e9)
    assert model.doubt(x, "and").word == "and" or model.doubt(x, "and").word == ""
    monkeypatch.setattr(captioner, "JOINING", frozenset())
    before = {text: model.doubt(x, text) for text in ("zand", "and", "和")}
    assert before["and"].word == "and" and before["和"].word == "和" and before["zand"].word == "zand"
    monkeypatch.undo()
    monkeypatch.setattr(captioner, "BECAUSE", -1e9)
    assert model.doubt(x, "zand") == before["zand"]
    assert [model.doubt(x, text).word for text in ("and", "和")] == ["", ""]  # the end may still be doubted


@torch.no_grad()
def test_what_it_never_learnt_it_cannot_doubt(monkeypatch):
    model, x = model_of("transformer"), pictures(1)[0]
    monkeypatch.setattr(captioner, "BECAUSE", -1e9)
    doubted = {text: model.doubt(x, text) for text in ("ab", "zebra ab", "zebra")}
    monkeypatch.setattr(model.tokenizer, "_known", frozenset(["ab"]))
    assert model.doubt(x, "ab") == doubted["ab"] and doubted["zebra"].word == "zebra"
    assert model.doubt(x, "zebra ab").word.strip() in ("ab", "") and model.doubt(x, "zebra").word.strip() == ""
