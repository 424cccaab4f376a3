"""inkwash grid."""

import json

from PIL import Image

from inkwash.inference.pictures import read_facts


def test_a_grid_is_drawn_and_goes_on_where_it_was(cli, trained, tmp_path):
    say = (
        "grid",
        "--model",
        trained / "diffusion",
        "--x",
        "steps=1,2",
        "--y",
        "seed=3-4",
        "--z",
        "eta=0.1,0.9",
        "--out",
        tmp_path / "g",
        "--json",
    )
    code, out, err = cli(*say)
    assert code == 0, err
    assert json.loads(out) | {"wrote": "", "grid": ""} == {"wrote": "", "grid": "", "cells": 8, "made": 8}
    files = sorted((tmp_path / "g" / "cells").glob("*.png"))
    assert [f.stem for f in files] == ["0-0-0", "0-0-1", "0-1-0", "0-1-1", "1-0-0", "1-0-1", "1-1-0", "1-1-1"]
    facts = read_facts(files[-1])
    assert (facts["steps"], facts["seed"], facts["eta"]) == (2, 4, 0.9)
    assert Image.open(tmp_path / "g" / "grid.png").height == sum(Image.open(tmp_path / "g" / f"sheet-{k}.png").height for k in (0, 1))
    times = {f: f.stat().st_mtime_ns for f in files}
    files[2].unlink()
    assert json.loads(cli(*say)[1])["made"] == 1
    assert [f for f in files if f.stat().st_mtime_ns != times[f]] == [files[2]]
    assert json.loads(cli(*say, "--class", "dog")[1])["made"] == 8  # something else is asked for
    code, out, _ = cli(*say[:-1], "--class", "dog")
    assert code == 0 and "drew 0 of 8 cells, 8 were there already" in out


def test_grids_that_cannot_be(refused, trained, tmp_path):
    model = trained / "diffusion"
    assert "one axis, two or three" in refused("grid", "--model", model, "--out", tmp_path / "g")
    assert "did you mean 'steps'" in refused("grid", "--model", model, "--x", "stepps=1,2", "--out", tmp_path / "g")
    assert "reads no text" in refused("grid", "a cat", "--model", model, "--x", "seed=1-2", "--out", tmp_path / "g")
    assert "does not exist" in refused("grid", "--x", "model=nowhere", "--model", model, "--out", tmp_path / "g")
    assert not (tmp_path / "g").exists()
