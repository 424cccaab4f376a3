"""inkwash nearest: made pictures beside the training pictures that they are most like."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inkwash.data import open_source
from tiny import write_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INKWASH_CACHE", str(tmp_path / "cache"))


def test_a_copy_finds_its_original_and_the_rest_follow_by_distance(cli, ten, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    files = sorted(Path(ten).glob("**/*.png"))
    shutil.copy(files[7], made / "copy.png")
    Image.new("RGB", (10, 8)).save(made / "grid.png")  # of a folder that we wrote, and no picture of its own
    code, out, _ = cli("nearest", made, "--data", ten, "-n", 4, "--out", tmp_path / "near" / "a.png", "--json")
    (told,) = json.loads(out)["nearest"]
    assert code == 0 and len(set(told["rows"])) == 4
    with Image.open(files[7]) as original:
        assert np.array_equal(open_source(ten, "train").read(told["rows"][0]).image, np.asarray(original))
    assert told["distance"][0] == pytest.approx(0, abs=1e-3) and told["distance"] == sorted(told["distance"]) and told["distance"][1] > 0.01
    with Image.open(tmp_path / "near" / "a.png") as seen:
        width, height = seen.size
    assert width > 4.5 * height > 0  # the picture and its four, in one row


def test_refusals(refused, ten, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no PNG files" in refused("nearest", empty, "--data", ten)
    assert "fewer than 11" in refused("nearest", write_folder(tmp_path / "one", 1, (10, 8), ()), "--data", ten, "-n", 11)
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in refused("nearest", tmp_path / "text.png", "--data", ten)
