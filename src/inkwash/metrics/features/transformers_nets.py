"""DINOv2 and CLIP image towers through the transformers package, an extra: pip install 'inkwash[features]'.

Features: DINOv2, the class token after the last norm [1]; CLIP, the projected image embedding, not normalised [2]. Images are resized
(bicubic, antialiased, aspect ratio not kept) to the model's side, at most 224, and normalised as the folder's preprocessor_config.json
says, else with the family's own mean and deviation. The distance on DINOv2 features is the one that agrees best with people [3].

[1] Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193
[2] Radford et al., Learning Transferable Visual Models From Natural Language Supervision, arXiv:2103.00020
[3] Stein et al., Exposing Flaws of Generative Model Evaluation Metrics, NeurIPS 2023, arXiv:2306.04675
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from inkwash.core.errors import ConfigError, FileError
from inkwash.metrics.features.base import FeatureNet, resize, weight_hash

STATISTICS = {
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


class TransformersNet(FeatureNet):
    """One image tower. family: "dinov2" or "clip"; mean, std: three values each, of images in 0..1; size: input side."""

    def __init__(self, tower: nn.Module, family: str, size: int, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.tower, self.family, self.size = tower, family, size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.dim = tower.config.hidden_size if family == "dinov2" else tower.config.projection_dim
        constants = {"preprocessing.mean": self.mean, "preprocessing.std": self.std}
        self.id = f"{family}-{size}px-{weight_hash({**tower.state_dict(), **constants})}"

    def features(self, rgb: Tensor) -> Tensor:
        x = ((resize(rgb, self.size, "bicubic").clamp(-1, 1) + 1) / 2 - self.mean) / self.std
        out = self.tower(pixel_values=x)
        return out.pooler_output if self.family == "dinov2" else out.image_embeds


def load_transformers(name: str | Path, allow_hub: bool = False) -> TransformersNet:
    """The tower in a local folder or, only where allow_hub is True, of a hub id such as facebook/dinov2-small.

    Reads safetensors only. Raises ConfigError without the extra or for another architecture, FileError where nothing is found.
    """
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("DINOv2 and CLIP features need an extra: pip install 'inkwash[features]'.") from error
    if not Path(name).is_dir() and not allow_hub:
        raise FileError(f"there is no folder {name}; hub models are fetched only where that is allowed explicitly.")
    source = {"local_files_only": not allow_hub}
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a CLIP folder holds a text tower too, which is no cause for a warning
    try:
        config = transformers.AutoConfig.from_pretrained(name, **source)
        family = {"dinov2": "dinov2", "clip": "clip", "clip_vision_model": "clip"}.get(config.model_type)
        if family is None:
            raise ConfigError(f"{name} is a {config.model_type} model; known image towers: dinov2, clip.")
        if config.model_type == "clip":  # the width of the projection is the pair's, not the tower's
            config.vision_config.projection_dim = config.projection_dim
            config = config.vision_config
        cls = transformers.Dinov2Model if family == "dinov2" else transformers.CLIPVisionModelWithProjection
        tower, info = cls.from_pretrained(name, config=config, use_safetensors=True, output_loading_info=True, **source)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise FileError(f"{name} cannot be loaded by transformers: {str(error).splitlines()[0]}") from error
    finally:
        logging.set_verbosity(verbosity)
    if info["missing_keys"]:
        raise FileError(f"{name} lacks the weight {sorted(info['missing_keys'])[0]!r}: a damaged or partial model.")
    size = min(tower.config.image_size, 224)
    return TransformersNet(tower.float(), family, size, *_statistics(name, family)).eval().requires_grad_(False)


def _statistics(name: str | Path, family: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    file = Path(name) / "preprocessor_config.json"
    if not file.is_file():
        return STATISTICS[family]
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{file} is not JSON: {error}") from error
    mean, std = STATISTICS[family]
    return tuple(values.get("image_mean", mean)), tuple(values.get("image_std", std))
