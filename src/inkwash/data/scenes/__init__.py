"""`scenes`: a small procedural world with exact ground truth, made for image generation, and `parse`, which reads it back."""

from inkwash.data.scenes.agree import Agreement, agree
from inkwash.data.scenes.language import captions
from inkwash.data.scenes.parse import parse
from inkwash.data.scenes.reading import Said, asked, said, tells
from inkwash.data.scenes.render import masks, render
from inkwash.data.scenes.sampler import SIMPLE, SPLITS, Settings, sample
from inkwash.data.scenes.segment import Unreadable
from inkwash.data.scenes.source import ScenesSource
from inkwash.data.scenes.split import describe, held_out, split_of
from inkwash.data.scenes.world import (
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    TEXTURES,
    Background,
    Object,
    Scene,
    facts,
    holds,
)  # fmt: skip

__all__ = [
    "BACKGROUNDS", "CLASSES", "COLOURS", "RELATIONS", "SHAPES", "SIMPLE", "SIZES", "SPLITS", "TEXTURES", "Agreement", "Background",
    "Object", "Said", "Scene", "ScenesSource", "Settings", "Unreadable", "agree", "asked", "captions", "describe", "facts", "held_out",
    "holds", "masks", "parse", "render", "said", "sample", "split_of", "tells",
]  # fmt: skip
