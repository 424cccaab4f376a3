import pytest
import torch

from inkwash.core.pixels import from_uint8, to_uint8
from inkwash.core.rng import Rng, mix


def test_rows_do_not_depend_on_their_company():
    draws = [lambda r: r.normal(3, 4, 5), lambda r: r.uniform(7), lambda r: r.integers(1000, 2), Rng.normal, lambda r: r.normal(17)]
    many = Rng(range(100, 164))
    alone = [Rng([100 + i]) for i in (0, 13, 63)]
    shuffled = Rng(list(reversed(range(100, 164))))
    for draw in draws:
        x, y = draw(many), draw(shuffled)
        assert torch.equal(x, y.flip(0))
        for i, r in zip((0, 13, 63), alone):
            assert torch.equal(draw(r)[0], x[i])


def test_draws_go_on_and_repeat_only_by_key():
    r = Rng([1, 2, 1])
    a, b = r.normal(50), r.normal(50)
    assert torch.equal(a[0], a[2]) and not torch.equal(a[0], a[1]) and not torch.equal(a, b)
    again = Rng([1, 2, 1])
    assert torch.equal(again.normal(50), a) and torch.equal(again.normal(50), b)


def test_slices_share_the_place_in_the_stream():
    r = Rng(range(10))
    r.normal(3)
    part = r[4:7]
    assert len(part) == 3 and len(r) == 10
    x = part.normal(6)
    assert torch.equal(r.normal(6)[4:7], x)
    assert r[0:0].uniform(3).shape == (0, 3)


def test_forks_are_streams_of_their_own():
    r = Rng(range(4))
    a, b, again = r.fork("a").normal(100), r.fork("b").normal(100), r.fork("a").normal(100)
    assert torch.equal(a, again) and not torch.equal(a, b) and not torch.equal(a, r.normal(100))
    assert r.draws == 1, "a fork draws nothing from its parent"
    assert torch.equal(Rng([2]).fork("a").normal(100)[0], a[2])


def test_rows_of_a_run_are_keyed_by_seed_position_and_phase():
    index = torch.tensor([5, 6, 7])
    base = Rng.of_rows(0, index, "main").normal(8)
    assert torch.equal(Rng.of_rows(0, [6], "main").normal(8)[0], base[1])
    for other in (Rng.of_rows(1, index, "main"), Rng.of_rows(0, index + 3, "main"), Rng.of_rows(0, index, "critic")):
        assert not (other.normal(8) == base).any()


def test_the_global_generator_is_never_touched():
    state = torch.get_rng_state()
    r = Rng(range(3))
    r.normal(2), r.uniform(2), r.integers(5, 2), r.fork("x").normal(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_distributions():
    r = Rng(range(400))
    x = r.normal(500)
    assert x.dtype == torch.float32
    assert x.mean().abs() < 0.01 and (x.std() - 1).abs() < 0.01
    assert (x.mean(1).std() * 500**0.5 - 1).abs() < 0.15, "rows are independent of each other"
    u = r.uniform(500)
    assert u.min() >= 0 and u.max() < 1 and (u.mean() - 0.5).abs() < 0.005
    k = r.integers(7, 500)
    assert k.dtype == torch.int64
    counts = torch.bincount(k.flatten(), minlength=7).float()
    assert len(counts) == 7 and ((counts / (len(k.flatten()) / 7) - 1).abs() < 0.03).all()
    assert r.integers(1).tolist() == [0] * 400


def test_neighbouring_keys_are_unrelated():
    x = Rng(range(512)).normal(256)
    near = (x[1:] * x[:-1]).mean()
    assert near.abs() < 5 / (511 * 256) ** 0.5
    first = Rng(range(4096)).uniform()
    assert abs(torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1]) < 0.08


def test_mix_is_fixed_for_ever():
    """Every seed in every picture's metadata depends on it."""
    assert mix(0) == mix(0) and 0 <= mix(-1) < 2**64
    assert mix(1, 2) != mix(2, 1) and mix("a", "b") != mix("ab") and mix(0, "image") != mix(0, "label")
    assert (mix(0), mix(1, "a", -5)) == (8544620670104835346, 13256674195981328107)
    assert len({mix(i, "image") for i in range(20000)}) == 20000


@pytest.mark.parametrize("key", [-1, 2**63, 2**64 + 5, 10**30])
def test_any_integer_is_a_seed(key):
    assert Rng([mix(key)]).normal(4).isfinite().all()


def test_the_pixel_codec_is_an_exact_inverse_on_every_byte():
    u = torch.arange(256, dtype=torch.uint8)
    x = from_uint8(u)
    assert x.dtype == torch.float32 and x[0] == -1 and x[255] == 1
    assert torch.equal(to_uint8(x), u)
    for dtype in (torch.float64, torch.float32):
        assert torch.equal(to_uint8(x.to(dtype)), u)
    nudge = 0.49 / 127.5
    for near in ((x + nudge).clamp(max=1), (x - nudge).clamp(min=-1)):
        assert torch.equal(to_uint8(near), u), "rounds to the nearest"
    assert to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]
