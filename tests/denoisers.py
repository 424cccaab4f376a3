"""Small diffusion models for the tests. Nothing here asserts."""

import torch

from inkwash.methods.diffusion import DiffusionConfig
from inkwash.nn.unet import UNetConfig
from tiny import stir_

SHAPE, NET = (2, 8, 8), UNetConfig(width=8, blocks=1, mults=(1,))
MU, V = 0.2, 0.05


def make(stir=0.05, **values):
    torch.manual_seed(0)
    model = DiffusionConfig(**({"shape": SHAPE, "net": NET} | values)).build().eval()
    stir_(model, stir)
    return model


def gaussian(path="flow", **values):
    """A model that knows that pixels are N(MU, V), each for itself."""
    model = make(path=path, prediction="x0", **values)

    def predict(x, t, label):
        a, s = model.levels_of(t)
        return MU + a * V / (a * a * V + s * s) * (x - a * MU), None

    model.predict = predict
    return model
