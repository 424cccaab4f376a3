"""Models inside the package: small, described, and found by name where no run has that name."""

import numpy as np
import pytest
import torch

from inkwash.core.files import CARD, WEIGHTS
from inkwash.core.model import Translator
from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.inference.draw import image_rng
from inkwash.inference.load import bundled, load, model_folder
from inkwash.inference.upscale import enlarge, upscale
from inkwash.metrics.paired import psnr
from inkwash.nn.degrade import small

MOST, ALL = 14 << 20, 32 << 20  # bytes of weights of one (scenes-64 is two models, an eye and a sketch), and of all that ships
DRAWN = 25_000_000  # of the two that draw what is written, with all that they need


def test_there_is_one_to_enlarge_with():
    assert "upscaler" in bundled()


@pytest.mark.parametrize("name", bundled())
def test_bundled_models_are_small_described_and_load(name):
    place = bundled()[name]
    assert (place / WEIGHTS).stat().st_size <= MOST
    card = (place / CARD).read_text(encoding="utf-8")
    assert all(f"## {part}" in card for part in ("Data", "Training", "Figures", "Licence")) and card.startswith("# ")
    loaded = load(name, device="cpu", precision="fp32")
    assert loaded.name == name and all(p.dtype == torch.float32 and p.isfinite().all() for p in loaded.model.parameters())


def test_all_of_them_are_small_together():
    size = {name: sum(f.stat().st_size for f in place.rglob("*") if f.is_file()) for name, place in bundled().items()}
    assert size["scenes-64"] + size["emoji-64"] <= DRAWN and sum(size.values()) <= ALL


@pytest.mark.parametrize("prompt", ["a red circle above a blue square", "一个蓝色方块在一个红色圆形下方"])
def test_things_are_laid_out_as_the_prompt_says(prompt):
    loaded = load("scenes-64", device="cpu", precision="fp32")
    assert loaded.reader is None and loaded.judge_name == "caption-scenes"
    layouts = loaded.model.plan.arrange(image_rng(range(8)), loaded.tokens([prompt]).expand(8, -1))
    named = [{" ".join(box.name.split()[1:]): box for box in row} for row in layouts]
    assert all(row.keys() == {"red circle", "blue square"} for row in named)
    assert sum(row["red circle"].y < row["blue square"].y for row in named) >= 7


def test_things_that_no_scene_of_training_had_are_laid_out_too():
    """A red circle is one of the pairs that are held out: a layout that has learnt its scenes by heart writes a red square."""
    loaded = load("scenes-64", device="cpu", precision="fp32")
    prompts = [f"一个{colour}方块在一个红色圆形下方" for colour in ("蓝色", "黄色", "绿色", "紫色")]
    layouts = loaded.model.plan.arrange(image_rng(range(4)), loaded.tokens(prompts))
    named = [sorted(box.name.split(maxsplit=1)[1] for box in row) for row in layouts]
    assert named == [sorted(["red circle", f"{colour} square"]) for colour in ("blue", "yellow", "green", "purple")]


def test_a_folder_of_that_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "upscaler").mkdir()
    (tmp_path / "upscaler" / "config.json").write_text("{}", encoding="utf-8")
    assert model_folder("upscaler").resolve() == tmp_path / "upscaler"


def test_the_upscaler_beats_interpolation():
    """Edges of blobs at a quarter of the size: what the network was trained on looks otherwise, and still it helps."""
    loaded = load("upscaler", device="cpu", precision="fp32")
    assert isinstance(loaded.model, Translator) and loaded.model.scale == 4
    large = edges(96)
    tiny = to_uint8(small(image(large), 4))[0].permute(1, 2, 0).numpy()
    learnt, cubic = (psnr(image(made), image(large)).item() for made in (upscale(loaded, tiny), enlarge(tiny, 4, "bicubic")))
    assert learnt > cubic + 1


def edges(side: int) -> np.ndarray:
    """Discs and bars with smooth edges, uint8 (side, side, 3)."""
    y, x = np.mgrid[:side, :side] / side
    disc = 1 / (1 + np.exp(120 * (np.hypot(x - 0.4, y - 0.5) - 0.25)))
    bar = 1 / (1 + np.exp(-120 * (x + 0.5 * y - 0.9)))
    return (255 * np.stack([disc, bar, 0.5 * disc + 0.5 * bar], -1)).astype(np.uint8)


def image(pixels: np.ndarray) -> torch.Tensor:
    """(1, C, H, W) in [-1, 1]."""
    return from_uint8(torch.from_numpy(pixels.copy())).permute(2, 0, 1)[None]
