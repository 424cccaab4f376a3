"""What can be asked of a diffusion model when it samples."""

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.model import Options
from inkwash.diffusion.schedulers import FOREIGN
from inkwash.diffusion.solvers import SOLVERS

ETA = {"ddim": 0.0, "euler": 0.0, "dpmpp-2m": 0.8}  # solvers with a choice of fresh noise, and the usual share


class DiffusionOptions(Options):
    """solver: how to walk from noise to image, diffusers:NAME for one of its schedulers. steps: how many. grid: where they lie.

    guidance: 1 is off, above 1 exaggerates the class; interval: the times at which it acts. eta: fresh noise in ddim (0 unless said) and
    dpmpp-2m (0.8 unless said, which corrects what the network gets wrong), 0 none to 1 as ddpm. overshoot: dpmpp-2m's extrapolation
    times this, 1 for the textbook's. churn: noise that heun adds and removes. clamp: keep every estimate of the image within the range
    of pixels. size: (height, width) other than that of training. tile: side of the tiles that a larger image is made of, 0 for none;
    overlap: theirs. strength: with an image to start from, how much of the noise it gets. rounds: with known pixels, passes of RePaint,
    0 for none.
    """

    solver: str = "dpmpp-2m"
    steps: int = Field(14, ge=1, le=10000)
    grid: Literal["uniform", "karras", "shifted", "own"] = "uniform"
    guidance: float = Field(1.0, ge=0, allow_inf_nan=False)
    interval: tuple[float, float] = (0.0, 1.0)
    eta: float | None = Field(None, ge=0, le=1)
    overshoot: float = Field(1.4, ge=0, le=4)
    churn: float = Field(0.0, ge=0)
    clamp: bool = False
    size: tuple[PositiveInt, PositiveInt] | None = None
    tile: int = Field(0, ge=0)
    overlap: int = Field(8, ge=0)
    strength: float = Field(1.0, gt=0, le=1)
    rounds: int = Field(0, ge=0)

    @field_validator("solver")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SOLVERS and not value.startswith(FOREIGN):
            raise ValueError(f"a solver is one of {', '.join(SOLVERS)}, or {FOREIGN}NAME")
        return value

    def refuse_idle(self, cond: Condition, classes: bool) -> None:
        """Raise ConfigError for an option that cannot act on this condition, or for want of classes: silence would pass for obedience."""
        idle = {
            f"eta: {self.solver} takes no share of fresh noise": self.eta is not None and self.solver not in ETA,
            "churn: only heun takes it": self.churn and self.solver != "heun",
            "guidance: this model was trained without classes": self.guidance != 1 and not classes,
            "size: an image keeps its own": self.size and cond.image is not None,
            "strength: there is no image to start from": self.strength < 1 and cond.image is None,
            "rounds: there is no mask": self.rounds and cond.mask is None,
        }
        if said := [what for what, is_idle in idle.items() if is_idle]:
            raise ConfigError(f"An option cannot act here, {said[0]}.")
