"""What a run will cost, measured on one row before it starts: parameters, FLOPs, memory, time."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from inkwash.core.device import Precision
from inkwash.nn.conv import direct
from inkwash.training.log import duration
from inkwash.training.trainer import Trainer, still


@dataclass(frozen=True)
class Estimate:
    """parameters: of the model; more: of the objective's own networks. flops: of the model's part in one image's training step,
    forward only. train_flops: a whole step's, for each image. memory: bytes at the peak. seconds: of one step."""

    parameters: int
    more: int
    flops: int
    train_flops: int
    memory: int
    seconds: float

    def lines(self, batch: int, steps: int | None, precision: Precision) -> list[str]:
        """Sentences for a person."""
        rate = batch / self.seconds
        more = f" (and {self.more / 1e6:.2f} M of the objective's own)" if self.more else ""
        out = [
            f"parameters   {self.parameters / 1e6:.2f} M{more}",
            f"FLOPs        {self.flops / 1e9:.3f} G an image forward, {self.train_flops / 1e9:.3f} G an image of training",
            f"memory       about {self.memory / 2**30:.1f} GiB at the peak",
            f"precision    {precision.name} (one convolution: fp32 {precision.fp32_ms:.1f} ms, bf16 {precision.bf16_ms:.1f} ms)",
            f"speed        about {rate:.0f} images/s, {rate * self.train_flops / 1e12:.2f} TFLOP/s",
        ]
        return [*out, f"time         about {duration(steps * self.seconds)} for {steps} steps"] if steps else out

    def facts(self) -> dict[str, Any]:
        return asdict(self)


class _Flops(TorchDispatchMode):
    """Counts 2 a multiply-add. FlopCounterMode does the same by module, and fails where a loss calls autograd.grad (R1)."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def measure(trainer: Trainer) -> Estimate:
    """Run every phase once on one row for FLOPs and saved activations, and once on a whole batch for seconds.

    Nothing that a checkpoint holds changes. Every process of a run must call it: gradients are averaged on the way.
    """
    with still(trainer.model, trainer.objective):
        return _measure(trainer)


def _measure(trainer: Trainer) -> Estimate:
    rows = trainer.loader.batch_at(0, 1).to(trainer.engine.device)
    flops = train_flops = saved = 0.0
    for i, phase in enumerate(trainer.phases):
        kept = 0

        def pack(t: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += t.numel() * t.element_size()
            return t

        counter = _Flops()
        with direct(), counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            loss, _ = trainer.objective.loss(phase.name, rows, trainer.moment(phase.name, rows))
            forward = counter.total
            loss.backward()
        trainer.objective.zero_grad()
        trainer.model.zero_grad()
        flops = forward if i == 0 else flops
        train_flops += counter.total / phase.every
        saved = max(saved, kept)
    parameters, more = (sum(p.numel() for p in m.parameters()) for m in (trainer.model, trainer.objective))
    # weights, gradients and two moments in fp32, the average of the model, and activations of one micro-batch
    micro = trainer.train.batch // trainer.engine.world // trainer.train.accumulate
    half = 0.6 if trainer.precision.bf16 else 1.0
    memory = 4 * (4 * (parameters + more) + parameters) + saved * micro * half + (400 << 20)
    return Estimate(parameters, more, int(flops), int(train_flops), int(memory), step_seconds(trainer))


def step_seconds(trainer: Trainer) -> float:
    """Seconds of one step's losses and gradients on a whole batch: the fastest of up to five within a second, after one to warm up."""
    batch = trainer.loader.batch_at(0).to(trainer.engine.device)
    times = []
    while len(times) < 2 or (len(times) < 6 and trainer.engine.from_main(sum(times[1:])) < 1):  # all ranks as often
        total = 0.0
        for phase in trainer.phases:
            start = time.perf_counter()
            trainer.gradients(phase, batch)
            trainer.objective.zero_grad()
            trainer.model.zero_grad()
            total += (time.perf_counter() - start) / phase.every
        times.append(total)
    trainer.means.take()
    return min(times[1:])
