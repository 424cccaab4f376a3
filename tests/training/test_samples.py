"""What a run shows of itself as it trains."""

import numpy as np
import torch
from PIL import Image

from inkwash.inference.load import load
from inkwash.inference.pictures import grid
from inkwash.inference.provenance.read import read_facts
from inkwash.training.run import train
from tiny import run_config, write_npz


def shown(source, place, **more):
    run = train(run_config("text", source, steps=1, samples=3, precision="fp32", **more), place, quiet=True)
    (grid,) = (run / "samples").glob("*.png")
    return run, grid


def test_sample_grids_are_of_the_prompts_that_were_asked_for(tmp_path):
    source, prompts = write_npz(tmp_path / "a.npz"), ("a picture number 3", "第1张图")
    run, place = shown(source, tmp_path / "run", prompts=prompts)
    told = [*prompts, prompts[0]]
    assert read_facts(place)["prompts"] == told
    images = torch.cat([load(run, "cpu", "fp32").sample(1, seed, prompt=text) for seed, text in enumerate(told)])
    assert np.abs(np.asarray(Image.open(place), int) - np.asarray(grid(images), int)).max() <= 1


def test_unless_any_are_asked_for_they_are_of_captions(tmp_path):
    _, place = shown(write_npz(tmp_path / "a.npz"), tmp_path / "run")
    told = read_facts(place)["prompts"]
    assert len(told) == 3 and all(text.startswith(("a picture number", "第")) for text in told)
