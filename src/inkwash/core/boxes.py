"""Where a named thing is in a picture."""

from typing import NamedTuple

from inkwash.core.errors import ConfigError

MOST = 16  # of one picture


class Box(NamedTuple):
    """name: what it is, in words. x, y: its centre, width and height: its sides, all in units of the picture's sides, x to the right and y
    down. depth: from 0 for the nearest to below 1; what is less deep hides what is deeper. 0 for all where it is not known."""

    name: str
    x: float
    y: float
    width: float
    height: float
    depth: float = 0.0


def parse_boxes(text: str) -> tuple[Box, ...]:
    """ "red circle 0.3 0.4 0.2 0.2; blue square 0.6 0.6 0.3 0.3": name, centre and sides of each, the nearest first. Raises ConfigError for
    anything else, and for too many."""
    parts, boxes = [part.split() for part in text.split(";") if part.strip()], []
    for k, words in enumerate(parts):
        try:
            at = [float(v) for v in words[-4:]]
        except ValueError:
            at = []
        if len(at) < 4 or len(words) == 4 or not all(0 <= v <= 1 for v in at) or not min(at[2:]):
            how = "NAME X Y WIDTH HEIGHT, in shares of the picture's sides, with ; between two"
            raise ConfigError(f"{' '.join(words)!r} is not a box: write {how}.")
        boxes.append(Box(" ".join(words[:-4]), *at, depth=k / len(parts)))
    if len(boxes) > MOST:
        raise ConfigError(f"A picture has at most {MOST} boxes, not {len(boxes)}.")
    return tuple(boxes)
