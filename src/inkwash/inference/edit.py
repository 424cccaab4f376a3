"""Editing with a trained model: an image and what is to become of it, in; images, out. No retraining.

image alone     image-to-image: `strength` of the way to noise, and back
with a mask     what is white is made anew (inpainting, by RePaint unless a solver is named); the rest comes back bit by bit
extend          the image grows at its sides (outpainting)
vary            its own noise, a little changed
was             its own noise, found under the class that it was, made an image of another class
to              pictures between it and another one, through the noise of both
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field, NonNegativeInt
from torch import Tensor

from inkwash.core.batch import Condition
from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.model import Inverter, OnStep, Options
from inkwash.core.pixels import from_uint8
from inkwash.data import View
from inkwash.data.decode import opened, to_channels
from inkwash.diffusion.editing import slerp
from inkwash.inference.draw import draw, image_rng, stage
from inkwash.inference.load import Loaded

STEPS = 50  # of the walk to noise and back, unless said
STRENGTH = 0.6  # of image-to-image, unless said
ROUNDS = 8  # of RePaint with a mask, unless said: the fewest whose seams are no stronger than edges inside images (benchmarks/editing.py)


class Edit(Config):
    """One order. image, mask, to: files; a mask is white, or transparent, where something new shall be.

    prompt: what the results shall show, for models that read. extend: pixels to add at the top, right, bottom and left. vary: 0 the same
    image to 1 another one. label: class of the results. was: class of the picture, where its noise is to be found under another one than
    `label`. n: how many results. keep_size: leave the picture as large as it is, instead of bringing it to the size of training.
    options: the model's own.
    """

    image: str
    prompt: str | None = None
    mask: str | None = None
    to: str | None = None
    extend: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt, NonNegativeInt] | None = None
    vary: float | None = Field(None, gt=0, le=1)
    n: int = Field(1, ge=1)
    seed: int = 0
    label: str | int | None = None
    was: str | int | None = None
    keep_size: bool = False
    batch: int = Field(64, ge=1)
    options: dict[str, Any] = {}

    def kind(self) -> str:
        """What is asked for. Raises ConfigError where two things are."""
        wishes = {"inpaint": self.mask, "interpolate": self.to, "outpaint": self.extend, "vary": self.vary}
        asked = [name for name, value in wishes.items() if value is not None]
        if len(asked) > 1:
            raise ConfigError(f"One edit at a time: {' and '.join(asked)} were asked for together.")
        if self.to is not None and self.n < 2:
            raise ConfigError("The way from one image to another has at least 2 pictures: ask for more with -n.")
        if self.prompt is not None and (self.was is not None or self.vary is not None or self.to is not None):
            raise ConfigError("The noise of a picture is found without words: a prompt goes with none of vary, to and was.")
        if self.prompt is not None and not self.prompt.strip():
            raise ConfigError("The prompt is empty: say what to make, or leave it out.")
        if self.was is None:
            return asked[0] if asked else "image-to-image"
        if self.label is None or (asked and asked[0] not in ("vary", "interpolate")):
            raise ConfigError("A class that the picture was goes with a class that it shall be, and with no mask and no growth.")
        if self.n > 1 and not asked:
            raise ConfigError("A picture that becomes another class has one result; with vary, it has as many as are asked for.")
        return asked[0] if asked else "reclass"


@dataclass(frozen=True)
class Edited:
    """images: (n, C, H, W) in [-1, 1]. seen: the picture as the model saw it, (C, H, W). mask: (1, H, W), where there is one.

    options: with which they were made.
    """

    images: Tensor
    seen: Tensor
    mask: Tensor | None
    options: Options


def read_picture(path: str, loaded: Loaded, keep_size: bool = False) -> Tensor:
    """A file as the model sees images: (C, H, W) in [-1, 1]. Raises DataError for a file that is no picture."""
    return as_seen(opened(path), loaded, keep_size)


def as_seen(pixels: np.ndarray, loaded: Loaded, keep_size: bool) -> Tensor:
    """Pixels as the model sees images: (C, H, W) in [-1, 1]."""
    channels, *size = loaded.model.config.shape
    size = list(pixels.shape[:2] if keep_size else size)
    view = loaded.view.override({"size": size, "channels": channels, "random_crop": False})
    return from_uint8(torch.from_numpy(view.prepare(pixels)))


def read_mask(path: str, shape: tuple[int, int], loaded: Loaded, size: tuple[int, int]) -> Tensor:
    """A mask file, (1, H, W) of 0 and 1, brought to `size` as its picture is, a file of `shape`.

    Raises DataError for one that asks for nothing, or has another shape than the picture, or whose white is cut away with the margins.
    """
    pixels = opened(path, "mask")
    (height, width), (tall, wide) = pixels.shape[:2], shape
    if abs(height * wide - width * tall) > max(wide, tall):  # more than a pixel off once it is as large
        raise DataError(f"The mask {path} is {width}x{height} and the picture {wide}x{tall}: they need the same shape.")
    if pixels.shape[-1] == 4 and (pixels[..., 3] < 255).any():
        wanted = 255 - pixels[..., 3:]  # transparent: make anew
    else:
        wanted = to_channels(pixels, 1)
    if wanted.max() <= 127:
        raise DataError(f"The mask {path} is black all over: white is where something new is made.")
    if (height, width) != shape:
        wanted = np.asarray(Image.fromarray(wanted[..., 0]).resize((wide, tall), Image.Resampling.BILINEAR))[..., None]
    view = View(size=size, channels=1, fit=loaded.view.fit, background=(0, 0, 0))
    mask = torch.from_numpy((view.prepare(np.ascontiguousarray(wanted)) > 127).astype(np.float32))
    if not mask.any():
        raise DataError(f"Nothing white is left of the mask {path} once it is {size[1]}x{size[0]} as its picture.")
    return mask


def edit(loaded: Loaded, order: Edit, on_step: OnStep | None = None) -> Edited:
    """What an order asks for.

    Raises ConfigError where the model cannot edit, or two edits are asked for at once; DataError for files that are no pictures.
    """
    kind, model = order.kind(), loaded.model
    if "image" not in model.accepts:
        raise ConfigError(
            f"A {loaded.kind!r} model does not edit images; a diffusion model does, and an autoregressive one completes them."
        )
    pixels = opened(order.image)
    image = as_seen(pixels, loaded, order.keep_size)
    if kind in ("interpolate", "vary", "reclass"):
        options = loaded.options(**{"steps": STEPS, **order.options})
        return Edited(_through_noise(loaded, order, image, options, on_step), image, None, options)
    mask, label = None, _rows(loaded, order.label, order.n)
    if kind == "outpaint":
        top, right, bottom, left = order.extend
        sides = (left, right, top, bottom)
        mask = torch.nn.functional.pad(torch.zeros_like(image[:1]), sides, value=1.0)
        image = torch.nn.functional.pad(image[None], sides, mode="replicate")[0]
    elif kind == "inpaint":
        mask = read_mask(order.mask, pixels.shape[:2], loaded, tuple(image.shape[-2:]))
    rounds = {} if "solver" in order.options or not isinstance(model, Inverter) else {"rounds": ROUNDS}  # RePaint wants a mean
    usual = {"strength": STRENGTH} if mask is None else rounds
    known = type(model.default_options()).model_fields
    options = loaded.options(**{k: v for k, v in usual.items() if k in known} | order.options)
    cond = Condition(
        image=image.expand(order.n, *image.shape),
        mask=None if mask is None else mask.expand(order.n, *mask.shape),
        tokens=None if order.prompt is None else loaded.tokens([order.prompt]).expand(order.n, -1),
    )
    seeds = range(order.seed, order.seed + order.n)
    return Edited(draw(model, seeds, options, label, loaded.precision, order.batch, on_step, cond), image, mask, options)


def _rows(loaded: Loaded, label: str | int | None, n: int) -> Tensor | None:
    """A class as n labels."""
    return None if label is None else torch.full((n,), loaded.label_of(label))


@torch.no_grad()
def _through_noise(loaded: Loaded, order: Edit, image: Tensor, options: Options, on_step: OnStep | None) -> Tensor:
    """The noise of one image or two, moved as the order says, and made images again: (n, C, H, W). In fp32: bf16 loses the way back."""
    model = loaded.model
    if not isinstance(model, Inverter):
        raise ConfigError(f"A {loaded.kind!r} model does not find the noise of an image.")
    pictures = [image]
    if order.to is not None:
        pictures.append(read_picture(order.to, loaded, order.keep_size))
        if pictures[1].shape != image.shape:
            raise DataError(f"{order.image} and {order.to} have different sizes: leave out --keep-size.")
    starts = range(0, order.n, order.batch)
    ticks = iter([stage(on_step, i, len(pictures) + len(starts)) for i in range(len(pictures) + len(starts))])
    known = Condition(label=_rows(loaded, order.label if order.was is None else order.was, 1)).to(model.device)
    noises = _moved([model.invert(x[None].to(model.device), known, options, next(ticks)) for x in pictures], order)
    wanted = Condition(label=_rows(loaded, order.label, order.n)).to(model.device)
    rows = [slice(start, start + order.batch) for start in starts]
    return torch.cat([model.regenerate(noises[r], wanted[r], options, next(ticks)).float().cpu() for r in rows])


def _moved(noises: list[Tensor], order: Edit) -> Tensor:
    """The way from one noise to another, or from one towards fresh ones, or as it is: (n, C, H, W)."""
    if len(noises) == 2:
        return torch.cat([slerp(*noises, i / (order.n - 1)) for i in range(order.n)])
    if order.vary is None:
        return noises[0]
    one = noises[0].expand(order.n, -1, -1, -1)
    return slerp(one, image_rng(range(order.seed, order.seed + order.n), one.device).normal(*one.shape[1:]), order.vary)
