"""What a caption of a scene says, in English or Chinese: the inverse of `language`."""

import re
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from inkwash.core.words import is_chinese
from inkwash.data.scenes.language import COUNTERS, NUMBERS, USUAL, WORDS
from inkwash.data.scenes.world import COLOURS, RELATIONS, SHAPES, SIZES, TEXTURES, Scene, relates

Thing = tuple[str, str]  # (shape, colour)


class Said(NamedTuple):
    """Things in the order spoken of, one that is said to be there twice two times; and the relation of the first to the second, None where
    none is said."""

    things: tuple[Thing, ...]
    relation: str | None


def _words(language: str, keys) -> tuple[str, dict[str, str]]:
    """A pattern of all words for some keys, longest first, and what each stands for."""
    table = {word: key for key in keys for word in WORDS[language][key]}
    return "|".join(re.escape(w) for w in sorted(table, key=len, reverse=True)), table


def _patterns(language: str):
    (size, _), (texture, _), (colour, colours), (shape, shapes), (where, relations) = (
        _words(language, keys) for keys in (SIZES, TEXTURES, COLOURS, SHAPES, RELATIONS)
    )
    many = {word: n for n, words in NUMBERS[language].items() for word in words}
    if language == "en":
        thing = re.compile(rf"\b(?:({'|'.join(many)}) )?(?:(?:{size}) )?(?:(?:{texture}) )?({colour}) ({shape})(?:e?s)?\b")
    else:
        counters = "".join({USUAL, *COUNTERS.values()})
        thing = re.compile(rf"(?:({'|'.join(many)})[{counters}])?(?:{size})?({colour})的?(?:{texture})?(?:{size})?({shape})")
    return thing, many, colours, shapes, re.compile(where), relations


_EN, _ZH = _patterns("en"), _patterns("zh")


def said(text: str) -> Said:
    """Read a caption. What is not understood is passed over."""
    chinese = is_chinese(text)
    thing, many, colours, shapes, where, relations = _ZH if chinese else _EN
    found = list(thing.finditer(text.lower()))
    things = [[(shapes[m[3]], colours[m[2]])] * many.get(m[1], 1) for m in found]
    relation = None
    if len(found) > 1:
        between = text.lower()[found[0].end() : found[1].start()]
        rest = text.lower()[found[1].end() : found[2].start() if len(found) > 2 else None]
        if not chinese:
            named = where.search(between)
        elif between.startswith("在"):
            named = where.match(rest.removeprefix("的"))
        else:
            named = where.match(between.removeprefix("的"))
            if named:
                things[:2] = things[1::-1]  # "right of b is a"
        relation = relations[named[0]] if named else None
    return Said(tuple(chain.from_iterable(things)), relation)


def asked(scene: Scene, text: str) -> Scene:
    """A scene as its caption asks for it: one that only lists things asks for no relation."""
    return scene if said(text).relation else replace(scene, relation=None)


def tells(text: str, scene: Scene) -> bool:
    """Whether a caption names every object of a scene, by shape and colour, and no other; and, where the scene has a relation to tell, one
    that holds between the two that it speaks of first, and all that are like them."""
    things, relation = said(text)
    if sorted(things) != sorted((o.shape, o.colour) for o in scene.objects):
        return False
    kinds = list(dict.fromkeys(things))
    if relation is None or len(kinds) < 2:
        return relation is scene.relation is None
    first, second = ([o for o in scene.objects if (o.shape, o.colour) == kind] for kind in kinds[:2])
    return relates(first, relation, second)
