"""The demo: a short one in full, again on a trained folder, after a stop, and beside another run."""

import json

import pytest
import torch
from PIL import Image

from inkwash.cli import demo
from inkwash.core.errors import FileError
from inkwash.core.pixels import from_uint8
from inkwash.data.scenes import Settings, render, sample
from inkwash.training.run import read_run
from tiny import run_config, write_npz


@pytest.fixture
def small(monkeypatch):
    configure, net = demo.configure, {"model.net.width": 8, "model.net.blocks": 1, "train.samples": 4}
    monkeypatch.setattr(demo, "configure", lambda *args, settings, **more: configure(*args, settings=settings | net, **more))
    monkeypatch.setattr(demo, "SOURCE", "scenes?objects=1&plain=true&size=32&count=200")
    monkeypatch.setattr(demo, "SAMPLES", 4)


@pytest.fixture
def drawn_before(monkeypatch):
    """What the model of the package draws is looked at once."""
    monkeypatch.setattr(demo, "drawn", lambda place: str(place / "drawn.png"))


def test_trains_draws_and_reads_back_and_a_second_time_only_draws(small, tmp_path, capsys):
    demo.run(str(tmp_path / "d"), "1s", True)
    first = json.loads(capsys.readouterr().out)
    assert 0 <= first["share_right"] <= 1
    assert all(Image.open(p).size[0] > 32 for p in first["pictures"])
    images = read_run(tmp_path / "d")["images"]
    demo.run(str(tmp_path / "d"), "1s", False)
    out = capsys.readouterr()
    assert "is trained already" in out.err
    assert "show the shape and colour asked for" in out.out
    assert read_run(tmp_path / "d")["images"] == images


def test_without_a_budget_it_is_so_many_pictures(small, drawn_before, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "PICTURES", 48)
    demo.run(str(tmp_path / "d"), None, True)
    assert "on 48 pictures, or for 10 min" in capsys.readouterr().err and read_run(tmp_path / "d")["images"] == 48


def test_a_machine_that_is_too_slow_for_them_stops_in_time(small, drawn_before, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "MOST", 0.5)
    demo.run(str(tmp_path / "d"), None, True)
    record = read_run(tmp_path / "d")
    assert record["status"] == "finished" and record["images"] < demo.PICTURES
    assert demo.planned("90s").train.steps is None and demo.planned("90s").train.budget == 90


def test_a_stopped_demo_goes_on_and_another_run_is_left_alone(small, drawn_before, tmp_path, capsys):
    demo.run(str(tmp_path / "d"), "1s", True)
    record = read_run(tmp_path / "d") | {"status": "stopped"}
    (tmp_path / "d" / "run.json").write_text(json.dumps(record))
    demo.run(str(tmp_path / "d"), "1s", True)
    assert "was stopped: going on" in capsys.readouterr().err
    assert read_run(tmp_path / "d")["status"] == "finished"
    demo.train(run_config("vae", write_npz(tmp_path / "a.npz"), steps=1), tmp_path / "other", quiet=True)
    with pytest.raises(FileError, match="run of something else"):
        demo.run(str(tmp_path / "other"), "1s", True)


def test_a_render_shows_its_class_and_noise_shows_none():
    scene = sample(0, 0, 32, Settings(objects=1, plain=True))
    image = from_uint8(torch.from_numpy(render(scene, 32).transpose(2, 0, 1).copy()))
    assert demo.shown(image) == f"{scene.objects[0].colour} {scene.objects[0].shape}"
    assert demo.shown(torch.randn(3, 32, 32).clamp(-1, 1)) is None
