"""More pictures of few: emoji in other colours, with something on, and side by side, each with captions in English and Chinese.

    python tools/emoji_composites.py emoji.zip more.zip [--each 1400] [--without benchmarks/emoji_new.json] [--seed 0]

Two and a half thousand pictures of one thing each do not teach what "blue", "with" or "wearing" mean. So new ones are made by rules, of
pictures of the training split only: so many recoloured (the hue that fills most of a picture becomes another), so many with a hat, a crown
or glasses on, so many with a small picture beside or above a large one. --without: a JSON list of prompts; what one of them asks for is
not made, so that they can test whether a model puts together what it never saw together. Pictures and captions of the source come along.
"""

import argparse
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from emoji_captions import ZH, article, read_rows, write_rows
from PIL import Image

SIDE = 72
# Of a colour: hue, the mean saturation and the mean brightness that a picture gets; None leaves what it has.
COLOURS: dict[str, tuple[float, float, float | None]] = {
    "red": (0.0, 0.80, None), "orange": (0.08, 0.85, None), "yellow": (0.14, 0.75, 0.95), "green": (0.34, 0.65, None),
    "blue": (0.59, 0.70, None), "purple": (0.77, 0.55, None), "pink": (0.93, 0.40, 0.95), "black": (0.6, 0.12, 0.25),
    "white": (0.6, 0.03, 0.95), "brown": (0.06, 0.60, 0.50),
}  # fmt: skip
HATS = {"crown": "王冠", "top hat": "礼帽", "womans hat": "女帽", "graduation cap": "学士帽", "billed cap": "鸭舌帽"}
GLASSES = {"glasses": "眼镜", "sunglasses": "墨镜", "goggles": "护目镜"}
SPOKEN = {"womans hat": "hat", "billed cap": "cap"}
# Things with eyes where glasses belong, beside everything that is called a face.
HEADS = {
    "bear", "panda", "fox", "frog", "koala", "lion", "hamster", "wolf", "polar bear", "unicorn", "robot", "ghost", "alien", "skull",
    "jack o lantern", "pile of poo", "moai", "sun with face", "full moon", "snowman", "owl", "raccoon", "baby",
}  # fmt: skip
SIGNS = r"flag|tone|keycap|regional|button|arrow|squared|oclock|thirty|family|kiss|couple|sign|symbol|letter|hand|finger|fist|people|\d"
SOLEMN = r"david|temple|mosque|kaaba|church|synagogue|cross|khanda|menorah|\bom\b|dharma|crescent"
SOLEMN += r"|worship|hamsa|prayer|coffin|urn|headstone"
PEOPLE = r"\b(man|woman|men|women|person|boy|girl|child|adult)\b"
Made = tuple[Image.Image, list[str]]


def words(text: str) -> set[str]:
    """Those that say what is there."""
    return set(re.findall(r"[a-z]+", text.lower())) - {"a", "an", "with", "and", "wearing", "face", "the", "next", "to", "above", "two"}


def things(table: dict[str, list[dict]]) -> dict[str, str]:
    """Name to file of what can be recoloured or stand beside something: no signs, flags, people, nothing that is sacred to someone."""
    found = {}
    for file, rows in table.items():
        name = rows[0]["text"]
        if rows[0]["split"] == "train" and not re.search(f"{SIGNS}|{SOLEMN}|{PEOPLE}", name) and len(name.split()) <= 3:
            found.setdefault(name, file)
    return found


def recoloured(image: Image.Image, colour: str) -> Image.Image | None:
    """With the hue that fills most of it moved to the colour's; None where no hue does, or where it has that colour already."""
    alpha = image.getchannel("A")
    hsv, there = np.asarray(image.convert("RGB").convert("HSV"), np.float32) / 255, np.asarray(alpha) > 127  # (H, W, 3), (H, W)
    bright = there & (hsv[..., 2] > 0.2)
    coloured = bright & (hsv[..., 1] > 0.2)
    if coloured.sum() > 0.35 * there.sum():
        main = np.bincount((hsv[coloured][:, 0] * 36).astype(int) % 36, minlength=36).argmax() / 36 + 1 / 72
        chosen = coloured & (np.abs((hsv[..., 0] - main + 0.5) % 1 - 0.5) < 0.1)
    else:  # grey, white and the like
        main, chosen = None, bright & (hsv[..., 1] <= 0.2) & (hsv[..., 2] < 0.98)
    hue, saturation, value = COLOURS[colour]
    if chosen.sum() < 0.35 * there.sum() or (main is not None and saturation > 0.2 and abs((main - hue + 0.5) % 1 - 0.5) < 0.08):
        return None
    old = hsv[chosen]
    new = np.empty_like(old)
    new[:, 0] = hue
    new[:, 1] = np.clip(saturation * (0.5 + 0.5 * old[:, 1] / max(old[:, 1].mean(), 0.05)), 0, 1)
    mean = old[:, 2].mean()
    new[:, 2] = np.clip(old[:, 2] - mean + (value if value is not None else np.clip(mean, 0.6, 0.9)), 0.08, 1)
    hsv[chosen] = new
    out = Image.fromarray((hsv * 255).round().astype(np.uint8), "HSV").convert("RGB")
    out.putalpha(alpha)
    return out


def fitted(image: Image.Image, width: float, height: float) -> Image.Image:
    """What is not transparent of it, as large as the box allows."""
    cut = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 20)).getbbox() or (0, 0, SIDE, SIDE))
    scale = min(width / cut.width, height / cut.height)
    return cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.LANCZOS)


def placed(*parts: tuple[Image.Image, float, float]) -> Image.Image:
    """Pictures on an empty one, each with its centre at x, y; later ones lie above."""
    out = Image.new("RGBA", (SIDE, SIDE))
    for part, x, y in parts:
        layer = Image.new("RGBA", (SIDE, SIDE))
        layer.paste(part, (round(x - part.width / 2), round(y - part.height / 2)))
        out = Image.alpha_composite(out, layer)
    return out


def hatted(base: Image.Image, hat: Image.Image) -> Image.Image:
    """The hat sits where the base's top is."""
    base, hat = fitted(base, 54, 50), fitted(hat, 36, 26)
    alpha = np.asarray(base.getchannel("A"), float)[: max(1, base.height // 6)].sum(0)
    top = (alpha * np.arange(len(alpha))).sum() / max(alpha.sum(), 1)
    x = float(np.clip(36 + top - base.width / 2, hat.width / 2, SIDE - hat.width / 2))
    y = max(hat.height / 2, SIDE - base.height + 6 - hat.height / 2)
    return placed((base, 36, SIDE - base.height / 2), (hat, x, y))


def bespectacled(base: Image.Image, glasses: Image.Image) -> Image.Image:
    base = fitted(base, 68, 68)
    return placed((base, 36, 36), (fitted(glasses, 0.74 * base.width, 0.34 * base.height), 36, 36 - 0.06 * base.height))


def chinese(name: str) -> str | None:
    return ZH.get(name) if not ZH.get(name, "的").endswith("的") else None


class Maker:
    """images: by file name. forbidden: the words of each prompt that nothing may show."""

    def __init__(self, known: dict[str, str], images: dict[str, Image.Image], forbidden: Collection[set[str]], rng: np.random.Generator):
        self.known, self.images, self.forbidden, self.rng = known, images, forbidden, rng
        self.names = sorted(known)

    def of(self, name: str) -> Image.Image:
        return self.images[self.known[name]]

    def pick(self, names: Collection[str]) -> str:
        return str(self.rng.choice(sorted(names)))

    def allowed(self, *parts: str) -> bool:
        asked = set().union(*(words(p) for p in parts))
        return not any(asked <= prompt for prompt in self.forbidden)

    def coloured(self) -> Made | None:
        colour, name = self.pick(COLOURS), self.pick(self.names)
        if any(c in name.split() for c in (*COLOURS, "grey")) or not self.allowed(colour, name):
            return None
        image = recoloured(self.of(name), colour)
        texts = [f"{colour} {name}", article(f"{colour} {name}")] + ([ZH[colour] + zh] if (zh := chinese(name)) else [])
        return image and (image, texts)

    def worn(self) -> Made | None:
        table = HATS if self.rng.random() < 0.6 else GLASSES
        heads = [n for n in self.names if n in HEADS or ("face" in n.split() and "glasses" not in n and "nerd" not in n)]
        thing = self.pick([t for t in table if t in self.known])
        name = self.pick(heads if table is GLASSES or self.rng.random() < 0.6 else self.names)
        said = SPOKEN.get(thing, thing)
        if thing in name or not self.allowed(name, said):
            return None
        image = (bespectacled if table is GLASSES else hatted)(self.of(name), self.of(thing))
        what = said if table is GLASSES else article(said)
        texts = [f"{name} wearing {what}", f"{article(name)} with {what}"]
        return image, texts + ([f"戴着{table[thing]}的{zh}"] if (zh := chinese(name)) else [])

    def joined(self) -> Made | None:
        one, other = self.pick(self.names), self.pick(self.names)
        if one == other or not self.allowed(one, other):
            return None
        a, b = self.of(one), self.of(other)
        zh = (chinese(one), chinese(other))
        way = self.rng.integers(3)
        if way == 0:
            image = placed((fitted(a, 56, 56), 30, 30), (fitted(b, 34, 34), 55, 55))
            texts, said = [f"{one} with {article(other)}", f"{article(one)} with {article(other)}"], "带{1}的{0}"
        elif way == 1:
            image = placed((fitted(a, 35, 60), 18, 36), (fitted(b, 35, 60), 54, 36))
            texts, said = [f"{one} and {other}", f"{article(one)} next to {article(other)}"], "{0}和{1}"
        else:
            image = placed((fitted(a, 60, 35), 36, 18), (fitted(b, 60, 35), 36, 54))
            texts, said = [f"{one} above {other}", f"{article(one)} above {article(other)}"], "{0}在{1}上方"
        return image, texts + ([said.format(*zh)] if all(zh) else [])

    def made(self, way: str, n: int) -> Iterator[Made]:
        """n of a kind, no two of one caption."""
        seen: set[str] = set()
        for _ in range(100 * n):
            made = getattr(self, way)()
            if made and made[1][0] not in seen:
                seen.add(made[1][0])
                yield made
            if len(seen) == n:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--each", type=int, default=1400)
    parser.add_argument("--without", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    forbidden = [words(p) for p in json.loads(args.without.read_text(encoding="utf-8"))] if args.without else []
    table: dict[str, list[dict]] = {}
    with zipfile.ZipFile(args.source) as old, zipfile.ZipFile(args.target, "w") as new:
        rows = read_rows(old)
        for row in rows:
            table.setdefault(row["file_name"], []).append(row)
        images = {name: Image.open(io.BytesIO(old.read(name))).convert("RGBA") for name in table}
        for name in table:
            new.writestr(name, old.read(name))
        maker = Maker(things(table), images, forbidden, np.random.default_rng(args.seed))
        for way in ("coloured", "worn", "joined"):
            for k, (image, texts) in enumerate(maker.made(way, args.each)):
                file, data = f"{way}/{k:05d}.png", io.BytesIO()
                image.save(data, "PNG")
                new.writestr(file, data.getvalue())
                rows += [{"file_name": file, "text": text, "split": "train"} for text in texts]
        count = len(new.namelist()) - len(table)
        write_rows(new, rows)
    print(f"wrote {args.target}: {len(table)} pictures and {count} new ones, {len(rows)} captions")


if __name__ == "__main__":
    main()
