"""Muon: momentum whose matrices are made orthogonal before each step, and AdamW for everything that is no matrix.

Adam scales every number by itself; Muon scales every direction of a layer: the update U S V^T of a weight matrix becomes U V^T, so that
weak directions learn as fast as strong ones. A convolution's weight counts as a matrix of (out, in x k x k).

References: 1. Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks (momentum, Newton-Schulz coefficients).
2. Liu et al. 2025, Muon is Scalable for LLM Training (one learning rate for both: the update's size is matched to Adam's).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST = 32  # a matrix with a shorter side than this has few directions: Adam's
SIZE = 0.3  # root mean square of an update, in learning rates


def matrices(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The weights of linear and convolution layers, both sides at least SMALLEST long: what is orthogonalised."""
    weights = (m.weight for module in modules for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
    return [w for w in dict.fromkeys(weights) if min(len(w), w[0].numel()) >= SMALLEST]


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """U V^T of each U S V^T in (B, m, n), roughly: singular values end between 0.7 and 1.2.

    Newton-Schulz iteration of the quintic a x + b x^3 + c x^5, in bf16 as its authors do. (Reference 1.)
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    if tall := g.shape[-2] > g.shape[-1]:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def as_matrix(u: Tensor) -> Tensor:
    """(out, in) as it is; (out, in, k, k) to (out, k k in), as it lies in memory channels-last."""
    return (u.permute(0, 2, 3, 1) if u.ndim == 4 else u).reshape(len(u), -1)


def as_weight(u: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `as_matrix`."""
    return u.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2) if len(shape) == 4 else u


class Muon(torch.optim.AdamW):
    """A fused AdamW over every parameter but `orthogonal`, which take orthogonalised steps of the same learning rate.

    found_inf is honoured as by fused AdamW: where it is 1 nothing moves, momentum included.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        orthogonal: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float = 0.95,
    ):
        params, ids = list(params), {id(p) for p in orthogonal}
        self.orthogonal, self.momentum = [p for p in params if id(p) in ids], momentum
        super().__init__([p for p in params if id(p) not in ids], lr=lr, betas=betas, weight_decay=weight_decay, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for p in self.orthogonal:
            p.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        super().step()
        bad = getattr(self, "found_inf", None)
        moving = [p for p in self.orthogonal if p.grad is not None]
        moments = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in moving]
        grads = [p.grad for p in moving]
        if bad is not None:
            grads = [torch.where(bad > 0, m, g) for g, m in zip(grads, moments)]
        torch._foreach_lerp_(moments, grads, 1 - self.momentum)
        ahead = torch._foreach_lerp(grads, moments, self.momentum)  # Nesterov's
        alike: dict[torch.Size, list[int]] = {}
        for i, p in enumerate(moving):
            alike.setdefault(p.shape, []).append(i)
        for shape, indices in alike.items():
            self._move([moving[i] for i in indices], torch.stack([as_matrix(ahead[i]) for i in indices]), shape, bad)

    def _move(self, weights: list[Tensor], updates: Tensor, shape: torch.Size, bad: Tensor | None) -> None:
        """updates: (B, m, n), of weights of one shape. Their size is what Adam's would be, whatever m and n are."""
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        rate = torch.as_tensor(lr, device=updates.device) if bad is None else lr * (1 - bad)
        step = orthogonalise(updates).float() * (SIZE * max(updates.shape[1:]) ** 0.5 * rate)
        if decay:
            torch._foreach_mul_(weights, 1 - rate * decay)
        torch._foreach_sub_(weights, [as_weight(u, shape) for u in step])
