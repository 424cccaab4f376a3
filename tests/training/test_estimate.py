"""What a run will cost, measured before it begins, and that measuring moves nothing."""

import pytest
import torch

from inkwash.core.files import load_tensors
from inkwash.training.checkpoint import checkpoints
from inkwash.training.estimate import measure
from inkwash.training.run import train
from tiny import make_trainer, run_config
from toy import toy_config


def test_flops_equal_a_hand_count(source):
    t = make_trainer(toy_config(source))
    e = measure(t)
    one = 2 * 9 * 3 * 5 * 8 * 8  # each convolution, forward
    assert e.flops == 2 * one
    assert e.train_flops == 2 * one + 3 * one, "the first needs no gradient of its input"
    assert e.parameters == (9 * 3 * 5 + 5) + (9 * 5 * 3 + 3) and e.more == 0
    assert e.seconds > 0
    assert 400 << 20 < e.memory < 500 << 20
    assert e.facts()["flops"] == e.flops


def test_memory_grows_with_the_micro_batch(source):
    def memory(batch, **settings):
        return measure(make_trainer(run_config("diffusion", source, batch=batch, **settings))).memory

    small, large = memory(8), memory(64)
    assert large > small
    assert memory(64, accumulate=8) == small


def test_lazy_phases_count_for_their_share(source):
    def flops(every):
        return measure(make_trainer(run_config("gan", source).override({"objective.penalty_every": every}))).train_flops

    often, seldom, never = (  # at every step the penalty is part of the critic's own loss, and shares its drawings
        flops(2),
        flops(8),
        measure(make_trainer(run_config("gan", source).override({"objective.r1": 0, "objective.r2": 0}))).train_flops,
    )
    assert often - never == pytest.approx(4 * (seldom - never), rel=1e-3) and often > never


@pytest.mark.parametrize("kind", ["toy", "gan", "diffusion"])
def test_measuring_moves_nothing(kind, source):
    """A resumed run measures again, an unbroken one does not: not even a buffer may move."""
    t = make_trainer(toy_config(source) if kind == "toy" else run_config(kind, source))
    before = {k: v.clone() for m in (t.model, t.objective) for k, v in m.state_dict().items()}
    measure(t)
    after = {k: v for m in (t.model, t.objective) for k, v in m.state_dict().items()}
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert all(p.grad is None for p in t.names) and t.means.take() == {} and not t._pending
    assert (t.clock.step, t.clock.images) == (0, 0)


def test_an_objectives_state_is_saved_and_only_training_moves_it(source, tmp_path):
    out = train(toy_config(source, steps=6, checkpoint_every=2), tmp_path / "a", quiet=True)
    calls = [load_tensors(p / "objective.safetensors")[0]["calls"].item() for p in checkpoints(out)]
    assert calls == [4.0, 6.0]
