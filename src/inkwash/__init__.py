"""Inkwash (水墨): image generation with every family that matters.

    import inkwash
    inkwash.train("diffusion", data="photos/", out="runs/photos", budget="10m")
    model = inkwash.load("runs/photos")
    images = model.sample(n=16, seed=0)      # (16, C, H, W) in [-1, 1]

Nothing heavy is imported before it is used.
"""

from typing import Any

__version__ = "0.1.0"

_WHERE = {"train": "inkwash.recipes.start", "load": "inkwash.inference.load"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'inkwash' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_WHERE]
