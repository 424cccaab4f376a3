"""The Inception-v3 of FID: the 2015 TensorFlow graph, 2048 features after the last average pool, from a local weights file.

It is not the Inception-v3 of the paper [1] nor torchvision's: average pools inside the blocks leave the zero padding out of
the count, the last block pools by maximum, there is no auxiliary head, and the classifier has 1008 outputs. Parameter names
are those of the files of pytorch-fid and torch-fidelity (pt_inception-2015-12-05-6726825d.pth). Images are resized bilinearly
to 299 x 299 with half-pixel centres and without antialiasing, as pytorch-fid does, and stay in [-1, 1]. The original TensorFlow
graph aligns pixels at their corners, which moves FID slightly: the id says which was used.

[1] Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, arXiv:1512.00567
[2] Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, arXiv:1706.08500
[3] Parmar, Zhang and Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation, CVPR 2022, arXiv:2104.11222
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.metrics.features.base import FeatureNet, fill, read_weights, weight_hash

SIDE = 299


class Conv(nn.Module):
    """Convolution without bias, batch norm of fixed statistics (eps 0.001), ReLU."""

    def __init__(self, cin: int, cout: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | tuple[int, int] = 0):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def average(x: Tensor) -> Tensor:
    """3x3 average whose padding is not counted."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def row(channels: tuple[int, ...], k: int, transposed: bool) -> list[Conv]:
    """Alternating 1xk and kx1 convolutions through the given widths; kx1 first where transposed."""
    convs = []
    for i, (cin, cout) in enumerate(zip(channels, channels[1:])):
        tall = (i % 2 == 0) == transposed
        convs.append(Conv(cin, cout, (k, 1) if tall else (1, k), padding=(k // 2, 0) if tall else (0, k // 2)))
    return convs


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, two 3x3, and pooled branches."""

    def __init__(self, cin: int, pooled: int):
        super().__init__()
        self.branch1x1 = Conv(cin, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(cin, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(cin, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(cin, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(average(x))], 1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, cin: int):
        super().__init__()
        self.branch3x3 = Conv(cin, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(cin, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """17x17: 7x7 convolutions as rows and columns, of inner width c."""

    def __init__(self, cin: int, c: int):
        super().__init__()
        self.branch1x1 = Conv(cin, 192, 1)
        self.branch7x7_1 = Conv(cin, c, 1)
        self.branch7x7_2, self.branch7x7_3 = row((c, c, 192), 7, transposed=False)
        self.branch7x7dbl_1 = Conv(cin, c, 1)
        deep = row((c, c, c, c, 192), 7, transposed=True)
        self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5 = deep
        self.branch_pool = Conv(cin, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(average(x))], 1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, cin: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(cin, 192, 1), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Conv(cin, 192, 1)
        self.branch7x7x3_2, self.branch7x7x3_3 = row((192, 192, 192), 7, transposed=False)
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    """8x8: 3x3 convolutions split into a row and a column side by side. The second of the two pools by maximum."""

    def __init__(self, cin: int, maximum: bool):
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Conv(cin, 320, 1)
        self.branch3x3_1 = Conv(cin, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, (1, 3), padding=(0, 1)), Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(cin, 448, 1), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, (1, 3), padding=(0, 1)), Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(cin, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else average(x)
        split = [self.branch3x3_2a(single), self.branch3x3_2b(single), self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *split, self.branch_pool(pooled)], 1)


class Inception(FeatureNet):
    """2048 features (N, 2048) of the last average pool; `logits` are the 1008 outputs without bias that the Inception Score uses."""

    dim = 2048

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (BlockC(768, c) for c in (128, 160, 160, 192))
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, maximum=False), BlockE(2048, maximum=True)
        self.fc = nn.Linear(2048, 1008)
        self.id = "inception-fid-untrained"

    def features(self, rgb: Tensor) -> Tensor:
        x = F.interpolate(rgb, (SIDE, SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, stride=2))))  # (N, 288, 35, 35)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (N, 768, 17, 17)
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))  # (N, 2048, 8, 8) averaged

    def logits(self, features: Tensor) -> Tensor:
        return features @ self.fc.weight.T


def load_inception(path: Path) -> Inception:
    """The network from a local .pth (weights only) or .safetensors file of that key layout. Never downloads; raises FileError."""
    weights = read_weights(path)
    # torch-fidelity keeps each batch norm's statistics only; a counter of training batches changes nothing
    weights = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    net = Inception()
    counters = {k: v for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")}
    fill(net, {**weights, **counters}, str(path))
    net.id = f"inception-fid-{SIDE}px-{weight_hash(weights)}"
    return net.eval().requires_grad_(False)
