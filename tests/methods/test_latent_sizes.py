"""Diffusion among latents of pictures whose sides the auto-encoder's stride does not divide."""

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.inference.draw import draw
from inkwash.methods.autoencoder import AutoencoderConfig
from inkwash.methods.diffusion import LatentConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.unet import UNetConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    coder = AutoencoderConfig(shape=(3, 28, 28), latent=4, net=GridConfig(stride=8, width=8, blocks=1))
    return LatentConfig(shape=(3, 28, 28), autoencoder=coder, net=UNetConfig(width=8, mults=(1,), blocks=1)).build().eval()


@pytest.mark.parametrize("size", [None, (28, 28), (40, 40), (56, 24)])
def test_pictures_have_the_size_that_was_asked_for(model, size):
    assert draw(model, [1], model.Options(steps=1, size=size)).shape[-2:] == (size or (28, 28))


@pytest.mark.parametrize(("size", "near"), [((32, 32), None), ((30, 30), None), ((3, 42), (8, 40)), ((42, 42), (40, 40))])
def test_sizes_that_cannot_come_out_are_refused_and_what_could_is_named(model, size, near):
    """32 takes as many places as 28, and what is decoded from those is cut to 28."""
    such = f", such as {near[1]} x {near[0]}" if near else ""
    with pytest.raises(ConfigError, match=f"draws 28 x 28, or other sides that 8 divides{such}\\.$"):
        draw(model, [1], model.Options(steps=1, size=size))
    assert near is None or draw(model, [1], model.Options(steps=1, size=near)).shape[-2:] == near


def test_a_picture_is_edited_at_its_own_size_or_refused(model):
    def edited(side):
        cond = Condition(image=torch.zeros(1, 3, side, side), mask=torch.ones(1, 1, side, side))
        return draw(model, [1], model.Options(steps=1, rounds=0), cond=cond).shape[-1]

    assert edited(28) == 28 and edited(50) == 50
    with pytest.raises(ConfigError, match="31 x 31 is not possible"):
        edited(31)
