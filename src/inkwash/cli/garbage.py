"""Python's collector, in a program that imports torch and ends."""

import atexit
import gc

FIRST, LATER = 1_000_000, 100_000  # new objects before the collector looks through them


def spare_what_stays() -> None:
    """Importing torch makes a million objects that stay: to look through them again and again takes a fifth of the import, and to look
    through them once more at the end of the process, which frees them anyway, the better part of a second."""
    gc.set_threshold(FIRST)
    gc.callbacks.append(_usual)
    atexit.register(gc.freeze)


def _usual(phase: str, info: dict[str, int]) -> None:
    gc.set_threshold(LATER, 20, 20)
