"""Where named bytes live: a folder, a zip, a tar. Every store may be read from several threads."""

import hashlib
import os
import tarfile
import tempfile
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path
from weakref import WeakValueDictionary

from inkwash.core.errors import DataError
from inkwash.data.decode import SUFFIXES

MAX_BYTES = 1 << 30  # of one file in a store: a zip entry of many GiB is an attack or a mistake
IN_MEMORY = 256 << 20  # a compressed tar that unpacks to more goes to a temporary file
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")
ARCHIVES = (".zip", *TARS)


class Store(ABC):
    """names: relative paths with forward slashes, sorted, without hidden files. shards: archives that a path begins with, 0 or 1."""

    path: Path
    names: list[str]
    shards: int = 0

    @abstractmethod
    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of one file, or its first `most`. Raises DataError naming it."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of what is in it that reads next to nothing."""


class FolderStore(Store):
    """A folder with everything below it; links are followed, each real folder once."""

    def __init__(self, path: Path):
        self.path = path
        self._stats: dict[str, tuple[int, int]] = {}
        seen = set()
        for here, folders, files in os.walk(path, followlinks=True, onerror=_refuse):
            real = os.path.realpath(here)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = [f for f in folders if not _hidden(f)]
            base = Path(here).relative_to(path).as_posix()
            for file in files:
                full = os.path.join(here, file)
                if not _hidden(file) and os.path.isfile(full):
                    stat = os.stat(full)
                    self._stats[file if base == "." else f"{base}/{file}"] = (stat.st_size, stat.st_mtime_ns)
        self.names = sorted(self._stats)

    def read(self, name: str, most: int | None = None) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                return _limited(file.read(most or MAX_BYTES + 1), name)
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read: {error.strerror or error}.") from error

    def fingerprint(self) -> str:
        """Of names, sizes and times of change."""
        text = "\n".join(f"{n}\t{self._stats[n][0]}\t{self._stats[n][1]}" for n in self.names)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class ZipStore(Store):
    """Members of a zip archive; raises DataError for a damaged one."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{path} is not a zip that can be read: {error}.") from error
        self._entries = {i.filename: i for i in self._zip.infolist() if not i.is_dir() and not _hidden_path(i.filename)}
        self.names = sorted(self._entries)
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def read(self, name: str, most: int | None = None) -> bytes:
        if os.getpid() != self._pid:  # a forked process shares the file's position: open a handle of its own
            with self._lock:
                if os.getpid() != self._pid:
                    self._zip, self._pid = zipfile.ZipFile(self.path), os.getpid()
        entry = self._entries[name]
        if entry.file_size > MAX_BYTES:
            raise DataError(f"{self.path}/{name} unpacks to {entry.file_size >> 20} MiB; the limit for one file is 1024.")
        try:
            with self._zip.open(entry) as file:
                return file.read(most)
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, NotImplementedError) as error:
            raise DataError(f"{self.path}/{name} cannot be unpacked: {error}.") from error

    def fingerprint(self) -> str:
        return file_fingerprint(self.path)


class TarStore(Store):
    """A tar, read at random: a compressed one is unpacked once, to memory or, beyond IN_MEMORY, to a temporary file."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with open(path, "rb") as file:
                compressed = file.read(262)[257:262] != b"ustar"
            self._file = _unpacked(path) if compressed else open(path, "rb")  # noqa: SIM115
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                members = [(m.name.removeprefix("./"), m.offset_data, m.size) for m in tar if m.isreg() and not m.issparse()]
        except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
            raise DataError(f"{path} is not a tar that can be read: {error}.") from error
        self._entries = {name: (offset, size) for name, offset, size in members if not _hidden_path(name)}
        self.names = sorted(self._entries)
        self._lock = threading.Lock()

    def read(self, name: str, most: int | None = None) -> bytes:
        offset, size = self._entries[name]
        size = min(size, most or size)
        if size > MAX_BYTES:
            raise DataError(f"{self.path}/{name} is {size >> 20} MiB; the limit for one file is 1024.")
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(size)
        if len(data) < size:
            raise DataError(f"{self.path}/{name} is cut short: the archive ends early.")
        return data

    def fingerprint(self) -> str:
        return file_fingerprint(self.path)


class ShardStore(Store):
    """A folder of archives as one, as WebDataset keeps large sets: an archive's name is the first part of a path."""

    shards = 1

    def __init__(self, path: Path, archives: list[Path]):
        self.path = path
        self._stores = {a.name: open_store(a) for a in archives}
        self.names = sorted(f"{shard}/{name}" for shard, store in self._stores.items() for name in store.names)

    def read(self, name: str, most: int | None = None) -> bytes:
        shard, _, inside = name.partition("/")
        return self._stores[shard].read(inside, most)

    def fingerprint(self) -> str:
        return hashlib.sha256(" ".join(s.fingerprint() for s in self._stores.values()).encode()).hexdigest()[:16]


_open_stores: WeakValueDictionary[tuple, Store] = WeakValueDictionary()


def open_store(path: Path) -> Store:
    """The store at a path. An archive that is open already is shared, so that a second split does not unpack it again."""
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if not _hidden(f.name))
        archives = [f for f in files if f.name.lower().endswith(ARCHIVES)]
        others = [f for f in files if f.is_dir() or f.suffix.lower() in SUFFIXES]
        return ShardStore(path, archives) if archives and not others else FolderStore(path)
    stat = path.stat()
    key = (os.path.realpath(path), stat.st_size, stat.st_mtime_ns, os.getpid())
    store = _open_stores.get(key)
    if store is None:
        store = ZipStore(path) if path.name.lower().endswith(".zip") else TarStore(path)
        _open_stores[key] = store
    return store


def file_fingerprint(path: Path) -> str:
    """A hash of a file's name, size, time of change and first and last MiB."""
    stat = path.stat()
    digest = hashlib.sha256(f"{path.name}\t{stat.st_size}\t{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    with open(path, "rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(max(0, stat.st_size - (1 << 20)))
        digest.update(file.read(1 << 20))
    return digest.hexdigest()[:16]


def _unpacked(path: Path):
    """The bytes under gzip, xz or bzip2, as a file open for reading."""
    import bz2
    import gzip
    import lzma

    opener = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open, b"BZ": bz2.open}
    with open(path, "rb") as file:
        start = file.read(2)
    if start not in opener:
        return open(path, "rb")  # an old tar without the ustar mark, or no tar at all
    with opener[start](path, "rb") as packed:
        target = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        try:
            while chunk := packed.read(1 << 20):
                target.write(chunk)
        except lzma.LZMAError as error:
            raise OSError(str(error)) from error
    target.seek(0)
    return target


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise DataError(f"{name} is larger than 1024 MiB, the limit for one file.")
    return data


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _hidden_path(name: str) -> bool:
    return any(_hidden(part) for part in name.split("/"))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
