"""A run that is killed, stopped or out of disk goes on as if nothing had happened."""

import errno
import json
import os
import shutil
import signal

import pytest
import torch

from inkwash.core import files
from inkwash.core.device import Precision
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.files import load_model
from inkwash.inference.load import load
from inkwash.training import checkpoint as checkpoint_module
from inkwash.training import run as run_module
from inkwash.training import trainer as trainer_module
from inkwash.training.checkpoint import checkpoints, load_checkpoint
from inkwash.training.engine import Engine
from inkwash.training.log import Log
from inkwash.training.muon import SMALLEST
from inkwash.training.run import Run, train
from inkwash.training.trainer import Trainer
from tiny import KINDS, contents, forks, in_child, run_config, write_npz

WEIGHTS = "model/model.safetensors"


def wide_enough(config):
    """So wide that Muon finds matrices in it, where it is the optimiser."""
    return config.override({"model.net.width": SMALLEST}) if config.train.optimizer == "muon" and hasattr(config.model, "net") else config


@forks
@pytest.mark.parametrize("kind", KINDS)
def test_kill_minus_nine_and_resume_gives_equal_bytes(kind, source, tmp_path, monkeypatch):
    config = wide_enough(run_config(kind, source, steps=16, checkpoint_every=4, batch=4, samples=2))
    whole = train(config, tmp_path / "whole", quiet=True)
    step = Trainer.step

    def deadly(self):
        if self.clock.step == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        step(self)

    monkeypatch.setattr(Trainer, "step", deadly)
    status = in_child(lambda: train(config, tmp_path / "killed", quiet=True))
    assert status == signal.SIGKILL
    monkeypatch.undo()
    assert [p.name for p in checkpoints(tmp_path / "killed")] == ["000000004", "000000008"]
    begun = []
    monkeypatch.setattr(Trainer, "step", lambda self: (begun.append(self.clock.step), step(self)))
    train(config, tmp_path / "killed", resume=True, quiet=True)
    assert begun == list(range(8, 16))
    a, b = contents(whole), contents(tmp_path / "killed")
    for name in (WEIGHTS, "model/config.json"):
        assert a[name] == b[name], name
    for name in a:
        if name.startswith("checkpoints/") and name.endswith(".safetensors"):
            x, y = (files.load_tensors(root / name)[0] for root in (whole, tmp_path / "killed"))
            assert x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x), name
    assert a.keys() == b.keys()


def test_a_run_killed_before_its_first_checkpoint_begins_from_the_same_weights(source, tmp_path, monkeypatch):
    teacher = train(run_config("diffusion", source, steps=3, lr=1e-2), tmp_path / "teacher", quiet=True)
    config = run_config("student", source, steps=3).model_copy(update={"start": str(teacher)})
    whole = train(config, tmp_path / "whole", quiet=True)

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", killed)
        train(config, tmp_path / "killed", quiet=True)
    assert not list((tmp_path / "killed" / "checkpoints").iterdir())
    train(config, tmp_path / "killed", resume=True, quiet=True)
    assert contents(whole)[WEIGHTS] == contents(tmp_path / "killed")[WEIGHTS]


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_equal_bytes(kind, source, tmp_path):
    config = run_config(kind, source, steps=3)
    first, second = (contents(train(config, tmp_path / name, quiet=True)) for name in "ab")
    assert first[WEIGHTS] == second[WEIGHTS]
    other = contents(train(run_config(kind, source, steps=3, seed=1), tmp_path / "c", quiet=True))
    assert first[WEIGHTS] != other[WEIGHTS]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_says_how_to_go_on_and_the_end_is_the_same(number, source, tmp_path, monkeypatch, capsys):
    """Held-out images choose the model here: the place of the stop must not become a candidate."""
    config = run_config("vae", source, steps=30, checkpoint_every=10, batch=4)
    losses = {10: 3.0, 13: 1.0, 20: 2.0, 30: 2.5}
    monkeypatch.setattr(Trainer, "validate", lambda self, data: {"valid/loss": losses[self.clock.step]})
    whole = train(config, tmp_path / "whole", quiet=True)
    step = Trainer.step

    def interrupted(self):
        step(self)
        if self.clock.step == 13:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        out = train(config, tmp_path / "stopped")
    assert signal.getsignal(number) is before
    said = capsys.readouterr().err
    assert f"inkwash train --resume --out {out}\n" in said, "on one line, to be copied"
    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["step"]) == ("stopped", 13)
    assert load(out, "cpu", "fp32").sample(1).isfinite().all()
    train(config, out, resume=True, quiet=True)
    assert contents(out)[WEIGHTS] == contents(whole)[WEIGHTS]
    assert json.loads((out / "run.json").read_text())["status"] == "finished"


def test_a_second_signal_ends_at_once(source, tmp_path, monkeypatch):
    def impatient(self):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "step", impatient)
    with pytest.raises(KeyboardInterrupt):
        train(run_config("gan", source), tmp_path / "a", quiet=True)


def test_resume_without_a_checkpoint_begins_again(source, tmp_path):
    config = run_config("gan", source, steps=3, log_every=0.0)
    whole = contents(train(config, tmp_path / "a", quiet=True))
    shutil.rmtree(tmp_path / "a" / "checkpoints")
    shutil.rmtree(tmp_path / "a" / "model")
    again = contents(train(config, tmp_path / "a", resume=True, quiet=True))
    assert again[WEIGHTS] == whole[WEIGHTS]
    steps = [json.loads(line)["step"] for line in again["metrics.jsonl"].decode().splitlines() if "figures" in line and "rate" in line]
    assert steps == [1, 2, 3]


def test_resuming_a_finished_run_changes_nothing(source, tmp_path):
    config = run_config("vae", source, steps=4, checkpoint_every=2)
    first = contents(train(config, tmp_path / "a", quiet=True))
    again = contents(train(config, tmp_path / "a", resume=True, quiet=True))
    assert again[WEIGHTS] == first[WEIGHTS]
    assert again.keys() == first.keys()


def test_a_resume_keeps_the_precision_that_the_run_began_in(source, tmp_path, monkeypatch):
    """Timings differ from start to start: measured again, a run could go on in the other precision."""

    def measured(bf16):
        return lambda device, wanted="auto": Precision(bf16 if wanted == "auto" else wanted == "bf16", True, 1.0, 1.0)

    monkeypatch.setattr(trainer_module, "choose_precision", measured(False))
    config = run_config("vae", source, steps=2).override({"train.precision": "auto"})
    train(config, tmp_path / "a", quiet=True)
    monkeypatch.setattr(trainer_module, "choose_precision", measured(True))
    train(config.override({"train.steps": 4}), tmp_path / "a", resume=True, quiet=True)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["precision"] == "fp32"


def test_a_longer_run_goes_on_from_the_old_end(source, tmp_path, monkeypatch):
    train(run_config("diffusion", source, steps=3), tmp_path / "a", quiet=True)
    train(run_config("diffusion", source, steps=5), tmp_path / "a", resume=True, quiet=True)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["step"] == 5


def test_a_run_is_not_overwritten(source, tmp_path):
    config = run_config("gan", source, steps=1)
    train(config, tmp_path / "a", quiet=True)
    with pytest.raises(FileError, match="already a run"):
        train(config, tmp_path / "a", quiet=True)


def test_other_data_refuse_a_resume(source, tmp_path):
    data = tmp_path / "data.npz"
    shutil.copy(source, data)
    config = run_config("gan", str(data), steps=1)
    train(config, tmp_path / "a", quiet=True)
    write_npz(data, n=30)
    with pytest.raises(ConfigError, match="changed since"):
        train(config, tmp_path / "a", resume=True, quiet=True)


def test_keep_limits_checkpoints_and_rubbish_goes(source, tmp_path):
    config = run_config("gan", source, steps=10, checkpoint_every=2, keep=3)
    place = tmp_path / "a" / "checkpoints"
    for name in (".000000003.new", "000000001"):  # of an earlier kill: half written, half removed
        (place / name).mkdir(parents=True)
        (place / name / "ema.safetensors").write_bytes(b"half")
    (place / "my-best").mkdir()
    train(config, tmp_path / "a", quiet=True)
    assert sorted(p.name for p in place.iterdir()) == ["000000006", "000000008", "000000010", "my-best"]


def test_a_full_disk_while_logging_is_one_sentence(source, tmp_path, monkeypatch):
    from inkwash.training import log as log_module

    def full(path, mode="r", **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(log_module, "open", full, raising=False)
    with pytest.raises(FileError, match=r"Cannot write .*metrics\.jsonl: No space left on device"):
        train(run_config("gan", source, log_every=0.0), tmp_path / "a", quiet=True)


def test_an_out_folder_that_cannot_be_made_is_one_sentence(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="Cannot make the folder"):
        train(run_config("gan", source), tmp_path / "file" / "run", quiet=True)


# ---- what is on disk


def test_the_log_is_cut_back_on_resume(source, tmp_path):
    config = run_config("gan", source, steps=4, checkpoint_every=2, log_every=0.0)
    out = train(config, tmp_path / "a", quiet=True)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(s)["step"] for s in lines if "rate" in json.loads(s)]
    assert rates == [1, 2, 3, 4]
    shutil.rmtree(out / "checkpoints" / "000000004")
    with open(out / "metrics.jsonl", "a") as f:
        f.write('{"time": 1, "step": 5, "figures": {"a": 1}')  # half a line, which ends as a whole one does
    train(config, out, resume=True, quiet=True)
    again = [json.loads(s) for s in (out / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in again if "rate" in r] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["state.json", *(f"{k}.safetensors" for k in ("weights", "ema", "objective", "optimizer-main"))])
def test_a_flipped_byte_anywhere_in_a_checkpoint_is_found(name, source, tmp_path):
    config = run_config("diffusion", source, steps=1)
    out = train(config, tmp_path / "a", quiet=True)
    path = checkpoints(out)[-1] / name
    whole = path.read_bytes()
    for at in sorted({round(i * (len(whole) - 1) / 40) for i in range(41)}):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(FileError) as caught:
            load_checkpoint(path.parent, ["weights", "ema", "objective", "optimizer-main"])
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    load_checkpoint(path.parent, ["weights", "ema", "objective", "optimizer-main"])


def test_files_of_two_checkpoints_do_not_mix(source, tmp_path):
    config = run_config("diffusion", source, steps=2, checkpoint_every=1)
    out = train(config, tmp_path / "a", quiet=True)
    first, second = checkpoints(out)
    shutil.copy(first / "ema.safetensors", second / "ema.safetensors")
    with pytest.raises(FileError, match=r"differs from the state in ema"):
        train(config, out, resume=True, quiet=True)


def test_a_damaged_run_json_is_one_sentence(source, tmp_path):
    config = run_config("gan", source, steps=1)
    out = train(config, tmp_path / "a", quiet=True)
    for text in ("{}", "[]", "null", "{", '{"data": 3}', '{"config": {}}', ""):
        (out / "run.json").write_text(text)
        with pytest.raises(FileError, match=r"run\.json"):
            train(config, out, resume=True, quiet=True)


def test_held_out_images_choose_the_model(source, tmp_path, monkeypatch):
    """The model is of the step with the lowest loss, not of the last."""
    losses = iter([3.0, 1.0, 2.0, float("nan")])
    monkeypatch.setattr(Trainer, "validate", lambda self, data: {"valid/loss": next(losses)})
    states = {}
    save = run_module.save_checkpoint

    def keep(run, step, tensors, *more):
        states[step] = {k: v.clone() for k, v in tensors["ema"].items()}
        return save(run, step, tensors, *more)

    monkeypatch.setattr(run_module, "save_checkpoint", keep)
    out = train(run_config("vae", source, steps=8, checkpoint_every=2), tmp_path / "a", quiet=True)
    model = load_model(out / "model").state_dict()
    assert all(torch.equal(model[k], v) for k, v in states[4].items())
    assert not all(torch.equal(model[k], v) for k, v in states[8].items())
    state = json.loads((checkpoints(out)[-1] / "state.json").read_text())
    assert (state["best"], state["best_step"]) == (1.0, 4)
    assert json.loads((out / "model" / "metrics.json").read_text())["trained"]["step"] == 4


def test_without_held_out_images_the_newest_weights_are_the_model(source, tmp_path):
    config = run_config("vae", source, steps=3, checkpoint_every=2).override({"data.validation": None})
    out = train(config, tmp_path / "a", quiet=True)
    assert json.loads((out / "model" / "metrics.json").read_text())["trained"]["step"] == 3


def test_optimiser_state_keeps_its_layout(source, tmp_path):
    """A fused step walks parameter and moments in memory order: channels-last weights need channels-last moments."""
    config = wide_enough(run_config("diffusion", source, steps=2))
    out = train(config, tmp_path / "a", quiet=True)
    run = Run(config, out, Engine("cpu"), Log(out, False))
    run.resume()
    t = run.trainer
    states = [(p, s) for o in t.optimizers.values() for p, s in o.state.items()]
    assert any(p.stride() != p.contiguous().stride() for p, _ in states)
    for p, s in states:
        assert all(v.stride() == p.stride() for k, v in s.items() if k != "step")
    matrices = {id(p) for p in t.optimizers["main"].orthogonal}
    slots = lambda p: ("momentum",) if id(p) in matrices else ("exp_avg", "exp_avg_sq", "step")  # noqa: E731
    known = checkpoint_module.optimizer_tensors(t.optimizers["main"], t.names).keys()
    assert matrices and known == {f"{n}|{k}" for p, n in t.names.items() for k in slots(p)}
