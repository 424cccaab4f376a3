"""The loop: its schedules, average, guard, log and alarms."""

import json
import math

import pytest
import torch

from inkwash.core.errors import ConfigError, TrainingError
from inkwash.core.files import load_model, load_tensors
from inkwash.data import Dataset, View, open_source
from inkwash.training import alarms
from inkwash.training import trainer as trainer_module
from inkwash.training.checkpoint import checkpoints
from inkwash.training.ema import EMA
from inkwash.training.estimate import Estimate
from inkwash.training.log import Means, duration
from inkwash.training.run import open_data, read_run, train
from tiny import make_trainer, named_gradients, run_config, write_npz
from toy import toy_config


def test_a_limit_is_for_what_is_trained_on(source):
    config = toy_config(source).override({"data.limit": 5})
    assert len(open_data(config, "train")) == 5
    assert len(open_data(config, "test")) == len(Dataset(open_source(source, "test")))


# ---- schedules


def test_learning_rate_rises_stays_and_falls(source):
    t = make_trainer(toy_config(source, steps=100, batch=4, lr=0.5, warm_up=40, decay=0.25))
    rates = []
    for step in range(100):
        t.clock.step, t.clock.images = step, 4 * step
        rates.append(t.learning_rate())
    expected = [0.5 * min(1, (k + 1) / 10) * min(1, (1 - k / 100) / 0.25) for k in range(100)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert rates[0] == pytest.approx(0.05) and rates[50] == 0.5 and 0 < rates[-1] == pytest.approx(0.02)


def test_a_short_run_warms_up_for_a_tenth_of_it(source):
    t = make_trainer(toy_config(source, steps=100, batch=4, lr=0.5, warm_up=10_000, decay=0.0))
    rates = []
    for t.clock.step in (0, 5, 10, 99):
        rates.append(t.learning_rate())
    assert rates == pytest.approx([0.5 * 4 / 10_000, 0.25, 0.5, 0.5])


def test_learning_rate_without_schedule_is_constant(source):
    t = make_trainer(toy_config(source, steps=10, lr=0.1, warm_up=0, decay=0.0))
    t.clock.step = 9
    assert t.learning_rate() == 0.1


def test_the_rate_and_a_phases_factor_reach_the_optimiser(source):
    t = make_trainer(run_config("gan", source, lr=1e-2, warm_up=16, steps=100))
    t._batches = t.loader.stream()
    t.step()
    assert {name: o.param_groups[0]["lr"] for name, o in t.optimizers.items()} == {"critic": 0.5e-2, "generator": 0.5e-2}
    assert all(o.param_groups[0]["betas"] == (0.0, 0.99) for o in t.optimizers.values())


def test_phases_run_when_they_are_due(source, monkeypatch):
    config = run_config("gan", source, steps=9).override({"objective.penalty_every": 4, "objective.critic_steps": 2})
    t = make_trainer(config)
    t._batches = t.loader.stream()
    turns = []
    monkeypatch.setattr(t, "turn", lambda phase, batch: turns.append((t.clock.step, phase.name)))
    for _ in range(9):
        t.step()
    assert [s for s, name in turns if name == "critic"] == list(range(9))
    assert [s for s, name in turns if name == "penalty"] == [0, 4, 8]
    assert [s for s, name in turns if name == "generator"] == [0, 2, 4, 6, 8]
    assert [name for s, name in turns if s == 0] == ["critic", "penalty", "generator"]


def test_gradients_are_clipped_to_their_norm(source, monkeypatch):
    t = make_trainer(toy_config(source, clip=0.01))
    norms = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: norms.append(math.sqrt(sum(p.grad.square().sum() for p in t.names))))
    batch = t.loader.batch_at(0)
    free = math.sqrt(sum(g.square().sum() for g in named_gradients(t, t.phases[0], batch).values()))
    t.turn(t.phases[0], batch)
    assert free > 0.1 and norms == pytest.approx([0.01], rel=1e-3)
    assert t.means.take()["main/gradient"] == pytest.approx(free, rel=1e-5)


# ---- the average


def test_ema_is_the_weighted_mean_of_what_was_seen():
    net = torch.nn.Linear(3, 2).double()
    net.register_buffer("count", torch.zeros((), dtype=torch.int64))
    net.register_buffer("level", torch.zeros(2))
    ema, expected, images = EMA(net, half_life=30.0, share=0.25), {k: v.clone() for k, v in net.state_dict().items()}, 0
    for i in range(40):
        images += 8
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
            net.count += 1
            net.level.fill_(i)
        ema.update(net, images, 8)
        keep = 0.5 ** (8 / min(30.0, 0.25 * images))
        for k, v in net.named_parameters():
            expected[k] = keep * expected[k] + (1 - keep) * v.detach()
    for k, _ in net.named_parameters():
        torch.testing.assert_close(ema.tensors()[k], expected[k], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(ema.tensors()[k], net.state_dict()[k])
    assert ema.tensors()["count"] == 40 and (ema.tensors()["level"] == 39).all(), "buffers are copied"


def test_half_of_an_ema_is_younger_than_its_half_life():
    net = torch.nn.Linear(1, 1, bias=False)
    ema = EMA(net, half_life=100.0)
    ema.state["weight"].fill_(1.0)
    with torch.no_grad():
        net.weight.zero_()
    for i in range(10):
        ema.update(net, 10**6 + 10 * i, 10)
    assert ema.state["weight"].item() == pytest.approx(0.5, rel=1e-5)


def test_without_ema_the_model_is_the_weights(source):
    t = make_trainer(toy_config(source, ema=0.0))
    t._batches = t.loader.stream()
    t.step()
    assert all(torch.equal(t.ema.state[k], v) for k, v in t.model.state_dict().items())


# ---- the guard


@pytest.mark.parametrize(
    "kind, phase, name",
    [
        ("diffusion", "main", "model.net.middle.1"),
        ("vae", "main", "model.decoder.norm"),
        ("gan", "critic", "objective.critic.trunk.hidden"),
        ("gan", "generator", "model.decoder.into"),
    ],
)
def test_a_loss_that_is_not_finite_names_step_phase_and_module(kind, phase, name, source, tmp_path, monkeypatch):
    config = run_config(kind, source, steps=8, checkpoint_every=2)
    made = []
    init = trainer_module.Trainer.__init__

    def hooked(self, *args):
        init(self, *args)
        made.append(self)
        root, _, path = name.partition(".")
        module = {"model": self.model, "objective": self.objective}[root].get_submodule(path)
        turned = []
        loss = self.objective.loss

        def watched(which, batch, step):
            turned[:] = [which]
            return loss(which, batch, step)

        self.objective.loss = watched
        module.register_forward_hook(lambda m, i, o: o * math.nan if self.clock.step >= 5 and turned == [phase] else o)

    monkeypatch.setattr(trainer_module.Trainer, "__init__", hooked)
    weights = {}
    turn = trainer_module.Trainer.turn

    def kept(self, p, batch):
        if self.clock.step == 5 and p.name == phase:
            weights.update({k: v.detach().clone() for m in (self.model, self.objective) for k, v in m.named_parameters()})
        turn(self, p, batch)

    monkeypatch.setattr(trainer_module.Trainer, "turn", kept)
    with pytest.raises(TrainingError, match=rf"Step 5, phase '{phase}'.* first in {name};") as caught:
        train(config, tmp_path / "a", quiet=True)
    assert "\n" not in str(caught.value) and read_run(tmp_path / "a")["status"] == "failed"
    t = made[0]
    after = {k: v for m in (t.model, t.objective) for k, v in m.state_dict().items()}
    assert all(torch.equal(after[k], v) for k, v in weights.items()), "the bad step changed no weights"
    assert all(v.isfinite().all() for v in after.values()), "nor did it spoil what is remembered"
    for optimizer in t.optimizers.values():
        assert all(v.isfinite().all() for s in optimizer.state.values() for v in s.values())
    assert checkpoints(tmp_path / "a")[-1].name == "000000004"
    assert all(v.isfinite().all() for v in load_model(tmp_path / "a" / "model").state_dict().values())


def test_a_gradient_that_is_not_finite_names_the_parameter(source):
    t = make_trainer(toy_config(source))
    before = {k: v.clone() for k, v in t.model.state_dict().items()}

    def loss(phase, batch, step):
        y = t.model.second.weight.sum() * 0
        value = y.sqrt() + t.model(batch.image).mean() * 0 + 1.0  # d sqrt at 0 is infinite
        return value, {"loss": value.detach()}

    t.objective.loss = loss
    t.turn(t.phases[0], t.loader.batch_at(0))
    with pytest.raises(TrainingError, match=r"model\.second\.weight \(its gradient\)"):
        t.check_finite()
    assert all(torch.equal(t.model.state_dict()[k], v) for k, v in before.items())


def test_weights_that_are_not_finite_are_named(source):
    t = make_trainer(toy_config(source))
    with torch.no_grad():
        t.model.second.bias[0] = math.inf
    t.turn(t.phases[0], t.loader.batch_at(0))
    with pytest.raises(TrainingError, match=r"first in model\.second"):
        t.check_finite()


# ---- what does not fit


def test_a_model_that_does_not_fit_the_data_is_one_sentence(source, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.shape is \(3, 9, 9\) and the data are \(3, 8, 8\)"):
        make_trainer(run_config("vae", source).override({"model.shape": [3, 9, 9]}))
    with pytest.raises(ConfigError, match="2 classes and the data 0"):
        make_trainer(run_config("gan", source).override({"data.source": write_npz(tmp_path / "plain.npz", classes=0)}))
    t = make_trainer(run_config("gan", source).override({"model.classes": []}))  # labels that nobody asks for
    t._batches = t.loader.stream()
    t.step()
    t.check_finite()


# ---- the log and alarms


def test_means_are_means_since_the_last_look():
    means = Means()
    for v in (1.0, 2.0, 6.0):
        means.add("main", {"loss": torch.tensor(v)})
    means.add("other", {"loss": torch.tensor(5.0)})
    assert means.take() == {"main/loss": 3.0, "other/loss": 5.0}
    assert means.take() == {}


def test_durations_as_people_write_them():
    assert [duration(s) for s in (0.4, 59.4, 59.6, 570, 7500)] == ["0 s", "59 s", "1 min 00 s", "9 min 30 s", "2 h 05 min"]


def test_every_line_of_the_log_is_json_with_a_step(source, tmp_path):
    config = run_config("vae", source, steps=4, checkpoint_every=2, log_every=0.0)
    out = train(config, tmp_path / "a", quiet=True)
    lines = [json.loads(s) for s in (out / "metrics.jsonl").read_text().splitlines()]
    assert all({"time", "step"} <= line.keys() for line in lines)
    rates = [line for line in lines if "rate" in line]
    assert [line["step"] for line in rates] == [1, 2, 3, 4]
    assert all({"main/pixels", "main/kl", "main/gradient"} <= line["figures"].keys() for line in rates)
    assert [line["step"] for line in lines if "valid/loss" in line.get("figures", {})] == [2, 4]


def test_alarms_before_the_start(source):
    estimate = Estimate(1, 0, 1, 1, memory=0, seconds=0.5)

    def alarm(**settings):
        config = toy_config(source, **{"steps": 100, "batch": 8, "ema": 10.0, "warm_up": 0, **settings})
        return " ".join(alarms.check_start(config, estimate, count=100))

    assert alarm() == ""
    assert "train.ema is too slow" in alarm(ema=500.0, ema_share=1.0)
    assert "train.ema is too slow" in alarm(ema=500.0, ema_share=1.0, steps=None, budget=50.0), "a budget has a length too"
    assert "fewer than a batch" in alarm(batch=128)
    huge = Estimate(1, 0, 1, 1, memory=1 << 60, seconds=0.5)
    assert "GiB are free" in " ".join(alarms.check_start(toy_config(source, ema=1.0), huge, 100))


@pytest.mark.parametrize("view", [{}, {"random_crop": True, "size": (6, 6)}], ids=["plain", "random crop"])
def test_alarms_on_samples(view, source):
    data = Dataset(open_source(source), View(**view))
    h, w = data.view.size
    real = data.rows([0, 1, 2, 3]).images
    real = torch.stack([torch.as_tensor(x)[:, :h, :w] for x in real]).float() / 127.5 - 1
    assert list(alarms.check_samples(real, data, 1.0)) == []
    noise = torch.rand(16, 3, h, w) * 2 - 1
    assert "still noise" in " ".join(alarms.check_samples(noise, data, 1.0))
    assert list(alarms.check_samples(noise, data, 0.1)) == [], "too early to tell"
    assert "nearly all alike" in " ".join(alarms.check_samples(real[:1].expand(16, -1, -1, -1), data, 1.0))


def test_alarms_of_methods(source):
    gan, vae = (make_trainer(run_config(kind, source)).objective for kind in ("gan", "vae"))
    assert "critic is winning" in " ".join(gan.watch({"critic/accuracy": 1.0, "generator/loss": 9.0}, 0.5))
    assert not list(gan.watch({"critic/accuracy": 0.7, "generator/loss": 1.0}, 0.5))
    assert "posterior collapse" in " ".join(vae.watch({"main/kl_nats": 0.2}, 0.5))
    assert not list(vae.watch({"main/kl_nats": 0.2}, 0.05)) and not list(vae.watch({"main/kl_nats": 20.0}, 0.5))


def test_an_alarm_is_said_once_and_kept(source, tmp_path, capsys):
    out = train(toy_config(source, batch=64, ema=1.0), tmp_path / "a")
    assert capsys.readouterr().err.count("fewer than a batch") == 1
    assert [json.loads(s)["alarm"][:9] for s in (out / "metrics.jsonl").read_text().splitlines() if "alarm" in s] == ["there are"]


def test_a_grid_comes_as_the_run_goes(source, tmp_path):
    out = train(run_config("gan", source, steps=3, samples=4, sample_every=1e-9), tmp_path / "a", quiet=True)
    assert [p.name for p in sorted((out / "samples").iterdir())] == ["000000008.png", "000000016.png", "000000024.png"]


def test_an_objective_is_told_which_rows_are_only_looked_at(source, monkeypatch):
    t, told = make_trainer(toy_config(source)), []
    loss = t.objective.loss
    monkeypatch.setattr(t.objective, "loss", lambda phase, batch, step: (told.append(step.held_out), loss(phase, batch, step))[1])
    t._batches = t.loader.stream(0)
    t.step()
    t.validate(t.data)
    assert told[0] is False and len(told) > 1 and all(told[1:])


def test_looking_at_samples_and_held_out_images_changes_nothing(source, tmp_path):
    quiet = train(run_config("diffusion", source, steps=4), tmp_path / "a", quiet=True)
    busy = run_config("diffusion", source, steps=4, samples=2, sample_every=1e-9, checkpoint_every=1, log_every=0.0)
    busy = train(busy.override({"data.validation": "test"}), tmp_path / "b", quiet=True)
    a, b = (checkpoints(out)[-1] / "weights.safetensors" for out in (quiet, busy))
    x, y = load_tensors(a)[0], load_tensors(b)[0]
    assert all(torch.equal(x[k], y[k]) for k in x)
