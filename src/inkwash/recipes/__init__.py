"""Recipes: functions from the facts of a data set to a whole RunConfig. `inkwash train NAME` calls one; so may your own file."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from inkwash.core.errors import ConfigError, nearest
from inkwash.training import RunConfig

Recipe = Callable[..., RunConfig]  # (source, facts), and the model it starts from where it has a parameter `start`

RECIPES = {
    "autoregressive": "inkwash.recipes.autoregressive:autoregressive",
    **{
        name: f"inkwash.recipes.autoregressive:{name.replace('-', '_')}"
        for name in (
            "codes",
            "codes-transformer",
            "pixelcnn",
            "gated-pixelcnn",
            "row-lstm",
            "diagonal-lstm",
            "pixel-transformer",
            "pixel-upscaler",
        )
    },
    "caption": "inkwash.recipes.text:caption",
    "caption-lstm": "inkwash.recipes.text:caption_lstm",
    "clip": "inkwash.recipes.text:clip",
    "dalle": "inkwash.recipes.text:dalle",
    "eye": "inkwash.recipes.text:eye",
    "layout": "inkwash.recipes.text:layout",
    "distill": "inkwash.recipes.distill:distill",
    "autoencoder": "inkwash.recipes.vae:autoencoder",
    "latent-diffusion": "inkwash.recipes.diffusion:latent_diffusion",
    "diffusion": "inkwash.recipes.diffusion:diffusion",
    "gan": "inkwash.recipes.gan:gan",
    **{name: f"inkwash.recipes.gan:{name.replace('-', '_')}" for name in ("minimax", "cgan", "dcgan", "wgan", "wgan-gp", "acgan", "sagan")},
    "cyclegan": "inkwash.recipes.translate:cyclegan",
    "plan": "inkwash.recipes.text:plan",
    "pix2pix": "inkwash.recipes.translate:pix2pix",
    "hmm": "inkwash.recipes.classical:hmm",
    "gmm": "inkwash.recipes.classical:gmm",
    "rbm": "inkwash.recipes.classical:rbm",
    "sequence": "inkwash.recipes.sequence:sequence",
    "sequence-lstm": "inkwash.recipes.sequence:sequence_lstm",
    "srgan": "inkwash.recipes.upscale:srgan",
    "style": "inkwash.recipes.translate:style",
    "text-lstm": "inkwash.recipes.text:text_lstm",
    "told-autoencoder": "inkwash.recipes.text:told_autoencoder",
    "upscaler": "inkwash.recipes.upscale:upscaler",
    "text": "inkwash.recipes.text:text",
    "vae": "inkwash.recipes.vae:vae",
    "vqvae": "inkwash.recipes.vae:vqvae",
}


def find(name: str) -> Recipe:
    """The recipe of a name, or `FILE.py:FUNCTION` of a person's own. Raises ConfigError naming the nearest."""
    if ".py:" in name:
        path, _, function = name.rpartition(":")
        module = import_file(Path(path))
        if not callable(found := getattr(module, function, None)):
            raise ConfigError(f"{path} has no function {function!r}.")
        return found
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}; {nearest(name, RECIPES)}")
    module, _, function = RECIPES[name].partition(":")
    return getattr(importlib.import_module(module), function)


def import_file(path: Path):
    """Import a file that the user named, under its own name, so that `kind: "file:Class"` finds its classes.

    Raises ConfigError where there is no such file, or where its name is that of another module.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    if path.suffix != ".py":
        raise ConfigError(f"{path} is not a Python file.")
    known = getattr(sys.modules.get(path.stem), "__file__", None)
    if path.stem in sys.stdlib_module_names or (path.stem in sys.modules and not (known and path.samefile(known))):
        raise ConfigError(f"{path} has the name of another module, {path.stem!r}: give the file a name of its own.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
