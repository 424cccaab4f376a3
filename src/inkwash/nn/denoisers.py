"""The networks that can denoise, as one field of a configuration: `kind` says which."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from inkwash.nn.dit import DiTConfig
from inkwash.nn.unet import UNetConfig


def _kind(net: Any) -> Any:
    """A network's kind; the U-Net where a dictionary names none."""
    return net.get("kind", "unet") if isinstance(net, dict) else getattr(net, "kind", None)


Net = Annotated[Annotated[UNetConfig, Tag("unet")] | Annotated[DiTConfig, Tag("dit")], Discriminator(_kind)]
