"""More captions for pictures whose names are short: paraphrases by rules, and Chinese where every word of a name is known.

usage: python tools/emoji_captions.py noto_emoji.zip emoji.zip [--tones 2]

Reads a zip with metadata.csv (file_name, text) and writes one with more rows. Skin tones get their words; of pictures that differ in skin
tone only, the one without and so many others are kept, or half of the set would be of them; they stay in one split (a column `split`, by a
hash of the name without tones: a tenth is held out).
"""

import argparse
import csv
import hashlib
import io
import json
import re
import zipfile
from collections import defaultdict
from pathlib import Path

TONES = {"tone1": "light", "tone2": "medium-light", "tone3": "medium", "tone4": "medium-dark", "tone5": "dark"}
SKIN = re.compile(r", (?:medium-light|medium-dark|light|medium|dark) skin tone")
HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
WORDS = json.loads((Path(__file__).parent / "emoji_words.json").read_text(encoding="utf-8"))
SYNONYMS, ZH = WORDS["synonyms"], WORDS["zh"]


def bare(name: str) -> str:
    """A name without its skin tones."""
    return re.sub(rf" tone[1-5]|{SKIN.pattern}", "", name)


def article(name: str) -> str:
    return name if name.endswith("s") and not name.endswith(("ss", "us")) else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def toned(name: str) -> str:
    """Skin tones in words."""
    return re.sub(r" (tone[1-5])", lambda m: f", {TONES[m[1]]} skin tone", name)


def english(name: str) -> list[str]:
    """Paraphrases of a name, itself among them."""
    core, tail = bare(name), "".join(SKIN.findall(toned(name)))
    out = [core, article(core), f"emoji of {article(core)}"]
    if core.startswith("flag "):
        out = [core, f"flag of {core[5:]}", f"the {core[5:]} flag"]
    elif core.startswith("regional indicator "):
        out = [core, f"letter {core[-1]} on blue", f"blue letter {core[-1]}"]
    elif core.startswith("keycap "):
        out = [core, f"key with {core[7:]}", f"{core[7:]} on a blue key"]
    elif core.startswith(("family, ", "kiss, ", "couple with heart, ")):
        head, *who = core.split(", ")
        out = [core, f"{head} of {', '.join(who[:-1])} and {who[-1]}", f"{article(head)} of {' '.join(who)}"]
    elif match := re.fullmatch(rf"({'|'.join(HOURS)}) (oclock|thirty)", core):
        hour, half = HOURS.index(match[1]) + 1, match[2] == "thirty"
        out = [core, f"clock at {'half past ' if half else ''}{match[1]}", f"clock showing {hour}:{'30' if half else '00'}"]
    out += [core.replace(word, other) for word, others in SYNONYMS.items() if re.search(rf"\b{word}\b", core) for other in others]
    return list(dict.fromkeys(text + tail for text in out))


def chinese(name: str) -> list[str]:
    """A name in Chinese where it is in the table, or a colour and a name that are; "with" joins two that are."""
    core = bare(name)
    if core in ZH:
        return [ZH[core], f"{ZH[core]}的表情"] if not ZH[core].endswith("的") else []
    if " with " in core:
        one, _, other = core.partition(" with ")
        if one in ZH and other in ZH:
            return [f"带{ZH[other]}的{ZH[one]}"]
    first, _, rest = core.partition(" ")
    return [ZH[first] + ZH[rest]] if ZH.get(first, "").endswith("的") and rest in ZH else []


def split(name: str) -> str:
    return "test" if digest(bare(name)) % 10 == 0 else "train"


def digest(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def thinned(names: list[str], tones: int) -> set[str]:
    """Names without tones, and for each of them so many with: others from name to name."""
    variants = defaultdict(list)
    for name in names:
        variants[bare(name)].append(name)
    kept = set()
    for core, every in variants.items():
        kept |= {core} & set(every)
        kept |= set(sorted(set(every) - {core}, key=digest)[:tones])
    return kept


def read_rows(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read("metadata.csv").decode("utf-8-sig"))))


def write_rows(archive: zipfile.ZipFile, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, ["file_name", "text", "split"])
    table.writeheader()
    table.writerows(rows)
    archive.writestr("metadata.csv", text.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--tones", type=int, default=2)
    args = parser.parse_args()
    with zipfile.ZipFile(args.source) as old, zipfile.ZipFile(args.target, "w") as new:
        rows = read_rows(old)
        kept = thinned([row["text"] for row in rows], args.tones)
        rows = [row for row in rows if row["text"] in kept]
        said = [
            {"file_name": row["file_name"], "text": caption, "split": split(row["text"])}
            for row in rows
            for caption in [*english(row["text"]), *chinese(row["text"])]
        ]
        write_rows(new, said)
        for name in dict.fromkeys(row["file_name"] for row in rows):
            new.writestr(name, old.read(name))
    print(f"wrote {args.target}: {len(rows)} pictures, {len(said)} captions")


if __name__ == "__main__":
    main()
