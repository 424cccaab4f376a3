"""A plan that is moved to another eye (tools/turn_eye.py)."""

import runpy
from pathlib import Path

import torch

from inkwash.core.rng import Rng
from inkwash.methods.eye import EyeConfig
from inkwash.nn.grid_coder import GridConfig
from tiny import stir_

turn_ = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "turn_eye.py"), run_name="tool")["turn_"]

CONFIG = EyeConfig(shape=(3, 8, 8), net=GridConfig(stride=4, width=8), features=8, keep=5)


@torch.no_grad()
def fitted(images, seed):
    torch.manual_seed(seed)
    eye = CONFIG.build()
    stir_(eye.eye, 0.2)
    eye.fit(images, None, Rng(range(len(images))))
    return eye


@torch.no_grad()
def test_components_of_the_same_eye_are_turned_onto_each_other_and_hold_what_they_held():
    torch.manual_seed(0)
    images = torch.randn(32, 3, 8, 8).clamp(-1, 1)
    new, old = fitted(images, 1), fitted(images, 1)
    turn = torch.linalg.qr(torch.randn(5, 5))[0]
    old.axes.copy_(turn @ old.axes)
    before = new.features(new.encode(images)), new.decode(new.encode(images))
    assert turn_(new, old, images) > 0.9999
    torch.testing.assert_close(new.encode(images), old.encode(images), atol=1e-4, rtol=1e-4)
    for was, now in zip(before, (new.features(new.encode(images)), new.decode(new.encode(images)))):
        torch.testing.assert_close(now, was, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_another_eye_comes_as_near_as_a_rotation_brings_it():
    torch.manual_seed(0)
    images = torch.randn(32, 3, 8, 8).clamp(-1, 1)
    new, old = fitted(images, 1), fitted(images, 2)
    apart = (new.encode(images) - old.encode(images)).square().sum() / old.encode(images).square().sum()
    share = turn_(new, old, images)
    left = (new.encode(images) - old.encode(images)).square().sum() / old.encode(images).square().sum()
    torch.testing.assert_close(1 - share, left.item(), atol=1e-4, rtol=1e-4)
    assert left < apart
