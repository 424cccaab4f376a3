"""Spectral normalisation: a weight divided by its largest singular value, so that a layer stretches nothing more than once.

torch's own moves its estimate at every forward pass in training, which makes a batch differ from its micro-batches. Here the estimate
moves when `iterate_` is called, once a step, and is a buffer like any other.

Reference: Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks, algorithm 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

FIRST = 15  # iterations at the start, from a random vector


class SpectralNorm(nn.Module):
    """A parametrization of a weight (C_out, ...): W / (u W v), where u and v follow its first singular vectors."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer("u", F.normalize(torch.randn(len(weight)), dim=0))
        self.register_buffer("v", torch.zeros(weight[0].numel()))
        for _ in range(FIRST):
            self.iterate(weight)

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        """One power iteration."""
        matrix = weight.detach().flatten(1).float()
        self.v.copy_(F.normalize(self.u @ matrix, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # a weight is not rounded before it is measured
            return weight / torch.dot(self.u, weight.flatten(1) @ self.v)


def spectral_(root: nn.Module) -> nn.Module:
    """Normalise every convolution and linear layer below `root`, in place. One that starts at zero is drawn anew: zero has no direction."""
    for module in root.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if not module.weight.any():
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))
    return root


def iterate_(root: nn.Module) -> None:
    """Let every normalised weight below `root` follow its singular vectors by one step."""
    for module in root.modules():
        if parametrize.is_parametrized(module, "weight"):
            inner = module.parametrizations.weight
            inner[0].iterate(inner.original)
