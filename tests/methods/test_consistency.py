"""Consistency on a Gaussian, where the end of every path is known."""

import pytest
import torch
from torch import nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.rng import Rng
from inkwash.diffusion.path import PATHS
from inkwash.methods.consistency import Consistency, ConsistencyConfig

MU, V, N = 0.3, 0.2, 512


class Known(nn.Module):
    """A teacher that is exact, or a student that jumps to where the teacher's path ends."""

    def __init__(self, path, jumps=False, error=0.0):
        super().__init__()
        self.path, self.jumps, self.error = path, jumps, nn.Parameter(torch.tensor(error))
        self.config = type("Config", (), {"classes": ()})

    def to_latent(self, image):
        return image

    def levels_of(self, t):
        return tuple(f(t)[:, None, None, None] for f in (self.path.a, self.path.s))

    def estimate(self, x, t, label):
        a, s = self.levels_of(t)
        spread = a * a * V + s * s
        gain = (V / spread).sqrt() if self.jumps else a * V / spread
        return MU + gain * (x - a * MU) + self.error * s, None


def loss(student, teacher, fine, progress=1.0, **settings):
    g = torch.Generator().manual_seed(0)
    image = MU + V**0.5 * torch.randn(N, 1, 2, 2, generator=g)
    objective = Consistency(ConsistencyConfig(fine=fine, **settings), student)
    objective.teacher = teacher
    step = Step(progress, 0, Rng.of_rows(0, range(N), "main"))
    return objective.loss("main", Batch(image, Condition(), torch.arange(N)), step)


@pytest.mark.parametrize("name", ["flow", "vp-cosine", "edm"])
def test_the_true_jump_is_consistent_and_the_teacher_is_not(name):
    path = PATHS[name]
    teacher = Known(path)
    fine, finer = (loss(Known(path, jumps=True), teacher, n, anchor=1e-5)[1]["mse"].item() for n in (6.0, 20.0))
    guess = loss(Known(path), teacher, 20.0, anchor=1e-5)[1]["mse"].item()
    assert finer < 0.3 * fine, "what is left is the error of the teacher's step"
    assert finer < 0.05 * guess


def test_the_gradient_leads_to_the_jump():
    path = PATHS["flow"]
    teacher = Known(path)
    slopes = []
    for error in (-0.2, 0.2):
        student = Known(path, jumps=True, error=error)
        loss(student, teacher, 40.0)[0].backward()
        slopes.append(student.error.grad.item())
        assert all(p.grad is None for p in teacher.parameters())
    assert slopes[0] < 0 < slopes[1]


def test_steps_shrink_with_progress_and_some_begin_at_the_start():
    path = PATHS["flow"]
    parts = [loss(Known(path), Known(path), 32.0, p)[1] for p in (0.0, 0.5, 1.0)]
    assert [p["step"].exp().item() for p in parts] == pytest.approx([2.0, 8.0, 32.0], rel=1e-4)
    objective = Consistency(ConsistencyConfig(ends=0.25), Known(path))
    batch = Batch(torch.zeros(N, 1, 1, 1), Condition(), torch.arange(N))
    sigma = objective.draw_sigmas(batch, Step(0.5, 0, Rng.of_rows(0, range(N), "main")))
    assert (sigma > 998).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert sigma[sigma < 900].log().mean().item() == pytest.approx(-0.4, abs=0.2)


def test_the_teacher_is_a_frozen_copy_and_is_saved():
    student = Known(PATHS["flow"], error=0.1)
    objective = Consistency(ConsistencyConfig(), student)
    with torch.no_grad():
        student.error.add_(1.0)
    assert objective.teacher.error.item() == pytest.approx(0.1) and not objective.teacher.error.requires_grad
    assert "teacher.error" in objective.state_dict()
    assert {id(p) for phase in objective.phases() for p in phase.parameters()} == {id(student.error)}
