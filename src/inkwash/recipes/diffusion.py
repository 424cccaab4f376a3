"""Diffusion on any images: a flow model with a lean U-Net, on pixels or on latents."""

from inkwash.core.config import ModelConfig
from inkwash.data import Facts, View
from inkwash.diffusion.options import DiffusionOptions
from inkwash.methods.diffusion import DenoisingConfig, DiffusionConfig, LatentConfig
from inkwash.nn.unet import UNetConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def diffusion(source: str, facts: Facts) -> RunConfig:
    """Two levels up to 40 pixels and one more for each doubling; attention in the middle, where the map is smallest.

    With classes, a little guidance at the times at which shapes are settled and detail is drawn.
    """
    short = min(facts.height, facts.width)
    fold = 1 if short <= 12 else 2
    levels = 2 + sum(short > limit for limit in (40, 80, 160))
    options = DiffusionOptions(guidance=1.4, interval=(0.2, 0.6)) if facts.classes else DiffusionOptions()
    batch, lr = (128, 1.5e-3) if short <= 40 else (32, 8e-4)
    net = UNetConfig(width=64, mults=(1, 2, 4, 4, 4)[:levels], fold=fold)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=(facts.height, facts.width), channels=facts.channels)),
        model=DiffusionConfig(shape=(facts.channels, facts.height, facts.width), classes=facts.classes, net=net, options=options),
        objective=DenoisingConfig(mean=-0.4),
        train=TrainConfig(batch=batch, optimizer="muon", lr=lr, warm_up=2000, decay=1.0, ema_share=0.01),
    )


def latent_diffusion(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """Among the latents of a trained auto-encoder, --from RUN."""
    config, shape = diffusion(source, facts), start.shape
    side = min(start.build().space[1:])
    net = UNetConfig(width=96, mults=(1, 2, 4)[: 2 + (side > 16)], fold=1)
    view = View(size=shape[1:], channels=shape[0])
    model = LatentConfig(shape=shape, classes=facts.classes, net=net, options=config.model.options, autoencoder=start)
    train = config.train.model_copy(update={"batch": 128, "lr": 1.5e-3})
    data = DataConfig(source=source, view=view)
    return config.model_copy(update={"data": data, "model": model, "objective": DenoisingConfig(), "train": train, "part": "autoencoder"})
