import numpy as np
import pytest
import torch

from inkwash.core.errors import ConfigError, FileError
from inkwash.metrics.features.squeezenet import SqueezeNet, load_squeezenet

SQUEEZE = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}


def arrays(version, classes=0):
    """Random weights under the names of the two public files, written out independently of the network."""
    rng = np.random.default_rng(0)
    a, b, c = ("conv1x1_1", "conv1x1_2", "conv3x3_2") if version == "1.0" else ("squeeze1x1", "expand1x1", "expand3x3")
    shapes = {"conv1": (96, 3, 7, 7) if version == "1.0" else (64, 3, 3, 3)}
    cin = shapes["conv1"][0]
    for i, s in SQUEEZE.items():
        shapes |= {f"fire{i}/{a}": (s, cin, 1, 1), f"fire{i}/{b}": (4 * s, s, 1, 1), f"fire{i}/{c}": (4 * s, s, 3, 3)}
        cin = 8 * s
    if classes:
        shapes["conv_final"] = (classes, 512, 1, 1)
    out = {f"{k}.weight": rng.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype(np.float32) for k, s in shapes.items()}
    return out | {f"{k}.bias": rng.normal(0, 0.1, s[0]).astype(np.float32) for k, s in shapes.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    np.savez(folder / "1.0.npz", **arrays("1.0", 1000))
    np.savez(folder / "1.1.npz", **arrays("1.1"))
    return folder


@pytest.mark.parametrize("version, side", [("1.0", 227), ("1.1", 227), ("1.1", 64)])
def test_loads_every_weight(files, version, side):
    net = load_squeezenet(files / f"{version}.npz", size=side)
    raw = arrays(version, 1000 if version == "1.0" else 0)
    assert sum(p.numel() for p in net.parameters()) == sum(v.size for v in raw.values())
    middle = "conv1x1_2" if version == "1.0" else "expand1x1"
    np.testing.assert_array_equal(net.fire6.expand1x1.weight.detach(), raw[f"fire6/{middle}.weight"])
    x = torch.rand(2, 1, 20, 30) * 2 - 1
    assert net(x).shape == (2, 512) and torch.equal(net(x), net(x.repeat(1, 3, 1, 1)))
    maps = {("1.0", 227): 13, ("1.1", 227): 14, ("1.1", 64): 3}[version, side]  # by hand from the paper's strides
    assert net.maps(x.repeat(1, 3, 1, 1)).shape == (2, 512, maps, maps)


@pytest.mark.parametrize("version, levels", [("1.0", (123.0, 117.0, 104.0)), ("1.1", (122.679, 116.669, 104.006))])
def test_the_mean_colour_becomes_zero(files, version, levels):
    """An image of the mean colour leaves the bias of the first convolution: channel order and mean are right."""
    net = load_squeezenet(files / f"{version}.npz")
    seen = []
    net.conv1.register_forward_hook(lambda m, i, o: seen.append(o))
    net((torch.tensor(levels) / 127.5 - 1).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    torch.testing.assert_close(seen[0], net.conv1.bias.detach().view(1, -1, 1, 1).expand_as(seen[0]), atol=1e-3, rtol=0)


def test_first_channel_of_1_0_is_blue(files):
    net = load_squeezenet(files / "1.0.npz", size=32)
    seen = []
    net.conv1.register_forward_pre_hook(lambda m, i: seen.append(i[0]))
    net(torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([-104, -117, 255 - 123], abs=1e-3)


def test_id_names_version_size_and_weights(files, tmp_path):
    one = load_squeezenet(files / "1.1.npz").id
    assert one.startswith("squeezenet1.1-128px-")
    assert load_squeezenet(files / "1.1.npz").id == one
    assert load_squeezenet(files / "1.1.npz", size=96).id != one
    changed = arrays("1.1")
    changed["conv1.bias"][0] += 1
    np.savez(tmp_path / "changed.npz", **changed)
    assert load_squeezenet(tmp_path / "changed.npz").id != one


def test_logits(files):
    net = load_squeezenet(files / "1.0.npz", size=64)
    assert net.logits(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    with pytest.raises(ConfigError, match="no classifier"):
        load_squeezenet(files / "1.1.npz").logits(torch.zeros(1, 3, 64, 64))


def test_refusals(files, tmp_path):
    with pytest.raises(ConfigError, match=r"known: 1\.0, 1\.1"):
        SqueezeNet("2.0")
    (tmp_path / "a.npz").write_text("no zip")
    np.savez(tmp_path / "b.npz", **{k: v for k, v in arrays("1.1").items() if "fire9" not in k})
    np.savez(tmp_path / "c.npz", np.array([{"pickled": 1}], dtype=object))
    for name in ("a", "b", "c", "missing"):
        with pytest.raises(FileError, match=f"{name}.npz"):
            load_squeezenet(tmp_path / f"{name}.npz")
