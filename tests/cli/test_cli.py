"""The command line: what it prints, what it writes, and one sentence with exit code 2 for what a person can put right."""

import json
import os
import pickle
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import toy
from inkwash.cli import main as main_module
from inkwash.inference.pictures import read_facts
from inkwash.recipes import RECIPES
from tiny import contents, write_folder, write_npz

SMALL = [
    *("--set", "model.net.width=4", "--set", "model.net.blocks=1", "--set", "train.precision=fp32", "--set", "train.batch=4"),
    *("--set", "train.samples=4", "--set", "train.device=cpu", "--set", "train.warm_up=0"),
]  # fmt: skip

BEGUN = {"distill"}  # recipes that begin from a trained model


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def call(*args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inkwash", *map(str, args)])
        capfd.readouterr()
        code = 0
        try:
            main_module.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def refused(cli):
    """The sentence with which a command is refused."""

    def call(*args) -> str:
        code, out, err = cli(*args)
        assert code == 2, (code, out, err)
        assert "Traceback" not in err and out == ""
        last = err.rstrip("\n").split("\n")[-1]
        assert last.startswith("inkwash: ") and last.endswith((".", "?")), err
        assert all(line.startswith("Skipped: ") for line in err.rstrip("\n").split("\n")[:-1]), err
        return last

    return call


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten PNG files in two classes."""
    return write_folder(tmp_path_factory.mktemp("data") / "ten", 10, (10, 8))


@pytest.fixture(scope="module")
def trained(ten, tmp_path_factory):
    """A run of every recipe on ten pictures."""
    from inkwash.recipes.start import configure
    from inkwash.training.run import train

    root = tmp_path_factory.mktemp("runs")
    settings = dict(text.split("=") for text in SMALL[1::2])
    for name in sorted(RECIPES, key=lambda name: name in BEGUN):
        start = root / "diffusion" if name in BEGUN else None
        train(configure(name, ten, steps=2, settings=settings, start=start), root / name, quiet=True)
    return root


def bomb(side: int = 60000) -> bytes:
    """A PNG of side x side pixels whose data end after a few."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


# ---- help


def test_help_answers_at_once_without_torch():
    """Processor time, the best of five: the machine may be busy."""
    code = """
import sys
from inkwash.cli.main import main
try:
    main()
finally:
    print([m for m in ("torch", "numpy", "PIL", "accelerate") if m in sys.modules])
"""
    best = 9.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert out.rstrip().endswith("[]")
    assert best < 0.5, f"{best:.2f} s"


def test_help_pages_name_every_verb_and_option(cli):
    code, out, _ = cli("--help")
    verbs = ("train", "sample", "evaluate", "show", "doctor")
    assert code == 0 and all(v in out for v in verbs) and all(g in out for g in ("Make", "Measure", "Describe"))
    for verb in verbs:
        code, out, _ = cli(verb, "--help")
        assert code == 0 and "--json" in out
    code, out, _ = cli("train", "--help")
    assert all(o in out for o in ("--data", "--out", "--set", "--budget", "--steps", "--resume", "--dry-run", "--code"))
    code, out, _ = cli("sample", "--help")
    assert all(o in out for o in ("-n", "--class", "--seed", "--solver", "--steps", "--guidance", "--out", "-o"))


def test_as_a_module():
    from inkwash import __version__

    out = subprocess.run([sys.executable, "-m", "inkwash", "--version"], capture_output=True, text=True, check=True).stdout
    assert out == f"inkwash {__version__}\n"


# ---- round trip


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - BEGUN))
def test_train_sample_show(recipe, ten, cli, tmp_path):
    run, pictures = tmp_path / "run", tmp_path / "pictures"
    code, out, err = cli("train", recipe, "--data", ten, "--out", run, "--steps", 2, *SMALL)
    assert code == 0, err
    assert "finished: 8 images in 2 steps" in out and f"wrote {run / 'model'}" in out
    for line in out.splitlines()[1:]:
        assert Path(line.removeprefix("wrote ")).exists()
    assert {"parameters", "FLOPs", "memory"} <= {line.split()[0] for line in err.splitlines() if line.strip()}
    assert {p.name for p in run.iterdir()} == {"run.json", "metrics.jsonl", "samples", "checkpoints", "model"}
    card = (run / "model" / "README.md").read_text()
    count = json.loads((run / "run.json").read_text())["data"]["count"]
    assert 5 <= count < 10, "some are held out"
    assert all(words in card for words in (f"# {recipe} on {ten}", "3x8x10", "cat, dog", f"{count} images")), card

    code, out, err = cli("sample", run, "-n", 3, "--seed", 5, "--class", "dog", "--out", pictures, "--device", "cpu", "--precision", "fp32")
    assert code == 0, err
    assert f"wrote 3 images and grid.png to {pictures}" in out
    assert sorted(p.name for p in pictures.iterdir()) == ["00000.png", "00001.png", "00002.png", "grid.png"]
    with Image.open(pictures / "00002.png") as picture:
        assert picture.size == (10, 8) and picture.mode == "RGB"
        assert "Seed: 7" in picture.text["parameters"]
    facts = read_facts(pictures / "00002.png")
    assert (facts["seed"], facts["class"], facts["model"], facts["kind"]) == (7, "dog", "run", recipe)

    code, out, _ = cli("show", run)
    assert code == 0 and recipe in out and "finished" in out and f"{ten} ({count} images)" in out
    code, out, _ = cli("show", pictures / "00002.png")
    assert code == 0 and "dog" in out and "7" in out
    code, out, _ = cli("show", run / "model")
    assert code == 0 and json.loads(out)["kind"] == recipe


def test_distill_begins_from_a_run(ten, cli, tmp_path):
    teacher, run = tmp_path / "teacher", tmp_path / "few"
    assert cli("train", "diffusion", "--data", ten, "--out", teacher, "--steps", 2, *SMALL)[0] == 0
    code, out, err = cli("train", "distill", "--from", teacher, "--out", run, "--steps", 2, *SMALL[-2:])
    assert code == 0, err
    record = json.loads((run / "run.json").read_text())
    assert record["config"]["start"] == str(teacher) and record["config"]["data"]["source"] == str(ten)
    assert record["config"]["model"]["options"]["steps"] == 4 and record["config"]["objective"]["kind"] == "matching"
    shutil.rmtree(teacher)
    code, _, err = cli("train", "--resume", "--out", run, "--steps", 3)
    assert code == 0, "what it began from is not needed any more: " + err
    code, out, err = cli("sample", run, "-n", 1, "--out", tmp_path / "x", "--json")
    assert code == 0 and json.loads(out)["facts"]["solver"] == "consistency"

    for args, words in (
        (["distill", "--data", ten], "--from"),
        (["distill", "--from", tmp_path / "none"], "does not exist"),
        (["distill", "--from", run, "--data", ten], "student already"),
        (["gan", "--from", run, "--data", ten, *SMALL], "does not fit"),
    ):
        code, _, err = cli("train", *args, "--out", tmp_path / "no", "--steps", 1)
        assert code == 2 and words in err and "Traceback" not in err, err
        assert not (tmp_path / "no").exists() or not (tmp_path / "no" / "run.json").exists()


def test_resume_from_the_command_line(ten, cli, tmp_path):
    run = tmp_path / "run"
    assert cli("train", "gan", "--data", ten, "--out", run, "--steps", 2, *SMALL)[0] == 0
    code, out, err = cli("train", "--resume", "--out", run, "--steps", 4)
    assert code == 0 and "finished: 16 images in 4 steps" in out and "Going on from step 2" in err


def test_a_seed_gives_the_same_files(trained, cli, tmp_path):
    for name in "ab":
        args = ("sample", trained / "vae", "-n", 2, "--out", tmp_path / name, "--device", "cpu", "--precision", "fp32")
        assert cli(*args)[0] == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_options_of_the_models_own(trained, cli, tmp_path):
    common = ("--out", tmp_path, "-n", 1, "--device", "cpu", "--precision", "fp32")
    solver = ("--solver", "heun", "--steps", 3, "--guidance", 2.5, "-o", "clamp=false")
    code, _, err = cli("sample", trained / "diffusion", *common, *solver)
    assert code == 0, err
    facts = read_facts(tmp_path / "00000.png")
    assert (facts["solver"], facts["steps"], facts["guidance"], facts["clamp"]) == ("heun", 3, 2.5, False)
    assert cli("sample", trained / "vae", *common, "-o", "pixels=sample")[0] == 0
    assert read_facts(tmp_path / "00000.png")["pixels"] == "sample"


def test_json_is_one_line(ten, trained, cli, tmp_path):
    calls = {
        "train": ("train", "gan", "--data", ten, "--out", tmp_path / "run", "--steps", 1, "--json", *SMALL),
        "dry": ("train", "vae", "--data", ten, "--out", tmp_path / "dry", "--steps", 1, "--dry-run", "--json", *SMALL),
        "sample": ("sample", trained / "gan", "-n", 1, "--out", tmp_path / "pictures", "--json", "--device", "cpu", "--precision", "fp32"),
        "methods": ("show", "methods", "--json"),
        "recipes": ("show", "recipes", "--json"),
        "data": ("show", "data", "--json"),
        "show": ("show", trained / "gan", "--json"),
        "picture": ("show", tmp_path / "pictures" / "00000.png", "--json"),
        "doctor": ("doctor", "--json"),
    }
    records = {}
    for name, args in calls.items():
        code, out, err = cli(*args)
        assert code == 0, err
        assert out.count("\n") == 1 and out.endswith("\n"), name
        records[name] = json.loads(out)
    assert records["train"]["status"] == "finished" and all(Path(p).exists() for p in records["train"]["wrote"])
    assert records["dry"]["parameters"] > 0 and records["dry"]["flops"] > 0 and records["dry"]["config"]["model"]["kind"] == "vae"
    assert records["sample"]["facts"]["seed"] == 0 and records["picture"]["seed"] == 0
    assert set(records["methods"]["models"]) >= set(RECIPES) - BEGUN and set(RECIPES) == set(records["recipes"])
    assert records["doctor"]["precision"] in ("bf16", "fp32") and records["doctor"]["fp32_ms"] > 0


def test_show_in_words(cli):
    for what in ("methods", "recipes", "data"):
        code, out, _ = cli("show", what)
        lines = [line for line in out.splitlines() if line.startswith("  ")]
        assert code == 0 and len(lines) >= 3 and all(len(line.split(None, 1)) == 2 for line in lines), "each says what it is"
    code, out, _ = cli("doctor")
    assert code == 0 and "one convolution, forward and backward" in out


def test_a_dry_run_writes_nothing(ten, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "diffusion", "--data", ten, "--out", tmp_path / "run", "--budget", "10m", "--dry-run", *SMALL)
    assert code == 0 and list(tmp_path.iterdir()) == []
    config = json.loads(out[: out.rindex("}") + 1])
    assert config["train"]["budget"] == 600 and config["model"]["net"]["width"] == 4 and config["model"]["shape"] == [3, 8, 10]
    assert "parameters" in out and "FLOPs" in out and "GiB" in out and "nothing is written" in err


# ---- how long


def test_who_says_when_to_stop(ten, cli, tmp_path):
    def train_of(*args):
        code, out, err = cli("train", "gan", "--data", ten, "--out", tmp_path / "run", "--dry-run", "--json", *SMALL, *args)
        assert code == 0, err
        return {k: json.loads(out)["config"]["train"][k] for k in ("steps", "budget")}

    assert train_of() == {"steps": None, "budget": 600.0}
    assert train_of("--steps", 7) == {"steps": 7, "budget": None}
    assert train_of("--budget", "1h30m") == {"steps": None, "budget": 5400.0}
    assert train_of("--set", "train.steps=5") == {"steps": 5, "budget": None}
    assert train_of("--set", "train.budget=9") == {"steps": None, "budget": 9.0}


def test_lengths_of_time():
    from inkwash.recipes.start import seconds

    known = {"90": 90, "90s": 90, "10m": 600, "2h": 7200, "1h30m": 5400, "1.5h": 5400, " 1D ": 86400, "1m30": 90, 2.5: 2.5}
    assert {text: seconds(text) for text in known} == known


# ---- what a person can put right


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

    message = refused("train", "vae", "--data", data_folder(tmp_path / "data", what), "--out", tmp_path / "run", "--steps", 1, *SMALL)
    assert re.search(words, message), message
    assert not (tmp_path / "run").exists()


def test_a_bomb_among_pictures_is_refused_or_skipped_never_decoded(refused, tmp_path):
    folder = Path(write_folder(tmp_path / "data", 10, classes=()))
    (folder / "bomb.png").write_bytes(bomb())
    assert "bomb.png" in refused("train", "vae", "--data", folder, "--out", tmp_path / "run", "--steps", 1, *SMALL)


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
        (("vae", "--data", "DATA", "--steps", "3", "--budget", "10m"), "Give --steps or --budget, not both"),
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


def test_what_show_refuses(refused, tmp_path):
    assert "is not methods, recipes, data" in refused("show", "everything")
    (tmp_path / "a.png").write_text("hello")
    assert "is not a picture" in refused("show", tmp_path / "a.png")
    (tmp_path / "bomb.png").write_bytes(bomb())
    assert "is not a picture" in refused("show", tmp_path / "bomb.png")
    (tmp_path / "run.json").write_text("{}")
    assert "run.json" in refused("show", tmp_path)


def test_usage_errors_exit_with_two_as_well(cli):
    for line in ("trian", "train --stpes 3", "sample", "sample x --out y -n 0", "train vae --steps 0"):
        code, _, err = cli(*line.split())
        assert code == 2 and "Traceback" not in err


# ---- a stranger's file


def test_a_strangers_file_works_unchanged(ten, cli, refused, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(Path(toy.__file__).read_text().replace("toy:", "mine:"))
    run = tmp_path / "run"
    code, out, err = cli("train", f"{mine}:recipe", "--data", ten, "--out", run, "--set", "train.device=cpu")
    assert code == 0, err
    assert "finished: 12 images in 3 steps" in out, "the recipe's own number of steps"
    code, _, err = cli("sample", run, "-n", 2, "--out", tmp_path / "p", "--code", mine, "-o", "scale=0.5", "--device", "cpu")
    assert code == 0, err
    assert read_facts(tmp_path / "p" / "00001.png")["scale"] == 0.5
    del sys.modules["mine"]
    assert "name its file with --code mine.py" in refused("sample", run, "-n", 1, "--out", tmp_path / "q")
    assert "name its file with --code mine.py" in refused("train", "--resume", "--out", run)
    code, out, err = cli("train", "--resume", "--out", run, "--code", mine, "--steps", 4)
    assert code == 0 and "16 images in 4 steps" in out, err
    assert "has no function 'nothing'" in refused("train", f"{mine}:nothing", "--data", ten, "--out", tmp_path / "r")


def test_a_strangers_file_does_not_replace_a_module(ten, refused, tmp_path):
    for name in ("random", "torch", "inkwash"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('must not run')")
        assert "has the name of another module" in refused("train", f"{tmp_path / name}.py:recipe", "--data", ten, "--out", tmp_path / "r")
    import torch

    assert hasattr(torch, "Tensor")


# ---- real processes


def start(*args, **env) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
    )


def test_sigterm_saves_and_says_how_to_go_on(ten, cli, tmp_path):
    run = tmp_path / "run"
    child = start("inkwash", "train", "diffusion", "--data", ten, "--out", run, "--steps", 100000, "--set", "train.log_every=0", *SMALL)
    log, end = run / "metrics.jsonl", time.monotonic() + 200
    while time.monotonic() < end and child.poll() is None and not (log.exists() and '"rate"' in log.read_text()):
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=200)
    assert child.returncode == 0, err
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "stopped" and record["step"] >= 1
    assert f"stopped: {record['images']} images" in out
    assert f"Go on with: inkwash train --resume --out {run}\n" in err
    code, out, err = cli("train", "--resume", "--out", run, "--steps", record["step"] + 2)
    assert code == 0 and f"Going on from step {record['step']}" in err and "finished" in out


def test_torchrun_trains_and_one_process_speaks(ten, tmp_path):
    run = tmp_path / "run"
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "inkwash")
    child = start(*launch, "train", "gan", "--data", ten, "--out", run, "--steps", 2, "--json", *SMALL)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err[-3000:]
    assert out.count("\n") == 1 and json.loads(out)["step"] == 2
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    assert (run / "model" / "model.safetensors").is_file()


def test_from_python(ten, tmp_path):
    import inkwash

    settings = dict(text.split("=") for text in SMALL[1::2])
    out = inkwash.train("vae", data=ten, out=tmp_path / "run", steps=1, settings=settings, quiet=True)
    assert inkwash.load(out, device="cpu", precision="fp32").sample(2).shape == (2, 3, 8, 10)
    inkwash.train(out=out, resume=True, steps=2, quiet=True)
    assert json.loads((out / "run.json").read_text())["step"] == 2


def test_named_splits_choose_what_is_held_out(tmp_path):
    from inkwash.recipes.start import configure

    place = tmp_path / "a.npz"
    write_npz(place)
    config = configure("vae", str(place), steps=1)
    assert (config.data.split, config.data.validation) == ("train", "test")
    folder = tmp_path / "folder"
    for split in ("train", "val", "test"):
        write_folder(folder / split, 4)
    config = configure("vae", str(folder), steps=1)
    assert (config.data.split, config.data.validation) == ("train", "val"), "test images are for the end"
    shutil.rmtree(folder / "test")
    assert configure("vae", str(folder), steps=1).data.validation == "val"
    assert configure("vae", f"{folder}:val", steps=1).data.validation is None, "not what it is trained on"
    assert configure("vae", f"{folder}:all", steps=1).data.validation is None
    own = configure("vae", str(folder), steps=1, settings={"data.validation": "train", "data.split": "val"})
    assert (own.data.split, own.data.validation) == ("val", "train")


def test_mixed_sizes_are_said_and_what_they_become(cli, tmp_path):
    for i, side in enumerate((20, 24, 30, 30)):
        Image.new("RGB", (side, 20)).save(tmp_path / f"{i}.png")
    code, out, err = cli("train", "vae", "--data", tmp_path, "--out", tmp_path / "run", "--dry-run", "--steps", 1)
    assert code == 0
    assert "3 sizes" in " ".join(err.split())
