"""Diffusion: learn to remove noise; then start from noise alone and remove it step by step.

An image x0 is mixed with noise along a path x_t = a(t) x0 + s(t) noise. A network that sees x_t and t is trained to predict the
noise, the image or a mix of both, by weighted least squares:

    loss = E w(t) || net(x_t, t) - target(x0, noise, t) ||^2

Any such prediction gives D(x_t, t), the best guess of x0, and D is all that a solver needs to walk from t = 1 to t = 0.
With class labels, the label is dropped for a tenth of the rows, so that one network also knows images without a label; sampling
can then exaggerate the difference (classifier-free guidance). With a learned variance the network has a second output, how far to go
from the smallest to the largest reasonable variance of a step, and the loss a second term, the bound on the likelihood.

A latent model does the same in the small maps of an autoencoder that was trained before (reference 9): fewer numbers, so less work.

References: 1. Ho, Jain and Abbeel 2020, Denoising Diffusion Probabilistic Models. 2. Song et al. 2021, Score-Based Generative
Modeling through SDEs. 3. Lipman et al. 2023, Flow Matching for Generative Modeling. 4. Ho and Salimans 2022, Classifier-Free
Diffusion Guidance. 5. Esser et al. 2024, Scaling Rectified Flow Transformers (logit-normal times). 6. Nichol and Dhariwal 2021,
Improved DDPM (learned variance, hybrid loss). 7. Hang et al. 2023, Min-SNR weighting. 8. Karras et al. 2022, EDM (table 1).
9. Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models.
"""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.config import AnyModel, ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Autoencoder, Density, Encoding, Inverter, Likelihood, OnStep, Seer
from inkwash.core.objective import Objective, Phase, refuse_uncaptioned
from inkwash.core.rng import Rng
from inkwash.diffusion.editing import invert
from inkwash.diffusion.estimator import Estimator
from inkwash.diffusion.grids import karras
from inkwash.diffusion.likelihood import discretised, flow_log_density, prior_kl, step_kl
from inkwash.diffusion.options import DiffusionOptions
from inkwash.diffusion.path import Denoiser, Grid, PathName, Prediction, clean, stretch, target
from inkwash.diffusion.plans import beside
from inkwash.diffusion.solvers import SOLVERS
from inkwash.diffusion.told import Told
from inkwash.nn.denoisers import Net
from inkwash.nn.frozen_text import FrozenTextConfig
from inkwash.nn.grounding import GroundingConfig
from inkwash.nn.lowrank import Thin, lower_rank_
from inkwash.nn.sketch import SketchConfig
from inkwash.nn.telling import Telling
from inkwash.nn.text import TextConfig
from inkwash.nn.unet import UNetConfig

CHAIN, LOW, TERMS = 1000, 4e-3, 32  # of the bound: steps of its chain, sigma at its end, terms that are drawn for an image
READ_FROM, READ_UNTIL = 0.3, 0.97  # t: later all is settled, before an estimate is the mean of too many layouts
PLAN_TIMES = {"mean": 0.8, "std": 1.4}  # of a plan: its layout is settled early
ROUNDS = 6  # of fixed-point iteration in each step from an image back to noise


class DiffusionConfig(ModelConfig):
    """shape: (C, H, W). classes: names by label, empty for none. path and prediction as in `inkwash.diffusion.path`.

    data_std: standard deviation of pixels, for the prediction "edm". learned_variance: a second output. text: what reads prompts, None
    for a model that takes none. plan: another diffusion model that reads the same text, whose latents are drawn first and seen beside
    the picture (`inkwash.diffusion.plans`), None for none. sketch: the mean of all that a text may mean, seen beside the picture
    (`inkwash.nn.sketch`), None for none. grounding: how the boxes of a plan that is a 'layout' are seen
    (`inkwash.nn.grounding`). lora: rank of what is learnt of a trained model, 0 for all of it. options: this model's defaults.
    """

    kind: Literal["diffusion"] = "diffusion"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: tuple[str, ...] = ()
    path: PathName = "flow"
    prediction: Prediction = "flow"
    data_std: float = Field(0.5, gt=0)
    learned_variance: bool = False
    net: Net = UNetConfig()
    text: Annotated[TextConfig | FrozenTextConfig, Field(discriminator="kind")] | None = None
    plan: AnyModel | None = None
    sketch: SketchConfig | None = None
    grounding: GroundingConfig | None = None
    lora: int = Field(0, ge=0)
    options: DiffusionOptions = DiffusionOptions()

    def build(self) -> "Diffusion":
        return thinned(Diffusion(self))


def thinned(model: Estimator) -> Estimator:
    """The model; where its configuration asks for it, with thin matrices that are learnt in place of its weights."""
    rank = model.config.lora
    return model.learn_only(Thin([p for part in model.learnt() for p in lower_rank_(part, rank)])) if rank else model


class Diffusion(Estimator, Likelihood, Density, Inverter):
    """One whose estimate is the mean of all images that a noisy one may come from: it has a likelihood, and a way back to noise."""

    tag = "bound"

    def between(self, options: DiffusionOptions) -> Grid:
        """The grid that is walked both ways: it stops at a little noise, which an image is taken for."""
        return karras(self.path, options.steps, 2e-3, end=False)

    def unguided(self, cond: Condition, n: int, options: DiffusionOptions) -> Denoiser:
        """The denoiser of both ways: guidance would lead somewhere else than it came from."""
        options.refuse_idle(cond, self.accepts, "inversion")
        return self.asked(cond, n, options.override({"guidance": 1.0}))

    def invert(self, x: Tensor, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None) -> Tensor:
        grid = self.between(options)
        noise = invert(self.unguided(cond, len(x), options), grid[-1][1] * self.to_latent(x), grid, ROUNDS, on_step)
        return noise / grid[0][2]

    def regenerate(self, noise: Tensor, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None) -> Tensor:
        grid = self.between(options)
        x = SOLVERS["ddim"](self.unguided(cond, len(noise), options), grid[0][2] * noise, grid, on_step=on_step)
        return self.from_latent(x / grid[-1][1])

    def log_prob(self, x: Tensor, cond: Condition, rng: Rng) -> Tensor:
        """A lower bound: that of a chain of CHAIN steps, TERMS of which are drawn for each image (stratified, unbiased)."""
        grid, told = karras(self.path, CHAIN, LOW, end=False), self.told(cond, len(x))
        total = -prior_kl(x, *grid[0][1:])
        _, a, s = grid[-1]
        d, _ = self.estimate(a * x + s * rng.normal(*x.shape[1:]), torch.full((len(x),), grid[-1][0], device=x.device), told)
        total = total + discretised(x, d, torch.full_like(d, math.log(s / a)))
        points = torch.tensor(grid, dtype=torch.float64)  # (CHAIN + 1, 3)
        for k in range(TERMS):
            i = ((k + rng.uniform().cpu().double()) * CHAIN / TERMS).long().clamp(max=CHAIN - 1)  # (N,)
            here, there = (points[j, :, None, None, None].float().to(x.device).unbind(1) for j in (i, i + 1))
            z = here[1] * x + here[2] * rng.normal(*x.shape[1:])
            d, share = self.estimate(z, here[0].flatten(), told)
            total = total - step_kl(x, d, *here[1:], *there[1:], share) * (CHAIN / TERMS)
        return total

    def log_density(self, x: Tensor, cond: Condition, rng: Rng, steps: int = 20) -> Tensor:
        width = 2 / (self.levels - 1)
        x = x + width * (rng.uniform(*x.shape[1:]) - 0.5)
        probe = rng.integers(2, *x.shape[1:]).float() * 2 - 1
        nats = flow_log_density(self.denoiser(self.told(cond, len(x))), x, self.path, [probe], steps)
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
        return thinned(Student(self))


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


class LatentConfig(DiffusionConfig):
    """autoencoder: of images into maps of numbers, centred and of about unit spread; it stays as it is. shape: of the images."""

    kind: Literal["latent"] = "latent"
    data_std: float = Field(1.0, gt=0)
    autoencoder: AnyModel

    def build(self) -> "LatentDiffusion":
        return thinned(LatentDiffusion(self))


class LatentDiffusion(Encoding, Estimator):
    """Diffusion among the latents of an autoencoder."""

    tiled = False

    def __init__(self, config: LatentConfig):
        autoencoder = config.autoencoder.build()
        space = getattr(autoencoder, "space", None)
        if not isinstance(autoencoder, Autoencoder) or space is None:
            raise ConfigError(f"A {config.autoencoder.kind!r} model has no map of latents to diffuse in; an 'autoencoder' has.")
        super().__init__(config, space)
        self.autoencoder = autoencoder
        self.stride = config.autoencoder.net.stride  # pixels a place stands for, to each side

    @property
    def encoder(self) -> nn.Module:
        return nn.ModuleList([self.autoencoder, *([self.plan.encoder] if isinstance(self.plan, Encoding) else [])])

    @torch.no_grad()
    def to_latent(self, image: Tensor) -> Tensor:
        return self.autoencoder.encode(image)

    @torch.no_grad()
    def encoded(self, image: Tensor) -> Tensor:
        z = self.to_latent(image)
        return z if self.plan is None or self.grounding else beside(z, self.plan.to_latent(image), self.planned)  # (N, C + P, h, w)

    def latent(self, batch: Batch) -> Tensor:
        return super().latent(batch)[:, : self.space[0]]

    def plan_latent(self, batch: Batch) -> Tensor:
        return super().plan_latent(batch) if batch.latent is None else batch.latent[:, self.space[0] :]

    def from_latent(self, x: Tensor) -> Tensor:
        return self.autoencoder.decode(x)

    def sides(self, size: tuple[int, int]) -> tuple[int, int]:
        return -(-size[0] // self.stride), -(-size[1] // self.stride)

    def refuse(self, options: DiffusionOptions, cond: Condition) -> None:
        if options.clamp or options.tile:
            raise ConfigError("Among latents there are no pixels to clamp and no tiles.")
        own, size = self.config.shape[1:], options.size if cond.image is None else tuple(cond.image.shape[-2:])
        if size and size != own and (self.sides(size) == self.sides(own) or (cond.image is None and any(s % self.stride for s in size))):
            said = f"{size[1]} x {size[0]} is not possible: this model draws {own[1]} x {own[0]}"
            near = tuple(max(1, round(s / self.stride)) * self.stride for s in size)
            such = "" if self.sides(near) == self.sides(own) else f", such as {near[1]} x {near[0]}"
            raise ConfigError(f"{said}, or other sides that {self.stride} divides{such}.")
        super().refuse(options, cond)


class DenoisingConfig(ObjectiveConfig):
    """times: how t is drawn, "uniform" or "logit-normal" (sigmoid of a normal of this mean and std: log sigma, on flow and edm paths).

    weighting: of the squared error: "simple" leaves it as the prediction has it, "min-snr" and "edm" as in references 7 and 8.
    label_dropout: share of rows that learn without class or text. vlb: weight of the bound's terms at these times, where the variance
    is learned; with times "uniform" their mean is the bound, in bits per dimension. retelling: weight of a second task for a text encoder
    that learns along, to tell what a caption says in another of the same picture's (`nn/telling.py`); nats a token, 0 for none.
    retelling_until: share of the run after which that task is over: it is learnt long before the pictures are, and costs a sixth of a step.
    plan_noise: share of noise, at most, in the plan that a picture is learnt after. planning: weight of the plan's own loss, where it
    learns along, with times of its own (PLAN_TIMES); 0 leaves it as it is. sketching: the same for a sketch's squared error.
    reading: weight of the nats that the text costs a teacher, a captioner whose eye's features are diffused, where it reads what is
    estimated: what is little in squared error, but said in words, is learnt from that. 2 / (numbers of a latent) a unit of guidance by it.
    """

    kind: Literal["denoising"] = "denoising"
    times: Literal["logit-normal", "uniform"] = "logit-normal"
    mean: float = 0.0
    std: float = Field(1.0, gt=0)
    weighting: Literal["simple", "min-snr", "edm"] = "simple"
    label_dropout: float = Field(0.1, ge=0, le=1)
    vlb: float = Field(1e-3, ge=0)
    retelling: float = Field(0.0, ge=0)
    retelling_until: float = Field(1.0, ge=0, le=1)
    plan_noise: float = Field(0.25, ge=0, lt=1)
    planning: float = Field(0.0, ge=0)
    sketching: float = Field(0.0, ge=0)
    reading: float = Field(0.0, ge=0)
    teacher: AnyModel | None = None

    def build(self, model: Diffusion) -> "Denoising":
        return Denoising(self, model)


class Denoising(Objective):
    """Weighted least squares on the model's own prediction, the bound for a learned variance, and the second task of a text encoder."""

    def __init__(self, config: DenoisingConfig, model: Diffusion):
        super().__init__(config, model)
        reader = getattr(model.config, "text", None)
        if config.retelling and not isinstance(reader, TextConfig):
            raise ConfigError("objective.retelling teaches a text encoder that learns along: this model has none.")
        self.retelling = Telling(reader.width, reader.tokenizer, reader.width, head=reader.head) if config.retelling else None
        if config.planning and model.plan is None:
            raise ConfigError("objective.planning teaches the plan of a model: this model has none.")
        if config.planning and model.grounding:
            raise ConfigError("objective.planning teaches a plan that is diffused: a layout is learnt by itself (inkwash train layout).")
        if config.sketching and model.sketch is None:
            raise ConfigError("objective.sketching teaches the sketch of a model: this model has none.")
        if config.reading and not (config.teacher and reader and hasattr(getattr(model, "autoencoder", None), "features")):
            raise ConfigError("objective.reading is for a plan among the features of an 'eye', by a captioner: text --from --teacher.")
        self.planning = self._planning() if config.planning else None
        self.teacher = self._reader(config.teacher) if config.teacher else None
        self.sketching = 0.0 if getattr(model.config, "lora", 0) else config.sketching  # beside thin matrices nothing is learnt

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        if getattr(self.model.config, "text", None) is not None:
            refuse_uncaptioned(batch)

    def phases(self) -> list[Phase]:
        planning = self.planning.phases()[0].trains if self.planning else ()
        others = [*([self.retelling] if self.retelling else []), *([self.model.sketch] if self.sketching else [])]
        return [Phase("main", (*self.model.learnt(), *others, *planning))]

    def _planning(self) -> "Denoising":
        """The plan's own objective."""
        own = {**PLAN_TIMES, "label_dropout": self.config.label_dropout, "sketching": float(self.model.plan.sketch is not None)}
        return DenoisingConfig(**own).build(self.model.plan)

    def draw_times(self, batch: Batch, step: Step) -> Tensor:
        """t in (0, 1), (N,)."""
        u = step.quantiles(batch)
        t = (torch.special.ndtri(u) * self.config.std + self.config.mean).sigmoid() if self.config.times == "logit-normal" else u
        return t.float().to(batch.image.device) * self.model.path.start

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        model, x0 = self.model, self.model.latent(batch)
        t = self.draw_times(batch, step)
        noise = step.rng.normal(*x0.shape[1:])
        a, s = model.levels_of(t)  # (N, 1, 1, 1)
        cond = model.hears(batch, step, self.config.label_dropout)
        told = model.learns(batch, step, self.config.label_dropout, self.config.plan_noise, cond)
        x = a * x0 + s * noise
        out, share = model.predict(x, t, told)
        error = (out - target(model.config.prediction, x0, noise, a, s, model.config.data_std)).square().mean((1, 2, 3))  # (N,)
        loss = mse = (self.weight(a, s).flatten() * error).mean()
        parts = {"mse": mse.detach()}
        if share is not None:
            bits = self.bound(x0, x, out.detach(), share, t).mean()
            loss, parts["vlb"] = mse + self.config.vlb * bits, bits.detach()
        if self.config.reading:
            d = clean(model.config.prediction, x, out, a, s, model.config.data_std)
            nats = self.read(d, cond, told.heard & (t > READ_FROM) & (t < READ_UNTIL))
            loss, parts["reading"] = loss + self.config.reading * nats, nats.detach()
        if self.retelling and step.progress < self.config.retelling_until:
            nats = self.retold(batch, step, told)
            loss, parts["retelling"] = loss + self.config.retelling * nats, nats.detach()
        if self.sketching:
            sketch = self.sketched(x0, batch, step)
            loss, parts["sketch"] = loss + self.sketching * sketch, sketch.detach()
        if self.planning:
            plan = self.planning.loss(phase, replace(batch, latent=model.plan_latent(batch)), step)[0]
            loss, parts["plan"] = loss + self.config.planning * plan, plan.detach()
        return loss, parts

    def _reader(self, config: ModelConfig) -> Seer:
        teacher = config.build().requires_grad_(False).eval()
        if not isinstance(teacher, Seer):
            raise ConfigError(f"objective.reading is by a 'captioner', with the plan's eye; a {config.kind!r} model has none.")
        return teacher

    def read(self, d: Tensor, cond: Condition, rows: Tensor) -> Tensor:
        """Nats of a row's text, read from its estimate; rows that are not asked, bool (N,), count for none."""
        at = rows.nonzero()[:, 0]
        texts = [self.model.text.tokenizer.decode(row) for row in cond.tokens[at].tolist()]
        return -self.teacher.reads(self.model.autoencoder.features(d[at]), texts).sum() / len(d) if texts else d.new_zeros(())

    def retold(self, batch: Batch, step: Step, told: Told) -> Tensor:
        """Nats a token of one of each row's texts, given what the network was told; rows that were told nothing count for none."""
        return (self.retelling(told.context, told.mask, step.texts(batch.text)) * told.heard).mean()

    def sketched(self, x0: Tensor, batch: Batch, step: Step) -> Tensor:
        """The squared error of the mean that a text tells."""
        sketch, tokens = self.model.sketch, self.model.hears(batch, step, self.config.label_dropout).tokens
        return (sketch.mean(sketch(tokens)) - x0).square().mean()

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
