import copy

import pytest
import torch
from torch import nn

from inkwash.nn.layers import VectorLinear
from inkwash.training.muon import SIZE, Muon, as_matrix, as_weight, matrices, orthogonalise, quintic


def net():
    torch.manual_seed(0)
    vector = VectorLinear(64, 64)
    layers = nn.Conv2d(40, 48, 3), nn.Conv2d(48, 32, 1), nn.Conv2d(32, 4, 3), nn.GroupNorm(1, 4), nn.Flatten(), nn.Linear(36, 64)
    return nn.Sequential(*layers, nn.Embedding(50, 64), vector).to(memory_format=torch.channels_last)


def give_gradients(model, seed=0):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=g).to(memory_format=torch.channels_last if p.ndim == 4 else torch.contiguous_format)


def optimizer(model, **more):
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0} | more
    return Muon(model.parameters(), matrices([model]), **settings)


def test_which_weights_are_matrices():
    model = net()
    known = [id(model[i].weight) for i in (0, 1, 5)]
    assert [id(p) for p in matrices([model, model])] == known, "not 4 outputs, a norm, an embedding, a vector"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(3, 48, 360), (2, 64, 40), (1, 32, 32)])
def test_singular_values_end_near_one(shape, dtype):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalise(g.to(dtype))
    assert found.dtype == dtype
    values = torch.linalg.svdvals(found.float())
    assert values.min() > 0.5 and values.max() < 1.3
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    cosine = torch.nn.functional.cosine_similarity(found.float().flatten(1), (u @ v).flatten(1))
    assert cosine.min() > 0.95, "the directions are kept"


def test_wide_matrices_take_the_same_iteration_by_their_squares():
    """Of singular values from 1 down to 1e-5: the small ones are lifted as far."""
    g = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(2, 48, 500, generator=g), full_matrices=False)
    x = u * torch.logspace(0, -5, 48) @ v
    plain = x / x.norm(dim=(-2, -1), keepdim=True)
    for _ in range(5):
        plain = quintic(plain @ plain.mT) @ plain
    torch.testing.assert_close(orthogonalise(x), plain, atol=3e-4, rtol=1e-2)
    torch.testing.assert_close(orthogonalise(x.mT), plain.mT, atol=3e-4, rtol=1e-2)
    torch.testing.assert_close(orthogonalise(x.double()).float(), plain, atol=3e-4, rtol=1e-2)


@pytest.mark.parametrize("half", [False, True])
def test_products_are_taken_in_the_precision_of_the_run(half, monkeypatch):
    """bf16 without matrix units took 1.0 s of a step of 1.3 s."""
    from inkwash.training import muon

    seen = []
    monkeypatch.setattr(muon, "orthogonalise", lambda x: (seen.append(x.dtype), orthogonalise(x))[1])
    model = net()
    give_gradients(model)
    optimizer(model, half=half).step()
    assert set(seen) == {torch.bfloat16 if half else torch.float32}


def test_a_weight_is_read_as_a_matrix_and_back():
    w = torch.randn(5, 7, 3, 3)
    torch.testing.assert_close(as_weight(as_matrix(w), w.shape), w)
    x = torch.randn(2, 7, 3, 3)
    product = x.permute(0, 2, 3, 1).flatten(1) @ as_matrix(w).T
    torch.testing.assert_close(product, nn.functional.conv2d(x, w).flatten(1), atol=1e-4, rtol=1e-4)
    assert torch.equal(as_weight(as_matrix(w[..., 0, 0]), w[..., 0, 0].shape), w[..., 0, 0])


def test_a_step_has_the_size_that_was_said_and_the_rest_is_adam():
    model = net()
    twin = copy.deepcopy(model)
    give_gradients(model)
    give_gradients(twin)
    optimizer(model).step()
    torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.0, fused=True).step()
    before = net()
    ids = {id(p) for p in matrices([model])}
    for p, q, old in zip(model.parameters(), twin.parameters(), before.parameters()):
        if id(p) in ids:
            size = (p - old).detach().square().mean().sqrt() / 0.01
            assert size.item() == pytest.approx(SIZE, rel=0.2), "whatever the shape"
        else:
            assert torch.equal(p, q)


def test_momentum_is_nesterovs():
    model = net()
    o, w = optimizer(model), model[1].weight
    moment, before = torch.zeros_like(w), w.detach().clone()
    for seed in (1, 2, 3):
        give_gradients(model, seed)
        gradient = w.grad.clone()
        before = w.detach().clone()
        o.step()
        moment = 0.95 * moment + 0.05 * gradient
    ahead = 0.05 * gradient + 0.95 * moment
    moved = (before - w.detach()).flatten()
    asked = as_weight(orthogonalise(as_matrix(ahead)[None])[0].float(), w.shape).flatten()
    assert torch.nn.functional.cosine_similarity(moved, asked, dim=0) > 0.999


def test_a_step_that_is_not_finite_moves_nothing():
    model = net()
    o = optimizer(model, weight_decay=0.1)
    give_gradients(model, 1)
    o.found_inf, o.grad_scale = torch.zeros(()), None
    o.step()
    weights = [p.detach().clone() for p in model.parameters()]
    state = {id(p): {k: v.clone() for k, v in s.items()} for p, s in o.state.items()}
    give_gradients(model, 2)
    for p in model.parameters():
        p.grad[:1] = float("nan")
    o.found_inf = torch.ones(())
    o.step()
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights))
    for p, s in o.state.items():
        for k, v in s.items():
            torch.testing.assert_close(v, state[id(p)][k], atol=0, rtol=0, msg=k)


def test_weight_decay_and_zero_grad():
    model = net()
    o = optimizer(model, weight_decay=0.5)
    give_gradients(model)
    for p in model.parameters():
        p.grad.zero_()
    before = model[1].weight.detach().clone()
    o.step()
    torch.testing.assert_close(model[1].weight, before * (1 - 0.01 * 0.5))
    o.zero_grad()
    assert all(p.grad is None for p in model.parameters())
