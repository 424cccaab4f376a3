"""Neural style transfer: the pixels of a picture that a network sees the content of a photograph in and the style of a painting.

    minimise over x   | phi(x) - phi(photo) |^2 / | phi(photo) |^2
                      + style * mean over layers of | gram(x) - gram(painting) |^2 / | gram(painting) |^2

x starts as the photograph, small; what comes out is enlarged and goes on at the next size, so that large strokes are laid while that is
cheap, and only details are left for the full size.

References: 1. Gatys et al. 2016, Image Style Transfer Using Convolutional Neural Networks. 2. Gatys et al. 2017, Controlling Perceptual
Factors in Neural Style Transfer (from coarse to fine, section 6; colours kept by their luminance, section 5).
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError
from inkwash.core.model import OnStep
from inkwash.metrics.features.base import Layered
from inkwash.nn.perceptual import content_loss, gram, style_loss, total_variation
from inkwash.nn.resize import resize

SMALLEST = 16  # pixels of a side: less than that a network sees nothing of
COARSEST = 128  # short side that a picture starts at
LUMA = (0.299, 0.587, 0.114)


class StyleOptions(Config):
    """strength: how much the style counts, 1 as usual. keep_colour: only the luminance is painted. optimizer: "lbfgs" or "adam". steps:
    evaluations of the network at each size. smooth: weight of total variation, None for the network's own. coarse: begin small. lr: of
    Adam."""

    strength: float = Field(1.0, ge=0)
    keep_colour: bool = False
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    steps: int = Field(125, ge=1)
    smooth: float | None = Field(None, ge=0)
    coarse: bool = True
    lr: float = Field(0.02, gt=0)


STYLE = 10.0  # weight of the style loss at strength 1
CHUNK = 25  # evaluations between two looks at the range of the pixels


def transfer(
    seer: Layered, photo: Tensor, painting: Tensor, options: StyleOptions, on_step: OnStep | None = None
) -> tuple[Tensor, dict[str, float]]:
    """photo (1, 3, H, W) and painting (1, 3, h, w) in [-1, 1] to (1, 3, H, W), and both losses of it.

    Raises ConfigError for a photo that is too small to be looked at.
    """
    if min(photo.shape[-2:]) < SMALLEST:
        raise ConfigError(f"A photograph of {photo.shape[-1]}x{photo.shape[-2]} is too small to paint: {SMALLEST} pixels at least.")
    if options.smooth is None:
        options = options.model_copy(update={"smooth": seer.smooth})
    sizes = _sizes(photo.shape[-2:]) if options.coarse else [tuple(photo.shape[-2:])]
    grey = options.keep_colour
    x, goal = _luminance(photo) if grey else photo, _luminance(painting) if grey else painting
    scale = min(photo.shape[-2:]) / min(painting.shape[-2:])
    made, whole = x, x
    for i, (h, w) in enumerate(sizes):
        share = h / photo.shape[-2]
        size = [max(16, round(side * min(scale, 1.0) * share)) for side in painting.shape[-2:]]
        losses = both_losses(seer, resize(whole, h, w), resize(goal, *size))
        made = resize(whole if i == 0 else made, h, w).clamp(-1, 1)
        made = _descend(made, losses, options, on_step and (lambda done, total, i=i: on_step(i * total + done, len(sizes) * total)))
    with torch.no_grad():
        content, style = (v.item() for v in losses(made))
    return _coloured(made, photo) if grey else made, {"content": content, "style": style}


def _sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """From COARSEST up to the picture's own size, doubling."""
    short, sizes = min(size), []
    factor = 1
    while short / factor > COARSEST:
        factor *= 2
    while factor >= 1:
        sizes.append((max(16, round(size[0] / factor)), max(16, round(size[1] / factor))))
        factor //= 2
    sizes[-1] = tuple(size)
    return sizes


def both_losses(seer: Layered, photo: Tensor, painting: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A picture to its content and its style loss."""
    with torch.no_grad():
        there = seer.layers(photo)[seer.content]
        maps = seer.layers(painting)
        wanted = [gram(maps[i]) for i in seer.style]

    def losses(x: Tensor) -> tuple[Tensor, Tensor]:
        maps = seer.layers(x)
        return content_loss(maps[seer.content], there).mean(), style_loss([gram(maps[i]) for i in seer.style], wanted).mean()

    return losses


def _descend(x: Tensor, losses: Callable, options: StyleOptions, on_step: OnStep | None) -> Tensor:
    x, done = x.clone().requires_grad_(), 0
    if options.optimizer == "adam":
        optimizer = torch.optim.Adam([x], options.lr)
    else:  # several evaluations a step: its line search is what makes it safe
        optimizer = torch.optim.LBFGS([x], max_iter=CHUNK, max_eval=CHUNK, history_size=20, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        nonlocal done
        optimizer.zero_grad()
        content, style = losses(x)
        loss = content + STYLE * options.strength * style + options.smooth * total_variation(x).mean()
        loss.backward()
        done += 1
        if on_step:
            on_step(min(done, options.steps), options.steps)
        return loss

    while done < options.steps:
        optimizer.step(value)
        with torch.no_grad():
            x.clamp_(-1, 1)
    return x.detach()


def _luminance(x: Tensor) -> Tensor:
    y = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return y.expand(-1, 3, -1, -1)


def _coloured(made: Tensor, photo: Tensor) -> Tensor:
    """The luminance of one picture with the colours of another."""
    return (photo + (_luminance(made) - _luminance(photo))).clamp(-1, 1)
