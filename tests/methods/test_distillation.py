"""Distillation on a Gaussian, where the end of the teacher's flow is known in closed form."""

import pytest
import torch
from torch import nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.errors import ConfigError
from inkwash.core.rng import Rng
from inkwash.diffusion.grids import GRIDS
from inkwash.diffusion.path import PATHS
from inkwash.diffusion.told import Told
from inkwash.methods.diffusion import StudentConfig, StudentOptions
from inkwash.methods.distillation import Distillation, DistillationConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.unet import UNetConfig
from tiny import stir_

MU, STD, N = 0.3, 0.45, 512


class Gaussian(nn.Module):
    """As a denoiser: exact for a Gaussian of this mean and std. As a student: takes what lies k deviations from the noisy mean
    for what lies k deviations from the mean, which is where the flow of an exact denoiser ends."""

    def __init__(self, path, mean, std, draws=False):
        super().__init__()
        self.path, self.draws = path, draws
        self.mean, self.std = nn.Parameter(torch.tensor(mean)), nn.Parameter(torch.tensor(std))
        self.config = type("Config", (), {"classes": ()})
        self.accepts = frozenset()

    def default_options(self):
        return StudentOptions()

    def grid(self, options):
        return GRIDS[options.grid](self.path, options.steps)

    def latent(self, batch):
        return batch.image

    def levels_of(self, t):
        return tuple(f(t)[:, None, None, None] for f in (self.path.a, self.path.s))

    def hears(self, batch, step, dropout):
        return Condition(label=step.drop(batch.cond.label, dropout, len(self.config.classes)))

    def told(self, cond, n):
        return Told(cond.label)

    def nothing(self, n):
        return Told(torch.full((n,), len(self.config.classes)))

    def estimate(self, x, t, told):
        a, s = self.levels_of(t)
        total = a * a * self.std**2 + s * s
        if self.draws:
            return self.mean + self.std * (x - a * self.mean) / (a * a * STD**2 + s * s).sqrt(), None
        return self.mean + a * self.std**2 / total * (x - a * self.mean), None


def objective(path, mean, std, **settings):
    out = Distillation(DistillationConfig(**settings), Gaussian(path, mean, std, draws=True))
    out.teacher = Gaussian(path, MU, STD).requires_grad_(False)
    return out


def loss(out, n=N, image=None):
    image = MU + STD * torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)) if image is None else image
    return out.loss("main", Batch(image, Condition(), torch.arange(n)), Step(0.5, 0, Rng.of_rows(0, range(n), "main")))


@pytest.mark.parametrize("name", ["flow", "vp-cosine", "edm"])
def test_the_goal_lies_where_the_teachers_flow_ends(name):
    """For a Gaussian that end is known, and more steps come closer to it."""
    out = objective(PATHS[name], MU, STD, teacher_steps=400, overshoot=1.0)
    start = torch.tensor([0.2, 0.5, 0.8]).double() * PATHS[name].start
    out.teacher.double(), out.model.double()
    a, _ = out.model.levels_of(start)
    x = a * MU + torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    known, _ = out.model.estimate(x, start, Told())
    wrong = (out.solved(x, start, Condition()) - known).abs().max()
    out.config = out.config.override({"teacher_steps": 6})
    assert wrong < 5e-3 and wrong < 0.1 * (out.solved(x, start, Condition()) - known).abs().max()


def test_overshoot_multiplies_the_extrapolation():
    """Two steps of a solver by hand: with 0 they are DDIM's."""
    path, x = PATHS["flow"], torch.full((1, 1, 1, 1), 0.9)
    ends, teacher = {}, Gaussian(path, MU, STD)
    for overshoot in (0.0, 1.0, 2.0):
        out = objective(path, MU, STD, teacher_steps=3, overshoot=overshoot)
        ends[overshoot] = out.solved(x, torch.tensor([0.9]), Condition()).item()
    y, seen = x, []
    for t, t2 in ((0.9, 0.6), (0.6, 0.3)):
        seen.append(teacher.estimate(y, torch.tensor([t]), Told())[0])
        y = (1 - t2) * seen[-1] + t2 / t * (y - (1 - t) * seen[-1])
    assert ends[0.0] == pytest.approx(teacher.estimate(y, torch.tensor([0.3]), Told())[0].item(), abs=1e-6)
    assert ends[2.0] - ends[1.0] == pytest.approx(ends[1.0] - ends[0.0], abs=1e-6) and ends[1.0] != ends[0.0]


@pytest.mark.parametrize("name", ["flow", "vp-cosine", "edm"])
def test_a_student_that_is_right_stays_and_any_other_moves_towards_it(name):
    at = {}
    for mean, std in ((MU, STD), (MU - 0.2, STD), (MU + 0.2, STD), (MU, STD / 2), (MU, -STD)):
        out = objective(PATHS[name], mean, std, teacher_steps=200, overshoot=1.0)
        value, parts = loss(out)
        value.backward()
        assert all(p.grad is None for p in out.teacher.parameters())
        at[mean, std] = value.item(), parts["mse"].item(), out.model.mean.grad.item(), out.model.std.grad.item()
    right = at.pop((MU, STD))
    for (mean, std), (value, mse, by_mean, by_std) in at.items():
        assert value > 3 * right[0] and mse > 10 * right[1]
        assert by_mean * (mean - MU) > 0.1 * abs(mean - MU) if mean != MU else by_std * (std - STD) > 0.1 * abs(std - STD)


def test_no_image_weighs_more_than_its_error():
    """The norm's gradient: an image that is ten times as wrong pulls no harder."""
    pulls = []
    for far in (1.0, 10.0):
        out = objective(PATHS["flow"], MU + far, STD, ends=1.0)
        loss(out)[0].backward()
        pulls.append(out.model.mean.grad.item())
    assert pulls[0] == pytest.approx(pulls[1], rel=0.05)


def test_starts_lie_on_the_grid_that_is_sampled():
    out = Distillation(DistillationConfig(steps=4, ends=0.4), Gaussian(PATHS["flow"], MU, STD))
    t = out.starts(Step(0.5, 0, Rng.of_rows(0, range(4096), "main")))
    values, counts = t.unique(return_counts=True)
    assert values.tolist() == pytest.approx([0.999 * k / 4 for k in (1, 2, 3, 4)])
    assert (counts / 4096).tolist() == pytest.approx([0.15, 0.15, 0.15, 0.55], abs=0.03)


def test_the_teacher_is_a_frozen_copy_and_is_saved():
    student = Gaussian(PATHS["flow"], 0.1, STD)
    out = Distillation(DistillationConfig(), student)
    with torch.no_grad():
        student.mean.add_(1.0)
    assert out.teacher.mean.item() == pytest.approx(0.1) and not out.teacher.mean.requires_grad
    assert "teacher.mean" in out.state_dict()
    (phase,) = out.phases()
    assert list(phase.parameters()) == list(student.parameters())


class ByClass(Gaussian):
    """One Gaussian for each class, and the null class's in the middle."""

    MEANS = torch.tensor([-0.5, 0.5, 0.0])

    def __init__(self, path):
        super().__init__(path, 0.0, STD)
        self.config.classes = ("a", "b")
        self.accepts = frozenset({"label"})

    def estimate(self, x, t, told):
        mean, (a, s) = self.MEANS[told.label][:, None, None, None], self.levels_of(t)
        return mean + a * STD**2 / (a * a * STD**2 + s * s) * (x - a * mean) + 0 * self.mean, None


def test_the_goal_knows_the_class_and_the_null_class_is_learned_too():
    path, label, t = PATHS["flow"], torch.tensor([0, 1, 2]), torch.full((3,), 0.999)
    out = Distillation(DistillationConfig(teacher_steps=20), ByClass(path))
    ends = out.solved(torch.zeros(3, 1, 4, 4), t, Condition(label=label)).mean((1, 2, 3))
    assert ends.tolist() == pytest.approx([-0.5, 0.5, 0.0], abs=0.02)
    seen = []
    out.solved = lambda x, t, cond: seen.append(cond.label) or x
    n = 4000
    batch = Batch(torch.zeros(n, 1, 1, 1), Condition(label=torch.arange(n) % 2), torch.arange(n))
    out.loss("main", batch, Step(0.5, 0, Rng.of_rows(0, range(n), "main")))
    assert (seen[0] == 2).float().mean().item() == pytest.approx(0.1, abs=0.02)


@torch.no_grad()
def test_the_teacher_reads_with_eyes_of_its_own():
    words = TextConfig(width=8, blocks=1, head=8, tokenizer=TokenizerConfig(length=8))
    net = UNetConfig(width=8, mults=(1,), blocks=1, fold=1, fine=4)
    model = StudentConfig(shape=(1, 4, 4), net=net, text=words).build()
    stir_(model, 0.5)
    out, x, t = Distillation(DistillationConfig(), model), torch.randn(2, 1, 4, 4), torch.full((2,), 0.9)
    cond = Condition(tokens=model.tokens(["red", "blue"]))
    before, said = out.solved(x, t, cond), model.told(cond, 2).context
    stir_(model.text, 0.5)
    assert not torch.equal(model.told(cond, 2).context, said) and torch.equal(out.solved(x, t, cond), before)


def test_guidance_moves_the_goal_within_its_interval():
    """D_null + w (D_class - D_null), by hand, at times inside and outside."""
    path, label, x = PATHS["flow"], torch.tensor([1, 1, 2]), torch.full((3, 1, 2, 2), 0.3)
    out = Distillation(DistillationConfig(guidance=3.0, interval=(0.4, 0.6)), ByClass(path))
    t = torch.tensor([0.5, 0.7, 0.5])
    plain, null = (out.teacher.estimate(x, t, Told(k))[0] for k in (label, torch.full_like(label, 2)))
    wanted = torch.stack([null[0] + 3 * (plain[0] - null[0]), plain[1], null[2]])
    torch.testing.assert_close(out.taught(x, t, Told(label)), wanted)
    plain, cond = Distillation(DistillationConfig(), ByClass(path)), Condition(label=label)
    assert not torch.equal(out.solved(x, t, cond)[0], plain.solved(x, t, cond)[0])
    with pytest.raises(ConfigError, match="the lower one first"):
        DistillationConfig.parse({"interval": [0.6, 0.2]})
    with pytest.raises(ConfigError, match="trained with classes"):
        Distillation(DistillationConfig(guidance=2.0), Gaussian(path, MU, STD))


def test_a_student_is_sampled_where_it_learned():
    model = StudentConfig(shape=(1, 8, 8), net={"width": 8}, options={"grid": "shifted", "shift": 0.5}).build()
    assert Distillation(DistillationConfig(), model).times == pytest.approx([0.999, 0.6, 1 / 3, 1 / 7], abs=2e-3)
    with pytest.raises(ConfigError, match="sample where it learns"):
        Distillation(DistillationConfig(steps=2), StudentConfig(shape=(1, 8, 8), net={"width": 8}).build())
