"""Images as files: in a folder, a zip or a tar, with labels, captions and splits from folders, tables or files beside them."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import basename, dirname, splitext
from typing import Any, Literal

import numpy as np

from inkwash.core.boxes import Box
from inkwash.core.errors import ConfigError, DataError, nearest
from inkwash.data import splits
from inkwash.data.decode import SUFFIXES, decode, probe
from inkwash.data.source import Record, Source
from inkwash.data.stores import Store, open_store

HEADER = 1 << 16  # bytes that nearly always hold an image's size


class FilesSource(Source):
    """Image files of one split.

    labels: which folders are classes: "top", the first below the split, "path", the whole path, or "none". group: see
    `splits.held_out`. frames: read each file as a clip of that many frames.
    """

    def __init__(
        self,
        place: str,
        split: str = "train",
        *,
        labels: Literal["top", "path", "none"] = "top",
        group: str | None = None,
        frames: int | None = None,
    ):
        if labels not in ("top", "path", "none"):
            raise ConfigError(f"labels={labels!r} is not known; {nearest(labels, ('top', 'path', 'none'))}")
        if frames is not None and (not isinstance(frames, int) or frames < 1):
            raise ConfigError(f"frames={frames!r} is not a whole number of at least 1.")
        self.name, self.frames = place, frames
        self._store = open_store(Path(place).expanduser())
        layout = read_layout(self._store, labels)
        named = set(layout.tags or ())
        self.split = splits.resolve(split, named, place)
        self.splits = splits.offered(named, len(layout.names))
        chosen = splits.members(self.split, named, layout.tags, [splitext(n)[0] for n in layout.short], group)
        if not len(chosen):
            raise DataError(f"The split {self.split!r} of {place} is empty: there is only one image to split.")
        self.classes = layout.classes
        self.files = [layout.names[i] for i in chosen]
        self._labels = None if layout.labels is None else layout.labels[chosen]
        self._captions, self._objects = layout.captions, layout.objects
        self._options = f"{self.split} {labels} {group} {frames}"

    def __len__(self) -> int:
        return len(self.files)

    def leave_out(self, name: str) -> None:
        """Forget files of this name."""
        kept = [i for i, f in enumerate(self.files) if basename(f) != name]
        self.files = [self.files[i] for i in kept]
        self._labels = None if self._labels is None else self._labels[kept]
        self._options += f" without {name}"

    def read(self, i: int) -> Record:
        return self._read(i, None)

    def read_for(self, i: int, height: int, width: int) -> Record:
        return self._read(i, (height, width))

    def _read(self, i: int, least: tuple[int, int] | None) -> Record:
        file = self.files[i]
        name = self._where(file)
        image = decode(self._store.read(file), name, self.frames, least)
        label = None if self._labels is None or self._labels[i] < 0 else int(self._labels[i])
        return Record(image, label, self.text(i), name, self.boxes(i))

    def boxes(self, i: int) -> tuple[Box, ...]:
        """Where things are in the i-th picture, as the metadata tell. Raises DataError where they make no sense."""
        told = self._objects.get(self.files[i])
        return () if told is None else boxes_of(told, self.shape(i)[-3:-1], self._where(self.files[i]))

    def text(self, i: int) -> tuple[str, ...]:
        captions = self._captions.get(self.files[i], ())
        return captions() if callable(captions) else captions

    def shape(self, i: int) -> tuple[int, ...]:
        file, name = self.files[i], self._where(self.files[i])
        try:
            return probe(self._store.read(file, HEADER), name, self.frames)
        except DataError:  # a header may lie behind a large thumbnail, or at the end
            return probe(self._store.read(file), name, self.frames)

    def labels(self) -> np.ndarray | None:
        return self._labels

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self._store.fingerprint()} {self._options}".encode()).hexdigest()[:16]

    def _where(self, file: str) -> str:
        return f"{self._store.path}/{file}"


@dataclass
class Layout:
    """What names tell: images and, by position, their split, class and shortened name; captions by image, or how to read them;
    what is told of the objects in it."""

    names: list[str]
    short: list[str]
    tags: list[str] | None = None
    labels: np.ndarray | None = None  # int64 (N,), -1 = none
    classes: tuple[str, ...] = ()
    captions: dict[str, tuple[str, ...] | Callable[[], tuple[str, ...]]] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)


def read_layout(store: Store, folders: str = "top") -> Layout:
    """Labels come from a table, else from .cls or .json files beside the images (the WebDataset form), else from folders.

    Folders named train, val or test (or a column `split`) are splits where every image is in one. A folder around everything is
    looked through. Of archives in a folder, names such as train-0000.tar give the split. Raises DataError where there is no image.
    """
    images = [n for n in store.names if splitext(n)[1].lower() in SUFFIXES]
    if not images:
        raise DataError(f"{store.path} holds no images (looked for {' '.join(sorted(SUFFIXES))}).")
    parts = [n.split("/") for n in images]
    depth, tags = _named_splits(parts, store.shards)
    short = ["/".join(p[: store.shards] + p[depth:]) for p in parts]
    layout = Layout(images, short, tags)
    table = _read_tables(store, images)
    if table and all("split" in table.get(n, {}) for n in images):
        layout.tags = [splits.canonical(str(table[n]["split"])) for n in images]
    beside = _Beside(store)
    layout.captions = {n: beside.captions(n) for n in images if beside.has_text(n)}
    layout.captions |= {n: tuple(row["text"]) for n, row in table.items() if row["text"]}
    layout.objects = {n: row["objects"] for n, row in table.items() if "objects" in row}
    values = [table.get(n, {}).get("label") for n in images] if table else []
    if not any(v is not None for v in values):
        values = beside.labels(images)
    if not any(v is not None for v in values) and folders != "none":
        values = [_folder(p[depth:-1], folders) for p in parts]
        if None in values or len(set(values)) < 2:  # one folder, or images beside folders: not classes
            values = []
    if any(v is not None for v in values):
        layout.classes, layout.labels = number(values)
    return layout


def number(values: Iterable[Any]) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names in natural order (2 before 10), and each value's class, int64 (N,), -1 for None."""
    words = [None if v is None else str(v) for v in values]
    classes = sorted({w for w in words if w is not None}, key=_natural)
    place = {w: i for i, w in enumerate(classes)} | {None: -1}
    return tuple(classes), np.array([place[w] for w in words], np.int64)


def _natural(word: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", word)]


def _folder(inside: list[str], folders: str) -> str | None:
    if not inside:
        return None
    return inside[0] if folders == "top" else "/".join(inside)


def _named_splits(parts: list[list[str]], shards: int) -> tuple[int, list[str] | None]:
    """How many folders to pass over before those that are classes, and each image's split where every image is in a named one."""
    depth = shards
    while all(len(p) > depth + 1 for p in parts) and len({p[depth] for p in parts}) == 1:
        if parts[0][depth].lower() in splits.ALIASES:
            break
        depth += 1  # a folder around everything
    words = [re.split(r"[-_.]", p[0])[0] if shards else p[depth] if len(p) > depth + 1 else "" for p in parts]
    if not all(w.lower() in splits.ALIASES for w in words):
        return depth, None
    return depth + (not shards), [splits.canonical(w) for w in words]


def _read_tables(store: Store, images: list[str]) -> dict[str, dict]:
    """Rows of every metadata.csv and metadata.jsonl, by image: text (a list), label, split and objects where there are such."""
    known, table, missing = set(images), {}, 0
    for name in store.names:
        if basename(name).lower() not in ("metadata.csv", "metadata.jsonl"):
            continue
        for row in _rows(store.read(name), f"{store.path}/{name}"):
            file = "/".join(filter(None, (dirname(name), str(row["file_name"]).replace("\\", "/").removeprefix("./"))))
            if file not in known:
                missing += 1
                continue
            entry = table.setdefault(file, {"text": []})
            entry["text"] += _strings(row.get("text", row.get("caption")))
            entry |= {k: row[k] for k in ("label", "split", "objects") if row.get(k) not in (None, "")}
    if missing and not table:
        raise DataError(f"No file_name in the metadata of {store.path} is the name of one of its images, such as {images[0]}.")
    return table


def _rows(data: bytes, name: str) -> list[dict]:
    try:
        text = data.decode("utf-8-sig")
        if name.lower().endswith(".csv"):
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]  # a caption may hold other ends of lines
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{name} cannot be read: {error}.") from error
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not row.get("file_name"):
            raise DataError(f"Row {i + 1} of {name} has no file_name; the columns are file_name and text, or label and split.")
    return rows


def boxes_of(objects: Any, size: tuple[int, int], name: str) -> tuple[Box, ...]:
    """Boxes as data sets on the Hugging Face hub have them, {"bbox": [[left, top, width, height], ...], "categories": [names]} in pixels,
    for a picture of this (height, width). Raises DataError for anything else."""
    try:
        rows = [(str(word), [float(v) for v in box]) for word, box in zip(objects["categories"], objects["bbox"], strict=True)]
        return tuple(
            Box(word, (left + w / 2) / size[1], (top + h / 2) / size[0], w / size[1], h / size[0]) for word, (left, top, w, h) in rows
        )
    except (TypeError, KeyError, ValueError):
        said = 'objects are {"bbox": [[left, top, width, height], ...], "categories": [names]}'
        raise DataError(f"What the metadata tell of objects in {name} cannot be read: {said}.") from None


def _strings(value: Any) -> list[str]:
    return [s for v in (value if isinstance(value, list) else [value]) if v is not None and (s := str(v).strip())]


class _Beside:
    """Files with an image's name and another ending: .txt or .caption (one caption a line), .cls and .json."""

    def __init__(self, store: Store):
        self.store = store
        self.names = {n for n in store.names if splitext(n)[1].lower() in (".txt", ".caption", ".cls", ".json")}

    def has_text(self, image: str) -> bool:
        stem = splitext(image)[0]
        return any(stem + end in self.names for end in (".txt", ".caption", ".json"))

    def captions(self, image: str) -> Callable[[], tuple[str, ...]]:
        """Read when asked for: there may be millions."""
        return lambda: self._captions(splitext(image)[0])

    def _captions(self, stem: str) -> tuple[str, ...]:
        for end in (".txt", ".caption"):
            if stem + end in self.names:
                return tuple(_strings(self._text(stem + end).splitlines()))
        facts = self._json(stem)
        return tuple(_strings(facts.get("text", facts.get("caption"))))

    def labels(self, images: list[str]) -> list[Any]:
        stems = [splitext(n)[0] for n in images]
        if any(s + ".cls" in self.names for s in stems):
            return [self._text(s + ".cls").strip() if s + ".cls" in self.names else None for s in stems]
        first = next((s for s in stems if s + ".json" in self.names), None)
        if first is None or "label" not in self._json(first):
            return []
        return [self._json(s).get("label") if s + ".json" in self.names else None for s in stems]

    def _text(self, name: str) -> str:
        return self.store.read(name).decode("utf-8-sig", "replace")

    def _json(self, stem: str) -> dict:
        try:
            facts = json.loads(self._text(stem + ".json"))
        except json.JSONDecodeError as error:
            raise DataError(f"{self.store.path}/{stem}.json cannot be read: {error}.") from error
        return facts if isinstance(facts, dict) else {}
