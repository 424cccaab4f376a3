"""Writes measured figures into the pages. docs/figures.json is the one place where they live:

    {"demo.seconds": {"value": 412, "unit": "s", "what": "the command and the conditions"}, ...}

    python tools/fill_figures.py [--check]

In a page, what stands between `<!-- fig:KEY -->`, `<!-- table:NAME -->` or `<!-- picture:NAME alt text -->` and its closing marker,
`<!-- /fig -->` and so on, is replaced. A missing figure reads "not measured yet"; a row without any figure and a picture that does
not exist are left out. --check changes nothing and exits with 1 where a page is behind.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MISSING = {"en": "not measured yet", "zh": "尚未测量"}
OPERATORS = (
    "convolution_backward",
    "mkldnn_convolution",
    "bmm",
    "mm",
    "addmm",
    "copy_",
    "native_group_norm",
    "native_group_norm_backward",
    "hardswish",
    "hardswish_backward",
    "addcmul",
    "mul",
    "add",
    "add_",
    "pixel_unshuffle",
)
SOLVERS = ("ddim", "ddpm", "heun", "dpmpp-2m", "dpmpp-2m-sde", "unipc")
SAMPLERS = ((14, 0.9, 1.4), (14, 0.9, 1), (14, 0.5, 1.4), (14, 0, 1), (20, 0.9, 1.4), (20, 0, 1), (50, 0, 1))
MARKER = re.compile(r"(<!-- (fig|table|picture):(\S+)([^>]*?) -->)(.*?)(<!-- /\2 -->)", re.DOTALL)

# A table: the heads of its first column and of the others with the ends of their keys; its rows with the beginnings of theirs.
TABLES = {
    "fashion": (
        {"en": "Fashion-MNIST, 10 minutes each", "zh": "Fashion-MNIST，各训练 10 分钟"},
        {
            "fd": {"en": "FD", "zh": "FD"},
            "kid": {"en": "KID", "zh": "KID"},
            "precision": {"en": "precision", "zh": "精确率"},
            "recall": {"en": "recall", "zh": "召回率"},
            "coverage": {"en": "coverage", "zh": "覆盖率"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
            "seconds_per_image": {"en": "sampling, s/image", "zh": "采样，秒/张"},
        },
        {
            "fashion.floor": {"en": "held-out real images (floor)", "zh": "留出的真实图像（下限）"},
            "fashion.diffusion": {"en": "`diffusion`", "zh": "`diffusion`"},
            "fashion.gan": {"en": "`gan`", "zh": "`gan`"},
            "fashion.vae": {"en": "`vae`", "zh": "`vae`"},
            "fashion.laptop": {"en": "`diffusion`, AVX2 only, fp32, batches of 64", "zh": "`diffusion`，仅用 AVX2，fp32，批大小 64"},
        },
    ),
    "peers": (
        {"en": "10 minutes of one sitting, FD", "zh": "同一次测量中的 10 分钟，FD"},
        {
            "fd": {"en": "our extractor", "zh": "我们的特征网络"},
            "squeeze": {"en": "SqueezeNet", "zh": "SqueezeNet"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
        },
        {
            "peers.inkwash": {"en": "`inkwash train diffusion`", "zh": "`inkwash train diffusion`"},
            "peers.three": {"en": "the same after 3 minutes", "zh": "同上，训练 3 分钟"},
            "peers.hour": {"en": "the same after 60 minutes, `train.compile=true`", "zh": "同上，训练 60 分钟，`train.compile=true`"},
            "peers.hour24": {"en": "that run sampled with `--steps 24`", "zh": "该次训练，用 `--steps 24` 采样"},
            "peers.first": {"en": "its first recipe, a usual U-Net", "zh": "它最初的配方，常见的 U-Net"},
            "peers.diffusers": {"en": "diffusers' `UNet2DModel`", "zh": "diffusers 的 `UNet2DModel`"},
        },
    ),
    "cifar": (
        {"en": "CIFAR-10 (JPEG), 60 minutes", "zh": "CIFAR-10（JPEG），60 分钟"},
        {
            "fd": {"en": "FD", "zh": "FD"},
            "squeeze": {"en": "SqueezeNet", "zh": "SqueezeNet"},
            "bound": {"en": "bits/dim (bound)", "zh": "bits/dim（变分界）"},
            "density": {"en": "bits/dim, density", "zh": "bits/dim，密度"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
        },
        {
            "cifar.floor": {"en": "held-out real images (floor)", "zh": "留出的真实图像（下限）"},
            "cifar.hour": {"en": "`inkwash train diffusion`", "zh": "`inkwash train diffusion`"},
        },
    ),
    "train_step": (
        {"en": "training step, images/s", "zh": "训练步，张/秒"},
        {
            "inkwash": {"en": "Inkwash", "zh": "Inkwash"},
            "diffusers_fp32": {"en": "diffusers, fp32", "zh": "diffusers，fp32"},
            "diffusers_bf16": {"en": "diffusers, bf16", "zh": "diffusers，bf16"},
            "ratio_fp32": {"en": "times its fp32", "zh": "对其 fp32 的倍数"},
            "ratio_bf16": {"en": "times its bf16", "zh": "对其 bf16 的倍数"},
        },
        {
            "train_step.server": {"en": "server (AMX)", "zh": "服务器（AMX）"},
            "train_step.laptop": {"en": "laptop (AVX2 only)", "zh": "笔记本（仅 AVX2）"},
        },
    ),
    "profile": (
        {"en": "operator, ms", "zh": "算子，毫秒"},
        {
            "server_train": {"en": "training, server", "zh": "训练，服务器"},
            "laptop_train": {"en": "training, laptop", "zh": "训练，笔记本"},
            "server_sample": {"en": "sampling, server", "zh": "采样，服务器"},
            "laptop_sample": {"en": "sampling, laptop", "zh": "采样，笔记本"},
        },
        {
            "profile.step": {"en": "the whole step", "zh": "整个一步"},
            **{f"profile.{name}": {"en": f"`{name}`", "zh": f"`{name}`"} for name in OPERATORS},
        },
    ),
    "few": (
        {"en": "FD, 2,500 images", "zh": "FD，2,500 张图像"},
        {
            "fd1": {"en": "1 evaluation", "zh": "1 次求值"},
            "fd2": {"en": "2", "zh": "2"},
            "fd4": {"en": "4", "zh": "4"},
            "fd8": {"en": "8", "zh": "8"},
            "fd50": {"en": "50", "zh": "50"},
        },
        {
            "few.teacher": {"en": "teacher, `dpmpp-2m`", "zh": "老师，`dpmpp-2m`"},
            "few.student": {"en": "student", "zh": "学生"},
        },
    ),
    "solvers": (
        {"en": "FD, 2,500 images", "zh": "FD，2,500 张图像"},
        {
            "fd5": {"en": "5 evaluations", "zh": "5 次求值"},
            "fd10": {"en": "10", "zh": "10"},
            "fd14": {"en": "14", "zh": "14"},
            "fd20": {"en": "20", "zh": "20"},
            "fd50": {"en": "50", "zh": "50"},
            "fd1000": {"en": "1000", "zh": "1000"},
        },
        {
            "solvers.default": {"en": "default", "zh": "默认"},
            "solvers.plain": {"en": "`dpmpp-2m`, `eta=0`, `overshoot=1`", "zh": "`dpmpp-2m`，`eta=0`，`overshoot=1`"},
            **{f"solvers.{name}": {"en": f"`{name}`", "zh": f"`{name}`"} for name in SOLVERS},
        },
    ),
    "sampler": (
        {"en": "`dpmpp-2m`, 2,500 images", "zh": "`dpmpp-2m`，2,500 张图像"},
        {"fd": {"en": "FD", "zh": "FD"}, "squeeze": {"en": "SqueezeNet", "zh": "SqueezeNet"}},
        {
            f"sampler.steps{steps}_eta{eta}_overshoot{overshoot}": {
                "en": f"{steps} steps, `eta={eta}`, `overshoot={overshoot}`",
                "zh": f"{steps} 步，`eta={eta}`，`overshoot={overshoot}`",
            }
            for steps, eta, overshoot in SAMPLERS
        },
    ),
    "parse": (
        {"en": "objects right", "zh": "读对的物体"},
        {
            "clean": {"en": "clean", "zh": "原图"},
            "noise": {"en": "noise 8/255", "zh": "噪声 8/255"},
            "jpeg": {"en": "JPEG 75", "zh": "JPEG 75"},
            "blur": {"en": "blur of 1 pixel", "zh": "1 像素模糊"},
            "photos": {"en": "photographs called unreadable", "zh": "照片判为不可读"},
        },
        {
            "scenes.parse.32": {"en": "32 pixels", "zh": "32 像素"},
            "scenes.parse.64": {"en": "64 pixels", "zh": "64 像素"},
        },
    ),
    "order": (
        {"en": "observed order", "zh": "实测阶数"},
        {"order": {"en": "order", "zh": "阶"}},
        {
            "solvers.ddim": {"en": "`ddim`", "zh": "`ddim`"},
            "solvers.heun": {"en": "`heun`", "zh": "`heun`"},
            "solvers.dpmpp-2m": {"en": "`dpmpp-2m`", "zh": "`dpmpp-2m`"},
        },
    ),
}  # fmt: skip


def language(page: Path) -> str:
    return "zh" if page.parent.name == "zh" or page.name.endswith(".zh.md") else "en"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*/*.md"))]


def read() -> dict[str, dict]:
    path = ROOT / "docs" / "figures.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def shown(figure: dict) -> str:
    """A value as it is read: at most four digits that count, a percent sign where that is the unit."""
    value = figure["value"]
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text + ("%" if figure.get("unit") == "%" else "")


def table(name: str, figures: dict[str, dict], tongue: str) -> str:
    """A table in Markdown, without the rows and columns that hold nothing."""
    title, columns, rows = TABLES[name]
    have = {r: {c: shown(figures[f"{r}.{c}"]) for c in columns if f"{r}.{c}" in figures} for r in rows}
    rows = {r: words for r, words in rows.items() if have[r]}
    columns = {c: words for c, words in columns.items() if any(c in have[r] for r in rows)}
    if not rows:
        return f"\n*{MISSING[tongue]}*\n"
    lines = [[title[tongue], *(words[tongue] for words in columns.values())], ["---", *("---:" for _ in columns)]]
    lines += [[words[tongue], *(have[r].get(c, "–") for c in columns)] for r, words in rows.items()]
    return "\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n\n"


def picture(name: str, alt: str, page: Path) -> str:
    path = ROOT / "docs" / "pictures" / f"{name}.png"
    if not path.is_file():
        return ""
    place = f"docs/pictures/{name}.png" if page.parent == ROOT else f"../pictures/{name}.png"
    return f"\n![{alt.strip()}]({place})\n"


def filled(page: Path, figures: dict[str, dict]) -> str:
    """The page's text with every marker up to date. Raises KeyError for a table that does not exist."""
    tongue = language(page)

    def value(match: re.Match) -> str:
        head, kind, name, alt, _, tail = match.groups()
        if kind == "fig":
            inside = shown(figures[name]) if name in figures else MISSING[tongue]
        else:
            inside = table(name, figures, tongue) if kind == "table" else picture(name, alt, page)
        return head + inside + tail

    return MARKER.sub(value, page.read_text(encoding="utf-8"))


def main() -> None:
    figures, behind = read(), []
    for page in pages():
        text = filled(page, figures)
        if text != page.read_text(encoding="utf-8"):
            behind.append(page)
            if "--check" not in sys.argv:
                page.write_text(text, encoding="utf-8")
    verb = "behind" if "--check" in sys.argv else "wrote"
    print("\n".join(f"{verb}: {p.relative_to(ROOT)}" for p in behind) or "every page is up to date")
    sys.exit(1 if behind and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
