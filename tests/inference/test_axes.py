"""Axes, cells and labelled sheets."""

import numpy as np
import pytest
from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.inference.axes import Axis, cells, read_axis, sheets, stacked


@pytest.mark.parametrize(
    "text, axis",
    [
        ("steps=5,10,20", Axis("steps", (5, 10, 20))),
        ("seed=3-6", Axis("seed", (3, 4, 5, 6))),
        ("guidance=1,2.5", Axis("guidance", (1, 2.5))),
        ("model=scenes-64, runs/a", Axis("model", ("scenes-64", "runs/a"))),
        ("prompt=a cat, small|一只狗", Axis("prompt", ("a cat, small", "一只狗"))),
        ("interval=[0, 0.5]|[0, 1]", Axis("interval", ([0, 0.5], [0, 1]))),
        ("label=2024,cat", Axis("label", ("2024", "cat"))),
    ],
)
def test_axes_are_read(text, axis):
    assert read_axis(text) == axis


@pytest.mark.parametrize(
    "text, said",
    [
        ("steps", "is not an axis"),
        ("=1,2", "is not an axis"),
        ("steps=", "has no values"),
        ("steps=5,5", "has a value twice"),
        ("seed=a,b", "Seeds are whole numbers"),
        ("seed=0-9999", "more than 400 values"),
    ],
)
def test_axes_that_cannot_be(text, said):
    with pytest.raises(ConfigError, match=said):
        read_axis(text)


def test_cells_come_in_reading_order():
    made = cells([Axis("steps", (5, 10)), Axis("seed", (1, 2)), Axis("model", ("a", "b"))])
    assert [c.at for c in made] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]
    assert made[5].changes == {"steps": 10, "seed": 1, "model": "b"}
    for axes, said in (
        ([], "one axis, two or three"),
        ([Axis("a", (1,))] * 2, "same name"),
        ([Axis(n, tuple(range(21))) for n in "ab"], "at most 400"),
    ):
        with pytest.raises(ConfigError, match=said):
            cells(axes)


def shade(at):
    return Image.new("RGB", (8, 8), (40 * at[0] + 20, 60 * at[1] + 20, 100 * at[2] + 20))


def test_sheets_have_every_picture_in_its_place_under_its_label():
    axes = [Axis("steps", (5, 10, 20)), Axis("seed", (1, 2)), Axis("model", ("a", "b"))]
    pages = list(sheets(axes, shade, side=32))
    assert len(pages) == 2 and stacked(pages).size == (pages[0].width, 2 * pages[0].height)
    for k, page in enumerate(pages):
        pixels = np.asarray(page).reshape(-1, 3)
        for i in range(3):
            for j in range(2):
                assert (pixels == shade((i, j, k)).getpixel((0, 0))).all(1).sum() == 32 * 32  # each once, whole, by pixels
    assert (np.asarray(pages[0])[:36] < 100).any() and (np.asarray(pages[0])[:18] != np.asarray(pages[1])[:18]).any()  # the model's name


def test_a_cell_that_is_missing_is_grey_and_larger_pictures_set_the_size():
    axes = [Axis("model", ("a", "b"))]
    (page,) = sheets(axes, lambda at: Image.new("RGBA", (40, 20), (255, 0, 0, 0)) if at[0] else None, side=20)
    assert page.width == 2 * 44 + 4 and page.getpixel((10, 30)) == (232, 232, 232) and page.getpixel((60, 30)) == (255, 255, 255)
    (page,) = sheets([Axis("prompt", ("水墨",))], lambda at: None)
    assert page.size == (136, 154)
