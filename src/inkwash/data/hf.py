"""Hugging Face data sets, by name or saved to disk. Needs the extra `hf`."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.errors import ConfigError, DataError, nearest
from inkwash.data import splits
from inkwash.data.decode import decode, probe
from inkwash.data.files import number
from inkwash.data.source import Record, Source

_TEXT = ("text", "caption", "captions", "sentence", "sentences", "prompt", "description")
_LABEL = ("label", "labels", "class")


def hf_source(
    place: str,
    split: str = "train",
    *,
    image: str | None = None,
    label: str | None = None,
    text: str | None = None,
    config: str | None = None,
    revision: str | None = None,
) -> "HFSource":
    """`hf:NAME` from the hub, which uses the network, or a folder written by `save_to_disk`.

    image, label, text: columns, found by their type and usual names unless given. config, revision: which variant of NAME.
    Raises DataError without the extra, or where it cannot be loaded.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(f"{place} is a Hugging Face data set, which needs an extra: pip install 'inkwash[hf]'.") from None
    where = place.removeprefix("hf:")
    local = Path(where).expanduser()
    try:
        if local.exists():
            loaded = datasets.load_from_disk(str(local))
        else:
            loaded = datasets.load_dataset(where, config, revision=revision)
    except Exception as error:  # the library and the network raise many kinds
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"The Hugging Face data set {where!r} cannot be loaded: {reason}") from error
    parts = dict(loaded) if hasattr(loaded, "keys") else {"": loaded}
    undecoded = datasets.Image(decode=False)
    columns = {"image": image, "label": label, "text": text}
    return HFSource(place, split, {s: (p, lambda p, c: p.cast_column(c, undecoded)) for s, p in parts.items()}, columns)


class HFSource(Source):
    """One split of tables that have `features`, `len` and rows by number, whose images are {"bytes": ..., "path": ...}."""

    def __init__(self, place: str, split: str, parts: dict[str, tuple[Any, Any]], columns: dict[str, str | None]):
        """parts: {split or "": (table, function that turns a table and its image column into one with undecoded images)}."""
        parts = {splits.canonical(s): p for s, p in parts.items()}
        named = {s for s in parts if s}
        self.name, self.split, self.splits = place, splits.resolve(split, named, place), splits.offered(named)
        whole = self.split not in parts or named <= {"train"}
        tables = [parts[s] for s in (sorted(parts) if whole else [self.split])]
        self._columns = find_columns(tables[0][0].features, columns, place)
        every = [table for table, _ in parts.values()]
        self._tables = [undecoded(table, self._columns["image"]) for table, undecoded in tables]
        rows = [(t, i) for t, table in enumerate(self._tables) for i in range(len(table))]
        chosen = range(len(rows))
        if whole:
            self.splits = splits.offered(named, len(rows))
        if whole and self.split != "all":
            chosen = splits.members(self.split, named, None, [str(i) for i in range(len(rows))], None)
        self._rows = [rows[i] for i in chosen]
        if not self._rows:
            raise DataError(f"The split {self.split!r} of {place} is empty.")
        self.classes, self._labels = self._read_labels(every)
        marks = [getattr(t, "_fingerprint", str(len(t))) for t in self._tables]
        self._mark = f"{place} {self.split} {marks} {self._columns}"

    def _read_labels(self, every: list) -> tuple[tuple[str, ...], np.ndarray | None]:
        column = self._columns["label"]
        if column is None:
            return (), None
        names = getattr(every[0].features[column], "names", None)
        here = [list(table[column]) for table in self._tables]
        values = [here[t][i] for t, i in self._rows]
        if names:
            return tuple(names), np.array([-1 if v is None else v for v in values], np.int64)
        classes, _ = number(v for table in every for v in table[column])
        place = {c: k for k, c in enumerate(classes)}
        return classes, np.array([-1 if v is None else place[str(v)] for v in values], np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, i: int) -> Record:
        row, data, name = self._bytes(i)
        text = row[self._columns["text"]] if self._columns["text"] else None
        captions = tuple(str(t) for t in (text if isinstance(text, list | tuple) else [text]) if t)
        label = None if self._labels is None or self._labels[i] < 0 else int(self._labels[i])
        return Record(decode(data, name), label, captions, name)

    def shape(self, i: int) -> tuple[int, ...]:
        return probe(*self._bytes(i)[1:])

    def labels(self) -> np.ndarray | None:
        return self._labels

    def fingerprint(self) -> str:
        return hashlib.sha256(self._mark.encode()).hexdigest()[:16]

    def _bytes(self, i: int) -> tuple[dict, bytes, str]:
        table, at = self._rows[i]
        row = self._tables[table][at]
        cell = row[self._columns["image"]]
        name = f"{self.name}[{at}]"
        if not cell:
            raise DataError(f"{name} has no image.")
        try:
            return row, cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes(), name
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error}.") from error


def find_columns(features: dict[str, Any], asked: dict[str, str | None], place: str) -> dict[str, str | None]:
    """Which columns hold images, labels and captions. Raises ConfigError for a column that is not there, DataError without images."""
    for column in filter(None, asked.values()):
        if column not in features:
            raise ConfigError(f"{place} has no column {column!r}; {nearest(column, features)}")
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    labels = [n for n, k in kinds.items() if k == "ClassLabel"] + [n for n in _LABEL if kinds.get(n) == "Value"]
    texts = [n for n in _TEXT if n in features and n not in labels]
    images = [n for n, k in kinds.items() if k == "Image"]
    found = {kind: asked[kind] or next(iter(names), None) for kind, names in (("image", images), ("label", labels), ("text", texts))}
    if found["image"] is None:
        raise DataError(f"{place} has no column of images; its columns are {', '.join(features)}.")
    return found
