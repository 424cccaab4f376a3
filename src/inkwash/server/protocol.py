"""Requests of the Images API, as both dialects of its clients send them, and what we add under the names that others use.

The older dialect gets addresses of pictures, the newer one the pictures themselves (`newer`), unless `response_format` says which.
"""

import json
from typing import Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from inkwash.server.errors import ApiError, invalid

T = TypeVar("T", bound=BaseModel)
NEWER = ("gpt-image", "chatgpt-image")  # how the newer dialect's model names begin
PUBLIC = (*NEWER, "dall-e")  # names of models that clients send unasked: the first model served is meant
SIZE = r"auto|[1-9]\d{0,4}x[1-9]\d{0,4}"
VALUES = 100_000  # of one JSON body, about, at most
NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance", "negative_prompt": "negative"}  # of options of our models


class Wrong(BaseModel):
    """What is wrong: param, the field it is about; code, for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refusal(BaseModel):
    """Every answer that is no success."""

    error: Wrong


class Wishes(BaseModel):
    """What all requests for pictures have in common. Fields that nobody knows are options of the model's own.

    quality, style, moderation, input_fidelity, user: taken, and without effect.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = None
    prompt: str | None = None
    n: int = Field(1, ge=1)
    size: str = Field("auto", pattern=f"^({SIZE})$")
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100)
    background: Literal["auto", "transparent", "opaque"] | None = None
    stream: bool = False
    partial_images: int | None = Field(None, ge=0, le=3)
    seed: int | None = Field(None, ge=0, lt=2**63)
    negative_prompt: str | None = None
    num_inference_steps: int | None = Field(None, ge=1, validation_alias=AliasChoices("num_inference_steps", "steps"))
    guidance_scale: float | None = Field(
        None, ge=0, allow_inf_nan=False, validation_alias=AliasChoices("guidance_scale", "cfg_scale", "guidance")
    )
    quality: Any = None
    style: Any = None
    moderation: Any = None
    input_fidelity: Any = None
    user: Any = None

    @property
    def newer(self) -> bool:
        """Whether the client speaks the newer dialect."""
        asked = self.model_fields_set & {"output_format", "background", "stream", "partial_images", "output_compression"}
        return bool(asked) or (self.model or "").startswith(NEWER)

    @property
    def embedded(self) -> bool:
        """Whether the answer holds pictures, and not their addresses."""
        return self.stream or (self.newer if self.response_format is None else self.response_format == "b64_json")

    @property
    def form(self) -> str:
        """The format of the files."""
        return self.output_format or "png"

    def pixels(self) -> tuple[int, int] | None:
        """(width, height) asked for; None for as the model likes."""
        return None if self.size == "auto" else tuple(map(int, self.size.split("x")))

    def options(self) -> dict[str, Any]:
        """Options of the model's own, by their names there."""
        named = {own: getattr(self, name) for name, own in NAMES.items() if getattr(self, name) is not None}
        return {**(self.model_extra or {}), **named}


class Generation(Wishes):
    """POST /v1/images/generations."""


class Edition(Wishes):
    """POST /v1/images/edits, without its pictures. strength: with no mask, how much of the picture becomes noise."""

    strength: float | None = Field(None, gt=0, le=1)


class Variation(Wishes):
    """POST /v1/images/variations, without its picture."""

    strength: float = Field(0.6, gt=0, le=1)


class Captioning(BaseModel):
    """POST /v1/images/captions, without its picture. lang: the model's first language unless said."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    model: str | None = None
    lang: Literal["en", "zh"] | None = None
    beams: int | None = Field(None, ge=1, le=16)
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**63)


class Enlargement(BaseModel):
    """POST /v1/images/upscales, without its picture. model: one that enlarges, or lanczos, bicubic, bilinear, nearest, spline."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    model: str | None = None
    scale: int = Field(2, ge=2, le=8)
    response_format: Literal["url", "b64_json"] = "url"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int | None = Field(None, ge=0, le=100)


class Styling(BaseModel):
    """POST /v1/images/styles, without its two pictures, the photograph and the painting."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    strength: float = Field(1.0, ge=0, le=100)
    keep_colour: bool = False
    steps: int = Field(50, ge=1, le=1000)
    response_format: Literal["url", "b64_json"] = "url"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int | None = Field(None, ge=0, le=100)


class Training(BaseModel):
    """POST /v1/training. data: a name that `inkwash train --data` knows, a folder that the server's owner allows, or an uploaded archive's
    name. budget: as 10m. start: a run or model to begin from. teacher, plan: others, for recipes that ask for one (`plan`; `text`)."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    recipe: str = Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9-]*$")
    data: str = Field(max_length=500)
    name: str = Field(max_length=60, pattern=r"^[A-Za-z0-9][\w.-]*$")
    budget: str | None = Field(None, max_length=20)
    steps: int | None = Field(None, ge=1)
    start: str | None = Field(None, max_length=200)
    teacher: str | None = Field(None, max_length=200)
    plan: str | None = Field(None, max_length=200)
    settings: dict[str, Any] = Field(default_factory=dict, max_length=50)

    @field_validator("name")
    @classmethod
    def _no_log(cls, value: str) -> str:
        if value.endswith(".log"):
            raise ValueError("a training's log is called so: give it another name")
        return value

    @field_validator("settings")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        if any(not isinstance(v, int | float | bool | str | None) for v in value.values()):
            raise ValueError("settings are numbers, words or null, by dotted names")
        return value


def read(kind: type[T], values: Any) -> T:
    """A request's fields, those that are null left out. Raises ApiError for the first thing wrong."""
    if not isinstance(values, dict):
        raise invalid("The body is not a JSON object.", code="invalid_json")
    try:
        return kind.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"])) or "body"
        unknown = first["type"] == "extra_forbidden"
        what = f"Unknown parameter: {name!r}." if unknown else f"Invalid value for {name!r}: {first['msg'][0].lower()}{first['msg'][1:]}."
        raise invalid(what, name, "unknown_parameter" if unknown else "invalid_value") from None


def read_form(kind: type[T], fields: dict[str, str]) -> T:
    """The fields of a form, which are all words. Numbers, true, false and lists are read as JSON where the field is no text."""
    texts = {name for name, field in kind.model_fields.items() if "str" in str(field.annotation) and "int" not in str(field.annotation)}
    return read(kind, {k: v if k in texts else _plain(v) for k, v in fields.items() if v != ""})


def read_json(body: bytes) -> Any:
    """Raises ApiError for what is not JSON, or more of it than any request has."""
    if sum(map(body.count, (b",", b"[", b"{"))) > VALUES:  # pictures are long, but one value each; many would fill the memory
        raise ApiError(400, f"The body holds more than {VALUES} values.", "invalid_json")
    try:
        return _strict(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.", "invalid_json") from None


def _strict(text: bytes | str) -> Any:
    """Python reads more than JSON is: NaN, infinity and halves of letters, which no answer that tells of them could hold."""
    values = json.loads(text)
    json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    return values


def _plain(text: str) -> Any:
    try:
        return _strict(text)
    except (ValueError, RecursionError):
        return text
