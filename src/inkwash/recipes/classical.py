"""The models before the deep ones."""

from inkwash.data import Facts, View
from inkwash.methods.fitting import FitConfig
from inkwash.methods.gmm import GMMConfig
from inkwash.methods.hmm import HMMConfig
from inkwash.methods.rbm import PCDConfig, RBMConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def rbm(source: str, facts: Facts) -> RunConfig:
    """A Boltzmann machine of 500 hidden units; images that are not black and white become so at random."""
    shape = (facts.channels, facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=RBMConfig(shape=shape, binarise=facts.levels > 2),
        objective=PCDConfig(),
        train=TrainConfig(batch=128, lr=1e-3, decay=0.7, samples=16, precision="fp32"),
    )


def gmm(source: str, facts: Facts) -> RunConfig:
    """Twenty Gaussians on the first principal components, at most 100 of them. Fitted at once."""
    shape = (facts.channels, facts.height, facts.width)
    pixels = facts.channels * facts.height * facts.width
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=GMMConfig(shape=shape, components=max(1, min(20, facts.count // 50)), pca=min(100, pixels // 2)),
        objective=FitConfig(),
        train=TrainConfig(steps=1, precision="fp32"),
    )


def hmm(source: str, facts: Facts) -> RunConfig:
    """A chain of 64 states over the rows of images of two levels, or of 16."""
    shape = (facts.channels, facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=HMMConfig(shape=shape, levels=2 if facts.levels == 2 else 16),
        objective=FitConfig(images=10000),
        train=TrainConfig(steps=1, precision="fp32"),
    )
