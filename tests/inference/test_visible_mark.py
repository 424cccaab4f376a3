"""The visible mark: high enough by measure, legible on any ground, nowhere but in its corner."""

import numpy as np
import pytest
from PIL import Image

from inkwash.inference.provenance.mark import GLYPHS, letters, marked
from inkwash.inference.provenance.write import Provenance, encode

SIZES = [(64, 64), (256, 256), (1000, 400), (400, 1000), (32, 48), (777, 333), (2000, 2000)]


def ink(size: tuple[int, int], ground: int) -> np.ndarray:
    """Where the letters are white on a ground of one grey: (H, W)."""
    return np.asarray(marked(Image.new("L", size, ground))) > 140


def runs(lines: np.ndarray) -> list[tuple[int, int]]:
    """Beginnings and ends of stretches of True."""
    steps = np.flatnonzero(np.diff(np.concatenate([[0], lines.astype(int), [0]])))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist()))


@pytest.mark.parametrize("size", SIZES)
def test_every_letter_is_at_least_five_percent_of_the_short_side_high(size):
    white = ink(size, 60)
    letters_ = runs(white.any(0))
    assert len(letters_) == len(GLYPHS) == 4, "A, I, 生 and 成 stand apart"
    for start, end in letters_:
        rows = np.flatnonzero(white[:, start:end].any(1))
        assert rows[-1] - rows[0] + 1 >= 0.05 * min(size), "of its own ink, not of a font's size"


@pytest.mark.parametrize("size", SIZES)
def test_it_is_in_a_corner_and_changes_nothing_else(size):
    plain = Image.effect_noise(size, 90).convert("RGB")
    changed = (np.asarray(marked(plain)) != np.asarray(plain)).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert rows[0] > 0.6 * size[1] and columns[-1] - columns[0] < 5 * (rows[-1] - rows[0])
    if min(size) >= 256:
        assert columns[0] > 0.6 * size[0] and rows[-1] < size[1] - 1


@pytest.mark.parametrize("ground", [0, 60, 128, 200, 255])
def test_light_and_dark_are_beside_each_other_on_any_ground(ground):
    near, white = np.asarray(marked(Image.new("L", (256, 256), ground))), ink((256, 256), 60)
    assert white.sum() > 100 and near[white].min() > 120
    around = np.zeros_like(white)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        for far in (1, 2, 3):
            around |= np.roll(near < 110, (far * dy, far * dx), (0, 1))
    assert (white & around).sum() > 0.95 * white.sum(), "the rim is within three pixels of the white"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_it_is_there_in_every_mode_and_not_transparent(mode):
    clear = Image.new(mode, (128, 128))
    out = marked(clear)
    assert out.mode == mode and clear.getbbox() is None and out.getbbox() is not None
    if mode == "RGBA":
        alpha = np.asarray(out)[..., 3]
        assert alpha.max() == 255 and (alpha[:64] == 0).all()


def test_any_size_is_served():
    for size in ((1, 1), (2, 9), (8, 8), (20, 1000), (1000, 20), (5000, 300)):
        assert marked(Image.new("RGB", size)).size == size
    assert letters(300).height < 400 and np.asarray(letters(12)).max() == 255


def test_the_same_picture_gets_the_same_mark_and_only_where_it_is_asked_for():
    plain, wish = Image.effect_noise((96, 96), 40).convert("RGB"), Provenance(visible=True)
    assert encode(plain, None, "png", wish) == encode(plain, None, "png", wish) != encode(plain, None, "png")
