import pytest
import torch
from torch.nn import functional as F

from inkwash.nn.conv import LEAST, Conv3x3, direct, side_by_side
from inkwash.nn.winograd import convolve, weight_gradient

SHAPES = [(2, 5, 8, 8, 7), (1, 3, 4, 4, 2), (3, 4, 7, 7, 6), (2, 8, 28, 14, 4), (1, 2, 5, 11, 3), (2, 6, 1, 9, 3)]


@pytest.mark.parametrize("n, c, h, w, k", SHAPES)
def test_it_is_convolution(n, c, h, w, k):
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(n, c, h, w, generator=g), torch.randn(k, c, 3, 3, generator=g)
    x.requires_grad_()
    weight.requires_grad_()
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    y = convolve(x.detach(), weight.detach())
    torch.testing.assert_close(y, exact.float(), atol=1e-4, rtol=1e-4)
    assert y.shape == (n, k, h, w) and y.permute(0, 2, 3, 1)[:, :, :, :1].stride(-1) == 1
    dy = torch.randn(exact.shape, generator=g)
    dx, dw = torch.autograd.grad(exact, (x, weight), dy.double())
    torch.testing.assert_close(weight_gradient(x.detach(), dy), dw, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(convolve(dy, weight.detach().transpose(0, 1).flip(2, 3)), dx, atol=1e-4, rtol=1e-4)


def layer(c_in, c_out):
    torch.manual_seed(0)
    return Conv3x3(c_in, c_out)


@pytest.mark.parametrize("c_in, c_out, taken", [(96, 96, True), (128, 80, True), (64, 64, False)])
def test_the_layer_and_its_gradients_equal_conv2d_either_way(c_in, c_out, taken, monkeypatch):
    assert (c_in * c_out >= LEAST) == taken
    conv, calls = layer(c_in, c_out), []
    monkeypatch.setattr("inkwash.nn.conv.convolve", lambda *a: calls.append(1) or convolve(*a))
    x = torch.randn(2, c_in, 9, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = conv(x)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
    dy = torch.randn(y.shape)
    for a, b in zip(*(torch.autograd.grad(out, (x, conv.weight, conv.bias), dy) for out in (y, expected))):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    assert len(calls) == (2 if taken else 0), "forward, and the gradient of its input"


def test_other_precisions_and_tiny_maps_go_the_usual_way(monkeypatch):
    def never(*a):
        raise AssertionError

    monkeypatch.setattr("inkwash.nn.conv.convolve", never)
    conv, x = layer(128, 96), torch.randn(1, 128, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert conv(x[..., :3]).shape == (1, 96, 8, 3)
    assert conv.double()(x.double()).dtype == torch.float64
    with pytest.raises(AssertionError):
        layer(128, 96)(x)


def test_frozen_weights_get_no_gradient():
    conv = layer(96, 96).requires_grad_(False)
    x = torch.randn(1, 96, 8, 8).requires_grad_()
    conv(x).sum().backward()
    assert x.grad is not None and conv.weight.grad is None


# ---- narrow maps in bf16


def test_images_lie_side_by_side_with_zeros_between():
    x = torch.arange(4 * 2 * 3 * 2, dtype=torch.float32).view(4, 2, 3, 2)
    y = side_by_side(x, 2)
    assert y.shape == (2, 2, 3, 6)
    assert torch.equal(y[0, :, :, :2], x[0]) and torch.equal(y[0, :, :, 3:5], x[1]) and torch.equal(y[1, :, :, 3:5], x[3])
    assert (y[..., 2::3] == 0).all()


@pytest.mark.parametrize("width", [1, 4, 7, 8])
@pytest.mark.parametrize("n", [4, 8])
def test_narrow_maps_have_the_same_gradients(n, width):
    conv = layer(6, 5)
    g = torch.Generator().manual_seed(0)
    # Whole numbers, whose sums bf16 holds exactly: in which order a processor adds them up does not matter.
    x = torch.randint(-1, 2, (n, 6, 5, width), generator=g).float().requires_grad_()
    dy = torch.randint(-1, 2, (n, 5, 5, width), generator=g).float()
    grads = []
    for plain in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if plain:
                with direct():
                    y = conv(x)
            else:
                y = conv(x)
        assert ("Narrow" in type(y.grad_fn).__name__) == (not plain)
        grads.append(torch.autograd.grad(y.float(), (x, conv.weight, conv.bias), dy))
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, atol=0.05, rtol=0.02)


def test_wide_maps_and_odd_batches_go_the_usual_way():
    conv = layer(6, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for shape in ((4, 6, 9, 9), (3, 6, 7, 7)):
            assert "Narrow" not in type(conv(torch.randn(shape)).grad_fn).__name__
        with torch.no_grad():
            assert conv(torch.randn(4, 6, 7, 7)).grad_fn is None


@pytest.mark.parametrize("channels, half", [(96, False), (64, True)])
def test_a_penalty_on_its_slope_has_the_usual_gradient(channels, half):
    """Critics are penalised for their slope, so the gradient has to have one too."""
    conv = layer(channels, channels)
    x = torch.randn(8, channels, 7, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def gradients(f):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            y = f(torch.tanh(f(x))).float().square().sum()
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        return torch.autograd.grad(slope.square().mean(), (conv.weight, conv.bias))

    for a, b in zip(gradients(conv), gradients(lambda t: F.conv2d(t, conv.weight, conv.bias, padding=1))):
        assert (a - b).abs().max() < (0.02 if half else 1e-4) * b.abs().max()
