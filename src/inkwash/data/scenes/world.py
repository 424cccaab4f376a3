"""The world's vocabulary, its scenes as plain data, and what is true in a scene.

Lengths are in units of the picture's side, x to the right and y down, so a scene renders at any size. Only two things depend on the number
of pixels a scene is drawn for: how many objects it may hold and which diameters are called small, medium and large.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import groupby

import numpy as np

from inkwash.core.errors import ConfigError, nearest
from inkwash.data.scenes.shapes import DISTANCES, stencil

SHAPES = tuple(DISTANCES)
# Hues at least 27 degrees apart, chroma at least 130: shading and noise never carry one colour into another.
COLOURS = {
    "red": (226, 42, 54), "orange": (248, 120, 24), "yellow": (248, 222, 34), "green": (36, 178, 74),
    "cyan": (32, 194, 206), "blue": (46, 98, 234), "purple": (158, 66, 228), "pink": (248, 94, 176),
}  # fmt: skip
SIZES = ("small", "medium", "large")
TEXTURES = ("plain", "striped", "dotted", "checked")
RELATIONS = ("left of", "right of", "above", "below", "in front of", "behind")
INVERSE = dict(zip(RELATIONS, ("right of", "left of", "below", "above", "behind", "in front of")))
BACKGROUNDS = ("plain", "paper", "wash", "mist", "hills", "floor")
# Two ends of each ground's tone: pale paper or night, either way apart from the objects in brightness, which JPEG keeps better than colour.
# Their chroma stays below 16 levels: colour belongs to the objects alone.
TONES = {
    "paper": ((248, 244, 236), (218, 213, 203)), "mist": ((228, 233, 237), (184, 191, 198)),
    "celadon": ((224, 231, 223), (182, 192, 185)), "rose": ((241, 233, 231), (203, 193, 192)),
    "tea": ((226, 219, 210), (186, 179, 170)), "night": ((58, 62, 70), (30, 33, 40)), "ink": ((46, 45, 47), (22, 22, 24)),
}  # fmt: skip
CLASSES = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)

LEAST_COVERED = 0.07  # of the object behind, for "in front of" to be said
CLEAR = 1.6  # times as much of everything that a relation asks for, where it is to hold clearly


@dataclass(frozen=True)
class Object:
    """One object: its centre (x, y) and diameter in units of the side; a greater z is nearer to the eye."""

    shape: str
    colour: str
    size: str
    texture: str
    x: float
    y: float
    diameter: float
    z: int = 0

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def label(self) -> int:
        """The index of this object's name in `CLASSES`."""
        return SHAPES.index(self.shape) * len(COLOURS) + list(COLOURS).index(self.colour)


@dataclass(frozen=True)
class Background:
    """The ground: its kind, its tone's two ends as RGB in 0..255, and the seed of its hills, clouds and grain."""

    kind: str = "plain"
    near: tuple[int, int, int] = TONES["paper"][0]
    far: tuple[int, int, int] = TONES["paper"][1]
    seed: int = 0


@dataclass(frozen=True)
class Scene:
    """Objects with the one spoken of first in front, the relation of the first to the second, the ground, and the light.

    `light` is where the light comes from, in radians: 0 from the right, -pi/2 from above. `relation` is one of `RELATIONS`, or None.
    Objects of one colour and shape follow each other and are spoken of at once ("two red stars"): then all of them stand so.
    """

    objects: tuple[Object, ...]
    relation: str | None = None
    background: Background = Background()
    light: float = -2.2

    @property
    def label(self) -> int:
        return self.objects[0].label


def alike(scene: Scene) -> list[tuple[Object, ...]]:
    """The objects in their order, those of one colour and shape together."""
    return [tuple(group) for _, group in groupby(scene.objects, key=lambda o: o.name)]


def most_objects(side: int) -> int:
    return 1 if side < 32 else 2 if side < 64 else 4


def diameters(side: int) -> dict[str, float]:
    """The diameter that each size name stands for, in units of the side."""
    return dict(zip(SIZES, (0.35, 0.45, 0.58) if side < 64 else (0.18, 0.27, 0.40)))


@cache
def _framed(shape: str) -> np.ndarray:
    """The shape's stencil in a frame of False, which is what lies beside it."""
    return np.pad(stencil(shape), 1)


@cache
def _pixels(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n


@lru_cache(256)
def _silhouette(shape: str, x: float, y: float, diameter: float, n: int) -> np.ndarray:
    """The whole silhouette on an n by n grid over the picture, looked up in the shape's stencil."""
    table, side = _framed(shape), len(stencil(shape))
    index = lambda centre: np.floor(((_pixels(n) - centre) / diameter + 0.5) * side).astype(int)  # noqa: E731
    iy, ix = (np.minimum(np.maximum(index(centre), -1), side) + 1 for centre in (y, x))
    return table.take(iy, 0).take(ix, 1)


def _joined(objects: Sequence[Object], n: int) -> np.ndarray:
    """The silhouettes of one or more objects as one."""
    first, *others = (_silhouette(o.shape, o.x, o.y, o.diameter, n) for o in objects)
    return reduce(np.logical_or, others, first)


def area(o: Object, n: int = 64) -> float:
    """Of its whole silhouette, as a share of the picture."""
    return float(_silhouette(o.shape, o.x, o.y, o.diameter, n).mean())


def covered(back: Object, front: Sequence[Object], n: int = 64) -> float:
    """The share of `back`'s area that the objects in `front` hide, whatever their z."""
    near = [o for o in front if math.hypot(o.x - back.x, o.y - back.y) < 0.71 * (o.diameter + back.diameter)]
    if not near:
        return 0.0
    area = _silhouette(back.shape, back.x, back.y, back.diameter, n)
    return np.count_nonzero(area & _joined(near, n)) / max(np.count_nonzero(area), 1)


def enclosed(o: Object, others: Sequence[Object], n: int = 64) -> float:
    """The share of the pixels around `o` that belong to `others`: 0 for an object that stands alone, 1 for one inside another."""
    near = [p for p in others if math.hypot(p.x - o.x, p.y - o.y) < 0.71 * (o.diameter + p.diameter) + 2 / n]
    if not near:
        return 0.0
    area = _silhouette(o.shape, o.x, o.y, o.diameter, n)
    grown = area.copy()
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        grown[one] |= area[other]
        grown[other] |= area[one]
    rim = grown & ~area
    return np.count_nonzero(rim & _joined(near, n)) / np.count_nonzero(rim)


def holds(a: Object, relation: str, b: Object, margin: float = 1.0) -> bool:
    """Whether "a RELATION b" is true: beside each other by more than half a mean diameter and within 34 degrees of the axis, or a nearer
    one hiding at least 7 percent of the other. margin: times as far, as near the axis, as much. Raises ConfigError for an unknown relation.
    """
    if relation not in RELATIONS:
        raise ConfigError(f"{relation!r} is not a relation; {nearest(relation, RELATIONS)}")
    if relation in ("right of", "below", "behind"):
        return holds(b, INVERSE[relation], a, margin)
    if relation == "in front of":
        return a.z > b.z and covered(b, [a]) >= margin * LEAST_COVERED
    along, across = _way(a, relation, b)
    return along > margin * 0.25 * (a.diameter + b.diameter) and along >= margin * 1.5 * abs(across)


def _way(a: Object, relation: str, b: Object) -> tuple[float, float]:
    """How far b lies from a along the axis of "left of" or "above", and across it."""
    return (b.x - a.x, b.y - a.y) if relation == "left of" else (b.y - a.y, b.x - a.x)


def relates(some: Sequence[Object], relation: str, others: Sequence[Object], margin: float = 1.0) -> bool:
    """Whether "some RELATION others" is true of several things and several others: beside each other by as much as `holds` asks each of
    them to be, and near the axis as a whole; or each hiding each. Of one and one it is `holds`; of none it is not."""
    if relation in ("right of", "below", "behind"):
        return relates(others, INVERSE[relation], some, margin)
    pairs = [(a, b) for a in some for b in others]
    if relation == "in front of" or len(pairs) < 2:
        return bool(pairs) and all(holds(a, relation, b, margin) for a, b in pairs)
    ways = [_way(a, relation, b) for a, b in pairs]
    far = all(along > margin * 0.25 * (a.diameter + b.diameter) for (along, _), (a, b) in zip(ways, pairs))
    return far and sum(along for along, _ in ways) >= margin * 1.5 * abs(sum(across for _, across in ways))


def facts(scene: Scene) -> list[tuple[int, str, int]]:
    """Every (i, relation, j) that holds between the scene's objects, each also in its inverse form."""
    pairs = [(i, j) for i in range(len(scene.objects)) for j in range(len(scene.objects)) if i != j]
    return [(i, r, j) for i, j in pairs for r in RELATIONS if holds(scene.objects[i], r, scene.objects[j])]
