"""Where things are: from scenes and metadata to batches."""

import json

import pytest
import torch
from PIL import Image

from inkwash.core.boxes import Box
from inkwash.core.errors import DataError
from inkwash.data import Dataset, View, facts, open_source
from inkwash.data.loader import Loader

SCENES = "scenes?size=64&count=12"


def folder(place, objects, size=(40, 20)):
    place.mkdir()
    rows = []
    for i in range(3):
        Image.new("RGB", size, (40 * i, 9, 9)).save(place / f"{i}.png")
        rows.append(json.dumps({"file_name": f"{i}.png", "text": f"picture {i}", "objects": objects}))
    (place / "metadata.jsonl").write_text("\n".join(rows))
    return str(place)


def test_boxes_of_scenes_are_where_the_colours_are_and_what_hides_another_is_less_deep():
    source = open_source(SCENES)
    for i in range(len(source)):
        scene, boxes = source.scene(i), source.read(i).boxes
        by = {f"{o.texture} {o.colour} {o.shape}": o for o in scene.objects}
        assert [b.name for b in boxes] == list(by)
        assert all((a.depth < b.depth) == (by[a.name].z > by[b.name].z) and 0 <= a.depth < 1 for a in boxes for b in boxes)
        assert all((b.x, b.y, b.width, b.height) == (by[b.name].x, by[b.name].y, *[by[b.name].diameter] * 2) for b in boxes)


def test_batches_bring_the_boxes_of_their_rows():
    data = Dataset(open_source(SCENES), View())
    loader = Loader(data, 4, seed=3)
    batch = loader.batch_at(1)
    rows = loader.rows_at(batch.index.numpy())
    assert batch.boxes == [data.source.read(int(i)).boxes for i in rows]
    assert batch[1:3].boxes == batch.boxes[1:3] and batch.to("cpu").boxes == batch.boxes
    assert Dataset(open_source("scenes?size=32&count=4&frames=3"), View()).rows([0]).boxes is None


def test_boxes_are_kept_with_slow_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("INKWASH_CACHE", str(tmp_path))
    source = open_source(SCENES)
    monkeypatch.setattr(type(source), "slow", True)
    first = Dataset(source, View()).rows(range(12))
    monkeypatch.setattr(type(source), "read_for", None)  # nothing is made again
    again = Dataset(source, View()).rows(range(12))
    assert first.boxes == again.boxes and isinstance(again.boxes[0][0], Box) and torch.equal(first.images, again.images)


def test_metadata_tell_of_objects_in_pixels(tmp_path):
    place = folder(tmp_path / "a", {"bbox": [[10, 5, 20, 10], [0, 0, 4, 2]], "categories": ["dog", 7]})
    record = open_source(place, "all").read(1)
    assert record.boxes == (Box("dog", 0.5, 0.5, 0.5, 0.5), Box("7", 0.05, 0.05, 0.1, 0.1))


@pytest.mark.parametrize("objects", [{"bbox": [[1, 2, 3]], "categories": ["a"]}, {"bbox": [[1, 2, 3, 4]], "categories": []}, ["a"], "x"])
def test_objects_that_make_no_sense_are_refused(tmp_path, objects):
    with pytest.raises(DataError, match="bbox"):
        open_source(folder(tmp_path / "a", objects), "all").read(0)


@pytest.mark.parametrize(
    ("view", "boxed"),
    [
        ({}, False),
        ({"fit": "stretch"}, True),
        ({"size": (10, 20)}, True),
        ({"size": (10, 20), "flip": True}, False),
        ({"fit": "stretch", "turn": True}, False),
        ({"size": (5, 10)}, True),
        ({"size": (5, 10), "fit": "window"}, False),  # half of it is seen
        ({"size": (20, 40), "fit": "window"}, True),
    ],
)
def test_boxes_count_where_pictures_are_seen_whole(tmp_path, view, boxed):
    source = open_source(folder(tmp_path / "a", {"bbox": [[10, 5, 20, 10]], "categories": ["dog"]}), "all")
    view = View(**{"size": (16, 16)} | view)
    assert facts(source, view).boxed is boxed
    assert (Dataset(source, view).rows([0]).boxes == [(Box("dog", 0.5, 0.5, 0.5, 0.5),)]) is boxed
