"""Which compositions training never sees: every tenth shape-colour pair and every tenth shape-relation-shape triple.

A triple and its inverse ("square left of circle", "circle right of square") state one fact: facts are counted, and both forms held out.
"""

from functools import cache

from inkwash.data.scenes.world import COLOURS, INVERSE, RELATIONS, SHAPES, Scene, facts

Pair = tuple[str, str]
Triple = tuple[str, str, str]


@cache
def held_out() -> tuple[frozenset[Pair], frozenset[Triple]]:
    """(shape, colour) pairs and (shape, relation, shape) triples that only the test split shows."""
    colours, n = list(COLOURS), len(COLOURS)
    # Colours are shifted by one from shape to shape; a tenth of an unshifted list would fall on every other colour only.
    pairs = [(s, colours[(i + k) % n]) for i, s in enumerate(SHAPES) for k in range(n)]
    stated = [(a, r, b) for r in RELATIONS[::2] for i, a in enumerate(SHAPES) for b in SHAPES[i:] + SHAPES[:i]]
    triples = [t for a, r, b in stated[::10] for t in ((a, r, b), (b, INVERSE[r], a))]
    return frozenset(pairs[::10]), frozenset(triples)


def split_of(scene: Scene) -> str:
    """ "test" where the scene shows a held-out pair, or a held-out triple holds in its geometry (said or not), else "train"."""
    pairs, triples = held_out()
    if any((o.shape, o.colour) in pairs for o in scene.objects):
        return "test"
    shapes = [o.shape for o in scene.objects]
    return "test" if any((shapes[i], r, shapes[j]) in triples for i, r, j in facts(scene)) else "train"


def describe() -> str:
    """The split in words, for printing."""
    pairs, triples = held_out()
    stated = sorted(f"{a} {r} {b}" for a, r, b in triples if r in RELATIONS[::2])
    return "\n".join((
        f"Held out from training: {len(pairs)} of {len(SHAPES) * len(COLOURS)} shape-colour pairs and "
        f"{len(triples)} of {len(SHAPES) ** 2 * len(RELATIONS)} shape-relation-shape triples.",
        "pairs: " + ", ".join(sorted(f"{c} {s}" for s, c in pairs)),
        "triples (and their inverses): " + ", ".join(stated),
    ))  # fmt: skip
