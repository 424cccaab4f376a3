"""Where a run ends: after steps, after a time, and what its schedules read of either."""

import json

import pytest

from inkwash.core.errors import ConfigError
from inkwash.training import trainer as trainer_module
from inkwash.training.config import TrainConfig
from inkwash.training.run import train
from tiny import make_trainer
from toy import toy_config


def test_budget_is_wall_clock_and_goes_on_after_a_resume(source, tmp_path, monkeypatch):
    """Every look at the clock takes a second; schedules follow it."""
    now = [100.0]

    def tick():
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(trainer_module.time, "monotonic", tick)
    t = make_trainer(toy_config(source, steps=None, budget=40.0, decay=0.5, lr=1.0))
    seen, saved = [], []
    step = t.step

    def watched():
        seen.append((t.progress, t.learning_rate(), t.moment("main", t.loader.batch_at(0)).progress))
        step()
        t.stop = len(seen) == 10

    monkeypatch.setattr(t, "step", watched)
    t.run(lambda: saved.append(t.clock.elapsed), lambda: None)
    elapsed = t.clock.elapsed
    assert saved == [elapsed] and 0 < elapsed < 40
    assert [p for p, _, _ in seen] == sorted({p for p, _, _ in seen}), "progress rises with the clock"
    assert all(p == s and lr == pytest.approx(min(1, (1 - p) / 0.5)) for p, lr, s in seen)
    now[0] += 1e6  # a long night
    t.stop, before = False, t.clock.step
    monkeypatch.setattr(t, "step", step)
    t.run(lambda: saved.append(t.clock.elapsed), lambda: None)
    assert t.progress == 1.0 and 40 <= t.clock.elapsed < 43
    assert t.clock.step > before


def test_a_budget_run_ends_and_says_so(source, tmp_path):
    out = train(toy_config(source, steps=None, budget=0.3), tmp_path / "a", quiet=True)
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished" and 0.3 <= record["elapsed"] < 30 and record["step"] >= 1


def test_a_run_needs_an_end_and_of_two_the_first_counts(source, tmp_path):
    with pytest.raises(ConfigError, match="give one of them, or both"):
        train(toy_config(source, steps=None, budget=None), tmp_path / "a")
    ends = {"a": (3, 600.0), "b": (10**9, 0.3)}
    for name, (steps, budget) in ends.items():
        record = json.loads((train(toy_config(source, steps=steps, budget=budget), tmp_path / name, quiet=True) / "run.json").read_text())
        assert record["status"] == "finished" and (record["step"] == 3 or name == "b") and record["elapsed"] < 30


def test_progress_and_what_is_left_are_those_of_the_end_that_comes_first():
    both, steps, budget = (TrainConfig(steps=s, budget=b) for s, b in ((100, 50.0), (100, None), (None, 50.0)))
    assert [c.progress(20, 20.0) for c in (both, steps, budget)] == [0.4, 0.2, 0.4] and both.progress(80, 20.0) == 0.8
    assert [c.length(0.25) for c in (both, steps, budget)] == [100, 100, 200] and both.length(2.0) == 25
    assert [c.left(20, 20.0, 0.25) for c in (both, steps, budget)] == [20, 20, 30] and both.left(20, 20.0, 1.0) == 30
    assert both.progress(200, 0.0) == 1 and both.left(200, 60.0, 1.0) == 0
