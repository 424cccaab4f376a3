"""The games that a critic and a generator play: for each, what the critic minimises and what the generator does.

r and f are the critic's scores of real images and of drawings, (N,) each, high for what it takes for real. softplus(-s) is
-log sigmoid(s), the cross-entropy of calling a score s real.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Game:
    """critic(r, f) and generator(r, f): losses row by row, (N,). paired: the generator's needs the scores of real images too."""

    critic: Score
    generator: Score
    paired: bool = False


GAMES = {
    # Goodfellow et al. 2014, equation 1: min over G of log(1 - sigmoid(f)), flat where the critic is sure.
    "minimax": Game(lambda r, f: F.softplus(-r) + F.softplus(f), lambda r, f: -F.softplus(f)),
    # The same, section 3: G raises log sigmoid(f) instead, and learns most where the critic is sure.
    "non-saturating": Game(lambda r, f: F.softplus(-r) + F.softplus(f), lambda r, f: F.softplus(-f)),
    # Mao et al. 2017, equation 9: scores are pulled to 1 and 0, so that a drawing far on the right side still learns.
    "least-squares": Game(lambda r, f: ((r - 1).square() + f.square()) / 2, lambda r, f: (f - 1).square() / 2),
    # Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17: the critic stops where it is right by a margin.
    "hinge": Game(lambda r, f: F.relu(1 - r) + F.relu(1 + f), lambda r, f: -f),
    # Arjovsky et al. 2017, equation 2: an estimate of the distance, as long as the critic's slope is held to 1.
    "wasserstein": Game(lambda r, f: f - r, lambda r, f: -f),
    # Jolicoeur-Martineau 2018: a drawing is only as good as it is beside a real image, so no mode may be left behind.
    "relativistic": Game(lambda r, f: F.softplus(f - r), lambda r, f: F.softplus(r - f), paired=True),
}


def slope(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """|| grad_x critic(x) ||^2 of each row, in fp32 and differentiable: (N, ...) to (N,)."""
    x = x.detach().float().requires_grad_()
    with torch.autocast(x.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def coverage(real: Tensor, drawn: Tensor, k: int = 3) -> Tensor:
    """Share of real rows that have a drawing nearer than their k-th real neighbour (Naeem et al. 2020): (N, D), (M, D) to a scalar.

    1 - 2^-k or so where both are alike and N = M; it falls as modes go missing.
    """
    if len(real) <= k:
        return torch.ones((), device=real.device)
    own = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # (N,), the first is the row itself
    return (torch.cdist(real, drawn).min(1).values < own).float().mean()
