"""Where a named thing is in a picture."""

from typing import NamedTuple


class Box(NamedTuple):
    """name: what it is, in words. x, y: its centre, width and height: its sides, all in units of the picture's sides, x to the right and y
    down. Of several the first is nearest to the eye, where that is known."""

    name: str
    x: float
    y: float
    width: float
    height: float
