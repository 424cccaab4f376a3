"""Makes docs/pictures from the code: a sheet of scenes, and sample grids of trained runs.

    python tools/make_pictures.py [--runs DIR] [--paintings DIR] [--out docs/pictures]

The runs are called fashion-diffusion, fashion-gan, fashion-vae, cifar-diffusion, mnist-autoregressive, rbm, gmm, hmm, vqvae, autoencoder,
sequence, few (distilled from the first), night (cyclegan from scenes by day to scenes by night), srgan and demo; and editing/ is as
benchmarks/editing.py writes it. The paintings are those of PAINTINGS,
whose makers died long ago. What is not there is passed over. Then run tools/fill_figures.py, which puts the pictures that exist into the
pages.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from inkwash.core.batch import Condition
from inkwash.core.pixels import from_uint8
from inkwash.core.rng import Rng
from inkwash.core.words import is_chinese
from inkwash.data import Dataset, Loader, View, open_source
from inkwash.data.decode import as_rgb, opened
from inkwash.data.scenes import ScenesSource, Settings, captions, render, sample
from inkwash.inference.load import bundled, load
from inkwash.inference.pictures import grid, save_png, to_pil
from inkwash.inference.style import StyleOptions, transfer
from inkwash.inference.upscale import enlarge, translate, upscale
from inkwash.metrics.features.base import to_rgb
from inkwash.metrics.features.catalog import perceptual
from inkwash.nn.resize import resize

RUNS = ("fashion-diffusion", "fashion-gan", "fashion-vae", "cifar-diffusion", "mnist-autoregressive", "rbm", "gmm", "hmm")
PAINTINGS = ("vg_starry_night", "the_scream", "wave_crop", "vg_la_cafe")  # Van Gogh, Munch, Hokusai, Van Gogh
DETAIL = ("vg_self", 254, 314, 212)  # a painting, and x, y and side of a detail of it
MOST = 400_000  # bytes of one picture
COLUMNS, ROWS, SIDE, SCALE, GAP, LINE, LINES = 5, 3, 64, 2, 16, 15, 4
PROMPTS = {
    "scenes-64": (
        "a small red circle above a large blue square", "一个红色的小圆在蓝色大方块上方", "a green star to the left of a yellow heart",
        "a purple triangle below an orange ring", "一颗粉色的爱心在一弯黄色的月牙后面",
    ),
    "emoji-64": ("blue heart with a crown", "cat wearing sunglasses", "panda", "紫色的心", "grinning face"),
}  # fmt: skip
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


def fonts() -> dict[str, ImageFont.FreeTypeFont]:
    """English, and Chinese where there is a font."""
    known = {"en": ImageFont.load_default(12)}
    if found := next((f for f in CHINESE if Path(f).is_file()), None):
        known["zh"] = ImageFont.truetype(found, 13)
    return known


def sheet(cells: list[tuple[Image.Image, list[tuple[str, ImageFont.FreeTypeFont]]]], lines: int) -> Image.Image:
    """Pictures in rows, so many lines below each."""
    side, band = SIDE * SCALE, LINE * lines + 6
    rows = -(-len(cells) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (side + GAP) + GAP, rows * (side + band + GAP) + GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for at, (picture, said) in enumerate(cells):
        x, y = GAP + at % COLUMNS * (side + GAP), GAP + at // COLUMNS * (side + band + GAP)
        canvas.paste(picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), (x, y))
        for k, (line, font) in enumerate(said):
            pen.text((x, y + side + 4 + k * LINE), line, fill=(40, 40, 40), font=font)
    return canvas


def scenes(path: Path) -> None:
    """Varied scenes at 64 pixels with their captions: English, and Chinese below where there is a font."""
    known, cells, chosen = fonts(), [], 0
    while len(cells) < COLUMNS * ROWS:
        scene = sample(2, chosen, SIDE, Settings(holdout=False), "all")
        words = dict(zip(known, captions(scene, tuple(known))))
        text = {k: wrapped(words[k], font, SIDE * SCALE) for k, font in known.items()}
        chosen += 1
        if max(map(len, text.values())) > LINES or len(scene.objects) < 1 + len(cells) % 4:
            continue
        picture = to_pil(from_uint8(torch.from_numpy(render(scene, SIDE)).permute(2, 0, 1)))
        cells.append((picture, [(line, known[k]) for k, lines in text.items() for line in lines]))
    write(path, sheet(cells, LINES * len(known)), {"source": "scenes", "seed": 2, "size": SIDE})


def drawn(path: Path) -> None:
    """What the models of the package draw of prompts, the first picture of each, on white where they are transparent."""
    known, cells = fonts(), []
    for model, prompts in PROMPTS.items():
        if model not in bundled():
            continue
        loaded = load(model)
        for prompt in prompts:
            font = known.get("zh" if is_chinese(prompt) else "en")
            if font:
                lines = wrapped(prompt, font, SIDE * SCALE)
                cells.append((to_pil(to_rgb(loaded.sample(prompt=prompt))[0]), [(line, font) for line in lines]))
    if cells:
        write(path, sheet(cells, LINES), {"models": ", ".join(PROMPTS), "seed": 0})


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


@torch.no_grad()
def coded(run: Path, path: Path, count: int = 10) -> None:
    """Held-out images, and what comes back; below, of an auto-encoder, what random latents decode to."""
    loaded = load(run, precision="fp32")
    x = Loader(Dataset(open_source(loaded.data["source"], "test"), View.parse(loaded.data["view"])), count, augment=False).batch_at(0).image
    rows = [x, loaded.model.reconstruct(x, Condition())]
    if hasattr(loaded.model, "space"):
        rows.append(loaded.model.decode(Rng(range(count)).normal(*loaded.model.space)))
    write(path, grid(torch.cat(rows), columns=count, smallest=56), {"model": loaded.name, "of": "held-out images"})


def continued(run: Path, path: Path, count: int = 2) -> None:
    """Held-out clips, and below each what is made of its first half; every other frame."""
    loaded = load(run)
    data = Dataset(open_source(loaded.data["source"], "test"), View.parse(loaded.data["view"]))
    clips = Loader(data, count, augment=False).batch_at(0).image
    known = clips.shape[1] // 2
    with torch.no_grad(), loaded.precision.autocast(loaded.model.device):
        made = loaded.model.predict(clips[:, :known], clips.shape[1] - known, Rng(range(count))).float()
    rows = torch.stack([clips, torch.cat([clips[:, :known], made], 1)], 1)[:, :, ::2]  # (count, 2, F / 2, C, H, W)
    write(path, grid(rows.flatten(0, 2), columns=rows.shape[2]), {"model": loaded.name, "known": known})


def stacked(pictures: list[np.ndarray]) -> torch.Tensor:
    """uint8 pictures (H, W, 3) to (N, 3, H, W) in [-1, 1]."""
    return from_uint8(torch.from_numpy(np.stack(pictures))).permute(0, 3, 1, 2)


def enlarged(paintings: Path, runs: Path | None, path: Path) -> None:
    """A detail four times larger: bicubic, the model that ships, SRGAN where there is a run, and the detail itself."""
    name, x, y, side = DETAIL
    truth = opened(str(paintings / f"{name}.jpg"))[y : y + side, x : x + side]
    small = to_pil(resize(as_rgb(truth), side // 4, side // 4).clamp(-1, 1)[0])
    pixels = np.asarray(small)
    made = [enlarge(pixels, 4, "bicubic"), upscale(load("upscaler"), pixels, 4)]
    if runs and (runs / "srgan").is_dir():
        made.append(upscale(load(runs / "srgan"), pixels, 4))
    write(path, grid(stacked([*made, truth]), columns=len(made) + 1), {"of": name, "scale": 4})


def translated(run: Path, path: Path, count: int = 8) -> None:
    """Rows in threes: scenes, as translated, as they are in the other look; first by day, then by night."""
    loaded, rows = load(run), []
    for looks, to in ((("day", "night"), "b"), (("night", "day"), "a")):
        there, back = (ScenesSource(32, count, 9, look=look) for look in looks)
        pictures = [there.read(i).image for i in range(count)]
        rows += [pictures, [translate(loaded, p, to) for p in pictures], [back.read(i).image for i in range(count)]]
    images = stacked([p for row in rows for p in row])
    write(path, grid(images, columns=count, smallest=96), {"model": loaded.name, "seed": 9})


def painted(paintings: Path, path: Path, side: int = 144) -> None:
    """A scene, and above four paintings what each makes of it."""
    photo = as_rgb(render(sample(2, 27, side, Settings(holdout=False), "all"), side))
    seer, columns = perceptual("own"), []
    for name in PAINTINGS:
        painting = as_rgb(opened(str(paintings / f"{name}.jpg")))
        made, _ = transfer(seer, photo, painting, StyleOptions())
        short = min(painting.shape[-2:])
        square = resize(painting[..., :short, :short], side, side).clamp(-1, 1)
        columns.append(torch.cat([made, square], dim=2))  # (1, 3, 2 side, side)
    first = torch.cat([photo, torch.ones_like(photo)], dim=2)
    write(path, grid(torch.cat([first, *columns]), columns=len(columns) + 1), {"styles": ", ".join(PAINTINGS)})


def write(path: Path, picture: Image.Image, facts: dict) -> None:
    save_png(path, picture, facts)
    size = path.stat().st_size
    print(f"wrote {path}: {picture.width} x {picture.height}, {size // 1000} kB")
    if size > MOST:
        raise SystemExit(f"{path} is larger than {MOST // 1000} kB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder with the runs")
    parser.add_argument("--paintings", type=Path, help="folder with paintings, as DIR/vg_starry_night.jpg")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    scenes(args.out / "scenes.png")
    drawn(args.out / "text.png")
    for name in RUNS if args.runs else ():
        if (run := args.runs / name).is_dir():
            samples(run, args.out / f"{name}.png")
        else:
            print(f"no {run}: {name}.png is left as it is")
    for name, show in {"vqvae": coded, "autoencoder": coded, "sequence": continued}.items() if args.runs else ():
        if (run := args.runs / name).is_dir():
            show(run, args.out / f"{name}.png")
    if args.runs and (student := args.runs / "few").is_dir():
        few_steps(args.runs / RUNS[0], student, args.out / "few.png")
    if args.runs and (night := args.runs / "night").is_dir():
        translated(night, args.out / "translation.png")
    if args.paintings:
        enlarged(args.paintings, args.runs, args.out / "upscale.png")
        painted(args.paintings, args.out / "style.png")
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
