"""What a captioner's eye sees, as latents."""

import pytest
import torch

from inkwash.core.errors import ConfigError
from inkwash.core.files import load_model
from inkwash.core.rng import Rng
from inkwash.methods.captioner import CaptionerConfig
from inkwash.methods.eye import EyeConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.writers import TransformerWriterConfig
from inkwash.recipes.start import configure
from inkwash.training.run import train
from tiny import captioned, run_config, stir_, write_npz

NET = GridConfig(stride=4, width=8)
CAPTIONER = CaptionerConfig(
    shape=(3, 10, 8), eye=NET, d=12, writer=TransformerWriterConfig(width=8, blocks=1, head=8), tokenizer=TokenizerConfig(length=24)
)


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(1)
    level = torch.rand(64, 3, 1, 1) * 2 - 1
    return (level + 0.2 * torch.randn(64, 3, 10, 8)).clamp(-1, 1)


@torch.no_grad()
def fitted(images, keep=12):
    torch.manual_seed(0)
    captioner = CAPTIONER.build()
    stir_(captioner, 0.1)
    eye = EyeConfig(shape=(3, 10, 8), net=NET, features=12, keep=keep).build()
    eye.load_state_dict(eye.adopted(captioner.state_dict()))
    eye.fit(images, None, Rng(range(len(images))))
    return captioner, eye


@torch.no_grad()
def test_its_latents_are_centred_of_unit_spread_and_the_largest_come_first(images):
    captioner, eye = fitted(images)
    z = eye.encode(images)
    assert z.shape == (64, *eye.space) == (64, 12, 3, 2)
    assert z.mean((0, 2, 3)).abs().max() < 1e-4 and abs(z.square().mean().sqrt() - 1) < 1e-4
    spread = z.square().mean((0, 2, 3))
    assert (spread.diff() <= 1e-6).all()
    flat = z.transpose(0, 1).flatten(1)
    assert (flat @ flat.t() / flat.shape[1] - torch.diag(spread)).abs().max() < 1e-3  # components do not go together
    torch.testing.assert_close(eye.features(z), captioner.eye(images), atol=1e-4, rtol=1e-4)  # all of them hold all that is seen


@torch.no_grad()
def test_few_components_hold_most_and_show_a_blurry_picture(images):
    whole = fitted(images)[1]
    spread = whole.encode(images).square().mean((0, 2, 3)) * whole.spread**2
    captioner, eye = fitted(images, 3)
    left = (captioner.eye(images) - eye.features(eye.encode(images))).square().sum(1).mean()
    torch.testing.assert_close(left, spread[3:].sum(), rtol=1e-3, atol=0)
    blurry = eye.decode(eye.encode(images))
    assert blurry.shape == images.shape and blurry.abs().max() <= 1
    error = [(e.decode(e.encode(images)) - images).square().mean() for e in (whole, eye)]
    assert error[0] < error[1] < 0.9 * images.var()
    assert eye.decode(torch.zeros(1, 3, 5, 4)).shape == (1, 3, 20, 16)  # another size: whole places


def test_more_components_than_features_are_refused():
    with pytest.raises(ConfigError, match="no more components"):
        EyeConfig(shape=(3, 8, 8), net=NET, features=4, keep=5).build()


@torch.no_grad()
def test_the_captioner_whose_eye_it_is_reads_of_its_features_what_it_reads_of_the_picture(images):
    captioner, eye = fitted(images)
    texts = ["a red thing", "蓝色"]
    torch.testing.assert_close(captioner.foretold(eye.features(eye.encode(images[:4])), texts), captioner.agreement(images[:4], texts))
    with pytest.raises(ConfigError, match="sees 12 features"):
        captioner.foretold(torch.zeros(1, 5, 3, 2), texts)


def test_the_recipe_takes_a_captioners_eye_as_it_is(tmp_path):
    source = captioned(write_npz(tmp_path / "a.npz"))
    start = train(run_config("caption", source, steps=1), tmp_path / "captioner", quiet=True)
    run = train(configure("eye", source, start=start), tmp_path / "eye", quiet=True)
    eye, captioner = (load_model(place / "model") for place in (run, start))
    assert all(torch.equal(value, captioner.eye.state_dict()[name]) for name, value in eye.eye.state_dict().items())
    assert eye.axes.abs().sum() > 0
    with pytest.raises(ConfigError, match="takes the eye of a 'captioner'"):
        configure("eye", source, start=run)
