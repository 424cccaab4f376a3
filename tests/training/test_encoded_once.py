"""What a frozen encoder makes of pictures is worked out once, and training sees the same."""

import pytest
import torch

from inkwash.core.device import Precision
from inkwash.core.files import load_tensors
from inkwash.data import Dataset, Loader, View, open_source
from inkwash.training import run as run_module
from inkwash.training.latents import latents_of, remembers
from inkwash.training.run import train
from tiny import run_config

FP32 = Precision(False, False, 0.0, 0.0)


@pytest.mark.parametrize("kind", ["latent", "dalle"])
def test_every_row_is_what_the_encoder_makes_of_its_picture(kind, source):
    model = run_config(kind, source, steps=1, batch=4).model.build().eval()
    data = Dataset(open_source(source), View())
    table = latents_of(model, data, FP32, batch=5)
    assert len(table) == len(data)
    batch = Loader(data, 6, seed=3, latents=table).batch_at(10)
    wanted = model.to_latent(batch.image)
    assert batch.latent.dtype == wanted.dtype
    torch.testing.assert_close(batch.latent, wanted, atol=2e-3, rtol=2e-3)
    assert torch.equal(batch[2:4].latent, batch.latent[2:4])
    assert torch.equal(model.latent(batch), batch.latent)


def test_only_where_pictures_stay_as_they_are_and_are_seen_twice(source):
    model, plain = (run_config(kind, source, steps=1, batch=4).model.build() for kind in ("latent", "diffusion"))
    still, flipped = (Dataset(open_source(source), View(flip=flip)) for flip in (False, True))
    n = len(still)
    assert remembers(model, still, 2 * n)
    assert not remembers(model, still, 2 * n - 1)
    assert not remembers(model, flipped, 2 * n)
    assert not remembers(plain, still, 2 * n)
    square = {"size": (8, 8), "fit": "stretch"}
    assert remembers(model, Dataset(open_source(source), View(**square)), 2 * n)
    assert not remembers(model, Dataset(open_source(source), View(**square, turn=True)), 2 * n)


def test_a_long_run_encodes_each_picture_once_and_learns_nearly_the_same(source, tmp_path, monkeypatch):
    count = len(Dataset(open_source(source), View()))
    config = run_config("latent", source, steps=2 * count // 4, batch=4, samples=0)
    train(config, tmp_path / "once", quiet=True)
    monkeypatch.setattr(run_module, "remembers", lambda *args: False)
    train(config, tmp_path / "each", quiet=True)
    once, each = (load_tensors(tmp_path / name / "model/model.safetensors")[0] for name in ("once", "each"))
    assert any(not torch.equal(once[k], each[k]) for k in once)
    for k in once:
        torch.testing.assert_close(once[k], each[k], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("learns", [True, False])
def test_a_captioner_s_eye_is_encoded_once_only_where_it_does_not_learn(learns, source, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(run_module, "latents_of", lambda *args, **kw: asked.append(1) or latents_of(*args, **kw))
    count = len(Dataset(open_source(source), View()))
    config = run_config("captioner", source, steps=2 * count // 4, batch=4, samples=0)
    config = config.model_copy(update={"objective": config.objective.model_copy(update={"eye": learns})})
    train(config, tmp_path / "run", quiet=True)
    assert bool(asked) != learns
    torch.manual_seed(config.train.seed)
    began = config.model.build().state_dict()
    ended = load_tensors(tmp_path / "run/model/model.safetensors")[0]
    moved = {name.split(".")[0] for name, value in ended.items() if not torch.equal(value, began[name])}
    assert moved == {"norm", "writer", *(["eye"] if learns else [])}
