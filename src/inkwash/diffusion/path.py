"""Paths from data to noise, x_t = a(t) x0 + s(t) noise with t in [0, 1], and what a network may predict along them.

References: 1. Ho et al. 2020 (VP, eps). 2. Song et al. 2021, arXiv:2011.13456 (VP-linear in continuous time, appendix C).
3. Nichol and Dhariwal 2021 (cosine). 4. Salimans and Ho 2022 (v). 5. Lipman et al. 2023; Liu et al. 2023 (flow).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

PathName = Literal["flow", "vp-cosine", "vp-linear"]
Prediction = Literal["flow", "v", "eps", "x0"]
Denoiser = Callable[[Tensor, float], Tensor]  # (x_t, t) to D, the estimate of clean x


@dataclass(frozen=True)
class Path:
    """a, s: functions of t in [0, 1]. start: where sampling begins, just before the signal a is gone."""

    name: str
    a: Callable[[Tensor], Tensor]
    s: Callable[[Tensor], Tensor]
    start: float

    def at(self, t: float) -> tuple[float, float, float]:
        """The grid point (t, a, s), in double precision."""
        clock = torch.tensor(t, dtype=torch.float64)
        return t, self.a(clock).item(), self.s(clock).item()


def _log_a_linear(t: Tensor) -> Tensor:
    low, high = 0.1, 20.0  # beta(t) rises linearly between these (reference 2, equation 33)
    return -0.25 * t**2 * (high - low) - 0.5 * t * low


PATHS: dict[str, Path] = {
    "flow": Path("flow", lambda t: 1 - t, lambda t: t, 0.999),
    "vp-cosine": Path("vp-cosine", lambda t: (t * math.pi / 2).cos(), lambda t: (t * math.pi / 2).sin(), 0.999),
    "vp-linear": Path("vp-linear", lambda t: _log_a_linear(t).exp(), lambda t: (-torch.expm1(2 * _log_a_linear(t))).sqrt(), 1.0),
}


def target(prediction: Prediction, x0: Tensor, noise: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """What the network is asked for: noise - x0 (flow), a noise - s x0 (v), noise (eps) or x0."""
    if prediction == "flow":
        return noise - x0
    if prediction == "v":
        return a * noise - s * x0
    return noise if prediction == "eps" else x0


def clean(prediction: Prediction, x: Tensor, out: Tensor, a: float, s: float) -> Tensor:
    """D, the estimate of x0, from x = a x0 + s noise and the network's output: `target` solved for x0."""
    if prediction == "flow":
        return (x - s * out) / (a + s)
    if prediction == "v":
        return (a * x - s * out) / (a * a + s * s)
    return (x - s * out) / a if prediction == "eps" else out
