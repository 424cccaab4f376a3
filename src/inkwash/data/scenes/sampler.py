"""The draw that makes scene number `index` of the world `seed`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inkwash.core.errors import ConfigError, nearest
from inkwash.data.scenes.split import split_of
from inkwash.data.scenes.world import (
    BACKGROUNDS,
    CLEAR,
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    TEXTURES,
    TONES,
    Background,
    Object,
    Scene,
    area,
    covered,
    diameters,
    enclosed,
    most_objects,
    relates,
)  # fmt: skip

TRIES = 24  # places that an object may be tried in
JITTER = 0.05  # relative, either way, about a size's diameter
MOST_COVERED = 0.20  # of an object's area
MOST_ENCLOSED = 0.5  # of its outline may run over other objects: the rest is seen against the ground
SEEN = 16  # pixels that are hidden, at least, of what is said to be behind
GAP = 1.15  # times its diameter, at which a thing still touches no other
CLEFT = 3  # pixels more, at least, between things that are alike


@dataclass(frozen=True)
class Settings:
    """What a scene may hold. `objects` bounds their number (None: 1 below 32 pixels, 2 from 32, 4 from 64), `plain` leaves out textures,
    grounds other than flat ones and changes of light, `holdout` keeps the compositions of `split.held_out` out of the training split.
    `clear`: a relation that is told is never a borderline case (`world.CLEAR`). `apart`: things touch only where one is said to be in front
    of the other, and then enough of that one is hidden to be seen (`SEEN`). `alike`: share of the scenes of several objects in which some
    are of one colour, shape, size and texture; nothing touches there. Elsewhere no two have one colour.
    """

    objects: int | None = None
    plain: bool = False
    holdout: bool = True
    clear: bool = False
    apart: bool = False
    alike: float = 0.0

    def __post_init__(self):
        if self.objects is not None and not 1 <= self.objects <= 4:
            raise ConfigError(f"scenes hold 1 to 4 objects, not {self.objects}.")
        if not isinstance(self.alike, int | float) or not 0 <= self.alike <= 1:
            raise ConfigError(f"alike is a share of scenes, from 0 to 1, not {self.alike}.")


COVERING = ("in front of", "behind")
BESIDE = tuple(r for r in RELATIONS if r not in COVERING)
SIMPLE = Settings(objects=1, plain=True, holdout=False)
SPLITS = ("train", "val", "test", "all")


class Draws:
    """Uniform numbers from Philox, a counter-based generator: stream (seed, stream, index) is the same on any machine and numpy version."""

    def __init__(self, seed: int, index: int, stream: int = 0):
        key = np.array([seed % 2**64, stream], np.uint64)
        self.bits = np.random.Philox(key=key, counter=np.array([0, 0, 0, index % 2**64], np.uint64))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * (int(self.bits.random_raw()) >> 11) * 2.0**-53

    def below(self, n: int) -> int:
        return int(self.uniform() * n)

    def pick(self, options: Sequence):
        return options[self.below(len(options))]

    def several(self, options: Sequence, n: int) -> list:
        """n different ones, in random order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(n)]


def _shows(o: Object, scene: list[Object]) -> bool:
    others = [p for p in scene if p is not o]
    return covered(o, [p for p in others if p.z > o.z]) <= MOST_COVERED and enclosed(o, others) <= MOST_ENCLOSED


def _touch(a: Object, b: Object, side: int) -> bool:
    more = 2 * CLEFT / side if a.name == b.name else 0.0
    return any(covered(_with(o, o.x, o.y, GAP * o.diameter + more), [p]) > 0 for o, p in ((a, b), (b, a)))


def _with(o: Object, x: float, y: float, diameter: float) -> Object:
    """As `dataclasses.replace`, in a third of the time: places are tried by the hundred."""
    return Object(o.shape, o.colour, o.size, o.texture, x, y, diameter, o.z)


def _apart(o: Object, placed: list[Object], covering: bool, side: int) -> bool:
    """Whether an object touches none of those that are there. covering: the only one there and this one cover each other, by enough."""
    if covering:
        back, front = sorted([*placed, o], key=lambda p: p.z)
        return covered(back, [front]) * area(back) * side * side >= SEEN
    return not any(_touch(o, p, side) for p in placed)


def _place(
    draws: Draws, objects: list[Object], many: list[int], relation: str | None, settings: Settings, side: int
) -> list[Object] | None:
    """Positions that keep objects whole, hardly covered and, for the first two, in the relation; None where chance did not find any.
    many: how many objects are alike, one group after the other; a relation is that of the first group to the second."""
    placed: list[Object] = []
    first, apart = many[0], settings.apart or len(many) < len(objects)
    margin, tries = CLEAR if settings.clear else 1.0, 4 * TRIES if settings.clear or apart else TRIES
    for k, o in enumerate(objects):
        edge = o.diameter / 2 + 0.015
        second = relation is not None and first <= k < first + many[1]
        for _ in range(tries if second else TRIES):
            o = _with(o, draws.uniform(edge, 1 - edge), draws.uniform(edge, 1 - edge), o.diameter)
            if second and not relates(placed[:first], relation, [*placed[first:], o], margin):
                continue
            if apart and not _apart(o, placed, k == 1 and relation in COVERING, side):
                continue
            trial = [*placed, o]
            if all(_shows(b, trial) for b in trial):
                placed = trial
                break
        else:
            return None
    return placed


def _groups(draws: Draws, count: int) -> list[int]:
    """So many objects in groups, fewer than there are objects."""
    cuts = sorted(draws.several(range(1, count), draws.below(count - 1)))
    return [b - a for a, b in zip([0, *cuts], [*cuts, count])]


def _propose(draws: Draws, side: int, settings: Settings, count: int) -> Scene | None:
    scale = diameters(side)
    depth = draws.several(range(count), count)
    relation = draws.pick(RELATIONS) if count > 1 else None
    many = [1] * count
    if settings.alike and count > 1 and draws.uniform() < settings.alike:
        many = _groups(draws, count)
        relation = draws.pick((*BESIDE, None)) if len(many) > 1 else None
    if relation in COVERING and (depth[0] > depth[1]) != (relation == "in front of"):
        depth[0], depth[1] = depth[1], depth[0]
    objects = []
    for colour, n in zip(draws.several(list(COLOURS), len(many)), many):
        size = draws.pick(SIZES)
        diameter = scale[size] * draws.uniform(1 - JITTER, 1 + JITTER)
        texture = "plain" if settings.plain else draws.pick(TEXTURES)
        objects.append(Object(draws.pick(SHAPES), colour, size, texture, 0.5, 0.5, diameter, depth[len(objects)]))
        for _ in range(n - 1):
            diameter = scale[size] * draws.uniform(1 - JITTER, 1 + JITTER)
            objects.append(replace(objects[-1], diameter=diameter, z=depth[len(objects)]))
    placed = _place(draws, objects, many, relation, settings, side)
    if placed is None:
        return None
    near, far = TONES[draws.pick(list(TONES))]
    kind = "plain" if settings.plain else draws.pick(BACKGROUNDS)
    light = -2.2 if settings.plain else draws.uniform(-2.7, -0.44)
    return Scene(tuple(placed), relation, Background(kind, near, far, draws.below(2**31)), light)


def sample(seed: int, index: int, size: int = 32, settings: Settings = Settings(), split: str = "train") -> Scene:
    """Scene number `index` of the world `seed`, made for pictures of `size` pixels a side: a function of its arguments, the same anywhere.

    With `settings.holdout`, scenes of "train" and "val" hold none of the compositions that `split.held_out` lists, and scenes of "test"
    at least one; "all" takes any. Raises ConfigError for a size outside 16..256 or an unknown split.
    """
    if not 16 <= size <= 256:
        raise ConfigError(f"scenes are drawn at 16 to 256 pixels a side, not {size}.")
    if split not in SPLITS:
        raise ConfigError(f"scenes have no split {split!r}; {nearest(split, SPLITS)}")
    draws = Draws(seed, index, SPLITS.index(split))
    count = 1 + draws.below(min(settings.objects or 4, most_objects(size)))
    while True:  # a proposal is accepted with a chance above a tenth, so this ends
        scene = _propose(draws, size, settings, count)
        free = split == "all" or not settings.holdout
        if scene is not None and (free or (split_of(scene) == "test") == (split == "test")):
            return scene
