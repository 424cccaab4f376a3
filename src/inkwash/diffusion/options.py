"""What can be asked of a diffusion model when it samples."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, field_validator

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.model import Options
from inkwash.diffusion.schedulers import FOREIGN
from inkwash.diffusion.solvers import SOLVERS

Way = Literal["solver", "repaint", "inversion"]
LISTED = [{"enum": [*SOLVERS]}, {"pattern": rf"^{FOREIGN}\w+$", "examples": [f"{FOREIGN}DEISMultistep"]}]  # solvers, as JSON schema
ETA = {"ddim": 0.0, "euler": 0.0, "dpmpp-2m": 0.9}  # solvers with a choice of fresh noise, and the usual share


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= value[0] <= value[1] <= 1:  # nor a number that is none
        raise ValueError("an interval is two times between 0 and 1, the lower one first")
    return value


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]  # times at which guidance acts


class DiffusionOptions(Options):
    """solver: how to walk from noise to image, diffusers:NAME for one of its schedulers. steps: how many. grid: where they lie; shift: of
    sigma in the grid "shifted"; rho: of "karras". guidance: 1 is off, above 1 exaggerates class or text; interval: the times at
    which it acts; negative: a text that it leads away from.

    eta: fresh noise in ddim (0 unless said) and dpmpp-2m (0.9 unless said, which corrects what the network gets wrong), 0 none to 1 as
    ddpm. overshoot: dpmpp-2m's extrapolation times this, 1 for the textbook's. order: unipc's. churn: noise that heun adds and removes.
    clamp: keep every estimate of the image within the range of pixels. size: (height, width) other than that of training. tile: side of
    the tiles that a larger image is made of, 0 for none; overlap: theirs. strength: with an image to start from, how much of the noise
    it gets. boxes: where things shall be, for a model that draws after a layout (`core.boxes.parse_boxes`), in place of one that it writes.
    rounds: with known pixels, passes of RePaint along DDPM's chain with its small variance, 0 for none.
    """

    solver: str = Field("dpmpp-2m", json_schema_extra={"anyOf": LISTED})
    steps: int = Field(14, ge=1, le=10000)
    grid: Literal["uniform", "karras", "shifted", "own"] = "uniform"
    shift: float = Field(2.0, gt=0, allow_inf_nan=False)
    rho: float = Field(7.0, gt=0, allow_inf_nan=False)
    guidance: float = Field(1.0, ge=0, allow_inf_nan=False)
    negative: str = ""
    interval: Interval = (0.0, 1.0)
    eta: float | None = Field(None, ge=0, le=1)
    overshoot: float = Field(1.4, ge=0, le=4)
    order: int = Field(2, ge=1, le=3)
    churn: float = Field(0.0, ge=0)
    clamp: bool = False
    size: tuple[PositiveInt, PositiveInt] | None = None
    tile: int = Field(0, ge=0)
    overlap: int = Field(8, ge=0)
    strength: float = Field(1.0, gt=0, le=1)
    rounds: int = Field(0, ge=0)
    boxes: str = ""

    @field_validator("solver")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SOLVERS and not value.startswith(FOREIGN):
            raise ValueError(f"a solver is one of {', '.join(SOLVERS)}, or {FOREIGN}NAME")
        return value

    def refuse_idle(self, cond: Condition, accepts: frozenset[str], way: Way = "solver") -> None:
        """Raise ConfigError for something that was asked for and cannot act. accepts: what the model can be told.

        way: what walks. "repaint" fills known pixels in along DDPM's chain, "inversion" is the way to noise and back.
        """
        walker, there_and_back = self.solver if way == "solver" else way, way == "inversion"
        of_its_own = "the way to noise and back has its own" if there_and_back else "RePaint walks DDPM's chain; with rounds=0 it acts"
        free = cond.label is None and cond.tokens is None
        asked = [name for name, key in (("class", "label"), ("text", "tokens")) if key in accepts]
        unguided = f"no {' or '.join(asked)} is asked for" if asked else "this model was trained without classes"
        still = self.guidance == 1 or there_and_back or free
        idle = [
            ("solver", of_its_own, there_and_back or (way == "repaint" and self.solver != "ddpm")),
            ("grid", "the scheduler brings its own", walker.startswith(FOREIGN) and self.grid != "uniform"),
            ("grid", of_its_own, there_and_back),
            ("shift", "only the grid 'shifted' takes it", self.grid != "shifted"),
            ("rho", "only the grid 'karras' takes it", self.grid != "karras"),
            ("guidance", "the way to noise and back cannot be guided", self.guidance != 1 and there_and_back),
            ("guidance", unguided, self.guidance != 1 and free),
            ("interval", "there is no guidance", still),
            ("negative", "this model reads no text", self.negative and "tokens" not in accepts),
            ("negative", "there is no guidance", self.negative and still),
            ("eta", f"{walker} takes no share of fresh noise", walker not in ETA),
            ("overshoot", "only dpmpp-2m takes it", walker != "dpmpp-2m"),
            ("order", "only unipc takes it", walker != "unipc"),
            ("churn", "only heun takes it", self.churn and walker != "heun"),
            ("size", "an image keeps its own", self.size and (there_and_back or cond.image is not None)),
            ("overlap", "there are no tiles", not self.tile),
            ("strength", of_its_own, there_and_back),
            ("strength", "there is no image to start from", self.strength < 1 and cond.image is None),
            ("boxes", "there is no text", self.boxes and cond.tokens is None),
            ("boxes", "an image that is edited has a layout of its own", self.boxes and cond.image is not None),
            ("rounds", "there is no mask", self.rounds and cond.mask is None),
        ]
        if said := [f"{name}: {why}" for name, why, is_idle in idle if is_idle and name in self.model_fields_set]:
            raise ConfigError(f"An option cannot act here, {said[0]}.")
