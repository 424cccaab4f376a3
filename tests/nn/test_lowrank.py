"""Low-rank adaptation, and going on from a trained model of text."""

import pytest
import torch
from torch import nn

from inkwash.core.errors import ConfigError
from inkwash.core.files import load_model
from inkwash.nn.lowrank import LowRankLinear, lower_rank_
from inkwash.recipes.start import configure
from inkwash.training import train
from tiny import captioned, make_trainer, run_config, write_npz


def test_it_begins_as_what_was_there_and_has_the_gradient_of_two_thin_matrices():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    x = torch.randn(3, 6)
    before = net(x)
    thin = lower_rank_(net, 2)
    assert torch.equal(net(x), before) and len(thin) == 4 and isinstance(net[0], LowRankLinear)
    thin[1].data.normal_()
    expected = net[2](torch.tanh(x @ (net[0].weight + net[0].low_rank_out @ net[0].low_rank_in).t() + net[0].bias))
    torch.testing.assert_close(net(x), expected)
    net(x).sum().backward()
    assert net[0].weight.grad is None and all(p.grad is not None for p in thin)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    root = tmp_path_factory.mktemp("begun")
    source = write_npz(root / "a.npz")
    return source, train(run_config("text", source, steps=2), root / "run", quiet=True)


def test_only_thin_matrices_change(begun):
    source, run = begun
    config = configure("text", captioned(source), 3, None, {"model.lora": 2, "train.precision": "fp32", "train.lr": 1e-2}, start=run)
    t = make_trainer(config)
    own = {k: v.clone() for k, v in load_model(run / "model").state_dict().items()}
    t.run(lambda: None, lambda: None)
    changed = {k for k, v in t.model.state_dict().items() if k not in own or not torch.equal(v, own[k])}
    assert changed and all("low_rank_" in k for k in changed), "the weights of the run it began from stay as they are"
    assert own.keys() < t.model.state_dict().keys()


def test_thin_matrices_are_learnt_beside_a_trained_model_only(begun):
    with pytest.raises(ConfigError, match="name it with --from"):
        configure("text", captioned(begun[0]), 3, None, {"model.lora": 2})


def test_all_of_it_goes_on_from_the_weights_of_the_run(begun, tmp_path):
    source, run = begun
    config = configure("text", captioned(source), 1, None, {"train.precision": "fp32", "train.samples": 0}, start=run)
    t = make_trainer(config)
    own = load_model(run / "model").state_dict()
    assert all(torch.equal(v, own[k]) for k, v in t.model.state_dict().items())
    assert config.model.text.tokenizer.merges == load_model(run / "model").config.text.tokenizer.merges
    assert config.train.lr == 2e-4


def test_what_reads_no_text_is_no_start(tmp_path):
    source = write_npz(tmp_path / "a.npz")
    run = train(run_config("diffusion", source, steps=1), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="goes on with a diffusion model that reads text"):
        configure("text", captioned(source), 1, start=run)


def test_an_autoencoder_is_a_start_for_text_among_its_latents(tmp_path):
    source = captioned(write_npz(tmp_path / "a.npz"))
    run = train(run_config("autoencoder", source, steps=1), tmp_path / "run", quiet=True)
    config = configure("text", source, 1, None, {"train.samples": 0, "train.precision": "fp32"}, start=run)
    assert config.model.kind == "latent" and config.part == "autoencoder"
    own, t = load_model(run / "model").state_dict(), make_trainer(config)
    assert all(torch.equal(v, own[k]) for k, v in t.model.autoencoder.state_dict().items())
