"""Muon: momentum whose matrices are made orthogonal before each step, and AdamW for everything that is no matrix.

Adam scales every number by itself; Muon scales every direction of a layer: the update U S V^T of a weight matrix becomes U V^T, so that
weak directions learn as fast as strong ones. A convolution's weight counts as a matrix of (out, in x k x k).

References: 1. Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks (momentum, Newton-Schulz coefficients).
2. Liu et al. 2025, Muon is Scalable for LLM Training (one learning rate for both: the update's size is matched to Adam's).
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST = 32  # a matrix with a shorter side than this has few directions: Adam's
SIZE = 0.3  # root mean square of an update, in learning rates


def is_matrix(p: nn.Parameter) -> bool:
    """Whether a parameter is a hidden layer's matrix: linear or convolution, both sides at least SMALLEST long."""
    return p.ndim in (2, 4) and min(len(p), p[0].numel()) >= SMALLEST


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with orthonormal rows or columns to each of (B, m, n), roughly: singular values end between 0.7 and 1.2.

    Newton-Schulz iteration of the quintic a x + b x^3 + c x^5, in bf16 as its authors do. (Reference 1.)
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    if wide := g.shape[-2] > g.shape[-1]:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if wide else x


class Muon(torch.optim.AdamW):
    """A fused AdamW over every parameter but the matrices, which take an orthogonal step of the same learning rate.

    found_inf is honoured as by fused AdamW: where it is 1 nothing moves, momentum included.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float, momentum: float = 0.95):
        params = list(params)
        self.matrices = [p for p in params if is_matrix(p)]
        self.momentum = momentum
        ids = {id(p) for p in self.matrices}
        super().__init__([p for p in params if id(p) not in ids], lr=lr, betas=betas, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        super().step()
        group, alike = self.param_groups[0], defaultdict(list)
        good = 1 - getattr(self, "found_inf", torch.zeros(()))
        for p in self.matrices:
            if p.grad is not None:
                alike[p.shape].append(p)
        for shape, ps in alike.items():
            moments = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in ps]
            grads = [torch.where(good > 0, p.grad, m) for p, m in zip(ps, moments)]  # a bad one leaves the momentum as it is
            torch._foreach_lerp_(moments, grads, 1 - self.momentum)
            ahead = torch._foreach_lerp(grads, moments, self.momentum)  # Nesterov's
            # convolutions are read channels last, as they lie in memory
            stack = torch.stack([(u.permute(0, 2, 3, 1) if u.ndim == 4 else u).reshape(len(u), -1) for u in ahead])  # (B, m, n)
            size = SIZE * max(stack.shape[1:]) ** 0.5 * group["lr"] * good
            for p, u in zip(ps, orthogonalise(stack).float() * size):
                p.mul_(1 - group["lr"] * group["weight_decay"] * good)
                p.sub_(u.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2) if p.ndim == 4 else u)
