"""Training over HTTP."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from inkwash.server import trainer
from inkwash.server.settings import ServerConfig
from inkwash.server.trainer import command, curve
from live import Server, error_of, opened, png

TINY = {"model.net.width": 4, "model.net.blocks": 1, "train.batch": 4, "train.precision": "fp32", "train.samples": 4, "train.warm_up": 0}
OFTEN = {**TINY, "train.log_every": 0.2}  # a line of the curve every few seconds is for people
ASK = {"recipe": "vae", "data": "digits", "steps": 2, "settings": OFTEN}


@pytest.fixture(scope="module")
def school(models, tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("school"), [models["classy"]])
    yield running
    if running.process.poll() is None:
        running.stop()


def ended(server, id: str, seconds: float = 120) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = server.get(f"/v1/training/{id}")[2]
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.2)
    raise AssertionError(job)


def pids(module: str, folder) -> list[int]:
    """Processes of that module that work in a folder."""
    found = subprocess.run(["pgrep", "-f", f"{module}.*{folder}"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for i in range(12):
            file.writestr(f"{'ab'[i % 2]}/{i}.png", png(colour=(20 * i, 200 - 10 * i, 90)))
    return out.getvalue()


def test_a_model_is_trained_and_served(school):
    status, _, sent = school.post("/v1/training/archives", raw=archive(), headers={"Content-Type": "application/zip"})
    assert status == 201 and sent["name"].endswith(".zip")
    ask = {"recipe": "diffusion", "data": sent["name"], "steps": 3, "name": "mine", "settings": TINY}
    status, _, job = school.post("/v1/training", ask)
    assert status == 202 and job["kind"] == "training" and job["asked"]["recipe"] == "diffusion"
    assert {"vae", "diffusion", "wgan-gp"} < set(school.get("/v1/training")[2]["recipes"])
    done = ended(school, job["id"])
    assert done["state"] == "done" and done["curve"][-1]["progress"] == 1.0 and "figures" in done["curve"][-1], done
    assert opened(school.get(done["samples"][-1])[2]).size[0] > 8 and str(school.folder) not in json.dumps(done)
    end = time.monotonic() + 60
    while "mine" not in [m["id"] for m in school.get("/v1/models")[2]["data"]]:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert school.post("/v1/images/generations", {"model": "mine", "prompt": "b"})[0] == 200
    assert error_of(school.post("/v1/training", ask), 409)["code"] == "run_exists"


@pytest.mark.parametrize(
    "more, said",
    [
        ({"data": "/etc"}, "There are no data '/etc' here"),
        ({"data": "../../secret"}, "There are no data"),
        ({"data": "moving?of=/etc/passwd"}, "There are no data"),
        ({"data": "hf:someone/something"}, "There are no data"),
        ({"name": "../x"}, "Invalid value for 'name'"),
        ({"recipe": "mine.py:f"}, "Invalid value for 'recipe'"),
        ({"start": "/etc"}, "There is no model '/etc' to begin from"),
        ({"teacher": "/etc"}, "There is no model '/etc' to learn from"),
        ({"plan": "../x"}, "There is no model '../x' to plan"),
        ({"settings": {"data.source": "/etc"}}, "cannot be set from here"),
        ({"settings": {"start": "/etc"}}, "cannot be set from here"),
        ({"settings": {"train.device": "cuda"}}, "cannot be set from here"),
        ({"settings": {"objective.painting": "photo.png"}}, "cannot be set from here"),
        ({"settings": {"objective.network=vgg19:/x/y": 2}}, "cannot be set from here"),
        ({"settings": {"model.text.name": "/home/x"}}, "is a plain word or a number"),
        ({"settings": {"model.text": {"a": 1}}}, "settings are numbers, words or null"),
    ],
)
def test_what_a_request_may_not_do(school, more, said):
    assert said in error_of(school.post("/v1/training", {**ASK, "name": "bad", **more}), 400)["message"]
    assert error_of(school.post("/v1/training/archives", raw=b"PK no"), 400)["param"] == "archive"


def test_a_training_is_called_with_the_models_that_it_was_given(tmp_path):
    asked = {"recipe": "plan", "data": "scenes", "settings": {}, "steps": 5, "start": "/a", "teacher": "/b", "plan": None}
    words = command(asked, tmp_path / "run", "cpu")
    assert words[words.index("--from") + 1] == "/a" and words[words.index("--teacher") + 1] == "/b" and "--plan" not in words
    assert command({**asked, "plan": "/c"}, tmp_path / "run", "cpu")[-2:] == ["--plan", "/c"]


def test_figures_that_are_not_finite_are_none(tmp_path):
    lines = ('{"progress": 0.5, "figures": {"loss": NaN, "gradient": Infinity}}\n', '{"progress": 1.0, "figures": {"loss": 2.5}}\n')
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert [point["figures"] for point in curve(tmp_path)] == [{"loss": None, "gradient": None}, {"loss": 2.5}]


def test_a_training_that_is_stopped_as_it_begins_is_stopped(tmp_path, monkeypatch):
    """The trainer ignores interrupts, and what it starts does too until it has looked after that: a signal would be lost."""
    patience = "import time; time.sleep(0.8); import inkwash.server.tether as t, os, signal; "
    act = "signal.signal(signal.SIGINT, signal.default_int_handler); t.when_input_ends(lambda: os.kill(os.getpid(), signal.SIGINT)); "
    monkeypatch.setattr(trainer, "command", lambda *_: [sys.executable, "-c", patience + act + "time.sleep(60)"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with open(tmp_path / "lock", "wb") as lock:
            training = trainer.Trainer(ServerConfig(models=("m",), folder=tmp_path), lock.fileno())
            job = training.queue.submit("training", "x", {"name": "x"})
            monkeypatch.setattr(training.queue, "progress", lambda ids, done, total: set(ids))  # stopped at the first look
            monkeypatch.setattr(trainer, "LOOK", 0.05)
            training.round()
        assert training.queue.get(job.id).state == "cancelled" and training.child.returncode != 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_the_trainer_refuses_is_told(school):
    _, headers, job = school.post("/v1/training", {**ASK, "recipe": "vea", "name": "typo"})
    assert headers["location"] == f"{school.url}/v1/training/{job['id']}" and school.get(headers["location"])[2]["id"] == job["id"]
    done = ended(school, job["id"])
    assert done["state"] == "failed" and "did you mean 'vae'" in done["error"]


@pytest.mark.slow
def test_a_training_stops_and_goes_on_even_over_a_kill(school, models):
    job = school.post("/v1/training", {**ASK, "steps": 10**6, "name": "long"})[2]
    end = time.monotonic() + 60
    while not school.get(f"/v1/training/{job['id']}")[2]["curve"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    school.post(f"/v1/jobs/{job['id']}/cancel")
    stopped = ended(school, job["id"])
    assert stopped["state"] == "cancelled" and (school.folder / "data" / "runs" / "long" / "model" / "config.json").is_file()
    steps = stopped["curve"][-1]["step"]
    assert school.post(f"/v1/jobs/{job['id']}/retry")[2]["state"] in ("queued", "running")
    while school.get(f"/v1/training/{job['id']}")[2]["curve"][-1]["step"] <= steps:
        assert time.monotonic() < end + 60
        time.sleep(0.2)
    (trainer,) = pids("inkwash.server.trainer", school.folder)
    (child,) = pids("inkwash.server.tether", school.folder)
    os.kill(trainer, signal.SIGKILL)  # alone: the training that it left saves and ends before another trainer begins
    end = time.monotonic() + 90
    while school.get(f"/v1/training/{job['id']}")[2]["state"] != "interrupted":
        assert time.monotonic() < end
        time.sleep(0.2)
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text()
    steps = school.get(f"/v1/training/{job['id']}")[2]["curve"][-1]["step"]
    assert school.post(f"/v1/jobs/{job['id']}/retry")[2]["state"] in ("queued", "running")
    while school.get(f"/v1/training/{job['id']}")[2]["curve"][-1]["step"] <= steps:
        assert time.monotonic() < end + 60
        time.sleep(0.2)
    school.kill()
    again = Server(school.folder, [models["classy"]])
    try:
        end = time.monotonic() + 90
        while (now := again.get(f"/v1/training/{job['id']}")[2])["state"] != "interrupted":
            assert time.monotonic() < end, now
            time.sleep(0.2)
        assert now["curve"][-1]["step"] > steps
        assert "mine" in [m["id"] for m in again.get("/v1/models")[2]["data"]]
    finally:
        again.stop()
