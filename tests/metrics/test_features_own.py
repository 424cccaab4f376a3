import json

import pytest
import torch

from inkwash.core.errors import FileError
from inkwash.metrics.features.own import OwnNet, load_own, save_own

SMALL = {"widths": (8, 16), "depths": (1, 0), "top": 12, "taps": (0, 1), "size": 16}


def test_size_of_the_default():
    net = OwnNet()
    assert 2 * sum(p.numel() for p in net.parameters()) < 2.9e6  # fp16 bytes; the package allows 3 MB
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, net.dim) and 200 <= net.dim <= 400


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 64, 40), (2, 4, 16, 16)])
def test_any_image(shape):
    net = OwnNet(**SMALL)
    assert net(torch.rand(shape)).shape == (2, 8 + 16 + 12)


def test_calibration_whitens():
    torch.manual_seed(0)
    net, x = OwnNet(**SMALL), torch.rand(500, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        raw = net.raw(x)
    assert float(torch.cov(raw.T).diagonal().max()) < 0.1
    net.calibrate(raw, shrink=1e-6)
    y = net(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(net.dim), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(y.T), torch.eye(net.dim), atol=0.02, rtol=0)


def test_shrinking_leaves_weak_directions_weak():
    torch.manual_seed(0)
    net = OwnNet(**SMALL)
    strength = torch.ones(net.dim)
    strength[0] = 1e-4
    raw = torch.randn(4000, net.dim) * strength
    net.calibrate(raw, shrink=1e-2)
    std = ((raw - net.shift) @ net.whitening).std(0)
    assert float(std[0]) < 0.01 and float(std[1:].min()) > 0.9


def test_save_and_load(tmp_path):
    net = OwnNet(**SMALL)
    net.shift.normal_()
    net.whitening.normal_()
    name = save_own(net, tmp_path)
    back = load_own(tmp_path)
    assert back.id == name and name.startswith("inkwash-extractor-")
    x = torch.rand(4, 3, 20, 20) * 2 - 1
    torch.testing.assert_close(back(x), net(x), atol=2e-3, rtol=2e-3)  # fp16 on disk
    assert torch.equal(back.shift, net.shift)
    assert save_own(back, tmp_path / "again") == name
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_bad_folders(tmp_path):
    with pytest.raises(FileError, match="no weights file"):
        load_own(tmp_path)
    save_own(OwnNet(**SMALL), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"wide": 3}))
    with pytest.raises(FileError, match="does not describe"):
        load_own(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, "top": 99}))
    with pytest.raises(FileError, match="another shape"):
        load_own(tmp_path)
