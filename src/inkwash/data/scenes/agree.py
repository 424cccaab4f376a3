"""Whether a picture shows what was asked for."""

from typing import NamedTuple

from inkwash.data.scenes.segment import Unreadable
from inkwash.data.scenes.world import Scene, alike, relates


class Agreement(NamedTuple):
    """objects: for each one asked for, whether one of its shape and colour is there; of two alike, a second one. count: whether there
    are as many as asked for. relation: whether it holds between the first two, and all that are alike; None where none was asked for. In
    a picture that cannot be read nothing is right."""

    objects: tuple[bool, ...]
    count: bool
    relation: bool | None


def agree(asked: Scene, seen: Scene | Unreadable) -> Agreement:
    """What of a scene that was asked for is in the one that was read."""
    if isinstance(seen, Unreadable):
        return Agreement((False,) * len(asked.objects), False, None if asked.relation is None else False)
    kinds = alike(asked)
    found = [[o for o in seen.objects if o.name == group[0].name] for group in kinds]
    relation = None
    if asked.relation is not None:
        relation = relates(found[0], asked.relation, found[1]) and all(len(s) >= len(group) for s, group in zip(found[:2], kinds))
    there = tuple(k < len(s) for s, group in zip(found, kinds) for k in range(len(group)))
    return Agreement(there, len(seen.objects) == len(asked.objects), relation)
