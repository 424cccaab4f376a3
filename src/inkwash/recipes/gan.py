"""A GAN on any images."""

from inkwash.data import Facts, View
from inkwash.methods.gan import GANConfig, NonSaturatingConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def gan(source: str, facts: Facts) -> RunConfig:
    """Non-saturating with lazy R1, one critic step to one of the generator."""
    shape, short = (facts.channels, facts.height, facts.width), min(facts.height, facts.width)
    net = PyramidConfig(fold=1 if short <= 12 else 2)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=GANConfig(shape=shape, classes=facts.classes, net=net),
        objective=NonSaturatingConfig(net=net),
        train=TrainConfig(batch=128 if short <= 40 else 32, lr=1e-3, warm_up=0, decay=0.3, ema=10000.0),
    )
