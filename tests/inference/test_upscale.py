import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.diffusion.guidance import windows
from inkwash.inference.interpolation import METHODS
from inkwash.inference.load import load
from inkwash.inference.tiles import by_tiles
from inkwash.inference.upscale import covered, enlarge, upscale
from inkwash.training.run import train
from tiny import pictures, run_config, stir_, write_folder, write_npz


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    root = tmp_path_factory.mktemp("up")
    config = run_config("upscaler", write_npz(root / "a.npz", shape=(3, 16, 16), classes=0), steps=2, batch=4)
    model = load(train(config, root / "run", quiet=True), precision="fp32")
    stir_(model.model, 0.05)
    return model


def test_tiles_cover_a_side():
    for length, tile, shared in ((10, 10, 4), (11, 10, 4), (100, 30, 10), (57, 20, 19)):
        found = windows(length, tile, shared)
        assert found[0] == 0 and found[-1] == max(0, length - tile)
        assert all(b - a <= tile - shared for a, b in zip(found, found[1:]))


@pytest.mark.parametrize("size", [(70, 90), (200, 33), (5, 7)])
def test_tiles_give_what_the_whole_gives(loaded, size):
    """Every pixel that a network looks at lies in the margin, so no seam can be seen; edges of the picture included."""
    pixels = pictures(1, (3, *size), seed=3)[0]
    model = loaded.model
    f = lambda x: model.translate(x, "large").detach()  # noqa: E731
    whole = by_tiles(f, pixels, 4, 1000, model.reach)
    for tile in (24, 31):
        parts = by_tiles(f, pixels, 4, tile, model.reach)
        assert parts.shape == (4 * size[0], 4 * size[1], 3)
        assert np.abs(parts.astype(int) - whole).max() <= 1, "rounding"


def test_pieces_without_a_margin_blend():
    pixels = pictures(1, (3, 150, 130), seed=3)[0]
    same = by_tiles(lambda x: x, pixels, 1, 48, None)
    assert np.array_equal(same, pixels)
    count = []
    shifted = by_tiles(lambda x: x + 0.1 * len(count.append(1) or count), np.full((150, 130, 3), 60, np.uint8), 1, 48, None)
    steps = np.abs(np.diff(shifted.astype(int), axis=1)).max(), np.abs(np.diff(shifted.astype(int), axis=0)).max()
    assert max(steps) < 20, "pieces of another brightness change into each other"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_are_kept(loaded, channels):
    pixels = pictures(1, (channels, 12, 10), seed=1)[0]
    for method in METHODS:
        assert enlarge(pixels, 3, method).shape == (36, 30, channels)
    for scale in (4, 2, 5):
        assert upscale(loaded, pixels, scale).shape == (12 * scale, 10 * scale, channels)


def test_hidden_colours_do_not_bleed(loaded):
    pixels = np.zeros((9, 8, 4), np.uint8)
    pixels[:, :4] = (200, 100, 50, 255)
    pixels[:, 4:] = (0, 255, 0, 0)  # green that nobody sees
    made = enlarge(pixels, 4, "bicubic")
    seen = made[made[..., 3] > 8]
    assert np.abs(seen[:, :3].astype(int) - (200, 100, 50)).max() <= 2
    assert (covered(pixels) == (200, 100, 50)).all(), "nor does a network look at it"
    other = pixels.copy()
    other[:, 4:, :3] = (9, 9, 200)
    assert np.array_equal(upscale(loaded, pixels), upscale(loaded, other))
    assert (covered(np.zeros((3, 5, 4), np.uint8)) == 0).all()


def test_what_cannot_be_done_is_said(loaded, tmp_path):
    config = run_config("gan", write_npz(tmp_path / "a.npz"), steps=1)
    other = load(train(config, tmp_path / "gan", quiet=True), precision="fp32")
    with pytest.raises(ConfigError, match="does not make pictures larger"):
        upscale(other, pictures(1)[0])
    with pytest.raises(ConfigError, match="megapixels"):
        upscale(loaded, np.zeros((3000, 3000, 3), np.uint8), 16)


def test_a_photograph_of_any_size_trains_by_cuts(tmp_path):
    folder = write_folder(tmp_path / "a", 6, (40, 30), classes=())
    Image.fromarray(pictures(1, (3, 50, 20))[0]).save(tmp_path / "a" / "tall.png")
    config = run_config(
        "upscaler", folder, {"size": (16, 16), "fit": "window", "random_crop": True, "flip": True, "turn": True}, steps=2, batch=4
    )
    run = train(config, tmp_path / "run", quiet=True)
    assert load(run).model.translate(torch.zeros(1, 3, 5, 6), "large").shape == (1, 3, 20, 24)
