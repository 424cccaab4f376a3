"""The trainer: runs `inkwash train` for one training job at a time, and notes how far it is.

Like the worker it lives as long as its standard input is open. A training that is stopped, by whom it may be, saves first, and can be
queued again: it goes on where it was.

    python -m inkwash.server.trainer FOLDER
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from inkwash.server.lock import Lock
from inkwash.server.queue import CANCELLED, DONE, FAILED, Job, Queue
from inkwash.server.settings import ServerConfig
from inkwash.server.tether import handed_over, when_input_ends

LOOK = 0.5  # seconds between two looks
PARTS = 1000  # that a training's progress is counted in
PATIENCE = 60.0  # seconds that a training gets to save


class Trainer:
    """One training after the other. lock: what a training holds as well, so that no other trainer begins before it has ended."""

    def __init__(self, config: ServerConfig, lock: int):
        self.lock = lock
        self.queue, self.runs = Queue(config.folder / "queue.db", 10**9), config.folder / "runs"
        self.device, self.child, self.over = config.device, None, threading.Event()

    def round(self) -> bool:
        """Train what waits longest. Returns whether there was anything."""
        waiting = self.queue.waiting(1, training=True)
        if not waiting or not (jobs := self.queue.claim([waiting[0].id])):
            return False
        (job,) = jobs
        run = self.runs / job.payload["name"]
        run.parent.mkdir(parents=True, exist_ok=True)
        log = run.with_name(f"{run.name}.log")
        with open(log, "wb") as said:
            held = {} if sys.platform == "win32" else {"pass_fds": (self.lock,)}
            asked = command(job.payload, run, self.device)
            self.child = subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=said, stderr=said, **held)
        stopped = self._follow(job, run)
        if not self.over.is_set():  # else who starts next finds it running, and calls it interrupted
            self._end(job, run, log, stopped)
        return True

    def _follow(self, job: Job, run: Path) -> bool:
        """Note progress until the training has ended. Returns whether it was asked to stop."""
        stopped = False
        while self.child.poll() is None:
            time.sleep(LOOK)
            if job.id in self.queue.progress([job.id], round(PARTS * progress(run)), PARTS) and not stopped:
                stopped = True
                self.child.stdin.close()  # a signal would be lost on one that has only just begun
        return stopped

    def _end(self, job: Job, run: Path, log: Path, stopped: bool) -> None:
        if self.child.returncode == 0 and not stopped:
            self.queue.finish(job.id, DONE, {"run": str(run)}, then=("serve", job.payload["name"], {"path": str(run)}))
        elif stopped:
            self.queue.finish(job.id, CANCELLED)
        else:
            said = log.read_text(errors="replace").strip().rpartition("inkwash: ")[2].strip()
            user = self.child.returncode == 2
            told = said[:500] if user else f"The training ended with {self.child.returncode}; {log} says more."
            self.queue.finish(job.id, FAILED, None, {"message": told, "fault": "user" if user else "server"})

    def leave(self) -> None:
        """Let a training save, and end this process."""
        self.over.set()
        if self.child is not None and self.child.poll() is None:
            self.child.stdin.close()
            try:
                self.child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.child.kill()
        os._exit(0)


def command(asked: dict[str, Any], run: Path, device: str) -> list[str]:
    """What is called for a training: on from where it was, where it was. It stops, and saves, when its standard input ends."""
    begin = [sys.executable, "-m", "inkwash.server.tether", "train"]
    if (run / "run.json").is_file():
        return [*begin, "--resume", "--out", str(run)]
    settings = {"train.device": device, **asked["settings"]}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    for field in ("budget", "steps", "start", "teacher", "plan"):
        option = "from" if field == "start" else field
        words += [f"--{option}", str(asked[field])] if asked.get(field) else []
    return [*begin, asked["recipe"], "--data", asked["data"], "--out", str(run), *words]


def curve(run: Path, most: int = 200) -> list[dict[str, Any]]:
    """What a run has written of its figures, at most so many lines, evenly, the last among them. None stands for what is not finite, which
    no answer could hold."""
    points = [json.loads(line, parse_constant=lambda name: None) for line in _lines(run)]
    points = [point for point in points if "progress" in point]
    step = max(1, -(-len(points) // most))
    return points[::-1][::step][::-1]


def progress(run: Path) -> float:
    """How far a run is, 0 to 1: what it wrote last."""
    return next((point["progress"] for point in map(json.loads, reversed(_lines(run))) if "progress" in point), 0.0)


def _lines(run: Path) -> list[str]:
    """What a run has written; nothing where it has not begun."""
    try:
        return (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]  # the last may not be whole
    except FileNotFoundError:
        return []


def main() -> None:
    """Serve the folder named on the command line, whose server.json says how."""
    config = handed_over()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which closes our input
    trainer: Trainer | None = None
    when_input_ends(lambda: trainer.leave() if trainer else os._exit(0))  # also while it waits for the lock
    with Lock(config.folder / "trainer.lock", wait=True) as lock:
        trainer = Trainer(config, lock.handle)
        trainer.queue.interrupt(training=True)
        print("ready", flush=True)
        while True:
            if not trainer.round():
                time.sleep(LOOK)


if __name__ == "__main__":
    main()
