"""Fitting at once: the objective of models that are not trained step by step."""

from typing import ClassVar, Literal

from pydantic import Field

from inkwash.core.config import ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model
from inkwash.core.objective import Objective


class FitConfig(ObjectiveConfig):
    """For a `Fittable`. images: how many of the data it is fitted to, at most."""

    kind: Literal["fit"] = "fit"
    at_once: ClassVar[bool] = True
    images: int = Field(20000, ge=2)

    def build(self, model: Model) -> Objective:
        raise ConfigError(f"A {model.config.kind!r} model is fitted at once, not trained step by step.")
