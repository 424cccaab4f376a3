"""`moving`: clips in which pictures of another source move over a black ground and bounce off its edges.

With the digits of MNIST this is Moving MNIST: two digits, 64 x 64 pixels, 20 frames (Srivastava et al. 2015).
"""

import hashlib
import json

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.data.decode import to_channels
from inkwash.data.scenes.motion import check, path
from inkwash.data.scenes.sampler import Draws
from inkwash.data.source import Record, Source

STREAM = 1000  # of random numbers, so that no other part of the package draws the same


class MovingSource(Source):
    """`count` clips of one split; a tenth as many of every other split than train. Each is made when it is asked for.

    inner: where the pictures come from, in the same split. things: how many move in a clip. size: side of a frame, 16/7 of the
    pictures' unless given. speed: share of the way from edge to edge that is gone in a frame. edge: "mirror", or "random" where nobody
    can know what comes after it.
    """

    def __init__(self, inner: Source, frames: int, things: int, size: int | None, speed: float, edge: str, count: int, seed: int):
        check(frames, speed, edge)
        height, width, channels = inner.shape(0)[-3:]
        self.size = size or 16 * max(height, width) // 7
        if self.size <= max(height, width):
            raise ConfigError(f"Pictures of {height} x {width} have no room to move in frames of {self.size} pixels: give a larger size.")
        if things < 1 or count < 1:
            raise ConfigError("moving needs at least one clip, of at least one thing.")
        self.name, self.split, self.splits = f"moving {inner.name}", inner.split, inner.splits
        self.inner, self.frames, self.things, self.speed, self.edge, self.seed = inner, frames, things, speed, edge, seed
        self.count, self.channels = count if inner.split in ("train", "all") else max(1, count // 10), 1 if channels == 1 else 3

    def __len__(self) -> int:
        return self.count

    def read(self, i: int) -> Record:
        if not 0 <= i < self.count:
            raise IndexError(f"clip {i} of {self.count}")
        draws = Draws(self.seed, i, STREAM + int(hashlib.sha256(self.split.encode()).hexdigest()[:4], 16))
        clip = np.zeros((self.frames, self.size, self.size, self.channels), np.uint8)
        for _ in range(self.things):
            image = self.inner.read(draws.below(len(self.inner))).image
            if image.ndim != 3:
                raise DataError(f"{self.inner.name} holds clips: moving is for pictures.")
            image = to_channels(image, self.channels, (0, 0, 0))
            h, w = image.shape[:2]
            if max(h, w) >= self.size:
                raise DataError(f"A picture of {self.inner.name} is {h} x {w}, too large for frames of {self.size} pixels.")
            room = np.array([self.size - h, self.size - w])
            for frame, (y, x) in zip(clip, (room * path(draws, self.frames, self.speed, self.edge)).astype(int)):
                part = frame[y : y + h, x : x + w]
                np.maximum(part, image, out=part)
        return Record(clip, name=f"clip {i} of {self.name}")

    def shape(self, i: int) -> tuple[int, ...]:
        return (self.frames, self.size, self.size, self.channels)

    def fingerprint(self) -> str:
        told = [self.inner.fingerprint(), self.frames, self.things, self.size, self.speed, self.edge, self.count, self.seed]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def moving_source(
    split: str = "train",
    of: str = "digits",
    frames: int = 20,
    things: int = 2,
    size: int | None = None,
    speed: float = 0.1,
    edge: str = "mirror",
    count: int = 10_000,
    seed: int = 0,
) -> MovingSource:
    """Clips of the pictures of another source: moving?of=mnist.npz&things=2. See `MovingSource`."""
    from inkwash.data.open import open_source  # it names this one

    return MovingSource(open_source(of, split), frames, things, size, speed, edge, count, seed)
