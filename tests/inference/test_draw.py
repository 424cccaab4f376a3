"""From seeds to images: labels, batches, loading, requests."""

import gc
import json
import shutil
import weakref

import pytest
import torch

import inkwash
from inkwash.core.device import choose_precision
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.model import Model, Options
from inkwash.inference.draw import draw, draw_batches, draw_labels
from inkwash.inference.load import load, model_folder
from inkwash.inference.runner import Request, Runner
from inkwash.training.run import train
from tiny import make_trainer, run_config, write_folder, write_npz


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A GAN of two classes, trained for a step on nine images of one and three of the other."""
    root = tmp_path_factory.mktemp("runs")
    source = write_folder(root / "data", 12, classes=("黑 cat", "dog", "黑 cat", "黑 cat"))
    return train(run_config("gan", source, steps=1).override({"data.split": "all"}), root / "my run", quiet=True)


@pytest.fixture(scope="module")
def loaded(run):
    return load(run, "cpu", "fp32")


def test_labels_follow_the_training_set(loaded):
    assert loaded.classes == ("dog", "黑 cat") and loaded.label_counts == [3, 9]
    labels = loaded.labels(range(4000))
    assert labels.dtype == torch.int64
    assert labels.bincount(minlength=2)[0].item() / 4000 == pytest.approx(0.25, abs=0.025)
    assert torch.equal(loaded.labels([17]), labels[17:18]), "a label belongs to its seed"


def test_labels_are_only_those_that_there_are():
    labels = draw_labels(range(3000), [0, 5, 0, 5, 0])
    assert set(labels.tolist()) == {1, 3}
    assert set(draw_labels(range(50), [0, 0, 4]).tolist()) == {2}


def test_a_class_by_name_or_number(loaded):
    assert [loaded.label_of(x) for x in ("dog", "黑 cat", 0, "1")] == [0, 1, 0, 1]
    assert loaded.labels(range(3), "dog").tolist() == [0, 0, 0]
    with pytest.raises(ConfigError, match=r"my run has no class 'dgo' \(a name, or 0 to 1\); did you mean 'dog'\?"):
        loaded.label_of("dgo")
    for wrong in ("2", "-1", "²", 7, ""):
        with pytest.raises(ConfigError, match="has no class"):
            loaded.label_of(wrong)


class Recording(Model):
    """Says how many rows it was asked for at once."""

    def __init__(self):
        super().__init__(type("C", (), {"shape": (1, 2, 2), "kind": "recording"})())
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.asked = []


class Drawing(Recording, __import__("inkwash.core.model", fromlist=["Sampler"]).Sampler):
    def sample(self, rng, cond, options, on_step=None):
        self.asked.append(len(rng))
        assert not torch.is_grad_enabled()
        for i in range(3):
            on_step(i + 1, 3) if on_step else None
        return self.weight * rng.normal(1, 2, 2)


def test_drawing_goes_in_batches_and_says_how_far_it_is():
    model, ticks = Drawing(), []
    x = draw(model, range(10), Options(), batch=4, on_step=lambda done, total: ticks.append((done, total)))
    assert model.asked == [4, 4, 2] and x.shape == (10, 1, 2, 2) and not x.requires_grad
    assert ticks == [(i + 1, 9) for i in range(9)]
    assert torch.equal(draw(model, [7], Options())[0], x[7])
    assert torch.equal(draw(model, [7, 3], Options()), x[[7, 3]]), "seeds in any order"
    assert draw(model, [], Options()).shape == (0, 1, 2, 2)
    assert draw(model, range(2), Options(), precision=choose_precision(torch.device("cpu"), "bf16")).dtype == torch.float32


def test_what_does_not_sample_says_so():
    with pytest.raises(ConfigError, match="A 'recording' model does not make images"):
        draw(Recording(), [0], Options())


def test_images_depend_on_their_seed_alone(loaded):
    x = loaded.sample(6, seed=3)
    torch.testing.assert_close(loaded.sample(1, seed=5), x[2:3], atol=1e-5, rtol=0)
    torch.testing.assert_close(loaded.sample(6, seed=3, batch=4), x, atol=1e-5, rtol=0)
    assert torch.equal(loaded.sample(2, label="dog"), loaded.sample(2, label=0))
    mixed = loaded.sample(2, label=torch.tensor([0, 1]))
    torch.testing.assert_close(mixed[1], loaded.sample(2, label=1)[1], atol=1e-5, rtol=0)
    assert not torch.equal(loaded.sample(1, truncation=0.5), loaded.sample(1))
    with pytest.raises(ConfigError, match="did you mean 'truncation'"):
        loaded.sample(1, truncatoin=0.5)


def test_loading_from_python_and_by_any_path(run, loaded, monkeypatch):
    assert inkwash.load is load and "train" in dir(inkwash)
    assert loaded.name == "my run" and loaded.kind == "gan"
    assert loaded.data["count"] == 12 and loaded.data["split"] == "all" and loaded.data["view"]["size"] == [8, 8]
    monkeypatch.chdir(run)
    for path in (".", "model", run / "model", str(run)):
        again = load(path, "cpu", "fp32")
        assert again.name == "my run"
        assert torch.equal(again.sample(1), loaded.sample(1))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = inkwash.trian


def test_what_cannot_be_loaded_is_one_sentence(run, tmp_path):
    with pytest.raises(FileError, match=r"does not exist\."):
        load(tmp_path / "none")
    with pytest.raises(FileError, match=r"is not a run or a model folder"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"is not a run or a model folder"):
        load(tmp_path / "file")
    shutil.copytree(run, tmp_path / "young")
    shutil.rmtree(tmp_path / "young" / "model")
    with pytest.raises(FileError, match="has saved no model yet"):
        load(tmp_path / "young")
    with pytest.raises(ConfigError, match="no precision"):
        load(run, "cpu", "half")
    with pytest.raises(ConfigError, match="no device"):
        load(run, "gpu")
    assert model_folder(run) == run / "model" == model_folder(run / "model")


def test_a_model_without_its_facts_samples_evenly(run, tmp_path):
    """Someone else's folder: config and weights only."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(run / "model" / name, tmp_path)
    alone = load(tmp_path, "cpu", "fp32")
    assert alone.label_counts == []
    assert alone.labels(range(2000)).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("text", ["{", "[]", '{"data": 3}', '{"data": {"label_counts": "many"}}', '{"data": {"label_counts": [1, 2, 3]}}'])
def test_damaged_facts_are_one_sentence(text, run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "m")
    (tmp_path / "m" / "metrics.json").write_text(text)
    with pytest.raises(FileError, match=r"metrics\.json"):
        load(tmp_path / "m", "cpu", "fp32")


# ---- requests


def test_a_request_is_served_with_the_facts_of_each_image(run, loaded):
    runner = Runner("cpu", "fp32")
    (result,) = runner.run([Request(model=str(run), n=3, seed=5, label="黑 cat", options={"truncation": 0.7})])
    assert torch.equal(result.images, loaded.sample(3, 5, "黑 cat", truncation=0.7))
    assert result.seeds == [5, 6, 7] and result.labels == ["黑 cat"] * 3 and result.seconds > 0
    assert result.facts[1] == {"seed": 6, "class": "黑 cat", "model": "my run", "kind": "gan", "size": "8x8", "truncation": 0.7}
    assert json.loads(json.dumps(result.facts)) == result.facts
    assert runner.model(str(run)) is runner.model(str(run)), "loaded once"


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"prompt": "a cat"}, "reads no text, so it takes no prompt; it takes a class, one of dog, 黑 cat"),
        ({"size": (9, 8)}, "makes images of 8 x 8 only"),
        ({"n": 0}, "ask for at least 1"),
        ({"label": "cow"}, "has no class 'cow'"),
        ({"options": {"steps": 3}}, "There is no setting 'steps'"),
        ({"options": {"truncation": -1}}, "'truncation' cannot be -1"),
        ({"model": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(wrong, words, run):
    with pytest.raises((ConfigError, FileError), match=words) as caught:
        Runner("cpu", "fp32").run([Request(**{"model": str(run), **wrong})])
    assert "\n" not in str(caught.value)


def test_a_model_without_classes_takes_none(tmp_path):
    out = train(run_config("vae", write_npz(tmp_path / "a.npz", classes=0), steps=1), tmp_path / "run", quiet=True)
    loaded = load(out, "cpu", "fp32")
    assert loaded.labels(range(3)) is None and loaded.sample(2).shape == (2, 3, 8, 8)
    with pytest.raises(ConfigError, match="trained without classes"):
        loaded.sample(1, label="cat")
    (result,) = Runner("cpu", "fp32").run([Request(model=str(out), n=2)])
    assert result.labels == [] and "class" not in result.facts[0]


def test_images_come_batch_by_batch_and_none_is_kept(tmp_path):
    """What was handed out is let go of: memory does not grow with the number of images."""
    t = make_trainer(run_config("diffusion", write_npz(tmp_path / "a.npz")), stir=0.02)
    options = t.model.Options(steps=2)
    whole, alive, most, seen = draw(t.model.eval(), range(10), options), [], 0, 0
    for part in draw_batches(t.model, range(10), options, batch=3):
        torch.testing.assert_close(part, whole[seen : seen + len(part)], atol=2e-5, rtol=0)
        seen += len(part)
        alive.append(weakref.ref(part))
        del part
        gc.collect()
        most = max(most, sum(r() is not None for r in alive))
    assert seen == 10 and len(alive) == 4 and most <= 1
