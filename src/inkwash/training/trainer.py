"""The trainer: one loop for every method.

    for each step:
        take the batch at this position of the run
        for each phase that is due: loss, gradients (averaged over processes), clip, step of its optimiser
        move the average of the weights
        now and then: a line in the log, a grid of samples, a checkpoint

The run is a function of its configuration: data, noise and sampling are keyed by position and seed, so a resumed run continues
bitwise, and any number of processes or micro-batches sees the same rows with the same noise.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from inkwash.core.batch import Batch, Step
from inkwash.core.device import choose_precision
from inkwash.core.errors import ConfigError, FileError, TrainingError
from inkwash.core.files import WEIGHTS, fill_state, load_tensors, read_model_config
from inkwash.core.model import Model
from inkwash.core.objective import Phase
from inkwash.core.rng import Rng
from inkwash.data import Dataset, Loader
from inkwash.inference.load import model_folder
from inkwash.nn.lowrank import with_missing
from inkwash.training.config import RunConfig
from inkwash.training.ema import EMA
from inkwash.training.engine import Engine
from inkwash.training.guard import culprit
from inkwash.training.log import Log, Means, duration
from inkwash.training.muon import Muon, matrices


def fill_from(model: nn.Module, start: str) -> None:
    """Take the weights of a run or model folder. Raises FileError where they are not this model's."""
    folder = model_folder(start)
    tensors = load_tensors(folder / WEIGHTS)[0]
    try:
        fill_state(model, with_missing(model, model.adopted(tensors) if isinstance(model, Model) else tensors), folder / WEIGHTS)
    except FileError:
        kind, own = read_model_config(folder).kind, getattr(getattr(model, "config", None), "kind", None)
        if kind == own:
            raise
        raise FileError(f"{start} does not fit: it is of the kind {kind!r}, and what is to begin from it of the kind {own!r}.") from None


@dataclass
class Clock:
    """Where a run stands: steps and images done, seconds spent, all kept over a resume."""

    step: int = 0
    images: int = 0
    elapsed: float = 0.0


@contextmanager
def still(*modules: nn.Module) -> Iterator[None]:
    """Put buffers back afterwards: a loss that is taken only to look at must not move a pool of images or a count of codes."""
    before = [{k: v.clone() for k, v in m.named_buffers()} for m in modules]
    try:
        yield
    finally:
        for module, buffers in zip(modules, before):
            module.load_state_dict(buffers, strict=False)


class Trainer:
    """Holds everything that a checkpoint holds, and the loop. `out` gets what `inkwash.training.run` writes."""

    def __init__(self, config: RunConfig, data: Dataset, engine: Engine, log: Log, precision: str | None = None, resumed: bool = False):
        """precision: what a run that goes on was begun in, where the configuration leaves it to a measurement.

        resumed: weights will come from a checkpoint, so those that the run began with are not looked for.
        """
        self.config, self.train, self.data, self.engine, self.log = config, config.train, data, engine, log
        rows, ways = self.train.batch, engine.world * self.train.accumulate
        if rows % ways:
            shares = f"{engine.world} processes x {self.train.accumulate} micro-batches"
            raise ConfigError(f"train.batch is {rows}, which {shares} cannot share equally.")
        self._check_data()
        torch.manual_seed(self.train.seed)  # weights only: everything else is keyed by position
        chosen = choose_precision(engine.device, precision or self.train.precision)
        self.precision = replace(chosen, bf16=bool(engine.from_main(float(chosen.bf16))))  # timings differ, ranks must not
        self.model = self.precision.place(config.model.build().to(engine.device)).train()
        if config.start and not resumed:
            fill_from(getattr(self.model, config.part) if config.part else self.model, config.start)
        if config.plan and not resumed:
            fill_from(self.model.plan, config.plan)
        self.objective = self.precision.place(config.objective.build(self.model).to(engine.device)).train()
        if config.teacher and not resumed:
            fill_from(self.objective.teacher, config.teacher)
        if self.objective.couples and self.train.accumulate > 1:
            raise ConfigError("Rows of a batch interact in this objective, so train.accumulate must be 1.")
        engine.same_everywhere([self.model, self.objective])
        self.names = self._parameter_names()
        self.phases = self.objective.phases()
        self.optimizers = self._optimizers()
        self.ema = EMA(self.model, self.train.ema, self.train.ema_share)
        self.loader = Loader(data, rows // engine.world, self.train.seed, engine.rank, engine.world)
        self.objective.refuse(self.loader.batch_at(0, 1))
        self.clock, self.means, self.stop = Clock(), Means(), False
        self._pending: list[tuple[Tensor, int, str, Batch, Step]] = []

    def _check_data(self) -> None:
        """The model must fit the data. Raises ConfigError."""
        shape, classes = getattr(self.config.model, "shape", None), getattr(self.config.model, "classes", ())
        found = (self.data.facts.channels, self.data.facts.height, self.data.facts.width)
        if shape and tuple(shape) != found:
            raise ConfigError(f"model.shape is {tuple(shape)} and the data are {found}: set data.view.size and data.view.channels.")
        if classes and len(classes) != len(self.data.classes):
            raise ConfigError(f"The model has {len(classes)} classes and the data {len(self.data.classes)}: set model.classes=[] for none.")

    def _parameter_names(self) -> dict[nn.Parameter, str]:
        roots = (("model", self.model), ("objective", self.objective))
        return {p: f"{root}.{name}" for root, module in roots for name, p in module.named_parameters()}

    def _optimizers(self) -> dict[str, torch.optim.AdamW]:
        """One optimiser for each name that the phases give, over all the parameters that they train."""
        groups: dict[str, dict[nn.Parameter, None]] = {}
        betas = {phase.optimizer: phase.betas or self.train.betas for phase in self.phases}
        for phase in self.phases:
            groups.setdefault(phase.optimizer, {}).update(dict.fromkeys(phase.parameters()))
        out = {}
        for name, group in groups.items():
            shared = {"lr": self.train.lr, "betas": betas[name], "weight_decay": self.train.weight_decay}
            if self.train.optimizer == "muon":
                out[name] = Muon(group, matrices([self.model, self.objective]), half=self.precision.bf16, **shared)
            else:
                out[name] = torch.optim.AdamW(list(group), fused=True, **shared)
        return out

    @property
    def progress(self) -> float:
        """0 to 1: the share of the images, or of the seconds, that the run was given."""
        return self.train.progress(self.clock.step, self.clock.elapsed)

    def learning_rate(self) -> float:
        """Up over the first images (at most a tenth of a short run), flat, down to zero over the last share of the run."""
        t, p = self.train, self.progress
        up = min(1.0, max((self.clock.images + t.batch) / t.warm_up, p / 0.1)) if t.warm_up else 1.0
        down = min(1.0, (1 - p) / t.decay) if t.decay else 1.0
        return t.lr * up * down

    def step(self) -> None:
        """One step: every phase that is due, on the batch at this position."""
        batch = next(self._batches).to(self.engine.device)
        for phase in self.phases:
            if self.clock.step % phase.every == 0:
                self.turn(phase, batch)
        self.clock.step += 1
        self.clock.images += self.train.batch
        self.ema.update(self.model, self.clock.images, self.train.batch)

    def turn(self, phase: Phase, batch: Batch) -> None:
        """One phase: gradients, then a step of its optimiser, which a gradient that is not finite turns into nothing."""
        self.check_finite()
        parameters = list(phase.parameters())
        loss = self.gradients(phase, batch)
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        clip_grads_with_norm_(parameters, self.train.clip, norm)
        bad = ~(torch.isfinite(norm) & torch.isfinite(loss))
        optimizer = self.optimizers[phase.optimizer]
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate() * phase.lr
        optimizer.found_inf, optimizer.grad_scale = bad.float(), None  # the fused kernel then skips the step, without a wait
        optimizer.step()
        optimizer.zero_grad()
        self.means.add(phase.name, {"gradient": norm})
        self._pending.append((bad, self.clock.step, phase.name, batch, self.moment(phase.name, batch)))

    def gradients(self, phase: Phase, batch: Batch) -> Tensor:
        """Fill the phase's gradients, the mean over micro-batches and processes. Returns this process's mean loss."""
        trained = list(phase.parameters())
        for p in self.names:
            p.requires_grad_(False)
        for p in trained:
            p.requires_grad_(True)
        total = torch.zeros((), device=self.engine.device)
        size = len(batch) // self.train.accumulate
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            with self.precision.autocast(self.engine.device):
                loss, parts = self.objective.loss(phase.name, part, self.moment(phase.name, part))
            (loss / self.train.accumulate).backward()
            total += loss.detach() / self.train.accumulate
            self.means.add(phase.name, parts)
        self.engine.average_gradients(trained)
        return self.engine.reduce(total)

    def moment(self, phase: str, batch: Batch) -> Step:
        """The Step of a phase: random streams keyed by (seed, position of each row, phase)."""
        rng = Rng.of_rows(self.train.seed, batch.index, phase, self.engine.device)
        return Step(self.progress, self.clock.images, rng, self.engine.gather, self.engine.reduce)

    def check_finite(self) -> None:
        """Look at the flags of earlier turns, so that a GPU need not be waited for. Raises TrainingError naming the module."""
        for bad, step, phase, batch, moment in self._pending:
            if bad.item():
                where = culprit(self.objective, phase, batch, moment)
                raise TrainingError(
                    f"Step {step}, phase {phase!r}: the loss or its gradient is not finite, first in {where}; "
                    f"the weights were left as they were before it, and earlier checkpoints are kept. Try a smaller train.lr."
                )
        self._pending.clear()

    @torch.no_grad()
    def validate(self, data: Dataset) -> dict[str, float]:
        """Figures of the averaged weights on held-out rows with fixed noise, "loss" among them where the method has one."""
        own = {k: t.clone() for k, t in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema.tensors())
        count = min(self.train.validate_images, len(data))
        loader, means = Loader(data, 1, seed=0, augment=False), Means()  # shuffled: sets are often sorted by class
        try:
            for start in range(0, count, self.train.batch):
                batch = loader.batch_at(start, min(self.train.batch, count - start)).to(self.engine.device)
                rng = Rng.of_rows(0, batch.index, "validate", self.engine.device)
                with still(self.objective), self.precision.autocast(self.engine.device):
                    figures = self.objective.validate(batch, Step(self.progress, self.clock.images, rng, held_out=True))
                means.add("valid", {k: v * len(batch) / count for k, v in figures.items()})
        finally:
            self.model.load_state_dict(own)
        parts = -(-count // self.train.batch)
        return {k: v * parts for k, v in means.take().items()}

    def run(self, on_checkpoint, on_samples) -> None:
        """Train to the end, or until `stop` is set. on_checkpoint(): every checkpoint_every steps and at the end.

        on_samples(): every sample_every seconds. The clock counts everything since the start of the loop.
        """
        self._batches = self.loader.stream(self.clock.images)
        begin, last_log, last_samples = time.monotonic() - self.clock.elapsed, time.monotonic(), time.monotonic()
        since = self.clock.images
        while self.progress < 1 and not self.stop:
            self.step()
            now = time.monotonic()
            self.clock.elapsed = self.engine.from_main(now - begin)
            self.stop = bool(self.engine.from_main(float(self.stop)))
            if now - last_log >= self.train.log_every:
                self.report((self.clock.images - since) / (now - last_log))
                last_log, since = now, self.clock.images
            if self.clock.step % self.train.checkpoint_every == 0 and self.progress < 1:
                self.check_finite()
                on_checkpoint()
            if self.train.samples and now - last_samples >= self.train.sample_every and self.engine.main:
                on_samples()
                last_samples = time.monotonic()
        self.check_finite()
        if self.clock.images > since:
            self.report((self.clock.images - since) / max(time.monotonic() - last_log, 1e-9))
        on_checkpoint()

    def report(self, rate: float) -> None:
        """A line in the log, the bar, and alarms."""
        figures = self.means.take()
        c = self.clock
        left = self.train.left(c.step, c.elapsed, self.train.batch / max(rate, 1e-9))
        record = {"step": c.step, "images": c.images, "elapsed": round(c.elapsed, 2), "progress": round(self.progress, 4)}
        self.log.line({**record, "rate": round(rate, 2), "lr": self.learning_rate(), "figures": figures})
        self.log.show(self.progress, rate, left, figures)
        self.warn(figures)

    def warn(self, figures: dict[str, float]) -> None:
        """Say what the objective finds alarming in figures."""
        for alarm in self.objective.watch(figures, self.progress):
            self.log.alarm(alarm, self.clock.step)

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Ctrl-C or SIGTERM ends the loop after the step at hand; a second one ends the program at once."""

        def handler(number: int, frame: object) -> None:
            if self.stop:
                raise KeyboardInterrupt
            self.stop = True
            self.log.say(f"Stopping after this step ({duration(self.clock.elapsed)} in); once more to stop at once.")

        if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
            yield
            return
        before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
