"""The options that say what pictures tell of their making, and what `inkwash show` reads back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annex_e import first_label_of, infotext, label_of
from inkwash.inference.provenance.read import read
from inkwash.inference.provenance.write import Provenance, encode
from inkwash.training import train
from tiny import run_config, write_npz

CN = ("--label", "cn", "--producer", "91110000MA01TEST0X")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A run of two steps that was told captions."""
    root = tmp_path_factory.mktemp("reader")
    return train(run_config("text", write_npz(root / "a.npz"), steps=2), root / "run", quiet=True)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A photograph, as far as its file says."""
    place = tmp_path_factory.mktemp("photo") / "SECRET-holiday.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(place)
    return place


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_drawing_says_all_of_it_in_every_format(suffix, cli, reader, tmp_path):
    place = tmp_path / f"a{suffix}"
    code, out, err = cli("draw", "a picture number 3, 三", "--model", reader, "--steps", 2, "--seed", 4, *CN, "--visible", "--out", place)
    assert code == 0 and str(place) in out, err
    assert first_label_of(place.read_bytes())["ContentProducer"] == CN[-1]
    told = infotext(read(place).parameters)
    assert told["Prompt"] == "a picture number 3, 三" and told["Seed"] == "4" and told["Steps"] == "2" and told["Size"] == "8x8"
    code, out, _ = cli("show", place)
    rows = {line[2:12].strip(): line[12:].strip() for line in out.splitlines()}
    assert code == 0 and rows["source"] == "trainedAlgorithmicMedia" and rows["prompt"] == "a picture number 3, 三"
    assert rows["AI label"].startswith(f"Label 1, ContentProducer {CN[-1]}, ProduceID ")
    record = json.loads(cli("show", place, "--json")[1])
    assert record["seed"] == 4 and record["provenance"]["label"] == label_of(place.read_bytes())


def test_samples_are_labelled_one_by_one(cli, trained, tmp_path):
    code, *_ = cli("sample", trained / "vae", "-n", 3, "--class", "cat", *CN, "--impersonal", "--out", tmp_path)
    assert code == 0
    files = sorted(tmp_path.glob("*.png"))
    labels = [first_label_of(p.read_bytes()) for p in files]
    assert len(files) == 4 and len({label["ProduceID"] for label in labels}) == 4, "the grid too, each with its own number"
    assert all(set(read(p).facts or {}) <= {"kind", "size"} for p in files) and b"cat" not in files[0].read_bytes()


def test_an_edit_keeps_the_label_and_says_that_it_is_a_composite(cli, trained, photo, tmp_path):
    say = ("edit", trained / "diffusion", "--strength", "0.5", "--steps", 2, "--out", tmp_path / "one", "--image")
    assert cli(*say, photo, *CN)[0] == 0
    first = tmp_path / "one" / "00000.png"
    assert read(first).source == "compositeWithTrainedAlgorithmicMedia" and b"SECRET" in first.read_bytes()
    label = first_label_of(first.read_bytes())
    code, *_ = cli(*say[:-2], tmp_path / "two", "--image", first, "--impersonal")
    second = tmp_path / "two" / "00000.png"
    assert code == 0 and label_of(second.read_bytes()) == label, "no option takes it away"
    code, *_ = cli(*say[:-2], tmp_path / "three", "--image", first, "--label", "cn", "--producer", "OTHER")
    third = label_of((tmp_path / "three" / "00000.png").read_bytes())
    assert code == 0 and third["ProduceID"] == label["ProduceID"] and third["ContentPropagator"] == "OTHER"
    assert cli(*say, photo, "--impersonal")[0] == 0 and b"SECRET" not in first.read_bytes()


def test_interpolation_is_no_ai_and_enlarging_by_a_model_is(cli, refused, photo, tmp_path):
    say = ("upscale", photo, "--scale", 2, "--device", "cpu")
    assert cli(*say, "--model", "bicubic", "--out", tmp_path / "a.webp")[0] == 0
    assert read(tmp_path / "a.webp").source == "algorithmicallyEnhanced" and read(tmp_path / "a.webp").facts["edit"] == "resize"
    assert "nothing to label" in refused(*say, "--model", "bicubic", *CN, "--out", tmp_path / "b.png")
    assert "nothing to label" in refused(*say, "--model", "bicubic", "--visible", "--out", tmp_path / "b.png")
    assert cli(*say, *CN, "--out", tmp_path / "c.jpg")[0] == 0
    label = first_label_of((tmp_path / "c.jpg").read_bytes())
    assert read(tmp_path / "c.jpg").source == "compositeWithTrainedAlgorithmicMedia"
    assert cli("upscale", tmp_path / "c.jpg", "--scale", 2, "--model", "lanczos", "--out", tmp_path / "d.png")[0] == 0
    assert label_of((tmp_path / "d.png").read_bytes()) == label and read(tmp_path / "d.png").source.startswith("compositeWith")
    assert not (tmp_path / "b.png").exists()


def test_a_style_is_a_composite(cli, photo, tmp_path):
    code, *_ = cli("style", photo, "--style", photo, "-o", "steps=1", "--out", tmp_path / "a.jpg", "--device", "cpu", *CN)
    assert code == 0 and first_label_of((tmp_path / "a.jpg").read_bytes())
    assert read(tmp_path / "a.jpg").source == "compositeWithTrainedAlgorithmicMedia"


def test_wishes_are_refused_before_anything_is_made(refused, reader, trained, photo, tmp_path):
    def said(*args):
        return refused("draw", "a picture", "--model", reader, *args, "--out", tmp_path / "none.png")

    assert "--producer" in said("--label", "cn")
    assert "GB 45438-2025 wants" in said("--label", "cn", "--producer", "某某公司")
    assert "cannot be 'eu'" in said("--label", "eu", "--producer", "A")
    assert "--label cn" in said("--producer", "A")
    no_key = said("--sign", tmp_path / "nowhere")
    assert "pip install 'inkwash[c2pa]'" in no_key or "no chain.pem" in no_key
    assert "PNG, JPEG or WebP" in refused("upscale", photo, "--model", "bicubic", "--out", tmp_path / "none.bmp")
    assert not list(tmp_path.iterdir())


def test_show_says_what_is_wrong_and_counts_labels(cli, refused, tmp_path):
    picture, more = Image.new("RGB", (8, 8)), Provenance(label="cn", producer="A")
    whole = encode(picture, {"model": "m", "seed": 1}, "png", more)
    (tmp_path / "cut.png").write_bytes(whole[:-40])
    assert "cut.png is not a picture that can be read whole: it is cut short" in refused("show", tmp_path / "cut.png")
    (tmp_path / "text.jpg").write_text("hello")
    assert "is not a picture that can be read" in refused("show", tmp_path / "text.jpg")
    chunks = whole[33:]
    (tmp_path / "two.png").write_bytes(whole[:33] + chunks[: chunks.index(b"IDAT") - 4] + chunks)
    code, out, _ = cli("show", tmp_path / "two.png")
    assert code == 0 and "2 labels, where one is allowed" in out
    (tmp_path / "plain.webp").write_bytes(encode(picture, None, "webp"))
    code, out, _ = cli("show", tmp_path / "plain.webp")
    assert code == 0 and "does not say what made it" in out
    (tmp_path / "only.jpg").write_bytes(encode(picture, None, "jpeg", more))
    code, out, _ = cli("show", tmp_path / "only.jpg")
    assert code == 0 and "AI label" in out


def test_what_latents_make_is_labelled(cli, ten, trained, photo, tmp_path):
    folder = next(p.parent for p in Path(ten).rglob("*.png"))
    ways = {
        "interpolate": ("--from", photo, "--dims", 1, "-n", 2, "--out", tmp_path / "way"),
        "arithmetic": ("--plus", folder, "--minus", folder, "--on", photo, "--out", tmp_path / "sum.webp"),
    }
    for verb, args in ways.items():
        code, _, err = cli(verb, trained / "vae", *args, "--class", "cat", *CN, "--impersonal")
        assert code == 0, err
    made = [tmp_path / "way" / "00001.png", tmp_path / "way" / "grid.png", tmp_path / "sum.webp"]
    assert all(first_label_of(p.read_bytes())["ContentProducer"] == CN[-1] and b"SECRET" not in p.read_bytes() for p in made)


def test_labels_are_kept_without_these_options_too(cli, trained, tmp_path):
    made = tmp_path / "a.png"
    noise = np.random.default_rng(1).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    made.write_bytes(encode(Image.fromarray(noise), {"model": "m", "seed": 1}, "png", Provenance(label="cn", producer="A")))
    code, _, err = cli("interpolate", trained / "vae", "--from", made, "--to", made, "-n", 2, "--out", tmp_path / "way", "--class", "cat")
    assert code == 0, err
    assert {label_of(p.read_bytes())["ProduceID"] for p in (tmp_path / "way").glob("*.png")} == {read(made).label["ProduceID"]}
