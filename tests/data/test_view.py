import json

import numpy as np
import pytest
import torch

from inkwash.core.errors import ConfigError, DataError
from inkwash.data import Record, Source, View, facts


class Listed(Source):
    """Images in a list; an error in the list is raised."""

    name, split = "listed", "all"

    def __init__(self, images, labels=None, text=None, classes=()):
        self.images, self.known, self.words, self.classes = list(images), labels, text, tuple(classes)

    def __len__(self):
        return len(self.images)

    def read(self, i):
        if isinstance(self.images[i], Exception):
            raise self.images[i]
        label = None if self.known is None else self.known[i]
        return Record(self.images[i], label, () if self.words is None else self.words[i], f"image {i}")

    def fingerprint(self):
        return str(len(self.images))


def blank(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def ramp(height: int, width: int) -> np.ndarray:
    return np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))[..., None]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([blank(28, 28, 1)] * 5, (1, 28, 28)),
        ([blank(28, 28, 3)] * 5, (3, 28, 28)),
        ([blank(30, 50, 3)] * 4 + [blank(30, 50, 1)], (3, 30, 50)),
        ([blank(72, 72, 4)] * 3, (3, 72, 72)),
        ([blank(30, 50, 3), blank(31, 50, 3), blank(32, 64, 3)], (3, 64, 64)),
        ([blank(32, 32, 1)] * 19 + [blank(8, 8, 1)], (1, 32, 32)),
        ([blank(32, 32, 1)] * 8 + [blank(8, 8, 1)] * 2, (1, 64, 64)),
    ],
)
def test_facts_adapt_to_the_data(images, expected):
    found = facts(Listed(images))
    assert (found.channels, found.height, found.width) == expected
    assert bool(found.note) == (len({i.shape[:2] for i in images}) > 1)


def test_facts_follow_the_view():
    found = facts(Listed([blank(9, 9, 3)] * 3, text=[(), ("a",), ()]), View(size=(16, 24), channels=4))
    assert (found.channels, found.height, found.width, found.captions, found.count) == (4, 16, 24, True, 3)


def test_facts_of_clips_and_of_nothing_readable():
    assert facts(Listed([blank(5, 8, 8, 3)] * 2)).frames == 5
    with pytest.raises(DataError, match="different lengths"):
        facts(Listed([blank(5, 8, 8, 3), blank(4, 8, 8, 3)]))
    with pytest.raises(DataError, match=r"a\.png is broken"):
        facts(Listed([DataError("a.png is broken.")] * 3))
    assert facts(Listed([DataError("a.png is broken."), blank(8, 8, 1)])).height == 8


def test_a_few_captions_among_many_pictures_are_seen_and_an_image_is_not_decoded_for_them(monkeypatch):
    class Told(Listed):
        def shape(self, i):
            return (8, 8, 3)

        def text(self, i):
            return self.words[i]

    images, texts = [blank(8, 8, 3)] * 300, [()] * 300
    texts[151] = ("a dot",)
    source, read = Told(images, text=texts), []
    monkeypatch.setattr(source, "read", lambda i: read.append(i) or Listed.read(source, i))
    assert facts(source).captions and 151 not in read and len(read) <= 8
    assert not facts(Told(images, text=[()] * 300)).captions


def test_an_image_of_the_right_size_is_untouched():
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    for fit in ("crop", "pad", "stretch", "window"):
        np.testing.assert_array_equal(View(size=(13, 17), channels=3, fit=fit).prepare(image), image.transpose(2, 0, 1))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch", "window"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", [(40, 20, 3), (7, 90, 4), (16, 24, 1), (1, 1, 3), (8, 50, 1), (20, 25, 4)])
def test_every_fit_gives_the_size_asked(fit, channels, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    out = View(size=(16, 24), channels=channels, fit=fit).prepare(image)
    assert (out.shape, out.dtype) == ((channels, 16, 24), np.uint8)


def test_crop_keeps_the_centre_and_stretch_keeps_everything():
    wide = ramp(20, 60)
    crop = View(size=10, channels=1, fit="crop").prepare(wide)[0, 5].astype(int)
    stretch = View(size=10, channels=1, fit="stretch").prepare(wide)[0, 5].astype(int)
    assert crop.min() > 85 and crop.max() < 170  # the middle third of 0..255
    assert stretch.min() < 20 and stretch.max() > 235


def test_pad_fills_with_the_background():
    out = View(size=12, channels=3, fit="pad", background="red").prepare(np.full((10, 20, 3), 7, np.uint8))
    assert out[:, 0, 0].tolist() == [255, 0, 0] and out[:, 6, 6].tolist() == [7, 7, 7]
    assert (out[1] == 7).sum() == 6 * 12
    clear = View(size=12, channels=4, fit="pad").prepare(np.full((10, 20, 3), 7, np.uint8))
    assert clear[:, 0, 0].tolist() == [255, 255, 255, 0] and clear[:, 6, 6].tolist() == [7, 7, 7, 255]


def test_window_does_not_resize():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(View(size=10, channels=3, fit="window").prepare(image), image[5:15, 10:20].transpose(2, 0, 1))


def test_shrinking_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    out = View(size=16, channels=1).prepare(stripes)
    np.testing.assert_allclose(out[0, :, 2:-2].astype(int), 127, atol=3)


def test_alpha_is_premultiplied_when_resized():
    image = blank(32, 32, 4)
    image[:, :16] = (255, 0, 0, 255)
    image[:, 16:] = (0, 255, 0, 0)  # green that nobody sees
    out = View(size=8, channels=4).prepare(image)
    assert out[1][out[3] > 0].max() == 0
    assert out[:3, 0, 7].tolist() == [255, 255, 255] and out[3, 0, 7] == 0


def test_rgba_over_a_background_or_as_four_channels():
    image = np.full((4, 4, 4), (10, 20, 30, 0), np.uint8)
    assert View(size=4, channels=3).prepare(image)[:, 0, 0].tolist() == [255, 255, 255]
    assert View(size=4, channels=3, background=(1, 2, 3)).prepare(image)[:, 0, 0].tolist() == [1, 2, 3]
    assert View(size=4, channels=1, background="black").prepare(image).max() == 0
    image[..., 3] = 128
    assert View(size=4, channels=4).prepare(image)[:, 0, 0].tolist() == [10, 20, 30, 128]


def test_clips_keep_their_frames():
    clip = np.random.default_rng(0).integers(0, 256, (5, 20, 12, 3), np.uint8)
    view = View(size=8, channels=1)
    out = view.prepare(clip)
    assert out.shape == (5, 1, 8, 8)
    np.testing.assert_array_equal(out[2], view.prepare(clip[2]))


def test_flips_belong_to_keys():
    images = torch.arange(2 * 3 * 4).view(2, 1, 3, 4).to(torch.uint8)
    out = View(size=(3, 4), channels=1, flip=True).augment(images, np.array([2, 7], np.uint64))
    assert torch.equal(out[0], images[0]) and torch.equal(out[1], images[1].flip(-1))


def test_random_crops_cover_every_place():
    view = View(size=(4, 6), channels=1, fit="window", random_crop=True)
    image = view.prepare(np.arange(8 * 9, dtype=np.uint8).reshape(8, 9, 1))
    keys = np.random.default_rng(0).integers(0, 2**63, 400).astype(np.uint64)
    out = view.augment([image] * 400, keys)
    assert out.shape == (400, 1, 4, 6)
    assert {int(v) for v in out[:, 0, 0, 0]} == {9 * y + x for y in range(5) for x in range(4)}
    assert torch.equal(out[3:5], view.augment([image] * 2, keys[3:5]))


def test_random_crop_covers_the_short_side():
    view = View(size=8, channels=1, random_crop=True)
    assert view.prepare(ramp(20, 61)).shape == (1, *view.prepared_size(20, 61)) == (1, 8, 24)


def test_a_view_goes_to_json_and_back():
    view = View(size=32, background="#102030", flip=True)
    assert view.size == (32, 32) and view.background == (16, 32, 48)
    assert View.parse(json.loads(view.to_json())) == view
    assert View().override({"size": "[16, 8]"}).size == (16, 8)
    for bad in ({"size": 0}, {"channels": 2}, {"fit": "zoom"}, {"background": "blurple"}, {"background": [0, 0, 300]}, {"flips": True}):
        with pytest.raises(ConfigError):
            View.parse(bad)


def test_facts_tell_images_of_two_levels():
    r = np.random.default_rng(0)
    two = [(r.random((6, 5, 1)) < 0.5).astype(np.uint8) * 255 for _ in range(4)]
    assert facts(Listed(two)).levels == 2
    assert facts(Listed([*two, two[0] // 2])).levels == 256
    assert facts(Listed(two), View(size=(3, 3))).levels == 256  # resized: greys appear
