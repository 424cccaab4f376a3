"""inkwash draw."""

import json
import shutil

import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.files import load_model, save_model
from inkwash.inference.evaluate import evaluate_model
from inkwash.inference.judge import drawings, fits
from inkwash.inference.load import load, model_folder
from inkwash.inference.maps import word_maps
from inkwash.inference.pictures import read_facts
from inkwash.training import train
from tiny import captioned, run_config, stir_, write_npz


def moved(root, kind, **view):
    """A run of two steps whose weights were moved so far that everything counts."""
    root.mkdir(exist_ok=True)
    out = train(run_config(kind, write_npz(root / "a.npz"), view, steps=2), root / "run", quiet=True)
    model = load_model(out / "model")
    stir_(model, 0.2)
    save_model(out / "model", model.config, model.state_dict(), "moved")
    return out


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A run that was told "a picture number 3" and "第3张图"."""
    return moved(tmp_path_factory.mktemp("reader"), "text")


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return moved(tmp_path_factory.mktemp("judge"), "clip").rename(tmp_path_factory.mktemp("judges") / "clip")


def test_a_prompt_becomes_a_file(cli, reader, tmp_path):
    code, out, _ = cli("draw", "A picture number 3", "--model", reader, "--out", tmp_path / "deep" / "a.png", "--seed", 7, "--json")
    told = json.loads(out)
    assert code == 0 and told["wrote"] == str(tmp_path / "deep" / "a.png") and "unknown" not in told
    facts = read_facts(tmp_path / "deep" / "a.png")
    assert facts["prompt"] == "A picture number 3" and facts["seed"] == 7 and Image.open(tmp_path / "deep" / "a.png").size == (8, 8)


def test_several_become_a_folder_with_a_grid(cli, reader, tmp_path):
    code, out, _ = cli("draw", "第3张picture", "--model", reader, "--out", tmp_path / "d", "-n", 3, "--seed", 5, "--steps", 2)
    assert code == 0 and (tmp_path / "d" / "grid.png").is_file() and "see" in out
    assert [read_facts(tmp_path / "d" / f"{i:05d}.png")["seed"] for i in range(3)] == [5, 6, 7]
    code, *_ = cli("draw", "第3张picture", "--model", reader, "--out", tmp_path / "one.png", "--seed", 6, "--steps", 2)
    assert Image.open(tmp_path / "one.png").tobytes() == Image.open(tmp_path / "d" / "00001.png").tobytes()


def test_the_words_and_what_not_to_draw_matter(cli, reader, tmp_path):
    def drawn(*args):
        assert cli("draw", *args, "--model", reader, "--out", tmp_path / "x.png", "--precision", "fp32")[0] == 0
        return Image.open(tmp_path / "x.png").tobytes()

    usual = drawn("a picture", "-o", "solver=ddim")
    assert len({usual, drawn("number 3", "-o", "solver=ddim"), drawn("a picture", "-o", "solver=ddim", "--negative", "number 3")}) == 3


def test_a_transparent_picture_stays_so_unless_a_background_is_asked_for(cli, refused, reader, tmp_path):
    clear = moved(tmp_path / "clear", "text", channels=4)
    say = ("draw", "a picture", "--model", clear, "--steps", 2, "--precision", "fp32")
    assert cli(*say, "--out", tmp_path / "a.png")[0] == cli(*say, "--background", "#ff0000", "--out", tmp_path / "b.png")[0] == 0
    a, b = Image.open(tmp_path / "a.png"), Image.open(tmp_path / "b.png")
    assert a.mode == "RGBA" and b.mode == "RGB"
    wanted = Image.alpha_composite(Image.new("RGBA", a.size, "#ff0000"), a).convert("RGB")
    difference = torch.tensor(list(wanted.tobytes())).int() - torch.tensor(list(b.tobytes())).int()
    assert difference.abs().max() <= 2
    assert "not a colour" in refused(*say, "--background", "reddish", "--out", tmp_path / "c.png")
    assert "without transparency" in refused("draw", "a", "--model", reader, "--background", "red", "--out", tmp_path / "c.png")


def test_words_that_were_never_seen_are_named(cli, reader, tmp_path):
    code, out, _ = cli("draw", "a zebra, number 3, 斑", "--model", reader, "--out", tmp_path / "a.png")
    assert code == 0 and "run has never seen 'zebra', '斑'" in out
    code, out, _ = cli("draw", "a zebra", "--model", reader, "--out", tmp_path / "a", "--json")
    assert code == 0 and json.loads(out)["unknown"] == ["zebra"]


def test_what_cannot_be_drawn_is_one_sentence(refused, reader, tmp_path):
    def said(*args):
        return refused("draw", *args, "--out", tmp_path / "none")

    assert "prompt is empty" in said(" ", "--model", reader)
    assert "too long: it has" in said("number " * 2000, "--model", reader)
    assert "nowhere does not exist" in said("a picture", "--model", "nowhere")
    assert "not a size" in said("a picture", "--model", reader, "--size", "big")
    assert "do not fit into one file" in refused("draw", "a picture", "--model", reader, "-n", 2, "--out", tmp_path / "a.png")
    assert "80 x 512 is not possible at once: at most 64 x 64" in said("a picture", "--model", reader, "--size", "80x512")
    assert "PNG, JPEG or WebP" in refused("draw", "a picture", "--model", reader, "--out", tmp_path / "a.gif")
    assert "prompt is empty" in said(" ", "--model", reader, "--maps", tmp_path / "none")
    assert "too long: it has" in said("a picture", "--model", reader, "--negative", "number " * 2000)
    assert "did you mean 'scenes-64'" in said("a picture", "--model", "scenes-46")
    assert not (tmp_path / "none").exists()


def test_a_judge_keeps_the_best(cli, reader, judge, tmp_path):
    say = ("draw", "a picture number 3", "--model", reader, "--precision", "fp32", "--steps", 2, "--guidance", 1)
    code, out, _ = cli(*say, "-n", 2, "--judge", judge, "--of", 3, "--out", tmp_path / "best", "--json")
    told = json.loads(out)
    assert code == 0 and told["seeds"] == [0, 1]  # asked for again, they give the same pictures
    loaded, own = load(judge, "cpu", "fp32").model, load(reader, "cpu", "fp32")
    for seed in told["seeds"]:
        every = torch.cat([own.sample(1, s, prompt="a picture number 3", steps=2, guidance=1) for s in drawings(seed, 3)])
        scores = fits(loaded, every, ["a picture number 3"])[:, 0]
        facts = read_facts(tmp_path / "best" / f"{seed:05d}.png")
        assert facts["drawn"] == drawings(seed, 3)[scores.argmax()] or scores.topk(2).values.diff().abs() < 1e-4
        assert facts["seed"] == seed
        assert facts["judge"] == "clip" and facts["fits"] == pytest.approx(scores.max().item(), abs=1e-3)
    code, *_ = cli(*say, "--judge", judge, "--out", tmp_path / "one.png")
    assert code == 0 and read_facts(tmp_path / "one.png")["judge"] == "clip"
    assert cli(*say, "--judge", judge, "--of", 1, "--out", tmp_path / "first.png")[0] == 0
    assert "judge" not in read_facts(tmp_path / "first.png") and read_facts(tmp_path / "first.png")["seed"] == 0


def test_a_model_may_bring_its_own_judge(cli, refused, reader, judge, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(model_folder(reader), mine)
    shutil.copytree(model_folder(judge), tmp_path / "critic")
    say = ("draw", "a picture number 3", "--model", mine, "--precision", "fp32", "--steps", 2, "--guidance", 1)
    assert "has no judge to choose one of 3 drawings" in refused(*say, "--of", 3, "--out", tmp_path / "none.png")
    (mine / "judge.json").write_text('{"model": "critic", "of": 3}')
    assert cli(*say, "--out", tmp_path / "own.png")[0] == 0
    assert cli(*say, "--judge", judge, "--of", 3, "--out", tmp_path / "named.png")[0] == 0
    own, named = (read_facts(tmp_path / f"{name}.png") for name in ("own", "named"))
    assert own["judge"] == "critic" and named["judge"] == "clip" and own["drawn"] == named["drawn"] and own["fits"] == named["fits"]
    (mine / "judge.json").write_text('{"model": "critic"}')
    assert "is damaged" in refused(*say, "--out", tmp_path / "none.png")


def test_only_a_judge_can_judge(refused, reader, judge, tmp_path):
    assert fits(load(judge, "cpu", "fp32").model, torch.rand(2, 1, 8, 8), ["a"]).shape == (2, 1)
    assert "does not compare texts with pictures" in refused("draw", "a", "--model", reader, "--judge", reader, "--out", tmp_path / "x")
    assert "does not compare" in refused("draw", "a", "--model", reader, "--judge", reader, "--of", 1, "--out", tmp_path / "x")
    assert "does not make images" in refused("draw", "a", "--model", judge, "--out", tmp_path / "x")


def test_retrieval_counts_ranks(judge, tmp_path, monkeypatch):
    from inkwash.inference import retrieval as module

    loaded = load(judge, "cpu", "fp32")
    source = captioned(write_npz(tmp_path / "a.npz", n=12, test=8))
    monkeypatch.setattr(module, "fits", lambda loaded, images, texts, batch: torch.eye(4))
    (figures,) = evaluate_model(loaded, source, 8, "retrieval", among=4).table.rows.values()
    assert [f.value for f in figures.values()] == [1.0] * 4 and figures["caption"].n == 8
    monkeypatch.setattr(module, "fits", lambda loaded, images, texts, batch: -torch.eye(4))
    (figures,) = evaluate_model(loaded, source, 8, "retrieval", among=4).table.rows.values()
    assert [f.value for f in figures.values()] == [0.0, 1.0, 0.0, 1.0]
    for same in (torch.zeros(4, 4), torch.full((4, 4), torch.nan)):  # a judge that tells nothing apart finds nothing
        monkeypatch.setattr(module, "fits", lambda loaded, images, texts, batch, same=same: same)
        (figures,) = evaluate_model(loaded, source, 8, "retrieval", among=4).table.rows.values()
        assert figures["caption"].value == figures["image"].value == 0
    with pytest.raises(DataError, match="100 with captions are needed"):
        evaluate_model(loaded, source, 8, "retrieval")


def test_where_words_were_looked_up(cli, refused, reader, tmp_path):
    loaded = load(reader, "cpu", "fp32")
    image, seen = word_maps(loaded, "number 3, zebra", 5, guidance=2.0, steps=3)
    assert seen.words == ("number", "3", ",", "zebra") and all(m.shape == (8, 8) for m in seen.maps)
    assert 0 < sum(m.mean().item() for m in seen.maps) < 1, "the rest went to the end of the text"
    torch.testing.assert_close(image, loaded.sample(1, 5, prompt="number 3, zebra", guidance=2.0, steps=3)[0])
    assert not any(getattr(m, "shares", None) for m in loaded.model.modules())
    assert cli("draw", "a picture", "--model", reader, "--maps", tmp_path / "m.png", "--out", tmp_path / "a.png", "--steps", 2)[0] == 0
    assert Image.open(tmp_path / "m.png").size[0] > 64
    assert "end it in .png" in refused("draw", "a picture", "--model", reader, "--maps", tmp_path / "folder", "--out", tmp_path / "b.png")
    longer = {"negative": "a picture number 3, a picture number 3", "interval": (0.2, 0.8), "guidance": 3.0, "steps": 3}
    assert len(word_maps(loaded, "number 3", 5, **longer)[1].maps) == 2
    with pytest.raises(ConfigError, match="leave the tiles out"):
        word_maps(loaded, "number 3", 5, tile=8)
    plain = train(run_config("vae", write_npz(tmp_path / "b.npz"), steps=1), tmp_path / "vae", quiet=True)
    with pytest.raises(ConfigError, match="no cross-attention to show"):
        word_maps(load(plain, "cpu", "fp32"), "a")


def test_maps_are_of_the_drawing_that_was_kept(cli, reader, judge, tmp_path):
    say = ("draw", "a picture number 3", "--model", reader, "--steps", 2, "--judge", judge, "--of", 6, "--precision", "fp32")
    for seed in range(20):
        assert cli(*say, "--seed", seed, "--maps", tmp_path / "m.png", "--out", tmp_path / "a.png")[0] == 0
        drawn = read_facts(tmp_path / "a.png")["drawn"]
        assert read_facts(tmp_path / "m.png")["seed"] == drawn
        if drawn != seed:
            return
    raise AssertionError("the judge always kept the first")


def test_an_edit_says_which_words_it_does_not_know(cli, refused, reader, tmp_path):
    Image.new("L", (8, 8), 90).save(tmp_path / "p.png")
    say = ("edit", reader, "--image", tmp_path / "p.png", "-o", "steps=2", "--out", tmp_path / "edited")
    assert "has never seen 'lighthouse'" in cli(*say, "--prompt", "a lighthouse")[1]
    assert "prompt is empty" in refused(*say, "--prompt", " ")


def test_a_model_with_a_plan_draws_other_sizes_too(cli, tmp_path):
    say = ("draw", "a red circle", "--of", 8, "--steps", 2, "--size", "96x64", "--out", tmp_path / "wide.png")
    assert cli(*say)[0] == 0 and Image.open(tmp_path / "wide.png").size in ((96, 64), (64, 96))


def test_the_models_of_the_package_draw_and_say_what_is_there(cli, tmp_path):
    code, out, _ = cli("draw", "a red circle above a zebra", "--out", tmp_path / "a.png", "--of", 1, "--steps", 8)
    assert code == 0 and "has never seen 'zebra'" in out and Image.open(tmp_path / "a.png").size == (64, 64)
    code, out, _ = cli("caption", tmp_path / "a.png", "--lang", "zh", "--json")
    assert code == 0 and "红" in out
