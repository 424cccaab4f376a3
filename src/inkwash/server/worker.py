"""The worker: the one process that owns the device. It takes jobs off the queue, those that are alike together, and notes their ends.

It lives as long as its standard input stays open, which whoever started it holds: a server that is killed takes its worker along. A lock
on a file keeps a second one waiting until the first is gone.

    python -m inkwash.server.worker FOLDER
"""

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import Tensor

from inkwash.core.errors import ConfigError, FileError, InkwashError
from inkwash.core.model import watched
from inkwash.inference.runner import Request, Runner
from inkwash.server.describe import described
from inkwash.server.lock import Lock
from inkwash.server.making import MAKERS, Made, deliver, preview
from inkwash.server.queue import CANCELLED, DONE, FAILED, Job, Queue
from inkwash.server.settings import ServerConfig
from inkwash.server.store import Store
from inkwash.server.tether import handed_over, when_input_ends

IDLE = 0.01  # seconds between two looks at the queue
NOTE = 0.1  # seconds between two notes of progress
TOGETHER = 64  # images that are made at once, at most


class Stopped(Exception):
    """All jobs of a round were cancelled."""


class Worker:
    """Runs rounds: one job, or several that are alike."""

    def __init__(self, config: ServerConfig):
        self.config = config
        self.queue = Queue(config.folder / "queue.db", config.limits.queue)
        self.store, self.uploads = Store(config.folder / "pictures"), Store(config.folder / "uploads")
        self.runner = Runner(config.device, config.precision)

    def start(self) -> None:
        """Load the models and note what they can do. Raises InkwashError for one that cannot be loaded."""
        self.queue.interrupt(training=False)
        models = {path: self.runner.model(path) for path in self.config.models}
        if len({loaded.name for loaded in models.values()}) < len(models):
            raise ConfigError("Two of the models have the same name: serve them from folders of different names.")
        self.queue.describe({loaded.name: described(loaded, path) for path, loaded in models.items()})
        for job in self.queue.page(limit=200, states=(DONE,), kinds=("serve",))[::-1]:
            self._serve(job)

    def _serve(self, job: Job) -> tuple[str, dict[str, Any] | None, dict[str, Any] | None]:
        """Serve a model that was trained here, beside the others. A name that is taken stays whose it is."""
        known = self.queue.models()
        if job.model in known:
            return FAILED, None, {"message": f"A model named {job.model!r} is served already.", "fault": "user"}
        try:
            loaded = self.runner.model(job.payload["path"])
        except InkwashError as error:  # its folder was removed, say
            return FAILED, None, {"message": str(error), "fault": "user"}
        self.queue.describe(known | {job.model: described(loaded, job.payload["path"])})
        return DONE, {"pictures": [], "texts": []}, None

    def round(self) -> bool:
        """Work on what waits longest, and what can be made together with it. Returns whether there was anything."""
        waiting = self.queue.waiting()
        if not waiting:
            return False
        jobs = self.queue.claim([job.id for job in self._alike(waiting)])
        if jobs:
            self._work(jobs)
        return True

    def rest(self, version: int) -> None:
        """Until the server has changed something since that version: a look that costs microseconds."""
        while self.queue.version() == version:
            time.sleep(IDLE)

    def _alike(self, waiting: list[Job]) -> list[Job]:
        first, *others = waiting
        if first.kind != "generate" or first.payload.get("partial_images"):
            return [first]
        together, request = [first], Request.parse(first.payload["request"])
        images = request.n
        for job in others:
            if job.kind != "generate" or job.payload.get("partial_images"):
                continue
            other = Request.parse(job.payload["request"])
            if images + other.n <= TOGETHER and self.runner.alike(request, other):
                together, images = [*together, job], images + other.n
        return together

    def _work(self, jobs: list[Job]) -> None:
        if jobs[0].kind == "serve":
            return self.queue.finish(jobs[0].id, *self._serve(jobs[0]))
        try:
            with watched(self._look(jobs[0])) if jobs[0].payload.get("partial_images") else nullcontext():
                made = MAKERS[jobs[0].kind](self.runner, self.uploads, jobs, self._noting([job.id for job in jobs]))
            results = [self._delivered(job, own) for job, own in zip(jobs, made)]
        except Stopped:
            results = [(CANCELLED, None, None)] * len(jobs)
        except FileError:  # a full disk, say: nothing that who asked could mend, nor should read of
            traceback.print_exc()
            told = {"message": "The server could not read or write a file. Its log says more.", "fault": "server"}
            results = [(FAILED, None, told)] * len(jobs)
        except InkwashError as error:
            if len(jobs) > 1:  # one of them cannot be served: each for itself, so that it harms no other
                for job in jobs:
                    self._work([job])
                return
            results = [(FAILED, None, {"message": str(error), "fault": "user"})]
        except Exception as error:  # a bug of ours must not take the other jobs along
            traceback.print_exc()
            told = {"message": f"The worker failed: {type(error).__name__}. The server's log says more.", "fault": "server"}
            results = [(FAILED, None, told)] * len(jobs)
        for job, (state, result, error) in zip(jobs, results):
            self.queue.finish(job.id, state, result, error)

    def _delivered(self, job: Job, made: Made) -> tuple[str, dict[str, Any] | None, None]:
        if self.queue.get(job.id).cancel:
            return CANCELLED, None, None
        return DONE, deliver(job.payload, made, self.store, self.config.provenance), None

    def _noting(self, ids: list[str]) -> Callable[[int, int], None]:
        """What notes the progress of jobs now and then, and stops when all of them are cancelled."""
        last = 0.0

        def on_step(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last < NOTE and done < total:
                return
            last = time.monotonic()
            if len(self.queue.progress(ids, done, total)) == len(ids):
                raise Stopped

        return on_step

    def _look(self, job: Job) -> Callable[[Callable[[], Tensor]], None]:
        """What keeps as many previews of a job's first picture as were asked for, evenly over its steps."""
        most, steps, files, at = job.payload["partial_images"], job.payload.get("looks", 14), [], 0

        def look(images: Callable[[], Tensor]) -> None:
            nonlocal at
            at += 1
            if len(files) < most and at >= 1 + len(files) * steps / most:
                files.append(preview(images()[0], job.payload, self.store, self.config.provenance))
                self.queue.preview(job.id, files)

        return look


def main() -> None:
    """Serve the folder named on the command line, whose server.json says how."""
    when_input_ends(lambda: os._exit(0))  # whatever it is doing
    config = handed_over()
    with Lock(config.folder / "worker.lock", wait=True):
        worker = Worker(config)
        try:
            worker.start()
        except InkwashError as error:
            print(f"inkwash: {error}", file=sys.stderr)
            sys.exit(2)
        print("ready", flush=True)
        while True:
            version = worker.queue.version()
            if not worker.round():
                worker.rest(version)


if __name__ == "__main__":
    main()
