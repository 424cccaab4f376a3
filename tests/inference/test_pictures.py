import json

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inkwash import __version__
from inkwash.core.errors import DataError, FileError
from inkwash.core.pixels import from_uint8
from inkwash.inference.pictures import from_picture, grid, read_facts, save_picture, save_png, to_pil

FACTS = {"seed": 7, "class": '猫, "Katze"', "model": "水墨 run", "steps": 20, "guidance": 1.5, "clamp": True, "nothing": None}


def image(c: int = 3, h: int = 5, w: int = 7) -> torch.Tensor:
    return from_uint8(torch.randint(0, 256, (c, h, w), dtype=torch.uint8))


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_picture_on_disk_is_the_tensor(channels, mode, tmp_path):
    x = image(channels)
    save_png(tmp_path / "a.png", x)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == mode and picture.size == (7, 5)
        assert torch.equal(from_picture(picture), x)
    assert torch.equal(from_picture(to_pil(x)), x)
    assert read_facts(tmp_path / "a.png") is None


def test_facts_go_round_in_any_language(tmp_path):
    save_png(tmp_path / "a.png", image(), FACTS)
    assert read_facts(tmp_path / "a.png") == FACTS
    with Image.open(tmp_path / "a.png") as picture:
        text = picture.text["parameters"]
    assert text == f'猫, "Katze"\nSteps: 20, CFG scale: 1.5, Seed: 7, Model: 水墨 run, Clamp: True, Version: Inkwash {__version__}'
    assert set(Image.open(tmp_path / "a.png").text) == {"parameters", "inkwash", "XML:com.adobe.xmp"}


@pytest.mark.parametrize("name, kind", [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a", "PNG")])
def test_a_name_says_the_format(name, kind, tmp_path):
    save_picture(tmp_path / name, image(3, 8, 8), FACTS)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind
    assert read_facts(tmp_path / name) == FACTS


def test_foreign_pictures(tmp_path):
    def write(name, **chunks):
        info = PngInfo()
        for key, value in chunks.items():
            info.add_itxt(key, value)
        Image.new("L", (2, 2)).save(tmp_path / name, pnginfo=info)
        return tmp_path / name

    assert read_facts(write("a.png", parameters="a dog\nSteps: 3")) == {"parameters": "a dog\nSteps: 3"}
    assert read_facts(write("b.png", Software="gimp")) is None
    assert read_facts(write("c.png", inkwash="[1, 2]")) is None, "someone else's chunk of that name"
    with pytest.raises(DataError, match="is not a picture that can be read"):
        read_facts(write("d.png", inkwash="{"))
    Image.new("RGB", (2, 2)).save(tmp_path / "e.jpg")
    assert read_facts(tmp_path / "e.jpg") is None


def test_what_is_not_a_picture_is_one_sentence(tmp_path):
    whole = tmp_path / "a.png"
    save_png(whole, image(3, 40, 40), FACTS)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:-900])
    for name, data in {"text.png": b"hello", "empty.png": b"", "head.png": whole.read_bytes()[:20]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="is not a picture that can be read") as caught:
            read_facts(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="is not a picture that can be read"):
        read_facts(cut)
    with pytest.raises(FileError, match="Cannot write"):
        save_png(tmp_path / "no" / "a.png", image())


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("n, columns, wide, high", [(1, None, 1, 1), (5, None, 3, 2), (9, None, 3, 3), (4, 10, 4, 1), (7, 2, 2, 4)])
def test_a_grid_holds_every_image_in_order(n, columns, wide, high, channels):
    images = torch.stack([from_uint8(torch.full((channels, 4, 6), 10 * i + 5, dtype=torch.uint8)) for i in range(n)])
    picture = grid(images, columns, gap=2, smallest=8)
    assert picture.size == (wide * (12 + 2) + 2, high * (8 + 2) + 2), "enlarged by a whole factor, with gaps"
    pixels = np.asarray(picture).reshape(picture.size[1], picture.size[0], -1)
    for i in range(n):
        y, x = 2 + i // wide * 10, 2 + i % wide * 14
        assert (pixels[y : y + 8, x : x + 12] == 10 * i + 5).all()
    assert (pixels[:2] == (0 if channels == 4 else 255)).all() and (pixels[:, -2:] == (0 if channels == 4 else 255)).all()


def test_a_grid_is_not_enlarged_beyond_need_and_keeps_pixels():
    assert grid(torch.zeros(4, 3, 64, 80)).size == (2 * 82 + 2, 2 * 66 + 2)
    x = image(3, 8, 8)
    tile = np.asarray(grid(x[None], smallest=16, gap=0))
    assert np.array_equal(tile, np.asarray(to_pil(x)).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_labels_are_written_below(channels):
    images = -torch.ones(2, channels, 32, 32)
    plain, named = grid(images), grid(images, labels=["cat", "水墨 and a very long name indeed"])
    assert named.size[0] == plain.size[0] and named.size[1] > plain.size[1]
    band = np.asarray(named)[-16:]
    assert len(np.unique(band)) > 2, "ink on paper"


def test_facts_are_json_that_others_can_read(tmp_path):
    save_png(tmp_path / "a.png", image(), FACTS)
    assert json.loads(Image.open(tmp_path / "a.png").text["inkwash"]) == FACTS
