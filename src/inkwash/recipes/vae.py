"""VAEs on any images."""

from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.data import Facts, View
from inkwash.methods.autoencoder import AutoencoderConfig, ReconstructionConfig
from inkwash.methods.vae import ELBOConfig, VAEConfig
from inkwash.methods.vqvae import VQConfig, VQVAEConfig
from inkwash.nn.critics import AdversaryConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def vae(source: str, facts: Facts) -> RunConfig:
    """A latent of 64 numbers for small images, 128 from 48 pixels on."""
    shape, short = (facts.channels, facts.height, facts.width), min(facts.height, facts.width)
    net = PyramidConfig(fold=1 if short <= 12 else 2)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=VAEConfig(
            shape=shape,
            classes=facts.classes,
            latent=64 if short < 48 else 128,
            likelihood="bernoulli" if facts.levels == 2 else "logistic",
            net=net,
        ),
        objective=ELBOConfig(),
        train=TrainConfig(batch=128 if short <= 40 else 64),
    )


def vqvae(source: str, facts: Facts) -> RunConfig:
    """A grid of codes, one for 4 x 4 pixels, or for 8 x 8 from 128 pixels on; a critic at its side (none: objective.adversary=null)."""
    shape, short = (facts.channels, facts.height, facts.width), min(facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=VQVAEConfig(shape=shape, net=GridConfig(stride=8 if short >= 128 else 4)),
        objective=VQConfig(adversary=AdversaryConfig(weight=0.3)),
        train=TrainConfig(batch=64, optimizer="muon", lr=3e-3, samples=32),
    )


def autoencoder(source: str, facts: Facts, start: ModelConfig | None = None) -> RunConfig:
    """A map of four numbers for 4 x 4 pixels, or for 8 x 8 from 128 pixels on; --from one, it goes on. The plain one: objective.kl=0.

    Raises ConfigError for a start that is none.
    """
    shape, short = (facts.channels, facts.height, facts.width), min(facts.height, facts.width)
    model = AutoencoderConfig(shape=shape, net=GridConfig(stride=8 if short >= 128 else 4))
    if start is not None:
        if not isinstance(start, AutoencoderConfig):
            raise ConfigError(f"The recipe 'autoencoder' goes on with an auto-encoder, not with a {start.kind!r} model.")
        model, shape = start, start.shape
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=shape[0])),
        model=model,
        objective=ReconstructionConfig(),
        train=TrainConfig(batch=64, optimizer="muon", samples=32),
    )
