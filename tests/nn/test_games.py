import math

import pytest
import torch
from torch import nn

from inkwash.core.rng import Rng
from inkwash.nn.augment import KINDS, affine, augment, cutout, translation
from inkwash.nn.critics import Critic
from inkwash.nn.dcgan import DCGANConfig, MLPConfig
from inkwash.nn.games import GAMES, coverage, slope
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.spectral import iterate_, spectral_

P = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)  # probabilities of three images in the data,
Q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)  # and among drawings


def settled(game):
    """The critic's scores of the three images, at the least expected loss."""
    scores = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def value():
        optimizer.zero_grad()
        r, f = scores[:, None].expand(3, 3), scores[None].expand(3, 3)  # all pairs of an image and a drawing
        loss = (game.critic(r, f) * P[:, None] * Q[None]).sum()
        loss.backward()
        return loss

    optimizer.step(value)
    return scores.detach()


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_the_best_critic_knows_the_ratio_of_densities(name):
    """Goodfellow et al. 2014, proposition 1; its loss is then 2 log 2 - 2 JSD."""
    scores = settled(GAMES[name])
    torch.testing.assert_close(scores, (P / Q).log(), atol=1e-5, rtol=0)
    middle = (P + Q) / 2
    jsd = ((P * (P / middle).log()).sum() + (Q * (Q / middle).log()).sum()) / 2
    loss = (GAMES[name].critic(scores[:, None], scores[None]) * P[:, None] * Q[None]).sum()
    assert loss.item() == pytest.approx(2 * math.log(2) - 2 * jsd.item(), abs=1e-9)


def test_the_best_critic_of_least_squares_is_a_share():
    torch.testing.assert_close(settled(GAMES["least-squares"]), P / (P + Q), atol=1e-6, rtol=0)


def test_the_best_critic_of_hinge_is_a_sign():
    game = GAMES["hinge"]
    value = lambda s: (game.critic(s[:, None], s[None]) * P[:, None] * Q[None]).sum().item()  # noqa: E731
    best = (P - Q).sign()
    assert value(best) == pytest.approx(2 * torch.minimum(P, Q).sum().item())
    g = torch.Generator().manual_seed(0)
    assert all(value(3 * torch.randn(3, generator=g, dtype=torch.float64)) >= value(best) for _ in range(200))


def test_what_the_generator_feels():
    """The slope in the score of a drawing, where the critic is sure that it is false, f = -6, and r = 6."""
    slopes = {}
    for name, game in GAMES.items():
        f = torch.tensor([-6.0], requires_grad=True)
        game.generator(torch.tensor([6.0]), f).backward()
        slopes[name] = f.grad.item()
    assert all(s < 0 for s in slopes.values()), "every one wants a higher score"
    assert abs(slopes["minimax"]) < 0.003 and slopes["non-saturating"] == pytest.approx(-1, abs=0.003)
    assert slopes["least-squares"] == -7 and slopes["hinge"] == slopes["wasserstein"] == -1
    assert slopes["relativistic"] == pytest.approx(-1, abs=1e-4) and GAMES["relativistic"].paired


def test_the_slope_of_a_known_critic():
    w = torch.randn(12, requires_grad=True)
    square = slope(lambda x: (x.flatten(1) @ w) ** 2 / 2, torch.ones(3, 3, 2, 2) * torch.arange(3.0)[:, None, None, None])
    expected = (w.sum() * torch.arange(3.0)) ** 2 * w.square().sum()
    torch.testing.assert_close(square, expected)
    (gradient,) = torch.autograd.grad(square.sum(), w)
    (same,) = torch.autograd.grad(expected.sum(), w)
    torch.testing.assert_close(gradient, same)


def test_coverage_falls_as_modes_go():
    g = torch.Generator().manual_seed(0)
    centres = 10 * torch.randn(8, 5, generator=g)
    cloud = lambda modes: centres[torch.arange(400) % modes] + 0.1 * torch.randn(400, 5, generator=g)  # noqa: E731
    assert coverage(cloud(8), cloud(8)).item() == pytest.approx(7 / 8, abs=0.07)
    assert coverage(cloud(8), cloud(2)).item() == pytest.approx(7 / 32, abs=0.05)
    assert coverage(cloud(8), cloud(1)[:1].expand(400, 5)).item() < 0.05
    assert coverage(torch.zeros(2, 5), torch.ones(2, 5)) == 1


# ---- augmentation


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_changes_rows_by_themselves_and_lets_gradients_through(kind):
    x = (torch.rand(6, 3, 9, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1).requires_grad_()
    state = torch.get_rng_state()
    y = augment(x, Rng(range(6)), (kind,))
    assert torch.equal(torch.get_rng_state(), state) and y.shape == x.shape
    assert all((a - b).abs().max() > 0 for a, b in zip(x, y)) and not torch.equal(y[0] - x[0], y[1] - x[1])
    torch.testing.assert_close(augment(x[4:5], Rng([4]), (kind,))[0], y[4])
    y.sum().backward()
    assert all(g.abs().max() > 0 for g in x.grad)
    assert torch.equal(augment(x, Rng(range(6)), (kind,), 0.0), x)
    half = augment(x.repeat(50, 1, 1, 1), Rng(range(300)), (kind,), torch.tensor(0.5))
    assert 110 < sum(not torch.equal(a, b) for a, b in zip(half, x.repeat(50, 1, 1, 1))) < 190


def test_where_a_shift_and_a_hole_lie():
    x = torch.arange(1.0, 65).view(1, 1, 8, 8)
    assert torch.equal(translation(x, torch.tensor([[0.5, 0.5, 0]])), x)
    down = translation(x, torch.tensor([[0.99, 0.01, 0]]))  # one row down, one column to the left
    assert torch.equal(down[..., 1:, :7], x[..., :7, 1:]) and (down[..., 0, :] == 0).all() and (down[..., 7] == 0).all()
    hole = cutout(x, torch.tensor([[0.5, 0.25, 0]])) == 0
    assert hole[0, 0, 2:6, :4].all() and hole.sum() == 16


def test_how_far_a_picture_is_turned_and_enlarged():
    x = torch.rand(2, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    middle = torch.full((2, 3), 0.5)
    torch.testing.assert_close(affine(x, middle), x)
    over = affine(x, torch.tensor([[1.0, 0.5, 0], [0.0, 0.5, 0]]), degrees=180)
    torch.testing.assert_close(over, x.flip(2, 3), atol=1e-5, rtol=0)
    wide = torch.zeros(1, 1, 16, 24)
    wide[..., 6:10, 8:16] = 1  # 4 x 8 in the middle
    standing = affine(wide, torch.tensor([[1.0, 0.5, 0]]), degrees=90)
    torch.testing.assert_close(standing[0, 0, 4:12, 10:14], torch.ones(8, 4), atol=1e-4, rtol=0)
    assert standing.sum().item() == pytest.approx(32, rel=1e-3)  # a wide picture is turned, not sheared
    large = affine(wide, torch.tensor([[0.5, 1.0, 0]]), octaves=1)
    assert large.sum().item() == pytest.approx(4 * 32, rel=0.05)


# ---- critics


@pytest.mark.parametrize(
    "net", [PyramidConfig(width=8), PyramidConfig(width=8, attention=(8,)), DCGANConfig(width=4), MLPConfig(critic_width=8)]
)
@pytest.mark.parametrize("how", ["projection", "auxiliary", "concat"])
def test_critics_score_an_image_for_its_class(net, how):
    critic = Critic(net, (3, 20, 17), 4, how).eval()
    with torch.no_grad():
        for p in critic.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x, label = torch.randn(5, 3, 20, 17), torch.tensor([0, 1, 2, 3, 4])
    score, names = critic(x, label)
    assert score.shape == (5,) and (names is None) == (how != "auxiliary")
    other = critic(x, (label + 1) % 5)[0]
    assert torch.equal(score, other) == (how == "auxiliary")
    torch.testing.assert_close(critic(x[1:2], label[1:2])[0], score[1:2], atol=1e-5, rtol=1e-5)


def test_spectral_norm_is_the_largest_stretch_and_moves_only_when_asked():
    torch.manual_seed(0)
    net = spectral_(nn.Sequential(nn.Conv2d(3, 7, 3), nn.Linear(5, 4)))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.randn(2, 3, 7, 7))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    for _ in range(200):
        iterate_(net)
    for layer in net:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-4)
    weight = net[1].parametrizations.weight.original
    (gradient,) = torch.autograd.grad(net[1].weight.square().sum(), weight)
    exact = weight.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad((exact / torch.linalg.matrix_norm(exact, 2)).square().sum(), exact)
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-3)


def test_a_layer_of_zeros_is_drawn_before_it_is_normalised():
    layer = nn.Linear(4, 4)
    nn.init.zeros_(layer.weight)
    assert spectral_(layer).weight.isfinite().all() and layer.weight.abs().max() > 0
