"""inkwash grid goes on: after Ctrl-C, over damaged files, with a model that was trained on, and when the grid itself has changed."""

import json
import os

import pytest

from inkwash.inference.pictures import read_facts
from inkwash.inference.runner import Runner


@pytest.fixture
def grid(cli, trained, tmp_path):
    """Run a grid of four steps in one folder: (made, times of its cells' files)."""
    place = tmp_path / "g"

    def run(*more, model=trained / "diffusion") -> tuple[int, dict[str, int]]:
        code, out, err = cli("grid", "--model", model, "--x", "steps=1-4", "--out", place, "--json", *more)
        assert code == 0, err
        return json.loads(out)["made"], {p.name: p.stat().st_mtime_ns for p in (place / "cells").iterdir()}

    run.place = place
    return run


def test_ctrl_c_leaves_what_was_made(cli, trained, grid, monkeypatch):
    real, calls = Runner.run, []

    def stopped(self, requests, on_step=None):
        calls.append(requests)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, requests, on_step)

    monkeypatch.setattr(Runner, "run", stopped)
    code, _, err = cli("grid", "--model", trained / "diffusion", "--x", "steps=1-4", "--out", grid.place)
    assert code not in (0, 2) and "Traceback" not in err
    assert sorted(p.name for p in (grid.place / "cells").iterdir()) == ["0-0-0.png", "1-0-0.png"]
    monkeypatch.undo()
    before = {p.name: p.stat().st_mtime_ns for p in (grid.place / "cells").iterdir()}
    made, after = grid()
    assert made == 2 and before.items() <= after.items()


def test_a_damaged_cell_is_drawn_again(grid):
    grid()
    files = sorted((grid.place / "cells").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:-20])
    files[1].write_bytes(b"")
    files[2].write_text("no picture")
    assert grid()[0] == 3 and grid()[0] == 0


def test_a_model_that_was_trained_on_is_drawn_anew(grid, trained):
    assert (grid()[0], grid()[0]) == (4, 0)
    weights = trained / "diffusion" / "model" / "model.safetensors"
    stat = weights.stat()
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert (grid()[0], grid()[0]) == (4, 0)


def test_sheets_of_a_larger_grid_go_and_other_files_stay(grid):
    own = grid.place / "sheet-notes.png"
    grid("--y", "seed=1", "--z", "eta=0.1,0.5,0.9")
    own.write_bytes(b"mine")
    assert sorted(p.name for p in grid.place.glob("sheet-*")) == ["sheet-0.png", "sheet-1.png", "sheet-2.png", own.name]
    assert grid("--y", "seed=1", "--z", "eta=0.1,0.5")[0] == 0
    assert sorted(p.name for p in grid.place.glob("sheet-*")) == ["sheet-0.png", "sheet-1.png", own.name]
    grid()
    assert [p.name for p in grid.place.glob("sheet-*")] == [own.name]


def test_the_sheet_names_the_models_that_drew_it(cli, trained, tmp_path):
    models = f"model={trained / 'diffusion'},{trained / 'gan'}"
    code, _, err = cli("grid", "--x", models, "--y", "seed=1-2", "--out", tmp_path / "m")
    assert code == 0, err
    facts = read_facts(tmp_path / "m" / "grid.png")
    assert facts["model"] == "diffusion, gan" and facts["axes"]["seed"] == [1, 2]


def test_limits_and_order(refused, cli, trained, tmp_path):
    say = ("grid", "--model", trained / "diffusion", "--out", tmp_path / "g", "--steps", "1")
    assert "a y only beside an x" in refused(*say, "--z", "seed=1-2")
    assert "at most 3" in refused(*say, "--x", "seed=1-2", "--y", "eta=0,1", "--most", "3")
    assert "more than 400 values" in refused(*say, "--x", "seed=1-401")
    assert not (tmp_path / "g").exists()
    code, out, _ = cli(*say, "--x", "seed=1-401", "--most", "401", "--json")
    assert code == 0 and json.loads(out)["made"] == 401
