"""A small picture, and what is written into it."""

import numpy as np
from PIL import Image

from inkwash.inference.provenance.write import Provenance

FORMATS = ["png", "jpeg", "webp"]
CN = Provenance(label="cn", producer="91110000MA01TEST0X")
FACTS = {
    "prompt": '一只猫, "Katze": 50% <b>&amp;\nsecond line 🐈', "negative": "狗, cats", "seed": 7, "model": "水墨-64", "kind": "diffusion",
    "steps": 14, "solver": "dpmpp-2m", "guidance": 2.5, "size": "24x16", "clamp": True, "nothing": None, "many": [1, 2], "k": "x: y",
}  # fmt: skip


def picture(mode: str = "RGB", size: tuple[int, int] = (24, 16), seed: int = 0) -> Image.Image:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8))
