"""Whether a picture shows what was asked for, and how that is counted."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inkwash.core.errors import ConfigError
from inkwash.core.pixels import from_uint8
from inkwash.data.scenes import ScenesSource, Unreadable, agree, parse, render
from inkwash.inference import prompts as prompts_module
from inkwash.inference.evaluate import evaluate_model, silent
from inkwash.inference.load import load
from inkwash.inference.prompts import prompt_rows
from inkwash.training import train
from tiny import captioned, run_config, write_npz

SOURCE = {split: ScenesSource(size=64, count=24, split=split) for split in ("test", "val")}
SEVERAL = {split: ScenesSource(size=64, count=12, split=split, alike=1.0) for split in ("test", "val")}


@functools.cache
def drawn(source: ScenesSource, i: int):
    return render(source.scene(i), 64)


@pytest.fixture
def remembering(monkeypatch):
    """A painter draws the same pictures in both languages and from every seed: each is read once."""
    monkeypatch.setattr(prompts_module, "parse", lambda image, alike: read(image.tobytes(), image.shape, alike))


@functools.cache
def read(data: bytes, shape: tuple[int, ...], alike: bool):
    return parse(np.frombuffer(data, np.uint8).reshape(shape), alike)


def painter(of=lambda i: i):
    """A model that draws for the i-th prompt what the of(i)-th asks for."""
    calls = []

    def sample(n, seed, label, batch, on_step, prompts, **options):
        ours = (*SOURCE.values(), *SEVERAL.values())
        source = next(s for s in ours if len(s) >= n and all(prompt in s.text(i) for i, prompt in enumerate(prompts)))
        calls.append((seed, prompts, options))
        return from_uint8(torch.stack([torch.from_numpy(drawn(source, of(i))).permute(2, 0, 1) for i in range(n)]))

    config = SimpleNamespace(shape=(3, 64, 64))
    return SimpleNamespace(name="painter", sample=sample, model=SimpleNamespace(config=config), calls=calls)


def test_a_scene_agrees_with_itself_and_not_with_others():
    scene = next(s for s in map(SOURCE["val"].scene, range(24)) if len(s.objects) == 3 and s.relation in ("left of", "above"))
    assert agree(scene, scene) == ((True,) * 3, True, True)
    assert agree(scene, Unreadable("fog")) == ((False,) * 3, False, False)
    fewer = replace(scene, objects=scene.objects[:2])
    assert agree(scene, fewer) == ((True, True, False), False, True)
    assert agree(scene, replace(scene, objects=scene.objects[1:])).relation is False, "one of the two is not there"
    red = replace(scene.objects[1], colour=next(c for c in ("red", "blue", "green", "pink") if c not in {o.colour for o in scene.objects}))
    assert agree(scene, replace(scene, objects=(scene.objects[0], red, scene.objects[2]))).objects == (True, False, True)
    first, second = scene.objects[:2]
    swapped = (replace(first, x=second.x, y=second.y), replace(second, x=first.x, y=first.y), scene.objects[2])
    assert agree(scene, replace(scene, objects=swapped)) == ((True,) * 3, True, False)
    assert agree(replace(scene, relation=None), scene).relation is None


def test_who_draws_what_is_asked_for_has_all_points(remembering):
    model = painter()
    rows = prompt_rows(model, "scenes?size=64&count=24", 24, 2, 8, silent, steps=3)
    assert list(rows) == [f"painter, {x}, {y} compositions" for y in ("held-out", "known") for x in ("English", "Chinese")]
    for figures in rows.values():
        of = {f.name: f for f in figures}
        assert (
            of["objects"].value >= 0.97 and of["counts"].value >= 0.95 and of["relations"].value >= 0.9 and of["unreadable"].value <= 0.05
        )
        assert of["objects of two"].n < of["objects"].n and of["counts"].n == 48
    assert len(model.calls) == 8 and len({seed for seed, *_ in model.calls}) == 2 and model.calls[0][2] == {"steps": 3}
    english, chinese = model.calls[0][1], model.calls[2][1]
    assert english[0].isascii() and not chinese[0].isascii()


def test_things_of_one_kind_are_read_one_by_one(remembering):
    for figures in prompt_rows(painter(), "scenes?size=64&count=12&alike=1", 12, 1, 12, silent).values():
        of = {f.name: f.value for f in figures}
        assert of["objects"] >= 0.95 and of["counts"] >= 0.9 and of["unreadable"] <= 0.1


def test_where_no_relation_is_asked_for_none_is_counted(remembering):
    source = ScenesSource(size=64, count=24, split="test", loose=1)
    model = painter()
    real = model.sample
    by_number = lambda n, seed, label, batch, on_step, prompts, **options: real(  # noqa: E731
        n,
        seed,
        label,
        batch,
        on_step,
        [SOURCE["test" if prompts[0] == source.text(0)[0] else "val"].text(i)[0] for i in range(n)],
        **options,
    )
    model.sample = by_number
    rows = prompt_rows(model, "scenes?size=64&count=24&lang=en&loose=1", 24, 1, 8, silent)
    of = {f.name: f for f in rows["painter, English, held-out compositions"]}
    assert "relations" not in of and of["objects"].value >= 0.97 and of["counts"].value >= 0.95


def test_who_draws_something_else_has_few(remembering):
    rows = prompt_rows(painter(lambda i: (i + 1) % 24), "scenes?size=64&count=24&lang=en", 24, 1, 8, silent)
    of = {f.name: f.value for f in rows["painter, English, known compositions"]}
    assert of["objects"] < 0.3 and of["relations"] < 0.2


def test_both_splits_stand_in_one_table(tmp_path):
    source = "scenes?size=16&count=8&lang=zh"
    loaded = load(train(run_config("text", source, steps=1), tmp_path / "run", quiet=True), "cpu", "fp32")
    table = evaluate_model(loaded, source, 4, "prompts", steps=1).table
    assert list(table.rows) == [f"run, Chinese, {kind} compositions" for kind in ("held-out", "known")]


def test_a_trained_model_is_measured_and_others_are_refused(tmp_path):
    source = write_npz(tmp_path / "a.npz")
    out = train(run_config("text", source, steps=1), tmp_path / "run", quiet=True)
    loaded = load(out, "cpu", "fp32")
    with pytest.raises(ConfigError, match="read in scenes only"):
        evaluate_model(loaded, captioned(source), 2, "prompts")
    with pytest.raises(ConfigError, match="draws 8 pixels a side"):
        evaluate_model(loaded, "scenes?size=64&count=4", 2, "prompts")
    with pytest.raises(ConfigError, match="a table of their own"):
        evaluate_model(loaded, "scenes?size=64&count=4", 2, "prompts,fd")
    plain = load(train(run_config("vae", source, steps=1), tmp_path / "plain", quiet=True), "cpu", "fp32")
    with pytest.raises(ConfigError, match="prompts cannot be measured here"):
        evaluate_model(plain, "scenes?size=64", 2, "prompts")
