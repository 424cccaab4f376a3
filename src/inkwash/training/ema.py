"""An average of the weights over the last images: what is sampled, measured and shipped."""

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average with a half-life in images. Floats are averaged, buffers and integers copied.

    It is at most `share` of the images seen, so that a young run forgets its start (as in the training code of Karras et al. 2022).
    """

    def __init__(self, model: nn.Module, half_life: float, share: float = 0.05):
        self.half_life, self.share = half_life, share
        self.state = {k: t.detach().clone() for k, t in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, images: int, batch: int) -> None:
        """images: seen after this step. batch: images of this step."""
        half_life = min(self.half_life, self.share * images)
        keep = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        learnt = {id(p) for p in model.parameters()}
        averaged, fresh = [], []
        for k, t in model.state_dict(keep_vars=True).items():
            if id(t) in learnt and t.is_floating_point():
                averaged.append(self.state[k])
                fresh.append(t.detach())
            else:
                self.state[k].copy_(t)
        torch._foreach_lerp_(averaged, fresh, 1 - keep)

    def tensors(self) -> dict[str, Tensor]:
        return self.state
