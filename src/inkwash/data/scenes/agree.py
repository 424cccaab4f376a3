"""Whether a picture shows what was asked for."""

from typing import NamedTuple

from inkwash.data.scenes.segment import Unreadable
from inkwash.data.scenes.world import Scene, holds


class Agreement(NamedTuple):
    """objects: for each one asked for, whether one of its shape and colour is there. count: whether there are as many as asked for.
    relation: whether it holds between the first two, None where none was asked for. In a picture that cannot be read nothing is right."""

    objects: tuple[bool, ...]
    count: bool
    relation: bool | None


def agree(asked: Scene, seen: Scene | Unreadable) -> Agreement:
    """What of a scene that was asked for is in the one that was read."""
    if isinstance(seen, Unreadable):
        return Agreement((False,) * len(asked.objects), False, None if asked.relation is None else False)
    there = {(o.shape, o.colour): o for o in seen.objects}
    found = [there.get((o.shape, o.colour)) for o in asked.objects]
    relation = None
    if asked.relation is not None:
        relation = all(o is not None for o in found[:2]) and bool(holds(found[0], asked.relation, found[1]))
    return Agreement(tuple(o is not None for o in found), len(seen.objects) == len(asked.objects), relation)
