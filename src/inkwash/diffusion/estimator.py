"""The solvers' face to a network that estimates clean images: what every diffusion model samples with."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.boxes import Box, parse_boxes
from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, OnStep, Prompted, Sampler, seen
from inkwash.core.rng import Rng, mix
from inkwash.diffusion.editing import repaint
from inkwash.diffusion.grids import GRIDS, POINTS, chosen, local_errors
from inkwash.diffusion.guidance import Lead, clamped, guided, keeping, led, tiled
from inkwash.diffusion.likelihood import learned_log_var, posterior
from inkwash.diffusion.options import ETA, DiffusionOptions
from inkwash.diffusion.path import PATHS, Denoiser, Grid, clean, scales
from inkwash.diffusion.plans import MAPS, beside, build_plan, drawn, taught, widened
from inkwash.diffusion.schedulers import FOREIGN, make_scheduler, scheduler_times, with_scheduler
from inkwash.diffusion.solvers import SOLVERS
from inkwash.diffusion.told import Told

LARGER = 8  # times the side of training, at most, without tiles: attention takes the fourth power of it


class Estimator(Model, Sampler, Prompted):
    """A network that estimates clean images, D(x, t). space: (C, H, W) of where diffusion happens, as the images unless given. tiled:
    whether it can be asked tile by tile."""

    Options = DiffusionOptions
    tiled: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, space: tuple[int, int, int] | None = None):
        super().__init__(config)
        self.space = tuple(space or config.shape)
        more = {"label": config.classes, "tokens": config.text, "plan": config.plan}
        self.accepts = frozenset({"image", "mask", *(name for name, there in more.items() if there)})
        channels = self.space[0]
        self.path = PATHS[config.path]
        context = config.text.width if config.text else None
        self.plan = build_plan(config)
        if config.sketch and getattr(config.text, "kind", None) != "own":
            raise ConfigError("model.sketch is made of a text that the model learnt to read: this one reads none, or by another's encoder.")
        self.sketch = config.sketch.build(config.text.tokenizer, self.space) if config.sketch else None
        self.grounding = config.grounding.build(config.text.tokenizer.build().size) if config.grounding else None
        self.planned = self._seen_beside()
        self.net = config.net.build(channels + self.planned, channels * (1 + config.learned_variance), len(config.classes), context)
        self.text = config.text.build() if config.text else None
        self._own: tuple[Any, ...] = (None,)
        self._learnt = tuple(part for part in (self.net, self.text, self.grounding) if part is not None)

    def _seen_beside(self) -> int:
        """Channels of the map that the network sees beside its input."""
        for part in (self.grounding, self.sketch):
            if part is not None:
                return part.width
        return self.plan.space[0] if self.plan else 0

    def learnt(self) -> tuple[nn.Module, ...]:
        """What the loss of a denoiser changes: an auto-encoder stays as it is; a plan and a sketch have losses of their own."""
        return self._learnt

    def adopted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of a model with another plan or sketch, or none, fit this one: it begins as if there were none."""
        own = self.state_dict()
        maps = [{name for name in each if name.startswith(MAPS)} for each in (own, tensors)]
        return tensors if maps[0] == maps[1] else widened(own, tensors, self.planned)

    def learn_only(self, part: nn.Module) -> Self:
        """Let training change this alone. Returns the model."""
        self._learnt = (part,)
        return self

    # ---- what it is told

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        return self.text.tokens(texts, cut)

    def unknown(self, text: str) -> list[str]:
        return self.text.unknown(text)

    def told(self, cond: Condition, n: int, instead: str = "") -> Told:
        """For n rows. Where the condition has no text: `instead`."""
        if self.text is None:
            return Told(cond.label)
        return self.read(cond.label, self.prompts(cond, n, instead))

    def read(self, label: Tensor | None, tokens: Tensor) -> Told:
        """What texts, int64 (N, L), and labels tell."""
        if self.sketch is None:
            return Told(label, *self.text(tokens))
        with torch.no_grad():
            sketch = self.sketch(tokens)
        return Told(label, *self.text(tokens), sketch)

    def hears(self, batch: Batch, step: Step, dropout: float) -> Condition:
        """What rows of a batch come with while learning: one of its texts each, or its label, left out for about this share of rows."""
        label = step.drop(batch.cond.label, dropout, len(self.config.classes))
        if self.text is None:
            return Condition(label=label)
        tokens = self.tokens(step.texts(batch.text, dropout)).to(self.device)
        return Condition(label=label if self.config.classes else None, tokens=tokens)

    def learns(self, batch: Batch, step: Step, dropout: float, noise: float = 0.0, heard: Condition | None = None) -> Told:
        """What the rows of a batch are told while learning: what they heard (`hears`), and plans with noise of up to this share."""
        told = self.told(self.hears(batch, step, dropout) if heard is None else heard, len(batch))
        if self.plan is None:
            return told
        if self.grounding:
            return told._replace(plan=self.grounded(batch.boxes, told, step, dropout))
        return told._replace(plan=taught(self.plan_latent(batch), told.heard, step, noise, dropout))

    def grounded(self, boxes: list[tuple[Box, ...]] | None, told: Told, step: Step, dropout: float) -> Tensor | None:
        """Maps of rows' true boxes while learning; nothing where nothing was heard, and for about this share of the others, so that a model
        can also do without. None where no boxes are told."""
        if boxes is None:
            return None
        shown = told.heard & (step.rng.uniform().to(told.mask.device) >= dropout)
        rows = [row if show else () for row, show in zip(boxes, shown.tolist())]
        return self.ground(rows, self.space[1:])

    def ground(self, boxes: Sequence[tuple[Box, ...]], size: tuple[int, int]) -> Tensor:
        """What shall be where, (N, P, *size), of boxes for each row."""
        return self.grounding(self.grounding.gathered(boxes, self.text.tokenizer.encode), size)

    def laid_out(self, rng: Rng, cond: Condition, options: DiffusionOptions) -> list[tuple[Box, ...]]:
        """The boxes that rows are drawn after: those that were asked for, else what the layout writes after their texts."""
        if options.boxes:
            return [parse_boxes(options.boxes)] * len(rng)
        return self.plan.arrange(rng.fork("plan"), cond.tokens)

    def nothing(self, n: int, instead: str = "") -> Told:
        """For n rows: the null class, and the text that stands for none."""
        null = torch.full((n,), len(self.config.classes), device=self.device) if self.config.classes else None
        return self.told(Condition(label=null), n, instead)

    # ---- what it estimates

    def to_latent(self, image: Tensor) -> Tensor:
        """Where diffusion happens: the pixels themselves. A latent model encodes here."""
        return image

    def latent(self, batch: Batch) -> Tensor:
        """`to_latent` of a batch's images; a latent model may know it already."""
        return self.to_latent(batch.image)

    def plan_latent(self, batch: Batch) -> Tensor:
        """The plans that a batch's images would have, (N, P, h, w); a latent model may know them already."""
        with torch.no_grad():
            return self.plan.to_latent(batch.image)

    def from_latent(self, x: Tensor) -> Tensor:
        """The inverse of `to_latent`: images in [-1, 1]."""
        return x.clamp(-1, 1)

    def sides(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of where diffusion happens, for images of such a size."""
        return size

    def predict(self, x: Tensor, t: Tensor, told: Told) -> tuple[Tensor, Tensor | None]:
        """The network's prediction, and what it says of the variance. x: (N, C, H, W) at times t: (N,)."""
        a, s = self.levels_of(t)
        scale = scales(a, s, self.config.data_std)[2] if "edm" in (self.config.path, self.config.prediction) else 1.0
        x = x * scale
        if self.planned:
            x = beside(x, told.plan, self.planned)
        out = self.net(x, t, told.label, told.context, told.mask).float()
        return tuple(out.chunk(2, dim=1)) if self.config.learned_variance else (out, None)

    def levels_of(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """a and s at t: (N,) to (N, 1, 1, 1) each."""
        a, s = (f(t)[:, None, None, None] for f in (self.path.a, self.path.s))
        return a, s

    def estimate(self, x: Tensor, t: Tensor, told: Told) -> tuple[Tensor, Tensor | None]:
        """D(x, t), and what the network says of the variance. Each row has its own t."""
        out, share = self.predict(x, t, told)
        return clean(self.config.prediction, x, out, *self.levels_of(t), self.config.data_std), share

    def denoiser(self, told: Told, shares: dict[float, Tensor] | None = None) -> Denoiser:
        """D(x, t). shares: takes what is said of the variance at each t."""

        def denoise(x: Tensor, t: float) -> Tensor:
            out, share = self.predict(x, torch.full((len(x),), t, device=x.device), told)
            if shares is not None:
                shares[t] = share
            return clean(self.config.prediction, x, out, *self.path.at(t)[1:], self.config.data_std)

        return denoise

    # ---- sampling

    def default_options(self) -> DiffusionOptions:
        return self.config.options.unsaid()

    def refuse(self, options: DiffusionOptions, cond: Condition) -> None:
        repainted = cond.mask is not None and options.rounds > 0
        options.refuse_idle(cond, self.accepts, "repaint" if repainted else "solver")
        if options.grid == "own" and options.steps > POINTS:
            raise ConfigError(f"The grid 'own' is chosen among {POINTS} steps: take another grid for {options.steps}.")
        if options.negative and "tokens" in self.accepts:
            self.tokens([options.negative], cut=False)  # refuses what is too long
        if self.plan is not None and options.tile:
            raise ConfigError("A picture that is drawn after a plan cannot be drawn tile by tile.")
        most = [side * LARGER for side in self.config.shape[1:]]
        if options.size and not options.tile and any(side > limit for side, limit in zip(options.size, most)):
            said = f"{options.size[1]} x {options.size[0]} is not possible at once: at most {most[1]} x {most[0]}"
            more = f", or more with -o tile={max(16, *self.config.shape[1:])}" if self.tiled and self.plan is None else ""
            raise ConfigError(f"{said}{more}.")
        if options.boxes and not self.grounding:
            raise ConfigError("An option cannot act here, boxes: this model does not draw after a layout.")
        parse_boxes(options.boxes)  # refuses what is none
        if repainted:
            return
        if options.solver.startswith(FOREIGN):
            if options.strength < 1:
                raise ConfigError("A scheduler of diffusers starts from noise alone: for a strength below 1, use a solver of our own.")
            make_scheduler(options.solver, self.path, options.steps)
        if options.solver == "ddpm" and self.config.learned_variance and options.tile:
            raise ConfigError("A learned variance cannot be drawn tile by tile: use another solver, or no tiles.")

    def asked(
        self, cond: Condition, n: int, options: DiffusionOptions, shares: dict[float, Tensor] | None = None, plan: Tensor | None = None
    ) -> Denoiser:
        """The denoiser of n rows with everything that the options ask for."""
        told = self.told(cond, n)
        told = told if plan is None else told._replace(plan=plan)
        denoise = self.denoiser(told, shares)
        if self.branches(options) == 2 and (cond.label is not None or cond.tokens is not None):
            null = self.nothing(n, options.negative)
            if self.grounding:  # what no boxes look like was learnt: it is not zero
                null = null._replace(plan=self.ground([()] * n, told.plan.shape[-2:]))
            both = self.denoiser(told.beside(null), shares)
            denoise = guided(both, options.guidance, denoise, options.interval)
        if options.tile:
            denoise = tiled(denoise, (options.tile, options.tile), min(options.overlap, options.tile - 1))
        return shown(clamped(denoise) if options.clamp else denoise, self.from_latent)

    def branches(self, options: DiffusionOptions) -> int:
        return 2 if options.guidance != 1 and (self.config.classes or self.text) else 1

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
        version = self.weights_version
        if self._own[0] != version:
            rng = Rng(range(16), self.device)
            label = torch.arange(16, device=self.device) % len(self.config.classes) if self.config.classes else None
            x = self.path.at(self.path.start)[2] * rng.normal(*self.space)
            told = self.told(Condition(label=label), 16)
            told = told._replace(plan=self.ground([()] * 16, self.space[1:])) if self.grounding else told
            self._own = (version, *local_errors(self.denoiser(told), x, self.path))
        return self._own[1:]

    def sample(
        self, rng: Rng, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None, lead: Lead | None = None
    ) -> Tensor:
        """lead: what images are led towards while they are drawn."""
        self.refuse(options, cond)
        height, width = (None, None) if cond.image is None else cond.image.shape[-2:]
        image = self.from_latent(self.latents(rng, cond, options, on_step, lead and lead.within(self.from_latent)))[..., :height, :width]
        if cond.mask is None:
            return image
        return cond.image + cond.mask * (image - cond.image)  # known pixels come back bit by bit

    def latents(
        self, rng: Rng, cond: Condition, options: DiffusionOptions, on_step: OnStep | None = None, lead: Lead | None = None
    ) -> Tensor:
        """What `sample` makes images of, (N, C, H, W) where diffusion happens."""
        plan, grid = cond.plan, self.grid(options)
        given, mask = None if cond.image is None else self.to_latent(cond.image), None
        size = self.sides(options.size or self.config.shape[1:]) if given is None else tuple(given.shape[-2:])
        if self.grounding and plan is None:
            told = cond.tokens is not None and given is None  # a picture that is edited has a layout of its own
            plan = self.ground(self.laid_out(rng, cond, options) if told else [()] * len(rng), size)
        elif plan is None and self.plan is not None and cond.tokens is not None:
            plan, on_step = drawn(self.plan, rng, cond, options, on_step, len(grid) - 1)
        if cond.mask is not None:  # whatever holds a pixel to be made is made
            mask = cond.mask if given.shape[-2:] == cond.mask.shape[-2:] else F.adaptive_max_pool2d(cond.mask, given.shape[-2:])
        repainted = mask is not None and options.rounds > 0
        shape = (self.space[0], *size)
        shares = {} if options.solver == "ddpm" and self.config.learned_variance and not repainted else None
        denoise = self.asked(cond, len(rng), options, shares, plan)
        denoise = denoise if lead is None else led(denoise, lead, self.path)
        noise = lambda: rng.normal(*shape)  # noqa: E731
        _, a, s = grid[0]
        x = s * noise()  # (N, C, H, W)
        if given is not None and options.strength < 1:
            x = a * given + x
        if repainted:
            return repaint(denoise, x, grid, noise, given, mask, options.rounds, on_step)
        return self.walk(denoise if mask is None else keeping(denoise, given, mask), x, grid, rng, options, shares, on_step)

    def foresee(self, rng: Rng, cond: Condition, options: DiffusionOptions, lead: Lead | None = None) -> tuple[Tensor, Tensor]:
        """The plans of these rows, (N, P, h, w), and the features of an eye that they stand for, (N, F, h, w). lead: what such features are
        led towards. Raises ConfigError where it plans otherwise."""
        features = getattr(getattr(self.plan, "autoencoder", None), "features", None)
        if features is None or cond.tokens is None:
            raise ConfigError("This model has no plan that a judge could read: model.plan is one among the features of an 'eye'.")
        plans, _ = drawn(self.plan, rng, cond, options, None, 0, lead and lead.within(features))
        return plans, features(plans)

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
        planning = self.plan.evaluations(self.plan.default_options()) if self.plan and not self.grounding else 0
        return len(times) + (sum(low <= t <= high for t in times) if self.branches(options) == 2 else 0) + planning

    def times(self, options: DiffusionOptions) -> list[float]:
        """When the solver asks for an estimate."""
        if options.solver.startswith(FOREIGN):
            return scheduler_times(make_scheduler(options.solver, self.path, options.steps), self.path)
        times = [t for t, _, _ in self.grid(options)[:-1]]
        return [times[0], *(t for t in times[1:] for _ in range(2))] if options.solver == "heun" else times

    def deployed(self) -> tuple[nn.Module, dict[str, Tensor]]:
        x = torch.zeros(2, *self.space, device=self.device)
        label = {"label": torch.zeros(2, dtype=torch.long, device=self.device)} if self.config.classes else {}
        tokens = {} if self.text is None else {"tokens": self._filled(self.tokens(["a", "a"])).to(self.device)}
        tokens |= {"plan": torch.zeros(2, self.planned, *self.space[1:], device=self.device)} if self.plan else {}
        return _Estimate(self), {"x": x, "t": torch.full((2,), 0.5, device=self.device), **label, **tokens}

    def _filled(self, tokens: Tensor) -> Tensor:
        """Padded to the longest text that there may be: (N, L) to the same."""
        return F.pad(tokens, (0, self.text.length - tokens.shape[1]))


def shown(denoise: Denoiser, image: Callable[[Tensor], Tensor]) -> Denoiser:
    """The denoiser; whoever watches sees its estimates as images."""

    def show(x: Tensor, t: float) -> Tensor:
        d = denoise(x, t)
        seen(lambda: image(d))
        return d

    return show


class _Estimate(nn.Module):
    """D(x, t) as a module of its own: what a solver elsewhere needs."""

    def __init__(self, model: Estimator):
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, t: Tensor, label: Tensor | None = None, tokens: Tensor | None = None, plan: Tensor | None = None
    ) -> Tensor:
        told = Told(label) if tokens is None else self.model.read(label, tokens)
        told = told if plan is None else told._replace(plan=plan)
        return self.model.estimate(x, t, told)[0]
