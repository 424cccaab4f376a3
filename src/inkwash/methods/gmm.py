"""Gaussian mixture: images as points of a cloud that is a sum of Gaussians.

    p(x) = sum over k of w_k N(x; m_k, S_k)

Fitted by expectation and maximisation, from scikit-learn. Covariances of whole images are large, so the mixture may live on the first
principal components, with one Gaussian for all that they leave over: the whole is still a density of pixels. "factors" gives every
component a covariance of few factors and a variance of its own for each pixel, fitted to the images that it is the likeliest for.

References: 1. Dempster, Laird and Rubin 1977, Maximum Likelihood from Incomplete Data via the EM Algorithm. 2. Tipping and Bishop 1999,
Mixtures of Probabilistic Principal Component Analysers. 3. Ghahramani and Hinton 1996, The EM Algorithm for Mixtures of Factor Analyzers.
4. Richardson and Weiss 2018, On GANs and GMMs.
"""

import importlib
import math
from types import ModuleType
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inkwash.core.batch import Condition
from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Completer, Fittable, Likelihood, Model, OnStep, Options
from inkwash.core.rng import Rng

ROUNDS = 5  # of choosing images and fitting factors to them


def learn(part: str) -> ModuleType:
    """A part of scikit-learn. Raises ConfigError without the extra."""
    try:
        return importlib.import_module(f"sklearn.{part}")
    except ImportError as error:
        raise ConfigError("This model is fitted by scikit-learn, an extra: pip install 'inkwash[classical]'.") from error


class GMMConfig(ModelConfig):
    """shape: (C, H, W). components: Gaussians. covariance: "full" or "diag" ones, or "factors" and how many. pca: principal components
    that the mixture lives on, 0 for the pixels themselves. floor: least variance of a direction, in pixels of [-1, 1].
    """

    kind: Literal["gmm"] = "gmm"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    components: int = Field(20, ge=1)
    covariance: Literal["full", "diag", "factors"] = "full"
    factors: int = Field(10, ge=1)
    pca: int = Field(0, ge=0)
    floor: float = Field(1e-3, gt=0)

    def build(self) -> "GMM":
        return GMM(self)


class GMMOptions(Options):
    """temperature: factor on the spread of each Gaussian."""

    temperature: float = Field(1.0, ge=0)


class GMM(Model, Completer, Likelihood, Fittable):
    """A few Gaussians over pixels or principal components: weights, means and the triangular roots of covariances."""

    Options = GMMOptions
    tag = "density"
    accepts = frozenset({"image", "mask"})

    def __init__(self, config: GMMConfig):
        super().__init__(config)
        k, pixels = config.components, math.prod(config.shape)
        if config.pca and (config.pca >= pixels or config.covariance == "factors"):
            raise ConfigError("model.pca is smaller than the number of pixels, and goes with full or diag covariances.")
        d = config.pca or pixels
        frozen = {"log_weight": (k,), "mean": (k, d), "root": (k, d, d), "centre": (pixels,), "axes": (config.pca, pixels), "rest": ()}
        for name, shape in frozen.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape), requires_grad=False))
        self.root.copy_(torch.eye(d).expand_as(self.root))

    # ---- fitting

    def fit(self, images: Tensor, labels: Tensor | None, rng: Rng, on_step: OnStep | None = None) -> None:
        """images: (N, C, H, W) in [-1, 1], as uniform noise within their levels makes them continuous."""
        mixture = learn("mixture")
        x = self._continuous(images, rng).double()
        if self.config.pca:
            self._find_axes(x)
        z = self._inner(x)[0].numpy()
        seed, kind = rng.keys[0] % 2**31, "diag" if self.config.covariance == "factors" else self.config.covariance
        found = mixture.GaussianMixture(self.config.components, covariance_type=kind, reg_covar=self.config.floor, random_state=seed).fit(z)
        covariances = torch.from_numpy(found.covariances_)
        self._set(
            torch.from_numpy(found.weights_),
            torch.from_numpy(found.means_),
            covariances if kind == "full" else torch.diag_embed(covariances),
        )
        for done in range(ROUNDS if self.config.covariance == "factors" else 0):
            self._fit_factors(x, seed)
            if on_step:
                on_step(done + 1, ROUNDS)

    def _continuous(self, images: Tensor, rng: Rng) -> Tensor:
        width = 2 / (self.levels - 1)
        return (images + width * (rng.fork("noise").uniform(*images.shape[1:]) - 0.5)).flatten(1)

    def _find_axes(self, x: Tensor) -> None:
        centre = x.mean(0)
        _, s, v = torch.linalg.svd(x - centre, full_matrices=False)
        kept, left = self.config.pca, x.shape[1] - self.config.pca
        self.centre.copy_(centre)
        self.axes.copy_(v[:kept])
        self.rest.copy_((s[kept:].square().sum() / (len(x) * left)).clamp(min=self.config.floor))

    def _set(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.log_weight.copy_(weights.log())
        self.mean.copy_(means)
        self.root.copy_(torch.linalg.cholesky(covariances))

    def _fit_factors(self, x: Tensor, seed: int) -> None:
        """A factor analysis of the images that each component is the likeliest for; one with too few keeps what it had."""
        analysis = learn("decomposition").FactorAnalysis
        mine = self.parts(x).argmax(1)
        weights, means = self.log_weight.double().exp(), self.mean.double()
        covariances = self.root.double() @ self.root.double().mT
        for k in range(self.config.components):
            own = x[mine == k]
            if len(own) <= self.config.factors + 1:
                continue
            found = analysis(self.config.factors, random_state=seed).fit(own.numpy())
            covariance = torch.from_numpy(found.get_covariance())
            covariances[k] = covariance + self.config.floor * torch.eye(len(covariance), dtype=covariance.dtype)
            weights[k], means[k] = len(own) / len(x), torch.from_numpy(found.mean_)
        self._set(weights / weights.sum(), means, covariances)

    # ---- densities

    def _inner(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Pixels (N, V) as what the mixture is over (N, D), and the log-density of what that leaves over."""
        if not self.config.pca:
            return x, 0.0
        away, axes = x - self.centre.to(x.dtype), self.axes.to(x.dtype)
        z = away @ axes.t()
        left, rest = x.shape[1] - self.config.pca, self.rest.to(x.dtype)
        return z, -0.5 * ((away.square().sum(1) - z.square().sum(1)) / rest + left * (rest.log() + math.log(2 * math.pi)))

    def parts(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; m_k, S_k) of every component: (N, V) to (N, K)."""
        z, left = self._inner(x)
        root, mean = self.root.to(x.dtype), self.mean.to(x.dtype)
        log_det = root.diagonal(dim1=1, dim2=2).log().sum(1)
        out = []
        for k in range(len(mean)):
            white = torch.linalg.solve_triangular(root[k], (z - mean[k]).t(), upper=False)  # (D, N)
            out.append(self.log_weight[k].to(x.dtype) - 0.5 * white.square().sum(0) - log_det[k])
        total = torch.stack(out, dim=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
        return total if isinstance(left, float) else total + left[:, None]

    def nats(self, x: Tensor) -> Tensor:
        """Nats of pixels as real numbers in [-1, 1]: (N, V) to (N,)."""
        return self.parts(x).logsumexp(1)

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        """Of the levels, under uniform noise within each: the density times a level's volume."""
        with torch.autocast(x.device.type, enabled=False):
            return self.nats(self._continuous(x, rng).double()) + x[0].numel() * math.log(2 / (self.levels - 1))

    def sample(self, rng: Rng, cond: Condition, options: GMMOptions, on_step: OnStep | None = None) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            if cond.image is not None:
                return self._completed(cond, rng, options)
            u, noise = rng.uniform(), rng.normal(self.mean.shape[1])
            k = torch.searchsorted(self.log_weight.exp().cumsum(0), u).clamp(max=len(self.mean) - 1)
            x = self.mean[k] + options.temperature * (self.root[k] @ noise[:, :, None])[..., 0]
            if self.config.pca:
                x = self.centre + x @ self.axes
        return x.clamp(-1, 1).unflatten(1, self.config.shape)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Means (K, V) and covariances (K, V, V) of whole images, in float64."""
        mean, root = self.mean.double(), self.root.double()
        if not self.config.pca:
            return mean, root @ root.mT
        axes, rest = self.axes.double(), self.rest.double()
        left = rest * (torch.eye(axes.shape[1], dtype=axes.dtype, device=axes.device) - axes.t() @ axes)
        return self.centre.double() + mean @ axes, axes.t() @ (root @ root.mT) @ axes + left

    def _completed(self, cond: Condition, rng: Rng, options: GMMOptions) -> Tensor:
        """New pixels given all the known ones, wherever they lie: exact conditionals of each Gaussian."""
        means, covariances = self.moments()
        given = cond.image.flatten(1).double()
        wanted = cond.mask.expand(-1, self.config.shape[0], -1, -1).flatten(1) > 0
        u, noise, out = rng.uniform().double(), rng.normal(given.shape[1]).double(), given.clone()
        for i, (x, new) in enumerate(zip(given, wanted)):
            old = ~new
            inside = torch.linalg.cholesky(covariances[:, old][:, :, old])  # (K, A, A)
            white = torch.linalg.solve_triangular(inside, (x[old] - means[:, old])[:, :, None], upper=False)  # (K, A, 1)
            fits = self.log_weight.double() - 0.5 * white.square().sum((1, 2)) - inside.diagonal(dim1=1, dim2=2).log().sum(1)
            k = int(torch.searchsorted(fits.softmax(0).cumsum(0), u[i]).clamp(max=len(fits) - 1))
            across = torch.linalg.solve_triangular(inside[k], covariances[k][old][:, new], upper=False)  # (A, B)
            left = covariances[k][new][:, new] - across.t() @ across
            root = torch.linalg.cholesky(left + 1e-9 * torch.eye(len(left), dtype=left.dtype, device=left.device))
            out[i, new] = means[k][new] + (across.t() @ white[k])[:, 0] + options.temperature * (root @ noise[i, new])
        return out.clamp(-1, 1).to(cond.image.dtype).unflatten(1, self.config.shape)
