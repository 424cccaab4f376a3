"""Two processes are one: the same gradients, the same run."""

import json
import os

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.errors import ConfigError
from inkwash.core.files import save_tensors
from inkwash.core.objective import Objective, Phase
from inkwash.training.checkpoint import checkpoints, load_checkpoint
from inkwash.training.engine import Engine
from inkwash.training.run import train
from tiny import KINDS, assert_same_on_both, contents, forks, in_two_processes, make_trainer, named_gradients, run_config, write_npz

STIR = 0.05


class Contrastive(Objective):
    """A loss whose rows interact, and whose gathered rows are used twice, so that autograd shares a gradient between branches."""

    couples = True

    def __init__(self, model):
        super().__init__(None, model)
        self.left, self.right = nn.Linear(12, 5), nn.Linear(12, 5)

    def phases(self):
        return [Phase("main", (self,))]

    def loss(self, phase: str, batch: Batch, step: Step):
        x = batch.image.flatten(1)
        local = F.normalize(self.left(x), dim=1)
        a, b = step.gather(local), F.normalize(step.gather(self.right(x)), dim=1)
        same = a @ b.T / 0.2
        own = step.gather(local * x[:, :5])  # a second path from the same rows
        loss = F.cross_entropy(same, torch.arange(len(a))) + (a + own).square().mean() + (a + a.detach()).sum() * 0.01
        return loss, {"loss": loss.detach()}


def contrastive_gradients(engine: Engine) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    toy = Contrastive(None)
    g = torch.Generator().manual_seed(2)
    x = torch.randn(8, 3, 2, 2, generator=g)
    rows = slice(engine.rank * 8 // engine.world, (engine.rank + 1) * 8 // engine.world)
    toy.loss("main", Batch(x[rows], None, None), Step(0.0, 0, None, engine.gather, engine.reduce))[0].backward()
    engine.average_gradients(list(toy.parameters()))
    return {f"toy.{n}": p.grad for n, p in toy.named_parameters()}


class Partial(nn.Module):
    """A parameter that one process alone uses."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2).t())


def all_gradients(sources: dict[str, str], engine: Engine) -> dict[str, torch.Tensor]:
    out = {}
    for kind, source in sources.items():
        t = make_trainer(run_config(kind, source), STIR, engine)
        batch = t.loader.batch_at(16)
        for phase in t.phases:
            out |= {f"{kind} {phase.name} {n}": g for n, g in named_gradients(t, phase, batch).items()}
            loss = t.gradients(phase, batch)
            out[f"{kind} {phase.name} loss"] = loss
            t.model.zero_grad()
            t.objective.zero_grad()
    return out | contrastive_gradients(engine)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    labelled, plain = write_npz(root / "two.npz"), write_npz(root / "plain.npz", classes=0)
    return {kind: plain if i % 2 else labelled for i, kind in enumerate(KINDS)} | {"gan": labelled}


@forks
def test_two_processes_give_the_gradient_of_one(sources, tmp_path):
    expected = all_gradients(sources, Engine("cpu"))

    def work():
        engine = Engine("cpu")
        assert engine.world == 2 and engine.main == (os.environ["RANK"] == "0")
        assert engine.device.type == "cpu"
        part = Partial()
        if engine.main:
            (2 * part.a.sum()).backward()
        engine.average_gradients(list(part.parameters()))
        assert torch.equal(part.a.grad, torch.ones(3)) and torch.equal(part.b.grad, torch.zeros(2, 2))
        assert engine.from_main(3.5 + engine.rank) == 3.5
        assert engine.reduce(torch.tensor(1.0 + engine.rank)) == 1.5
        assert torch.equal(engine.gather(torch.full((2,), engine.rank)), torch.tensor([0, 0, 1, 1]))
        wide = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
        with torch.no_grad():
            wide.weight.fill_(engine.rank)
        engine.same_everywhere([wide])
        assert (wide.weight == 0).all()
        found = all_gradients(sources, engine)
        save_tensors(tmp_path / f"{engine.rank}.safetensors", found)
        engine.close()

    in_two_processes(work)
    assert_same_on_both(tmp_path, expected)
    phases = {n.rsplit(" ", 1)[0] for n in expected if not n.startswith("toy.")}
    assert "translator penalty" in phases
    for phase in phases:
        assert max(g.abs().max() for n, g in expected.items() if n.startswith(phase) and "loss" not in n) > 1e-4


@forks
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_run_of_two_processes_equals_one(kind, sources, tmp_path, capfd):
    config = run_config(kind, sources[kind], steps=4, checkpoint_every=2, batch=8, samples=2, log_every=0.0, sample_every=1e-6, clip=1e9)
    config = config.override(
        {"train.optimizer": "adamw", "train.lr": 1e-3}
    )  # Muon turns rounding of a gradient's null directions into steps
    one, two = train(config, tmp_path / "one", quiet=True), tmp_path / "two"
    capfd.readouterr()
    in_two_processes(lambda: train(config, two))
    said = capfd.readouterr().err
    assert said.count("parameters ") == 1, "one process speaks for all"
    a, b = (load_checkpoint(checkpoints(out)[-1], ["weights", "ema"])[0] for out in (one, two))
    for group in a:
        for name, v in a[group].items():
            off = ~torch.isclose(b[group][name], v, atol=2e-4, rtol=1e-3)
            assert off.sum() <= max(1, v.numel() // 100), name  # Adam makes a step of a gradient that is nothing but rounding
    assert json.loads((two / "run.json").read_text())["processes"] == 2
    assert contents(one).keys() == contents(two).keys()


@forks
def test_two_processes_refuse_a_run_that_is_there_both(sources, tmp_path):
    config = run_config("gan", sources["gan"], steps=2)
    train(config, tmp_path / "a", quiet=True)

    def work():
        with pytest.raises(Exception, match="already a run"):
            train(config, tmp_path / "a", quiet=True)

    in_two_processes(work)


def test_coupled_rows_refuse_accumulation(sources):
    config = run_config("vae", sources["vae"], accumulate=2)
    cls = type(config.objective)
    original = cls.build
    try:
        cls.build = lambda self, model: Contrastive(model)
        with pytest.raises(ConfigError, match="accumulate must be 1"):
            make_trainer(config)
        make_trainer(config.override({"train.accumulate": 1}))
    finally:
        cls.build = original


def test_a_batch_that_cannot_be_shared_is_refused(sources):
    with pytest.raises(ConfigError, match=r"train\.batch is 8, which 1 processes x 3 micro-batches cannot share"):
        make_trainer(run_config("vae", sources["vae"], accumulate=3))


def test_a_device_that_is_not_there_is_one_sentence(sources):
    for name in ("cuda:7", "tpu", "gpu"):
        with pytest.raises(ConfigError, match="There is no device"):
            Engine(name)
