"""What a run says while it goes: one JSON line every few seconds always, a progress bar for people, TensorBoard where asked."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from inkwash.core.errors import ConfigError, FileError

BETWEEN_LINES = 30.0  # seconds, where there is no terminal to draw a bar on


class Means:
    """Running means of detached parts, summed on the device: nothing waits for the device until they are read."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, phase: str, parts: dict[str, Tensor]) -> None:
        for name, value in parts.items():
            key = f"{phase}/{name}"
            value = value.detach().float()
            self.sums[key] = self.sums[key] + value if key in self.sums else value.clone()
            self.counts[key] = self.counts.get(key, 0) + 1

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        figures = {k: (t / self.counts[k]).item() for k, t in self.sums.items()}
        self.sums, self.counts = {}, {}
        return figures


def duration(seconds: float) -> str:
    """Seconds as people write them: 45 s, 9 min 30 s, 2 h 05 min."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    return f"{s // 60} min {s % 60:02d} s" if s < 3600 else f"{s // 3600} h {s % 3600 // 60:02d} min"


class Log:
    """Writes RUN/metrics.jsonl, draws the bar. Silent where `main` is false (other processes of the same run)."""

    def __init__(self, run: Path, main: bool, tensorboard: bool = False, quiet: bool = False):
        self.run, self.main = run, main
        self.console = Console(stderr=True, quiet=quiet or not main)
        self.told: set[str] = set()
        self.printed = -BETWEEN_LINES
        self.board = _board(run) if tensorboard and main else None
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[more]}"), console=self.console)
        self.task = self.bar.add_task("training", total=1.0, more="")

    def __enter__(self) -> "Log":
        if self.main:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.main:
            self.bar.stop()
        if self.board:
            self.board.close()

    def watch(self, what: str) -> Callable[[int, int], None]:
        """For long work before the first step: a line now and then that says how much is done, and how long the rest will take."""
        start = last = time.monotonic()

        def tick(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if done < total and now - last >= BETWEEN_LINES / 3:
                left = (now - start) * (total - done) / done
                self.console.print(f"{what}: {done / total:.0%}, {duration(left)} left", highlight=False)
                last = now

        return tick

    def line(self, record: dict[str, Any]) -> None:
        """Append one JSON line; figures under "figures" go to TensorBoard as well."""
        if not self.main:
            return
        try:
            with open(self.run / "metrics.jsonl", "a", encoding="utf-8") as f:
                f.write(json.dumps({"time": round(time.time(), 3), **record}) + "\n")
        except OSError as error:
            raise FileError(f"Cannot write {self.run / 'metrics.jsonl'}: {error.strerror or error}; checkpoints are kept.") from None
        if self.board:
            for name, value in record.get("figures", {}).items():
                self.board.add_scalar(name, value, record["images"])

    def show(self, progress: float, rate: float, left: float, figures: dict[str, float]) -> None:
        """Move the bar. rate: images a second. left: seconds."""
        shown = ", ".join(f"{k} {v:.3g}" for k, v in figures.items() if not k.endswith("/gradient"))
        more = f"{rate:.0f} images/s, {duration(left)} left, {shown}"
        self.bar.update(self.task, completed=progress, more=more)
        if not self.console.is_terminal and time.monotonic() - self.printed >= BETWEEN_LINES:
            self.printed = time.monotonic()
            self.console.print(f"{progress:4.0%}  {more}", highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def alarm(self, text: str, step: int) -> None:
        """Say a warning once, and keep it in the log."""
        kind = re.sub(r"[\d.]+", "#", text)  # the same alarm with other numbers is the same alarm
        if kind not in self.told:
            self.told.add(kind)
            self.console.print(f"[yellow]Alarm at step {step}:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)
            self.line({"step": step, "alarm": text})


def _board(run: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed: pip install 'inkwash[tensorboard]'.") from None
    return SummaryWriter(str(run / "tensorboard"))
