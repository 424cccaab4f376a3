"""inkwash edit."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def shot(ten, tmp_path_factory):
    """A picture of the data, 10 x 8, another one, and a mask of its lower half."""
    root = tmp_path_factory.mktemp("shot")
    for name, path in zip(("a.png", "b.png"), sorted(Path(ten).rglob("*.png"))):
        Image.open(path).save(root / name)
    mask = np.zeros((8, 10), np.uint8)
    mask[4:] = 255
    Image.fromarray(mask).save(root / "mask.png")
    return root


@pytest.mark.parametrize("name, args, count, size", [
    ("image-to-image", ["--strength", "0.5", "-n", 2], 2, (10, 8)),
    ("inpaint", ["--mask", "mask.png", "-n", 2, "--class", "dog"], 2, (10, 8)),
    ("outpaint", ["--extend", "0,4,2,0"], 1, (14, 10)),
    ("vary", ["--vary", "0.3", "-n", 3], 3, (10, 8)),
    ("interpolate", ["--to", "b.png", "-n", 3], 3, (10, 8)),
    ("reclass", ["--was", "cat", "--class", "dog"], 1, (10, 8)),
])  # fmt: skip
def test_every_edit_writes_its_pictures_and_what_made_them(name, args, count, size, shot, trained, cli, tmp_path):
    args = [str(shot / a) if str(a).endswith(".png") else a for a in args]
    out = tmp_path / "out"
    code, text, err = cli("edit", trained / "diffusion", "--image", shot / "a.png", *args, "--steps", 2, "--out", out, "--json")
    assert code == 0, err
    record = json.loads(text)
    assert record["images"] == count and record["facts"]["edit"] == name and record["facts"]["steps"] == 2
    written = sorted(out.glob("0*.png"))
    assert len(written) == count and (out / "grid.png").is_file()
    assert all(Image.open(p).size == size for p in written)
    assert Image.open(written[0]).text["inkwash"], "the file says what made it"
    if name == "inpaint":
        given, made = (np.asarray(Image.open(p).convert("RGB")) for p in (shot / "a.png", written[0]))
        assert np.array_equal(given[:4], made[:4]) and not np.array_equal(given[4:], made[4:])


@pytest.mark.parametrize("args, words", [
    (["--mask", "mask.png", "--vary", "0.5"], "One edit at a time: inpaint and vary"),
    (["--vary", "0.5", "--strength", "0.2"], "strength: the way to noise and back has its own"),
    (["--vary", "0.5", "--solver", "heun"], "solver: the way to noise and back has its own"),
    (["--guidance", "3"], "guidance: no class is asked for"),
    (["--mask", "mask.png", "-o", "eta=0.3"], "eta: repaint takes no share"),
    (["--vary", "2"], "vary"),
    (["--extend", "1,2,3"], "for the top, right, bottom and left"),
    (["--class", "dgo"], "did you mean 'dog'?"),
    (["--image", "none.png"], "There is no picture"),
])  # fmt: skip
def test_what_edit_refuses(args, words, shot, trained, refused, tmp_path):
    args = [str(shot / a) if str(a).endswith(".png") else a for a in args]
    out = tmp_path / "out"
    assert words in refused("edit", trained / "diffusion", "--image", shot / "a.png", *args, "--out", out)
    assert not out.exists()
