"""Super-resolution on any photographs."""

from inkwash.core.config import ModelConfig
from inkwash.data import Facts, View
from inkwash.methods.srgan import SRGANConfig
from inkwash.methods.upscaler import RestorationConfig, UpscalerConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig

PATCH = 48  # side of the small pictures


def upscaler(source: str, facts: Facts) -> RunConfig:
    """Super-resolution for fidelity: four times, from small pictures of 48 x 48 cut, mirrored and turned at random."""
    scale = 4
    short = PATCH * scale if facts.note else min(facts.height, facts.width)  # pictures of many sizes are cut, not made small
    side = max(1, min(PATCH, short // scale)) * scale
    view = View(size=(side, side), channels=facts.channels, fit="window", random_crop=True, flip=True, turn=True)
    return RunConfig(
        data=DataConfig(source=source, view=view),
        model=UpscalerConfig(shape=(facts.channels, side, side), scale=scale),
        objective=RestorationConfig(),
        train=TrainConfig(batch=16, optimizer="muon", lr=1e-3, warm_up=1000, decay=1.0, ema_share=0.02, validate_images=64),
    )


def srgan(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """Super-resolution for sharpness, from a trained upscaler on: a critic, and features of a network that sees."""
    config = upscaler(source, facts)
    train = config.train.model_copy(update={"optimizer": "adamw", "lr": 2e-4, "decay": 0.5})
    return config.model_copy(update={"model": start, "objective": SRGANConfig(), "train": train})
