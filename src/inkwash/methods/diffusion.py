"""Diffusion: learn to remove noise; then start from noise alone and remove it step by step.

An image x0 is mixed with noise along a path x_t = a(t) x0 + s(t) noise. A network that sees x_t and t is trained to predict the
noise, the image or a mix of both, by plain least squares:

    loss = E || net(x_t, t) - target(x0, noise, t) ||^2

Any such prediction gives D(x_t, t), the best guess of x0, and D is all that a solver needs to walk from t = 1 to t = 0.
With class labels, the label is dropped for a tenth of the rows, so that one network also knows images without a label; sampling
can then exaggerate the difference (classifier-free guidance).

References: 1. Ho, Jain and Abbeel 2020, Denoising Diffusion Probabilistic Models. 2. Song et al. 2021, Score-Based Generative
Modeling through SDEs. 3. Lipman et al. 2023, Flow Matching for Generative Modeling. 4. Ho and Salimans 2022, Classifier-Free
Diffusion Guidance. 5. Esser et al. 2024, Scaling Rectified Flow Transformers (logit-normal times).
"""

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Model, OnStep, Options, Sampler
from inkwash.core.objective import Objective
from inkwash.core.rng import Rng
from inkwash.diffusion.guidance import clamped, guided
from inkwash.diffusion.path import PATHS, Denoiser, PathName, Prediction, clean, target
from inkwash.diffusion.grids import uniform
from inkwash.diffusion.solvers import SOLVERS, evaluations
from inkwash.nn.unet import UNet, UNetConfig

GOLDEN = 0.6180339887498949


class DiffusionConfig(ModelConfig):
    """shape: (C, H, W). classes: names by label, empty for none. path and prediction as in `inkwash.diffusion.path`."""

    kind: Literal["diffusion"] = "diffusion"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    path: PathName = "flow"
    prediction: Prediction = "flow"
    net: UNetConfig = UNetConfig()

    def build(self) -> "Diffusion":
        return Diffusion(self)


class DiffusionOptions(Options):
    """solver: how to walk from noise to image. steps: how many. guidance: 1 is off, above 1 exaggerates the class.

    eta: fresh noise in ddim, 0 none to 1 as ddpm. clamp: keep every estimate of the image within the range of pixels.
    """

    solver: Literal["dpmpp-2m", "heun", "ddim", "ddpm"] = "dpmpp-2m"
    steps: int = Field(20, ge=1, le=10000)
    guidance: float = Field(1.0, ge=0)
    eta: float = Field(0.0, ge=0, le=1)
    clamp: bool = True


class Diffusion(Model, Sampler):
    """A denoiser of images, and the solvers' face to it."""

    Options = DiffusionOptions

    def __init__(self, config: DiffusionConfig):
        super().__init__(config)
        self.accepts = frozenset({"label"} if config.classes else ())
        channels = config.shape[0]
        self.path = PATHS[config.path]
        self.net = UNet(config.net, channels, channels, len(config.classes))

    def denoiser(self, cond: Condition) -> Denoiser:
        """D(x, t) under a condition."""

        def denoise(x: Tensor, t: float) -> Tensor:
            _, a, s = self.path.at(t)
            out = self.net(x, torch.full((len(x),), t, device=x.device), cond.label).float()
            return clean(self.config.prediction, x, out, a, s)

        return denoise

    def sample(self, rng: Rng, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None) -> Tensor:
        shape = self.config.shape
        grid = uniform(self.path, options.steps)
        if options.guidance == 1 or not self.config.classes or cond.label is None:
            denoise = self.denoiser(cond)
        else:
            null = torch.full_like(cond.label, len(self.config.classes))
            denoise = guided(self.denoiser(Condition(label=torch.cat([cond.label, null]))), options.guidance)
        if options.clamp:
            denoise = clamped(denoise)
        extra = {"eta": options.eta} if options.solver == "ddim" else {}
        x = grid[0][2] * rng.normal(*shape)  # (N, C, H, W)
        x = SOLVERS[options.solver](denoise, x, grid, lambda: rng.normal(*shape), on_step=on_step, **extra)
        return x.clamp(-1, 1)

    def evaluations(self, options: DiffusionOptions) -> int:
        branches = 1 if options.guidance == 1 or not self.config.classes else 2
        return branches * evaluations(options.solver, options.steps)


class DenoisingConfig(ObjectiveConfig):
    """times: how t is drawn, "logit-normal" (sigmoid of a normal: more at medium noise) or "uniform". label_dropout: share of rows."""

    kind: Literal["denoising"] = "denoising"
    times: Literal["logit-normal", "uniform"] = "logit-normal"
    label_dropout: float = Field(0.1, ge=0, le=1)

    def build(self, model: Diffusion) -> "Denoising":
        return Denoising(self, model)


class Denoising(Objective):
    """Least squares on the model's own prediction."""

    def draw_times(self, batch: Batch, step: Step) -> Tensor:
        """t in (0, 1), (N,). Neighbouring rows of the run take far-apart quantiles (a golden-ratio sequence): less variance."""
        u = (batch.index.double() * GOLDEN + step.rng.uniform().cpu().double() * 1e-3) % 1
        u = u.clamp(1e-6, 1 - 1e-6).to(batch.image.device)
        t = torch.special.ndtri(u).sigmoid() if self.config.times == "logit-normal" else u
        return t.float() * self.model.path.start

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model, x0 = self.model, batch.image
        t = self.draw_times(batch, step)
        noise = step.rng.normal(*x0.shape[1:])
        a, s = (f(t)[:, None, None, None] for f in (model.path.a, model.path.s))  # (N, 1, 1, 1)
        label = batch.cond.label
        if label is not None:
            dropped = step.rng.uniform() < self.config.label_dropout
            label = torch.where(dropped, len(model.config.classes), label)
        out = model.net(a * x0 + s * noise, t, label).float()
        loss = F.mse_loss(out, target(model.config.prediction, x0, noise, a, s))
        return loss, {"mse": loss.detach()}
