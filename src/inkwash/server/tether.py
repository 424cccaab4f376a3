"""What the processes of a server have in common: how one is told what to serve, and that it ends with who started it.

python -m inkwash.server.tether VERB ...    the command `inkwash VERB ...`, interrupted when its standard input ends
"""

import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from inkwash.core.disk import write_text
from inkwash.server.settings import ServerConfig

NAME = "server.json"  # in the server's folder


def hand_over(config: ServerConfig) -> None:
    """Write down what the other processes are to serve, all or nothing."""
    write_text(config.folder / NAME, json.dumps(config.model_dump(mode="json")))


def handed_over() -> ServerConfig:
    """What the folder named on the command line says."""
    return ServerConfig.parse(json.loads((Path(sys.argv[1]) / NAME).read_text(encoding="utf-8")))


def when_input_ends(act: Callable[[], None]) -> None:
    """Call this, in a thread of its own, when standard input ends: whoever holds its other end has closed it, or is gone."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # not by the file object: its lock would be held while the interpreter ends
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the trainer ignores it, and what it starts would too
    when_input_ends(lambda: os.kill(os.getpid(), signal.SIGINT))
    runpy.run_module("inkwash", run_name="__main__", alter_sys=True)
