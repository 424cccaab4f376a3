"""A judge that is content draws no more."""

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.model import Doubt, Judge
from inkwash.inference.draw import draw, glance
from inkwash.inference.judge import BEGUN, FINISHED, ROUND, Contest, best_batches, drawings, fits
from tiny import run_config, stir_, write_npz


class Critic(torch.nn.Module, Judge):
    """Likes what is bright, and doubts what is not bright enough."""

    def __init__(self, shape, bar: float):
        super().__init__()
        self.config, self.device, self.bar = type("Config", (), {"shape": shape, "kind": "critic"}), torch.device("cpu"), bar

    def agreement(self, x, texts):
        return x.mean((1, 2, 3))[:, None].expand(-1, len(texts))

    def doubt(self, x, text):
        return Doubt((self.bar - x.mean()).item(), text.split()[-1])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    model = run_config("text", write_npz(tmp_path_factory.mktemp("data") / "a.npz")).model.build().eval()
    stir_(model, 0.3)
    return model


def contested(model, contest, seeds, batch=64):
    options = model.default_options().override({"steps": 2, "guidance": 1.0})
    prompts = ["a picture number 3"] * len(seeds)
    parts = list(best_batches(model, contest, seeds, prompts, options, Condition(tokens=model.tokens(prompts)), batch=batch))
    chosen = [(seed, fit, word) for part in parts for seed, fit, word in zip(part.seeds, part.fits, part.doubted)]
    return torch.cat([part.images for part in parts]), chosen


def test_it_draws_until_the_judge_is_content_and_a_seed_alone_decides(model):
    seeds, of = [3, 4, 5, 6], 3 * ROUND - 2
    critic = Critic(model.config.shape, 0.0)
    options = model.default_options().override({"steps": 2, "guidance": 1.0})
    want = []
    for seed in seeds:
        own = drawings(seed, of)
        every = draw(model, own, options, cond=Condition(tokens=model.tokens(["a picture number 3"]).expand(of, -1)))
        want.append(fits(critic, every, ["x"])[:, 0])
    critic.bar = torch.stack([w[:ROUND].max() for w in want]).sort().values[1:3].mean().item()  # two are content after one round
    images, chosen = contested(model, Contest(critic, of, 0.0), seeds)
    for seed, scores, (kept, fit, word) in zip(seeds, want, chosen):
        ends = [e for e in (ROUND, 2 * ROUND, of) if scores[:e].max() >= critic.bar] or [of]
        assert kept == drawings(seed, of)[scores[: ends[0]].argmax()]
        assert fit == pytest.approx(scores[: ends[0]].max().item(), abs=1e-5)
        assert word == ("" if fit >= critic.bar else "3")
    alone, _ = contested(model, Contest(critic, of, 0.0), seeds, batch=ROUND)
    torch.testing.assert_close(alone, images, atol=1e-3, rtol=0)


def test_without_a_bar_everything_is_drawn_and_nothing_doubted(model):
    _, chosen = contested(model, Contest(Critic(model.config.shape, 9.0), 3), [0, 1])
    assert all(seed in drawings(seed % 10**9, 3) and word == "" for seed, _, word in chosen)


def test_after_a_glance_only_the_most_promising_are_finished(model):
    seeds, options = [3, 4], model.default_options().override({"steps": 2, "guidance": 1.0})
    critic = Critic(model.config.shape, 9.0)
    images, chosen = contested(model, Contest(critic, BEGUN, None, 0.5), seeds)
    for seed, image, (kept, _, _) in zip(seeds, images, chosen):
        own, cond = drawings(seed, BEGUN), Condition(tokens=model.tokens(["a picture number 3"]).expand(BEGUN, -1))
        early = fits(critic, glance(model, own, options, cond, 0.5), ["x"])[:, 0]
        whole = draw(model, own, options, cond=cond)
        promising = early.argsort(descending=True)[:FINISHED]
        best = max(promising.tolist(), key=lambda i: fits(critic, whole, ["x"])[i, 0])
        assert kept == own[best]
        torch.testing.assert_close(image, whole[best], atol=1e-3, rtol=0)


def test_a_glance_sees_what_the_first_steps_lead_to_and_takes_no_more(model):
    options, cond = model.default_options().override({"steps": 4, "guidance": 1.0}), Condition(tokens=model.tokens(["a picture"]))
    whole = draw(model, [7], options, cond=cond)
    steps = []
    real, model.net.forward = model.net.forward, lambda *a, **k: steps.append(1) or real(*a, **k)
    early = glance(model, [7], options, cond, 0.5)
    model.net.forward = real
    assert len(steps) == 2 and early.shape == whole.shape and not torch.equal(early, whole)
