"""A diffusion model taught to need few steps: `inkwash train distill --from RUN`."""

from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.data import Facts, View
from inkwash.methods.diffusion import DiffusionConfig, StudentConfig
from inkwash.methods.distillation import DistillationConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def distill(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """The run's own network, sampled in four steps. Raises ConfigError for a model that is no diffusion model."""
    if start.kind == "student":
        raise ConfigError("That run is a student already: distil the run that it came from.")
    if start.kind != "diffusion":  # nor one of a person's own, whose way of sampling a student would not share
        raise ConfigError(f"Only a diffusion model can be distilled, and this is a {start.kind!r} model.")
    if start.learned_variance:
        raise ConfigError("A model with a learned variance cannot be distilled: its second output would go to waste.")
    known = {name: getattr(start, name) for name in DiffusionConfig.model_fields if name not in ("kind", "options")}
    return RunConfig(
        data=DataConfig(source=source, view=View(size=start.shape[1:], channels=start.shape[0])),
        model=StudentConfig(**known),
        objective=DistillationConfig(),
        train=TrainConfig(batch=64, optimizer="muon", lr=6e-4, warm_up=2000, decay=0.3),
    )
