"""Images that lie in arrays already: .npz, the IDX files of MNIST, scikit-learn's digits."""

import gzip
import hashlib
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from inkwash.core.errors import DataError
from inkwash.data import splits
from inkwash.data.source import Record, Source
from inkwash.data.stores import file_fingerprint

_NPZ_KEY = re.compile(r"^(?:(?P<before>[a-z]+\d*)_)?(?P<what>x|images|packed|y|labels)(?:_(?P<after>[a-z]+\d*))?$")
_IDX_NAME = re.compile(r"^(?P<split>.*?)[-_.]?images[-_.]idx\d[-_.]ubyte(\.gz)?$", re.IGNORECASE)
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# Of each named split ("" where there are none): how to load its images, and its labels or None.
Parts = dict[str, tuple[Callable[[], np.ndarray], np.ndarray | None]]


class ArraySource(Source):
    """Images uint8 (N, H, W, C), or clips (N, F, H, W, C), with labels int64 (N,) or None, and each one's number in the file."""

    def __init__(self, name: str, split: str, parts: Parts, mark: str, classes: tuple[str, ...] = ()):
        """classes: names by label; the numbers themselves where empty. mark: what tells these data from others."""
        named = {s for s in parts if s}
        self.name, self.split, self.splits = name, splits.resolve(split, named, name), splits.offered(named)
        whole = self.split not in parts or named <= {"train"}  # everything is loaded, then a tenth is held out, or nothing
        wanted = sorted(parts) if whole else [self.split]
        images = [pixels(parts[s][0](), name) for s in wanted]
        if len({x.shape[1:] for x in images}) > 1:
            raise DataError(f"The splits of {name} have images of different sizes, so they cannot be read as one.")
        if whole:
            self.splits = splits.offered(named, sum(map(len, images)))
        self._images = images[0] if len(images) == 1 else np.concatenate(images)
        self._number = np.arange(len(self._images))
        self._labels = None
        known = [y for _, y in parts.values() if y is not None]
        if known:
            unknown = [np.full(len(x), -1) for x in images]
            self._labels = np.concatenate([u if parts[s][1] is None else parts[s][1] for s, u in zip(wanted, unknown)])
            top = max((int(y.max()) for y in known if len(y)), default=-1)
            self.classes = classes or tuple(str(k) for k in range(top + 1))
            if len(self._labels) != len(self._images) or top >= len(self.classes):
                raise DataError(
                    f"The labels of {name} do not fit: {len(self._images)} images, {len(self._labels)} labels up to {top}, "
                    f"{len(self.classes)} classes."
                )
        if whole and self.split != "all":
            self._keep(splits.members(self.split, named, None, [str(i) for i in self._number], None))
        if not len(self._images):
            raise DataError(f"The split {self.split!r} of {name} is empty.")
        self._mark = f"{mark} {self.split}"

    def _keep(self, chosen: np.ndarray) -> None:
        self._number, self._images = chosen, self._images[chosen]
        self._labels = None if self._labels is None else self._labels[chosen]

    def __len__(self) -> int:
        return len(self._images)

    def read(self, i: int) -> Record:
        label = None if self._labels is None or self._labels[i] < 0 else int(self._labels[i])
        return Record(self._images[i], label, name=f"{self.name}[{self._number[i]}]")

    def shape(self, i: int) -> tuple[int, ...]:
        return self._images.shape[1:]

    def labels(self) -> np.ndarray | None:
        return self._labels

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        return self._images, self._labels

    def fingerprint(self) -> str:
        return hashlib.sha256(self._mark.encode()).hexdigest()[:16]


def pixels(x: np.ndarray, name: str) -> np.ndarray:
    """Any usual array of images to uint8 (N, H, W, C) or (N, F, H, W, C).

    Shapes: (N, H, W), (N, H, W, C), (N, C, H, W), clips (N, F, H, W, C), or flat squares (N, H*H). Values: bool, 0..255 whole or
    not, uint16, or floats in [0, 1] or [-1, 1]. Raises DataError for anything else.
    """
    side = math.isqrt(x.shape[1]) if x.ndim == 2 else 0
    if side and side * side == x.shape[1]:
        x = x.reshape(-1, side, side)
    if x.ndim == 3:
        x = x[..., None]  # (N, H, W, 1)
    elif x.ndim == 4 and x.shape[-1] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
        x = x.transpose(0, 2, 3, 1)  # (N, H, W, C)
    if x.ndim not in (4, 5) or x.shape[-1] not in (1, 3, 4) or 0 in x.shape[1:]:
        raise DataError(f"{name} has images of shape {x.shape}; (N, H, W), (N, H, W, C) or (N, F, H, W, C) with C = 1, 3 or 4 is read.")
    if x.size and x.dtype.kind in "ui" and x.max() == 1 and x.min() == 0:
        return x.astype(np.uint8) * 255  # 0 and 1 are black and white, not two shades of black
    if x.dtype == np.uint8 or not x.size:
        return x.astype(np.uint8, copy=False)
    if x.dtype == np.bool_:
        return x.astype(np.uint8) * 255
    if x.dtype == np.uint16 and x.max() > 255:
        return ((x.astype(np.uint32) + 128) // 257).astype(np.uint8)
    low, high = (float(x.min()), float(x.max())) if x.dtype.kind in "iuf" else (math.nan, math.nan)
    if x.dtype.kind == "f" and low >= -1 and high <= 1:
        return ((x + 1) * 127.5 + 0.5 if low < 0 else x * 255 + 0.5).astype(np.uint8)
    if low >= 0 and high <= 255:
        return (x + 0.5).astype(np.uint8) if x.dtype.kind == "f" else x.astype(np.uint8)
    raise DataError(f"{name} has images of type {x.dtype} from {low:g} to {high:g}; 0..255, 0..1 or -1..1 is read.")


def whole_labels(y: np.ndarray, name: str) -> np.ndarray:
    """Labels (N,), (N, 1) or one-hot (N, K) to int64 (N,). Raises DataError for others."""
    if y.ndim == 2:
        y = y[:, 0] if y.shape[1] == 1 else y.argmax(1)
    if y.ndim != 1 or y.dtype.kind not in "iuf" or (y != np.floor(y)).any() or (len(y) and y.min() < 0):
        raise DataError(f"{name} has labels that are not whole numbers of at least 0, one for each image.")
    return y.astype(np.int64)


def npz_source(place: str, split: str = "train") -> ArraySource:
    """An .npz with keys `[SPLIT_]x|images|packed`, `[SPLIT_]y|labels` and `classes`.

    packed: uint8 (N, B), eight pixels a byte (numpy.packbits along axis 1), read as square images of 0 and 255.
    Raises DataError for a file that is damaged, pickled or without images.
    """
    path = Path(place).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, dict[str, str]] = {"image": {}, "label": {}}
            for key in file.files:
                if match := _NPZ_KEY.match(key):
                    part = splits.canonical(match["before"] or match["after"] or "")
                    found["label" if match["what"] in ("y", "labels") else "image"][part] = key
            if not found["image"]:
                raise DataError(f"{place} has no array of images: keys {', '.join(file.files)}; [SPLIT_]x, images or packed is read.")
            classes = tuple(str(c) for c in file["classes"]) if "classes" in file.files else ()
            labels = {p: whole_labels(file[key], place) for p, key in found["label"].items()}
            parts: Parts = {p: (lambda key=key: _npz_images(file, key, place), labels.get(p)) for p, key in found["image"].items()}
            return ArraySource(place, split, parts, file_fingerprint(path), classes)
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError) as error:
        raise DataError(f"{place} is not an .npz that can be read: {error}") from error


def _npz_images(file, key: str, place: str) -> np.ndarray:
    x = file[key]
    if "packed" not in key:
        return x
    if x.dtype != np.uint8 or x.ndim != 2:
        raise DataError(f"{key} of {place} is {x.dtype} {x.shape}; packed images are uint8 (N, bytes).")
    side = math.isqrt(8 * x.shape[1])  # the last byte may be padded
    return np.unpackbits(x, axis=1)[:, : side * side].reshape(-1, side, side) * np.uint8(255)


def idx_images(path: Path) -> dict[str, Path]:
    """The IDX image files of a folder, or the one named, by split; empty where there are none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = {f: m["split"] for f in files if (m := _IDX_NAME.match(f.name))}
    if not path.is_dir():
        return dict.fromkeys([""], path) if found else {}
    return {splits.canonical(re.split(r"[-_.]", s)[-1]): f for f, s in found.items()}


def idx_source(place: str, split: str = "train") -> ArraySource:
    """MNIST-form IDX files: a folder with `train-images-idx3-ubyte` and the like, or one file of images, plain or .gz.

    Labels are read from the file of the same name with `labels` and `idx1`, where it is there.
    """
    parts: Parts = {}
    marks = []
    for part, path in idx_images(Path(place).expanduser()).items():
        beside = path.with_name(re.sub(r"idx\d", "idx1", path.name.replace("images", "labels")))
        if not beside.exists():
            beside = beside.with_name(beside.name.removesuffix(".gz") if beside.suffix == ".gz" else beside.name + ".gz")
        labels = whole_labels(read_idx(beside), str(beside)) if beside.exists() else None
        parts[part] = (lambda path=path: read_idx(path), labels)
        marks += [file_fingerprint(f) for f in (path, beside) if f.exists()]
    return ArraySource(place, split, parts, " ".join(marks))


def read_idx(path: Path) -> np.ndarray:
    """An array in IDX form (LeCun et al., the MNIST page): 0 0 type rank, big-endian sizes, values; plain or gzipped.

    Raises DataError for a file that is cut short or of another form.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise DataError(f"{path} is not an IDX file.")
    rank, kind = data[3], np.dtype(_IDX_TYPES[data[2]])
    shape = np.frombuffer(data[4 : 4 + 4 * rank].ljust(4 * rank, b"\0"), ">u4").astype(np.int64).tolist()
    if len(data) != 4 + 4 * rank + math.prod(shape) * kind.itemsize:
        raise DataError(f"{path} is cut short or too long: its header says {shape} of {kind.itemsize} bytes each.")
    values = np.frombuffer(data, kind, offset=4 + 4 * rank).reshape(shape)
    return values.astype(kind.newbyteorder("="))


def digits_source(place: str = "digits", split: str = "train") -> ArraySource:
    """The 1,797 handwritten digits of scikit-learn (Alpaydin and Kaynak 1998), 8x8, 17 grey levels spread over 0..255.

    Raises DataError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits comes with scikit-learn, which is not installed here: pip install scikit-learn.") from None
    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    return ArraySource(place, split, {"": (lambda: images, found.target.astype(np.int64))}, "digits")
