"""inkwash caption, and how captions are measured."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.model import Written
from inkwash.data.scenes import ScenesSource
from inkwash.inference import captions
from inkwash.inference.captions import _overlap, caption_rows, describe
from inkwash.inference.evaluate import evaluate_model, silent
from inkwash.inference.load import load
from inkwash.inference.pictures import read_facts
from inkwash.training import train
from tiny import run_config, write_npz


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    root = tmp_path_factory.mktemp("writer")
    return train(run_config("captioner", write_npz(root / "a.npz"), steps=2), root / "run", quiet=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for i in range(2):
        Image.fromarray(np.full((8, 8, 3), 200 * i, np.uint8)).save(root / f"{i}.png")
    return [str(root / f"{i}.png") for i in range(2)]


def test_a_line_for_each_picture_and_maps(cli, writer, files, tmp_path):
    code, out, _ = cli("caption", *files, "--model", writer, "--maps", tmp_path / "maps", "--json")
    told = json.loads(out)
    assert code == 0 and [row["picture"] for row in told["captions"]] == files and len(told["wrote"]) == 2
    assert read_facts(tmp_path / "maps" / "00001-1.png")["of"] == "1.png"
    code, out, _ = cli("caption", files[0], "--model", writer, "--lang", "zh", "--maps", tmp_path / "one.png", "--beams", 2)
    assert code == 0 and (tmp_path / "one.png").is_file() and f"see {tmp_path / 'one.png'}" in out


def test_what_is_drawn_depends_on_the_seed(writer, files):
    loaded = load(writer, "cpu", "fp32")
    say = lambda seed: describe(loaded, files, seed, {"temperature": 1.0})[0][1].text  # noqa: E731
    assert say(1) == say(1) and len({say(k) for k in range(4)}) > 1


def test_what_cannot_be_said_is_one_sentence(refused, writer, files, tmp_path):
    plain = train(run_config("vae", write_npz(tmp_path / "a.npz"), steps=1), tmp_path / "run", quiet=True)
    assert "writes no captions" in refused("caption", files[0], "--model", plain)
    assert "none.png" in refused("caption", tmp_path / "none.png", "--model", writer)
    assert "'lang' cannot be 'fr'" in refused("caption", files[0], "--model", writer, "--lang", "fr")
    assert "'lang' cannot be 'de'" in refused("caption", files[0], "--model", writer, "-o", "lang=de")
    assert "n is said by an option" in refused("evaluate", writer, "--data", "scenes?size=16", "-o", "n=3")
    with pytest.raises(ConfigError, match="fd cannot be measured here; what can: captions"):
        evaluate_model(load(writer, "cpu", "fp32"), write_npz(tmp_path / "b.npz"), 2, "fd")
    with pytest.raises(DataError, match="no captions to compare with"):
        evaluate_model(load(writer, "cpu", "fp32"), write_npz(tmp_path / "b.npz"), 2)


@pytest.mark.parametrize("slow", [False, True])
def test_who_knows_the_scene_is_always_right(slow, writer, monkeypatch):
    loaded, data = load(writer, "cpu", "fp32"), "scenes?size=32&count=30&objects=2"
    n, read, drawn = 12 if slow else 30, ScenesSource._image, set()
    monkeypatch.setitem(loaded.data, "view", {"size": [32, 32], "channels": 3})
    source = ScenesSource(size=32, count=30, objects=2, split="test")
    known = {source.read(i).image.tobytes(): source.text(i) for i in range(30)}

    def caption(x, rng, options):
        u = ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return [Written(known[image.tobytes()][options.lang == "zh"], (), [], 0.0) for image in u]

    monkeypatch.setattr(loaded.model, "caption", caption)
    monkeypatch.setattr(ScenesSource, "slow", slow)
    monkeypatch.setattr(ScenesSource, "_image", lambda self, i, scene: drawn.add((self.split, i)) or read(self, i, scene))
    monkeypatch.setattr(captions, "LOOKED", 20)
    rows = caption_rows(loaded, data, n, 8, silent)
    assert not slow or len(drawn) <= 12 + 20  # no more are drawn than looked at
    assert list(rows) == [f"{who}, {lang}" for lang in ("English", "Chinese") for who in ("run", "nearest training image")]
    for name, figures in rows.items():
        right = next(f for f in figures if f.name == "right")
        assert right.n == n and (right.value == 1.0 if name.startswith("run") else right.value < 0.5), name


def test_compatible_forms_of_a_sign_are_one_sign():
    known = [["一个红色的圆，在蓝色方块上方"]]
    figures = {f.name: f.value for f in _overlap(["一个红色的圆,在蓝色方块上方"], known, "zh", "")}
    assert figures["BLEU-4"] == pytest.approx(1)


def test_a_library_that_is_missing_is_said_at_once(writer, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ConfigError, match=r"sacrebleu is not installed: pip install 'inkwash\[captions\]'"):
        caption_rows(load(writer, "cpu", "fp32"), "scenes?size=32&count=8", 8, 8, silent)


def test_images_without_captions_in_a_language_are_left_out_of_its_rows(tmp_path):
    """A caption with an accent is no Chinese one, and one image without Chinese does not end the Chinese rows."""
    place, rows = tmp_path / "set", ["file_name,text"]
    for k in range(24):
        Image.fromarray(np.full((8, 8, 3), 10 * k, np.uint8)).save((place.mkdir(exist_ok=True) or place) / f"{k}.png")
        rows += [f"{k}.png,a café", *([f"{k}.png,一个圆"] if k % 3 else [])]
    (place / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    out = train(run_config("captioner", str(place), steps=1), tmp_path / "run", quiet=True)
    figures = evaluate_model(load(out, "cpu", "fp32"), f"{place}:all", 24).table.rows
    assert {row: next(iter(cells.values())).n for row, cells in figures.items()} == {
        "run, English": 24, "nearest training image, English": 24, "run, Chinese": 16, "nearest training image, Chinese": 16,
    }  # fmt: skip
