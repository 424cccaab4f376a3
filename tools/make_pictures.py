"""Makes docs/pictures from the code: a sheet of scenes, and sample grids of trained runs.

    python tools/make_pictures.py [--runs DIR] [--out docs/pictures]

DIR holds runs called fashion-diffusion, fashion-gan, fashion-vae, cifar-diffusion, few (distilled from the first) and demo, and editing/ as
benchmarks/editing.py writes it; what is not there is passed over. Then run tools/fill_figures.py, which puts the pictures that exist into
the pages.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from inkwash.core.pixels import from_uint8
from inkwash.data.scenes import Settings, captions, render, sample
from inkwash.inference.load import load
from inkwash.inference.pictures import grid, save_png, to_pil

RUNS = ("fashion-diffusion", "fashion-gan", "fashion-vae", "cifar-diffusion")
MOST = 400_000  # bytes of one picture
COLUMNS, ROWS, SIDE, SCALE, GAP, LINE, LINES = 5, 3, 64, 2, 16, 15, 4
CHINESE = (  # fonts that hold Chinese characters, where systems keep them
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A caption cut into lines of at most `width` pixels, between words, or between characters where there are no spaces."""
    words = text.split(" ") if " " in text else list(text)
    space, lines = " " if " " in text else "", [""]
    for word in words:
        longer = f"{lines[-1]}{space}{word}" if lines[-1] else word
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def scenes(path: Path) -> None:
    """Varied scenes at 64 pixels with their captions: English, and Chinese below where there is a font."""
    fonts = {"en": ImageFont.load_default(12)}
    if found := next((f for f in CHINESE if Path(f).is_file()), None):
        fonts["zh"] = ImageFont.truetype(found, 13)
    side, band = SIDE * SCALE, LINE * LINES * len(fonts) + 6
    canvas = Image.new("RGB", (COLUMNS * (side + GAP) + GAP, ROWS * (side + band + GAP) + GAP), "white")
    pen = ImageDraw.Draw(canvas)
    at = chosen = 0
    while at < COLUMNS * ROWS:
        scene = sample(2, chosen, SIDE, Settings(holdout=False), "all")
        words = dict(zip(fonts, captions(scene, tuple(fonts))))
        text = {k: wrapped(words[k], fonts[k], side) for k in fonts}
        chosen += 1
        if max(map(len, text.values())) > LINES or len(scene.objects) < 1 + at % 4:
            continue
        x, y = GAP + at % COLUMNS * (side + GAP), GAP + at // COLUMNS * (side + band + GAP)
        picture = to_pil(from_uint8(torch.from_numpy(render(scene, SIDE)).permute(2, 0, 1)))
        canvas.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (x, y))
        y += side + 4
        for k, lines in text.items():
            for line in lines:
                pen.text((x, y), line, fill=(40, 40, 40), font=fonts[k])
                y += LINE
        at += 1
    write(path, canvas, {"source": "scenes", "seed": 2, "size": SIDE})


def samples(run: Path, path: Path) -> None:
    """A hundred samples from seed 0: every class in turn, one a column where there are ten."""
    loaded = load(run)
    labels = torch.arange(100) % len(loaded.classes) if loaded.classes else None
    images = loaded.sample(100, 0, labels)
    write(path, grid(images, columns=10, smallest=56), {"model": loaded.name, "kind": loaded.kind, "seeds": "0 to 99"})


def few_steps(teacher: Path, student: Path, path: Path) -> None:
    """Two rows each: the teacher, and its student in 4, 2 and 1 steps, from the same noise; every class in turn."""
    loaded, few = load(teacher), load(student)
    labels = torch.arange(20) % len(loaded.classes)
    images = [loaded.sample(20, 0, labels), *(few.sample(20, 0, labels, steps=steps) for steps in (4, 2, 1))]
    write(path, grid(torch.cat(images), columns=10, smallest=56), {"model": few.name, "teacher": loaded.name, "seeds": "0 to 19"})


def write(path: Path, picture: Image.Image, facts: dict) -> None:
    save_png(path, picture, facts)
    size = path.stat().st_size
    print(f"wrote {path}: {picture.width} x {picture.height}, {size // 1000} kB")
    if size > MOST:
        raise SystemExit(f"{path} is larger than {MOST // 1000} kB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder with the runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    scenes(args.out / "scenes.png")
    for name in RUNS if args.runs else ():
        if (run := args.runs / name).is_dir():
            samples(run, args.out / f"{name}.png")
        else:
            print(f"no {run}: {name}.png is left as it is")
    if args.runs and (student := args.runs / "few").is_dir():
        few_steps(args.runs / RUNS[0], student, args.out / "few.png")
    made = {
        "demo.png": ("demo/samples.png", "RGB"),
        "inpainting.png": ("editing/inpainting-8.png", "L"),
        "reclass.png": ("editing/reclass.png", "L"),
    }
    for name, (source, mode) in made.items() if args.runs else ():
        if (shown := args.runs / source).is_file():
            with Image.open(shown) as picture:
                write(args.out / name, picture.convert(mode), {"source": source})


if __name__ == "__main__":
    main()
