import pytest
import torch
from torch.nn import functional as F

from inkwash.core.errors import ConfigError
from inkwash.nn.layers import Attention, Down, ResBlock, Up, fourier, pad_to_multiple
from inkwash.nn.pyramid import Critic, Decoder, Encoder, PyramidConfig
from inkwash.nn.unet import UNet, UNetConfig

SIZES = [(8, 8), (12, 10), (5, 7), (1, 1), (3, 17)]


def stirred(module, scale=0.1):
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn_like(p))
    return module.double()


def rows_are_independent(f, *inputs):
    """f of a batch equals f of its rows."""
    whole = f(*inputs)
    for i in range(len(inputs[0])):
        torch.testing.assert_close(f(*(x[i : i + 1] for x in inputs))[0], whole[i], atol=1e-10, rtol=0)


def test_fourier_features():
    t = torch.tensor([0.0, 0.25, 1.0])
    e = fourier(t, 8)
    assert e.shape == (3, 8)
    for i, value in enumerate(t.tolist()):
        angles = [1000 * value / 1e4 ** (k / 4) for k in range(4)]
        expected = torch.tensor([*angles, *angles])
        torch.testing.assert_close(e[i], torch.cat([expected[:4].sin(), expected[4:].cos()]), atol=2e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_padding_repeats_the_edge(size):
    x = torch.randn(2, 1, *size)
    y = pad_to_multiple(x, 4)
    assert y.shape[2] % 4 == 0 == y.shape[3] % 4 and y.shape[2] - size[0] < 4
    assert torch.equal(y[..., : size[0], : size[1]], x) and torch.equal(y[..., -1, -1], x[..., -1, -1])
    assert pad_to_multiple(y, 4) is y


@pytest.mark.parametrize("channels, head", [(8, 128), (16, 4), (10, 4), (12, 5)])
def test_attention_is_softmax_attention(channels, head):
    layer = stirred(Attention(channels, head))
    x = torch.randn(2, channels, 3, 5, dtype=torch.float64)
    assert channels % layer.heads == 0
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    k, v = layer.kv(tokens).chunk(2, -1)
    split = lambda y: y.unflatten(-1, (layer.heads, -1)).transpose(1, 2)  # noqa: E731
    y = F.scaled_dot_product_attention(split(layer.q(tokens)), split(k), split(v)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x), x + layer.out(y).transpose(1, 2).reshape(x.shape), atol=1e-6, rtol=0)
    rows_are_independent(layer, x)


def test_attention_looks_at_what_the_mask_allows():
    layer = stirred(Attention(8, context=6))
    x, context = torch.randn(2, 8, 2, 2, dtype=torch.float64), torch.randn(2, 5, 6, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    changed = context.clone()
    changed[~mask] = 99.0
    torch.testing.assert_close(layer(x, context, mask), layer(x, changed, mask))
    assert not torch.allclose(layer(x, context, mask), layer(x, context))
    torch.testing.assert_close(layer(x, context, mask)[:1], layer(x[:1], context[:1, :3]))


def test_residual_branches_start_as_the_identity():
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Attention(8)(x), x)
    assert torch.equal(ResBlock(8)(x), x)
    skip = torch.randn(2, 8, 4, 4)
    assert torch.equal(ResBlock(8, embedding=3, extra=True)(x, torch.randn(2, 3), skip), x + skip)


def test_a_blocks_second_input_and_embedding_matter():
    block = stirred(ResBlock(4, embedding=3, extra=True))
    x, e, extra = (torch.randn(2, *s, dtype=torch.float64) for s in ((4, 6, 6), (3,), (4, 6, 6)))
    rows_are_independent(block, x, e, extra)
    assert not torch.allclose(block(x, e, extra), block(x, e + 1, extra))
    assert not torch.allclose(block(x, e, extra), block(x, e, extra + torch.randn_like(extra)))


def test_down_and_up_change_the_size():
    x = torch.randn(2, 3, 6, 4)
    assert Down(3, 5)(x).shape == (2, 5, 3, 2) and Up(3, 5)(x).shape == (2, 5, 12, 8)
    up = Up(3, 3)
    with torch.no_grad():
        up.mix.weight.copy_(torch.eye(3).view_as(up.mix.weight))
        up.mix.bias.zero_()
    torch.testing.assert_close(up(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", [UNetConfig(width=4), UNetConfig(width=4, mults=(1, 2, 3), fold=1, attention=(1,), blocks=1)])
def test_unet_takes_any_size(config, size):
    net = stirred(UNet(config, 3, 3, num_classes=2))
    x, t, label = torch.randn(3, 3, *size, dtype=torch.float64), torch.rand(3, dtype=torch.float64), torch.tensor([0, 1, 2])
    net.float()
    y = net(x.float(), t.float(), label)
    assert y.shape == x.shape and y.isfinite().all()
    alone = net(x[1:2].float(), t[1:2].float(), label[1:2])
    torch.testing.assert_close(alone[0], y[1], atol=1e-4, rtol=1e-4)


def test_unet_starts_at_zero_and_the_null_class_is_the_last():
    net = UNet(UNetConfig(width=4), 1, 1, num_classes=3)
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2)
    assert (net(x, t, torch.tensor([0, 1])) == 0).all()
    net = stirred(net).float()
    assert torch.equal(net(x, t), net(x, t, torch.tensor([3, 3])))
    assert not torch.allclose(net(x, t), net(x, t, torch.tensor([0, 3])))
    assert not torch.allclose(net(x, t), net(x, t + 0.2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fold", [1, 2])
def test_pyramids_take_any_size(size, fold):
    config = PyramidConfig(width=4, most=8, fold=fold, smallest=2)
    x = torch.randn(3, 2, *size)
    assert Encoder(config, (2, *size), 7)(x).shape == (3, 7)
    y = Decoder(config, (2, *size), 5)(torch.randn(3, 5))
    assert y.shape == x.shape and y.isfinite().all()
    assert Critic(config, (2, *size), 3)(x, torch.tensor([0, 1, 3])).shape == (3,), "the null class too"


def test_critics_are_conditional_by_projection():
    critic = stirred(Critic(PyramidConfig(width=4, most=8), (1, 8, 8), 2)).float()
    x = torch.randn(2, 1, 8, 8)
    assert not torch.allclose(critic(x, torch.tensor([0, 0])), critic(x, torch.tensor([1, 1])))
    assert torch.allclose(critic(x[:1], torch.tensor([1])), critic(x, torch.tensor([1, 0]))[:1], atol=1e-5)


def test_sizes_that_make_no_network_are_refused():
    for config, values in [
        (UNetConfig, {"width": 0}),
        (UNetConfig, {"width": 7}),
        (UNetConfig, {"mults": []}),
        (UNetConfig, {"mults": [1, 0]}),
        (UNetConfig, {"fold": 0}),
        (UNetConfig, {"head": 0}),
        (PyramidConfig, {"fold": 0}),
        (PyramidConfig, {"width": -1}),
        (PyramidConfig, {"smallest": 0}),
    ]:
        with pytest.raises(ConfigError, match="cannot be"):
            config.parse(values)
