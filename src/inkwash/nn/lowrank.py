"""Low-rank adaptation: a weight stays as it is, and what is learnt is the product of two thin matrices that is added to it.

    y = W x + b + B (A x),      A: (r, in), small at random;  B: (out, r), zero at first

Reference: Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models (section 4.1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MARK = "low_rank_"  # how the names of its parameters begin


class LowRankLinear(nn.Linear):
    """A linear layer with thin matrices beside it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.low_rank_in), self.low_rank_out)


def lower_rank_(module: nn.Module, rank: int) -> list[nn.Parameter]:
    """Freeze a module's weights and put thin matrices beside its linear layers (those of attention, here). Returns these."""
    module.requires_grad_(False)
    thin = []
    for layer in [m for m in module.modules() if type(m) is nn.Linear]:
        layer.__class__ = LowRankLinear
        layer.low_rank_in = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        layer.low_rank_out = nn.Parameter(torch.zeros(layer.out_features, rank))
        thin += [layer.low_rank_in, layer.low_rank_out]
    return thin


class Thin(nn.Module):
    """Some parameters of another module, as one to be trained."""

    def __init__(self, parameters: list[nn.Parameter]):
        super().__init__()
        self.parameters_ = nn.ParameterList(parameters)


def with_missing(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model without thin matrices, with this model's own where it has them."""
    own = {k: v for k, v in model.state_dict().items() if k.rpartition(".")[2].startswith(MARK)}
    return own | tensors
