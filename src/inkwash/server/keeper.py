"""Keeps the worker and the trainer running: starts a process, and another one when it has died."""

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

from inkwash.core.errors import FileError
from inkwash.server.settings import ServerConfig

log = logging.getLogger("inkwash.server")
PAUSE = (0.2, 1.0, 5.0, 30.0)  # seconds before a worker that has died is replaced: longer each time it dies soon
SOON = 60.0


class Keeper:
    """One process of a module. Closing its standard input ends it: it also ends when this process is killed."""

    def __init__(self, config: ServerConfig, module: str = "worker"):
        self.folder, self.module, self.process, self.stopped, self.failed = config.folder, module, None, threading.Event(), None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def alive(self) -> bool:
        """Whether the worker's process is there."""
        return self.process is not None and self.process.poll() is None

    def state(self) -> str:
        """What /healthz says."""
        return "worker is gone" if not self.alive() else "ok" if self.ready.is_set() else "loading"

    def wait(self, seconds: float = 600.0) -> None:
        """Until the models are loaded. Raises FileError where they cannot be."""
        end = time.monotonic() + seconds
        while not self.ready.wait(0.05) and not self.stopped.is_set():
            if self.failed is not None or time.monotonic() > end:
                raise FileError(self.failed or "The worker did not start in time.")

    def stop(self) -> None:
        self.stopped.set()
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()

    def _keep(self) -> None:
        died, ever = 0, False
        while not self.stopped.is_set():
            began = time.monotonic()
            self.ready.clear()
            self.process = _start(self.module, self.folder)
            for line in self.process.stdout:
                if line.strip() == b"ready":
                    ever = True
                    self.ready.set()
            code = self.process.wait()
            if self.stopped.is_set():
                return
            if code == 2 and not ever:
                self.failed = "The models cannot be loaded; the message above says why."
                return
            died = died + 1 if time.monotonic() - began < SOON else 0
            pause = PAUSE[min(died, len(PAUSE) - 1)]
            log.error("The %s ended with %s; another one starts in %s s.", self.module, code, pause)
            self.stopped.wait(pause)


def _start(module: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", f"inkwash.server.{module}", str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
