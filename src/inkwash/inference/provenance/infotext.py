"""The text `parameters`, in the layout of AUTOMATIC1111's web UI, which most programs read.

    the prompt, on as many lines as it has
    Negative prompt: what not to draw
    Steps: 20, Sampler: heun, CFG scale: 3, Seed: 1, Size: 64x64, Model: scenes-64

The last line is pairs; a value with a comma, a colon or a line break is written as a JSON string
(github.com/AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py). A reader takes it for pairs where it finds at least three.
"""

import json
import re
from typing import Any

from inkwash import __version__

# Our name for a fact, and the one that is widely read; these come first, in this order.
NAMES = {"steps": "Steps", "solver": "Sampler", "guidance": "CFG scale", "seed": "Seed", "size": "Size", "model": "Model"}
MORE = {"strength": "Denoising strength"}
_APART = ("prompt", "negative", "class")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # no text chunk and no XML can hold these


def clean(text: str) -> str:
    """A text that every format can hold: line breaks as one character, no others that control."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def parameters(facts: dict[str, Any]) -> str:
    """What made a picture, as text that other programs read. A class stands for the prompt where there is none."""
    prompt, negative = (clean(str(facts.get(key) or "")).strip() for key in ("prompt", "negative"))
    prompt = prompt or clean(str(facts.get("class") or "")).strip()
    rest = [key for key in facts if key not in NAMES and key not in _APART]
    pairs = [pair for key in (*NAMES, *rest) if (pair := _pair(key, facts.get(key)))]
    lines = [*([prompt] if prompt else []), *([f"Negative prompt: {negative}"] if negative else [])]
    return "\n".join([*lines, ", ".join([*pairs, f"Version: Inkwash {__version__}"])])


def _pair(key: str, value: Any) -> str:
    """One "Key: value", or nothing where there is nothing to say."""
    text = "" if value is None else clean(str(value)).strip()
    if not text:
        return ""
    plain = re.sub(r"[^\w /-]", " ", key.replace("_", " ")).strip()
    name = NAMES.get(key) or MORE.get(key) or plain[:1].upper() + plain[1:]
    if len(name) < 2 or not re.match(r"\w", name):
        name = f"Option {name}".strip()  # readers know no key of one letter
    quoted = any(c in text for c in ",:\n") or text[0] == '"'
    return f"{name}: {json.dumps(text, ensure_ascii=False) if quoted else text}"
