"""Compiled runs learn what others learn."""

import re

import pytest
import torch

from inkwash.core.errors import ConfigError
from inkwash.training import train
from inkwash.training.compiled import compile_networks, networks, uncompiled
from tiny import make_trainer, named_gradients, run_config

STIR = 0.05


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The graph is taken and differentiated as ever, and then run without generating code, which takes minutes and a compiler."""
    monkeypatch.setattr("inkwash.training.compiled.BACKEND", "aot_eager")
    torch.compiler.reset()


def test_networks_are_what_is_called(source):
    assert [type(m).__name__ for m in networks(make_trainer(run_config("diffusion", source)).model)] == ["UNet"]
    gan = make_trainer(run_config("gan", source))
    assert [type(m).__name__ for root in (gan.model, gan.objective) for m in networks(root)] == ["GAN", "Critic"]


def gradients(trainer):
    return named_gradients(trainer, trainer.phases[0], trainer.loader.batch_at(0))


def test_gradients_are_those_of_the_networks_as_written(source):
    plain, fast = (make_trainer(run_config("diffusion", source), STIR) for _ in range(2))
    line = compile_networks(fast, 1e-9)
    assert re.search(r"compiled in .* ms, 0.0 before; it does not pay here", line)
    assert re.search(r"it pays after \d+ steps", compile_networks(fast, 1e9))
    a, b = gradients(plain), gradients(fast)
    assert a.keys() == b.keys()
    for k in a:
        torch.testing.assert_close(b[k], a[k], rtol=1e-3, atol=1e-5)
    assert {k for k, _ in fast.model.named_parameters()} == {k for k, _ in plain.model.named_parameters()}
    with uncompiled(True):
        c = gradients(fast)
    assert all(torch.equal(c[k], a[k]) for k in a)


def test_a_student_and_its_critic_stay_compiled_over_batches(source):
    t = make_trainer(run_config("student", source))
    compile_networks(t, 1.0)
    torch._dynamo.utils.counters.clear()
    t._batches = t.loader.stream()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            t.step()


def test_a_gradient_of_a_gradient_is_not_compiled(source):
    with pytest.raises(ConfigError, match=r"leave train\.compile off"):
        compile_networks(make_trainer(run_config("gan", source)), 1.0)


def test_a_run_compiles_where_it_is_asked_to(source, tmp_path, capfd):
    out = train(run_config("diffusion", source, steps=2, compile=True), tmp_path / "run")
    assert "compiled in" in capfd.readouterr().err and (out / "model" / "model.safetensors").exists()


def test_a_machine_that_cannot_compile_is_told_so(source, monkeypatch):
    def refuse(trainer):
        from torch._dynamo.exc import InternalTorchDynamoError

        raise InternalTorchDynamoError("no compiler\nand more")

    monkeypatch.setattr("inkwash.training.compiled.step_seconds", refuse)
    with pytest.raises(ConfigError, match=r"leave train.compile off: no compiler$"):
        compile_networks(make_trainer(run_config("diffusion", source)), 1.0)
