"""What a model can do, in plain values: for /v1/models, for checking requests where no torch is, and for the page's form."""

from typing import Any

from inkwash.core.model import Captioner, Sampler, Translator
from inkwash.inference.load import Loaded


def described(loaded: Loaded, name: str) -> dict[str, Any]:
    """Facts of a model, JSON values only. does: what it can be asked for. options: JSON schema of its own options, its defaults in it."""
    model, accepts = loaded.model, getattr(loaded.model, "accepts", frozenset())
    does = {
        "generate": isinstance(model, Sampler) and not getattr(model, "requires", frozenset()) - {"label", "tokens"},
        "edit": isinstance(model, Sampler) and "image" in accepts,
        "caption": isinstance(model, Captioner),
        "upscale": isinstance(model, Translator) and model.scale > 1,
    }
    shape = getattr(model.config, "shape", None)
    return {
        "kind": loaded.kind,
        "name": loaded.name,
        "path": name,
        "shape": list(shape) if shape else None,
        "does": [verb for verb, can in does.items() if can],
        "reads": "tokens" in accepts,
        "classes": list(loaded.classes),
        "of": loaded.advised.of if loaded.advised else 1,
        "options": _options(loaded),
    }


def _options(loaded: Loaded) -> dict[str, Any]:
    if not isinstance(loaded.model, Sampler | Captioner):
        return {}
    own = loaded.options()
    schema, values = type(own).model_json_schema(), own.model_dump(mode="json")
    return {k: {**facts, "default": values[k]} for k, facts in schema.get("properties", {}).items()}
