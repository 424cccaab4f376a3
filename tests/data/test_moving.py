"""Clips that are made: digits and scenes in motion."""

import numpy as np
import pytest

from inkwash.core.errors import ConfigError
from inkwash.data import facts, open_source
from inkwash.data.scenes import ScenesSource, render
from inkwash.data.scenes.motion import path
from inkwash.data.scenes.sampler import Draws
from tiny import write_npz


@pytest.mark.parametrize("edge", ["mirror", "random"])
def test_a_way_is_straight_until_it_meets_an_edge(edge):
    for i in range(40):
        way = path(Draws(0, i), 60, 0.1, edge)
        assert way.min() >= 0 and way.max() <= 1
        step = np.diff(way, axis=0)
        inside = ((way[1:] > 0) & (way[1:] < 1)).all(1) & ((way[:-1] > 0) & (way[:-1] < 1)).all(1)
        np.testing.assert_allclose(np.linalg.norm(step[inside], axis=1), 0.1, atol=1e-9)
        turns = np.abs(np.diff(step, axis=0)).max(1) > 1e-9
        met = ((way <= 0) | (way >= 1)).any(1)
        assert not (turns & ~met[1:-1] & ~met[2:]).any()  # nothing turns away from an edge


def test_an_edge_that_is_a_mirror_keeps_the_size_of_both_speeds_and_a_random_one_does_not():
    for edge, same in (("mirror", True), ("random", False)):
        kinds = 0
        for i in range(20):
            way = path(Draws(1, i), 80, 0.1, edge)
            inside = ((way > 0) & (way < 1)).all(1)
            step = np.abs(np.diff(way, axis=0))[inside[1:] & inside[:-1]]
            kinds += len(np.unique(step.round(6), axis=0)) == 1
        assert (kinds == 20) == same


def test_moving_digits_are_the_digits():
    source, digits = open_source("moving?things=1&frames=5&size=20"), open_source("digits")
    assert source.shape(0) == (5, 20, 20, 1) and len(source) == 10_000 and len(open_source("moving", "test")) == 1000
    known = {image.tobytes() for image in digits.arrays()[0]}
    for i in range(5):
        clip = source.read(i).image
        frame = clip[2, ..., 0]
        ys, xs = np.nonzero(frame)
        parts = {frame[y : y + 8, x : x + 8].tobytes() for y in range(max(0, ys.max() - 7), ys.min() + 1) for x in range(13)}
        assert parts & known and (clip.sum((1, 2, 3)) == clip[0].sum()).all()  # nothing is lost at the edges
    assert np.array_equal(source.read(3).image, open_source("moving?things=1&frames=5&size=20").read(3).image)


def test_splits_and_seeds_move_different_pictures():
    one, two, three = open_source("moving"), open_source("moving", "test"), open_source("moving?seed=1")
    assert one.inner.split == "train" and two.inner.split == "test" and one.splits == two.splits
    assert not np.array_equal(one.read(0).image, three.read(0).image)
    assert len({s.fingerprint() for s in (one, two, three, open_source("moving?edge=random"))}) == 4


def test_colour_stays_and_alpha_lies_on_black(tmp_path):
    source = open_source(f"moving?of={write_npz(tmp_path / 'a.npz')}&size=16&frames=3")
    assert source.read(0).image.shape == (3, 16, 16, 3) and facts(source).frames == 3


def test_moving_scenes_begin_with_the_scene_and_keep_their_objects():
    still, clips = ScenesSource(size=32, count=6), ScenesSource(size=32, count=6, frames=8, speed=0.05)
    assert facts(clips).frames == 8 and clips.arrays() is None and clips.fingerprint() != still.fingerprint()
    for i in range(6):
        record = clips.read(i)
        assert np.array_equal(record.image[0], still.read(i).image) and record.text == still.read(i).text
        frames = clips.clip(i)
        assert np.array_equal(record.image[7], render(frames[7], 32))
        for before, after in zip(frames, frames[1:]):
            for o, p in zip(before.objects, after.objects):
                assert (o.name, o.size, o.z) == (p.name, p.size, p.z) and 0 < np.hypot(o.x - p.x, o.y - p.y) < 0.0501
                assert p.diameter / 2 < p.x < 1 - p.diameter / 2 and p.diameter / 2 < p.y < 1 - p.diameter / 2


@pytest.mark.parametrize("spec, words", [
    ("moving?frames=1", "makes no clip"),
    ("moving?speed=0", "is not a share"),
    ("moving?edge=round", "edge='round'"),
    ("moving?size=8", "no room to move"),
    ("moving?things=0", "at least one thing"),
    ("moving?digit=2", "no option 'digit'"),
    ("scenes?frames=1", "makes no clip"),
])  # fmt: skip
def test_what_is_refused(spec, words):
    with pytest.raises(ConfigError, match=words):
        open_source(spec)
