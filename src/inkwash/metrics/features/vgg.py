"""VGG-19 from a local file of torchvision's or timm's names: the network by whose layers pictures are compared in most papers.

Sixteen 3x3 convolutions with ReLU in five groups, a pool after each; parameters are called features.N.weight and features.N.bias. Input is
RGB with ImageNet's mean and deviation. Pools take the average, which Gatys et al. found to give smoother pictures than the maximum.

[1] Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv:1409.1556 (configuration E)
[2] Gatys, Ecker and Bethge, Image Style Transfer Using Convolutional Neural Networks, CVPR 2016
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.metrics.features.base import FeatureNet, Layered, fill, read_weights, weight_hash

GROUPS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


class VGG19(FeatureNet, Layered):
    """The convolutions of VGG-19, without classifier. Layers are every ReLU, sixteen of them."""

    dim = 512
    content, style, smooth = 9, (0, 2, 4, 8, 12), 0.1  # relu4_2; relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 [2]

    def __init__(self):
        super().__init__()
        layers, c_in, self.pooled = {}, 3, set()
        at = 0
        for width, count in GROUPS:
            for _ in range(count):
                layers[str(at)] = nn.Conv2d(c_in, width, 3, padding=1)
                c_in, at = width, at + 2
            self.pooled.add(at - 2)
            at += 1
        self.convs = nn.ModuleDict(layers)
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)
        self.id = "vgg19-untrained"

    def layers(self, rgb: Tensor) -> list[Tensor]:
        x, out = ((rgb + 1) / 2 - self.mean) / self.std, []
        for name, conv in self.convs.items():
            x = F.relu(conv(x))
            out.append(x)
            if int(name) in self.pooled:
                x = F.avg_pool2d(x, 2, ceil_mode=True)
        return out

    def features(self, rgb: Tensor) -> Tensor:
        return self.layers(rgb)[-1].mean((2, 3))


def load_vgg19(path: Path) -> VGG19:
    """The network from a local .pth (weights only) or .safetensors file. Never downloads; raises FileError."""
    weights = {k.replace("features.", "convs.", 1): v for k, v in read_weights(path).items() if k.startswith("features.")}
    net = VGG19()
    fill(net, weights, str(path))
    net.id = f"vgg19-{weight_hash(weights)}"
    return net.eval().requires_grad_(False)
