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

from inkwash.core.model import Arranger
from inkwash.data.scenes import Agreement, Object, Scene, ScenesSource, agree, asked, held_out
from inkwash.data.scenes.language import WORDS
from inkwash.inference.draw import image_rng
from inkwash.inference.load import load

KINDS = {"told": {}, "listed": {"loose": 1.0}, "alike": {"alike": 1.0}}
SHORT = {"en": "a {a} below a {b}", "zh": "一个{a}在一个{b}下方"}


def arranged(layout: Arranger, texts: list[str]) -> list[Scene]:
    """What it writes after each text, as a scene."""
    with torch.no_grad():
        rows = layout.arrange(image_rng(range(len(texts))), layout.tokenizer.batch(texts))
    return [Scene(tuple(placed(*box) for box in row)) for row in rows]


def placed(name: str, x: float, y: float, width: float, height: float, depth: float) -> Object:
    """A box named as those of scenes are: texture, colour, shape."""
    texture, colour, shape = ["", "", *name.split()][-3:]
    return Object(shape, colour, "", texture, x, y, width, round(-8 * depth))


def all_there(agreement: Agreement) -> bool:
    return all(agreement.objects) and agreement.count


def scenes(layout: Arranger, language: str, n: int, **kind) -> tuple[float, float]:
    """Percentages: all things right; and of these, where a relation is said, it holds (NaN where none is)."""
    source = ScenesSource(size=64, count=n, split="test", lang=language, **kind)
    texts = [source.text(i)[0] for i in range(n)]
    found = [agree(asked(source.scene(i), texts[i]), seen) for i, seen in enumerate(arranged(layout, texts))]
    right = [a for a in found if all_there(a)]
    holds = [a.relation for a in right if a.relation is not None]
    return 100 * len(right) / n, 100 * sum(holds) / len(holds) if holds else float("nan")


def held_pairs(layout: Arranger, language: str) -> tuple[int, int]:
    """Of sentences in which something lies below such a pair, how many have both, and how many there are."""
    words, glue, texts, wanted = WORDS[language], " " if language == "en" else "", [], []
    for pair, other in product(sorted(held_out()[0]), product(("square", "star", "ring"), ("yellow", "cyan", "pink"))):
        a, b = (glue.join((words[colour][0], words[shape][0])) for shape, colour in (other, pair))
        texts.append(SHORT[language].format(a=a, b=b))
        wanted.append(Scene(tuple(Object(shape, colour, "", "", 0.5, 0.5, 0.3) for shape, colour in (other, pair))))
    return sum(all_there(agree(*both)) for both in zip(wanted, arranged(layout, texts))), len(texts)


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
