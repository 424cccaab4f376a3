"""How probable an image is under a diffusion model: a lower bound by its chain, and the density of its probability flow.

References: 1. Ho et al. 2020, equations 5 to 8 and 13 (the bound, its terms, the discretised decoder). 2. Nichol and Dhariwal 2021,
equation 15 (a learned variance between two known ones). 3. Song et al. 2021, section 4.3 and appendix D.2 (density along the flow).
4. Kingma et al. 2021, VDM (terms of the bound drawn at random leave it unbiased).
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from inkwash.diffusion.path import Denoiser, Path

LOG_2PI = math.log(2 * math.pi)
Number = Tensor | float


def posterior(a: Number, s: Number, a2: Number, s2: Number) -> tuple[Number, Number, Number]:
    """Of x at (a2, s2) given x at (a, s): how much x0 weighs in its mean, its variance when x0 is known, and when x0 is N(0, 1).

    On a variance-preserving path the variances are DDPM's "small" (beta tilde) and "large" (beta).
    """
    fresh = 1 - (s2 * a / (a2 * s)) ** 2
    forward = s * s - (a / a2) ** 2 * s2 * s2
    return a2 * fresh, s2 * s2 * fresh, forward * (a2 * a2 + s2 * s2) / (a * a + s * s)


def learned_log_var(share: Tensor, small: Number, large: Number) -> Tensor:
    """Log-variance of a reverse step: share (any real number, meant in [-1, 1]) goes from `small` to `large` (reference 2)."""
    f = (share + 1) / 2
    log = lambda v: v.log() if isinstance(v, Tensor) else math.log(v)  # noqa: E731
    return f * log(large) + (1 - f) * log(small)


def kl_normal(mean: Number, log_var: Number, mean2: Number, log_var2: Tensor) -> Tensor:
    """KL(N(mean, e^log_var) || N(mean2, e^log_var2)) of each coordinate, in nats."""
    return 0.5 * (log_var2 - log_var - 1 + (log_var - log_var2).exp() + (mean - mean2) ** 2 * (-log_var2).exp())


def step_kl(x0: Tensor, d: Tensor, a: Tensor, s: Tensor, a2: Tensor, s2: Tensor, share: Tensor | None = None) -> Tensor:
    """KL between the true and the believed posterior of one step, (N,) nats. a, s: of the noisier end, (N, 1, 1, 1).

    share: what the model says of the variance; None for the small one, where only the means differ.
    """
    weight, small, large = posterior(a, s, a2, s2)
    log_small = small.log()
    log_var = log_small.expand_as(d) if share is None else learned_log_var(share, small, large)
    return kl_normal(weight * x0, log_small, weight * d, log_var).flatten(1).sum(1)


def prior_kl(x0: Tensor, a: float, s: float) -> Tensor:
    """KL between x at the noisy end and the noise that sampling starts from, N(0, s^2), in nats: (N,)."""
    return 0.5 * (a * x0 / s).square().flatten(1).sum(1)


def discretised(x0: Tensor, mean: Tensor, log_std: Tensor, levels: int = 256) -> Tensor:
    """Log-probability of `levels` grey values in [-1, 1] under a normal whose mass is cut at the half-way points, (N,) nats.

    The outer values get the tails (reference 1, equation 13).
    """
    half, std = 1 / (levels - 1), log_std.exp()
    upper = torch.where(x0 > 1 - half, torch.inf, (x0 + half - mean) / std)
    lower = torch.where(x0 < -1 + half, -torch.inf, (x0 - half - mean) / std)
    flip = lower > 0  # both ends in the upper tail: take the mirror image, where differences keep their digits
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    high, low = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    mass = high + torch.log1p(-(low - high).exp().clamp(max=1 - 1e-7))
    return mass.flatten(1).sum(1)


def flow_log_density(
    denoise: Denoiser,
    x: Tensor,
    path: Path,
    probes: Iterable[Tensor],
    steps: int = 20,
    low: float = 2e-3,
    high: float = 1e3,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Log-density (N,) of x as a clean image under the probability flow, in nats; a density, not a probability.

    On y = x / a in u = log(s / a) the flow is dy/du = y - D with divergence dim(y) - trace(dD/dy), integrated by the classical
    Runge-Kutta method between the sigmas `low` and `high`. probes: tensors of +1 and -1 like x, over which the trace is averaged
    (Hutchinson's estimate; exact where the Jacobian is diagonal). Costs 4 `steps` evaluations, with a gradient for each probe.
    (Reference 3.)
    """
    _, a, s = path.at(path.start)
    high = min(high, s / a)
    probes, width = list(probes), math.log(high / low) / steps

    def slope(y: Tensor, u: float) -> tuple[Tensor, Tensor]:
        t, a, _ = path.at(path.of_sigma(math.exp(u)))
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            d = denoise(a * y, t)
            traces = [(torch.autograd.grad(d, y, v, retain_graph=True)[0] * v).flatten(1).sum(1) for v in probes]
        return (y - d).detach(), y[0].numel() - torch.stack(traces).mean(0).to(total.dtype)

    y, u = x, math.log(low)
    total = torch.zeros(len(x), dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
    for i in range(steps):
        parts = [slope(y, u)]
        for part in (0.5, 0.5, 1.0):
            parts.append(slope(y + part * width * parts[-1][0], u + part * width))
        (k1, div1), (k2, div2), (k3, div3), (k4, div4) = parts
        y, u = y + width * (k1 + 2 * k2 + 2 * k3 + k4) / 6, u + width
        total += width * (div1 + 2 * div2 + 2 * div3 + div4) / 6
        if on_step:
            on_step(i + 1, steps)
    return total - 0.5 * (y / high).square().flatten(1).sum(1) - y[0].numel() * (math.log(high) + LOG_2PI / 2)
