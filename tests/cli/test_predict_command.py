"""inkwash predict."""

import json

import pytest
import torch
from PIL import Image

from annex_e import first_label_of
from inkwash.core.files import save_model
from inkwash.data import open_source
from inkwash.data.decode import decode_clip
from inkwash.inference.pictures import save_gif
from inkwash.methods.sequence import SequenceConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.recurrent import ConvLSTMConfig
from tiny import stir_


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A stochastic model and a clip."""
    root = tmp_path_factory.mktemp("predict")
    net, eye = ConvLSTMConfig(width=8, fold=2), PyramidConfig(width=4, most=8)
    config = SequenceConfig(shape=(1, 16, 16), latent=2, hidden=8, eye=eye, net=net)
    model = config.build()
    stir_(model, 0.1)
    save_model(root / "model", config, model.state_dict())
    clip = open_source("moving?frames=4&size=16").read(0).image[..., 0]
    save_gif(root / "clip.gif", torch.from_numpy(clip[:, None]).float() / 127.5 - 1)
    return root


def test_frames_and_animations(place, cli, tmp_path):
    out = tmp_path / "out"
    code, text, err = cli("predict", place / "model", "--frames", place / "clip.gif", "-n", 3, "--futures", 2, "--out", out, "--json")
    assert code == 0, err
    record = json.loads(text)
    assert record["frames"] == 3 and len(record["wrote"]) == 2 and record["facts"]["known"] == 4
    assert len(decode_clip((out / "future-01" / "clip.gif").read_bytes(), "clip.gif")) == 7
    assert sorted(p.name for p in (out / "future-00").glob("*.png")) == ["00004.png", "00005.png", "00006.png"]
    assert Image.open(out / "future-00" / "00004.png").size == (16, 16) and (out / "grid.png").is_file()


def test_frames_are_labelled(place, cli, tmp_path):
    label = ("--label", "cn", "--producer", "91110000MA01TEST0X")
    code, _, err = cli("predict", place / "model", "--frames", place / "clip.gif", "-n", 1, "--out", tmp_path, *label)
    assert code == 0, err
    assert all(first_label_of((tmp_path / name).read_bytes()) for name in ("00004.png", "grid.png"))


def test_what_is_refused(place, trained, refused, tmp_path):
    assert "does not continue clips" in refused("predict", trained / "vae", "--frames", place / "clip.gif", "--out", tmp_path)
    assert "no clip" in refused("predict", place / "model", "--frames", tmp_path / "none.gif", "--out", tmp_path)
