import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from inkwash.core.errors import ConfigError, DataError
from inkwash.data import open_held_out, open_source
from inkwash.data.open import parse_spec
from inkwash.data.splits import held_out


def png(value: int, size=(6, 5)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255 - value)).save(out, "PNG")
    return out.getvalue()


def write_folder(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def write_zip(path: Path, files: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes | str]) -> Path:
    mode = {"gz": "w:gz", "xz": "w:xz", "bz2": "w:bz2"}.get(path.name.rsplit(".", 1)[-1], "w")
    with tarfile.open(path, mode) as out:
        for name, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def colours(source) -> list[int]:
    return [int(source.read(i).image[0, 0, 0]) for i in range(len(source))]


WRITERS = {
    "folder": lambda p, f: write_folder(p / "set", f),
    "zip": lambda p, f: write_zip(p / "set.zip", f),
    "tar": lambda p, f: write_tar(p / "set.tar", f),
    "tar.gz": lambda p, f: write_tar(p / "set.tar.gz", f),
    "tar.xz": lambda p, f: write_tar(p / "set.tar.xz", f),
    "tar.bz2": lambda p, f: write_tar(p / "set.tar.bz2", f),
}
every_form = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


@every_form
def test_class_folders_in_named_splits(tmp_path, write):
    files = {f"{s}/{c}/{i}.png": png(10 * i + k) for s in ("train", "test") for k, c in enumerate(("cat", "dog")) for i in range(3)}
    place = str(write(tmp_path, files | {"README.txt": "words", "train/.hidden.png": b"no"}))
    source = open_source(place)
    assert (source.split, source.splits, source.classes, len(source)) == ("train", ("train", "test"), ("cat", "dog"), 6)
    assert [source.read(i).label for i in range(6)] == source.labels().tolist() == [0, 0, 0, 1, 1, 1]
    assert colours(source) == [0, 10, 20, 1, 11, 21]
    assert len(open_source(place + ":test")) == 6
    assert len(open_source(place, "all")) == 12
    with pytest.raises(DataError, match=r"no split 'val'; it has train, test and all"):
        open_source(place + ":val")


@every_form
def test_captions_from_a_table(tmp_path, write):
    rows = 'file_name,text,label\na.png,one red,warm\na.png,"second, with comma",warm\nsub/b.PNG,蓝色,cold\nnone.png,lost,cold\n'
    place = str(write(tmp_path, {"a.png": png(1), "sub/b.PNG": png(2), "metadata.csv": "\ufeff" + rows}))
    source = open_source(place, "all")
    assert [source.read(i).text for i in range(2)] == [("one red", "second, with comma"), ("蓝色",)]
    assert source.classes == ("cold", "warm")
    assert source.labels().tolist() == [1, 0]


def test_captions_from_json_lines_beside_a_split(tmp_path):
    files = {f"{s}/{i}.png": png(i) for s in ("train", "validation") for i in range(2)}
    files["train/metadata.jsonl"] = "\n".join(json.dumps({"file_name": f"{i}.png", "text": [f"a {i}", f"b {i}"]}) for i in range(2))
    source = open_source(str(write_folder(tmp_path, files)))
    assert source.read(1).text == ("a 1", "b 1")
    assert source.splits == ("train", "val")
    assert open_source(f"{tmp_path}:valid").read(0).text == ()


def test_a_caption_of_json_lines_may_hold_other_ends_of_lines(tmp_path):
    line = json.dumps({"file_name": "a.png", "text": "one\u2028two\u0085three"}, ensure_ascii=False)
    assert (
        open_source(str(write_folder(tmp_path, {"a.png": png(1), "metadata.jsonl": f"{line}\r\n"})), "all")
        .read(0)
        .text[0]
        .startswith("one")
    )


def test_a_table_may_name_the_split(tmp_path):
    rows = "".join(f"{i}.png,{'test' if i > 2 else 'train'}\n" for i in range(5))
    place = write_folder(tmp_path, {f"{i}.png": png(i) for i in range(5)} | {"metadata.csv": "file_name,split\n" + rows})
    assert colours(open_source(f"{place}:test")) == [3, 4]


@pytest.mark.parametrize(
    ("table", "words"),
    [("name,text\na.png,x\n", "no file_name"), ("file_name,text\nz.png,x\n", "such as a.png"), (b"\xff\xfe\xfa", "cannot be read")],
)
def test_a_table_that_does_not_fit_is_an_error(tmp_path, table, words):
    with pytest.raises(DataError, match=words):
        open_source(str(write_folder(tmp_path, {"a.png": png(1), "metadata.csv": table})), "all")


@pytest.mark.parametrize("write", [WRITERS["tar"], WRITERS["tar.gz"], WRITERS["folder"]])
def test_webdataset_form(tmp_path, write):
    files = {}
    for i in range(12):
        files |= {f"{i:03}.jpg": png(i), f"{i:03}.txt": f"number {i}\n", f"{i:03}.cls": str(i % 3), f"{i:03}.json": "{}"}
    source = open_source(str(write(tmp_path, files)), "all")
    assert (len(source), source.classes) == (12, ("0", "1", "2"))
    assert (source.read(4).text, source.read(4).label) == (("number 4",), 1)


def test_webdataset_with_json_only(tmp_path):
    files = {}
    for i in range(4):
        files |= {f"{i}.png": png(i), f"{i}.json": json.dumps({"caption": f"c{i}", "label": "ab"[i % 2]})}
    source = open_source(str(write_tar(tmp_path / "w.tar", files)), "all")
    assert [source.read(i).text for i in range(2)] == [("c0",), ("c1",)]
    assert (source.classes, source.labels().tolist()) == (("a", "b"), [0, 1, 0, 1])


def test_a_folder_of_shards_is_one_source(tmp_path):
    for shard in ("train-000", "train-001", "test-000"):
        write_tar(tmp_path / f"{shard}.tar", {"0.png": png(len(shard)), "0.txt": shard, "1.png": png(7)})
    source = open_source(str(tmp_path))
    assert (len(source), source.splits, source.classes) == (4, ("train", "test"), ())
    assert [source.read(i).text for i in range(4)] == [("train-000",), (), ("train-001",), ()]
    write_tar(tmp_path / "extra.tar", {"0.png": png(1)})  # no longer all of them name a split
    assert len(open_source(str(tmp_path), "all")) == 7


def test_a_folder_around_everything_is_looked_through(tmp_path):
    files = {f"my set/{c}/{i}.png": png(i) for c in "ab" for i in range(3)}
    assert open_source(str(write_zip(tmp_path / "x.zip", files)), "all").classes == ("a", "b")
    one = {f"images/{i}.png": png(i) for i in range(3)}
    assert open_source(str(write_zip(tmp_path / "y.zip", one)), "all").classes == ()


def test_nested_folders_are_classes_by_their_top_or_their_path(tmp_path):
    place = write_folder(tmp_path, {f"{p}/{i}.png": png(i) for p in ("a/x", "a/y", "b/x") for i in range(2)})
    assert open_source(str(place), "all").classes == ("a", "b")
    assert open_source(f"{place}?labels=path", "all").classes == ("a/x", "a/y", "b/x")
    assert open_source(f"{place}:all?labels=none").classes == ()
    with pytest.raises(ConfigError, match="did you mean 'path'"):
        open_source(f"{place}?labels=pth")


def test_numbered_classes_are_in_natural_order(tmp_path):
    place = write_folder(tmp_path, {f"{c}/0.png": png(c) for c in range(12)})
    assert open_source(str(place), "all").classes == tuple(str(c) for c in range(12))


@pytest.mark.parametrize("files", [{}, {"a.txt": "x", "b.md": "y"}])
def test_a_folder_without_images_is_one_sentence(tmp_path, files):
    with pytest.raises(DataError, match=r"holds no images \(looked for .*\.png"):
        open_source(str(write_folder(tmp_path, files)))


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.xz", "x.npz"])
@pytest.mark.parametrize("data", [b"", b"this is text" * 100, b"\x1f\x8b" + b"a" * 600, b"\xfd7zXZ\0" + b"a" * 600])
def test_archives_that_are_none_are_one_sentence(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"x\."):
        open_source(str(tmp_path / name))


def test_a_cut_archive(tmp_path):
    place = write_tar(tmp_path / "x.tar.gz", {f"{i}.png": os.urandom(4000) for i in range(9)})
    place.write_bytes(place.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"x\.tar\.gz"):
        open_source(str(place))


def test_a_flipped_byte_in_a_zip_is_one_bad_record(tmp_path):
    place = write_zip(tmp_path / "x.zip", {f"{i}.png": os.urandom(500) for i in range(3)})
    data = bytearray(place.read_bytes())
    data[200] ^= 1
    place.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.zip/0\.png cannot be unpacked"):
        open_source(str(place), "all").read(0)


def test_digits():
    pytest.importorskip("sklearn")
    source = open_source("digits", "all")
    assert (len(source), source.arrays()[0].shape, len(source.classes)) == (1797, (1797, 8, 8, 1), 10)
    assert source.arrays()[0].max() == 255


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        open_source("digits")


def test_hugging_face_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'inkwash\[hf\]'"):
        open_source("hf:someone/something")


class Table:
    """What a table of the datasets library offers, of which the source uses no more."""

    def __init__(self, rows: list[dict], features: dict):
        self.rows, self.features = rows, features

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return [r[key] for r in self.rows] if isinstance(key, str) else self.rows[key]


def test_hugging_face_tables_become_records():
    from inkwash.data.hf import HFSource

    kind = lambda name, **facts: type(name, (), facts)()  # noqa: E731
    features = {"pic": kind("Image"), "label": kind("ClassLabel", names=["x", "y"]), "caption": kind("Value")}
    rows = [{"pic": {"bytes": png(i), "path": None}, "label": i % 2, "caption": f"c{i}"} for i in range(6)]
    parts = {s: (Table(r, features), lambda t, c: t) for s, r in (("train", rows), ("validation", rows[:2]))}
    source = HFSource("hf:a", "val", parts, {"image": None, "label": None, "text": None})
    assert (len(source), source.splits, source.classes) == (2, ("train", "val"), ("x", "y"))
    assert (source.read(1).label, source.read(1).text, source.shape(1)) == (1, ("c1",), (5, 6, 3))
    with pytest.raises(ConfigError, match="did you mean 'pic'"):
        HFSource("hf:a", "val", parts, {"image": "pick", "label": None, "text": None})


def test_hugging_face_saved_to_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    images = [Image.new("RGB", (6, 5), (i, 0, 0)) for i in range(10)]
    table = datasets.Dataset.from_dict({"image": images, "label": [i % 2 for i in range(10)]}, features=features)
    table.save_to_disk(tmp_path / "one")
    assert colours(open_source(f"{tmp_path}/one", "all")) == list(range(10))
    datasets.DatasetDict(train=table, test=table).save_to_disk(tmp_path / "two")
    assert open_source(f"hf:{tmp_path}/two:test").labels().tolist() == [0, 1] * 5


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("scenes", ("scenes", None, {})),
        ("scenes:test", ("scenes", "test", {})),
        ("scenes?objects=1&plain=true&size=32", ("scenes", None, {"objects": 1, "plain": True, "size": 32})),
        ("scenes:test?size=32", ("scenes", "test", {"size": 32})),
        ("scenes?size=32:test", ("scenes", "test", {"size": 32})),
        ("C:images", ("C:images", None, {})),
        (r"C:\images", (r"C:\images", None, {})),
        (r"C:\images:val", (r"C:\images", "val", {})),
        ("hf:someone/name", ("hf:someone/name", None, {})),
        ("hf:name", ("hf:name", None, {})),
        ("hf:someone/name:test", ("hf:someone/name", "test", {})),
        ("a/b:c/d", ("a/b:c/d", None, {})),
        ("x?group=a%26b", ("x", None, {"group": "a&b"})),
    ],
)
def test_specs(spec, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_spec(spec) == expected


def test_a_path_that_exists_is_taken_as_it_stands(tmp_path):
    odd = write_folder(tmp_path / "what?now:test", {f"{i}.png": png(i) for i in range(3)})
    assert parse_spec(str(odd)) == (str(odd), None, {})
    assert parse_spec(f"{odd}:all") == (str(odd), "all", {})
    assert len(open_source(f"{odd}:all")) == 3


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("nowhere", DataError, "no data at 'nowhere'"),
        ("{}?lable=top", ConfigError, "did you mean 'labels'"),
        ("{}?labels", ConfigError, "has no value"),
        ("{}?frames=0", ConfigError, "at least 1"),
        ("{}?group=(", ConfigError, "regular expression"),
        ("{}/0.png", DataError, "not a form of data"),
    ],
)
def test_specs_that_are_wrong(spec, error, words, tmp_path):
    write_folder(tmp_path, {f"{i}.png": png(i) for i in range(3)})
    with pytest.raises(error, match=words):
        open_source(spec.format(tmp_path))


def test_the_held_out_tenth_is_stable_and_disjoint(tmp_path):
    place = write_folder(tmp_path, {f"{i}.png": png(i % 256) for i in range(300)})
    train, test = open_source(str(place)), open_source(f"{place}:test")
    assert not set(train.files) & set(test.files) and len(train) + len(test) == 300
    assert 15 <= len(test) <= 48
    for name in test.files[:5]:
        (place / name).unlink()
    for i in range(300, 330):
        (place / f"{i}.png").write_bytes(png(0))
    again = open_source(f"{place}:test")
    assert set(test.files[5:]) <= set(again.files)
    assert not set(again.files) & set(train.files)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_few_images_still_have_two_splits(count):
    for start in range(200):
        out = held_out([f"{start}-{i}" for i in range(count)])
        assert 0 < out.sum() < count


def test_one_image_trains_and_nothing_is_held_out(tmp_path):
    write_folder(tmp_path, {"a.png": png(1)})
    source = open_source(str(tmp_path))
    assert (len(source), source.splits, source.validation) == (1, ("train",), None)
    with pytest.raises(DataError, match="only one image"):
        open_source(f"{tmp_path}:test")


def test_variants_stay_together():
    names = [f"face{i}_tone{k}" for i in range(60) for k in range(5)]
    out = held_out(names, group=r"_tone\d").reshape(60, 5)
    assert (out.all(1) | ~out.any(1)).all() and 0 < out.sum() < out.size


def test_a_fingerprint_changes_with_the_data(tmp_path):
    place = write_folder(tmp_path / "a", {f"{i}.png": png(i) for i in range(20)})
    marks = [open_source(str(place)).fingerprint(), open_source(f"{place}:test").fingerprint()]
    assert open_source(str(place)).fingerprint() == marks[0]
    os.utime(place / "3.png", ns=(1, 1))
    marks.append(open_source(str(place)).fingerprint())
    (place / "3.png").rename(place / "03.png")
    marks.append(open_source(str(place)).fingerprint())
    for i in range(2):
        archive = write_zip(tmp_path / "a.zip", {f"{k}.png": png(k + i) for k in range(20)})
        os.utime(archive, ns=(1, 1))
        marks.append(open_source(str(archive)).fingerprint())
    for i in range(2):
        np.savez(tmp_path / "a.npz", x=np.full((4, 4, 4), i, np.uint8))
        marks.append(open_source(str(tmp_path / "a.npz")).fingerprint())
    assert len(set(marks)) == len(marks)


def test_both_splits_of_a_compressed_tar_unpack_it_once(tmp_path):
    place = str(write_tar(tmp_path / "a.tar.gz", {f"{i}.png": png(i) for i in range(20)}))
    train, test = open_source(place), open_source(place, "test")
    assert train._store is test._store


@every_form
def test_shapes_come_from_headers_wherever_they_are(tmp_path, write):
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "JPEG", exif=exif, icc_profile=os.urandom(90_000))
    tiff = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)).save(tiff, "TIFF")
    source = open_source(str(write(tmp_path, {"0.jpg": out.getvalue(), "1.tif": tiff.getvalue(), "2.png": png(3)})), "all")
    assert [source.shape(i) for i in range(3)] == [(20, 30, 3), (200, 300, 3), (5, 6, 3)]
    assert [source.read(i).image.shape for i in range(3)] == [source.shape(i) for i in range(3)]


def test_links_in_a_circle_end(tmp_path):
    write_folder(tmp_path, {"a/0.png": png(1), "a/1.png": png(2)})
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(open_source(str(tmp_path), "all")) == 2


def test_a_forked_reader_of_a_zip(tmp_path):
    source = open_source(str(write_zip(tmp_path / "a.zip", {f"{i}.png": png(i) for i in range(30)})), "all")
    source._store._pid = -1  # as in a process that was forked
    assert colours(source) == list(map(int, sorted(map(str, range(30)))))


def test_scenes_are_given_their_options(monkeypatch):
    class ScenesSource:
        def __init__(self, split="train", *, size=32, objects=2):
            self.made = split, size, objects

    monkeypatch.setitem(sys.modules, "inkwash.data.scenes", SimpleNamespace(ScenesSource=ScenesSource))
    assert open_source("scenes:test?objects=1", size=64).made == ("test", 64, 1)
    with pytest.raises(ConfigError, match="did you mean 'objects'"):
        open_source("scenes?object=1")


def test_what_is_held_out_is_what_the_person_named_else_test_else_val(tmp_path):
    place = write_folder(tmp_path / "a", {f"{split}/{i}.png": png(i) for split in ("train", "val") for i in range(3)})
    assert open_held_out(str(place)).split == "val" and open_held_out(f"{place}:train").split == "train"
    assert open_held_out("scenes?size=16").split == "test" and open_held_out("scenes:val?size=16").split == "val"
    alone = write_folder(tmp_path / "b" / "train", {"0.png": png(1)})
    with pytest.raises(DataError, match="no held-out split"):
        open_held_out(str(alone.parent))
