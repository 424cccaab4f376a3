"""Objective and Phase: what is learnt, in which turns."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model


@dataclass(frozen=True)
class Phase:
    """One turn of a training step: `loss(phase, ...)` is followed by a step of `optimizer` on the parameters of `trains`.

    every: the phase runs on steps divisible by it. optimizer: phases that name the same one share its state.
    lr: a factor on the run's learning rate. betas: of Adam, None for the run's.
    """

    name: str
    trains: tuple[nn.Module, ...]
    optimizer: str = "main"
    every: int = 1
    lr: float = 1.0
    betas: tuple[float, float] | None = None

    def parameters(self) -> Iterator[nn.Parameter]:
        seen: set[int] = set()
        for module in self.trains:
            for p in module.parameters():
                if id(p) not in seen:
                    seen.add(id(p))
                    yield p


CAPTIONS = "a folder needs metadata.csv (file_name, text), or a .txt beside each image"  # what is said where there are none


def refuse_uncaptioned(batch: Batch) -> None:
    """Raise ConfigError where rows of the data have no texts."""
    if batch.text is None:
        raise ConfigError(f"These pictures have no captions: {CAPTIONS}.")


class Objective(nn.Module, ABC):
    """A loss for a model. It owns what is used only for learning: critics, teachers, perceptual networks.

    Every bit of its state lies in parameters or persistent buffers, so that a checkpoint is complete by construction.
    couples: rows of a batch interact in the loss (contrastive, batch statistics); it then goes through `step.gather` and
    `step.reduce`, and accumulation is refused. encoded: of a model that is an `Encoding`, that its encoder stays as it is.
    """

    couples: bool = False
    encoded: bool = True

    def __init__(self, config: ObjectiveConfig, model: Model):
        super().__init__()
        self.config = config
        # Held in a tuple, so that the model is not a submodule: its weights are saved once, in the model's own file.
        self._model = (model,)

    @property
    def model(self) -> Model:
        return self._model[0]

    def phases(self) -> list[Phase]:
        """The phases of one step, in order. One phase that trains the whole model, unless overridden."""
        return [Phase("main", (self.model,))]

    @abstractmethod
    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar, the mean over the batch, and named detached parts of it for the log."""

    def refuse(self, batch: Batch) -> None:
        """Raise ConfigError where rows of the data are not what this objective learns from: by default, clips. Asked with one row, before a
        run begins."""
        if batch.image.ndim == 5:
            raise ConfigError("These data are clips, and this model learns from pictures: leave the option frames out.")

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        """Pictures to look at, (N, C, H, W) each, side by side: what goes in, what comes out, what should. For models that draw nothing
        from noise; nothing by default."""
        return []

    def watch(self, figures: dict[str, float], progress: float) -> Iterable[str]:
        """Alarms in words about recent mean figures ("phase/part" to value), or those of held-out rows ("valid/part"): whichever of them
        there are. Nothing by default."""
        return ()

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Figures on held-out rows, "loss" among them (lower is better); `step.held_out` is true. The first phase's loss by default."""
        loss, parts = self.loss(self.phases()[0].name, batch, step)
        return {"loss": loss.detach(), **parts}
