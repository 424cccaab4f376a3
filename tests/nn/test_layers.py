import pytest
import torch
from torch.nn import functional as F

from inkwash.core.errors import ConfigError
from inkwash.nn.dit import DiTBlock, DiTConfig
from inkwash.nn.layers import Attention, Down, ResBlock, Up, fourier, pad_to_multiple, positions
from inkwash.nn.pyramid import Decoder, Encoder, PyramidConfig
from inkwash.nn.unet import Block, UNetConfig

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
    assert torch.equal(Block(8, 3)(x, torch.randn(2, 3)), x)
    assert torch.equal(DiTBlock(DiTConfig(width=8))(y := torch.randn(2, 5, 8), torch.randn(2, 8)), y)


def test_a_blocks_embedding_matters():
    for block in (ResBlock(4, embedding=3), Block(4, 3)):
        stirred(block)
        x, e = (torch.randn(2, *s, dtype=torch.float64) for s in ((4, 6, 6), (3,)))
        rows_are_independent(block, x, e)
        assert not torch.allclose(block(x, e), block(x, e + 1))


def test_down_and_up_change_the_size():
    x = torch.randn(2, 3, 6, 4)
    assert Down(3, 5)(x).shape == (2, 5, 3, 2) and Up(3, 5)(x).shape == (2, 5, 12, 8)
    up = Up(3, 3)
    with torch.no_grad():
        up.mix.weight.copy_(torch.eye(3).view_as(up.mix.weight))
        up.mix.bias.zero_()
    torch.testing.assert_close(up(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


NETS = [
    UNetConfig(width=4, fine=4),
    UNetConfig(width=4, fine=3, mults=(1, 2, 3), fold=1, attention=(1,), blocks=1),
    DiTConfig(width=8, blocks=2, head=4),
    DiTConfig(width=12, blocks=1, fold=3),
]


GATED = UNetConfig(width=6, fine=4, gate=True, positions=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", [*NETS, GATED])
def test_networks_take_any_size(config, size):
    net = stirred(config.build(3, 3, num_classes=2)).float()
    x, t, label = torch.randn(3, 3, *size), torch.rand(3), torch.tensor([0, 1, 2])
    y = net(x, t, label)
    assert y.shape == x.shape and y.isfinite().all()
    torch.testing.assert_close(net(x[1:2], t[1:2], label[1:2])[0], y[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", NETS)
def test_networks_start_at_zero_and_the_null_class_is_the_last(config):
    net = config.build(1, 1, num_classes=3)
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2)
    assert (net(x, t, torch.tensor([0, 1])) == 0).all()
    net = stirred(net).float()
    assert torch.equal(net(x, t), net(x, t, torch.tensor([3, 3])))
    assert not torch.allclose(net(x, t), net(x, t, torch.tensor([0, 3])))
    assert not torch.allclose(net(x, t), net(x, t + 0.2))


@pytest.mark.parametrize("config", NETS[1:])
def test_networks_attend_to_a_context(config):
    """Cross-attention: what the mask hides does not matter, what it shows does, and gradients reach the tokens and every weight."""
    net = stirred(config.build(2, 2, num_classes=2, context=6), 0.3).float()
    x, t, label = torch.randn(2, 2, 8, 8), torch.rand(2), torch.tensor([0, 1])
    context = torch.randn(2, 5, 6, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    y = net(x, t, label, context, mask)
    y.square().mean().backward()
    assert (context.grad[~mask] == 0).all() and (context.grad[mask].abs().amax(-1) > 0).all()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for name, p in net.named_parameters() if "label" not in name)
    hidden = torch.where(mask[..., None], context, 9.0)
    torch.testing.assert_close(net(x, t, label, hidden, mask), y)
    assert not torch.allclose(net(x, t, label, context + 0.5, mask), y)
    values = []
    for step in (0.05, -0.05):
        moved = context.detach().clone()
        moved[0, 0] += step
        values.append(net(x, t, label, moved, mask).square().mean().item())
    assert (values[0] - values[1]) / 0.1 == pytest.approx(context.grad[0, 0].sum().item(), rel=0.1, abs=2e-4)


def test_a_transformer_knows_where_its_tokens_are():
    net = stirred(DiTConfig(width=8, blocks=1).build(1, 1)).float()
    x, t = torch.ones(1, 1, 8, 8), torch.rand(1)
    y = net(x, t)
    assert not torch.allclose(y[..., :2, :2], y[..., 2:4, :2]) and not torch.allclose(y[..., :2, :2], y[..., :2, 2:4])
    assert positions(3, 5, 8).unique(dim=0).shape == (15, 8) and positions(3, 5, 6).shape == (15, 6)


@pytest.mark.parametrize("told", [False, True])
def test_a_unet_with_positions_knows_where_its_places_are(told):
    """Far from the edges, which convolutions see, a blank picture looks alike everywhere without them."""
    net = stirred(UNetConfig(width=6, mults=(1,), blocks=0, fold=1, positions=told).build(1, 1)).float()
    net.middle = net.middle[1:]  # one block; the other one's attention averages over all places
    y = net(torch.ones(1, 1, 24, 24), torch.rand(1))
    for other in (y[..., 10:12, 14:16], y[..., 14:16, 10:12]):
        assert torch.allclose(y[..., 10:12, 10:12], other, atol=1e-6) != told


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fold", [1, 2])
def test_pyramids_take_any_size(size, fold):
    config = PyramidConfig(width=4, most=8, fold=fold, smallest=2)
    x = torch.randn(3, 2, *size)
    assert Encoder(config, (2, *size), 7)(x).shape == (3, 7)
    y = Decoder(config, (2, *size), 5)(torch.randn(3, 5))
    assert y.shape == x.shape and y.isfinite().all()
    assert config.trunk((2, *size))(x).shape == (3, 8 if len(config.widths(*size)) > 1 else 4)


def test_a_gate_passes_pixels_on_by_a_gain_that_depends_on_time_alone():
    net = stirred(GATED.build(3, 3)).float()
    with torch.no_grad():
        for p in [*net.unfold.parameters(), net.head.bias]:  # what the inner layers say is left out
            p.zero_()
        net.gate.bias[4:] = 0
        net.gate.weight[4:] = 0  # scales alone, no shifts
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.9])
    net.door.bias.data.zero_()
    torch.testing.assert_close(net(2 * x, t), 2 * net(x, t))  # linear
    assert not torch.allclose(net(x, t), net(x, t.flip(0)))


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
