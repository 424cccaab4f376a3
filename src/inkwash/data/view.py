"""How records become tensors: size, channels, fit, and the random changes that rows go through in training."""

from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image, ImageColor
from pydantic import BeforeValidator, Field, PositiveInt, model_validator
from torch import Tensor

from inkwash.core.config import Config
from inkwash.core.errors import DataError
from inkwash.data.decode import to_channels
from inkwash.data.source import Source

LOOK = 512  # records looked at to decide size and channels
DEFAULT_SIZE = (64, 64)  # for images of mixed sizes


def _colour(value: Any) -> Any:
    return ImageColor.getrgb(value)[:3] if isinstance(value, str) else value


def _both(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


Level = Annotated[int, Field(ge=0, le=255)]


class View(Config):
    """What a model sees of a source. size and channels: None decides from the data (see `facts`).

    size: (height, width), or one number for a square. channels: 1 grey, 3 RGB, 4 RGBA. fit: "crop" resizes until the image covers
    the size and cuts the centre, "pad" until it fits inside and fills up with the background (transparent in RGBA), "stretch"
    ignores the aspect, "window" cuts the centre without resizing an image that is large enough. Resizing is bicubic and
    antialiased, with alpha premultiplied. background: what lies under RGBA, a colour name or three levels. flip: mirror half
    the rows. turn: by any number of right angles, where the size is square. random_crop: the cut of "crop" and "window" is anywhere.
    All are decided by a row's key, never by its batch. pair: a picture holds two side by side, and the one on this side is what the
    other is to be made from; they are cut, mirrored and turned as one.
    """

    size: Annotated[tuple[PositiveInt, PositiveInt] | None, BeforeValidator(_both)] = None
    channels: Literal[1, 3, 4] | None = None
    fit: Literal["crop", "pad", "stretch", "window"] = "crop"
    background: Annotated[tuple[Level, Level, Level], BeforeValidator(_colour)] = (255, 255, 255)
    flip: bool = False
    turn: bool = False
    random_crop: bool = False
    pair: Literal["left", "right", "top", "bottom"] | None = None

    @model_validator(mode="after")
    def _square(self) -> "View":
        if self.turn and self.size and self.size[0] != self.size[1]:
            raise ValueError("images that are turned by right angles must be square")
        return self

    @property
    def cuts(self) -> bool:
        """Whether prepared images are larger than the size, to be cut at random."""
        return self.random_crop and self.fit in ("crop", "window")

    @property
    def still(self) -> bool:
        """Whether a row looks the same every time, and as it is in the source."""
        return not (self.flip or self.turn or self.cuts or self.pair)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, C) to (channels, *size), clips (F, H, W, C) to (F, channels, *size); larger than size where it `cuts`; a pair to
        (2 channels, *size), what is to be made first.

        This is the part that does not depend on chance, done once an image. size and channels must be set.
        """
        if image.ndim == 4:
            return np.stack([self.prepare(frame) for frame in image])  # (F, C, H, W)
        return np.concatenate([self._prepare(part) for part in self._parts(image)])

    def _parts(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """The picture, or what is to be made and what from."""
        if not self.pair:
            return (image,)
        axis = int(self.pair in ("left", "right"))
        half = image.shape[axis] // 2
        first, second = np.split(image, [half], axis)
        second = second[:, :half] if axis else second[:half]
        return (second, first) if self.pair in ("left", "top") else (first, second)

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        image = to_channels(image, self.channels, self.background)
        if image.shape[:2] != self.size:
            image = self._fit(image)
        if self.channels == 4:
            hidden = image[..., 3] == 0  # colours that nobody sees are not for learning
            if hidden.any():
                image = image.copy()
                image[hidden, :3] = self.background
        return np.ascontiguousarray(image.transpose(2, 0, 1))  # (C, H, W)

    def prepared_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after `prepare` of an image of this height and width."""
        if not self.cuts:
            return self.size
        return self._covering(*self.halved(height, width))

    def _covering(self, height: int, width: int) -> tuple[int, int]:
        """The size at which a picture of this size is cut from."""
        scale = max(self.size[0] / height, self.size[1] / width)
        scale = max(scale, 1) if self.fit == "window" else scale
        return max(self.size[0], round(height * scale)), max(self.size[1], round(width * scale))

    def halved(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of one picture of a pair in an image of this height and width; of the image itself where there are no pairs."""
        down, across = (2 if self.pair in sides else 1 for sides in (("top", "bottom"), ("left", "right")))
        return max(1, height // down), max(1, width // across)

    def augment(self, images: Tensor | list[np.ndarray], keys: np.ndarray) -> Tensor:
        """Prepared images, and a uint64 key a row, to uint8 (N, ..., C, H, W) as trained on."""
        if self.cuts:
            images = torch.stack([self._cut(image, int(key)) for image, key in zip(images, keys)])
        if self.flip:
            mirrored = torch.from_numpy((keys & np.uint64(1)).astype(bool))
            images = torch.where(mirrored.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)
        if self.turn:
            quarters = torch.from_numpy((keys >> np.uint64(61) & np.uint64(3)).astype(np.int64))
            images = torch.stack([torch.rot90(image, int(k), (-2, -1)) for image, k in zip(images, quarters)])
        return images

    def centre(self, images: Tensor | list[np.ndarray]) -> Tensor:
        """Prepared images to uint8 (N, ..., C, H, W) without chance: not mirrored, cut in the middle."""
        return torch.stack([self._cut(image) for image in images]) if self.cuts else images

    def _cut(self, image: np.ndarray | Tensor, key: int | None = None) -> Tensor:
        (height, width), (rows, columns) = image.shape[-2:], self.size
        top, left = (height - rows) // 2, (width - columns) // 2
        if key is not None:
            top = (key >> 1 & 0x3FFFFFFF) * (height - rows + 1) >> 30
            left = (key >> 31 & 0x3FFFFFFF) * (width - columns + 1) >> 30
        return torch.as_tensor(image[..., top : top + rows, left : left + columns])

    def _fit(self, image: np.ndarray) -> np.ndarray:
        (height, width), (rows, columns) = image.shape[:2], self.size
        if self.fit == "stretch":
            return _resize(image, rows, columns)
        if self.cuts:
            size = self._covering(height, width)
            return image if size == (height, width) else _resize(image, *size)
        if self.fit == "pad":
            scale = min(rows / height, columns / width)
            small = _resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
            out = to_channels(np.full((rows, columns, 3), self.background, np.uint8), self.channels)
            out = np.where(np.arange(self.channels) == 3, np.uint8(0), out)
            top, left = (rows - small.shape[0]) // 2, (columns - small.shape[1]) // 2
            out[top : top + small.shape[0], left : left + small.shape[1]] = small
            return out
        scale = max(rows / height, columns / width)
        if self.fit == "window" and scale <= 1:
            top, left = (height - rows) // 2, (width - columns) // 2
            return image[top : top + rows, left : left + columns]
        top, left = (height - rows / scale) / 2, (width - columns / scale) / 2
        return _resize(image, rows, columns, (left, top, width - left, height - top))


def _resize(image: np.ndarray, rows: int, columns: int, box: tuple[float, ...] | None = None) -> np.ndarray:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    out = np.asarray(picture.resize((columns, rows), Image.Resampling.BICUBIC, box))
    return out[..., None] if out.ndim == 2 else out


@dataclass(frozen=True)
class Facts:
    """What a model has to know of its data. frames: length of clips, 0 for images. note: a sentence on how size was decided.

    pair: the side that the view takes pictures from that others are made of, None where it takes no pairs. levels: 2 where every pixel
    is black or white, else 256. sized: whether the size is one that the view asks for. boxed: whether it is told where things
    are, in pictures that are seen whole.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...]
    count: int
    captions: bool
    frames: int = 0
    note: str = ""
    pair: str | None = None
    levels: int = 256
    sized: bool = False
    boxed: bool = False


def facts(source: Source, view: View | None = None) -> Facts:
    """Size, channels and the like, from the headers of up to LOOK records and the wishes of a view.

    Size: the one that nine tenths of the images share, else 64 x 64. Channels: 1 where every image is stored as grey, else 3;
    4 only where the view asks. Unreadable records are passed over. Raises DataError where none can be read.
    """
    view = view or View()
    shapes, failure = [], None
    for i in _spread(len(source), LOOK):
        try:
            shapes.append(source.shape(i))
        except DataError as error:
            failure = error
    if not shapes:
        raise failure or DataError(f"{source.name} is empty.")
    frames = {s[0] if len(s) == 4 else 0 for s in shapes}
    if len(frames) > 1:
        raise DataError(f"{source.name} mixes clips of different lengths ({sorted(frames)}): ask for one with the option frames.")
    sizes = [view.halved(*s[-3:-1]) for s in shapes]
    (height, width), note = _size(sizes) if view.size is None else (view.size, "")
    channels = view.channels or (1 if all(s[-1] == 1 for s in shapes) else 3)
    captions, boxes, two = _looked_into(source)
    levels = 2 if two and set(sizes) == {(height, width)} else 256
    whole = {"stretch": True, "window": set(sizes) == {(height, width)}}.get(view.fit, all(h * width == w * height for h, w in sizes))
    boxed = boxes and whole and view.still
    sized = view.size is not None
    return Facts(channels, height, width, source.classes, len(source), captions, frames.pop(), note, view.pair, levels, sized, boxed)


def _size(sizes: list[tuple[int, int]]) -> tuple[tuple[int, int], str]:
    kinds = sorted(set(sizes), key=sizes.count)
    usual = kinds[-1]
    if len(kinds) == 1:
        return usual, ""
    few = sizes.count(usual) < 0.9 * len(sizes)
    chosen = DEFAULT_SIZE if few else usual
    (h, w), (tall, wide) = min(kinds, key=np.prod), max(reversed(kinds), key=np.prod)
    span = f"{len(kinds)} sizes, {h} x {w} to {tall} x {wide}"
    return chosen, f"Images have {span} (height x width); they become {chosen[0]} x {chosen[1]} unless a size is given."


def _looked_into(source: Source) -> tuple[bool, bool, bool]:
    """Of some records: whether one has a caption, whether one has boxes, and whether every value is 0 or 255 and both occur."""
    captions, boxes, values = False, False, set()
    for i in _spread(len(source), 8):
        with suppress(DataError):  # reported by name when the data are read in full
            record = source.read(i)
            captions |= bool(record.text)
            boxes |= bool(record.boxes)
            values |= set(np.unique(record.image).tolist())
    return captions or _captioned(source), boxes, values == {0, 255}


def _captioned(source: Source) -> bool:
    """Whether one of more records has a caption, where texts are told without a look at the pictures."""
    if type(source).text is Source.text:
        return False
    for i in _spread(len(source), LOOK):
        with suppress(DataError):
            if source.text(i):
                return True
    return False


def _spread(count: int, most: int) -> range:
    """Up to `most` indices spread evenly over 0 .. count - 1."""
    return range(0, count, ceil(count / most) if count else 1)
