"""GANs on any images: the default, and those that made history, each as its paper has it but for the optimiser, which is Adam."""

from typing import Any

from inkwash.data import Facts, View
from inkwash.methods.gan import AdversarialConfig, GANConfig
from inkwash.nn.dcgan import DCGANConfig, MLPConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def _pyramid(facts: Facts, **values: Any) -> PyramidConfig:
    """Half as wide as a VAE's: in minutes on a CPU more images seen count for more than width."""
    return PyramidConfig(width=32, fold=1 if min(facts.height, facts.width) <= 12 else 2, **values)


def _run(source: str, facts: Facts, model: dict[str, Any], objective: dict[str, Any], **train: Any) -> RunConfig:
    shape = (facts.channels, facts.height, facts.width)
    usual = {"batch": 128 if min(shape[1:]) <= 40 else 32, "warm_up": 0, "decay": 0.3, "ema": 10000.0}
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=GANConfig(shape=shape, classes=facts.classes, **model),
        objective=AdversarialConfig(**objective),
        train=TrainConfig(**(usual | train)),
    )


def gan(source: str, facts: Facts) -> RunConfig:
    """Non-saturating with R1, of every eighth row (Mescheder et al. 2018), one critic step to one of the generator."""
    net = _pyramid(facts)
    return _run(source, facts, {"net": net}, {"net": net}, lr=2e-3)


def minimax(source: str, facts: Facts) -> RunConfig:
    """Goodfellow et al. 2014: fully connected, the generator lowers log(1 - D), nothing holds the critic. To be seen failing."""
    model = {"net": MLPConfig(), "latent": 100}
    objective = {"net": MLPConfig(), "loss": "minimax", "r1": 0, "r2": 0, "condition": "concat", "betas": (0.5, 0.999)}
    return _run(source, facts, model, objective, lr=2e-4)


def cgan(source: str, facts: Facts) -> RunConfig:
    """Mirza and Osindero 2014: the same pair with the class as an input of both, non-saturating."""
    config = minimax(source, facts)
    return config.override({"objective.loss": "non-saturating"})


def dcgan(source: str, facts: Facts) -> RunConfig:
    """Radford et al. 2016: convolutions with batch norm, non-saturating. Several processes do not train as one."""
    model = {"net": DCGANConfig(), "latent": 100}
    objective = {"net": DCGANConfig(), "loss": "non-saturating", "r1": 0, "r2": 0, "condition": "concat", "betas": (0.5, 0.999)}
    return _run(source, facts, model, objective, lr=2e-4)


def wgan(source: str, facts: Facts) -> RunConfig:
    """Arjovsky et al. 2017: the critic's weights within 0.01, five steps of it to one of the generator."""
    config = dcgan(source, facts)
    said = {"loss": "wasserstein", "clip": 0.01, "critic_steps": 5, "betas": (0.0, 0.99)}
    return config.model_copy(update={"objective": config.objective.model_copy(update=said)}).override({"train.lr": 5e-5})


def wgan_gp(source: str, facts: Facts) -> RunConfig:
    """Gulrajani et al. 2017: a slope of 1 between images and drawings, at every one of five critic steps."""
    net = _pyramid(facts)
    objective = {"net": net, "loss": "wasserstein", "r1": 0, "r2": 0, "lipschitz": 10, "penalty_rows": 1, "critic_steps": 5}
    return _run(source, facts, {"net": net}, objective | {"betas": (0.0, 0.9)}, lr=2e-4)


def acgan(source: str, facts: Facts) -> RunConfig:
    """Odena et al. 2017: the critic also names the class. On the default's networks and penalties."""
    config = gan(source, facts)
    return config.override({"objective.condition": "auxiliary"})


def sagan(source: str, facts: Facts) -> RunConfig:
    """Zhang et al. 2019: hinge, spectral norm on both sides, self-attention on the second map, a faster critic."""
    side = -(-min(facts.height, facts.width) // _pyramid(facts).fold // 2)
    net = _pyramid(facts, attention=(side,))
    objective = {"net": net, "loss": "hinge", "r1": 0, "r2": 0, "spectral": True, "critic_lr": 4.0, "betas": (0.0, 0.9)}
    return _run(source, facts, {"net": net, "spectral": True}, objective, lr=1e-4)
