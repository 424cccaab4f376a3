"""Walks among latents."""

import pytest
import torch
from PIL import Image

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.files import save_model
from inkwash.inference.edit import read_picture
from inkwash.inference.latents import Sum, Walk, arithmetic, interpolate, mean_latent, traverse
from inkwash.inference.load import load
from inkwash.methods.gan import GANConfig
from inkwash.methods.vae import VAEConfig
from inkwash.nn.pyramid import PyramidConfig
from tiny import pictures, stir_

NET = PyramidConfig(width=4, fold=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two VAEs, a GAN, and folders of bright and of dark pictures."""
    root = tmp_path_factory.mktemp("latents")
    shape = (3, 8, 8)
    kinds = {"plain": VAEConfig(shape=shape, latent=5, net=NET), "classes": VAEConfig(shape=shape, latent=5, net=NET, classes=("a", "b"))}
    for name, config in (kinds | {"gan": GANConfig(shape=shape)}).items():
        model = config.build()
        stir_(model, 0.2)
        save_model(root / name, config, model.state_dict())
    for i, image in enumerate(pictures(6, shape)):
        for folder, change in (("bright", 60), ("dark", -60)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray((image.astype(int) + change).clip(0, 255).astype("uint8")).save(root / folder / f"{i}.png")
    (root / "none").mkdir()
    return root


def shown(loaded, path, label=None):
    """What a VAE makes of a file: (1, C, H, W)."""
    with torch.no_grad():
        return loaded.model.reconstruct(read_picture(str(path), loaded)[None], Condition(label=label))


@pytest.mark.parametrize("how", ["spherical", "linear"])
def test_a_walk_begins_and_ends_at_its_pictures(place, how):
    loaded, a, b = load(place / "plain", precision="fp32"), place / "bright" / "0.png", place / "dark" / "3.png"
    images = interpolate(loaded, Walk(image=str(a), to=str(b), n=5, how=how))
    assert images.shape == (5, 3, 8, 8)
    torch.testing.assert_close(images[:1], shown(loaded, a), atol=1e-5, rtol=0)
    torch.testing.assert_close(images[-1:], shown(loaded, b), atol=1e-5, rtol=0)
    steps = (images[1:] - images[:-1]).flatten(1).norm(dim=1)
    assert (steps > 0).all() and steps.max() < (images[-1] - images[0]).norm()


def test_a_sum_moves_by_the_difference_of_means(place):
    loaded, picture = load(place / "plain", precision="fp32"), str(place / "dark" / "1.png")
    order = {"image": picture, "plus": str(place / "bright"), "minus": str(place / "dark")}
    made, before = arithmetic(loaded, Sum(**order))
    torch.testing.assert_close(before, shown(loaded, picture), atol=1e-5, rtol=0)
    assert (made - before).abs().max() > 1e-3
    same, _ = arithmetic(loaded, Sum(**order | {"amount": 0.0}))
    nothing, _ = arithmetic(loaded, Sum(**order | {"minus": order["plus"]}))
    assert torch.equal(same, before) and torch.equal(nothing, before)
    with torch.no_grad():
        latents = torch.stack([loaded.model.encode(read_picture(str(p), loaded)[None])[0] for p in sorted((place / "bright").iterdir())])
    torch.testing.assert_close(mean_latent(loaded, order["plus"], batch=4), latents.mean(0, keepdim=True), atol=1e-5, rtol=0)


def test_classes_are_asked_for_where_there_are_some(place):
    loaded, picture = load(place / "classes", precision="fp32"), str(place / "dark" / "1.png")
    with pytest.raises(ConfigError, match="needs label"):
        interpolate(loaded, Walk(image=picture, to=picture))
    a, b = (interpolate(loaded, Walk(image=picture, to=picture, label=k))[0] for k in "ab")
    torch.testing.assert_close(a[None], shown(loaded, picture, torch.tensor([0])), atol=1e-5, rtol=0)
    assert not torch.equal(a, b)
    assert traverse(loaded, picture, count=2, steps=3, label="a").shape == (6, 3, 8, 8)


def test_single_numbers_are_led_through_the_prior(place):
    loaded, picture = load(place / "plain", precision="fp32"), str(place / "bright" / "2.png")
    images = traverse(loaded, picture, count=3, steps=5)
    assert images.shape == (15, 3, 8, 8)
    assert not torch.equal(images[0], images[4])


def test_what_cannot_be_walked_is_refused(place):
    picture = str(place / "bright" / "0.png")
    with pytest.raises(ConfigError, match="does not encode"):
        interpolate(load(place / "gan"), Walk(image=picture, to=picture))
    with pytest.raises(DataError):
        mean_latent(load(place / "plain"), str(place / "none"))
