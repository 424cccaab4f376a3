"""One family of errors. Each message is one sentence for a person: what was wrong, and what is allowed.

The command line prints it without a traceback and exits with 2. Anything else that is raised is a bug of ours.
"""

import difflib
from collections.abc import Iterable


class InkwashError(Exception):
    """Something a user can put right."""


class ConfigError(InkwashError):
    """A setting, an option or a name that does not exist or does not fit."""


class DataError(InkwashError):
    """A data source that cannot be read or does not hold what is needed."""


class FileError(InkwashError):
    """A run, a model or a checkpoint that cannot be read or written."""


class TrainingError(InkwashError):
    """A run that cannot go on: the message says at which step, and what is kept."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint that ends a message about an unknown name: the closest known one, or the list of all."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}."
