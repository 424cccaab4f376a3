"""A run on disk: start it, stop it, take it up again.

RUN/run.json  metrics.jsonl  samples/000010000.png  checkpoints/000010000/  model/{config.json, model.safetensors, README.md, metrics.json}
"""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import inkwash
from inkwash.core.batch import Condition, Step
from inkwash.core.device import peak_memory
from inkwash.core.disk import make_folder, read_json, settle_folder, write_text
from inkwash.core.errors import ConfigError, FileError, InkwashError
from inkwash.core.files import fill_state, save_model
from inkwash.core.model import Sampler
from inkwash.core.rng import Rng
from inkwash.data import Dataset, Loader, open_source
from inkwash.data.source import Few
from inkwash.inference.draw import draw, draw_labels, draw_texts
from inkwash.inference.pictures import grid, save_png
from inkwash.training.alarms import check_samples, check_start
from inkwash.training.card import card
from inkwash.training.checkpoint import (
    checkpoints,
    fill_optimizer,
    load_checkpoint,
    optimizer_tensors,
    save_checkpoint,
    settle_checkpoints,
)
from inkwash.training.compiled import compile_networks, uncompiled
from inkwash.training.config import RunConfig
from inkwash.training.engine import Engine
from inkwash.training.estimate import measure
from inkwash.training.fit import fit
from inkwash.training.latents import latents_of, remembers
from inkwash.training.log import Log, duration
from inkwash.training.trainer import Clock, Trainer, still


class Run:
    """A folder, a trainer and what passes between them."""

    def __init__(self, config: RunConfig, out: Path, engine: Engine, log: Log, resume: bool = False):
        self.config, self.out, self.engine, self.log = config, out, engine, log
        self.data = open_data(config, config.data.split, log.watch("preparing images"))
        self.held_out = self._held_out()
        begun = resume and bool(checkpoints(out))
        self.trainer = Trainer(config, self.data, engine, log, read_run(out)["precision"] if resume else None, begun)
        self.best, self.best_step = float("inf"), -1
        self.facts: dict[str, Any] = {}

    def _held_out(self) -> Dataset | None:
        split = self.config.data.validation
        if split is None or not self.engine.main:
            return None
        data = open_data(self.config, split, self.log.watch("preparing held-out images"))
        return data if len(data) else None

    def start(self) -> None:
        """Make a new run folder. Raises FileError where there is a run already."""
        if self.engine.from_main(float((self.out / "run.json").exists())):
            raise FileError(f"There is already a run in {self.out}: go on with --resume, or choose another --out.")
        if self.engine.main:
            make_folder(self.out / "samples")
            make_folder(self.out / "checkpoints")
            self.write_run("running")
        self.engine.wait()

    def resume(self) -> None:
        """Take up the newest checkpoint; without one, begin at the beginning."""
        known = read_run(self.out)["data"]["fingerprint"]
        if known != self.data.fingerprint():
            source = self.config.data.source
            raise ConfigError(f"The data at {source} have changed since {self.out} was started: a resume would not be exact.")
        if self.engine.main:
            settle_checkpoints(self.out)
            settle_folder(self.out / "model")
        self.engine.wait()
        found = checkpoints(self.out)
        if not found:
            self._cut_log(0)
            self.log.say(f"No checkpoint in {self.out} yet: starting from the beginning.")
            return
        t = self.trainer
        tensors, state = load_checkpoint(found[-1], ["weights", "objective", "ema", *(f"optimizer-{name}" for name in t.optimizers)])
        fill_state(t.model, tensors["weights"], found[-1] / "weights.safetensors")
        fill_state(t.objective, tensors["objective"], found[-1] / "objective.safetensors")
        for name, optimizer in t.optimizers.items():
            fill_optimizer(optimizer, t.names, tensors[f"optimizer-{name}"])
        for k, v in tensors["ema"].items():
            t.ema.state[k].copy_(v)
        t.clock = Clock(state["step"], state["images"], state["elapsed"])
        self.best, self.best_step = state["best"] if state["best"] is not None else float("inf"), state["best_step"]
        self._cut_log(state["step"])
        if self.engine.main and (self.best_step in (-1, t.clock.step) or not (self.out / "model").exists()):
            self.export()  # a kill may have come between the checkpoint and the model made from it
        self.log.say(f"Going on from step {t.clock.step}, {duration(t.clock.elapsed)} in.")

    def _cut_log(self, step: int) -> None:
        """Lines written after the checkpoint will be written again."""
        path = self.out / "metrics.jsonl"
        if self.engine.main and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(path, "".join(s for s in lines if s.endswith("\n") and json.loads(s)["step"] <= step))

    def write_run(self, status: str) -> None:
        """run.json: everything that decided the run, and what happened to it."""
        t = self.trainer
        record = {
            "inkwash": inkwash.__version__,
            "status": status,
            "config": self.config.model_dump(mode="json"),
            "data": {"fingerprint": self.data.fingerprint(), "count": len(self.data), "source": self.config.data.source},
            "step": t.clock.step,
            "images": t.clock.images,
            "elapsed": round(t.clock.elapsed, 1),
            "precision": t.precision.name,
            "processes": self.engine.world,
            "threads": torch.get_num_threads(),
            "peak_memory": peak_memory(),
            "estimate": self.facts,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "command": sys.argv,
            "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_text(self.out / "run.json", json.dumps(record, indent=2, ensure_ascii=False))

    def checkpoint(self) -> None:
        """Look at held-out images, write a checkpoint, and the model made from it where it is the best so far."""
        if not self.engine.main:
            self.engine.wait()
            return
        t = self.trainer
        with uncompiled(self.config.train.compile):
            figures = t.validate(self.held_out) if self.held_out else {}
        if figures:
            self.log.line({"step": t.clock.step, "images": t.clock.images, "figures": figures})
            t.warn(figures)
        loss = figures.get("valid/loss")
        # A stopped run with a number of steps alone must end as an unbroken one: what it stops at is no candidate for the best.
        regular = t.progress == 1 or t.clock.step % self.config.train.checkpoint_every == 0 or self.config.train.budget
        if loss is None:
            self.best_step = -1  # nothing to choose by: the newest weights are the model
        elif regular and loss < self.best:
            self.best, self.best_step = loss, t.clock.step
        tensors = {"weights": t.model.state_dict(), "ema": t.ema.tensors(), "objective": t.objective.state_dict()}
        tensors |= {f"optimizer-{name}": optimizer_tensors(o, t.names) for name, o in t.optimizers.items()}
        best = None if self.best == float("inf") else self.best
        state = {"step": t.clock.step, "images": t.clock.images, "elapsed": t.clock.elapsed, "best": best, "best_step": self.best_step}
        save_checkpoint(self.out, t.clock.step, tensors, state, self.config.train.keep)
        if self.best_step in (-1, t.clock.step):
            self.export()
        self.write_run("running")
        self.engine.wait()

    def export(self) -> None:
        """RUN/model from the averaged weights."""
        counts = self.data.label_counts().tolist() if self.data.classes else []
        data = {"source": self.config.data.source, "split": self.config.data.split, "count": len(self.data), "label_counts": counts}
        data |= {"fingerprint": self.data.fingerprint(), "view": self.data.view.model_dump(mode="json")}
        clock = {"step": self.trainer.clock.step, "images": self.trainer.clock.images, "seconds": round(self.trainer.clock.elapsed, 1)}
        extra = {"metrics.json": json.dumps({"data": data, "trained": clock}, indent=2, ensure_ascii=False)}
        model = self.config.model
        save_model(self.out / "model", model, self.trainer.ema.tensors(), card(self.config, self.trainer.model, data, clock), extra)

    def samples(self) -> None:
        """A grid from fixed seeds, or of the objective's own pictures, with the averaged weights."""
        t, config = self.trainer, self.config.model
        own = {k: v.clone() for k, v in t.model.state_dict().items()}
        t.model.load_state_dict(t.ema.tensors())
        t.model.eval()
        try:
            with uncompiled(self.config.train.compile):
                texts = self._texts() if isinstance(t.model, Sampler) and "tokens" in t.model.accepts else []
                images, columns = (self._drawn(texts), None) if isinstance(t.model, Sampler) else self._previewed()
        finally:
            t.model.load_state_dict(own)
            t.model.train()
        if not len(images):
            return
        facts = {"model": config.kind, "images": t.clock.images, **({"prompts": texts} if texts else {})}
        save_png(self.out / "samples" / f"{t.clock.images:09d}.png", grid(images, columns), facts)
        for alarm in check_samples(images, self.data, t.progress):
            self.log.alarm(alarm, t.clock.step)

    def _texts(self) -> list[str]:
        """What each sample is of: the prompts that were asked for, over and over, or captions of held-out rows."""
        asked, count = self.config.train.prompts, self.config.train.samples
        return [asked[i % len(asked)] for i in range(count)] if asked else draw_texts(range(count), self.held_out or self.data)

    def _drawn(self, texts: list[str]) -> Tensor:
        t = self.trainer
        seeds = list(range(self.config.train.samples))
        label = draw_labels(seeds, self.data.label_counts().tolist()) if "label" in t.model.accepts else None
        cond = Condition(tokens=t.model.tokens(texts)) if texts else None
        options = t.model.default_options()
        return draw(t.model, seeds, options, label, t.precision, cond=cond)

    @torch.no_grad()
    def _previewed(self) -> tuple[Tensor, int]:
        """What the objective shows of held-out pictures, side by side, and how many columns that makes."""
        t, data = self.trainer, self.held_out or self.data
        count = min(self.config.train.samples, 16, len(data))
        batch = Loader(data, count, augment=False).batch_at(0).to(self.engine.device)
        rng = Rng.of_rows(0, batch.index, "preview", self.engine.device)
        with still(t.objective), t.precision.autocast(self.engine.device):
            shown = t.objective.preview(batch, Step(t.progress, t.clock.images, rng, held_out=True))
        if not shown:
            return torch.empty(0), 0
        return torch.stack(shown, 1).flatten(0, 1).float().cpu(), 2 * len(shown)

    def go(self) -> None:
        """Train until the end or a signal, and leave a run that can be taken up."""
        try:
            self._go()
        except InkwashError:
            if self.engine.main:
                self.write_run("failed")
            raise

    def _go(self) -> None:
        t = self.trainer
        estimate = measure(t)
        self.facts = estimate.facts()
        steps = int(self.config.train.length(estimate.seconds)) if self.config.train.steps else None
        for line in estimate.lines(self.config.train.batch, steps, t.precision):
            self.log.say("  " + line)
        if self.engine.main:
            for alarm in check_start(self.config, estimate, len(self.data)):
                self.log.alarm(alarm, t.clock.step)
        self.engine.wait()
        self.remember(estimate.seconds)
        if self.config.train.compile:
            self.log.say("  compiling the networks ...")
            self.log.say("  " + compile_networks(t, estimate.seconds))
        with t.stopping_on_signals():
            t.run(self.checkpoint, self.samples)
        if self.engine.main:
            if self.config.train.samples:
                self.samples()
            self.write_run("stopped" if t.progress < 1 else "finished")

    def remember(self, seconds: float) -> None:
        """Work out what a frozen encoder makes of the pictures, where the run is long enough. seconds: of a step that does it itself."""
        t, config = self.trainer, self.config.train
        images = config.batch * config.length(self.engine.from_main(seconds))
        if t.objective.encoded and remembers(t.model, self.data, images):
            t.model.eval()
            t.loader.latents = latents_of(t.model, self.data, t.precision, on_progress=self.log.watch("encoding images"))
            t.model.train()


def read_run(out: Path) -> dict[str, Any]:
    """A run's run.json. Raises FileError where it is missing, damaged or not one of ours."""
    record = read_json(out / "run.json")
    keys = ("status", "config", "data", "step", "images", "elapsed", "precision", "saved", "command", "peak_memory")
    data = record.get("data") if isinstance(record, dict) else None
    if not isinstance(data, dict) or not all(k in record for k in keys) or not {"fingerprint", "count", "source"} <= data.keys():
        raise FileError(f"{out / 'run.json'} is damaged, or was not written by inkwash train.")
    return record


def open_data(config: RunConfig, split: str, on_progress: Callable[[int, int], None] | None = None) -> Dataset:
    """The data of a run, through its view, and what lies beside them."""
    d = config.data

    def opened(place: str, beside: Dataset | None = None) -> Dataset:
        source = open_source(place, split)
        if d.limit and split == d.split:
            source = Few(source, d.limit)
        elif split != d.split:
            source = Few.where_slow(source, max(config.train.validate_images, config.train.samples))  # no more are looked at
        return Dataset(source, d.view, int(d.memory_gb * 2**30), on_progress, beside)

    return opened(d.source, opened(d.beside) if d.beside else None)


@contextmanager
def rehearsing(config: RunConfig) -> Iterator[Trainer]:
    """A trainer as a run would have it, to measure; nothing is written."""
    engine = Engine(config.train.device)
    try:
        yield Trainer(config, open_data(config, config.data.split), engine, Log(Path(), main=False))
    finally:
        engine.close()


def train(config: RunConfig, out: str | Path, resume: bool = False, quiet: bool = False, code: str | None = None) -> Path:
    """Train what a configuration describes into the folder `out`, and return the folder. code: a file of the person's own.

    Raises InkwashError for what a user can put right. A signal stops the run after the step at hand; `resume` goes on.
    """
    out = Path(out)
    if config.train.steps is None and config.train.budget is None:
        raise ConfigError("A run ends after train.steps or after train.budget seconds: give one of them, or both.")
    engine = Engine(config.train.device)
    try:
        log = Log(out, engine.main, config.train.tensorboard, quiet)
        if config.objective.at_once:
            if resume:
                raise ConfigError(f"A {config.model.kind!r} model is fitted at once: there is nothing to resume.")
            with log:
                fit(config, open_data(config, config.data.split), out, log)
            return out
        run = Run(config, out, engine, log, resume)
        if resume:
            run.resume()
        else:
            run.start()
        with log:
            run.go()
        if run.trainer.progress < 1:
            again = " ".join(["inkwash train --resume --out", str(out), *(["--code", code] if code else [])])
            log.say(f"Stopped at step {run.trainer.clock.step}; everything is saved. Go on with: {again}")
    finally:
        engine.close()
    return out
