"""Where a model that draws from text looks each word up: its cross-attention, over all places, layers and steps."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.model import Written
from inkwash.inference.draw import draw
from inkwash.inference.load import Loaded
from inkwash.nn.layers import Attention
from inkwash.nn.text import TextEncoder
from inkwash.nn.tokenizer import END


def crossings(loaded: Loaded, options: dict[str, Any]) -> list[Attention]:
    """Where a model looks words up. Raises ConfigError for one without cross-attention, and where tiles are asked for."""
    found = [m for m in loaded.model.modules() if isinstance(m, Attention) and m.crosses]
    if not found or not isinstance(loaded.model.text, TextEncoder):
        raise ConfigError(
            f"{loaded.name} has no cross-attention to show: a U-Net that the recipe 'text' trains has, with words of its own."
        )
    if options.get("tile"):
        raise ConfigError("Where words were looked up is shown of a picture that is drawn at once: leave the tiles out.")
    return found


@torch.no_grad()
def word_maps(loaded: Loaded, prompt: str, seed: int = 0, **options) -> tuple[Tensor, Written]:
    """A drawing, (C, H, W), and for each word of its prompt the share of attention that every place gave it, (H, W).

    The mean over heads, layers and steps (Tang et al. 2023, What the DAAM, equation 5). Raises ConfigError as `crossings` does.
    """
    layers = crossings(loaded, options)
    tokens = loaded.tokens([prompt])
    for layer in layers:
        layer.shares = []
    try:
        image = draw(loaded.model, [seed], loaded.options(**options), None, loaded.precision, cond=Condition(tokens=tokens))[0]
        seen = [share for layer in layers for share in layer.shares]
    finally:
        for layer in layers:
            layer.shares = None
    size, total = image.shape[-2:], 0.0
    for share in (share[: tokens.shape[1]] for share in seen):  # (T, h, w) of the row that was told the prompt; T more by a longer negative
        total = total + F.interpolate(share[None].float(), size, mode="bilinear", align_corners=False)[0] / len(seen)
    spelled, maps, at = loaded.model.text.tokenizer.spelled(tokens[0].tolist()), [], 0
    for _, count in spelled:
        maps.append(total[at : at + count].sum(0).cpu())
        at += count
    assert int(tokens[0, at]) == END
    return image, Written(prompt, tuple(word for word, _ in spelled), maps, 0.0)
