"""Python's collector, in a program that imports torch and ends."""

import atexit
import gc


def spare_what_stays() -> None:
    """Importing torch makes a million objects that stay. To look through them at every turn takes a tenth of the import, and to look
    through them once more at the end of the process, which frees them anyway, takes a second."""
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)
