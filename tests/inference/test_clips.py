"""Going on from frames that are known, as files and as figures."""

import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.files import save_model
from inkwash.core.rng import Rng, mix
from inkwash.data import Dataset, Loader, open_source
from inkwash.inference.clips import Forecast, forecast, read_clip
from inkwash.inference.evaluate import evaluate_model
from inkwash.inference.load import load
from inkwash.inference.pictures import save_gif
from inkwash.methods.sequence import SequenceConfig
from inkwash.methods.vae import VAEConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.recurrent import ConvLSTMConfig
from tiny import stir_

DATA = "moving?frames=6&size=16&count=40"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A deterministic model and a stochastic one, a clip as a folder and as a GIF, and a VAE, which has no business here."""
    root = tmp_path_factory.mktemp("clips")
    for name, latent in (("plain", 0), ("chance", 3)):
        net, eye = ConvLSTMConfig(width=8, fold=2), PyramidConfig(width=4, most=8)
        config = SequenceConfig(shape=(1, 16, 16), latent=latent, hidden=8, eye=eye, net=net)
        model = config.build()
        stir_(model, 0.1)
        save_model(root / name, config, model.state_dict())
    vae = VAEConfig(shape=(1, 16, 16), latent=3, net=PyramidConfig(width=4))
    save_model(root / "vae", vae, vae.build().state_dict())
    clip = open_source(DATA).read(0).image[[0, 1, 1, 2], ..., 0]  # two frames that are alike, which a GIF stores as one
    (root / "frames").mkdir()
    for i, frame in enumerate(clip):
        Image.fromarray(frame).save(root / "frames" / f"{i:03d}.png")
    save_gif(root / "clip.gif", torch.from_numpy(clip[:, None]).float() / 127.5 - 1, 20)
    return root


def test_a_gif_comes_back_frame_by_frame(place):
    with Image.open(place / "clip.gif") as file:
        assert file.info["duration"] == 50 and file.info["loop"] == 0
    loaded = load(place / "plain", precision="fp32")
    a, b = (read_clip(str(place / name), loaded) for name in ("frames", "clip.gif"))
    assert a.shape == (4, 1, 16, 16)
    torch.testing.assert_close(a, b, atol=1 / 127, rtol=0)


def test_futures_differ_where_there_is_chance(place):
    for name, same in (("plain", True), ("chance", False)):
        known, made = forecast(load(place / name, precision="fp32"), Forecast(frames=str(place / "frames"), n=3, futures=2))
        assert known.shape == (4, 1, 16, 16) and made.shape == (2, 3, 1, 16, 16)
        assert torch.equal(made[0], made[1]) == same


def test_figures_are_those_of_what_it_predicts_beside_copying(place):
    loaded = load(place / "plain", precision="fp32")
    rows = evaluate_model(loaded, DATA, n=4, batch=3, known=2).table.rows
    data = Dataset(open_source(DATA, "test"))
    batch = Loader(data, 4, augment=False).batch_at(0)
    seen, true = batch.image[:, :2], batch.image[:, 2:]
    with torch.no_grad():
        made = loaded.model.predict(seen, 4, Rng([mix(i, "evaluate") for i in range(4)]))
    for row, guess in (("plain", made), ("copying the last frame", seen[:, -1:])):
        mse = ((guess - true) / 2).square().flatten(2).sum(2).mean()
        assert rows[row]["MSE/frame"].value == pytest.approx(mse.item(), rel=1e-5)
        assert rows[row]["MSE/frame"].n == 4 and -1 < rows[row]["SSIM"].value < 1


def test_pictures_that_do_not_move_are_clips_of_one_frame(place):
    loaded = load(place / "plain", precision="fp32")
    assert read_clip(str(place / "frames" / "000.png"), loaded).shape == (1, 1, 16, 16)


def test_what_is_refused(place, tmp_path):
    loaded = load(place / "plain", precision="fp32")
    with pytest.raises(ConfigError, match="does not continue clips"):
        forecast(load(place / "vae", precision="fp32"), Forecast(frames=str(place / "frames")))
    with pytest.raises(DataError, match="no clip"):
        forecast(loaded, Forecast(frames=str(tmp_path / "none.gif")))
    with pytest.raises(DataError, match="no pictures"):
        forecast(loaded, Forecast(frames=str(tmp_path)))
    with pytest.raises(ConfigError, match="can be known"):
        evaluate_model(loaded, DATA, n=4, known=6)
    with pytest.raises(ConfigError, match="mse"):
        evaluate_model(loaded, DATA, n=4, metrics="mes")
