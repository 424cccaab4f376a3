"""SqueezeNet 1.0 and 1.1 from a local .npz of Caffe-style names: a small network that was trained on ImageNet.

A fire module squeezes to few channels by 1x1 convolution and expands them by 1x1 and 3x3 ones, side by side. The two
versions differ in the first convolution and in where they pool:

    1.0: conv 7x7/2 (96), pool, fire 2-4, pool, fire 5-8, pool, fire 9    BGR levels minus (104, 117, 123)
    1.1: conv 3x3/2 (64), pool, fire 2-3, pool, fire 4-5, pool, fire 6-9  RGB levels minus (122.679, 116.669, 104.006)

Features are the global average of fire 9 (512). Small images are enlarged bilinearly to `size` x `size`.

[1] Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, arXiv:1602.07360
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.errors import ConfigError, FileError
from inkwash.metrics.features.base import FeatureNet, Layered, fill, resize, weight_hash

EXPAND = {2: 64, 3: 64, 4: 128, 5: 128, 6: 192, 7: 192, 8: 256, 9: 256}  # channels of each half of fire i; a quarter squeezed
POOL_AFTER = {"1.0": (4, 8), "1.1": (3, 5)}
FIRE_NAMES = {"1.0": ("conv1x1_1", "conv1x1_2", "conv3x3_2"), "1.1": ("squeeze1x1", "expand1x1", "expand3x3")}


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1x1 and 3x3 side by side: (N, cin, H, W) -> (N, 2 expand, H, W) [1, section 3.2]."""

    def __init__(self, cin: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(cin, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        s = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(s), self.expand3x3(s)], 1))


class SqueezeNet(FeatureNet, Layered):
    """SqueezeNet `version` ("1.0" or "1.1") at input side `size`; `classes` = 1000 adds the classifier that 1.0 came with."""

    dim = 512
    content, style, smooth = 4, (0, 2, 4, 5, 6, 7, 8), 0.5  # conv1, fire 2 to 9

    def __init__(self, version: str = "1.1", size: int = 128, classes: int = 0):
        super().__init__()
        if version not in POOL_AFTER:
            raise ConfigError(f"there is no SqueezeNet {version!r}; known: 1.0, 1.1.")
        self.version, self.size = version, size
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2) if version == "1.0" else nn.Conv2d(3, 64, 3, stride=2)
        cin = self.conv1.out_channels
        for i, expand in EXPAND.items():
            self.add_module(f"fire{i}", Fire(cin, expand // 4, expand))
            cin = 2 * expand
        self.conv_final = nn.Conv2d(cin, classes, 1) if classes else None
        mean = (104.0, 117.0, 123.0) if version == "1.0" else (122.679, 116.669, 104.006)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.id = f"squeezenet{version}-{size}px-{weight_hash(self.state_dict())}"

    def maps(self, rgb: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [-1, 1] to the maps of fire 9 (N, 512, h, w)."""
        return self.layers(resize(rgb, self.size))[-1]

    def layers(self, rgb: Tensor) -> list[Tensor]:
        levels = 127.5 * (rgb + 1)
        out = [F.relu(self.conv1((levels.flip(1) if self.version == "1.0" else levels) - self.mean))]
        x = self._pool(out[0])
        for i in EXPAND:
            x = self.get_submodule(f"fire{i}")(x)
            out.append(x)
            x = self._pool(x) if i in POOL_AFTER[self.version] else x
        return out

    def features(self, rgb: Tensor) -> Tensor:
        return self.maps(rgb).mean((2, 3))

    def logits(self, rgb: Tensor) -> Tensor:
        """ImageNet logits (N, 1000), for a network with a classifier."""
        if self.conv_final is None:
            raise ConfigError("this SqueezeNet has no classifier; build it with classes=1000 and weights that hold conv_final.")
        return F.relu(self.conv_final(self.maps(rgb))).mean((2, 3))

    @staticmethod
    def _pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


def load_squeezenet(path: Path, size: int = 128) -> SqueezeNet:
    """The network in a local .npz; version and classifier are read off its names. Raises FileError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: torch.from_numpy(file[k]).float() for k in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise FileError(f"{path} cannot be read as an .npz of SqueezeNet weights: {error}") from error
    version = "1.0" if any("conv1x1_1" in k for k in arrays) else "1.1"
    squeeze, one, three = FIRE_NAMES[version]
    weights = {}
    for name, value in arrays.items():
        for theirs, ours in ((squeeze, "squeeze"), (one, "expand1x1"), (three, "expand3x3")):
            name = name.replace(f"/{theirs}.", f".{ours}.")
        weights[name] = value
    classes = len(weights["conv_final.weight"]) if "conv_final.weight" in weights else 0
    net = SqueezeNet(version, size, classes)
    fill(net, weights, str(path))
    net.id = f"squeezenet{version}-{size}px-{weight_hash(weights)}"
    return net.eval()
