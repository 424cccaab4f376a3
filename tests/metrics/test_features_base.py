import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from inkwash.core.errors import DataError, FileError
from inkwash.metrics.features.base import FeatureNet, extract, fill, read_weights, resize, to_rgb, weight_hash


class Mean(FeatureNet):
    dim, id = 3, "mean"

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def features(self, rgb):
        return rgb.mean((2, 3)) * self.gain


def test_channels():
    g = torch.Generator().manual_seed(0)
    rgb = torch.rand(2, 3, 4, 5, generator=g) * 2 - 1
    assert torch.equal(to_rgb(rgb), rgb)
    assert torch.equal(to_rgb(rgb[:, :1]), rgb[:, :1].repeat(1, 3, 1, 1))
    alpha = lambda a: torch.cat([rgb, torch.full((2, 1, 4, 5), a)], 1)  # noqa: E731
    assert torch.equal(to_rgb(alpha(1.0)), rgb)
    assert torch.equal(to_rgb(alpha(-1.0)), torch.ones_like(rgb))
    torch.testing.assert_close(to_rgb(alpha(0.0)), (rgb + 1) / 2)
    with pytest.raises(DataError, match="1, 3 or 4"):
        to_rgb(rgb[:, :2])


def test_resize_keeps_constants_and_does_not_alias():
    assert torch.allclose(resize(torch.full((1, 1, 9, 30), 0.3), 16), torch.tensor(0.3))
    stripes = torch.tensor([1.0, -1.0]).repeat(32).expand(1, 1, 64, 64)
    assert resize(stripes, 16).abs().max() < 0.1  # without antialiasing every fourth column would be kept


def test_extract_batches_and_detaches():
    x = torch.rand(10, 1, 4, 4)
    whole = extract(Mean(), x)
    assert whole.shape == (10, 3) and not whole.requires_grad
    assert torch.equal(extract(Mean(), x, batch=3), whole)
    assert torch.equal(extract(Mean(), iter(x.split(4))), whole)
    assert extract(Mean(), []).shape == (0, 3)


def test_extract_keeps_every_row_as_its_block_grows():
    x = torch.rand(9000, 3, 1, 1)
    torch.testing.assert_close(extract(Mean(), x.split(700)), x[:, :, 0, 0])
    torch.testing.assert_close(extract(Mean(), [x]), x[:, :, 0, 0])


def test_weight_hash_sees_names_values_and_types_only():
    w = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}
    assert weight_hash(w) == weight_hash(dict(reversed(w.items())))
    others = [{**w, "a": torch.arange(4.0) + 1}, {"c": w["a"], "b": w["b"]}, {**w, "a": w["a"].half()}, {**w, "b": torch.ones(4)}]
    assert len({weight_hash(o) for o in [w, *others]}) == 5


def test_read_weights(tmp_path):
    w = {"a": torch.arange(4.0)}
    save_file(w, tmp_path / "w.safetensors")
    torch.save(w, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        assert torch.equal(read_weights(tmp_path / name)["a"], w["a"])


class Attack:
    def __reduce__(self):
        return (print, ("code ran",))


def test_bad_files_are_one_sentence(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Attack()))
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Attack(), tmp_path / "zip_evil.pth")
    for path in [*tmp_path.iterdir(), tmp_path / "none.pth"]:
        with pytest.raises(FileError) as error:
            read_weights(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)
    assert "code ran" not in capsys.readouterr().out


def test_fill_names_what_does_not_fit():
    net = nn.Linear(2, 3)
    good = {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}
    fill(net, good, "file")
    assert float(net.weight.detach().abs().sum()) == 0
    cases = {
        "lacks weight 'bias'": {"weight": good["weight"]},
        "unknown weight 'more'": {**good, "more": good["bias"]},
        "shape of weight 'bias'": {**good, "bias": torch.zeros(4)},
    }
    for message, weights in cases.items():
        with pytest.raises(FileError, match=message):
            fill(net, weights, "file")
