"""More pictures of few (tools/emoji_composites.py)."""

import csv
import io
import json
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOLS))
    try:
        return runpy.run_path(str(TOOLS / "emoji_composites.py"), run_name="tool")
    finally:
        sys.path.remove(str(TOOLS))


def blob(colour, box=(20, 20, 52, 52)) -> Image.Image:
    image = Image.new("RGBA", (72, 72))
    image.paste(Image.new("RGBA", (box[2] - box[0], box[3] - box[1]), colour), box[:2])
    return image


def test_the_hue_that_fills_a_picture_moves_and_little_else(tool):
    image = blob((230, 40, 30, 255))
    image.paste(Image.new("RGBA", (6, 6), (20, 40, 220, 255)), (30, 30))
    before, after = np.asarray(image), np.asarray(tool["recoloured"](image, "green"))
    assert after[22, 22, 1] > after[22, 22, [0, 2]].max()  # it was red
    assert np.abs(after[32, 32].astype(int) - before[32, 32]).max() <= 8  # blue stayed, but for rounding
    assert (after[..., 3] == before[..., 3]).all()
    assert tool["recoloured"](image, "red") is None
    grey = np.asarray(tool["recoloured"](blob((150, 150, 150, 255)), "pink"))[30, 30]
    assert grey[0] > grey[2] > grey[1]


def test_a_hat_sits_on_top_and_glasses_in_front(tool):
    base, thing = blob((240, 200, 40, 255)), blob((20, 20, 20, 255), (10, 40, 60, 60))
    hatted, glasses = (np.asarray(tool[way](base, thing)) for way in ("hatted", "bespectacled"))
    dark = [np.flatnonzero(((im[..., 3] > 200) & (im[..., 0] < 60)).any(1)) for im in (hatted, glasses)]
    yellow = np.flatnonzero(((hatted[..., 3] > 200) & (hatted[..., 0] > 200)).any(1))
    assert dark[0].max() <= yellow.min() + 6 and yellow.max() == 71
    assert 20 < dark[1].mean() < 36


def test_it_makes_what_is_asked_of_training_pictures_only_and_nothing_that_is_forbidden(tool, tmp_path, monkeypatch, capsys):
    colours = {"apple": "red", "fish": "blue", "cat face": "orange", "dog face": "brown"}
    colours |= {"crown": "gold", "glasses": "black", "duck": "yellow"}
    source, target, without = tmp_path / "emoji.zip", tmp_path / "more.zip", tmp_path / "without.json"
    with zipfile.ZipFile(source, "w") as archive:
        rows = ["file_name,text,split"]
        for name, colour in colours.items():
            data = io.BytesIO()
            blob(Image.new("RGBA", (1, 1), colour).getpixel((0, 0))).save(data, "PNG")
            archive.writestr(f"{name}.png", data.getvalue())
            rows.append(f"{name}.png,{name},{'test' if name == 'duck' else 'train'}")
        archive.writestr("metadata.csv", "\n".join(rows))
    without.write_text(json.dumps(["green fish", "a cat wearing a crown"]))
    monkeypatch.setattr(sys, "argv", ["tool", str(source), str(target), "--each", "6", "--without", str(without)])
    tool["main"]()
    assert "7 pictures and 18 new ones" in capsys.readouterr().out
    with zipfile.ZipFile(target) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("metadata.csv").decode())))
        assert {row["file_name"] for row in rows} == set(archive.namelist()) - {"metadata.csv"}
    new = [row for row in rows if "/" in row["file_name"]]
    assert {row["split"] for row in new} == {"train"} and not any("duck" in row["text"] for row in new)
    assert not any(row["text"] in ("green fish", "cat face wearing a crown", "a cat face with a crown") for row in new)
    assert any("戴着" in row["text"] for row in new) and any(row["text"] == "dog face wearing a crown" for row in new)
