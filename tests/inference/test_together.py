"""Requests that are served as one."""

import pytest

from inkwash.core.errors import ConfigError
from inkwash.core.model import watched
from inkwash.inference.runner import Request, Runner


@pytest.fixture(scope="module")
def runner():
    return Runner("cpu", "fp32")


def asked(seed, prompt, n=1, **more):
    return Request(model="scenes-64", prompt=prompt, n=n, seed=seed, of=1, options={"steps": 2}, **more)


def test_a_picture_is_the_same_alone_and_together(runner):
    requests = [asked(3, "a red circle"), asked(90, "一个绿色方块和一个小小的星星", n=2), asked(3, "a large yellow star on a dark ground")]
    alone = runner.run(requests)
    together = runner.together(requests)
    assert [r.seeds for r in together] == [[3], [90, 91], [3]]
    for one, other in zip(alone, together):
        assert one.images.shape == other.images.shape and (one.images - other.images).abs().max() < 1e-4
        assert one.facts == other.facts
    assert (together[0].images - together[2].images).abs().max() > 0.1  # the same noise, another text


def test_chosen_pictures_are_the_same_alone_and_together(runner):
    requests = [asked(3, "a red circle").model_copy(update={"of": 2}), asked(7, "a green star", n=2).model_copy(update={"of": 2})]
    alone, together = runner.run(requests), runner.together(requests)
    for one, other in zip(alone, together):
        assert [f["drawn"] for f in one.facts] == [f["drawn"] for f in other.facts]
        assert (one.images - other.images).abs().max() < 1e-4


def test_what_is_not_alike_is_told(runner):
    one = asked(1, "a")
    assert runner.alike(one, asked(2, "b", n=3))
    assert not runner.alike(one, one.model_copy(update={"options": {"steps": 3}}))
    assert not runner.alike(one, one.model_copy(update={"of": 2}))
    assert not runner.alike(one, one.model_copy(update={"prompt": None}))
    with pytest.raises(ConfigError, match="empty"):
        runner.together([one, asked(1, " ")])


def test_who_watches_sees_the_images_become_clear(runner):
    looks = []
    with watched(lambda images: looks.append(images())):
        (result,) = runner.run([asked(5, "a red circle", n=2).model_copy(update={"options": {"steps": 4}})])
    assert len(looks) == 4 and all(x.shape == result.images.shape for x in looks)
    far = [(x - result.images).square().mean().item() for x in looks]
    assert far[-1] < 1e-3 < far[0] and far == sorted(far, reverse=True)
    looks.clear()
    runner.run([asked(5, "a red circle")])
    assert not looks
