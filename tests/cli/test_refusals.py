"""What the command line refuses: one sentence, exit code 2, and nothing lost."""

import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny import QUICK, write_folder


def bomb(side: int = 60000) -> bytes:
    """A PNG of side x side pixels whose data end after a few."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("text", ["", "m", "10x", "ten", "-5m", "0", "1..5s", "1.5.2m", "10m5x", "inf", "nan"])
def test_a_budget_that_is_none(text, ten, refused, tmp_path):
    message = refused("train", "vae", "--data", ten, "--out", tmp_path / "r", "--budget", text)
    assert "is not a length of time: write 90s, 10m, 2h or 1h30m" in message
    assert list(tmp_path.iterdir()) == []


def data_folder(root: Path, what: str) -> Path:
    root.mkdir()
    if what == "text":
        for i in range(3):
            (root / f"{i}.txt").write_text("hello")
    if what == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(root / "cut.png")
        (root / "cut.png").write_bytes((root / "cut.png").read_bytes()[:2000])
    if what == "bomb":
        (root / "bomb.png").write_bytes(bomb())
    return root


@pytest.mark.parametrize(
    "what, words",
    [
        ("empty", "holds no images"),
        ("text", "holds no images"),
        ("truncated", "cut.png"),
        ("bomb", "60000 x 60000|larger than 179 megapixels"),
    ],
)
def test_bad_data(what, words, refused, tmp_path):
    import re

    message = refused("train", "vae", "--data", data_folder(tmp_path / "data", what), "--out", tmp_path / "run", "--steps", 1, *QUICK)
    assert re.search(words, message), message
    assert not (tmp_path / "run").exists()


def test_a_bomb_among_pictures_is_refused_or_skipped_never_decoded(refused, tmp_path):
    folder = Path(write_folder(tmp_path / "data", 10, classes=()))
    (folder / "bomb.png").write_bytes(bomb())
    assert "bomb.png" in refused("train", "vae", "--data", folder, "--out", tmp_path / "run", "--steps", 1, *QUICK)


@pytest.mark.parametrize(
    "args, words",
    [
        (("vea", "--data", "DATA"), "There is no recipe 'vea'; did you mean 'vae'?"),
        (("mine.py:recipe", "--data", "DATA"), "There is no file mine.py"),
        (("vae",), "Name the data to train on"),
        ((), "Name a recipe"),
        (("vae", "--data", "nowhere"), "There is no data at 'nowhere'"),
        (("vae", "--data", "DATA:tset"), "tset"),
        (("vae", "--data", "DATA", "--set", "train.bacth=4"), "train has no 'bacth'; did you mean 'batch'?"),
        (("vae", "--data", "DATA", "--set", "model.net.widht=4"), "model.net has no 'widht'; did you mean 'width'?"),
        (("vae", "--data", "DATA", "--set", "data.view.sise=4"), "has no 'sise'; did you mean 'size'?"),
        (("vae", "--data", "DATA", "--set", "train.lr"), "'train.lr' is not a setting: write key=value"),
        (("vae", "--data", "DATA", "--set", "train.lr=fast"), "'train.lr' cannot be 'fast'"),
        (("vae", "--data", "DATA", "--set", "model.net.fold=0"), "'net.fold' cannot be 0"),
        (("vae", "--data", "DATA", "--set", "model.shape=[3, 9, 9]", "--steps", "1"), "the data are (3, 8, 10)"),
        (("vae", "--data", "DATA", "--set", "train.accumulate=3", "--steps", "1"), "cannot share equally"),
        (("vae", "--data", "DATA", "--set", "train.device=gpu", "--steps", "1"), "There is no device 'gpu'"),
        (("--resume",), "is not a run folder"),
        (("vae", "--data", "DATA", "--code", "none.py"), "There is no file none.py"),
    ],
)
def test_what_train_refuses(args, words, ten, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = [a.replace("DATA", ten) for a in args]
    assert words in refused("train", *args, "--out", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_a_resume_refuses(ten, trained, refused, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained / "gan", run)
    assert "already a run" in refused("train", "gan", "--data", ten, "--out", run, "--steps", 1)
    assert "keeps its data" in refused("train", "gan", "--data", "digits", "--resume", "--out", run)
    assert "'train.lr' cannot change" in refused("train", "--resume", "--out", run, "--set", "train.lr=1")
    newest = sorted((run / "checkpoints").iterdir())[-1] / "weights.safetensors"
    data = bytearray(newest.read_bytes())
    data[-5] ^= 4
    newest.write_bytes(bytes(data))
    assert "is damaged" in refused("train", "--resume", "--out", run)
    assert newest.read_bytes() == bytes(data), "nothing is touched"


@pytest.mark.parametrize(
    "how",
    ["none", "empty", "flipped", "pickle", "text", "class", "number", "option", "set", "solver", "precision", "device", "out", "file"],
)
def test_what_sample_refuses(how, trained, refused, tmp_path):
    run, out, args = tmp_path / "run", tmp_path / "pictures", []
    shutil.copytree(trained / "gan", run)
    weights = run / "model" / "model.safetensors"
    if how == "none":
        run, words = tmp_path / "nowhere", "nowhere does not exist"
    elif how == "empty":
        run, words = tmp_path, "is not a run or a model folder"
    elif how == "flipped":
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(bytes(data))
        words = "is damaged"
    elif how == "pickle":
        weights.write_bytes(pickle.dumps({"a": 1}))
        words = "pickled weights are never read"
    elif how == "text":
        (run / "model" / "config.json").write_text("hello")
        words = "config.json is damaged"
    elif how in ("out", "file"):
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "more" if how == "out" else tmp_path / "file"
        words = "Cannot make the folder"
    else:
        args, words = {
            "class": (["--class", "dgo"], "did you mean 'dog'?"),
            "number": (["--class", "2"], "has no class '2'"),
            "option": (["-o", "truncatoin=1"], "did you mean 'truncation'?"),
            "set": (["-o", "truncation"], "write key=value"),
            "solver": (["--solver", "heun"], "There is no setting 'solver'"),
            "precision": (["--precision", "fp8"], "There is no precision 'fp8'"),
            "device": (["--device", "gpu"], "There is no device 'gpu'"),
        }[how]
    assert words in refused("sample", run, "-n", 1, "--out", out, *args)


def test_what_cannot_act_is_refused_before_anything_is_written(trained, refused, tmp_path):
    out = tmp_path / "pictures"
    assert "eta: heun takes no share" in refused("sample", trained / "diffusion", "--solver", "heun", "-o", "eta=0.5", "--out", out)
    assert "the lower one first" in refused("sample", trained / "diffusion", "-o", "interval=[0.6,0.2]", "--out", out)
    assert not out.exists()


def test_what_show_refuses(refused, tmp_path):
    assert "is not methods, recipes, models, data" in refused("show", "everything")
    (tmp_path / "a.png").write_text("hello")
    assert "is not a picture" in refused("show", tmp_path / "a.png")
    (tmp_path / "bomb.png").write_bytes(bomb())
    assert "is not a picture" in refused("show", tmp_path / "bomb.png")
    (tmp_path / "run.json").write_text("{}")
    assert "run.json" in refused("show", tmp_path)
