import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import DataError
from inkwash.data import Dataset, View, open_source
from inkwash.data.scenes import ScenesSource
from inkwash.data.source import Few


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_images(root, count: int, shape=(10, 12, 3), bad: tuple[int, ...] = (), classes: int = 0):
    root.mkdir(exist_ok=True)
    for i in range(count):
        out = io.BytesIO()
        Image.fromarray(noise(*shape, seed=i)).save(out, "PNG")
        data = out.getvalue()
        folder = root / f"c{i % classes}" if classes else root
        folder.mkdir(exist_ok=True)
        (folder / f"{i:04}.png").write_bytes(data[: len(data) // 2] if i in bad else data)
    return open_source(str(root), "all")


@pytest.mark.parametrize("limit", [2**30, 0])
def test_pixels_come_back_in_memory_and_streaming(tmp_path, limit):
    dataset = Dataset(write_images(tmp_path, 9, classes=2), memory_limit=limit)
    assert dataset.in_memory == bool(limit)
    assert (len(dataset), dataset.classes) == (9, ("c0", "c1"))
    rows = dataset.rows([0, 7, 3])
    order = [0, 2, 4, 6, 8, 1, 3, 5, 7]
    for got, k in zip(rows.images, (0, 7, 3)):
        np.testing.assert_array_equal(got.numpy(), noise(10, 12, 3, seed=order[k]).transpose(2, 0, 1))
    assert rows.labels.tolist() == [0, 1, 0]
    assert dataset.labels.tolist() == [0] * 5 + [1] * 4
    assert dataset.label_counts().tolist() == [5, 4]
    assert rows.text is None


@pytest.mark.parametrize("limit", [2**30, 0])
def test_captions_and_missing_labels(tmp_path, limit):
    source = write_images(tmp_path, 3)
    (tmp_path / "metadata.csv").write_text("file_name,text,label\n0000.png,a,x\n0000.png,b,x\n0002.png,c,y\n")
    source = open_source(str(tmp_path), "all")
    dataset = Dataset(source, memory_limit=limit)
    rows = dataset.rows([2, 1, 0])
    assert rows.text == [("c",), (), ("a", "b")]
    assert rows.labels.tolist() == [1, 2, 0]  # 2 is the null class
    assert dataset.label_counts().tolist() == [1, 1]
    assert dataset.text(0) == ("a", "b")


def test_few_of_a_source_are_the_same_ones_however_they_are_read(tmp_path):
    whole = write_images(tmp_path, 9, classes=2)
    few, streamed = Dataset(Few(whole, 4)), Dataset(Few(whole, 4), memory_limit=0)
    rows, again = few.rows(range(4)), streamed.rows(range(4))
    assert len(few) == 4 and torch.equal(rows.images, again.images) and torch.equal(few.labels, streamed.labels)
    known = {Dataset(whole).rows([i]).images[0].numpy().tobytes() for i in range(9)}
    assert len({x.numpy().tobytes() for x in rows.images} & known) == 4
    assert few.fingerprint() != Dataset(whole).fingerprint() != Dataset(Few(whole, 5)).fingerprint()
    assert len(Few(whole, 100)) == 9


def test_few_of_arrays_keep_their_labels(tmp_path):
    x, y = noise(50, 7, 9, 3), np.arange(50) % 5
    np.savez(tmp_path / "a.npz", x=x, y=y)
    few = Few(open_source(str(tmp_path / "a.npz"), "all"), 20)
    images, labels = few.arrays()
    for i in range(20):
        at = next(k for k in range(50) if np.array_equal(x[k], images[i]))
        assert labels[i] == y[at] == few.read(i).label and few.shape(i) == (7, 9, 3)


def test_arrays_are_taken_without_reading_records(tmp_path, monkeypatch):
    x, y = noise(50, 7, 9, 3), np.arange(50) % 5
    np.savez(tmp_path / "a.npz", x=x, y=y)
    source = open_source(str(tmp_path / "a.npz"), "all")
    reads, read = [], source.read
    monkeypatch.setattr(source, "read", lambda i: reads.append(i) or read(i))
    dataset = Dataset(source)
    assert len(reads) <= 10  # a few looks for captions
    assert torch.equal(dataset.rows(range(50)).images, torch.from_numpy(x).permute(0, 3, 1, 2))
    assert dataset.labels.tolist() == y.tolist()
    small = Dataset(source, View(size=5, channels=1))
    assert small.rows([4]).images.shape == (1, 1, 5, 5)
    np.testing.assert_array_equal(small.rows([4]).images[0], small.view.prepare(x[4]))


def test_clips_of_frames(tmp_path):
    np.savez(tmp_path / "a.npz", x=noise(6, 4, 8, 10, 3))
    for limit in (2**30, 0):
        dataset = Dataset(open_source(str(tmp_path / "a.npz"), "all"), View(size=(8, 5)), memory_limit=limit)
        assert dataset.rows([1, 2]).images.shape == (2, 4, 3, 8, 5)
        assert dataset.facts.frames == 4


def test_progress_is_told(tmp_path):
    told = []
    Dataset(write_images(tmp_path, 70), on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (70, 70) and told == sorted(told) and len(told) > 1


def test_few_corrupt_files_are_named_and_left_out(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "inkwash"):
        dataset = Dataset(write_images(tmp_path, 40, bad=(3, 20)))
    assert len(dataset) == dataset.facts.count == 38
    assert sorted(dataset.corrupt) == [3, 20]
    assert "0003.png" in caplog.text and "0020.png" in caplog.text
    np.testing.assert_array_equal(dataset.rows([3]).images[0], noise(10, 12, 3, seed=4).transpose(2, 0, 1))


@pytest.mark.parametrize(("count", "bad"), [(10, (4,)), (1, (0,)), (3, (0, 1, 2)), (40, (1, 2, 3)), (19, (18,))])
@pytest.mark.parametrize("limit", [2**30, 0])
def test_more_than_five_percent_stops(tmp_path, count, bad, limit):
    with pytest.raises(DataError, match=r"00\d\d\.png"):
        dataset = Dataset(write_images(tmp_path, count, bad=bad), memory_limit=limit)
        dataset.rows(range(count))


def test_one_of_twenty_does_not_stop(tmp_path):
    assert len(Dataset(write_images(tmp_path, 20, bad=(19,)))) == 19


def test_streaming_shows_the_next_readable_image_instead(tmp_path):
    dataset = Dataset(write_images(tmp_path, 60, bad=(3, 4, 59)), memory_limit=0)
    rows = dataset.rows([3, 4, 5, 59]).images
    assert torch.equal(rows[0], rows[2]) and torch.equal(rows[1], rows[2])
    assert torch.equal(rows[3], dataset.rows([0]).images[0])
    assert sorted(dataset.corrupt) == [3, 4, 59]


def test_a_folder_of_text_called_png_stops(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.png").write_text("hello")
    with pytest.raises(DataError, match="not an image"):
        Dataset(open_source(str(tmp_path)))


@pytest.mark.parametrize("limit", [2**30, 0])
def test_random_crops_come_from_larger_images(tmp_path, limit):
    view = View(size=6, fit="window", random_crop=True)
    dataset = Dataset(write_images(tmp_path, 5), view, memory_limit=limit)
    assert [i.shape for i in dataset.ask([0, 1]).collect().images] == [(3, 10, 12)] * 2
    np.testing.assert_array_equal(dataset.rows([1]).images[0], noise(10, 12, 3, seed=1)[2:8, 3:9].transpose(2, 0, 1))


def test_mixed_sizes_and_modes(tmp_path):
    for i, (mode, size) in enumerate([("RGB", (40, 30)), ("L", (64, 64)), ("RGBA", (10, 90)), ("P", (33, 33)), ("1", (50, 20))] * 4):
        Image.new(mode, size).save(tmp_path / f"{i}.png")
    dataset = Dataset(open_source(str(tmp_path), "all"))
    assert dataset.rows(range(20)).images.shape == (20, 3, 64, 64)
    assert "unless a size is given" in dataset.facts.note


def test_ten_images_are_enough(tmp_path):
    write_images(tmp_path, 10)
    train, test = Dataset(open_source(str(tmp_path))), Dataset(open_source(f"{tmp_path}:test"))
    assert len(train) + len(test) == 10 and len(test) >= 1


def test_fingerprints_tell_views_apart(tmp_path):
    source = write_images(tmp_path, 3)
    marks = {Dataset(source, v).fingerprint() for v in (View(), View(size=8), View(size=8, flip=True), View(channels=1))}
    assert len(marks) == 4
    assert Dataset(source).fingerprint() == Dataset(source, View(size=(10, 12), channels=3)).fingerprint()


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no classes"):
        Dataset(write_images(tmp_path, 3)).label_counts()


def test_what_is_slow_to_make_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("INKWASH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ScenesSource, "slow", True)
    made = []

    def dataset(what: str = "scenes?size=16&count=5&captions=2") -> Dataset:
        made.clear()
        return Dataset(open_source(what), on_progress=lambda done, total: made.append(done))

    def same(a: Dataset, b: Dataset) -> bool:
        images = torch.equal(a.rows(range(5)).images, b.rows(range(5)).images)
        return images and torch.equal(a.labels, b.labels) and [a.text(i) for i in range(5)] == [b.text(i) for i in range(5)]

    first = dataset()
    assert made == [5] and same(dataset(), first) and made == []
    dataset("scenes?size=16&count=5&captions=1")
    assert made == [5]  # other words: another set
    for path in (tmp_path / "cache" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert same(dataset(), first) and made == [5]
