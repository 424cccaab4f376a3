"""Planning: before a picture is learnt, learn from its text what will be seen in each place of it.

    loss = E || head(plan(text)) - eye(image) ||^2,  over all places

The eye is a trained captioner's: what it keeps of a place is what words are about. See `nn/plan.py` for why a denoiser alone does not
learn what "left of" is.

References: 1. Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation (what a picture will be, told from its text, as a stage of
its own; there one vector, here a map of means). 2. Romero et al. 2015, FitNets (a teacher's features as the goal).
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.config import AnyModel, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, Seer
from inkwash.core.objective import Objective, Phase, refuse_uncaptioned


class PlanningConfig(ObjectiveConfig):
    """teacher: a captioner, whose eye it is. label_dropout: share of rows that learn without text: the mean of all pictures."""

    kind: Literal["planning"] = "planning"
    teacher: AnyModel
    label_dropout: float = Field(0.1, ge=0, le=1)

    def build(self, model: Model) -> "Planning":
        return Planning(self, model)


class Planning(Objective):
    """The plan of a diffusion model learns; all else stays as it is."""

    def __init__(self, config: PlanningConfig, model: Model):
        super().__init__(config, model)
        if getattr(model, "plan", None) is None:
            raise ConfigError("The objective 'planning' teaches the plan of a diffusion model that reads text: this model has none.")
        self.teacher = config.teacher.build().requires_grad_(False)
        if not isinstance(self.teacher, Seer):
            raise ConfigError(f"A {config.teacher.kind!r} model does not tell what it sees in each place; a 'captioner' does.")
        if tuple(config.teacher.shape) != tuple(model.config.shape):
            raise ConfigError(f"The teacher sees pictures of {config.teacher.shape}, the model makes {model.config.shape}.")
        self.head = nn.Linear(model.plan.width, self.teacher.config.d)

    def phases(self) -> list[Phase]:
        return [Phase("main", (self.model.plan, self.head))]

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        refuse_uncaptioned(batch)

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            seen = self.teacher.places(batch.image)  # (N, P, D)
        plan = self.model.plan(self.model.hears(batch, step, self.config.label_dropout).tokens)
        plan = F.adaptive_avg_pool2d(plan, self.teacher.grid)  # as it is, where the grids agree
        error = (self.head(plan.flatten(2).transpose(1, 2)).float() - seen).square().mean()
        return error, {"mse": error.detach()}
