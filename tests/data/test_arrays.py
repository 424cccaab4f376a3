import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from inkwash.core.errors import DataError
from inkwash.data import open_source


def idx(values: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.mark.parametrize("gz", [False, True])
def test_idx_files(tmp_path, gz):
    rng = np.random.default_rng(0)
    stored = {}
    for part, n in (("train", 20), ("t10k", 7)):
        x, y = rng.integers(0, 256, (n, 9, 8), np.uint8), rng.integers(0, 4, n, np.uint8)
        y[:4] = range(4)
        stored[part] = x, y
        for kind, values in (("images-idx3", x), ("labels-idx1", y)):
            data = idx(values)
            (tmp_path / f"{part}-{kind}-ubyte{'.gz' if gz else ''}").write_bytes(gzip.compress(data) if gz else data)
    for split, part in (("train", "train"), ("test", "t10k")):
        source = open_source(f"{tmp_path}:{split}")
        np.testing.assert_array_equal(source.arrays()[0][..., 0], stored[part][0])
        np.testing.assert_array_equal(source.labels(), stored[part][1])
    assert source.classes == ("0", "1", "2", "3")
    assert len(open_source(f"{tmp_path}:all")) == 27
    single = open_source(f"{tmp_path}/t10k-images-idx3-ubyte{'.gz' if gz else ''}", "all")
    np.testing.assert_array_equal(single.labels(), stored["t10k"][1])


def test_a_cut_idx_file(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 4, 4), np.uint8))[:-3])
    with pytest.raises(DataError, match="cut short"):
        open_source(str(tmp_path))


def npz(path: Path, **arrays) -> str:
    np.savez_compressed(path, **arrays)
    return str(path)


def test_npz_with_splits_and_classes(tmp_path):
    x, y = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5), np.array([0, 1, 2, 0, 1, 2])
    place = npz(tmp_path / "a.npz", train_x=x, train_y=y, test_x=x[:2], test_y=y[:2], classes=np.array(["a", "b", "c"]))
    source = open_source(place)
    assert (source.splits, source.classes, len(source)) == (("train", "test"), ("a", "b", "c"), 6)
    np.testing.assert_array_equal(source.arrays()[0], x[..., None])
    assert (source.read(4).label, source.read(4).image.tolist()) == (1, x[4, ..., None].tolist())
    assert len(open_source(place + ":test")) == 2
    assert len(open_source(place + ":all")) == 8
    with pytest.raises(DataError, match="it has train, test and all"):
        open_source(place + ":val")


def test_npz_with_labels_for_one_split(tmp_path):
    x = np.zeros((6, 4, 4), np.uint8)
    place = npz(tmp_path / "a.npz", train_x=x, train_y=np.arange(6) % 2, test_x=x[:2])
    assert open_source(place).labels().tolist() == [0, 1] * 3
    assert open_source(place, "test").read(0).label is None
    assert open_source(place, "all").labels().tolist() == [-1, -1, *[0, 1] * 3]


def test_npz_packed(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (9, 28 * 28), np.uint8)
    packed = np.packbits(bits, axis=1)
    place = npz(tmp_path / "b.npz", train_packed=packed[:5], valid_packed=packed[5:7], test_packed=packed[7:])
    source = open_source(place + ":val")
    np.testing.assert_array_equal(source.arrays()[0], bits[5:7].reshape(2, 28, 28, 1) * 255)
    assert source.splits == ("train", "val", "test") and source.validation == "val"
    odd = np.packbits(bits[:, :25], axis=1)  # 25 pixels in 4 bytes
    np.testing.assert_array_equal(open_source(npz(tmp_path / "c.npz", packed=odd), "all").arrays()[0].reshape(9, 25), bits[:, :25] * 255)


def test_npz_without_splits_and_with_other_spellings(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    place = npz(tmp_path / "a.npz", images=x, labels=np.arange(40)[:, None] % 4)
    train, test = open_source(place), open_source(place + ":test")
    assert len(train) + len(test) == 40 and 1 <= len(test) <= 12
    assert train.classes == ("0", "1", "2", "3")
    names = {s.read(i).name for s in (train, test) for i in range(len(s))}
    assert len(names) == 40
    only = npz(tmp_path / "b.npz", x_train=x.transpose(0, 3, 1, 2))
    assert open_source(only, "test").arrays()[0].shape[1:] == (8, 8, 3)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.array([-1.0, 0.0, 1.0]), [0, 128, 255]),
        (np.array([0.0, 99.6, 255.0]), [0, 100, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 257, 65535], np.uint16), [0, 1, 255]),
        (np.array([0, 7, 255], np.int64), [0, 7, 255]),
    ],
)
def test_npz_of_other_types(tmp_path, x, expected):
    assert open_source(npz(tmp_path / "a.npz", x=x.reshape(1, 1, 3)), "all").arrays()[0].ravel().tolist() == expected


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"foo": np.zeros(3)}, "keys foo"),
        ({"x": np.zeros((3, 4, 5, 6, 7, 8))}, "shape"),
        ({"x": np.full((2, 4, 4), 999)}, "999"),
        ({"x": np.full((2, 4, 4), np.nan)}, "nan"),
        ({"x": np.zeros((3, 4, 4), np.uint8), "y": np.zeros(2, int)}, "3 images, 2 labels"),
        ({"x": np.zeros((3, 4, 4), np.uint8), "y": np.array([0.5, 1, 2])}, "whole numbers"),
        ({"x": np.zeros((3, 4, 4), np.uint8), "y": np.array([0, 1, 2]), "classes": np.array(["a"])}, "up to 2, 1 classes"),
        ({"x": np.array([{}, {}])}, "pickle"),
        ({"x": np.zeros((0, 4, 4), np.uint8)}, "empty"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words):
        open_source(npz(tmp_path / "a.npz", **arrays), "all")


def test_clips_in_an_npz(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8, 1), np.uint8)
    assert open_source(npz(tmp_path / "a.npz", x=x), "all").read(1).image.shape == (3, 8, 8, 1)
