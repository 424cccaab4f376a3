"""Muon: momentum whose matrices are made orthogonal before each step, and AdamW for everything that is no matrix.

Adam scales every number by itself; Muon scales every direction of a layer: the update U S V^T of a weight matrix becomes U V^T, so that
weak directions learn as fast as strong ones. A convolution's weight counts as a matrix of (out, in x k x k).

References: 1. Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks (momentum, Newton-Schulz coefficients).
2. Liu et al. 2025, Muon is Scalable for LLM Training (one learning rate for both: the update's size is matched to Adam's).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from inkwash.nn.layers import VectorLinear

SMALLEST = 32  # a matrix with a shorter side than this has few directions: Adam's
SIZE = 0.3  # root mean square of an update, in learning rates


def matrices(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The weights of convolutions and of linear layers that see pixels or tokens, both sides at least SMALLEST long.

    A layer that sees one vector an image has gradients of low rank: it does a little worse this way, and costs as much.
    """
    kinds = (nn.Linear, nn.Conv2d)
    weights = (m.weight for module in modules for m in module.modules() if isinstance(m, kinds) and not isinstance(m, VectorLinear))
    return [w for w in dict.fromkeys(weights) if min(len(w), w[0].numel()) >= SMALLEST]


def orthogonalise(x: Tensor, steps: int = 5) -> Tensor:
    """U V^T of each U S V^T in (B, m, n), roughly: singular values end between 0.7 and 1.2. In the precision of x; bf16 is enough.

    Newton-Schulz iteration of the quintic a x + b x^3 + c x^5 = (a I + (b I + c x x^T) x x^T) x. (Reference 1.)
    """
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if x.dtype == torch.float32 and x.shape[-1] > 2 * x.shape[-2]:
        x = by_squares(x, steps)
    else:
        for _ in range(steps):
            x = quintic(x @ x.mT) @ x
    return x.mT if tall else x


def quintic(square: Tensor) -> Tensor:
    """a I + (b I + c x x^T) x x^T, from x x^T."""
    a, b, c = 3.4445, -4.7750, 2.0315
    inner = c * square
    inner.diagonal(dim1=-2, dim2=-1).add_(b)
    factor = inner @ square
    factor.diagonal(dim1=-2, dim2=-1).add_(a)
    return factor


def by_squares(x: Tensor, steps: int) -> Tensor:
    """The same iteration on x x^T alone, of (B, m, m): the wide x is multiplied twice, not ten times.

    All factors are polynomials in x x^T and commute. Not in bf16: rounding errors would grow twelvefold in every step.
    """
    square = x @ x.mT
    whole = factor = quintic(square)
    for _ in range(steps - 1):
        square = factor @ square @ factor
        factor = quintic(square)
        whole = factor @ whole
    return whole @ x


def as_matrix(u: Tensor) -> Tensor:
    """(out, in) as it is; (out, in, k, k) to (out, k k in), as it lies in memory channels-last."""
    return (u.permute(0, 2, 3, 1) if u.ndim == 4 else u).reshape(len(u), -1)


def as_weight(u: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `as_matrix`."""
    return u.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2) if len(shape) == 4 else u


class Muon(torch.optim.AdamW):
    """A fused AdamW over every parameter but `orthogonal`, which take orthogonalised steps of the same learning rate.

    half: orthogonalise in bf16, which is fast with matrix units and slower than anything else without. found_inf is honoured as by
    fused AdamW: where it is 1 nothing moves, momentum included.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        orthogonal: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float = 0.95,
        half: bool = False,
    ):
        params, ids = list(params), {id(p) for p in orthogonal}
        self.orthogonal, self.momentum = [p for p in params if id(p) in ids], momentum
        self.dtype = torch.bfloat16 if half else torch.float32
        super().__init__([p for p in params if id(p) not in ids], lr=lr, betas=betas, weight_decay=weight_decay, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for p in self.orthogonal:
            p.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        super().step()
        bad = getattr(self, "found_inf", None)
        if bad is not None and bad.device.type == "cpu":
            if bad.item():
                return
            bad = None
        alike: dict[torch.Size, list[nn.Parameter]] = {}
        for p in self.orthogonal:
            if p.grad is not None:
                alike.setdefault(p.shape, []).append(p)
        for shape, weights in alike.items():
            self._move(weights, shape, bad)

    def _move(self, weights: list[nn.Parameter], shape: torch.Size, bad: Tensor | None) -> None:
        """Move weights of one shape. A step's size is what Adam's would be, whatever the shape is."""
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        for p in weights:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        moments = [self.state[p]["momentum"] for p in weights]
        grads = [p.grad for p in weights]
        if bad is not None:  # on a GPU, without waiting for it: a bad gradient gives way to the momentum, and its step to none
            grads = [torch.where(bad > 0, m, g) for g, m in zip(grads, moments)]
        torch._foreach_lerp_(moments, grads, 1 - self.momentum)
        ahead = torch._foreach_lerp(grads, moments, self.momentum)  # Nesterov's
        stack = torch.empty(len(weights), shape[0], ahead[0][0].numel(), dtype=self.dtype, device=ahead[0].device)
        for row, u in zip(stack, ahead):
            row.copy_(as_matrix(u))
        size = SIZE * max(stack.shape[1:]) ** 0.5 * lr
        for p, u in zip(weights, orthogonalise(stack)):
            update = as_weight(u, shape)
            if bad is not None:
                update = update * (1 - bad)
            if decay:
                p.mul_(1 - lr * decay * (1 if bad is None else 1 - bad))
            p.sub_(update, alpha=size)
