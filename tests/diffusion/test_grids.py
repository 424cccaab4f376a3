import itertools

import pytest
import torch

from inkwash.diffusion.grids import GRIDS, cheapest, chosen, karras, local_errors, shifted, uniform
from inkwash.diffusion.path import PATHS
from inkwash.diffusion.solvers import dpmpp_2m

MU = torch.tensor([0.7, -0.3, 0.0], dtype=torch.float64)
V = torch.tensor([0.001, 0.5, 2.0], dtype=torch.float64)


def denoiser(path):
    def denoise(x, t):
        _, a, s = path.at(t)
        return MU + a * V / (a * a * V + s * s) * (x - a * MU)

    return denoise


@pytest.mark.parametrize("path", PATHS.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("kind", GRIDS)
def test_every_grid_falls_from_the_start_to_an_image(kind, path):
    for steps in [*range(1, 60), 250]:
        grid = GRIDS[kind](path, steps)
        assert len(grid) == steps + 1
        assert grid[-1] == (0.0, 1.0, 0.0)
        assert grid[0][0] == pytest.approx(path.start, rel=0.1) and grid[0][0] <= path.start
        assert all(a[0] > b[0] for a, b in zip(grid, grid[1:]))
        assert all(point == path.at(point[0]) for point in grid)


def test_karras_is_its_formula():
    """Karras et al. 2022, equation 5."""
    path, n = PATHS["edm"], 18
    grid = karras(path, n)
    for i, (_, a, s) in enumerate(grid[:-1]):
        sigma = (80 ** (1 / 7) + i / (n - 1) * (0.02 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        assert s / a == pytest.approx(sigma, rel=1e-9)
    assert len(karras(path, n, end=False)) == n + 1 and karras(path, n, end=False)[-1][0] > 0


def test_shift_one_is_uniform_and_above_one_looks_longer_at_noise():
    path = PATHS["flow"]
    for a, b in zip(shifted(path, 10, 1.0), uniform(path, 10)):
        assert a[0] == pytest.approx(b[0], rel=1e-5)
    two = shifted(path, 10, 2.0)
    t = 0.999 * 0.5
    assert two[5][0] == pytest.approx(2 * t / (1 + t), rel=1e-9)  # Esser et al. 2024, equation 23


def test_the_cheapest_way_is_the_cheapest_of_all():
    g = torch.Generator().manual_seed(0)
    cost = torch.rand(8, 8, generator=g, dtype=torch.float64)
    for steps in range(1, 8):
        ways = [(0, *inner, 7) for inner in itertools.combinations(range(1, 7), steps - 1)]
        price = lambda way: sum(cost[i, j].item() for i, j in itertools.pairwise(way))  # noqa: E731
        found = cheapest(cost, steps)
        assert len(found) == steps + 1 and found[0] == 0 and found[-1] == 7
        assert price(found) == pytest.approx(min(map(price, ways)))
    with pytest.raises(ValueError, match="do not fit"):
        cheapest(cost, 8)


@pytest.mark.parametrize(("name", "worse"), [("vp-linear", uniform), ("vp-linear", karras), ("flow", karras), ("edm", karras)])
def test_the_models_own_grid_beats_grids_that_do_not_look(name, worse):
    path = PATHS[name]
    d = denoiser(path)
    x = path.at(path.start)[2] * torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fine, errors = local_errors(d, x, path)
    assert len(fine) == 65 and errors.shape == (65, 65)
    assert (errors.tril() == 0).all() and errors.triu(1).sum() > 0 and errors.isfinite().all()
    _, a, s = path.at(path.start)
    exact = MU + (V / (a * a * V + s * s)).sqrt() * (x - a * MU)

    def error(grid):
        return (dpmpp_2m(d, x, grid) - exact).square().mean().sqrt().item()

    for steps in (8, 12, 20):
        own = chosen(fine, errors, steps)
        assert len(own) == steps + 1 and own[0][0] == path.start and own[-1] == (0.0, 1.0, 0.0)
        assert error(own) < 0.8 * error(worse(path, steps)), steps
    assert chosen(fine, errors, len(fine) - 1) == fine
    with pytest.raises(ValueError, match="do not fit"):
        chosen(fine, errors, len(fine))
