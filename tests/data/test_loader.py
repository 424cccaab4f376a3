import itertools
import time

import numpy as np
import pytest
import torch
from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.core.pixels import to_uint8
from inkwash.data import Dataset, Loader, View, open_source

COUNT = 23


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    lines = ["file_name,text,label"]
    for i in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(root / f"{i:02}.png")
        lines.append(f"{i:02}.png,picture {i},{'ab'[i % 2]}")
    (root / "metadata.csv").write_text("\n".join(lines))
    return str(root)


def make(folder: str, limit: int = 2**30, view: View | None = None, **how) -> Loader:
    return Loader(Dataset(open_source(folder, "all"), view or View(flip=True), memory_limit=limit), **{"batch_size": 8, "seed": 3} | how)


def same(a, b) -> bool:
    return torch.equal(a.image, b.image) and torch.equal(a.cond.label, b.cond.label) and torch.equal(a.index, b.index) and a.text == b.text


def joined(batches):
    label = torch.cat([b.cond.label for b in batches])
    text = [t for b in batches for t in b.text]
    return torch.cat([b.image for b in batches]), label, torch.cat([b.index for b in batches]), text


def test_a_batch_holds_what_the_conventions_say(folder):
    batch = make(folder).batch_at(16)
    assert batch.image.shape == (8, 3, 6, 8) and batch.image.dtype == torch.float32
    assert batch.image.min() >= -1 and batch.image.max() <= 1
    assert batch.index.tolist() == list(range(16, 24)) and batch.index.dtype == torch.int64
    assert batch.cond.names() == {"label"} and batch.cond.label.dtype == torch.int64
    assert [t[0].split()[0] for t in batch.text] == ["picture"] * 8
    assert [int(t[0].split()[1]) % 2 for t in batch.text] == batch.cond.label.tolist()


def test_an_epoch_is_a_permutation_and_the_next_is_another(folder):
    loader = make(folder)
    epochs = [[t[0] for t in loader.batch_at(e * COUNT, COUNT).text] for e in range(3)]
    assert all(len(set(e)) == COUNT for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != [t[0] for t in make(folder, seed=4).batch_at(0, COUNT).text]


def test_in_order_without_shuffling(folder):
    loader = make(folder, shuffle=False, view=View())
    batch = loader.batch_at(20)
    assert [int(t[0].split()[1]) for t in batch.text] == [20, 21, 22, 0, 1, 2, 3, 4]
    assert torch.equal(to_uint8(batch.image), loader.dataset.rows([20, 21, 22, 0, 1, 2, 3, 4]).images)


@pytest.mark.parametrize("limit", [2**30, 0])
def test_reading_in_order_changes_nothing_at_random(folder, limit):
    view = View(size=4, fit="window", random_crop=True, flip=True)
    plain = make(folder, shuffle=False, view=View(size=4, fit="window")).batch_at(0)
    assert torch.equal(make(folder, limit, view, shuffle=False).batch_at(0).image, plain.image)
    assert torch.equal(to_uint8(plain.image), make(folder, limit, view).dataset.rows(range(8)).images)
    assert not torch.equal(make(folder, limit, view, shuffle=False, augment=True).batch_at(0).image, plain.image)


@pytest.mark.parametrize("limit", [2**30, 0])
@pytest.mark.parametrize("view", [View(flip=True), View(size=4, fit="window", random_crop=True, flip=True)])
def test_ranks_and_micro_batches_join_to_the_whole(folder, limit, view):
    whole = make(folder, limit, view, batch_size=24).batch_at(48)
    for world, parts in ((1, 4), (2, 1), (3, 2), (4, 3)):
        size = 24 // world // parts
        loaders = [make(folder, limit, view, batch_size=24 // world, rank=r, world=world) for r in range(world)]
        pieces = [loaders[r].batch_at(48 + k * size * world, size) for k in range(parts) for r in range(world)]
        image, label, index, text = joined(pieces)
        assert torch.equal(image, whole.image) and torch.equal(label, whole.cond.label)
        assert torch.equal(index, whole.index) and text == whole.text


@pytest.mark.parametrize("limit", [2**30, 0])
def test_resuming_anywhere_equals_going_on(folder, limit):
    unbroken = list(itertools.islice(make(folder, limit).stream(), 9))
    for k in (0, 1, 2, 5, 8):
        assert same(next(make(folder, limit).stream(8 * k)), unbroken[k])
        assert same(make(folder, limit).batch_at(8 * k), unbroken[k])
    whole = make(folder, limit).batch_at(0, 72)
    for start in (1, 13, 30, 61):  # not only at whole batches
        assert same(make(folder, limit).batch_at(start, 9), whole[start : start + 9])


@pytest.mark.parametrize("view", [View(flip=True), View(size=(5, 4), random_crop=True, flip=True)])
def test_streaming_equals_memory(folder, view):
    pairs = zip(make(folder, view=view).stream(), make(folder, 0, view).stream(prefetch=3))
    assert all(same(a, b) for a, b in itertools.islice(pairs, 8))


def test_streams_of_ranks(folder):
    for rank in range(2):
        stream = make(folder, 0, batch_size=4, rank=rank, world=2).stream()
        next(stream)
        assert next(stream).index.tolist() == list(range(8 + 4 * rank, 12 + 4 * rank))


def test_a_closed_stream_stops_reading(folder):
    loader = make(folder, 0)
    read = loader.dataset.source.read
    reads = []

    def slow(i):
        reads.append(i)
        time.sleep(0.01)
        return read(i)

    loader.dataset.source.read = slow
    stream = loader.stream(prefetch=16)
    next(stream)
    stream.close()
    seen = len(reads)
    time.sleep(0.1)
    assert len(reads) <= seen + 16 < 16 * 8


def test_flips_are_half_and_change_with_the_epoch(folder):
    plain, flipped = make(folder, view=View()), make(folder)
    a, b = plain.batch_at(0, 40 * COUNT), flipped.batch_at(0, 40 * COUNT)
    mirrored = (a.image.flip(-1) == b.image).flatten(1).all(1)
    assert ((a.image == b.image).flatten(1).all(1) | mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55
    by_epoch = mirrored.view(40, COUNT).float()
    assert by_epoch.std(0).min() > 0
    other = make(folder, seed=5).batch_at(0, COUNT)
    assert not torch.equal(other.image, b.image[:COUNT])


def test_clips_become_five_axes(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (6, 4, 8, 8, 3), np.uint8))
    for view in (View(flip=True), View(flip=True, size=6, fit="window", random_crop=True)):
        loader = Loader(Dataset(open_source(str(tmp_path / "a.npz"), "all"), view), 5)
        side = view.size[0] if view.size else 8
        assert loader.batch_at(3).image.shape == (5, 4, 3, side, side)


def test_a_batch_may_be_larger_than_the_data(folder):
    text = [t[0] for t in make(folder, batch_size=2 * COUNT).batch_at(0).text]
    assert sorted(text[:COUNT]) == sorted(text[COUNT:]) and text[:COUNT] != text[COUNT:]
    with pytest.raises(ConfigError, match="at least 1"):
        make(folder, batch_size=0)


def test_batches_from_memory_are_quick(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((20_000, 32, 32), np.uint8), y=np.arange(20_000) % 10)
    loader = Loader(Dataset(open_source(str(tmp_path / "a.npz"), "all"), View(flip=True)), 128)
    loader.batch_at(0)
    spent = []
    for k in range(30):
        start = time.perf_counter()
        loader.batch_at(128 * k)
        spent.append(time.perf_counter() - start)
    assert sorted(spent)[5] < 2e-3  # 0.3 to 0.6 ms where nothing else runs
