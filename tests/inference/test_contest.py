"""A judge that is content draws no more."""

from dataclasses import replace

import pytest
import torch

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.core.model import Doubt, Seer
from inkwash.diffusion.guidance import Lead
from inkwash.inference.draw import draw, foreseen
from inkwash.inference.judge import PAINTED, PLANS, Contest, best_batches, drawings, fits, foretold
from tiny import run_config, stir_, write_npz


class Critic(torch.nn.Module, Seer):
    """Likes what is bright, and doubts what is not bright enough. taste: -1 where it likes dark plans."""

    def __init__(self, shape, bar: float, taste: float = 1):
        super().__init__()
        self.taste = taste
        self.config, self.device, self.bar = type("Config", (), {"shape": shape, "kind": "critic"}), torch.device("cpu"), bar

    def agreement(self, x, texts):
        return x.mean((1, 2, 3))[:, None].expand(-1, len(texts))

    def reads(self, features, texts):
        return self.taste * features.mean((1, 2, 3))

    def doubt(self, x, text):
        return Doubt((self.bar - x.mean()).item(), text.split()[-1])


def built(recipe, folder, stir=0.3):
    torch.manual_seed(0)
    model = run_config(recipe, write_npz(folder / "a.npz")).model.build().eval()
    stir_(model, stir)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return built("text", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    return built("planned", tmp_path_factory.mktemp("data"))


def contested(model, contest, seeds, batch=64):
    options = model.default_options().override({"steps": 2, "guidance": 1.0})
    prompts = ["a picture number 3"] * len(seeds)
    parts = list(best_batches(model, contest, seeds, prompts, options, Condition(tokens=model.tokens(prompts)), batch=batch))
    chosen = [(seed, fit, word) for part in parts for seed, fit, word in zip(part.seeds, part.fits, part.doubted)]
    return torch.cat([part.images for part in parts]), chosen


def test_it_draws_until_the_judge_is_content_and_a_seed_alone_decides(model):
    seeds, of = [3, 4, 5, 6], 10
    critic = Critic(model.config.shape, 0.0)
    options = model.default_options().override({"steps": 2, "guidance": 1.0})
    want = []
    for seed in seeds:
        own = drawings(seed, of)
        every = draw(model, own, options, cond=Condition(tokens=model.tokens(["a picture number 3"]).expand(of, -1)))
        want.append(fits(critic, every, ["x"])[:, 0])
    critic.bar = torch.stack([w[:2].max() for w in want]).sort().values[1:3].mean().item()  # two are content after two drawings
    images, chosen = contested(model, Contest(critic, of, 0.0), seeds)
    for seed, scores, (kept, fit, word) in zip(seeds, want, chosen):
        ends = [e for e in (1, 2, 4, 8, of) if scores[:e].max() >= critic.bar] or [of]  # each round doubles what there is
        assert kept == drawings(seed, of)[scores[: ends[0]].argmax()]
        assert fit == pytest.approx(scores[: ends[0]].max().item(), abs=1e-5)
        assert word == ("" if fit >= critic.bar else "3")
    alone, _ = contested(model, Contest(critic, of, 0.0), seeds, batch=1)
    torch.testing.assert_close(alone, images, atol=1e-3, rtol=0)


def test_without_a_bar_everything_is_drawn_and_nothing_doubted(model):
    _, chosen = contested(model, Contest(Critic(model.config.shape, 9.0), 3), [0, 1])
    assert all(seed in drawings(seed % 10**9, 3) and word == "" for seed, _, word in chosen)


def test_a_reader_reads_plans_and_only_after_the_best_of_them_a_picture_is_drawn(planner):
    seeds, options = [3, 4], planner.default_options().override({"steps": 2, "guidance": 1.0})
    critic, reader = Critic(planner.config.shape, 9.0), Critic(planner.config.shape, 9.0, -1)
    images, chosen = contested(planner, Contest(critic, PLANS, None, reader), seeds)
    for seed, image, (kept, _, _) in zip(seeds, images, chosen):
        own, cond = drawings(seed, PLANS), Condition(tokens=planner.tokens(["a picture number 3"]).expand(PLANS, -1))
        fit = foretold(reader, foreseen(planner, own, options, cond)[1], "x")
        whole = draw(planner, own, options, cond=cond)
        best = max(fit.argsort(descending=True)[:PAINTED].tolist(), key=lambda i: fits(critic, whole, ["x"])[i, 0])
        assert kept == own[best]
        torch.testing.assert_close(image, whole[best], atol=1e-3, rtol=0)


def test_plans_are_led_towards_what_their_reader_likes_and_a_seed_alone_decides_still(planner):
    seeds, critic = [3, 4, 5], Critic(planner.config.shape, 9.0)
    plain, _ = contested(planner, Contest(critic, 1, None, critic), seeds)
    images, chosen = contested(planner, Contest(critic, 1, None, critic, 2e4), seeds)
    options = planner.default_options().override({"steps": 2, "guidance": 1.0})
    cond = Condition(tokens=planner.tokens(["a picture number 3"]).expand(3, -1))
    liked = Lead(lambda features: critic.reads(features, []), 2e4)
    plans, features = foreseen(planner, seeds, options, cond, lead=lambda rows: liked)
    assert (critic.reads(features, []) > critic.reads(foreseen(planner, seeds, options, cond)[1], [])).all()
    torch.testing.assert_close(images, draw(planner, seeds, options, cond=replace(cond, plan=plans)), atol=1e-3, rtol=0)
    assert [seed for seed, _, _ in chosen] == seeds and not torch.allclose(images, plain, atol=1e-3)
    alone, _ = contested(planner, Contest(critic, 1, None, critic, 2e4), seeds, batch=1)
    torch.testing.assert_close(alone, images, atol=1e-3, rtol=0)


@pytest.mark.parametrize("recipe", ["text", "planned"])
def test_pictures_are_led_towards_what_the_judge_likes_each_by_its_own_text(recipe, tmp_path):
    model = built(recipe, tmp_path, 0.02)  # grey: what is black or white has no way to go
    dark, seeds, texts = Critic(model.config.shape, 9.0), [3, 4, 5, 6], ["bright", "bright", "dark", "bright"]
    dark.agreement = lambda x, said: torch.stack([x.mean((1, 2, 3)) * (-1 if t == "dark" else 1) for t in said], 1)
    options = model.default_options().override({"steps": 4, "guidance": 1.0})
    cond = Condition(tokens=model.tokens(texts))

    def light(scale, batch=64):
        contest = Contest(dark, 1, None, None, 0.0, scale)
        parts = best_batches(model, contest, seeds, texts, options, cond, batch=batch)
        return torch.cat([part.images for part in parts]).mean((1, 2, 3))

    plain, led = light(0.0), light(10.0)
    assert ((led - plain) * torch.tensor([1, 1, -1, 1]) > 0).all(), (plain, led)
    torch.testing.assert_close(light(10.0, batch=1), led, atol=1e-3, rtol=0)


def test_what_is_foreseen_is_the_plan_that_a_picture_of_that_seed_is_drawn_after(planner):
    options, cond = planner.default_options().override({"steps": 2}), Condition(tokens=planner.tokens(["a", "b"]))
    seen, latents = [], planner.plan.latents
    planner.plan.latents = lambda *args: seen.append(latents(*args)) or seen[-1]
    plans, features = foreseen(planner, [7, 8], options, cond)
    once = draw(planner, [7, 8], options, cond=cond)
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(plans, seen[0])
    torch.testing.assert_close(features, planner.plan.autoencoder.features(plans))
    again = draw(planner, [7, 8], options, cond=replace(cond, plan=plans))
    other = draw(planner, [7, 8], options, cond=replace(cond, plan=-plans))
    del planner.plan.latents
    assert len(seen) == 2 and torch.equal(again, once) and not torch.allclose(other, once)  # it is not drawn again


def test_a_judge_without_an_eye_and_a_model_without_a_plan_are_refused(model, planner):
    with pytest.raises(ConfigError, match="no plan"):
        foreseen(model, [1], model.default_options(), Condition(tokens=model.tokens(["a"])))
    with pytest.raises(ConfigError, match="does not read plans"):
        foretold(planner, torch.zeros(1, 2, 1, 1), "a")
