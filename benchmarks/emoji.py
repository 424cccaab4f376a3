"""Fifty names that a model of emoji has learnt and fifty that nobody has drawn: a labelled grid of each, and what training showed.

usage: python benchmarks/emoji.py zip --model emoji-64 --out DIR [--judge RUN] [--guidance 3] [--seed 0]

Writes known.png and new.png (drawings with their prompts) and near-known.png and near-new.png (each drawing beside the three training
pictures it is most like), and prints, with a judge (a model of the recipe `clip`), how often the right prompt is the first, or among the
first five, of the hundred.
"""

import argparse
import json
from pathlib import Path

from inkwash.data import open_source
from inkwash.inference.judge import fits
from inkwash.inference.load import Loaded, load
from inkwash.inference.nearest import beside, nearest_pictures
from inkwash.inference.pictures import grid, save_png

# What nobody has drawn; tools/emoji_composites.py leaves it out.
NEW = json.loads((Path(__file__).parent / "emoji_new.json").read_text(encoding="utf-8"))


def names(data: str, n: int) -> list[str]:
    """n names spread over the training pictures, no two of them by skin tone alone."""
    source, found = open_source(data, "train"), {}
    for i in range(len(source)):
        text = source.text(i)
        if text and "skin tone" not in text[0]:
            found.setdefault(text[0])
    known = list(found)
    return [known[k * len(known) // n] for k in range(n)]


def drawn(loaded: Loaded, prompts: list[str], seed: int, out: Path, name: str, data: str, **options) -> object:
    """The drawings, written one by one, as a grid, and beside what training showed."""
    images = loaded.sample(len(prompts), seed, None, 25, None, prompts, **options)
    place = out / name
    place.mkdir(parents=True, exist_ok=True)
    for i, (image, prompt) in enumerate(zip(images, prompts)):
        save_png(place / f"{i:03d}.png", image, {"prompt": prompt, "model": loaded.name, "seed": seed + i})
    save_png(out / f"{name}.png", grid(images, columns=10, labels=prompts, smallest=128))
    near = nearest_pictures([str(place)], data)
    save_png(out / f"near-{name}.png", beside(near))
    for prompt, found in zip(prompts, near):
        print(f"{name}: {prompt}: {', '.join(f'{d:.1f} {t}' for d, t in zip(found.distance, found.text))}")
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="emoji-64")
    parser.add_argument("--judge")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    loaded, options = load(args.model), {} if args.guidance is None else {"guidance": args.guidance}
    sets = {"known": names(args.data, 50), "new": NEW}
    every, right = [p for prompts in sets.values() for p in prompts], {}
    for name, prompts in sets.items():
        images = drawn(loaded, prompts, args.seed, args.out, name, args.data, **options)
        if args.judge:
            scores = fits(load(args.judge).model, images, every)  # (50, 100)
            own = scores[range(len(prompts)), [every.index(p) for p in prompts]]
            rank = (scores > own[:, None]).sum(1)
            right[name] = {"first": (rank < 1).float().mean().item(), "in 5": (rank < 5).float().mean().item(), "cosine": own.mean().item()}
    print(json.dumps(right))


if __name__ == "__main__":
    main()
