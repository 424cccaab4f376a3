"""Clips and how they go on."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.core.rng import Rng
from inkwash.methods.sequence import Chance, FramesConfig, SequenceConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.recurrent import ConvLSTMConfig, LSTMConfig, cell
from tiny import batch_of, clips_of, facts_of, make_trainer, run_config, step_of, stir_, write_npz

NETS = {"convlstm": ConvLSTMConfig(width=8, fold=2), "lstm": LSTMConfig(width=16, hidden=12)}


def model_of(net="convlstm", latent=0, shape=(1, 8, 10), likelihood="gaussian"):
    config = SequenceConfig(shape=shape, likelihood=likelihood, latent=latent, hidden=10, eye=PyramidConfig(width=4, most=8), net=NETS[net])
    model = config.build()
    stir_(model, 0.1)
    return model.eval()


def clips(n=3, frames=6, shape=(1, 8, 10)):
    g = torch.Generator().manual_seed(2)
    return torch.rand(n, frames, *shape, generator=g) * 2 - 1


def test_a_step_is_that_of_an_lstm():
    torch.manual_seed(0)
    theirs = nn.LSTMCell(5, 4)
    x, h, c = torch.randn(3, 5), torch.randn(3, 4), torch.randn(3, 4)
    i, f, g, o = (x @ theirs.weight_ih.T + theirs.bias_ih + h @ theirs.weight_hh.T + theirs.bias_hh).chunk(4, 1)
    ours = cell(torch.cat([i, f - 1, o, g], 1), c)  # ours remembers from the start
    for a, b in zip(ours, theirs(x, (h, c))):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("likelihood, off", [("gaussian", 1e-6), ("bernoulli", 0.02)])
@pytest.mark.parametrize("net", NETS)
def test_an_untrained_network_repeats_the_last_frame(net, likelihood, off):
    torch.manual_seed(0)
    model = SequenceConfig(shape=(1, 8, 10), net=NETS[net], likelihood=likelihood).build()
    x = clips()
    x[:, -1, :, 0], x[:, -1, :, 1] = -1, 1  # the ends of the range, where a logit has none
    made = model.predict(x, 2, Rng(range(3)))
    torch.testing.assert_close(made, x[:, -1:].expand(-1, 2, -1, -1, -1), atol=off, rtol=0)


@pytest.mark.parametrize("latent", [0, 3])
@pytest.mark.parametrize("net", NETS)
class TestPrediction:
    def test_fewer_frames_are_the_first_of_more(self, net, latent):
        model, x = model_of(net, latent), clips()
        made = model.predict(x, 5, Rng(range(3)))
        assert made.shape == (3, 5, 1, 8, 10) and made.abs().max() <= 1
        if not latent:  # with chance, noise is drawn for all frames at once
            torch.testing.assert_close(model.predict(x, 2, Rng(range(3))), made[:, :2])

    def test_going_on_from_its_own_frames_is_going_on(self, net, latent):
        if latent:
            return
        model, x = model_of(net), clips()
        made = model.predict(x, 5, Rng(range(3)))
        again = model.predict(torch.cat([x, made[:, :2]], 1), 3, Rng(range(3)))
        torch.testing.assert_close(again, made[:, 2:], atol=1e-5, rtol=0)

    def test_what_came_before_matters(self, net, latent):
        model, x = model_of(net, latent), clips()
        other = x.clone()
        other[:, 0] = -other[:, 0]
        assert (model.predict(x, 1, Rng(range(3))) - model.predict(other, 1, Rng(range(3)))).abs().max() > 1e-5

    def test_chance(self, net, latent):
        model, x = model_of(net, latent), clips()
        a, b, c = (model.predict(x, 3, Rng(keys)) for keys in ([1, 2, 3], [1, 2, 3], [4, 5, 6]))
        assert torch.equal(a, b) and torch.equal(a, c) == (latent == 0)
        torch.testing.assert_close(model.predict(x[1:2], 3, Rng([2])), a[1:2], atol=1e-5, rtol=0)


def test_the_divergence_is_that_of_two_gaussians():
    model, x = model_of(latent=3), clips(frames=2)
    before = behind = (torch.zeros(3, 10), torch.zeros(3, 10))
    m, v, _ = model.prior(model.eye(x[:, 0]), before)
    p = torch.distributions.Normal(m, (v / 2).exp())
    m, v, _ = model.posterior(model.eye(x[:, 1]), behind)
    q = torch.distributions.Normal(m, (v / 2).exp())
    _, kl, _ = model.advance(x[:, 0], x[:, 1], torch.zeros(3, 3), model.begin(3))
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(q, p).sum(1), atol=1e-5, rtol=1e-4)


def test_the_prior_does_not_see_what_is_to_come():
    model = model_of(latent=3)
    assert isinstance(model.prior, Chance)
    x = clips(frames=3)
    one, two = (model.advance(x[:, 0], after, torch.zeros(3, 3), model.begin(3)) for after in (x[:, 1], -x[:, 1]))
    assert not torch.equal(one[0], two[0])  # the posterior did
    a, b = (model.advance(x[:, 1], None, torch.zeros(3, 3), (state[2][0], [state[2][1][0], state[2][1][1]])) for state in (one, two))
    assert torch.equal(one[2][1][0][0], two[2][1][0][0]) and not torch.equal(a[0], b[0])


class TestLoss:
    def test_with_true_frames_it_is_the_density_of_each_next_one(self):
        model, x = model_of(), clips()
        objective = FramesConfig(own=1.0).build(model)
        loss, parts = objective.loss("main", batch_of(x), step_of(3, 0.0))
        memory, errors, shown = model.begin(3), [], []
        for k in range(5):
            made, _, memory = model.advance(x[:, k], x[:, k + 1], None, memory)
            errors.append((made - x[:, k + 1]).square().mean())
            shown.append((made.clamp(-1, 1) - x[:, k + 1]).square().mean())
        spread = objective.log_spread.exp()
        nats = torch.stack(errors).mean() / (2 * spread**2) + 0.5 * math.log(2 * math.pi) + objective.log_spread
        assert loss.item() == pytest.approx(nats.item() / math.log(2), rel=1e-5)
        assert parts["error"].item() == pytest.approx(torch.stack(shown[2:]).mean().item(), rel=1e-5)

    def test_of_a_bernoulli_is_the_probability_of_black_and_white(self):
        model, x = model_of(likelihood="bernoulli"), clips().sign()
        loss, _ = FramesConfig(own=1.0).build(model).loss("main", batch_of(x), step_of(3, 0.0))
        memory, log_probs = model.begin(3), []
        for k in range(5):
            made, _, memory = model.advance(x[:, k], x[:, k + 1], None, memory)
            log_probs.append(torch.distributions.Bernoulli(logits=made).log_prob((x[:, k + 1] + 1) / 2).mean())
        assert loss.item() == pytest.approx(-torch.stack(log_probs).mean().item() / math.log(2), rel=1e-5)
        torch.testing.assert_close(model.expected(made), 2 * torch.distributions.Bernoulli(logits=made).mean - 1)

    def test_at_the_end_it_is_fed_with_its_own(self):
        model, x = model_of(), clips() / 10  # nothing reaches the ends of the range, where predictions are clamped
        model.net.out.weight.data /= 50
        model.net.out.bias.data /= 50
        _, parts = FramesConfig(known=2).build(model).loss("main", batch_of(x), step_of(3, 1.0))
        made = model.predict(x[:, :2], 4, Rng(range(3)))
        assert (made - x[:, 1:2]).abs().max() > 1e-3 and made.abs().max() < 1
        assert parts["error"].item() == pytest.approx((made - x[:, 2:]).square().mean().item(), rel=1e-4)

    def test_validation_measures_what_predict_makes_beside_copying(self):
        model, x = model_of(), clips()
        figures = FramesConfig().build(model).validate(batch_of(x), step_of(3))
        made = model.predict(x[:, :3], 3, Rng(range(3)))
        assert figures["loss"].item() == pytest.approx((made - x[:, 3:]).square().mean().item(), rel=1e-5)
        assert figures["copy"].item() == pytest.approx((x[:, 2:3] - x[:, 3:]).square().mean().item(), rel=1e-5)

    def test_preview_shows_the_clip_and_what_is_made_of_its_beginning(self):
        model, x = model_of(), clips()
        (shown,) = FramesConfig(known=2).build(model).preview(batch_of(x), step_of(3))
        assert shown.shape == (3, 1, 16, 60)
        assert torch.equal(shown[:, :, :8, 10:20], x[:, 1]) and torch.equal(shown[:, :, 8:, 10:20], x[:, 1])


@pytest.mark.parametrize(
    "image, words", [(torch.zeros(1, 1, 8, 8), "learns from clips"), (torch.zeros(1, 4, 1, 8, 8), "nothing to predict")]
)
def test_what_is_refused(image, words):
    objective = FramesConfig(known=4).build(model_of(shape=(1, 8, 8)))
    with pytest.raises(ConfigError, match=words):
        objective.refuse(Batch(image, Condition(), torch.arange(1)))


@pytest.mark.parametrize("kind", ["vae", "translator"])
def test_models_of_pictures_refuse_clips(kind, tmp_path):
    source = clips_of(write_npz(tmp_path / "a.npz"))
    with pytest.raises(ConfigError, match="are clips"):
        make_trainer(run_config(kind, source))


@pytest.mark.parametrize("latent, likelihood", [(0, "gaussian"), (2, "gaussian"), (0, "bernoulli")])
def test_learns_what_moves(latent, likelihood, tmp_path):
    """Bars that move on by one place a frame: after a few steps it sees them coming, where copying is wrong everywhere."""
    x = np.zeros((16, 6, 8, 8, 1), np.uint8)
    for i in range(16):
        for k in range(6):
            x[i, k, :, (i + k) % 8] = 255
    np.savez(tmp_path / "bars.npz", train_x=x, test_x=x[:8])
    config = run_config("sequence", str(tmp_path / "bars.npz"), batch=16, steps=50, lr=1e-2)
    t = make_trainer(config.override({"model.net.width": 16, "model.latent": latent, "model.likelihood": likelihood, "objective.own": 0.5}))
    assert facts_of(config.data.source).frames == 6
    t.run(lambda: None, lambda: None)
    figures = t.validate(t.data)
    assert figures["valid/loss"] < 0.2 * figures["valid/copy"]
