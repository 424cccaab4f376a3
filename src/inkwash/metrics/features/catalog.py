"""Feature networks by name."""

from pathlib import Path

from inkwash.core.errors import ConfigError, nearest
from inkwash.metrics.features.base import FeatureNet

EXTRACTORS = ("own", "squeezenet", "inception", "dinov2", "clip")
LAYERED = ("own", "squeezenet", "vgg19")


def extractor(spec: str) -> FeatureNet:
    """own, squeezenet:FILE, inception:FILE, dinov2:PATH, clip:PATH. Nothing is downloaded unless the path is a hub id.

    Raises ConfigError for an unknown name, FileError for a file that does not fit.
    """
    name, _, path = spec.partition(":")
    if name not in EXTRACTORS:
        raise ConfigError(f"There is no extractor {name!r}; {nearest(name, EXTRACTORS)}")
    if name != "own" and not path:
        raise ConfigError(f"The extractor {name} needs its weights: --extractor {name}:PATH.")
    if name == "own":
        from inkwash.metrics.features.own import load_own

        return load_own(Path(path) if path else None)
    if name == "squeezenet":
        from inkwash.metrics.features.squeezenet import load_squeezenet

        return load_squeezenet(Path(path))
    if name == "inception":
        from inkwash.metrics.features.inception import load_inception

        return load_inception(Path(path))
    from inkwash.metrics.features.transformers_nets import load_transformers

    return load_transformers(Path(path) if Path(path).exists() else path, allow_hub=not Path(path).exists())


def perceptual(spec: str) -> FeatureNet:
    """own, squeezenet:FILE or vgg19:FILE: a network whose layers are looked at. Raises as `extractor` does."""
    name, _, path = spec.partition(":")
    if name == "vgg19" and path:
        from inkwash.metrics.features.vgg import load_vgg19

        return load_vgg19(Path(path))
    if name not in LAYERED:
        raise ConfigError(f"Pictures are not compared by {name!r}, but by own, squeezenet:FILE or vgg19:FILE.")
    return extractor(spec).requires_grad_(False)
