"""Paths from data to noise, x_t = a(t) x0 + s(t) noise with t in [0, 1], and what a network may predict along them.

References: 1. Ho et al. 2020 (VP, eps). 2. Song et al. 2021, arXiv:2011.13456 (VP-linear in continuous time, appendix C).
3. Nichol and Dhariwal 2021 (cosine). 4. Salimans and Ho 2022 (v). 5. Lipman et al. 2023; Liu et al. 2023 (flow).
6. Karras et al. 2022 (EDM: noise added to an image that is left as it is; table 1 for the preconditioning).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

PathName = Literal["flow", "vp-cosine", "vp-linear", "edm"]
Prediction = Literal["flow", "v", "eps", "x0", "edm"]
Point = tuple[float, float, float]  # (t, a, s)
Grid = list[Point]  # t falling from noise to an image
Denoiser = Callable[[Tensor, float], Tensor]  # (x_t, t) to D, the estimate of clean x


@dataclass(frozen=True)
class Path:
    """a, s: functions of t in [0, 1]. time: their inverse, from sigma = s / a to t. start: where sampling begins, with a almost gone."""

    name: str
    a: Callable[[Tensor], Tensor]
    s: Callable[[Tensor], Tensor]
    time: Callable[[Tensor], Tensor]
    start: float

    def at(self, t: float) -> Point:
        """The grid point (t, a, s), in double precision."""
        clock = torch.tensor(t, dtype=torch.float64)
        return t, self.a(clock).item(), self.s(clock).item()

    def of_sigma(self, sigma: float) -> float:
        """The t at which noise is sigma times as strong as the image."""
        return self.time(torch.tensor(sigma, dtype=torch.float64)).item()


_LOW, _HIGH = 0.1, 20.0  # beta(t) rises linearly between these (reference 2, equation 33)


def _log_a_linear(t: Tensor) -> Tensor:
    return -0.25 * t**2 * (_HIGH - _LOW) - 0.5 * t * _LOW


def _time_linear(sigma: Tensor) -> Tensor:
    twice = torch.log1p(sigma * sigma)  # -2 log a, a quadratic of t
    return 2 * twice / ((_LOW * _LOW + 2 * (_HIGH - _LOW) * twice).sqrt() + _LOW)


def _share(sigma: Tensor) -> Tensor:
    return sigma / (1 + sigma)


PATHS: dict[str, Path] = {
    "flow": Path("flow", lambda t: 1 - t, lambda t: t, _share, 0.999),
    "vp-cosine": Path(
        "vp-cosine", lambda t: (t * math.pi / 2).cos(), lambda t: (t * math.pi / 2).sin(), lambda r: r.atan() * 2 / math.pi, 0.999
    ),
    "vp-linear": Path(
        "vp-linear", lambda t: _log_a_linear(t).exp(), lambda t: (-torch.expm1(2 * _log_a_linear(t))).sqrt(), _time_linear, 1.0
    ),
    # The same mixtures as the flow path's, t = sigma / (1 + sigma), but divided by 1 - t: the image stays, noise grows to 80.
    "edm": Path("edm", torch.ones_like, lambda t: t / (1 - t), _share, 80 / 81),
}


def scales(a, s, data_std: float):
    """EDM's preconditioning on any path (reference 6, table 1, with x / a for its x): D = skip x + out f(input x). (skip, out, input).

    a, s: numbers or tensors. With data_std 1 on a VP path this is the v prediction.
    """
    total = a * a * data_std**2 + s * s
    return a * data_std**2 / total, s * data_std / total**0.5, total**-0.5


def target(prediction: Prediction, x0: Tensor, noise: Tensor, a: Tensor, s: Tensor, data_std: float = 0.5) -> Tensor:
    """What the network is asked for: noise - x0 (flow), a noise - s x0 (v), noise (eps), x0, or EDM's mix of x0 and x."""
    if prediction == "flow":
        return noise - x0
    if prediction == "v":
        return a * noise - s * x0
    if prediction == "edm":
        skip, out, _ = scales(a, s, data_std)
        return (x0 - skip * (a * x0 + s * noise)) / out
    return noise if prediction == "eps" else x0


def clean(prediction: Prediction, x: Tensor, out: Tensor, a, s, data_std: float = 0.5) -> Tensor:
    """D, the estimate of x0, from x = a x0 + s noise and the network's output: `target` solved for x0. a, s: numbers or tensors."""
    if prediction == "flow":
        return (x - s * out) / (a + s)
    if prediction == "v":
        return (a * x - s * out) / (a * a + s * s)
    if prediction == "edm":
        skip, gain, _ = scales(a, s, data_std)
        return skip * x + gain * out
    return (x - s * out) / a if prediction == "eps" else out


def stretch(prediction: Prediction, a: Tensor, s: Tensor, data_std: float = 0.5) -> Tensor:
    """How much an error of D weighs in the prediction: |d prediction / d D| at a fixed x."""
    if prediction == "flow":
        return (a + s) / s
    if prediction == "v":
        return (a * a + s * s) / s
    if prediction == "edm":
        return 1 / scales(a, s, data_std)[1]
    return a / s if prediction == "eps" else torch.ones_like(s)


def toward(x: Tensor, d: Tensor, here: Point, there: Point, eta: float = 0.0, z: Tensor | None = None) -> Tensor:
    """One step along the path when clean x is believed to be d; eta = 0 keeps the noise, eta = 1 draws the DDPM posterior."""
    (_, a, s), (_, a2, s2) = here, there
    if s == 0:  # from a clean image there is no noise to keep
        return a2 * d + s2 * z
    e = (x - a * d) / s
    if eta == 0 or s2 == 0:
        return a2 * d + s2 * e
    k = s2 * a / (a2 * s)
    fresh = 1 - k * k
    return a2 * d + s2 * math.sqrt(1 - eta * eta * fresh) * e + eta * s2 * math.sqrt(fresh) * z


def gap(here: Point, there: Point) -> float:
    """The step in log-SNR, h = log(a'/s') - log(a/s); infinite from no signal and into no noise."""
    (_, a, s), (_, a2, s2) = here, there
    return math.log(a2 * s / (s2 * a)) if s2 and a else math.inf


def toward_rows(x: Tensor, d: Tensor, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor]) -> Tensor:
    """`toward` without fresh noise, where each row has levels (a, s) of its own, (N, 1, 1, 1)."""
    (a, s), (a2, s2) = here, there
    return a2 * d + s2 / s * (x - a * d)
