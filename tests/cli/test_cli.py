"""The command line: what it prints, what it writes, and one sentence with exit code 2 for what a person can put right."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import toy
from inkwash.inference.pictures import read_facts
from inkwash.recipes import RECIPES
from tiny import DRAWING, QUICK, contents, write_folder, write_npz

# ---- help


def test_help_answers_at_once_without_torch():
    """Processor time, the best of five: the machine may be busy."""
    code = """
import sys
from inkwash.cli.main import main
try:
    main()
finally:
    print([m for m in ("torch", "numpy", "PIL", "accelerate", "pydantic") if m in sys.modules])
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


@pytest.mark.parametrize("recipe", DRAWING)
def test_train_sample_show(recipe, ten, cli, tmp_path):
    run, pictures = tmp_path / "run", tmp_path / "pictures"
    code, out, err = cli("train", recipe, "--data", ten, "--out", run, "--steps", 2, *QUICK)
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
    assert cli("train", "diffusion", "--data", ten, "--out", teacher, "--steps", 2, *QUICK, "--set", "data.view.flip=true")[0] == 0
    code, out, err = cli("train", "distill", "--from", teacher, "--out", run, "--steps", 2, *QUICK[-2:])
    assert code == 0, err
    record = json.loads((run / "run.json").read_text())
    assert record["config"]["start"] == str(teacher) and record["config"]["data"]["source"] == str(ten)
    assert record["config"]["data"]["view"]["flip"], "images are prepared as for the teacher"
    assert record["config"]["model"]["options"]["steps"] == 4 and record["config"]["objective"]["kind"] == "distillation"
    shutil.rmtree(teacher)
    code, _, err = cli("train", "--resume", "--out", run, "--steps", 3)
    assert code == 0, "what it began from is not needed any more: " + err
    code, out, err = cli("sample", run, "-n", 1, "--out", tmp_path / "x", "--json")
    assert code == 0 and json.loads(out)["facts"]["solver"] == "consistency"
    code, _, err = cli("sample", run, "--solver", "heun", "--out", tmp_path / "x")
    assert code == 2 and "consistency" in err
    code, out, _ = cli("evaluate", run, "--data", ten, "-n", 8, "--metrics", "bpd", "--json")
    assert code == 2, "a student has no likelihood"

    for args, words in (
        (["distill", "--data", ten], "--from"),
        (["distill", "--from", tmp_path / "none"], "does not exist"),
        (["distill", "--from", run, "--data", ten], "student already"),
        (["gan", "--from", run, "--data", ten, *QUICK], "does not fit: it is of the kind 'student'"),
    ):
        code, _, err = cli("train", *args, "--out", tmp_path / "no", "--steps", 1)
        assert code == 2 and words in err and "Traceback" not in err, err
        assert not (tmp_path / "no").exists() or not (tmp_path / "no" / "run.json").exists()


def test_resume_from_the_command_line(ten, cli, tmp_path):
    run = tmp_path / "run"
    assert cli("train", "gan", "--data", ten, "--out", run, "--steps", 2, *QUICK)[0] == 0
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
        "train": ("train", "gan", "--data", ten, "--out", tmp_path / "run", "--steps", 1, "--json", *QUICK),
        "dry": ("train", "vae", "--data", ten, "--out", tmp_path / "dry", "--steps", 1, "--dry-run", "--json", *QUICK),
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
    assert set(records["methods"]["models"]) >= set(DRAWING) and set(RECIPES) == set(records["recipes"])
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
    code, out, err = cli("train", "diffusion", "--data", ten, "--out", tmp_path / "run", "--budget", "10m", "--dry-run", *QUICK)
    assert code == 0 and list(tmp_path.iterdir()) == []
    config = json.loads(out[: out.rindex("}") + 1])
    assert config["train"]["budget"] == 600 and config["model"]["net"]["width"] == 4 and config["model"]["shape"] == [3, 8, 10]
    assert "parameters" in out and "FLOPs" in out and "GiB" in out and "nothing is written" in err


# ---- how long


def test_who_says_when_to_stop(ten, cli, tmp_path):
    def train_of(*args):
        code, out, err = cli("train", "gan", "--data", ten, "--out", tmp_path / "run", "--dry-run", "--json", *QUICK, *args)
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
    child = start("inkwash", "train", "diffusion", "--data", ten, "--out", run, "--steps", 100000, "--set", "train.log_every=0", *QUICK)
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
    child = start(*launch, "train", "gan", "--data", ten, "--out", run, "--steps", 2, "--json", *QUICK)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err[-3000:]
    assert out.count("\n") == 1 and json.loads(out)["step"] == 2
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    assert (run / "model" / "model.safetensors").is_file()


def test_from_python(ten, tmp_path):
    import inkwash

    settings = dict(text.split("=") for text in QUICK[1::2])
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
    code, out, err = cli("train", "vae", "--data", tmp_path, "--out", tmp_path / "run", "--dry-run", "--steps", 1, *QUICK)
    assert code == 0, err
    assert "3 sizes" in " ".join(err.split())
