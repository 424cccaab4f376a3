"""Axes and cells."""

import pytest

from inkwash.core.errors import ConfigError
from inkwash.inference.axes import Axis, cells, read_axes, read_axis


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
        ("class=2024,cat", Axis("label", ("2024", "cat"))),
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


def test_axes_come_in_order_and_the_limit_can_be_raised():
    assert read_axes({"x": "steps=1,2", "y": None, "z": None}) == [Axis("steps", (1, 2))]
    assert [a.name for a in read_axes({"x": "steps=1,2", "y": "seed=1", "z": "eta=0"})] == ["steps", "seed", "eta"]
    for texts in ({"z": "seed=1"}, {"y": "seed=1"}, {"x": "steps=1", "z": "seed=1"}):
        with pytest.raises(ConfigError, match="a y only beside an x"):
            read_axes(texts)
    many = {"x": "seed=1-1000"}
    with pytest.raises(ConfigError, match="more than 400 values"):
        read_axes(many)
    assert len(cells(read_axes(many, most=1000), most=1000)) == 1000
    with pytest.raises(ConfigError, match="at most 1500"):
        cells([Axis("seed", tuple(range(1000))), Axis("steps", (1, 2))], most=1500)
