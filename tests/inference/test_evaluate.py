"""Evaluation: the floor, the sets it measures, the cache, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from inkwash.core.cache import cache_folder
from inkwash.core.device import Precision
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.pixels import from_uint8
from inkwash.data import Dataset, View, open_source
from inkwash.inference.evaluate import Reference, evaluate_folder, evaluate_model, open_pair, wanted
from inkwash.inference.features import features_of, thinned
from inkwash.inference.load import Loaded
from inkwash.metrics.features.base import FeatureNet
from inkwash.metrics.features.catalog import extractor
from inkwash.metrics.frechet import frechet_distance, moments
from tiny import make_trainer, run_config, write_folder, write_npz


class Means(FeatureNet):
    """Mean and spread of each channel: features that a test can work out by hand."""

    id, dim = "means-and-spreads", 6

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def features(self, rgb):
        self.calls += 1
        return torch.cat([rgb.mean((2, 3)), rgb.std((2, 3))], 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INKWASH_CACHE", str(tmp_path / "cache"))


def loaded(kind: str, source: str, tmp_path) -> Loaded:
    trainer = make_trainer(run_config(kind, source), stir=0.02)
    counts = trainer.data.label_counts().tolist() if trainer.data.classes else []
    view = {"view": trainer.data.view.model_dump(mode="json")}
    return Loaded(trainer.model.eval(), tmp_path, "tiny", counts, view, Precision(False, True, 0, 0))


def figure(report, row: str, name: str):
    return report.table.rows[row][name]


def test_training_images_read_zero_and_the_floor_is_the_held_out_split(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=40, test=20, classes=0)
    folder = tmp_path / "same"
    folder.mkdir()
    for i, image in enumerate(np.load(source)["train_x"]):
        Image.fromarray(image).save(folder / f"{i}.png")
    net = Means()
    report = evaluate_folder(str(folder), source, net=net, metrics="fd")
    assert figure(report, "same", "FD").value == pytest.approx(0, abs=1e-6)
    train, held = (from_uint8(Dataset(open_source(source, s)).rows(range(n)).images) for s, n in (("train", 40), ("test", 20)))
    expected = frechet_distance(moments(net(held)), moments(net(train)))
    assert figure(report, "held-out (floor)", "FD").value == pytest.approx(expected, abs=1e-9)
    assert expected > 1e-4


def test_fewer_images_than_the_reference_still_meet_all_of_its_classes():
    """A training set sorted by class: its first rows are one class, and must not stand for it."""
    rng = torch.Generator().manual_seed(0)
    train = torch.cat([torch.randn(200, 4, generator=rng), 50 + torch.randn(200, 4, generator=rng)])
    seen = train[torch.randperm(400, generator=rng)[:60]] + 0.01 * torch.randn(60, 4, generator=rng)
    known = Reference(Means(), "two heaps", train, seen, moments(train))
    values = {f.name: f.value for f in known.figures(seen, ["prdc"])}
    assert values["precision"] > 0.8
    assert values["coverage"] > 0.8


def test_any_second_split_is_the_floor_and_none_is_refused(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_x=x, val_x=x[:4])
    assert [d.source.split for d in open_pair(str(tmp_path / "a.npz"), View())] == ["train", "val"]
    assert [d.source.split for d in open_pair(str(tmp_path / "a.npz:val"), View())] == ["val", "train"]
    with pytest.raises(DataError, match="no other split"):
        open_pair(str(tmp_path / "a.npz:all"), View())


def test_the_sheet_beside_samples_is_no_sample_and_few_images_drop_what_they_cannot_give(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=12, test=5, classes=0)
    write_folder(tmp_path / "made", n=5, size=(8, 8), classes=())
    Image.new("RGB", (80, 80)).save(tmp_path / "made" / "grid.png")
    report = evaluate_folder(str(tmp_path / "made"), source, net=Means())
    assert figure(report, "made", "FD").n == 5
    assert "prdc" in report.facts["left out"]
    assert "precision" not in report.table.rows["made"]
    with pytest.raises(DataError, match="neighbour"):
        evaluate_folder(str(tmp_path / "made"), source, net=Means(), metrics="prdc")


def test_equal_pictures_read_null_in_json(tmp_path):
    write_folder(tmp_path / "real", n=3, size=(12, 12), classes=())
    report = evaluate_folder(str(tmp_path / "real"), str(tmp_path / "real"), metrics="psnr")
    assert report.table.records()[0]["value"] is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("INKWASH_CACHE", str(tmp_path / "file"))
    data = Dataset(open_source(write_npz(tmp_path / "a.npz", n=6, classes=0)))
    with pytest.warns(UserWarning, match="not kept for next time"):
        assert len(features_of(Means(), data, 4)) == 4


def test_a_worse_set_reads_a_larger_distance(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=40, test=20, classes=0)
    write_folder(tmp_path / "inverted", n=20, classes=())
    for path in (tmp_path / "inverted").glob("*.png"):
        ImageOps.invert(Image.open(path)).save(path)
    report = evaluate_folder(str(tmp_path / "inverted"), source, net=Means(), metrics="fd")
    assert figure(report, "inverted", "FD").value > 5 * figure(report, "held-out (floor)", "FD").value


@pytest.mark.parametrize("kind", ["vae", "gan", "diffusion"])
def test_auto_measures_what_a_model_can_give(kind, tmp_path):
    source = write_npz(tmp_path / "a.npz", n=40, test=20)
    report = evaluate_model(loaded(kind, source, tmp_path), source, n=12, net=Means(), batch=5)
    names = set(report.table.rows["tiny"])
    assert {"FD", "KID", "precision", "recall", "density", "coverage", "nearest ratio"} <= names
    assert ("bits/dim" in names) == (kind != "gan")
    assert ("PSNR dB" in names) == (kind == "vae")
    if kind != "gan":
        assert figure(report, "tiny", "bits/dim").tag == "bound"
    assert report.facts["evaluations"] == {"vae": 1, "gan": 1, "diffusion": 20}[kind]
    assert report.facts["seconds_per_image"] > 0


def test_several_seeds_give_their_mean_and_spread(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=40, test=20)
    model, net = loaded("gan", source, tmp_path), Means()
    report = evaluate_model(model, source, n=10, metrics="fd", net=net, seeds=3)
    reference = moments(features_of(net, open_pair(source, Dataset(open_source(source)).view)[0], 100))
    each = [frechet_distance(moments(net(model.sample(10, k * 10**6))), reference) for k in range(3)]
    assert figure(report, "tiny", "FD").value == pytest.approx(np.mean(each), rel=1e-6)
    assert figure(report, "tiny", "FD").spread == pytest.approx(np.std(each, ddof=1), rel=1e-4)


def test_features_are_cached_under_data_network_and_view(tmp_path):
    source, net = write_npz(tmp_path / "a.npz"), Means()
    data = Dataset(open_source(source))
    first = features_of(net, data, 100)
    assert torch.equal(features_of(net, data, 100), first) and net.calls == 1
    features_of(net, Dataset(open_source(source, "test")), 100)
    features_of(net, data, 10)
    assert net.calls == 3
    for path in cache_folder("features").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")  # damaged: made again
    assert torch.equal(features_of(net, data, 100), first) and net.calls == 4


def test_thinned_keeps_both_ends():
    rows = thinned(1000, 10)
    assert len(rows) == 10 and rows[0] == 0 and rows[-1] == 999 and len(set(rows.tolist())) == 10
    assert thinned(5, 10).tolist() == [0, 1, 2, 3, 4]


def test_refusals_name_what_is_possible(tmp_path):
    source = write_npz(tmp_path / "a.npz")
    model = loaded("gan", source, tmp_path)
    with pytest.raises(ConfigError, match="bpd cannot be measured here; what can: fd, kid, prdc, memory"):
        wanted("fd,bpd", model)
    with pytest.raises(ConfigError, match="did you mean 'prdc'"):
        wanted("prcd", model)
    with pytest.raises(ConfigError, match="squeezenet needs its weights"):
        extractor("squeezenet")
    with pytest.raises(ConfigError, match="did you mean 'inception'"):
        extractor("incepton:x")
    one = write_folder(tmp_path / "one", n=1, classes=())
    with pytest.raises(DataError, match="holds 1 image"):
        evaluate_folder(one, source, net=Means())


def test_pairs_are_found_by_name(tmp_path):
    write_folder(tmp_path / "real", n=6, size=(12, 14), classes=())
    write_folder(tmp_path / "made", n=6, size=(12, 14), classes=())
    for path in (tmp_path / "made").glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) ^ 4).save(path)  # four grey levels off everywhere
    report = evaluate_folder(str(tmp_path / "made"), str(tmp_path / "real"), metrics="psnr,ssim")
    assert figure(report, "made", "PSNR dB").value == pytest.approx(20 * np.log10(255 / 4), abs=1e-6)
    assert 0.5 < figure(report, "made", "SSIM").value < 1
    (tmp_path / "other").mkdir()
    Image.new("RGB", (12, 14)).save(tmp_path / "other" / "unknown.png")
    with pytest.raises(DataError, match="pairs are found by file name"):
        evaluate_folder(str(tmp_path / "other"), str(tmp_path / "real"), metrics="psnr")


def test_a_density_is_measured_where_it_is_asked_for_and_named_as_one(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=20, test=6)
    model = loaded("diffusion", source, tmp_path)
    report = evaluate_model(model, source, n=6, metrics="bpd,density")
    bound, density = figure(report, "tiny", "bits/dim"), figure(report, "tiny", "bits/dim, density")
    assert (bound.tag, density.tag) == ("bound", "density") and "dequantisation" in density.reference
    assert 1 < density.value < 30 and 1 < bound.value < 30
    with pytest.raises(ConfigError, match="density cannot be measured here"):
        evaluate_model(loaded("vae", source, tmp_path), source, n=6, metrics="density")


def test_likelihoods_come_in_nats_too_and_a_tighter_bound_where_it_is_asked_for(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=20, test=6)
    report = evaluate_model(loaded("vae", source, tmp_path), source, n=6, metrics="bpd,iwae")
    bits, nats = figure(report, "tiny", "bits/dim"), figure(report, "tiny", "nats")
    assert nats.value == pytest.approx(bits.value * 3 * 8 * 8 * np.log(2), rel=1e-6)
    assert figure(report, "tiny", "nats, 50 draws").tag == "bound"
    assert figure(report, "tiny", "nats, 50 draws").value < nats.value
    with pytest.raises(ConfigError, match="iwae cannot be measured here"):
        evaluate_model(loaded("diffusion", source, tmp_path), source, n=6, metrics="iwae")


def test_the_codes_in_use_are_counted_over_all_held_out_images(tmp_path):
    source = write_npz(tmp_path / "a.npz", n=20, test=10)
    model = loaded("vqvae", source, tmp_path)
    report = evaluate_model(model, source, n=10, metrics="codes,psnr", batch=3)
    train, held_out = open_pair(source, Dataset(open_source(source)).view)
    every = torch.stack([from_uint8(torch.from_numpy(held_out.view.prepare(held_out.source.read(i).image))) for i in range(10)])
    with torch.no_grad():
        wanted = len(model.model.codes(every).unique()) / model.model.codebook_size
    assert figure(report, "tiny", "codes in use").value == pytest.approx(wanted)
    assert np.isfinite(figure(report, "tiny", "PSNR dB").value)
