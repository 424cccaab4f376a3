"""A stranger's model and objective: two convolutions, least squares, one buffer that a loss moves."""

from typing import Literal

import torch
from torch import nn

from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.model import Model, Options, Sampler
from inkwash.core.objective import Objective
from inkwash.data import Dataset, open_source
from inkwash.training import DataConfig, RunConfig, TrainConfig


class ToyOptions(Options):
    scale: float = 1.0


class Toy(Model, Sampler):
    """The mean image, blurred by what was learnt."""

    Options = ToyOptions

    def __init__(self, config):
        super().__init__(config)
        c = config.shape[0]
        self.first, self.second = nn.Conv2d(c, config.width, 3, padding=1), nn.Conv2d(config.width, c, 3, padding=1)

    def forward(self, x):
        return self.second(self.first(x))

    def sample(self, rng, cond, options, on_step=None):
        return self(options.scale * rng.normal(*self.config.shape)).tanh()


class ToyConfig(ModelConfig):
    kind: Literal["toy:ToyConfig"] = "toy:ToyConfig"
    shape: tuple[int, int, int]
    width: int = 5

    def build(self) -> Toy:
        return Toy(self)


class Counting(Objective):
    """Counts its calls in a buffer, and weighs the loss by nothing."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.register_buffer("calls", torch.zeros(()))

    def loss(self, phase, batch, step):
        self.calls += 1
        noisy = batch.image + 0.1 * step.rng.normal(*batch.image.shape[1:])
        loss = (self.model(noisy) - batch.image).square().mean()
        return loss, {"loss": loss.detach()}


class CountingConfig(ObjectiveConfig):
    kind: Literal["toy:CountingConfig"] = "toy:CountingConfig"

    def build(self, model) -> Counting:
        return Counting(self, model)


def recipe(source, facts) -> RunConfig:
    """What `inkwash train toy.py:recipe` calls."""
    return RunConfig(
        data=DataConfig(source=source),
        model=ToyConfig(shape=(facts.channels, facts.height, facts.width)),
        objective=CountingConfig(),
        train=TrainConfig(steps=3, batch=4, warm_up=0, samples=4, precision="fp32"),
    )


def toy_config(source, **settings):
    """A run of it on the CPU that looks at no samples; settings are those of training."""
    config = recipe(source, Dataset(open_source(source)).facts)
    return config.override({f"train.{k}": v for k, v in {"device": "cpu", "samples": 0, "log_every": 1e9, **settings}.items()})
