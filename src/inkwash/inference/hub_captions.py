"""Public captioners: an image-to-text model that transformers has written, behind the face of a captioner of ours (extra `hub`)."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from inkwash.core.config import ModelConfig
from inkwash.core.device import Precision
from inkwash.core.disk import read_json
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.extras import library, reason
from inkwash.core.files import CONFIG
from inkwash.core.model import Captioner, Model, Options, Written
from inkwash.core.rng import Rng
from inkwash.inference.pictures import to_pil


class PublicCaptionerConfig(ModelConfig):
    """shape: (3, H, W) of what its eye takes. architecture: the class of transformers."""

    kind: Literal["public-captioner"] = "public-captioner"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    architecture: str
    languages: tuple[Literal["en"]] = ("en",)


class PublicOptions(Options):
    """beams: beginnings that are kept. temperature: above 0, words are drawn instead. longest: tokens at most."""

    beams: int = Field(4, ge=1, le=64)
    temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    longest: int = Field(40, ge=1, le=1000)


class PublicCaptioner(Model, Captioner):
    """It prepares pictures and searches for words as its makers do."""

    Options = PublicOptions
    any_size = True

    def __init__(self, config: PublicCaptionerConfig, net: torch.nn.Module, eye: Any, tokenizer: Any):
        super().__init__(config)
        self.net, self._eye, self._tokenizer = net, eye, tokenizer

    def caption(self, x: Tensor, rng: Rng, options: PublicOptions) -> list[Written]:
        way = {"do_sample": True, "temperature": options.temperature} if options.temperature else {"num_beams": options.beams}
        out = []
        for image, seed in zip(x, rng.keys):
            with torch.random.fork_rng(), torch.autocast(x.device.type, enabled=False):
                torch.manual_seed(seed % 2**63)
                text = self._told(image, {"max_new_tokens": options.longest, **way})
            out.append(Written(text, tuple(text.split()), [], None))
        return out

    def _told(self, image: Tensor, how: dict[str, Any]) -> str:
        """Raises ConfigError where the model wants more than a picture, or is otherwise none of the kind."""
        try:
            seen = self._eye(images=to_pil(image), return_tensors="pt")["pixel_values"].to(self.device)
            told = self.net.generate(pixel_values=seen, **how)
            return self._tokenizer.batch_decode(told, skip_special_tokens=True)[0].strip()
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError):  # the machine's fault, not theirs
                raise
            raise ConfigError(f"{self.config.architecture} describes no picture by itself: {reason(error)}.") from None


def is_public(path: Path) -> bool:
    """Whether transformers has written this folder."""
    try:
        found = read_json(path / CONFIG) if (path / CONFIG).is_file() else {}
    except FileError:
        return False
    return isinstance(found, dict) and "architectures" in found and "model_type" in found


def load_public(path: Path, device: torch.device) -> tuple[Model, Precision]:
    """The captioner of a folder. Raises FileError where transformers cannot read it, ConfigError where it describes no pictures."""
    tool = library("transformers", "hub")
    tool.logging.set_verbosity_error()
    tool.logging.disable_progress_bar()
    name = (read_json(path / CONFIG)["architectures"] or [""])[0]
    kind = getattr(tool, name, None)
    if code := sorted(str(p.relative_to(path)) for p in path.rglob("*.py")):
        raise FileError(f"{path} holds {code[0]}, code that a model may run: only folders of weights and settings are read.")
    if kind is None:
        raise ConfigError(f"{path} holds a {name or 'model'} that transformers {tool.__version__} does not know.")
    try:
        here = {"local_files_only": True, "trust_remote_code": False}
        eye = tool.AutoImageProcessor.from_pretrained(str(path), **here)
        tokenizer = tool.AutoTokenizer.from_pretrained(str(path), **here)
        net = kind.from_pretrained(str(path), use_safetensors=True, **here)
    except Exception as error:  # the library raises many kinds
        raise FileError(f"{path} cannot be read by transformers as a captioner: {reason(error)}.") from None
    if not hasattr(net, "generate") or not net.can_generate():
        raise ConfigError(f"A {name} writes no text: name an image-to-text model, as BLIP, GIT or ViT-GPT2.")
    size = getattr(eye, "crop_size", None) or getattr(eye, "size", None) or {}
    side = size.get("height") or size.get("shortest_edge") or 224
    config = PublicCaptionerConfig(shape=(3, side, size.get("width") or side), architecture=name)
    return PublicCaptioner(config, net.eval().requires_grad_(False).to(device), eye, tokenizer), Precision(False, False, 0.0, 0.0)
