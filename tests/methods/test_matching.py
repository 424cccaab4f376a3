"""Distribution matching on Gaussians, where teacher and critic are known in closed form."""

import pytest
import torch
from torch import nn

from inkwash.core.batch import Batch, Condition, Step
from inkwash.core.rng import Rng
from inkwash.diffusion.path import PATHS
from inkwash.methods.diffusion import StudentConfig
from inkwash.methods.matching import Matching, MatchingConfig

MU, STD, N = 0.3, 0.45, 512


class Gaussian(nn.Module):
    """As a denoiser: exact for a Gaussian of this mean and std. As a student: draws from it, whatever time it is given."""

    def __init__(self, path, mean, std, draws=False):
        super().__init__()
        self.path, self.draws = path, draws
        self.mean, self.std = nn.Parameter(torch.tensor(mean)), nn.Parameter(torch.tensor(std))
        self.config = type("Config", (), {"classes": ()})

    def to_latent(self, image):
        return image

    def levels_of(self, t):
        return tuple(f(t)[:, None, None, None] for f in (self.path.a, self.path.s))

    def estimate(self, x, t, label):
        a, s = self.levels_of(t)
        if self.draws:
            return self.mean + self.std * (x / s), None
        gain = a * self.std**2 / (a * a * self.std**2 + s * s)
        return self.mean + gain * (x - a * self.mean), None


def objective(path, mean, std, **settings):
    """A student that draws from (mean, std) with a perfect critic of it, and the teacher that knows (MU, STD)."""
    out = Matching(MatchingConfig(ends=1.0, judge=0.0, **({"regression": 0.0} | settings)), Gaussian(path, mean, std, draws=True))
    out.teacher, out.critic = Gaussian(path, MU, STD).requires_grad_(False), Gaussian(path, mean, std)
    return out


def loss(out, phase="student", n=N):
    batch = Batch(torch.zeros(n, 1, 4, 4), Condition(), torch.arange(n))
    return out.loss(phase, batch, Step(0.5, 0, Rng.of_rows(0, range(n), phase)))


@pytest.mark.parametrize("name", ["flow", "vp-cosine", "edm"])
@pytest.mark.parametrize("mean, std", [(MU - 0.2, STD), (MU + 0.2, STD), (MU, STD / 2), (MU, STD * 2)])
def test_the_gradient_moves_the_student_to_the_teachers_distribution(name, mean, std):
    out = objective(PATHS[name], mean, std)
    value, parts = loss(out)
    value.backward()
    assert parts["apart"] > 0 and all(p.grad is None for m in (out.teacher, out.critic) for p in m.parameters())
    moved, still = ("mean", "std") if mean != MU else ("std", "mean")
    slopes = {k: getattr(out.model, k).grad.item() for k in ("mean", "std")}
    assert slopes[moved] * ((mean - MU) or (std - STD)) > 0
    assert abs(slopes[still]) < 0.2 * abs(slopes[moved])


def test_nothing_moves_where_the_distributions_are_equal():
    out = objective(PATHS["flow"], MU, STD)
    value, parts = loss(out)
    value.backward()
    assert parts["apart"] < 1e-12 and abs(out.model.mean.grad) < 1e-5


@pytest.mark.parametrize("name", ["flow", "edm"])
def test_the_critic_learns_the_students_distribution_not_the_teachers(name):
    out = objective(PATHS[name], MU + 0.3, STD)
    at = {}
    for mean in (MU, MU + 0.3):
        out.critic = Gaussian(PATHS[name], mean, STD)
        value, _ = loss(out, "critic", 4096)
        value.backward()
        at[mean] = value.item(), out.critic.mean.grad.item()
    assert at[MU + 0.3][0] < at[MU][0] and at[MU][1] < 0
    assert abs(at[MU + 0.3][1]) < 0.05 * abs(at[MU][1])
    assert out.model.mean.grad is None, "the student does not learn from the critic's loss"


def test_starts_lie_on_the_grid_that_is_sampled():
    out = Matching(MatchingConfig(steps=4, ends=0.4, judge=0.0), Gaussian(PATHS["flow"], MU, STD))
    batch = Batch(torch.zeros(4096, 1, 1, 1), Condition(), torch.arange(4096))
    t = out.times(out.places(batch, Step(0.5, 0, Rng.of_rows(0, range(4096), "student"))))
    values, counts = t.unique(return_counts=True)
    assert values.tolist() == pytest.approx([0.999 * k / 4 for k in (1, 2, 3, 4)])
    assert (counts / 4096).tolist() == pytest.approx([0.15, 0.15, 0.15, 0.55], abs=0.03)


def test_the_teacher_is_a_frozen_copy_and_is_saved():
    student = Gaussian(PATHS["flow"], 0.1, STD)
    out = Matching(MatchingConfig(critic_steps=3, critic_lr=0.5, judge=0.0), student)
    with torch.no_grad():
        student.mean.add_(1.0)
    assert out.teacher.mean.item() == pytest.approx(0.1) and not out.teacher.mean.requires_grad
    assert {"teacher.mean", "critic.mean"} <= set(out.state_dict())
    critic, student_phase = out.phases()
    assert list(student_phase.parameters()) == list(student.parameters()) and student_phase.every == 3
    assert list(critic.parameters()) == list(out.critic.parameters()) and critic.lr == 0.5


@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_the_critic_tells_the_places_apart_and_begins_as_the_teacher(classes):
    """One that did not would be right about the mixture only, which a student can match with each of its guesses wrong."""
    student = StudentConfig(shape=(1, 8, 8), classes=classes, net={"width": 8}).build()
    with torch.no_grad():  # a network that begins at zero says the same of everything
        for p in student.parameters():
            p.normal_(0, 0.1)
    out, n = Matching(MatchingConfig(steps=4, judge=0.01), student), 12
    rng = Rng.of_rows(0, range(n), "x")
    place, label = torch.arange(n) % 4, torch.arange(n) // 4 if classes else None
    x, t, crowd = rng.normal(1, 8, 8), rng.uniform().float(), out.crowd(place, label)
    assert len(crowd.unique()) == (12 if classes else 4) and crowd.max() < 4 * (len(classes) + 1)
    told, _ = out.critic.estimate(x, t, crowd)
    torch.testing.assert_close(told, out.teacher.estimate(x, t, label)[0])
    with torch.no_grad():
        out.critic.net.embed.label.weight[crowd[5]] += 1.0
    moved = (out.critic.estimate(x, t, crowd)[0] - told).abs().amax((1, 2, 3)) > 1e-6
    assert torch.equal(moved, crowd == crowd[5])


def test_later_guesses_begin_from_the_students_own_images():
    path, n = PATHS["flow"], 4096
    out = Matching(MatchingConfig(steps=4, judge=0.0), Gaussian(path, 0.7, 0.1, draws=True))
    image, place = torch.full((n, 1, 2, 2), -1.0), torch.arange(n) % 4
    x = out.begin(image, place, None, Step(0.5, 0, Rng.of_rows(0, range(n), "student")))
    t = out.times(place)
    for k in range(4):
        a, s = 1 - t[k].item(), t[k].item()
        rows = x[place == k]
        # this student draws mean + std (x / s): from the point before, x has mean -a' there
        before = 1 - out.times(torch.tensor(max(k - 1, 0))).item()
        guess = -1.0 if k == 0 else 0.7 - 0.1 * before / (1 - before)
        assert rows.mean().item() == pytest.approx(a * guess, abs=0.03)
        assert rows.std().item() == pytest.approx((s * s + (k > 0) * (0.1 * a) ** 2) ** 0.5, rel=0.05)


def test_the_judge_pulls_the_student_to_the_data_and_learns_from_noisy_images_alone():
    """A teacher that is content with the student leaves the judge's opinion as the only pull."""
    out = objective(PATHS["flow"], MU, STD)
    student = out.model
    student.config.shape = (1, 4, 4)
    judged = Matching(MatchingConfig(ends=1.0, judge=0.1, regression=0.0), student)
    judged.teacher, judged.critic = out.teacher, out.critic
    assert list(judged.phases()[0].parameters()) == [*judged.critic.parameters(), *judged.judge.parameters()]

    class Bright(nn.Module):
        """Takes brighter images for real."""

        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(4.0))

        def forward(self, x, label):
            return self.gain * x.mean((1, 2, 3))

    judged.judge = Bright()
    value, parts = loss(judged)
    value.backward()
    assert student.mean.grad < -1e-3 and "score" in parts
    student.zero_grad()
    told = {}
    for pixel in (-1.0, 1.0):  # of the data set; the student's are at 0.3
        batch = Batch(torch.full((N, 1, 4, 4), pixel), Condition(), torch.arange(N))
        judged.judge.gain.grad = None
        value, parts = judged.loss("critic", batch, Step(0.5, 0, Rng.of_rows(0, range(N), "critic")))
        value.backward()
        told[pixel] = parts["judge"].item(), judged.judge.gain.grad.item(), parts["accuracy"].item()
    assert told[1.0][0] < told[-1.0][0] and told[1.0][1] < told[-1.0][1] and told[1.0][2] > told[-1.0][2]
    assert student.mean.grad is None or not student.mean.grad.any()


@pytest.mark.parametrize("name", ["flow", "vp-cosine", "edm"])
def test_examples_lie_where_the_teachers_ode_ends(name):
    """For a Gaussian that end is known: what lies k deviations from the noisy mean ends k deviations from the mean."""
    out = objective(PATHS[name], MU, STD, teacher_steps=400)
    start = torch.tensor([0.2, 0.5, 0.8]).double() * PATHS[name].start
    out.teacher.double()
    (a, s), x = out.model.levels_of(start), torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    known = MU + STD * (x - a * MU) / (a * a * STD**2 + s * s).sqrt()
    wrong = (out.solved(x, start, None) - known).abs().max()
    out.config = out.config.override({"teacher_steps": 6})
    assert wrong < 5e-3 and wrong < 0.1 * (out.solved(x, start, None) - known).abs().max()


def test_the_student_learns_by_example():
    """One that draws from the teacher's distribution, but the wrong one of its images, moves; one that is right does not."""
    drawn = {}
    for std in (STD, -STD):
        out = objective(PATHS["flow"], MU, std, regression=1.0, teacher_steps=100)
        value, parts = loss(out)
        value.backward()
        drawn[std] = parts["example"].item(), out.model.std.grad.item()
    assert drawn[STD][0] < 0.01 < drawn[-STD][0]
    assert drawn[-STD][1] < -0.1 and abs(drawn[STD][1]) < 0.1 * abs(drawn[-STD][1])
