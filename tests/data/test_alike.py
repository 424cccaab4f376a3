"""Scenes in which several things are of one kind: made, told with their number, read back, and counted."""

import re
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest

from inkwash.core.errors import ConfigError
from inkwash.data.scenes import (
    Object,
    Scene,
    ScenesSource,
    Settings,
    Unreadable,
    agree,
    parse,
    render,
    said,
    sample,
    split_of,
    tells,
)
from inkwash.data.scenes.world import alike, covered, holds, relates

COUNT = 80


@pytest.fixture(scope="module")
def scenes():
    source = ScenesSource(size=64, count=COUNT, captions=2, alike=1.0)
    return [(source.scene(i), source.text(i)) for i in range(COUNT)]


def test_several_things_are_of_one_kind_and_touch_nothing(scenes):
    groups = Counter(tuple(map(len, alike(scene))) for scene, _ in scenes)
    assert {(1,), (2,), (3,), (4,), (1, 2), (2, 1)} <= set(groups) and (1, 1) not in groups
    for scene, _ in scenes:
        colours = [group[0].colour for group in alike(scene)]
        assert len(set(colours)) == len(colours), "things of one colour are of one kind"
        for group in alike(scene):
            assert len({(o.shape, o.colour, o.size, o.texture) for o in group}) == 1
        for one, other in combinations(scene.objects, 2):
            assert covered(replace(one, diameter=1.14 * one.diameter), [other]) == 0
        if scene.relation:
            assert relates(*alike(scene)[:1], scene.relation, alike(scene)[1])


def test_a_share_of_scenes_and_the_others_as_they_were():
    some = [sample(0, i, 64, Settings(alike=0.4)) for i in range(120)]
    several = [s for s in some if len(s.objects) > 1]
    assert 0.25 < sum(len(alike(s)) < len(s.objects) for s in several) / len(several) < 0.55
    assert {split_of(sample(0, i, 64, Settings(alike=1.0), "test")) for i in range(20)} == {"test"}
    assert all(len(alike(sample(0, i, 64))) == len(sample(0, i, 64).objects) for i in range(60))


def test_they_are_told_at_once_and_the_caption_is_understood(scenes):
    for scene, texts in scenes:
        for text in texts:
            assert said(text) == (tuple((o.shape, o.colour) for o in scene.objects), scene.relation), text
            assert tells(text, scene), text
            several = len(scene.objects) > len(alike(scene))
            assert several == bool(re.search(r"\b(two|three|four)\b|[两三四234][ 个颗弯]", text)), text
    english = " ".join(texts[0] for _, texts in scenes)
    assert "crosses" in english and "there are " in english and not re.search(r"there is (two|three|four|\d)", english)


@pytest.mark.parametrize("text, wrong", [
    ("two red stars and a blue ring", ("a red star and a blue ring", "3 red stars and a blue ring", "two red stars and two blue rings")),
    ("两颗红色星星和一个蓝色圆环", ("一颗红色星星和一个蓝色圆环", "两颗红色星星", "2颗红色星星和3个蓝色圆环")),
])  # fmt: skip
def test_a_wrong_number_is_no_true_caption(scenes, text, wrong):
    scene = next(s for s, _ in scenes if list(map(len, alike(s))) == [2, 1])
    star, ring = (group[0] for group in alike(scene))
    star, ring = replace(star, shape="star", colour="red"), replace(ring, shape="ring", colour="blue")
    scene = Scene((star, replace(star, x=1 - star.x), ring), None)
    assert tells(text, scene) and not any(tells(other, scene) for other in wrong)


def test_they_are_read_back_one_by_one(scenes):
    for scene, _ in scenes[:30]:
        seen = parse(render(scene, 64), alike=True)
        assert seen and all(agree(scene, seen).objects) and agree(scene, seen).count and agree(scene, seen).relation is not False
    pair = next(scene for scene, _ in scenes if list(map(len, alike(scene))) == [2])
    one = parse(render(pair, 64))
    assert isinstance(one, Unreadable) or len(one.objects) == 1, "unless asked for, a colour is one thing"


def test_of_two_that_were_asked_for_one_is_half_right(scenes):
    scene = next(s for s, _ in scenes if list(map(len, alike(s)))[:2] == [2, 1] and s.relation)
    first, second, third = scene.objects[:3]
    assert agree(scene, scene) == ((True,) * len(scene.objects), True, True)
    fewer = agree(scene, replace(scene, objects=(first, *scene.objects[2:])))
    assert fewer.objects[:3] == (True, False, True) and not fewer.count and fewer.relation is False
    strayed = replace(second, x=third.x, y=third.y)
    assert agree(scene, replace(scene, objects=(first, strayed, *scene.objects[2:]))).relation is False, "each of them must stand so"


def test_several_things_stand_as_a_whole():
    def circle(x, y, z=0):
        return Object("circle", "red", "small", "plain", x, y, 0.2, z)

    pair, square = [circle(0.2, 0.2), circle(0.8, 0.2)], replace(circle(0.5, 0.6, 1), shape="square", colour="blue")
    assert relates(pair, "above", [square]) and relates([square], "below", pair) and not relates(pair, "left of", [square])
    assert not any(holds(one, "above", square) for one in pair), "by itself each lies too far aside"
    assert not relates([pair[0], circle(0.8, 0.58)], "above", [square]), "each must be higher"
    assert not relates([pair[0], circle(0.1, 0.2)], "above", [square]), "they lie aside as a whole"
    assert not relates([], "above", [square]) and relates(pair[:1], "left of", pair[1:])
    front = [square, replace(square, x=0.45)]
    assert relates(front, "in front of", [circle(0.5, 0.65)]) and relates([circle(0.5, 0.65)], "behind", front)
    assert not relates(front, "in front of", [circle(0.5, 0.65), pair[0]])


def test_the_share_is_a_share_and_another_one_another_set():
    for wrong in (1.5, "half", -1):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            ScenesSource(64, 12, alike=wrong)
    assert len({ScenesSource(64, 12, alike=share).fingerprint() for share in (0.0, 0.2, 1.0)}) == 3
