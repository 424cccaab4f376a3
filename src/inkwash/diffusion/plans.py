"""A plan: latents of another, smaller diffusion model that reads the same text, drawn before the picture, and seen beside it.

Where things go is settled while a picture is nearly all noise, and in squared error of pixels or latents it weighs next to nothing: a
relation between two things a few thousandths. A model among features that words are about (`methods/eye.py`) learns it; one that sees what
that drew has only to paint. While learning, the plan is what the eye sees in the true picture, with a little noise, since a drawn plan is
never quite that (reference 1, noise conditioning augmentation, here of a random small amount that nobody is told of).

References: 1. Ho et al. 2022, Cascaded Diffusion Models for High Fidelity Image Generation. 2. Ramesh et al. 2022, Hierarchical
Text-Conditional Image Generation.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.batch import Condition, Step
from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Arranger, OnStep
from inkwash.core.rng import Rng
from inkwash.diffusion.guidance import Lead
from inkwash.diffusion.options import DiffusionOptions

if TYPE_CHECKING:
    from inkwash.diffusion.estimator import Estimator

MAPS = ("plan.", "sketch.", "grounding.")  # how names of what makes them begin


def build_plan(config: ModelConfig) -> "Estimator | Arranger | None":
    """The model that plans for one of this configuration; None where it does without. Raises ConfigError where the two do not fit."""
    if (config.grounding is not None) != (config.plan is not None and config.plan.kind == "layout"):
        raise ConfigError("model.grounding is how the boxes of a 'layout' are seen, which is a plan of its own kind: both or none.")
    if config.plan is None:
        return None
    known = [getattr(c.text, "tokenizer", None) if hasattr(c, "text") else None for c in (config, config.plan)]
    if None in known or any(t.model_copy(update={"words": ()}) != known[0].model_copy(update={"words": ()}) for t in known):
        raise ConfigError("model.plan is a diffusion model that reads text by the same tokenizer as the model that draws after it.")
    if tuple(config.plan.shape) != tuple(config.shape):
        raise ConfigError(f"model.plan is of pictures of {config.plan.shape}, the model makes {config.shape}.")
    if config.sketch is not None:
        raise ConfigError("A model has model.plan or model.sketch, not both: the plan has the sketch.")
    if config.grounding:
        return config.plan.build()
    return config.plan.model_copy(update={"lora": config.plan.lora or config.lora}).build()


def widened(own: dict[str, Tensor], tensors: dict[str, Tensor], more: int) -> dict[str, Tensor]:
    """Weights of another model for one, whose weights are `own`, that sees a map of so many channels beside its input, 0 for none: it
    begins as if it saw nothing there. Maps of another kind are forgotten."""
    out = {name: value for name, value in own.items() if name.startswith(MAPS)}
    for name, value in tensors.items():
        if name.startswith(MAPS):
            continue
        if value.ndim == 4 and name in own and own[name].shape[1] != value.shape[1]:
            seen = own[name].shape[1] - more
            value = F.pad(value[:, :seen], (0, 0, 0, 0, 0, more))
        out[name] = value
    return out


def on_grid(plan: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, P, h, w) spread over another grid: (N, P, *grid)."""
    return plan if tuple(plan.shape[-2:]) == tuple(grid) else F.interpolate(plan, grid, mode="bilinear", align_corners=False)


def beside(x: Tensor, plan: Tensor | None, channels: int) -> Tensor:
    """(N, C, H, W) and a plan of any size, None for none: (N, C + channels, H, W)."""
    if plan is None:
        return F.pad(x, (0, 0, 0, 0, 0, channels))
    return torch.cat([x, on_grid(plan, x.shape[-2:]).to(x.dtype)], 1)


def taught(plan: Tensor, heard: Tensor, step: Step, noise: float, dropout: float) -> Tensor:
    """What rows see of their true plans (N, P, H, W) while learning: with noise of up to this share; nothing (zeros) where nothing was
    heard, bool (N,), and for about this share of the others, so that a model can also do without."""
    u, v = step.rng.uniform(2).unbind(1)
    share = (noise * u)[:, None, None, None].to(plan)
    seen = (1 - share) * plan + share * step.rng.normal(*plan.shape[1:]).to(plan)
    return seen * (heard.to(v.device) & (v >= dropout))[:, None, None, None].to(plan)


def drawn(
    plan: "Estimator", rng: Rng, cond: Condition, options: DiffusionOptions, on_step: OnStep | None, steps: int, lead: Lead | None = None
) -> tuple[Tensor, OnStep | None]:
    """Plans of rows, (N, P, h, w), for pictures of so many steps; and what counts these, after the plan's. They depend on the text, and
    where a picture is edited on that picture, by as much. lead: what they are led towards."""
    asked = {"size": options.size, "strength": options.strength, **({"negative": options.negative} if options.guidance != 1 else {})}
    own = plan.default_options().override(asked)
    before = len(plan.grid(own)) - 1
    count = on_step and (lambda done, total: on_step(done, total + steps))
    cond = Condition(tokens=cond.tokens, image=cond.image, mask=cond.mask)
    return plan.latents(rng.fork("plan"), cond, own, count, lead), on_step and (lambda done, total: on_step(before + done, before + total))
