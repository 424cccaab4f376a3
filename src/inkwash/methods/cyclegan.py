"""CycleGAN: translation between two kinds of picture from examples of each, none of which belong together.

Two networks, F from a to b and G back; a critic of patches for each side. What went there and back must be what it was:

    critics:     the game's critic loss on each side, against drawings new and old (a pool of 50)
    generators:  the game's generator loss on both sides
                 + cycle (E | G(F(a)) - a | + E | F(G(b)) - b |)
                 + identity (E | F(b) - b | + E | G(a) - a |)

`batch.image` holds pictures of a, `batch.cond.image` pictures of b. The model's directions are ("b", "a").

References: 1. Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (equation 3, section 5.2 for
identity, section 4 for the pool). 2. Shrivastava et al. 2017 (a history of drawings).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model
from inkwash.core.objective import Objective, Phase
from inkwash.nn.critics import PatchConfig, PatchCritic, patch_penalty, patch_phases, patch_watch
from inkwash.nn.games import GAMES

STILL = 0.02  # mean change of a pixel, of a range of 2, that is hardly seen


class CycleConfig(ObjectiveConfig):
    """loss: the game. cycle, identity: weights. pool: old drawings that the critics are shown, 0 for none. r1: weight of the penalty on
    the critics' slope at real pictures; penalty_every: steps between penalties."""

    kind: Literal["cycle"] = "cycle"
    loss: Literal["non-saturating", "least-squares", "hinge", "relativistic"] = "relativistic"
    cycle: float = Field(10.0, ge=0)
    identity: float = Field(2.0, ge=0)
    pool: int = Field(50, ge=0)
    r1: float = Field(1.0, ge=0)
    penalty_every: int = Field(8, ge=1)
    critic: PatchConfig = PatchConfig()

    def build(self, model: Model) -> "Cycle":
        return Cycle(self, model)


class Pool(nn.Module):
    """Drawings kept for later: half of the rows that come are kept and an old one is given back for them."""

    def __init__(self, size: int, shape: tuple[int, int, int]):
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, fresh: Tensor, batch: Batch, step: Step) -> Tensor:
        """(N, C, H, W) to as many, some of them old. All processes keep the same pool, from the rows of all."""
        u = step.gather(step.rng.uniform(2)).tolist()
        rows, index = step.gather(fresh).clone(), step.gather(batch.index.to(fresh.device))
        for i, (swap, place) in enumerate(u):
            if self.count < len(self.kept):
                self.kept[self.count] = rows[i]
                self.count += 1
            elif swap < 0.5:
                at = int(place * len(self.kept))
                old = self.kept[at].clone()
                self.kept[at], rows[i] = rows[i], old
        return rows[torch.isin(index, batch.index.to(index))]


class Cycle(Objective):
    """Critics, penalty, generators: three phases and two optimisers."""

    def __init__(self, config: CycleConfig, model: Model):
        super().__init__(config, model)
        if len(model.directions) != 2:
            raise ConfigError("A cycle goes two ways: the model needs two directions.")
        self.couples = config.pool > 0
        self.critics = nn.ModuleList(PatchCritic(config.critic, model.config.shape[0]) for _ in range(2))
        self.pools = nn.ModuleList(Pool(config.pool, model.config.shape) for _ in range(2 if config.pool else 0))
        self.game = GAMES[config.loss]

    def phases(self) -> list[Phase]:
        return patch_phases(self.critics, self.model, self.config.penalty_every if self.config.r1 else 0, "s")

    def refuse(self, batch: Batch) -> None:
        super().refuse(batch)
        if batch.cond.image is None:
            raise ConfigError("Translation between two kinds of picture needs both: --data A --data-b B.")

    def sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pictures of b and of a, as the directions have them."""
        return batch.cond.image, batch.image

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        real = self.sides(batch)
        if phase == "penalty":
            return patch_penalty(self.critics, real, self.config.r1, self.config.penalty_every)
        to = self.model.directions
        made = [self.model.translate(x, name) for x, name in zip(reversed(real), to)]  # b of a, a of b
        return self._critics(real, made, batch, step) if phase == "critics" else self._generators(real, made)

    def _critics(self, real: tuple[Tensor, ...], made: list[Tensor], batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        total, right = 0.0, 0.0
        for i, critic in enumerate(self.critics):
            drawn = self.pools[i](made[i].detach(), batch, step) if self.pools else made[i].detach()
            r, f = critic(real[i]), critic(drawn)
            total, right = total + self.game.critic(r, f).mean(), right + (r > f).float().mean() / 2
        return total, {"loss": total.detach(), "accuracy": right}

    def _generators(self, real: tuple[Tensor, ...], made: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        fooled = cycle = same = torch.zeros((), device=real[0].device)
        for i, (name, back) in enumerate(zip(self.model.directions, reversed(self.model.directions))):
            with torch.no_grad():
                r = self.critics[i](real[i]) if self.game.paired else None
            fooled = fooled + self.game.generator(r, self.critics[i](made[i])).mean()
            cycle = cycle + (self.model.translate(made[i], back) - real[1 - i]).abs().mean()
            if self.config.identity:
                same = same + (self.model.translate(real[i], name) - real[i]).abs().mean()
        loss = fooled + self.config.cycle * cycle + self.config.identity * same
        parts = {"loss": loss, "fooled": fooled, "cycle": cycle, "identity": same}
        return loss, {k: v.detach() for k, v in parts.items()}

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """How much pictures of a are changed, and how far they come back changed. Neither is a loss to choose by: whoever changes nothing
        comes back best."""
        _, a = self.sides(batch)
        to_b, to_a = self.model.directions
        there = self.model.translate(a, to_b)
        return {"cycle": (self.model.translate(there, to_a) - a).abs().mean(), "changed": (there - a).abs().mean()}

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        if figures.get("valid/changed", 1.0) < STILL and progress > 0.2:
            yield "pictures come out as they went in: try smaller objective.cycle and objective.identity, or a longer run"
        yield from patch_watch(figures, progress, "s")

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        (b, a), (to_b, to_a) = self.sides(batch), self.model.directions
        return [a, self.model.translate(a, to_b), b, self.model.translate(b, to_a)]
