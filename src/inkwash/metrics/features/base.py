"""The face that every feature network shows, and what they share: channels, sizes, hashes, files."""

import hashlib
import pickle
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from inkwash.core.errors import DataError, FileError


class FeatureNet(nn.Module):
    """Maps images to features. `id` names architecture, input size and weights; figures of different ids do not compare.

    A subclass sets `id` and `dim` and implements `features`.
    """

    id: str
    dim: int

    @abstractmethod
    def features(self, rgb: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [-1, 1], any size, to features (N, dim)."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1], C = 1, 3 or 4, any size, to float32 features (N, dim), without gradients."""
        with torch.no_grad():
            return self.features(to_rgb(images.float())).float()


class Layered:
    """A network whose maps are looked at: where a picture is compared with another by what a network sees in it.

    content: the layer, by index, whose values tell what is there. style: those whose correlations tell how it is painted. smooth: weight of
    the total variation, so that a picture that is sought by its maps shows none of the grain that it is blind to.
    """

    content: int
    style: tuple[int, ...]
    smooth: float

    @abstractmethod
    def layers(self, rgb: Tensor) -> list[Tensor]:
        """RGB (N, 3, H, W) in [-1, 1], at its own size, to maps (N, C, h, w), shallow first; gradients pass."""


def to_rgb(images: Tensor, under: Tensor | float = 1.0) -> Tensor:
    """(N, 3, H, W) from grey (repeated), RGB, or RGBA with straight alpha, laid over white or another colour (3, 1, 1); values in [-1, 1].

    Raises DataError for other shapes.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        raise DataError(f"features are taken of images (N, C, H, W) with 1, 3 or 4 channels; these are {tuple(images.shape)}.")
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if images.shape[1] == 4:
        alpha = (images[:, 3:] + 1) / 2
        return images[:, :3] * alpha + under * (1 - alpha)
    return images


def resize(images: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """(N, C, size, size), half-pixel centres; antialiased where it shrinks. Untouched where the size is right already."""
    if images.shape[-2:] == (size, size):
        return images
    shrinks = max(images.shape[-2:]) > size
    return F.interpolate(images, (size, size), mode=mode, align_corners=False, antialias=shrinks)


def extract(net: FeatureNet, images: Tensor | Iterable[Tensor], batch: int = 128) -> Tensor:
    """Features (N, dim) on the CPU of one tensor (N, C, H, W), cut into batches, or of an iterable of batches.

    The network's parameters say which device does the work.
    """
    device = next(net.parameters()).device
    batches = images.split(batch) if isinstance(images, Tensor) else images
    out, n = torch.empty(0, net.dim), 0
    for b in batches:
        part = net(b.to(device)).cpu()
        if n + len(part) > len(out):  # one block that doubles: many small ones between the network's large ones would scatter memory
            out = torch.cat([out[:n], part.new_empty(max(n, 4096, len(part)), net.dim)])
        out[n : n + len(part)] = part
        n += len(part)
    return out[:n]


def weight_hash(weights: Mapping[str, Tensor]) -> str:
    """First 12 hex digits of the SHA-256 over names, shapes and values, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        w = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(w.shape)}{w.dtype}".encode())
        digest.update(w.numpy().tobytes())
    return digest.hexdigest()[:12]


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dictionary from .safetensors, or from .pth/.pt/.bin through weights_only loading; raises FileError."""
    path = Path(path)
    if not path.is_file():
        raise FileError(f"there is no weights file {path}.")
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(f"{path} is refused: it is not a file of tensors alone.") from error
    except Exception as error:  # a damaged pickle fails in any way: KeyError, IndexError, AssertionError, ...
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FileError(f"{path} cannot be read as weights: {reason}") from error
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise FileError(f"{path} holds no state dictionary of tensors.")
    return dict(weights)


def fill(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """load_state_dict, strictly; raises a FileError that names the first missing, foreign or ill-shaped weight."""
    wanted = net.state_dict()
    missing, foreign = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    shapes = [k for k in sorted(wanted.keys() & weights.keys()) if wanted[k].shape != weights[k].shape]
    for problem, names in (("lacks", missing), ("has the unknown", foreign), ("has another shape of", shapes)):
        if names:
            raise FileError(f"{what} {problem} weight {names[0]!r} ({len(names)} in all): another architecture, or a damaged file.")
    net.load_state_dict(weights)
