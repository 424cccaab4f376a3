"""One process at a time: a lock on a file that ends with the process, however that ends."""

import os
import sys
import time
from pathlib import Path
from typing import Self

from inkwash.core.errors import FileError


class Lock:
    """Held between enter and exit. wait: for whoever holds it; else another holder is a FileError."""

    def __init__(self, path: Path, wait: bool):
        self.path, self.wait, self.handle = path, wait, None

    def __enter__(self) -> Self:
        self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        while not _locked(self.handle):
            if not self.wait:
                os.close(self.handle)
                raise FileError(f"Another server works in {self.path.parent}: stop it, or name another folder with --folder.")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)


def _locked(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
