"""Style and what a network sees: losses, transfer, the feed-forward network, super-resolution that looks sharp."""

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from inkwash.core.errors import ConfigError, DataError
from inkwash.inference.style import STYLE, StyleOptions, _sizes, transfer
from inkwash.metrics.features.catalog import perceptual
from inkwash.metrics.features.vgg import VGG19
from inkwash.nn.perceptual import content_loss, gram, style_loss, total_variation
from inkwash.recipes import find
from inkwash.training import RunConfig
from inkwash.training.run import train
from tiny import FAST, facts_of, make_trainer, pictures, shrink, write_npz


@pytest.fixture(scope="module")
def painting(tmp_path_factory):
    path = tmp_path_factory.mktemp("style") / "stripes.png"
    stripes = (torch.arange(48) // 4 % 2 * 255).to(torch.uint8).expand(48, 48)
    Image.fromarray(torch.stack([stripes, stripes.T, stripes], -1).numpy()).save(path)
    return str(path)


def blobs(n=1, side=32):
    return torch.from_numpy(pictures(n, (3, side, side))).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_gram_counts_what_fires_together_wherever_that_is():
    maps = torch.randn(2, 5, 6, 7)
    g = gram(maps)
    torch.testing.assert_close(g[1, 2, 3], (maps[1, 2] * maps[1, 3]).mean() / 5)
    shuffled = maps.flatten(2)[..., torch.randperm(42)].view_as(maps)
    torch.testing.assert_close(gram(shuffled), g)


def test_losses_are_zero_at_their_goal_and_one_at_nothing():
    maps = torch.randn(3, 4, 5, 5)
    assert (content_loss(maps, maps) == 0).all()
    torch.testing.assert_close(content_loss(torch.zeros_like(maps), maps), torch.ones(3))
    goals = [gram(maps), 100 * gram(maps)]
    assert (style_loss(goals, goals) == 0).all()
    torch.testing.assert_close(style_loss([torch.zeros_like(g) for g in goals], goals), torch.ones(3))
    assert total_variation(torch.full((1, 3, 4, 4), 0.7)) == 0


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_transfer_lowers_the_style_and_keeps_the_content(optimizer, painting):
    from inkwash.methods.style import read_rgb

    seer, photo, goal = perceptual("own"), blobs(), read_rgb(painting, 32)
    options = StyleOptions(steps=40, optimizer=optimizer)
    kept, start = transfer(seer, photo, goal, options.model_copy(update={"strength": 0.0, "smooth": 0.0}))
    made, losses = transfer(seer, photo, goal, options)
    assert made.shape == photo.shape and made.abs().max() <= 1
    assert losses["style"] < 0.7 * start["style"] and start["content"] < 0.02
    assert losses["content"] + STYLE * losses["style"] < start["content"] + STYLE * start["style"]
    assert (kept - photo).abs().mean() < (made - photo).abs().mean()


def test_colours_are_kept_where_asked(painting):
    from inkwash.methods.style import read_rgb

    photo = blobs()
    made, _ = transfer(perceptual("own"), photo, read_rgb(painting, 32), StyleOptions(steps=20, keep_colour=True))
    inside = (made.abs() < 0.99).all(1)
    chroma = lambda x: x[:, 0] - x[:, 1]  # noqa: E731
    torch.testing.assert_close(chroma(made)[inside], chroma(photo)[inside], atol=1e-5, rtol=0)


def test_sizes_double_up_to_the_pictures_own():
    assert _sizes((100, 120)) == [(100, 120)]
    assert _sizes((512, 700)) == [(128, 175), (256, 350), (512, 700)]


def test_a_picture_is_compared_by_networks_that_show_their_layers(tmp_path):
    net = VGG19()
    names = {k.replace("convs.", "features."): v for k, v in net.state_dict().items()}
    save_file(names | {"classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg.safetensors")
    loaded = perceptual(f"vgg19:{tmp_path / 'vgg.safetensors'}")
    maps = loaded.layers(torch.zeros(1, 3, 33, 40))
    assert [m.shape[1] for m in maps] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert [tuple(maps[i].shape[-2:]) for i in (0, 2, 4, 8, 12)] == [(33, 40), (17, 20), (9, 10), (5, 5), (3, 3)]
    assert sorted(names)[0] == "features.0.bias" and "features.34.weight" in names, "torchvision's own numbers"
    own = perceptual("own")
    x = torch.zeros(1, 3, 32, 32, requires_grad=True)
    own.layers(x)[own.content].sum().backward()
    assert x.grad.abs().max() > 0
    with pytest.raises(ConfigError, match="vgg19"):
        perceptual("clip")


def small(name, source, settings, **more):
    config = find(name)(source, facts_of(source), **more)
    values = config.model_dump(mode="json")
    values["model"], values["train"] = shrink(values["model"]), values["train"] | FAST | {"steps": 60, "lr": 5e-3}
    return RunConfig.parse(values).override(settings)


def test_a_network_learns_to_paint(painting, tmp_path):
    source = write_npz(tmp_path / "a.npz", shape=(3, 32, 32), classes=0)
    config = small("style", source, {"objective.painting": painting, "objective.side": 32})
    t = make_trainer(config)
    batch, (phase,) = t.loader.batch_at(0), t.phases
    before = t.objective.loss("main", batch, t.moment("main", batch))[1]
    for _ in range(60):
        t.turn(phase, batch)
    after = t.objective.loss("main", batch, t.moment("main", batch))[1]
    assert after["style"] < 0.7 * before["style"]
    assert not any("seer" in name for name in t.objective.state_dict()), "its weights are not the run's"


def test_no_painting_is_said(tmp_path):
    source = write_npz(tmp_path / "a.npz", shape=(3, 32, 32), classes=0)
    with pytest.raises(DataError, match=r"objective\.painting"):
        train(small("style", source, {}), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind, side", [("style", 192), ("upscaler", 192)])
def test_photographs_of_many_sizes_are_cut_and_not_made_small(kind, side, tmp_path):
    for i, size in enumerate([(300, 200), (200, 300), (240, 240), (260, 220)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    config = find(kind)(str(tmp_path), facts_of(str(tmp_path)))
    assert config.data.view.size == config.model.shape[1:] == (side, side) and config.data.view.fit == "window"


def test_srgan_goes_on_from_an_upscaler(tmp_path):
    source = write_npz(tmp_path / "a.npz", shape=(3, 32, 32), classes=0)
    first = small("upscaler", source, {"train.steps": 2})
    start = train(first, tmp_path / "first", quiet=True)
    config = small("srgan", source, {"train.steps": 3, "start": str(start)}, start=first.model)
    run = train(config, tmp_path / "second", quiet=True)
    assert (run / "model" / "model.safetensors").is_file()
    t = make_trainer(config)
    batch = t.loader.batch_at(0)
    for phase in t.phases:
        loss, parts = t.objective.loss(phase.name, batch, t.moment(phase.name, batch))
        assert loss.isfinite() and parts
    made = t.objective.preview(batch, t.moment("preview", batch))
    assert [tuple(x.shape) for x in made] == [(8, 3, 32, 32)] * 3


def test_a_photograph_may_be_small_but_not_as_small_as_that():
    seer, options = perceptual("own"), StyleOptions(steps=1)
    made, _ = transfer(seer, blobs(side=16), blobs(side=4), options)
    assert made.shape == (1, 3, 16, 16)
    with pytest.raises(ConfigError, match="9x12 is too small to paint: 16 pixels at least"):
        transfer(seer, torch.zeros(1, 3, 12, 9), blobs(), options)
