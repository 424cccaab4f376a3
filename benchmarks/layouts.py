"""What a layout writes, without painting it: things of the right colour and shape, and relations that hold, in seconds.

usage: python benchmarks/layouts.py scenes-64 [RUN ...] [-n 200]

Each is a run of the recipe `layout`, or a model that has one. Printed for each, in either language: of n held-out scenes whose captions say
a relation, only list things, or tell of several of one kind, the percentage with all things right, and of those the percentage in which the
relation that is said holds; and of short sentences about each pair of colour and shape that is held out, how many have it. A layout that
has learnt its scenes by heart keeps the first figures and loses the last.
"""

import argparse
from itertools import product

import torch

from inkwash.core.boxes import Box
from inkwash.core.model import Arranger
from inkwash.data.scenes import Object, Scene, ScenesSource, held_out, said
from inkwash.data.scenes.language import WORDS
from inkwash.data.scenes.world import alike, relates
from inkwash.inference.draw import image_rng
from inkwash.inference.load import load

KINDS = {"told": {}, "listed": {"loose": 1.0}, "alike": {"alike": 1.0}}
SHORT = {"en": "a {a} below a {b}", "zh": "一个{a}在一个{b}下方"}


def thing(box: Box) -> str:
    """ "plain red circle" as "red circle"."""
    return box.name.split(maxsplit=1)[1]


def arranged(layout: Arranger, texts: list[str]) -> list[tuple[Box, ...]]:
    with torch.no_grad():
        return layout.arrange(image_rng(range(len(texts))), layout.tokenizer.batch(texts))


def stands(scene: Scene, boxes: tuple[Box, ...]) -> bool:
    placed = []
    for box in boxes:
        texture, colour, shape = box.name.split()
        placed.append(Object(shape, colour, "", texture, box.x, box.y, box.width, round(-8 * box.depth)))
    first, second = ([o for o in placed if o.name == group[0].name] for group in alike(scene)[:2])
    return relates(first, scene.relation, second)


def scenes(layout: Arranger, language: str, n: int, **kind) -> tuple[float, float]:
    """Percentages: all things right; and of these, where a relation is said, it holds (NaN where none is)."""
    source = ScenesSource(size=64, count=n, split="test", lang=language, **kind)
    texts, right, holds = [source.text(i)[0] for i in range(n)], [], []
    for i, boxes in enumerate(arranged(layout, texts)):
        scene = source.scene(i)
        right.append(sorted(map(thing, boxes)) == sorted(o.name for o in scene.objects))
        if right[-1] and said(texts[i]).relation:
            holds.append(stands(scene, boxes))
    return 100 * sum(right) / n, 100 * sum(holds) / len(holds) if holds else float("nan")


def held_pairs(layout: Arranger, language: str) -> tuple[int, int]:
    """Of sentences in which something lies below such a pair: how many have both, and how many there are."""
    words, asked = WORDS[language], []
    for (shape, colour), (other, tone) in product(sorted(held_out()[0]), product(("square", "star", "ring"), ("yellow", "cyan", "pink"))):
        glue = " " if language == "en" else ""
        a, b = glue.join((words[tone][0], words[other][0])), glue.join((words[colour][0], words[shape][0]))
        asked.append((SHORT[language].format(a=a, b=b), sorted([f"{tone} {other}", f"{colour} {shape}"])))
    rows = arranged(layout, [text for text, _ in asked])
    return sum(sorted(map(thing, boxes)) == wanted for boxes, (_, wanted) in zip(rows, asked)), len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("-n", type=int, default=200)
    args = parser.parse_args()
    for name in args.models:
        model = load(name, "cpu", "fp32").model
        layout = model if isinstance(model, Arranger) else model.plan
        for language in SHORT:
            figures = {kind: scenes(layout, language, args.n, **options) for kind, options in KINDS.items()}
            told = ", ".join(f"{kind} {right:.1f} / {holds:.1f}" for kind, (right, holds) in figures.items())
            print(name, language, told, "held-out pairs {} of {}".format(*held_pairs(layout, language)), flush=True)


if __name__ == "__main__":
    main()
