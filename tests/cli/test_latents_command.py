"""inkwash interpolate and inkwash arithmetic."""

import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def two(ten):
    """Two pictures of the data, and its folders by class."""
    paths = sorted(Path(ten).rglob("*.png"))
    return paths[0], paths[-1], paths[0].parent, paths[-1].parent


def test_the_way_from_one_picture_to_another(two, trained, cli, tmp_path):
    out = tmp_path / "out"
    args = ["--from", two[0], "--to", two[1], "-n", 4, "--how", "linear", "--class", "cat", "--out", out, "--json"]
    code, text, err = cli("interpolate", trained / "vae", *args)
    assert code == 0, err
    record = json.loads(text)
    assert record["images"] == 4 and record["facts"]["how"] == "linear"
    assert len(list(out.glob("0*.png"))) == 4 and (out / "grid.png").is_file()
    assert Image.open(out / "00000.png").text["inkwash"]


def test_single_numbers(two, trained, cli, tmp_path):
    code, text, err = cli(
        "interpolate", trained / "vae", "--from", two[0], "--dims", 2, "-n", 3, "--class", "cat", "--out", tmp_path, "--json"
    )
    assert code == 0, err
    assert json.loads(text)["images"] == 6


def test_a_picture_plus_one_folder_minus_another(two, trained, cli, tmp_path):
    args = ["--plus", two[2], "--minus", two[3], "--on", two[1], "--class", "dog", "--out", tmp_path / "sum.png", "--json"]
    code, text, err = cli("arithmetic", trained / "vae", *args)
    assert code == 0, err
    assert json.loads(text)["wrote"] == str(tmp_path / "sum.png") and Image.open(tmp_path / "sum.png").size == (10, 8)


@pytest.mark.parametrize("model, args, words", [
    ("vae", [], "Name another picture with --to"),
    ("vae", ["--to", "PICTURE", "--dims", 2], "Name another picture with --to"),
    ("vae", ["--to", "PICTURE"], "needs label"),
    ("vae", ["--to", "PICTURE", "--how", "round", "--class", "cat"], "how"),
    ("diffusion", ["--to", "PICTURE"], "does not encode"),
])  # fmt: skip
def test_what_is_refused(model, args, words, two, trained, refused, tmp_path):
    args = [two[1] if a == "PICTURE" else a for a in args]
    assert words in refused("interpolate", trained / model, "--from", two[0], *args, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
