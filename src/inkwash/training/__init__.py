"""The loop, the engine, checkpoints, the log and alarms."""

from inkwash.training.config import DataConfig, RunConfig, TrainConfig
from inkwash.training.run import train

__all__ = ["DataConfig", "RunConfig", "TrainConfig", "train"]
