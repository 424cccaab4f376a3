"""RunConfig: everything that decides a run, in one value. It goes to run.json and comes back for a resume."""

import math
from typing import Literal

from pydantic import Field

from inkwash.core.config import AnyModel, AnyObjective, Config
from inkwash.data.view import View


class DataConfig(Config):
    """source: what `open_source` takes. beside: another source, whose images are the other side of an unpaired translation.
    limit: train on so many images only, drawn at random; None for all. validation: the split that chooses the best checkpoint, None
    for none."""

    source: str
    beside: str | None = None
    split: str = "train"
    limit: int | None = Field(None, ge=1)
    validation: str | None = "test"
    view: View = View()
    memory_gb: float = Field(8.0, gt=0)


class TrainConfig(Config):
    """steps or budget (seconds of wall clock) ends the run, what comes first of both. batch: images a step, over all processes.

    accumulate: micro-batches a step. optimizer: "muon" takes orthogonalised steps where weights are matrices. lr: its rate; warm_up:
    images over which it rises, a tenth of the run at most; decay: the last share of the run over which it falls to zero. clip: largest
    norm of a phase's gradient. ema: half-life in images, and never more than the share ema_share of the images seen so far.
    precision: "auto" times one convolution. compile: torch.compile the networks; the run says when that pays. checkpoint_every: in
    steps; held-out images are looked at then too. log_every and sample_every: in seconds. samples: images of a sample grid; prompts: what
    they are of where the model reads, captions of held-out rows unless said. keep: how many checkpoints stay.
    """

    steps: int | None = Field(None, ge=1)
    budget: float | None = Field(None, gt=0)
    batch: int = Field(128, ge=1)
    accumulate: int = Field(1, ge=1)
    seed: int = 0
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    warm_up: int = Field(5000, ge=0)
    decay: float = Field(0.4, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
    ema: float = Field(20000.0, ge=0)
    ema_share: float = Field(0.05, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    device: str = "auto"
    checkpoint_every: int = Field(500, ge=1)
    keep: int = Field(2, ge=1)
    log_every: float = Field(5.0, ge=0)
    sample_every: float = Field(60.0, gt=0)
    samples: int = Field(64, ge=0)
    prompts: tuple[str, ...] = ()
    validate_images: int = Field(512, ge=1)
    tensorboard: bool = False

    def length(self, seconds: float) -> float:
        """Steps of the whole run, where one takes so many seconds."""
        return min(self.steps or math.inf, (self.budget or math.inf) / seconds)

    def progress(self, steps: int, elapsed: float) -> float:
        """0 to 1, after so many steps and seconds: the share of what it was given of either, the larger of the two."""
        return min(1.0, max(steps / (self.steps or math.inf), elapsed / (self.budget or math.inf)))

    def left(self, steps: int, elapsed: float, seconds: float) -> float:
        """Seconds to go after so many steps and seconds, where a step takes so many."""
        return max(0.0, min(((self.steps or math.inf) - steps) * seconds, (self.budget or math.inf) - elapsed))


class RunConfig(Config):
    """What a recipe returns: data, model, objective, training. start: a run or model folder whose weights training begins with.

    part: the model's attribute that they are for, where they are not for all of it. teacher: a run or model folder whose weights the
    objective's teacher has, for an objective with one of another kind than the model. plan: one whose weights the model's plan has.
    """

    data: DataConfig
    model: AnyModel
    objective: AnyObjective
    train: TrainConfig = TrainConfig()
    start: str | None = None
    part: str | None = None
    teacher: str | None = None
    plan: str | None = None
