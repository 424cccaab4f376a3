"""A source seen through a view, ready to be indexed: in memory where it fits, else decoded as it is asked for."""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from inkwash.core.boxes import Box
from inkwash.core.cache import keep, recall
from inkwash.core.errors import DataError
from inkwash.data.source import Record, Source
from inkwash.data.view import Facts, View, facts

log = logging.getLogger("inkwash")

MEMORY_LIMIT = 2 << 30  # bytes of uint8 pixels that are kept
CORRUPT_LIMIT = 0.05  # of the images of a source
WORKERS = max(2, min(16, os.cpu_count() or 1))  # threads: decoders and resizers let go of the interpreter
_SMALL = 128 * 128  # pixels; below it threads cost more than they gain (32x32 JPEG, 2 cores: 108 us alone, 155 us in threads)
_CHUNK = 32
_FIRST_VERDICT = 400  # a stream is judged after this many


@dataclass(frozen=True)
class Rows:
    """images: uint8 (n, C, H, W) or (n, F, C, H, W), a list of larger arrays where the view cuts at random. labels: int64 (n,)."""

    images: Tensor | list[np.ndarray]
    labels: Tensor | None
    text: list[tuple[str, ...]] | None
    boxes: list[tuple[Box, ...]] | None = None


class Pending:
    """Rows that are being read."""

    def __init__(self, collect: Callable[[], Rows], futures: Sequence[Future] = ()):
        self.collect, self._futures = collect, futures

    def cancel(self) -> None:
        for future in self._futures:
            future.cancel()


def _to_bytes(rows: list) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(rows).encode()), dtype=torch.uint8)


def _from_bytes(kept: Tensor) -> list:
    return json.loads(kept.numpy().tobytes())


class Dataset:
    """A source through a view. The view's size and channels are decided by the data where it leaves them open.

    A set of at most memory_limit bytes is decoded once, in threads; a larger one is decoded row by row as it is asked for.
    What cannot be read is reported by name and left out; in a larger set its row shows the next readable record instead.
    Raises DataError where more than 5 percent of the images cannot be read (so one of ten is too many, one of twenty is not); a
    larger set is judged as it is read, once 400 images have been tried.
    beside: another set, whose rows go into `Condition.image`, unpaired.
    on_progress(done, total) is called as images are decoded.
    """

    def __init__(
        self,
        source: Source,
        view: View | None = None,
        memory_limit: int = MEMORY_LIMIT,
        on_progress: Callable[[int, int], None] | None = None,
        beside: "Dataset | None" = None,
    ):
        found = facts(source, view)
        self.source, self.beside = source, beside
        self.view = (view or View()).model_copy(update={"size": (found.height, found.width), "channels": found.channels})
        self.classes = source.classes
        self._tally = _Tally(source)
        self._images: Tensor | list[np.ndarray] | None = None
        self._labels: Tensor | None = None
        self._text: list[tuple[str, ...]] | None = None
        self._boxes: list[tuple[Box, ...]] | None = None
        self._count = len(source)
        sizes = self._tally.sizes(64)
        small = np.mean([h * w for h, w in sizes]) < _SMALL
        self._pool = ThreadPoolExecutor(1 if small else WORKERS, thread_name_prefix="inkwash-data")
        self.in_memory = self._bytes(found, sizes) <= memory_limit
        if self.in_memory:
            self._tally.tried = self._count
            key = self.fingerprint() if source.slow and not self.view.cuts else None
            if not ((key and self._recall(key, found.boxed)) or self._take_arrays(found)):
                self._decode(found, on_progress or (lambda done, total: None))
                if key:
                    self._keep(key)
        self.facts: Facts = replace(found, count=self._count)

    def __len__(self) -> int:
        return self._count

    @property
    def corrupt(self) -> dict[str, str]:
        """What could not be read so far: the sentences, by the record's number in the source."""
        return dict(self._tally.bad)

    @property
    def labels(self) -> Tensor | None:
        """int64 (N,), len(classes) where a record has none; None where there are no classes."""
        if self._labels is None and self.classes:
            known = self.source.labels()
            if known is None:
                known = [-1 if (label := self._row(i).label) is None else label for i in range(len(self))]
            self._labels = self._with_null(known)
        return self._labels

    def label_counts(self) -> Tensor:
        """int64 (classes,): how many records each class has."""
        if self.labels is None:
            raise DataError(f"{self.source.name} has no classes.")
        return torch.bincount(self.labels, minlength=len(self.classes))[: len(self.classes)]

    def text(self, i: int) -> tuple[str, ...]:
        """The captions of one row, possibly none."""
        if self.in_memory:
            return self._text[i] if self._text else ()
        return self._row(i).text

    def fingerprint(self) -> str:
        """A hash of the source's fingerprint and the view: of everything that a row depends on."""
        other = f" {self.beside.fingerprint()}" if self.beside else ""
        return hashlib.sha256(f"{self.source.fingerprint()} {self.view.to_json()}{other}".encode()).hexdigest()[:16]

    def rows(self, which: Sequence[int] | np.ndarray | Tensor) -> Rows:
        """Some rows without random changes; where the view cuts, the centre."""
        rows = self.ask(which).collect()
        return replace(rows, images=self.view.centre(rows.images))

    def ask(self, which: Sequence[int] | np.ndarray | Tensor) -> Pending:
        """Start reading some rows, as they are before `View.augment`."""
        which = torch.as_tensor(which)
        if self.in_memory:
            return Pending(lambda: self._gather(which))
        futures = [self._pool.submit(self._row, i) for i in which.tolist()]
        return Pending(lambda: self._collect([f.result() for f in futures]), futures)

    def _gather(self, which: Tensor) -> Rows:
        ragged = isinstance(self._images, list)
        images = [self._images[i] for i in which.tolist()] if ragged else self._images[which]
        text, boxes = (None if each is None else [each[i] for i in which.tolist()] for each in (self._text, self._boxes))
        return Rows(images, None if self._labels is None else self._labels[which], text, boxes)

    def _collect(self, records: list[Record]) -> Rows:
        images = [r.image for r in records]
        if not self.view.cuts:
            images = torch.from_numpy(np.stack(images))
        labels = self._with_null([-1 if r.label is None else r.label for r in records]) if self.classes else None
        text, boxes = ([getattr(r, name) for r in records] if there else None for name, there in self._told(self.facts))
        return Rows(images, labels, text, boxes)

    @staticmethod
    def _told(found: Facts) -> tuple[tuple[str, bool], tuple[str, bool]]:
        """What records may tell beside a label, and whether these do. Boxes are those of whole pictures."""
        return ("text", found.captions), ("boxes", found.boxed)

    def _with_null(self, labels: Sequence[int] | np.ndarray) -> Tensor:
        labels = torch.as_tensor(labels, dtype=torch.int64)
        return torch.where(labels < 0, len(self.classes), labels)

    def _bytes(self, found: Facts, sizes: list[tuple[int, int]]) -> int:
        area = np.mean([np.prod(self.view.prepared_size(*size)) for size in sizes])
        return int(len(self.source) * max(1, found.frames) * self._planes(found) * area)

    def _planes(self, found: Facts) -> int:
        """Channels of a prepared image: of both pictures, where it holds a pair."""
        return found.channels * (2 if self.view.pair else 1)

    def _take_arrays(self, found: Facts) -> bool:
        """Whether the source's own arrays are what the view asks for, and were taken."""
        arrays = None if found.captions or found.channels == 4 or self.view.cuts or self.view.pair else self.source.arrays()
        if arrays is None or arrays[0].shape[-3:] != (*self.view.size, self.view.channels):
            return False
        images = np.ascontiguousarray(np.moveaxis(arrays[0], -1, -3))  # (N, C, H, W); a view where C = 1
        self._images = torch.from_numpy(images if images.flags.writeable else images.copy())
        self._labels = self._with_null(arrays[1]) if self.classes else None
        return True

    def _decode(self, found: Facts, on_progress: Callable[[int, int], None]) -> None:
        total = len(self.source)
        shape = (*((found.frames,) if found.frames else ()), self._planes(found), *self.view.size)
        images = [None] * total if self.view.cuts else np.empty((total, *shape), np.uint8)
        labels, text, boxes, good = np.full(total, -1), [()] * total, [()] * total, np.zeros(total, bool)

        def work(start: int) -> int:
            stop = min(total, start + _CHUNK)
            for i in range(start, stop):
                try:
                    record = self._read(i)
                except DataError as error:
                    self._tally.report(i, error)
                    continue
                images[i] = self.view.prepare(record.image)
                labels[i], good[i] = -1 if record.label is None else record.label, True
                text[i], boxes[i] = record.text, record.boxes
            return stop - start

        done = 0
        futures = [self._pool.submit(work, start) for start in range(0, total, _CHUNK)]
        try:
            for future in futures:
                done += future.result()
                on_progress(done, total)
        finally:
            for future in futures:
                future.cancel()
        kept = np.flatnonzero(good)
        if self.view.cuts:
            self._images = [images[i] for i in kept]
        else:
            self._images = torch.from_numpy(images if len(kept) == total else images[kept])
        self._labels = self._with_null(labels[kept]) if self.classes else None
        told = dict(self._told(found))
        self._text, self._boxes = ([each[i] for i in kept] if told[n] else None for n, each in (("text", text), ("boxes", boxes)))
        self._count = len(kept)

    def _recall(self, key: str, boxed: bool) -> bool:
        """Whether it had been kept on disk, with boxes where there are any, and was taken."""
        known = recall("images", key)
        if known is None or (boxed and "boxes" not in known):
            return False
        self._images, self._labels = known["images"], known.get("labels")
        self._text = [tuple(row) for row in _from_bytes(known["text"])] if "text" in known else None
        self._boxes = [tuple(Box(*b) for b in row) for row in _from_bytes(known["boxes"])] if boxed else None
        self._count = len(self._images)
        return True

    def _keep(self, key: str) -> None:
        tensors = {"images": self._images} | ({} if self._labels is None else {"labels": self._labels})
        tensors |= {name: _to_bytes(rows) for name, rows in (("text", self._text), ("boxes", self._boxes)) if rows}
        keep("images", key, tensors, self.source.name)

    def _read(self, i: int) -> Record:
        return self.source.read(i) if self.view.fit == "window" else self.source.read_for(i, *self.view.size)

    def _row(self, i: int) -> Record:
        """The i-th record, prepared; where it cannot be read, the next one that can."""
        for k in range(len(self.source)):
            at = (i + k) % len(self.source)
            if at in self._tally.bad:
                continue
            try:
                record = self._read(at)
            except DataError as error:
                self._tally.report(at, error)
                continue
            self._tally.tried += 1  # may lose a count between threads: it only tells when to judge
            return replace(record, image=self.view.prepare(record.image))
        raise DataError(f"None of the images of {self.source.name} can be read.")


class _Tally:
    """Reports what cannot be read, and stops when it is too much."""

    def __init__(self, source: Source):
        self.source, self.tried, self.bad = source, 0, {}
        self._lock = threading.Lock()

    def sizes(self, most: int) -> list[tuple[int, int]]:
        """Height and width of up to so many records, spread evenly, whose headers can be read."""
        found = []
        for i in range(0, len(self.source), -(-len(self.source) // most)):
            try:
                found.append(self.source.shape(i)[-3:-1])
            except DataError:
                continue  # reported when its turn comes to be decoded
        return found or [(1, 1)]

    def report(self, i: int, error: DataError) -> None:
        with self._lock:
            if i in self.bad:
                return
            self.bad[i] = str(error)
            total, count = len(self.source), len(self.bad)
            log.warning("Skipped: %s", error)
            if count > CORRUPT_LIMIT * min(total, max(self.tried, _FIRST_VERDICT)):
                first = "; ".join(s.rstrip(".") for s in list(self.bad.values())[:3])
                of = f"{count} of the first {self.tried}" if self.tried < total else f"At least {count} of the {total}"
                raise DataError(f"{of} images of {self.source.name} cannot be read, and 5 percent is the limit: {first}.")
