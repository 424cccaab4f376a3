"""Diffusion: learn to remove noise; then start from noise alone and remove it step by step.

An image x0 is mixed with noise along a path x_t = a(t) x0 + s(t) noise. A network that sees x_t and t is trained to predict the
noise, the image or a mix of both, by weighted least squares:

    loss = E w(t) || net(x_t, t) - target(x0, noise, t) ||^2

Any such prediction gives D(x_t, t), the best guess of x0, and D is all that a solver needs to walk from t = 1 to t = 0.
With class labels, the label is dropped for a tenth of the rows, so that one network also knows images without a label; sampling
can then exaggerate the difference (classifier-free guidance). With a learned variance the network has a second output, how far to go
from the smallest to the largest reasonable variance of a step, and the loss a second term, the bound on the likelihood.

References: 1. Ho, Jain and Abbeel 2020, Denoising Diffusion Probabilistic Models. 2. Song et al. 2021, Score-Based Generative
Modeling through SDEs. 3. Lipman et al. 2023, Flow Matching for Generative Modeling. 4. Ho and Salimans 2022, Classifier-Free
Diffusion Guidance. 5. Esser et al. 2024, Scaling Rectified Flow Transformers (logit-normal times). 6. Nichol and Dhariwal 2021,
Improved DDPM (learned variance, hybrid loss). 7. Hang et al. 2023, Min-SNR weighting. 8. Karras et al. 2022, EDM (table 1).
"""

import math
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Density, Inverter, Likelihood, Model, OnStep, Sampler
from inkwash.core.objective import Objective
from inkwash.core.rng import Rng, mix
from inkwash.diffusion.editing import invert, repaint
from inkwash.diffusion.grids import GRIDS, POINTS, chosen, karras, local_errors
from inkwash.diffusion.guidance import clamped, guided, keeping, tiled
from inkwash.diffusion.likelihood import discretised, flow_log_density, learned_log_var, posterior, prior_kl, step_kl
from inkwash.diffusion.options import ETA, DiffusionOptions
from inkwash.diffusion.path import PATHS, Denoiser, Grid, PathName, Prediction, clean, scales, stretch, target
from inkwash.diffusion.schedulers import FOREIGN, make_scheduler, scheduler_times, with_scheduler
from inkwash.diffusion.solvers import SOLVERS
from inkwash.nn.denoisers import Net
from inkwash.nn.unet import UNetConfig

CHAIN, LOW, TERMS = 1000, 4e-3, 32  # of the bound: steps of its chain, sigma at its end, terms that are drawn for an image
ROUNDS = 6  # of fixed-point iteration in each step from an image back to noise


class DiffusionConfig(ModelConfig):
    """shape: (C, H, W). classes: names by label, empty for none. path and prediction as in `inkwash.diffusion.path`.

    data_std: standard deviation of pixels, for the prediction "edm". learned_variance: a second output. options: this model's defaults.
    """

    kind: Literal["diffusion"] = "diffusion"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    path: PathName = "flow"
    prediction: Prediction = "flow"
    data_std: float = Field(0.5, gt=0)
    learned_variance: bool = False
    net: Net = UNetConfig()
    options: DiffusionOptions = DiffusionOptions()

    @field_validator("net")
    @classmethod
    def _no_text(cls, value: Any) -> Any:
        if value.context is not None:
            raise ValueError("net.context is for models of text: nothing here would be attended to")
        return value

    def build(self) -> "Diffusion":
        return Diffusion(self)


class Estimator(Model, Sampler):
    """A network that estimates clean images, D(x, t), and the solvers' face to it."""

    Options = DiffusionOptions

    def __init__(self, config: DiffusionConfig):
        super().__init__(config)
        self.accepts = frozenset({"image", "mask", *(["label"] if config.classes else [])})
        channels = config.shape[0]
        self.path = PATHS[config.path]
        self.net = config.net.build(channels, channels * (1 + config.learned_variance), len(config.classes))
        self._own: tuple[Any, ...] = (None,)

    def to_latent(self, image: Tensor) -> Tensor:
        """Where diffusion happens: the pixels themselves. A latent model encodes here."""
        return image

    def from_latent(self, x: Tensor) -> Tensor:
        """The inverse of `to_latent`: images in [-1, 1]."""
        return x.clamp(-1, 1)

    def predict(self, x: Tensor, t: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The network's prediction, and what it says of the variance. x: (N, C, H, W) at times t: (N,)."""
        a, s = self.levels_of(t)
        scale = scales(a, s, self.config.data_std)[2] if "edm" in (self.config.path, self.config.prediction) else 1.0
        out = self.net(x * scale, t, label).float()
        return tuple(out.chunk(2, dim=1)) if self.config.learned_variance else (out, None)

    def levels_of(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """a and s at t: (N,) to (N, 1, 1, 1) each."""
        a, s = (f(t)[:, None, None, None] for f in (self.path.a, self.path.s))
        return a, s

    def estimate(self, x: Tensor, t: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """D(x, t), and what the network says of the variance. Each row has its own t."""
        out, share = self.predict(x, t, label)
        return clean(self.config.prediction, x, out, *self.levels_of(t), self.config.data_std), share

    def denoiser(self, label: Tensor | None, shares: dict[float, Tensor] | None = None) -> Denoiser:
        """D(x, t) under a label. shares: takes what is said of the variance at each t."""

        def denoise(x: Tensor, t: float) -> Tensor:
            out, share = self.predict(x, torch.full((len(x),), t, device=x.device), label)
            if shares is not None:
                shares[t] = share
            return clean(self.config.prediction, x, out, *self.path.at(t)[1:], self.config.data_std)

        return denoise

    # ---- sampling

    def default_options(self) -> DiffusionOptions:
        return self.config.options.unsaid()

    def refuse(self, options: DiffusionOptions, cond: Condition) -> None:
        repainted = cond.mask is not None and options.rounds > 0
        options.refuse_idle(cond, bool(self.config.classes), "repaint" if repainted else "solver")
        if options.grid == "own" and options.steps > POINTS:
            raise ConfigError(f"The grid 'own' is chosen among {POINTS} steps: take another grid for {options.steps}.")
        if repainted:
            return
        if options.solver.startswith(FOREIGN):
            if options.strength < 1:
                raise ConfigError("A scheduler of diffusers starts from noise alone: for a strength below 1, use a solver of our own.")
            make_scheduler(options.solver, self.path, options.steps)
        if options.solver == "ddpm" and self.config.learned_variance and options.tile:
            raise ConfigError("A learned variance cannot be drawn tile by tile: use another solver, or no tiles.")

    def asked(self, cond: Condition, options: DiffusionOptions, shares: dict[float, Tensor] | None = None) -> Denoiser:
        """The denoiser with everything that the options ask for."""
        label, null = cond.label, len(self.config.classes)
        denoise = self.denoiser(label, shares)
        if self.branches(options) == 2 and label is not None:
            both = self.denoiser(torch.cat([label, torch.full_like(label, null)]), shares)
            denoise = guided(both, options.guidance, denoise, options.interval)
        if options.tile:
            denoise = tiled(denoise, (options.tile, options.tile), min(options.overlap, options.tile - 1))
        return clamped(denoise) if options.clamp else denoise

    def branches(self, options: DiffusionOptions) -> int:
        return 2 if options.guidance != 1 and self.config.classes else 1

    def grid(self, options: DiffusionOptions) -> Grid:
        """Where the solver's steps lie. An image to start from, at less than full strength, cuts the noisiest ones off."""
        steps, more = options.steps, {"shifted": {"shift": options.shift}, "karras": {"rho": options.rho}}.get(options.grid, {})
        grid = chosen(*self.errors(), steps) if options.grid == "own" else GRIDS[options.grid](self.path, steps, **more)
        start = options.strength * self.path.start
        if options.strength == 1:
            return grid
        later = [point for point in grid if point[0] < start]
        if len(later) > 1 and start - later[0][0] < (later[0][0] - later[1][0]) / 2:
            del later[0]  # a sliver of a step, from which a multistep solver would extrapolate far
        return [self.path.at(start), *later]

    @torch.no_grad()
    def errors(self) -> tuple[Grid, Tensor]:
        """What steps of every length cost this model, measured on 16 images of its own; kept until the weights change."""
        version = sum(p._version for p in self.parameters())
        if self._own[0] != version:
            rng = Rng(range(16), self.device)
            label = torch.arange(16, device=self.device) % len(self.config.classes) if self.config.classes else None
            x = self.path.at(self.path.start)[2] * rng.normal(*self.config.shape)
            self._own = (version, *local_errors(self.denoiser(label), x, self.path))
        return self._own[1:]

    def sample(self, rng: Rng, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None) -> Tensor:
        self.refuse(options, cond)
        given, mask = None if cond.image is None else self.to_latent(cond.image), cond.mask
        repainted = mask is not None and options.rounds > 0
        shape = (self.config.shape[0], *((options.size or self.config.shape[1:]) if given is None else given.shape[-2:]))
        shares = {} if options.solver == "ddpm" and self.config.learned_variance and not repainted else None
        denoise, grid = self.asked(cond, options, shares), self.grid(options)
        noise = lambda: rng.normal(*shape)  # noqa: E731
        _, a, s = grid[0]
        x = s * noise()  # (N, C, H, W)
        if given is not None and options.strength < 1:
            x = a * given + x
        if given is None or mask is None:
            return self.from_latent(self.walk(denoise, x, grid, rng, options, shares, on_step))
        if repainted:
            x = repaint(denoise, x, grid, noise, given, mask, options.rounds, on_step)
        else:
            x = self.walk(keeping(denoise, given, mask), x, grid, rng, options, shares, on_step)
        return cond.image + mask * (self.from_latent(x) - cond.image)  # known pixels come back bit by bit

    def walk(self, denoise: Denoiser, x: Tensor, grid: Grid, rng: Rng, options: DiffusionOptions, shares: dict | None, on_step) -> Tensor:
        """The solver that the options name, with what it takes."""
        solver, more = options.solver, {}
        if solver.startswith(FOREIGN):
            generators = [torch.Generator().manual_seed(mix(key, "scheduler")) for key in rng.keys]
            return with_scheduler(make_scheduler(solver, self.path, options.steps), denoise, x, self.path, generators, on_step)
        if solver in ETA:
            more["eta"] = ETA[solver] if options.eta is None else options.eta
        if solver == "dpmpp-2m":
            more["overshoot"] = options.overshoot
        if solver == "unipc":
            more["order"] = options.order
        if solver == "heun":
            more |= {"churn": options.churn, "path": self.path}
        if shares is not None:
            more["std"] = lambda x, t, t2: self._std(shares.pop(t)[: len(x)], t, t2)
        return SOLVERS[solver](denoise, x, grid, lambda: rng.normal(*x.shape[1:]), on_step=on_step, **more)

    def _std(self, share: Tensor, t: float, t2: float) -> Tensor:
        _, small, large = posterior(*self.path.at(t)[1:], *self.path.at(t2)[1:])
        return (0.5 * learned_log_var(share, small, large)).exp()

    def evaluations(self, options: DiffusionOptions) -> int:
        """Of the whole image, or of each tile."""
        (low, high), times = options.interval, self.times(options)
        return len(times) + (sum(low <= t <= high for t in times) if self.branches(options) == 2 else 0)

    def times(self, options: DiffusionOptions) -> list[float]:
        """When the solver asks for an estimate."""
        if options.solver.startswith(FOREIGN):
            return scheduler_times(make_scheduler(options.solver, self.path, options.steps), self.path)
        times = [t for t, _, _ in self.grid(options)[:-1]]
        return [times[0], *(t for t in times[1:] for _ in range(2))] if options.solver == "heun" else times

    def deployed(self) -> tuple[nn.Module, dict[str, Tensor]]:
        x = torch.zeros(2, *self.config.shape, device=self.device)
        label = {"label": torch.zeros(2, dtype=torch.long, device=self.device)} if self.config.classes else {}
        return _Estimate(self), {"x": x, "t": torch.full((2,), 0.5, device=self.device), **label}


class Diffusion(Estimator, Likelihood, Density, Inverter):
    """One whose estimate is the mean of all images that a noisy one may come from: it has a likelihood, and a way back to noise."""

    tag = "bound"

    def between(self, options: DiffusionOptions) -> Grid:
        """The grid that is walked both ways: it stops at a little noise, which an image is taken for."""
        return karras(self.path, options.steps, 2e-3, end=False)

    def unguided(self, cond: Condition, options: DiffusionOptions) -> Denoiser:
        """The denoiser of both ways: guidance would lead somewhere else than it came from."""
        options.refuse_idle(cond, bool(self.config.classes), "inversion")
        return self.asked(cond, options.override({"guidance": 1.0}))

    def invert(self, x: Tensor, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None) -> Tensor:
        grid = self.between(options)
        noise = invert(self.unguided(cond, options), grid[-1][1] * self.to_latent(x), grid, ROUNDS, on_step)
        return noise / grid[0][2]

    def regenerate(self, noise: Tensor, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None) -> Tensor:
        grid = self.between(options)
        x = SOLVERS["ddim"](self.unguided(cond, options), grid[0][2] * noise, grid, on_step=on_step)
        return self.from_latent(x / grid[-1][1])

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        """A lower bound: that of a chain of CHAIN steps, TERMS of which are drawn for each image (stratified, unbiased)."""
        grid = karras(self.path, CHAIN, LOW, end=False)
        total = -prior_kl(x, *grid[0][1:])
        _, a, s = grid[-1]
        d, _ = self.estimate(a * x + s * rng.normal(*x.shape[1:]), torch.full((len(x),), grid[-1][0], device=x.device), cond.label)
        total = total + discretised(x, d, torch.full_like(d, math.log(s / a)))
        points = torch.tensor(grid, dtype=torch.float64)  # (CHAIN + 1, 3)
        for k in range(TERMS):
            i = ((k + rng.uniform().cpu().double()) * CHAIN / TERMS).long().clamp(max=CHAIN - 1)  # (N,)
            here, there = (points[j, :, None, None, None].float().to(x.device).unbind(1) for j in (i, i + 1))
            z = here[1] * x + here[2] * rng.normal(*x.shape[1:])
            d, share = self.estimate(z, here[0].flatten(), cond.label)
            total = total - step_kl(x, d, *here[1:], *there[1:], share) * (CHAIN / TERMS)
        return total

    def log_density(self, x: Tensor, cond: Condition, rng: Rng, steps: int = 20) -> Tensor:
        width = 2 / (self.levels - 1)
        x = x + width * (rng.uniform(*x.shape[1:]) - 0.5)
        probe = rng.integers(2, *x.shape[1:]).float() * 2 - 1
        nats = flow_log_density(self.denoiser(cond.label), x, self.path, [probe], steps)
        return nats + x[0].numel() * math.log(width)


class StudentOptions(DiffusionOptions):
    """As a diffusion model's, but for one solver: guess, add fresh noise, guess again.

    steps: a student of four learned the noise of 4, 2 and 1. strength: the nearest amount of noise among its steps is taken.
    """

    solver: Literal["consistency"] = "consistency"
    steps: int = Field(4, ge=1, le=10000)
    grid: Literal["uniform", "karras", "shifted"] = "uniform"


class StudentConfig(DiffusionConfig):
    """As the teacher's."""

    kind: Literal["student"] = "student"
    options: StudentOptions = StudentOptions()

    def build(self) -> "Student":
        return Student(self)


class Student(Estimator):
    """One whose estimate is a single sharp image, learnt from a teacher (`inkwash.methods.distillation`): it draws in a few steps.

    It has neither likelihood nor a way back to noise: both need the mean.
    """

    Options = StudentOptions

    def grid(self, options: DiffusionOptions) -> Grid:
        whole = super().grid(options.override({"strength": 1.0}))
        start = options.strength * self.path.start
        nearest = min(range(len(whole) - 1), key=lambda i: abs(whole[i][0] - start))
        return whole[nearest:]


class _Estimate(nn.Module):
    """D(x, t) as a module of its own: what a solver elsewhere needs."""

    def __init__(self, model: Estimator):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return self.model.estimate(x, t, label)[0]


class DenoisingConfig(ObjectiveConfig):
    """times: how t is drawn, "uniform" or "logit-normal" (sigmoid of a normal of this mean and std: log sigma, on flow and edm paths).

    weighting: of the squared error: "simple" leaves it as the prediction has it, "min-snr" and "edm" as in references 7 and 8.
    label_dropout: share of rows. vlb: weight of the bound's terms at these times, where the variance is learned; with times "uniform"
    their mean is the bound, in bits per dimension.
    """

    kind: Literal["denoising"] = "denoising"
    times: Literal["logit-normal", "uniform"] = "logit-normal"
    mean: float = 0.0
    std: float = Field(1.0, gt=0)
    weighting: Literal["simple", "min-snr", "edm"] = "simple"
    label_dropout: float = Field(0.1, ge=0, le=1)
    vlb: float = Field(1e-3, ge=0)

    def build(self, model: Diffusion) -> "Denoising":
        return Denoising(self, model)


class Denoising(Objective):
    """Weighted least squares on the model's own prediction, and the bound for a learned variance."""

    def draw_times(self, batch: Batch, step: Step) -> Tensor:
        """t in (0, 1), (N,)."""
        u = step.quantiles(batch)
        t = (torch.special.ndtri(u) * self.config.std + self.config.mean).sigmoid() if self.config.times == "logit-normal" else u
        return t.float().to(batch.image.device) * self.model.path.start

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model, x0 = self.model, self.model.to_latent(batch.image)
        t = self.draw_times(batch, step)
        noise = step.rng.normal(*x0.shape[1:])
        a, s = model.levels_of(t)  # (N, 1, 1, 1)
        label = step.drop(batch.cond.label, self.config.label_dropout, len(model.config.classes))
        x = a * x0 + s * noise
        out, share = model.predict(x, t, label)
        error = (out - target(model.config.prediction, x0, noise, a, s, model.config.data_std)).square().mean((1, 2, 3))  # (N,)
        loss = mse = (self.weight(a, s).flatten() * error).mean()
        parts = {"mse": mse.detach()}
        if share is not None:
            bits = self.bound(x0, x, out.detach(), share, t).mean()
            loss, parts["vlb"] = mse + self.config.vlb * bits, bits.detach()
        return loss, parts

    def weight(self, a: Tensor, s: Tensor) -> Tensor:
        """Of the prediction's squared error; the references weigh the error of D, which `stretch` translates."""
        config = self.model.config
        if self.config.weighting == "simple":
            return torch.ones_like(s)
        per_d = stretch(config.prediction, a, s, config.data_std) ** -2
        snr = (a / s) ** 2
        if self.config.weighting == "min-snr":
            return snr.clamp(max=5.0) * per_d
        return (1 / config.data_std**2 + snr) * per_d

    def bound(self, x0: Tensor, x: Tensor, out: Tensor, share: Tensor, t: Tensor) -> Tensor:
        """The bound's term of one step of a chain of CHAIN equal ones from t, times their number: (N,), the bound where t is uniform.

        The mean gets no gradient from it (reference 6, section 3.1).
        """
        model = self.model
        late = t > 2 / CHAIN  # the chain's last steps belong to its decoder, which has no variance to learn
        t = torch.where(late, t, 2 / CHAIN)
        (a, s), (a2, s2) = model.levels_of(t), model.levels_of(t - model.path.start / CHAIN)
        d = clean(model.config.prediction, x, out, a, s, model.config.data_std)
        return late * step_kl(x0, d, a, s, a2, s2, share) * CHAIN / (x0[0].numel() * math.log(2))
