"""What translation's own is: two kinds of picture beside each other, pairs, the pool, both ways."""

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.data import Dataset, Loader, View, open_source
from inkwash.recipes import find
from inkwash.recipes.start import configure
from inkwash.training import RunConfig
from inkwash.training.run import train
from tiny import FAST, facts_of, make_trainer, pictures, shrink, write_npz


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    return write_npz(root / "a.npz", 12, (3, 8, 8), 0), write_npz(root / "b.npz", 10, (3, 8, 8), 0)


@pytest.fixture(scope="module")
def facades(tmp_path_factory):
    """Files with a picture on the left and its negative on the right."""
    root = tmp_path_factory.mktemp("pairs")
    for i, image in enumerate(pictures(8, (3, 12, 12))):
        Image.fromarray(np.concatenate([image, 255 - image], axis=1)).save(root / f"{i}.png")
    return str(root)


def small(name, source, **settings):
    config = find(name)(source, facts_of(source))
    values = config.model_dump(mode="json")
    values["model"], values["objective"] = shrink(values["model"]), shrink(values["objective"])
    values["train"] |= FAST | {"steps": 4}
    return RunConfig.parse(values).override(settings)


def cycle(sources, **settings):
    return small("cyclegan", sources[0], **{"data.beside": sources[1], **settings})


def test_the_other_side_comes_shuffled_for_itself(sources):
    a, b = (Dataset(open_source(s)) for s in sources)
    both = Dataset(open_source(sources[0]), beside=b)
    loader, plain = Loader(both, 4, seed=1), Loader(a, 4, seed=1)
    seen = set()
    for position in range(0, 40, 4):
        batch = loader.batch_at(position)
        assert torch.equal(batch.image, plain.batch_at(position).image) and batch.cond.image.shape == batch.image.shape
        seen |= {tuple(x.flatten().tolist()) for x in batch.cond.image}
    assert len(seen) == len(b) and both.fingerprint() != a.fingerprint()
    stream = loader.stream(4)
    assert torch.equal(next(stream).cond.image, loader.batch_at(4).cond.image)


@pytest.mark.parametrize("side, first, second", [("right", 0, 1), ("left", 1, 0)])
def test_pairs_are_split_and_cut_as_one(facades, side, first, second):
    view = View(pair=side, size=(8, 8), fit="window", random_crop=True, flip=True, turn=True)
    data = Dataset(open_source(facades, "all"), view)
    assert data.facts.height == data.facts.width == 8 and data.facts.channels == 3
    batch = Loader(data, 8, seed=3).batch_at(0)
    torch.testing.assert_close(batch.image, -batch.cond.image, atol=1e-6, rtol=0)
    whole = Dataset(open_source(facades, "all"), View(pair=side))
    row, source = Loader(whole, 1, shuffle=False).batch_at(0), open_source(facades, "all").read(0).image
    halves = [source[:, :12], source[:, 12:]]
    for made, k in ((row.image, first), (row.cond.image, second)):
        expected = torch.from_numpy(halves[k].copy()).permute(2, 0, 1).float() / 127.5 - 1
        torch.testing.assert_close(made[0], expected)


def test_a_pair_above_and_below():
    image = np.arange(24, dtype=np.uint8).reshape(6, 4, 1)
    prepared = View(pair="bottom", size=(3, 4), channels=1).prepare(image)
    assert np.array_equal(prepared[0], image[:3, :, 0]) and np.array_equal(prepared[1], image[3:, :, 0])


def test_a_size_that_is_asked_for_is_that_of_one_picture_of_a_pair(facades):
    assert configure("pix2pix", facades).model.shape == (3, 12, 12)
    assert configure("pix2pix", facades, settings={"data.view.size": [8, 10]}).model.shape == (3, 8, 10)


def test_pix2pix_learns_a_negative(facades, tmp_path):
    config = small("pix2pix", facades, **{"data.split": "all", "data.validation": None, "train.steps": 150, "train.lr": 5e-3})
    t = make_trainer(config)
    t._batches = t.loader.stream()
    error = lambda: t.objective.validate(t.loader.batch_at(0), t.moment("x", t.loader.batch_at(0)))["pixel"].item()  # noqa: E731
    before = error()
    for _ in range(150):
        t.step()
    t.check_finite()
    assert error() < 0.5 * before


def test_one_side_alone_is_refused_before_anything_is_written(sources, facades, tmp_path):
    for config, words in (
        (small("cyclegan", sources[0]), "--data-b"),
        (small("pix2pix", facades, **{"data.view.pair": None, "data.view.size": [12, 12]}), "pairs"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(config, tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()


def test_a_cycle_trains_resumes_and_shows_both_ways(sources, tmp_path):
    config = cycle(sources, **{"train.samples": 4})
    run = train(config, tmp_path / "run", quiet=True)
    assert list((run / "samples").glob("*.png"))
    t = make_trainer(config)
    assert (
        t.objective.couples
        and [len(x) for x in t.objective.preview(t.loader.batch_at(0, 3), t.moment("x", t.loader.batch_at(0, 3)))] == [3] * 4
    )


def test_the_pool_gives_old_drawings_back(sources):
    t = make_trainer(cycle(sources, **{"objective.pool": 6}))
    pool, batch = t.objective.pools[0], t.loader.batch_at(0)
    fresh = lambda k: torch.full((8, 3, 8, 8), float(k)) + torch.arange(8.0)[:, None, None, None] / 100  # noqa: E731
    first = pool(fresh(1), batch, t.moment("critics", batch))
    assert pool.count == 6 and torch.equal(first[:6], fresh(1)[:6])
    ages = set()
    for k in range(2, 12):
        batch = t.loader.batch_at(8 * k)
        out = pool(fresh(k), batch, t.moment("critics", batch))
        old = out[:, 0, 0, 0].floor() < k
        assert out.shape == (8, 3, 8, 8)
        ages.add(int(old.sum()))
    assert max(ages) > 0 and min(ages) < 8
    again = make_trainer(cycle(sources, **{"objective.pool": 6}))
    again.objective.load_state_dict(t.objective.state_dict())
    assert torch.equal(again.objective.pools[0].kept, pool.kept)


def test_a_cycle_needs_two_ways(sources):
    with pytest.raises(ConfigError, match="two directions"):
        make_trainer(cycle(sources, **{"model.directions": ["b"]}))


def test_a_cycle_that_changes_nothing_is_said(sources):
    t = make_trainer(cycle(sources))  # before the first step the networks leave pictures alone
    batch = t.loader.batch_at(0)
    found = t.objective.validate(batch, t.moment("x", batch))
    assert found["changed"] == 0
    assert "as they went in" in "".join(t.objective.watch({f"valid/{k}": v.item() for k, v in found.items()}, 0.5))
    assert not list(t.objective.watch({"valid/changed": 0.3, "critics/accuracy": 0.8}, 0.5))
    assert "critics are winning" in "".join(t.objective.watch({"critics/accuracy": 0.99}, 0.5))


def test_what_is_seen_of_held_out_pictures_is_said_in_a_run(sources, tmp_path):
    train(cycle(sources, **{"train.steps": 2, "train.lr": 1e-12}), tmp_path / "run", quiet=True)
    assert "as they went in" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_winning_critic_of_pairs_is_said(facades):
    watch = make_trainer(small("pix2pix", facades)).objective.watch
    assert "critic is winning" in "".join(watch({"critic/accuracy": 0.99}, 0.5)) and not list(watch({"critic/accuracy": 0.9}, 0.5))


def test_no_such_direction(sources):
    with pytest.raises(ConfigError, match="makes b or a"):
        make_trainer(cycle(sources)).model.translate(torch.zeros(1, 3, 8, 8), "c")
