"""The world of scenes: the same anywhere, true to what it says, in two looks, and read back."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from inkwash.core.errors import ConfigError, DataError
from inkwash.data import open_source
from inkwash.data.scenes import (
    CLASSES,
    COLOURS,
    SIMPLE,
    ScenesSource,
    Settings,
    Unreadable,
    captions,
    facts,
    holds,
    masks,
    parse,
    render,
    said,
    sample,
    split_of,
    tells,
)
from inkwash.data.scenes.world import RELATIONS, area, covered, most_objects


@pytest.fixture(scope="module")
def scenes():
    return [sample(3, i, 64, split="all") for i in range(60)]


def test_a_scene_is_a_function_of_its_number(scenes):
    assert scenes[7] == sample(3, 7, 64, split="all") != sample(3, 8, 64, split="all")
    source = ScenesSource(size=32, count=30, seed=1)
    images, labels = source.arrays()
    assert np.array_equal(images[11], ScenesSource(size=32, count=12, seed=1).read(11).image) and images.dtype == np.uint8
    assert labels[11] == source.read(11).label and np.array_equal(source.labels(), labels)
    assert not np.array_equal(images[11], ScenesSource(size=32, count=12, seed=2).read(11).image)


@pytest.mark.parametrize("size, most", [(16, 1), (32, 2), (64, 4)])
def test_what_a_picture_of_a_size_may_hold(size, most):
    assert most_objects(size) == most
    counts = {len(sample(0, i, size, split="all").objects) for i in range(40)}
    assert counts == set(range(1, most + 1))
    assert all(len(sample(0, i, size, Settings(objects=1)).objects) == 1 for i in range(20))


def test_a_scene_keeps_its_promises(scenes):
    for scene in scenes:
        colours = [o.colour for o in scene.objects]
        assert len(set(colours)) == len(colours) and scene.label == CLASSES.index(scene.objects[0].name)
        for o in scene.objects:
            assert covered(o, [p for p in scene.objects if p.z > o.z]) <= 0.2
            assert o.diameter / 2 < o.x < 1 - o.diameter / 2 and o.diameter / 2 < o.y < 1 - o.diameter / 2
        if scene.relation:
            assert holds(scene.objects[0], scene.relation, scene.objects[1]) and (0, scene.relation, 1) in facts(scene)


def test_relations_of_clear_scenes_are_no_borderline_cases():
    relations = set()
    for i in range(60):
        scene = sample(0, i, 64, Settings(clear=True))
        if scene.relation:
            relations.add(scene.relation)
            first, second = scene.objects[:2]
            assert holds(first, scene.relation, second, margin=1.6) and not holds(first, scene.relation, second, margin=9)
        assert all(covered(o, [p for p in scene.objects if p.z > o.z]) <= 0.2 for o in scene.objects)
    assert relations == set(RELATIONS)


def test_in_scenes_apart_only_what_is_said_to_cover_touches_and_hides_enough_to_be_seen():
    relations = set()
    for i in range(60):
        scene = sample(0, i, 64, Settings(apart=True))
        relations.add(scene.relation)
        told = set(scene.objects[:2]) if scene.relation in ("in front of", "behind") else set()
        for one, other in combinations(scene.objects, 2):
            touching = any(covered(replace(o, diameter=1.15 * o.diameter), [p]) > 0 for o, p in ((one, other), (other, one)))
            assert touching == ({one, other} == told)
        if told:
            back, front = sorted(told, key=lambda o: o.z)
            assert covered(back, [front]) * area(back) * 64 * 64 >= 16
    assert relations == {None, *RELATIONS}


def test_captions_come_in_two_languages(scenes):
    for scene in scenes:
        english, chinese = captions(scene)
        assert english.isascii() and not chinese.isascii() and captions(scene, ("zh",)) == (chinese,)
    one = next(s for i in range(999) if (s := sample(0, i, 16, SIMPLE)).objects[0].shape == "heart")
    assert "heart" in captions(one)[0] and "心" in captions(one)[1]


def test_masks_are_where_the_objects_are(scenes):
    for scene in scenes[:20]:
        found, image = masks(scene, 64), render(scene, 64)
        assert len(found) == len(scene.objects) and image.shape == (64, 64, 3)
        for o, mask in zip(scene.objects, found):
            inside = image[np.asarray(mask) > 0.9].astype(float).mean(0)
            nearest = min(COLOURS, key=lambda c: np.abs(inside / inside.sum() - np.array(COLOURS[c]) / sum(COLOURS[c])).sum())
            assert nearest == o.colour


def test_held_out_compositions_are_only_in_the_test_split():
    train, test = ([sample(0, i, 32, split=s) for i in range(60)] for s in ("train", "test"))
    assert {split_of(s) for s in train} == {"train"} and {split_of(s) for s in test} == {"test"}


def test_a_setting_that_is_not_used_leaves_a_fingerprint_as_it_was():
    plain, clear, apart = ScenesSource(64, 12), ScenesSource(64, 12, clear=True), ScenesSource(64, 12, apart=True)
    assert len({plain.fingerprint(), clear.fingerprint(), apart.fingerprint()}) == 3
    assert ScenesSource(64, 12, loose=0.3).fingerprint() != plain.fingerprint()
    assert plain.fingerprint() == "33a1d5989a2e6397" and clear.fingerprint() == "13b3e857b12150bc"


def test_a_picture_is_read_back():
    right = 0
    for i in range(40):
        scene = sample(5, i, 64, SIMPLE)
        read = parse(render(scene, 64))
        right += bool(read) and [o.name for o in read.objects] == [o.name for o in scene.objects]
    assert right >= 39
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert isinstance(parse(noise), Unreadable) and not parse(noise)
    with pytest.raises(DataError, match="uint8"):
        parse(noise.astype(float))


@pytest.mark.parametrize("look, other", [("day", "night"), ("smooth", "textured")])
def test_a_scene_in_another_look_is_the_same_scene(look, other):
    one, two, plain = (ScenesSource(32, 12, look=name) for name in (look, other, None))
    assert len({s.fingerprint() for s in (one, two, plain)}) == 3
    for i in range(12):
        a, b, free = one.scene(i), two.scene(i), plain.scene(i)
        assert [(o.name, o.x, o.y, o.z) for o in a.objects] == [
            (o.name, o.x, o.y, o.z) for o in b.objects
        ] and a.light == b.light == free.light
        assert (a.background == b.background) == (look == "smooth") and not np.array_equal(one.read(i).image, two.read(i).image)
    images = [s.arrays()[0].astype(float).mean() for s in (one, two)]
    assert look == "smooth" or images[0] > 2 * images[1]


def test_what_scenes_refuse():
    for options, words in (
        ({"look": "nigth"}, "night"),
        ({"count": 0}, "at least 1"),
        ({"size": 8}, "16 to 256"),
        ({"objects": 9}, "1 to 4"),
        ({"loose": 1.5}, "from 0 to 1"),
        ({"loose": "half"}, "from 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_source("scenes", **options)


def test_more_captions_tell_of_the_same_scene_and_need_no_picture(monkeypatch):
    one, three = ScenesSource(count=4, objects=2), ScenesSource(count=4, objects=2, captions=3)
    texts = three.text(1)
    assert len(texts) == 6 and one.text(1) == (texts[0], texts[3]) and three.read(1).text == texts
    assert one.fingerprint() != three.fingerprint()
    monkeypatch.setattr("inkwash.data.scenes.source.render", None)
    assert three.text(2)
    with pytest.raises(ConfigError, match="at least 1 caption"):
        ScenesSource(captions=0)


def test_loose_captions_name_all_objects_and_no_relation():
    strict, loose, some = (ScenesSource(size=64, count=120, captions=2, loose=share) for share in (0, 1, 0.25))
    for i in range(120):
        scene = loose.scene(i)
        for text in loose.text(i):
            things, relation = said(text)
            assert relation is None and things == tuple((o.shape, o.colour) for o in scene.objects), text
            beside = any(word in text for word in ("beside", "next to", "旁边"))
            assert not beside or (len(things) == 2 and scene.relation in ("left of", "right of")), "it must be true"
    told = [a == b for i in range(120) if len(strict.scene(i).objects) > 1 for a, b in zip(strict.text(i), some.text(i))]
    assert 0.15 < 1 - sum(told) / len(told) < 0.35 and loose.scene(3) == strict.scene(3)


def test_captions_are_understood():
    source = ScenesSource(size=64, count=150, split="all", captions=2)
    for i in range(150):
        scene = source.scene(i)
        for text in source.text(i):
            things, relation = said(text)
            assert things == tuple((o.shape, o.colour) for o in scene.objects) and relation == scene.relation, text
            assert tells(text, scene)


def test_what_a_caption_leaves_out_or_makes_up_is_seen():
    scene = next(s for s in map(ScenesSource(size=64, count=100).scene, range(100)) if len(s.objects) == 2 and s.relation == "left of")
    a, b = (f"a {o.colour} {o.shape}" for o in scene.objects)
    assert tells(f"{a} left of {b}", scene) and tells(f"{b} to the right of {a}", scene)
    others = (
        f"{a} above {b}",
        f"{b} left of {a}",
        f"{a} and {b}",
        a,
        f"{a} left of {b} and a {scene.objects[0].colour} ring",
        "",
        "nothing",
    )
    assert not any(tells(text, scene) for text in others)
    assert said("画面里，粉红色圆点小星星的左边有一个大大的红色心形") == ((("heart", "red"), ("star", "pink")), "left of")
