"""Labelled sheets: every picture in its place, every label legible and unlike the others."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from inkwash.inference import sheets as module
from inkwash.inference.axes import Axis
from inkwash.inference.sheets import BAND, MOST, sheets, stacked


def shade(at):
    return Image.new("RGB", (8, 8), (40 * at[0] + 20, 60 * at[1] + 20, 100 * at[2] + 20))


def white(at):
    return Image.new("RGB", (64, 64), "white")


def ink(page) -> int:
    """Dark pixels of a sheet of white pictures: what was written."""
    return int((np.asarray(page.convert("L")) < 128).sum())


def test_every_picture_is_in_its_place_under_its_label(monkeypatch):
    axes = [Axis("steps", (5, 10, 20)), Axis("seed", (1, 2)), Axis("model", ("a", "b"))]
    pages = list(sheets(axes, shade, side=32))
    assert len(pages) == 2 and stacked(pages).size == (pages[0].width, 2 * pages[0].height)
    for k, page in enumerate(pages):
        pixels = np.asarray(page)
        corners = {}
        for i in range(3):
            for j in range(2):
                found = np.argwhere((pixels == shade((i, j, k)).getpixel((0, 0))).all(2))
                assert len(found) == 32 * 32  # each once, whole, by pixels
                corners[i, j] = tuple(found[0])
        tops, lefts = ({at: corner[n] for at, corner in corners.items()} for n in (0, 1))
        assert tops[0, 0] == tops[2, 0] < tops[0, 1] and lefts[0, 0] == lefts[0, 1] < lefts[1, 0] < lefts[2, 0]
    titles = [np.asarray(page)[:BAND] for page in pages]
    assert (titles[0] != titles[1]).any()  # the model's name
    monkeypatch.setattr(module, "_write", lambda *_: None)
    bare = list(sheets(axes, shade, side=32))
    changed = (np.asarray(bare[0]) != np.asarray(pages[0])).any(2)
    assert bare[0].size == pages[0].size and changed[:BAND].any() and changed[BAND : 2 * BAND].any() and changed[2 * BAND :].any()


def test_a_cell_that_is_missing_is_grey_and_transparency_is_white():
    axes = [Axis("model", ("a", "b"))]
    (page,) = sheets(axes, lambda at: Image.new("RGBA", (40, 20), (255, 0, 0, 0)) if at[0] else None, side=20)
    assert page.getpixel((10, 30)) == (232, 232, 232) and page.getpixel((60, 30)) == (255, 255, 255)
    (page,) = sheets([Axis("seed", (1,))], lambda at: None)
    assert (np.asarray(page)[BAND:] == 232).all(2).sum() == 128 * 128


def test_pictures_of_other_sizes_share_a_cell_and_keep_their_shape():
    sizes = {0: (32, 64), 1: (64, 32), 2: (16, 16)}
    (page,) = sheets([Axis("model", ("a", "b", "c"))], lambda at: Image.new("RGB", sizes[at[0]], "red"), side=64)
    red = np.asarray(page) == (255, 0, 0)
    columns = red.all(2).any(0)
    widths = np.diff(np.flatnonzero(np.diff(np.r_[0, columns, 0])))[::2]
    assert widths.tolist() == [32, 64, 64] and red.all(2).sum() == 32 * 64 * 2 + 64 * 64


def test_sheets_of_models_of_other_sizes_are_alike():
    axes = [Axis("seed", (1, 2)), Axis("steps", (1,)), Axis("model", ("a", "b"))]
    one, two = sheets(axes, lambda at: Image.new("RGB", ((32, 48)[at[2]],) * 2))
    assert one.size == two.size


def test_labels_that_do_not_fit_are_numbered_and_told_below():
    short, long = ("a cat", "a dog"), ("a red circle above a blue square", "a red circle above a blue star")
    (plain,) = sheets([Axis("prompt", short)], white)
    (told,) = sheets([Axis("prompt", long)], white)
    assert told.height == plain.height + 2 * BAND + module.GAP and told.width == plain.width
    (other,) = sheets([Axis("prompt", (long[0], long[1] + "s"))], white)
    assert ink(other) != ink(told)  # the end of a long one is there
    assert module._names(Axis("prompt", long), 128).words == ["prompt 1", "prompt 2"]
    assert module._names(Axis("steps", (5, 10)), 128) == (["steps: 5", "steps: 10"], [])
    assert module._names(Axis("guidance", (1, 20)), 60).words == ["1", "2"] and module._names(Axis("eta", (0.1,)), 60).words == ["eta: 0.1"]


def test_a_row_of_long_words_does_not_make_a_wide_sheet():
    (page,) = sheets([Axis("seed", (1,)), Axis("prompt", tuple(f"{'word ' * 800}{i}" for i in range(3)))], white)
    assert page.width <= 400
    assert page.height <= 3 * 140 + 3 * module.LINES * BAND + 3 * BAND
    assert module._wrapped("x" * 5000, 100)[-1].endswith("...")


@pytest.mark.parametrize("there", [True, False])
def test_chinese_is_written_by_a_font_that_has_it_and_else_by_numbers(monkeypatch, there):
    if there and module._chinese() is None:
        pytest.skip("no Chinese font on this machine")
    if not there:
        monkeypatch.setattr(module, "_chinese", lambda: None)
    assert module._written("水墨") == ("水墨" if there else "\\u6c34\\u58a8")
    pages = [next(sheets([Axis("prompt", (word, "b"))], white)) for word in ("水墨", "水黑")]
    assert (np.asarray(pages[0]) != np.asarray(pages[1])).any()
    assert module._written("a\nb\x00\U000f0000") == "a b\\x00\\U000f0000"


def test_many_large_cells_are_reduced(monkeypatch):
    monkeypatch.setattr(module, "MOST", 40_000)
    (page,) = sheets([Axis("seed", (1, 2, 3, 4)), Axis("steps", (1, 2))], lambda at: Image.new("RGB", (300, 200)))
    assert (np.asarray(page) == 0).all(2).sum() <= 40_000
    assert MOST >= 400 * 256 * 256


def test_no_torch_is_needed():
    code = "import sys, inkwash.inference.axes, inkwash.inference.sheets; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
