"""How things move in the clips that are made here: in a straight line, until they meet an edge."""

import math

import numpy as np

from inkwash.core.errors import ConfigError, nearest
from inkwash.data.scenes.sampler import Draws

EDGES = ("mirror", "random")


def check(frames: int, speed: float, edge: str) -> None:
    """Raises ConfigError for what cannot move so."""
    if not isinstance(frames, int) or frames < 2:
        raise ConfigError(f"frames={frames!r} makes no clip: it takes 2 or more.")
    if not isinstance(speed, (int, float)) or not 0 < speed <= 1:
        raise ConfigError(f"speed={speed!r} is not a share of the way from edge to edge in a frame, above 0 and at most 1.")
    if edge not in EDGES:
        raise ConfigError(f"edge={edge!r} is not known; {nearest(str(edge), EDGES)}")


def path(draws: Draws, frames: int, speed: float, edge: str = "mirror", start: tuple[float, float] | None = None) -> np.ndarray:
    """(frames, 2): places in a unit square, `speed` apart. At an edge the way is mirrored, or goes off in any direction that stays inside.

    start: the first place, anywhere unless given.

    As in Srivastava et al. 2015, Unsupervised Learning of Video Representations using LSTMs (Moving MNIST); the edge "random" is that of
    Denton and Fergus 2018, Stochastic Video Generation.
    """
    at = list(start or (draws.uniform(), draws.uniform()))
    angle = draws.uniform(0, 2 * math.pi)
    step = [speed * math.sin(angle), speed * math.cos(angle)]
    out = np.empty((frames, 2))
    for k in range(frames):
        out[k] = at
        at = [a + s for a, s in zip(at, step)]
        met = [(a <= 0) - (a >= 1) for a in at]  # 1 at the near edge, -1 at the far one
        if any(met):
            at = [min(max(a, 0.0), 1.0) for a in at]
            if edge == "random":
                angle = draws.uniform(0, 2 * math.pi)
                step = [speed * math.sin(angle), speed * math.cos(angle)]
            step = [abs(s) * m if m else s for s, m in zip(step, met)]
    return out
