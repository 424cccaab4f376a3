"""Walks among latents: between two pictures, along a direction that two folders show, along single numbers."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.batch import Condition
from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.model import Autoencoder, Model, OnStep
from inkwash.data import Dataset, Loader, open_source
from inkwash.diffusion.editing import slerp
from inkwash.inference.edit import read_picture
from inkwash.inference.load import Loaded

MOST = 2000  # images of a folder that its mean latent is taken of


class Walk(Config):
    """From one picture to another in n pictures, both ends among them. how: in a straight line, or along an arc, as noise is spread."""

    image: str
    to: str
    n: int = Field(8, ge=2)
    how: Literal["spherical", "linear"] = "spherical"
    label: str | int | None = None


class Sum(Config):
    """A picture, plus `amount` times what the pictures of one folder have and those of another have not, on average."""

    image: str
    plus: str
    minus: str
    amount: float = 1.0
    label: str | int | None = None


def coder(loaded: Loaded, label: str | int | None) -> tuple[Model, Condition]:
    """The model as an autoencoder, and its condition for one picture. Raises ConfigError where it is none, or lacks a class."""
    if not isinstance(loaded.model, Autoencoder):
        raise ConfigError(f"A {loaded.kind!r} model does not encode pictures; a VAE or a VQ-VAE does.")
    cond = Condition(label=None if label is None else torch.tensor([loaded.label_of(label)], device=loaded.model.device))
    loaded.model.check(cond)
    return loaded.model, cond


def encoded(loaded: Loaded, path: str) -> Tensor:
    """The latent of one file, (1, ...)."""
    return loaded.model.encode(read_picture(path, loaded)[None].to(loaded.model.device))


@torch.no_grad()
def interpolate(loaded: Loaded, order: Walk) -> Tensor:
    """(n, C, H, W) from the first picture, encoded and decoded, to the other."""
    model, cond = coder(loaded, order.label)
    a, b = encoded(loaded, order.image), encoded(loaded, order.to)
    shares = [i / (order.n - 1) for i in range(order.n)]
    latents = [slerp(a, b, s) if order.how == "spherical" else a + s * (b - a) for s in shares]
    return torch.cat([model.decode(z, cond) for z in latents]).float().cpu()


@torch.no_grad()
def mean_latent(loaded: Loaded, folder: str, batch: int = 64, on_step: OnStep | None = None) -> Tensor:
    """The mean latent of a folder's pictures, (1, ...). Raises DataError for an empty one."""
    channels, *size = loaded.model.config.shape
    view = loaded.view.override({"size": size, "channels": channels, "random_crop": False, "flip": False})
    data = Dataset(open_source(folder, "all"), view)
    count, total = min(len(data), MOST), 0.0
    if not count:
        raise DataError(f"{folder} holds no pictures.")
    loader = Loader(data, 1, augment=False)
    for start in range(0, count, batch):
        rows = loader.batch_at(start, min(batch, count - start)).to(loaded.model.device)
        total = total + loaded.model.encode(rows.image).double().sum(0, keepdim=True)
        if on_step:
            on_step(min(start + batch, count), count)
    return (total / count).float()


@torch.no_grad()
def arithmetic(loaded: Loaded, order: Sum, on_step: OnStep | None = None) -> tuple[Tensor, Tensor]:
    """The picture with the direction added, and as it is decoded without: (1, C, H, W) each."""
    model, cond = coder(loaded, order.label)
    direction = mean_latent(loaded, order.plus, on_step=on_step) - mean_latent(loaded, order.minus, on_step=on_step)
    z = encoded(loaded, order.image)
    return model.decode(z + order.amount * direction, cond).float().cpu(), model.decode(z, cond).float().cpu()


@torch.no_grad()
def traverse(loaded: Loaded, image: str, count: int = 8, steps: int = 7, reach: float = 3.0, label: str | int | None = None) -> Tensor:
    """A row of `steps` pictures for each of the `count` latent numbers that say most of this picture, each led from -reach to reach
    standard deviations of the prior: (count * steps, C, H, W). Raises ConfigError for a model whose latents are no plain vector."""
    model, cond = coder(loaded, label)
    z = encoded(loaded, image)
    if z.ndim != 2 or not hasattr(model, "posterior"):
        raise ConfigError(f"A {loaded.kind!r} model has no single numbers to go along.")
    x = read_picture(image, loaded)[None].to(model.device)
    told = (1 - model.posterior(x)[1].exp())[0]  # what the picture says of each number: 1 all, 0 nothing
    rows = []
    for k in told.argsort(descending=True)[:count].tolist():
        many = z.repeat(steps, 1)
        many[:, k] = torch.linspace(-reach, reach, steps, device=z.device)
        rows.append(model.decode(many, Condition(label=None if cond.label is None else cond.label.expand(steps))))
    return torch.cat(rows).float().cpu()
