"""A plain auto-encoder, and diffusion among the latents of one."""

import pytest
import torch

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.inference.draw import draw
from inkwash.methods.autoencoder import AutoencoderConfig, ReconstructionConfig
from inkwash.methods.diffusion import DenoisingConfig, LatentConfig
from inkwash.methods.vae import VAEConfig
from inkwash.nn.critics import AdversaryConfig, PatchConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.unet import UNetConfig
from tiny import batch_of, run_config, step_of, stir_, write_npz

SHAPE = (1, 8, 12)


@pytest.fixture
def coder():
    model = AutoencoderConfig(shape=SHAPE, latent=3, net=GridConfig(stride=4, width=8)).build()
    stir_(model, 0.1)
    return model.eval()


@pytest.fixture
def latent(coder):
    config = LatentConfig(shape=SHAPE, net=UNetConfig(width=8, mults=(1,), fold=1), autoencoder=coder.config)
    model = config.build()
    stir_(model, 0.1)
    return model.eval()


def images(n=16):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_latents_come_out_centred_and_of_unit_spread_together_so_that_quiet_channels_stay_quiet(coder):
    objective, x = ReconstructionConfig().build(coder), images(64)
    for k in range(600):
        objective._measure(coder.posterior(x)[0], step_of(64).__class__(0.5, k * 64, step_of(64).rng))
    z = coder.encode(x)
    assert z.shape == (64, 3, 2, 3) == (64, *coder.space)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=0.02, rtol=0)
    assert z.square().mean().item() == pytest.approx(1, abs=0.02)
    spread = lambda z: z.var((0, 2, 3), correction=0)  # noqa: E731
    before, after = spread(coder.posterior(x)[0]), spread(z)
    torch.testing.assert_close(after / after.sum(), before / before.sum(), atol=1e-4, rtol=0)
    torch.testing.assert_close(coder.decode(z), coder.picture(coder.posterior(x)[0]).clamp(-1, 1), atol=1e-5, rtol=0)


def test_the_divergence_is_that_of_a_gaussian_from_the_standard_one(coder):
    x = images()
    mean, log_var = coder.posterior(x)
    q, p = torch.distributions.Normal(mean, (log_var / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    wanted = torch.distributions.kl_divergence(q, p).flatten(1).sum(1).mean() / (8 * 12)
    objective = ReconstructionConfig(kl=0.3).build(coder)
    loss, parts = objective.loss("main", batch_of(x), step_of(16))
    assert parts["kl"].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert loss.item() == pytest.approx(parts["error"].item() + 0.3 * wanted.item(), rel=1e-5)


def test_without_divergence_it_is_plain_there_is_no_noise(coder):
    x = images()
    loss, _ = ReconstructionConfig(kl=0).build(coder).loss("main", batch_of(x), step_of(16))
    wanted = (coder.picture(coder.posterior(x)[0]) - x).square().mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    noisy, _ = ReconstructionConfig(kl=1e-9).build(coder).loss("main", batch_of(x), step_of(16))
    assert abs(noisy.item() - wanted.item()) > 1e-4


def test_a_decoder_alone_leaves_the_latents_as_they_are(coder):
    objective, before = ReconstructionConfig(decoder_only=True).build(coder), coder.encode(images())
    (phase,) = objective.phases()
    objective.loss("main", batch_of(images()), step_of(16))[0].backward()
    trained = {id(p) for p in phase.parameters()}
    assert trained == {id(p) for p in coder.decoder.parameters()} and all(p.grad is not None for p in coder.decoder.parameters())
    torch.testing.assert_close(coder.encode(images()), before)
    ReconstructionConfig().build(coder).loss("main", batch_of(images()), step_of(16))
    assert not torch.allclose(coder.encode(images()), before)


def test_latents_may_have_to_tell_the_caption(coder):
    objective = ReconstructionConfig(telling=0.5, tokenizer=TokenizerConfig(length=12)).build(coder)
    stir_(objective, 0.1)
    batch = batch_of(images(4))
    with pytest.raises(ConfigError, match="no captions"):
        objective.refuse(batch)
    said = [("ab", "abc"), ("红",), (), ("d",)]
    batch = Batch(batch.image, batch.cond, batch.index, said)
    loss, parts = objective.loss("main", batch, step_of(4))
    plain, _ = ReconstructionConfig().build(coder).loss("main", batch, step_of(4))
    torch.testing.assert_close(loss - 0.5 * parts["telling"], plain)
    coder.zero_grad()
    (objective._told(coder.posterior(batch.image)[0], batch, step_of(4))).backward()
    assert all(p.grad.abs().max() > 0 for p in coder.encoder.out.parameters()) and all(p.grad is None for p in coder.decoder.parameters())
    silent = Batch(batch.image, batch.cond, batch.index, [()] * 4)
    assert objective.loss("main", silent, step_of(4))[1]["telling"] == 0
    with pytest.raises(ConfigError, match="choose"):
        ReconstructionConfig(telling=0.5, decoder_only=True).build(coder)


def test_a_critic_of_patches_is_fooled_by_the_decoder_alone_where_latents_stay(coder):
    config = ReconstructionConfig(decoder_only=True, adversary=AdversaryConfig(weight=0.5, critic=PatchConfig(width=4, levels=1)))
    objective, x = config.build(coder), images(4)
    phases = {phase.name: {id(p) for p in phase.parameters()} for phase in objective.phases()}
    critic, decoder = ({id(p) for p in part.parameters()} for part in (objective.adversary.critic, coder.decoder))
    assert phases == {"critic": critic, "penalty": critic, "generator": decoder}
    objective.loss("critic", batch_of(x), step_of(4))[0].backward()
    assert all(p.grad is None for p in coder.parameters()) and any(p.grad is not None for p in objective.adversary.critic.parameters())
    assert objective.loss("penalty", batch_of(x), step_of(4))[1]["square"] > 0
    loss, parts = objective.loss("generator", batch_of(x), step_of(4))
    plain, _ = ReconstructionConfig(decoder_only=True).build(coder).loss("main", batch_of(x), step_of(4))
    torch.testing.assert_close(loss, plain + parts["fooled"])
    assert set(objective.validate(batch_of(x), step_of(4))) == {"error", "kl"}
    with pytest.raises(ConfigError, match="choose"):
        config.model_copy(update={"telling": 0.5, "decoder_only": False}).build(coder)


def test_what_is_decoded_may_have_noise_of_the_latents_own_spread(coder):
    mean, log_var = coder.posterior(images(512))
    coder.centre.copy_(mean.mean((0, 2, 3))[:, None, None].detach() + 3)  # latents far from their own centre, to see them move there
    coder.power.fill_(4.0)
    decoded = []
    coder.picture = lambda z: decoded.append(z) or z
    ReconstructionConfig(kl=0, noise=0.5).build(coder)._made(mean, log_var, step_of(512))
    away = decoded[0] - mean
    torch.testing.assert_close(away.mean((0, 2, 3)), torch.full((3,), 0.25 * 3), atol=0.1, rtol=0)  # a quarter of the way, on average
    left = away - 3 * (away / 3).mean((1, 2, 3), keepdim=True)
    assert left.square().mean().item() == pytest.approx(4 * 0.5**2 / 3, rel=0.15)  # E t^2 = .5^2 / 3 of their power


def test_diffusion_happens_among_latents_and_leaves_the_autoencoder_alone(latent):
    x = images()
    objective = DenoisingConfig().build(latent)
    loss, _ = objective.loss("main", batch_of(x), step_of(16))
    loss.backward()
    assert latent.space == (3, 2, 3) and latent.net is objective.phases()[0].trains[0]
    assert all(p.grad is None for p in latent.autoencoder.parameters())
    assert all(p.grad is not None for p in latent.net.parameters())


def test_samples_are_decoded_and_known_pixels_come_back(latent):
    made = draw(latent, range(3), latent.Options(steps=3))
    assert made.shape == (3, *SHAPE) and made.abs().max() <= 1
    x, mask = images(3), torch.zeros(3, 1, 8, 12)
    mask[..., :5] = 1
    for options in ({}, {"rounds": 1}):
        out = draw(latent, range(3), latent.Options(steps=3, **options), cond=Condition(image=x, mask=mask))
        assert torch.equal(out[..., 5:], x[..., 5:]) and not torch.equal(out[..., :5], x[..., :5])


def test_other_sizes_are_drawn_among_latents(latent):
    made = draw(latent, range(2), latent.Options(steps=2, size=(16, 4)))
    assert made.shape == (2, 1, 16, 4) and made.isfinite().all()
    assert torch.equal(draw(latent, [0], latent.Options(steps=2, size=SHAPE[1:])), draw(latent, [0], latent.Options(steps=2)))
    x, mask = torch.rand(1, 1, 10, 15) * 2 - 1, torch.ones(1, 1, 10, 15)
    for cond in (Condition(image=x), Condition(image=x, mask=mask)):  # of a size that the stride does not divide
        assert draw(latent, [0], latent.Options(steps=3, strength=0.5), cond=cond).shape == x.shape


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clamp": True}, "Among latents"),
        ({"tile": 4}, "Among latents"),
        ({"size": (16, 18)}, "18 x 16 is not possible: .* that 4 divides"),
    ],
)
def test_what_is_refused_among_latents(latent, options, said):
    with pytest.raises(ConfigError, match=said):
        draw(latent, [0], latent.Options(**options))


def test_a_model_without_a_map_of_latents_is_refused():
    with pytest.raises(ConfigError, match="'vae' model has no map"):
        LatentConfig(shape=SHAPE, autoencoder=VAEConfig(shape=SHAPE)).build()


def test_the_recipe_begins_from_an_autoencoder(tmp_path):
    config = run_config("latent", write_npz(tmp_path / "a.npz"))
    assert config.part == "autoencoder" and config.model.autoencoder.kind == "autoencoder"
