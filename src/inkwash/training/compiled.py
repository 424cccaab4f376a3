"""Compiling a run's networks: it takes a minute or two, steps are faster afterwards, and only a long run wins."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from inkwash.core.errors import ConfigError
from inkwash.training.estimate import step_seconds
from inkwash.training.log import duration
from inkwash.training.trainer import Trainer, still

BACKEND = "inductor"


def networks(root: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules at or below `root` that have a forward of their own, and weights."""
    if type(root).forward is not nn.Module.forward:
        if any(True for _ in root.parameters()):
            yield root
        return
    for module in root.children():
        yield from networks(module)


def compile_networks(trainer: Trainer, eager: float) -> str:
    """Compile what a step runs, and say when that pays. eager: seconds of a step before.

    Validation and sampling, whose batches have other sizes, stay as they were: `uncompiled`. Raises ConfigError where torch cannot
    compile: for want of a C++ compiler, or a loss with a gradient of a gradient.
    """
    start = time.perf_counter()
    for root in (trainer.model, trainer.objective):
        for module in networks(root):
            module.compile(backend=BACKEND, dynamic=False)
    try:
        with still(trainer.model, trainer.objective):
            now = step_seconds(trainer)
    except RuntimeError as e:  # dynamo's and inductor's errors, and a penalty that needs two backward passes
        raise ConfigError(f"torch.compile does not work here, so leave train.compile off: {str(e).splitlines()[0]}") from e
    took = time.perf_counter() - start
    what = f"compiled in {duration(took)}: a step takes {1e3 * now:.1f} ms, {1e3 * eager:.1f} before"
    if now >= eager:
        return f"{what}; it does not pay here: leave train.compile off"
    steps = took / (eager - now)
    return f"{what}; it pays after {steps:.0f} steps, {duration(steps * now)} of training"


def uncompiled(compiled: bool) -> AbstractContextManager:
    """A context in which compiled modules run as they are written; it does nothing where there are none."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
