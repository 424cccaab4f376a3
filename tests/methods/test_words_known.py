"""What a tokenizer says that it has seen."""

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.methods.diffusion import DenoisingConfig
from inkwash.recipes import text
from tiny import run_config, write_npz


def test_words_of_all_captions_are_known_where_only_some_are_learnt_from(tmp_path, monkeypatch):
    rows = ["file_name,text"]
    for i in range(12):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(tmp_path / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{'a red apple that is much longer' if i == 7 else 'blue'}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    monkeypatch.setattr(text, "READ", 3)
    assert text.captions_of(f"{tmp_path}:all").count("blue") == 3
    known = text.tokenizer_of(f"{tmp_path}:all").build()
    assert known.unknown("a red apple, blue") == [] and known.unknown("pear") == ["pear"]
    known.batch(["a red apple that is much longer"], cut=False)  # there is room for the longest of all


def test_a_model_that_reads_does_not_learn_from_pictures_without_captions(tmp_path):
    objective = DenoisingConfig().build(run_config("arranged", write_npz(tmp_path / "a.npz")).model.build())
    batch = Batch(torch.zeros(1, *objective.model.config.shape), Condition(), torch.zeros(1, dtype=torch.long), None)
    with pytest.raises(ConfigError, match="have no captions"):
        objective.refuse(batch)
