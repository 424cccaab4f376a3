"""Config: a frozen, typed description that builds a component and goes to disk as JSON. Lookup by name lives here too.

Two literal catalogs say which kinds exist. An entry is "module:Class"; nothing is imported before it is asked for.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, ValidationError
from pydantic.fields import FieldInfo

from inkwash.core.errors import ConfigError, nearest

MODELS = {
    "vae": "inkwash.methods.vae:VAEConfig",
    "gan": "inkwash.methods.gan:GANConfig",
    "captioner": "inkwash.methods.captioner:CaptionerConfig",
    "clip": "inkwash.methods.clip:ClipConfig",
    "autoencoder": "inkwash.methods.autoencoder:AutoencoderConfig",
    "eye": "inkwash.methods.eye:EyeConfig",
    "layout": "inkwash.methods.layout:LayoutConfig",
    "vqvae": "inkwash.methods.vqvae:VQVAEConfig",
    "codes": "inkwash.methods.autoregressive:CodesConfig",
    "dalle": "inkwash.methods.dalle:DalleConfig",
    "text-lstm": "inkwash.methods.text_lstm:TextLSTMConfig",
    "hmm": "inkwash.methods.hmm:HMMConfig",
    "gmm": "inkwash.methods.gmm:GMMConfig",
    "rbm": "inkwash.methods.rbm:RBMConfig",
    "autoregressive": "inkwash.methods.autoregressive:AutoregressiveConfig",
    "pixel-upscaler": "inkwash.methods.autoregressive:PixelUpscalerConfig",
    "sequence": "inkwash.methods.sequence:SequenceConfig",
    "diffusion": "inkwash.methods.diffusion:DiffusionConfig",
    "latent": "inkwash.methods.diffusion:LatentConfig",
    "student": "inkwash.methods.diffusion:StudentConfig",
    "upscaler": "inkwash.methods.upscaler:UpscalerConfig",
    "translator": "inkwash.methods.translator:TranslatorConfig",
}

OBJECTIVES = {
    "elbo": "inkwash.methods.vae:ELBOConfig",
    "reconstruction": "inkwash.methods.autoencoder:ReconstructionConfig",
    "vq": "inkwash.methods.vqvae:VQConfig",
    "fit": "inkwash.methods.fitting:FitConfig",
    "pcd": "inkwash.methods.rbm:PCDConfig",
    "likelihood": "inkwash.methods.autoregressive:LikelihoodConfig",
    "captioning": "inkwash.methods.captioner:CaptioningConfig",
    "contrastive": "inkwash.methods.clip:ContrastiveConfig",
    "next-box": "inkwash.methods.layout:NextBoxConfig",
    "next-token": "inkwash.methods.dalle:NextTokenConfig",
    "stages": "inkwash.methods.text_lstm:StagesConfig",
    "frames": "inkwash.methods.sequence:FramesConfig",
    "adversarial": "inkwash.methods.gan:AdversarialConfig",
    "denoising": "inkwash.methods.diffusion:DenoisingConfig",
    "restoration": "inkwash.methods.upscaler:RestorationConfig",
    "paired": "inkwash.methods.translator:PairedConfig",
    "style": "inkwash.methods.style:StyleConfig",
    "perceptual": "inkwash.methods.srgan:SRGANConfig",
    "cycle": "inkwash.methods.cyclegan:CycleConfig",
    "distillation": "inkwash.methods.distillation:DistillationConfig",
}


class Config(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, `build()` makes the component it describes."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def build(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} describes settings only; nothing is built from it.")

    def to_json(self) -> str:
        """Canonical JSON: the same configuration always gives the same bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False)

    @classmethod
    def parse(cls, values: dict) -> Self:
        """Validate a dictionary. Raises ConfigError, in one sentence, for the first thing wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_sentence(cls, error)) from None

    def override(self, settings: dict[str, Any]) -> Self:
        """A copy with dotted keys replaced: {"model.width": "32"}. Strings are read as JSON where they are JSON.

        Another `kind` begins from its own defaults, but for fields that both kinds have, and may be given fields that only it has.
        """
        values, fields = self.model_dump(mode="json"), {}  # fields: by the place of a kind that changed, those that it has
        for dotted, value in sorted(settings.items(), key=lambda item: not item[0].endswith(".kind")):
            *path, last = dotted.split(".")
            place = values
            for i, key in enumerate([*path, last]):
                known = {**place, **fields.get(tuple(path[:i]), {})} if isinstance(place, dict) else {}
                if key not in known:
                    where = ".".join(path[:i]) or type(self).__name__
                    raise ConfigError(f"There is no setting {dotted!r}: {where} has no {key!r}; {nearest(key, known)}")
                if i < len(path):
                    place = place.get(key)
            plain = read_value(value)
            if last == "kind" and plain != place[last] and (other := _member(self, path, plain)):
                fields[tuple(path)] = other.model_fields
                kept = {name: v for name, v in place.items() if name in other.model_fields}
                usual = {name: f.get_default(call_default_factory=True) for name, f in other.model_fields.items() if not f.is_required()}
                place.clear()
                place |= {k: v.model_dump(mode="json") if isinstance(v, BaseModel) else v for k, v in usual.items()} | kept
            field = _field(self, [*path, last])
            words = field is not None and field.annotation is str  # a text may be "2024" or "null"
            if words or (isinstance(place.get(last), str) and isinstance(plain, int | float)):
                plain = plain if isinstance(plain, str) else value
            place[last] = plain
        return type(self).parse(values)


def _member(config: Config, path: list[str], kind: Any) -> type[BaseModel] | None:
    """The class of that kind which may stand at a place; None where the place does not say."""
    field = _field(config, path)
    return next((m for m in _models(field and field.annotation) if m.model_fields["kind"].default == kind), None)


def _field(config: Config, path: list[str]) -> FieldInfo | None:
    """What stands at a place of a configuration, None where it has no such place."""
    for key in path[:-1]:
        config = getattr(config, key, None)
    return type(config).model_fields.get(path[-1]) if path and isinstance(config, BaseModel) else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The configurations with a kind in a union, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from [annotation] if "kind" in annotation.model_fields else []
    for part in get_args(annotation):
        yield from _models(part)


def read_value(text: Any) -> Any:
    """The value that a person typed: JSON where it parses, else the string itself."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _sentence(cls: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    names, known = _walk(cls, first["loc"])
    key = ".".join(names) or cls.__name__
    if first["type"] == "extra_forbidden":
        return f"There is no setting {key!r}; {nearest(names[-1], known)}"
    if first["type"] == "union_tag_invalid":
        return f"Setting {key!r} has no kind {first['ctx']['tag']!r}; it is one of {first['ctx']['expected_tags']}."
    if first["type"] == "union_tag_not_found":
        return f"Setting {key!r} cannot be {first.get('input')!r}: it is a configuration with a 'kind'."
    return f"Setting {key!r} cannot be {first.get('input')!r}: {first['msg'][0].lower()}{first['msg'][1:]}."


def _walk(cls: type[BaseModel], loc: tuple) -> tuple[list[str], dict]:
    """The keys of an error's place as a person wrote them, without the tags of unions; and the fields beside the last of them."""
    names, inside, beside, tags = [], cls.model_fields, cls.model_fields, {}
    for part in loc:
        if part in tags:
            inside, tags = tags[part].model_fields, {}
            continue
        names.append(str(part))
        beside, annotation = inside, getattr(inside.get(part), "annotation", None)
        tags = {m.model_fields["kind"].default: m for m in _models(annotation)}
        inside = getattr(annotation, "model_fields", {})
    return names, beside


class Kinded(Config):
    """A configuration found by its `kind`: a name in a catalog, or "module:Class" for code outside the package."""

    kind: str


class ModelConfig(Kinded):
    """Describes a Model."""


class ObjectiveConfig(Kinded):
    """Describes an Objective. at_once: its model is fitted in one go, without steps."""

    at_once: ClassVar[bool] = False


def lookup(kind: str, catalog: dict[str, str]) -> type[Kinded]:
    """The configuration class of a kind. Raises ConfigError naming the nearest kind.

    Only modules of the catalog are imported. "module:Class" is looked up among modules that the user has already imported
    (`--code FILE` does that), so that a model folder can never cause code to run.
    """
    if not isinstance(kind, str):
        raise ConfigError(f"A kind is a name, not {kind!r}; {nearest(str(kind), catalog)}")
    if kind in catalog:
        module, name = catalog[kind].split(":")
        return getattr(importlib.import_module(module), name)
    module, _, name = kind.partition(":")
    found = getattr(sys.modules.get(module), name, None) if name else None
    base = ModelConfig if catalog is MODELS else ObjectiveConfig
    if isinstance(found, type) and issubclass(found, base) and module.partition(".")[0] != "inkwash":
        return found
    if name:
        raise ConfigError(f"{kind!r} is code outside the package: name its file with --code {module}.py.")
    raise ConfigError(f"There is no {kind!r} in the catalog; {nearest(kind, catalog)}")


def _resolver(catalog: dict[str, str]):
    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            if "kind" not in value:
                raise ConfigError(f"A component needs a 'kind': one of {', '.join(sorted(catalog))}.")
            return lookup(value["kind"], catalog).parse(value)
        return value

    return resolve


# Fields that hold any configuration of a catalog: read from a dictionary by its kind, written out with all its own keys.
AnyModel = Annotated[SerializeAsAny[ModelConfig], BeforeValidator(_resolver(MODELS))]
AnyObjective = Annotated[SerializeAsAny[ObjectiveConfig], BeforeValidator(_resolver(OBJECTIVES))]
