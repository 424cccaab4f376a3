"""Named splits, and the tenth that is held out where a source has none."""

import re
from collections.abc import Collection, Sequence

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.rng import mix

ALIASES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "t10k": "test",
}  # fmt: skip
ORDER = ("train", "val", "test")


def canonical(name: str) -> str:
    """train, val or test for any of their usual spellings; other names in lower case."""
    return ALIASES.get(name.lower(), name.lower())


def offered(named: Collection[str], count: int = 2) -> tuple[str, ...]:
    """What a source of so many records can be opened as. One that names no split, or `train` alone, holds out a tenth as `test`."""
    if set(named) <= {"train"}:
        return ("train", "test") if count > 1 else ("train",)
    return tuple(sorted(set(named), key=lambda s: (ORDER.index(s) if s in ORDER else len(ORDER), s)))


def resolve(split: str, named: Collection[str], what: str) -> str:
    """The canonical name of a split that exists, or "all". Raises DataError listing those that do."""
    name = canonical(split)
    if name != "all" and name not in offered(named):
        raise DataError(f"{what} has no split {split!r}; it has {', '.join(offered(named))} and all.")
    return name


def held_out(names: Sequence[str], group: str | None = None) -> np.ndarray:
    """bool (N,): the tenth that is held out, by a hash of each name, so that it stays put when files come and go.

    group: a regular expression; what it matches is cut from a name before hashing, so that variants of one thing stay together.
    Of two groups or more at least one is held out and at least one is not. Raises ConfigError for a pattern that is none.
    """
    if group is not None:
        try:
            names = [re.sub(group, "", n) for n in names]
        except re.error as error:
            raise ConfigError(f"group={group!r} is not a regular expression: {error}.") from None
    keys = np.array([mix("held out", n) for n in names], np.uint64)
    out = keys < np.uint64((1 << 64) // 10)
    if len(keys) and out.all():
        out = keys != keys.max()
    if len(keys) and not out.any() and keys.min() != keys.max():
        out = keys == keys.min()
    return out


def members(split: str, named: Collection[str], tags: Sequence[str] | None, names: Sequence[str], group: str | None) -> np.ndarray:
    """int64 (n,): which records belong to a resolved split. tags: each record's own split, where splits are named."""
    if split == "all":
        return np.arange(len(names))
    if set(named) <= {"train"}:
        out = held_out(names, group)
        return np.flatnonzero(out if split == "test" else ~out)
    return np.array([i for i, tag in enumerate(tags) if tag == split], np.int64)
