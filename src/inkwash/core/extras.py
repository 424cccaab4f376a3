"""Libraries that are not always there, and what they say when something goes wrong."""

import importlib
from types import ModuleType

from inkwash.core.errors import ConfigError


def library(name: str, extra: str) -> ModuleType:
    """A library of one of our extras. Raises ConfigError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"{name} is not installed: pip install 'inkwash[{extra}]'.") from None


def reason(error: Exception) -> str:
    """The first line of what an error says, without its full stop; its name where it says nothing."""
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
