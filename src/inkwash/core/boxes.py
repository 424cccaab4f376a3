"""Where a named thing is in a picture."""

from typing import NamedTuple


class Box(NamedTuple):
    """name: what it is, in words. x, y: its centre, width and height: its sides, all in units of the picture's sides, x to the right and y
    down. depth: from 0 for the nearest to below 1; what is less deep hides what is deeper. 0 for all where it is not known."""

    name: str
    x: float
    y: float
    width: float
    height: float
    depth: float = 0.0
