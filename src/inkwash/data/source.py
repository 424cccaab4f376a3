"""What every source of data is: numbered records of one split."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from inkwash.core.boxes import Box


@dataclass(frozen=True)
class Record:
    """One example as a person sees it. image: uint8 (H, W, C), C = 1, 3 or 4 (straight alpha), clips (F, H, W, C).

    label: class index or None. text: raw strings (captions), possibly none. name: what to call it in a message. boxes: where things are.
    """

    image: np.ndarray
    label: int | None = None
    text: tuple[str, ...] = ()
    name: str = ""
    boxes: tuple[Box, ...] = ()


class Source(ABC):
    """One split of a data set. `read` may be called from several threads or processes.

    name: as the user wrote it. split: "train", "test", ... splits: the names it could have been opened with.
    classes: names by label, empty where there are none. slow: records take so long to make that they are worth keeping on disk.
    made: they are made up by rules, so that a sample of the captions has all of their words.
    """

    name: str
    split: str
    slow = made = False
    splits: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, i: int) -> Record:
        """The i-th record. Raises DataError, naming the file, where it cannot be read."""

    def read_for(self, i: int, height: int, width: int) -> Record:
        """The i-th record for someone who will shrink it to height x width: it may come at any size of at least four times that."""
        return self.read(i)

    def text(self, i: int) -> tuple[str, ...]:
        """The captions of the i-th record, without its image where the source knows how."""
        return self.read(i).text

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes when the data do: caches are keyed by it."""

    @property
    def validation(self) -> str | None:
        """The split to choose checkpoints by: val where there is one, else test, None where neither is."""
        return next((s for s in ("val", "test") if s in self.splits), None)

    def shape(self, i: int) -> tuple[int, ...]:
        """The shape of the i-th image, from its header alone where the source knows how. Raises DataError as `read` does."""
        return self.read(i).image.shape

    def labels(self) -> np.ndarray | None:
        """int64 (N,), -1 where a record has none; None where only reading the records would tell."""
        return None

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Everything at once: images uint8 (N, H, W, C) or (N, F, H, W, C), and `labels`; None where records have to be decoded."""
        return None


class Few(Source):
    """So many records of a source, drawn at random, the same ones each time; all of them where it has no more. at: which."""

    def __init__(self, source: Source, count: int):
        self.source, self.name, self.split, self.splits, self.classes = source, source.name, source.split, source.splits, source.classes
        self.at = np.sort(np.random.default_rng(0).permutation(len(source))[:count])

    @classmethod
    def where_slow(cls, source: Source, count: int) -> Source:
        """Where pictures take long to make, no more of them than are needed; else the source as it is."""
        return cls(source, count) if source.slow else source

    def __len__(self) -> int:
        return len(self.at)

    def read(self, i: int) -> Record:
        return self.source.read(int(self.at[i]))

    def read_for(self, i: int, height: int, width: int) -> Record:
        return self.source.read_for(int(self.at[i]), height, width)

    def text(self, i: int) -> tuple[str, ...]:
        return self.source.text(int(self.at[i]))

    def fingerprint(self) -> str:
        return f"{self.source.fingerprint()}-{len(self)}"

    def shape(self, i: int) -> tuple[int, ...]:
        return self.source.shape(int(self.at[i]))

    def labels(self) -> np.ndarray | None:
        known = self.source.labels()
        return None if known is None else known[self.at]

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        known = self.source.arrays()
        return None if known is None else (known[0][self.at], self.labels())
