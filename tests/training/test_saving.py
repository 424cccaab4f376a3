"""A kill at any moment of saving, and a disk that is full at any moment of it."""

import builtins
import errno
import os
import shutil
import sys

import pytest

from inkwash.core import disk, files
from inkwash.core.errors import FileError
from inkwash.core.files import load_model
from inkwash.inference.load import load
from inkwash.training.checkpoint import checkpoints, load_checkpoint
from inkwash.training.engine import Engine
from inkwash.training.log import Log
from inkwash.training.run import Run, train
from inkwash.training.trainer import Trainer
from tiny import contents, forks, in_child, run_config

WEIGHTS = "model/model.safetensors"


class Death:
    """Dies before the n-th change to the disk below a folder: at every name made, moved or removed, within writes and syncs.

    With `full` it raises OSError as a full disk does instead, at the n-th write or name made.
    """

    def __init__(self, root, n: int, full: bool = False):
        self.root, self.n, self.full, self.count, self.armed = str(root), n, full, 0, True

    def tick(self) -> bool:
        self.count += self.armed
        return self.armed and self.count == self.n

    def strike(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os._exit(77)

    def event(self, name: str, args: tuple) -> None:  # an audit hook: it cannot be removed, only disarmed
        changes = {"os.rename": 0, "os.remove": 0, "os.rmdir": 0, "os.mkdir": 0, "os.link": 0, "os.truncate": 0}
        if name in changes and not self.full and self.tick():
            self.strike()

    def open(self, path, mode="r", **more):
        f = builtins.open(path, mode, **more)  # noqa: SIM115
        if "r" in mode or self.root not in str(path):
            return f
        write, death = f.write, self

        def dying(data):
            if death.tick():
                write(data[: len(data) // 2])
                f.flush()
                death.strike()
            return write(data)

        class Wrapped:
            def __enter__(self):
                return self

            def __exit__(self, *e):
                f.close()

            def __getattr__(self, name):
                return getattr(f, name)

        wrapped = Wrapped()
        wrapped.write = dying
        return wrapped

    def fsync(self, handle):
        if not self.full and self.tick():
            self.strike()


@pytest.fixture(scope="module")
def at_step_four(source, tmp_path_factory):
    """A run in memory at step 4 of 6, its folder as a kill in step 3 left it: a checkpoint and a model of step 2.

    keep = 1, so that the save at step 4 also removes a checkpoint. Held-out images choose step 4: only there the model is replaced.
    """
    root = tmp_path_factory.mktemp("saves")
    config = run_config("vae", source, steps=6, checkpoint_every=2, keep=1, batch=4)
    losses, step = {2: 3.0, 4: 1.0, 6: 2.0}, Trainer.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "validate", lambda self, data: {"valid/loss": losses[self.clock.step]})
        whole = train(config, root / "whole", quiet=True)
        with patch.context() as inner:
            inner.setattr(Trainer, "step", lambda self: os._exit(9) if self.clock.step == 2 else step(self))
            assert in_child(lambda: train(config, root / "base", quiet=True)) == 9 << 8
        yield config, at_end(whole), at_four(config, root / "base"), root / "base"


def at_end(out) -> tuple[bytes, bytes]:
    return contents(out)[WEIGHTS], files.serialise(load_checkpoint(checkpoints(out)[-1], ["weights"])[0]["weights"])


def at_four(config, place) -> Run:
    run = Run(config, place, Engine("cpu"), Log(place, True, quiet=True))
    run.resume()
    t = run.trainer
    t._batches = t.loader.stream(t.clock.images)
    while t.clock.step < 4:
        t.step()
    t.check_finite()
    return run


@forks
def test_a_kill_at_any_moment_of_saving_leaves_a_run_that_goes_on(at_step_four, tmp_path):
    config, expected, run, base = at_step_four
    seen: dict[tuple, bool] = {}
    newest = set()
    n = 0
    while True:
        n += 1
        place = tmp_path / f"run{n}"
        shutil.copytree(base, place)

        def save(place=place, n=n):
            death = Death(place, n)
            sys.addaudithook(death.event)
            disk.open, disk.os.fsync = death.open, death.fsync
            run.out = place
            run.best, run.best_step = 3.0, 2
            run.checkpoint()

        status = in_child(save)
        assert status in (0, 77 << 8), "the save itself failed"
        model = load(place, "cpu", "fp32").model  # as a reader finds it, before anyone tidies up
        assert all(v.isfinite().all() for v in model.state_dict().values())
        tensors, state = load_checkpoint(checkpoints(place)[-1], ["weights", "ema", "objective"])
        assert tensors["weights"].keys() == model.state_dict().keys()
        newest.add(state["step"])
        layout = tuple(sorted(str(p.relative_to(place)) for p in place.rglob("*")))
        if layout not in seen:  # what is on disk decides the rest: go on once from each layout
            train(config, place, resume=True, quiet=True)
            assert at_end(place) == expected, f"killed at change {n}"
            assert [p.name for p in (place / "checkpoints").iterdir()] == ["000000006"]
            seen[layout] = True
        shutil.rmtree(place)
        if status == 0:
            break
    assert n > 50, "fewer changes to the disk than a checkpoint and a model are made of"
    assert newest == {2, 4}


@forks
def test_a_full_disk_is_one_sentence_and_loses_nothing(at_step_four, tmp_path, monkeypatch):
    config, expected, run, base = at_step_four
    n = 0
    while True:
        n += 1
        place = tmp_path / f"run{n}"
        shutil.copytree(base, place)
        death = Death(place, n, full=True)
        monkeypatch.setattr(disk, "open", death.open, raising=False)
        monkeypatch.setattr(run, "out", place)
        run.best, run.best_step = 3.0, 2
        try:
            run.checkpoint()
        except FileError as error:
            assert str(error).count("\n") == 0 and "No space left on device" in str(error)
        else:
            break
        finally:
            death.armed = False
        assert not list(place.rglob("*.part")) and not list(place.rglob(".*.new"))
        assert load_model(place / "model")
        _, state = load_checkpoint(checkpoints(place)[-1], ["weights", "ema", "objective"])
        assert state["step"] in (2, 4)
        if n % 4 == 1:
            monkeypatch.delattr(disk, "open")
            train(config, place, resume=True, quiet=True)
            assert at_end(place) == expected
    assert n > 10
