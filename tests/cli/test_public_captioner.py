"""Captioners of transformers: a tiny one, of the real class, made here with random weights."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError, FileError
from inkwash.core.rng import Rng
from inkwash.inference.captions import describe
from inkwash.inference.evaluate import evaluate_model
from inkwash.inference.load import load

transformers = pytest.importorskip("transformers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "red", "cat", "dog", "on", "the", "mat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("blip")
    (place / "vocab.txt").write_text("\n".join(WORDS))
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {**small, **ends, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 64}
    config = transformers.BlipConfig(text_config=text, vision_config={**small, "image_size": 16, "patch_size": 8}, projection_dim=8)
    torch.manual_seed(0)
    net = transformers.BlipForConditionalGeneration(config)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    net.save_pretrained(place)
    transformers.BertTokenizer(str(place / "vocab.txt")).save_pretrained(place)
    transformers.BlipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    place = tmp_path_factory.mktemp("picture") / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(place)
    return place


def test_a_caption_is_that_of_transformers(cli, refused, folder, picture):
    code, out, _ = cli("caption", picture, "--model", folder, "--beams", 3, "-o", "longest=7", "--json")
    (told,) = json.loads(out)["captions"]
    net = transformers.BlipForConditionalGeneration.from_pretrained(folder)
    eye, tokenizer = transformers.AutoImageProcessor.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    seen = eye(images=Image.open(picture), return_tensors="pt")
    wanted = tokenizer.batch_decode(net.generate(**seen, num_beams=3, max_new_tokens=7), skip_special_tokens=True)[0]
    assert code == 0 and told["text"] == wanted.strip() and wanted.strip() and told["nats"] is None
    assert "does not tell where it looked" in refused("caption", picture, "--model", folder, "--maps", "m.png")
    assert "has no 'lang'" in refused("caption", picture, "--model", folder, "--lang", "zh")


def test_code_in_a_folder_is_not_run(refused, folder, picture, tmp_path, monkeypatch):
    place = tmp_path / "blip"
    shutil.copytree(folder, place)
    (place / "own.py").write_text("open('ran', 'w')")
    assert "own.py, code that a model may run" in refused("caption", picture, "--model", place)
    (place / "own.py").unlink()
    settings = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(settings | {"auto_map": {"AutoConfig": "own.Config"}}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked whether code may run"))
    load(place, "cpu")


def test_a_model_that_wants_more_than_a_picture_is_refused(refused, folder, picture, monkeypatch):
    def wants_more(self, **_):
        raise KeyError("flattened_patches")

    monkeypatch.setattr(transformers.BlipForConditionalGeneration, "generate", wants_more)
    assert "BlipForConditionalGeneration describes no picture by itself" in refused("caption", picture, "--model", folder)


def test_drawn_words_depend_on_the_seed_alone(folder, picture):
    loaded = load(folder, "cpu")
    say = lambda seed: describe(loaded, [str(picture)], seed, {"temperature": 2.0})[0][1].text  # noqa: E731
    before = torch.get_rng_state()
    assert say(1) == say(1) and len({say(k) for k in range(4)}) > 1 and torch.equal(before, torch.get_rng_state())
    x = torch.zeros(2, 3, 16, 16)
    both = loaded.model.caption(x, Rng([5, 6]), loaded.options(temperature=2.0))
    assert both[1] == loaded.model.caption(x[:1], Rng([6]), loaded.options(temperature=2.0))[0]


def test_it_is_measured_as_ours_are_in_its_own_language(folder):
    rows = evaluate_model(load(folder, "cpu"), "scenes?size=16&count=8", 4, "captions").table.rows
    assert list(rows) == [f"{folder.name}, English", "nearest training image, English"]


def test_what_cannot_be_read_is_one_sentence(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FileError, match="cannot be read by transformers as a captioner") as caught:
        load(tmp_path, "cpu")
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["Nonsense"]}))
    with pytest.raises(ConfigError, match="holds a Nonsense that transformers"):
        load(tmp_path, "cpu")
