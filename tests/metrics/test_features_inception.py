import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from inkwash.core.errors import FileError
from inkwash.metrics.features.inception import Inception, average, load_inception


def layout():
    """Convolution name -> weight shape, of the public files of pytorch-fid and torch-fidelity."""
    convs = {
        "Conv2d_1a_3x3": (32, 3, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (64, 32, 3, 3),
        "Conv2d_3b_1x1": (80, 64, 1, 1), "Conv2d_4a_3x3": (192, 80, 3, 3),
    }  # fmt: skip
    for name, cin, pool in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        block = {
            "branch1x1": (64, cin, 1, 1), "branch5x5_1": (48, cin, 1, 1), "branch5x5_2": (64, 48, 5, 5),
            "branch3x3dbl_1": (64, cin, 1, 1), "branch3x3dbl_2": (96, 64, 3, 3), "branch3x3dbl_3": (96, 96, 3, 3),
            "branch_pool": (pool, cin, 1, 1),
        }  # fmt: skip
        convs |= {f"Mixed_{name}.{k}": v for k, v in block.items()}
    convs |= {
        "Mixed_6a.branch3x3": (384, 288, 3, 3), "Mixed_6a.branch3x3dbl_1": (64, 288, 1, 1),
        "Mixed_6a.branch3x3dbl_2": (96, 64, 3, 3), "Mixed_6a.branch3x3dbl_3": (96, 96, 3, 3),
    }  # fmt: skip
    for name, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        block = {
            "branch1x1": (192, 768, 1, 1), "branch7x7_1": (c, 768, 1, 1), "branch7x7_2": (c, c, 1, 7),
            "branch7x7_3": (192, c, 7, 1), "branch7x7dbl_1": (c, 768, 1, 1), "branch7x7dbl_2": (c, c, 7, 1),
            "branch7x7dbl_3": (c, c, 1, 7), "branch7x7dbl_4": (c, c, 7, 1), "branch7x7dbl_5": (192, c, 1, 7),
            "branch_pool": (192, 768, 1, 1),
        }  # fmt: skip
        convs |= {f"Mixed_{name}.{k}": v for k, v in block.items()}
    convs |= {
        "Mixed_7a.branch3x3_1": (192, 768, 1, 1), "Mixed_7a.branch3x3_2": (320, 192, 3, 3),
        "Mixed_7a.branch7x7x3_1": (192, 768, 1, 1), "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1), "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
    }  # fmt: skip
    for name, cin in (("7b", 1280), ("7c", 2048)):
        block = {
            "branch1x1": (320, cin, 1, 1), "branch3x3_1": (384, cin, 1, 1), "branch3x3_2a": (384, 384, 1, 3),
            "branch3x3_2b": (384, 384, 3, 1), "branch3x3dbl_1": (448, cin, 1, 1), "branch3x3dbl_2": (384, 448, 3, 3),
            "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1), "branch_pool": (192, cin, 1, 1),
        }  # fmt: skip
        convs |= {f"Mixed_{name}.{k}": v for k, v in block.items()}
    return convs


@pytest.fixture(scope="module")
def weights():
    g = torch.Generator().manual_seed(0)
    out = {"fc.weight": torch.randn(1008, 2048, generator=g) * 0.02, "fc.bias": torch.zeros(1008)}
    for name, shape in layout().items():
        fan = shape[1] * shape[2] * shape[3]
        out[f"{name}.conv.weight"] = torch.randn(shape, generator=g) * (2 / fan) ** 0.5
        out[f"{name}.bn.weight"] = torch.rand(shape[0], generator=g) + 0.5
        out[f"{name}.bn.bias"] = torch.randn(shape[0], generator=g) * 0.1
        out[f"{name}.bn.running_mean"] = torch.randn(shape[0], generator=g) * 0.1
        out[f"{name}.bn.running_var"] = torch.rand(shape[0], generator=g) + 0.5
    return out


def test_every_weight_of_the_public_layout_loads(weights, tmp_path):
    torch.save(weights, tmp_path / "inception.pth")
    save_file(weights, tmp_path / "inception.safetensors")
    net = load_inception(tmp_path / "inception.pth")
    assert sum(p.numel() for p in net.parameters()) == 23_850_960  # torchvision's 23,834,568 with 1008 outputs for 1000
    state = net.state_dict()
    assert all(torch.equal(state[k], v) for k, v in weights.items())
    assert load_inception(tmp_path / "inception.safetensors").id == net.id
    x = torch.rand(1, 1, 32, 32) * 2 - 1
    y = net(x)
    assert y.shape == (1, 2048) and y.isfinite().all() and not net.training
    assert torch.equal(y, net(x))
    torch.testing.assert_close(net.logits(y), y @ weights["fc.weight"].T)
    with_counters = {k.replace("running_var", "num_batches_tracked"): torch.tensor(7) for k in weights if "running_var" in k}
    torch.save({**weights, **with_counters}, tmp_path / "counted.pth")
    assert load_inception(tmp_path / "counted.pth").id == net.id


def test_pooling_of_the_tensorflow_graph():
    assert torch.equal(average(torch.ones(1, 1, 5, 5)), torch.ones(1, 1, 5, 5))  # zero padding would darken the rim
    net = Inception().eval()
    for block, cin, pool in ((net.Mixed_7b, 1280, average), (net.Mixed_7c, 2048, lambda x: F.max_pool2d(x, 3, 1, 1))):
        x = torch.rand(1, cin, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(block(x)[:, -192:], block.branch_pool(pool(x)))
    with torch.no_grad():
        x = torch.rand(1, 192, 9, 9)
        torch.testing.assert_close(net.Mixed_5b(x)[:, -32:], net.Mixed_5b.branch_pool(average(x)))


def test_another_network_is_refused(weights, tmp_path):
    torch.save({k: v for k, v in weights.items() if "Mixed_7c" not in k}, tmp_path / "half.pth")
    with pytest.raises(FileError, match=r"half\.pth lacks weight 'Mixed_7c"):
        load_inception(tmp_path / "half.pth")
    torch.save({**weights, "AuxLogits.fc.bias": torch.zeros(1000)}, tmp_path / "vision.pth")
    with pytest.raises(FileError, match="unknown weight 'AuxLogits"):
        load_inception(tmp_path / "vision.pth")
