import pytest
import torch

from inkwash.core.batch import CONDITION_FIELDS, Batch, Condition, Step
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model
from inkwash.core.objective import Phase
from inkwash.core.rng import Rng


def test_a_condition_carries_what_is_there():
    c = Condition(label=torch.arange(4), mask=torch.ones(4, 1, 2, 2))
    assert c.names() == {"label", "mask"} and set(CONDITION_FIELDS) == set(vars(c))
    part = c[1:3]
    assert part.label.tolist() == [1, 2] and part.mask.shape == (2, 1, 2, 2) and part.image is None
    assert c.map(lambda t: t + 1).label.tolist() == [1, 2, 3, 4]
    assert Condition().names() == set() and Condition()[0:1] == Condition()


def test_a_batch_is_cut_into_rows_with_everything_they_carry():
    b = Batch(torch.randn(4, 1, 2, 2), Condition(label=torch.arange(4)), torch.arange(10, 14), [("a",), (), ("c", "d"), ("e",)])
    part = b[2:]
    assert len(b) == 4 and len(part) == 2
    assert torch.equal(part.image, b.image[2:]) and part.cond.label.tolist() == [2, 3]
    assert part.index.tolist() == [12, 13] and part.text == [("c", "d"), ("e",)]
    assert b[[3, 1]].index.tolist() == [b.index[3].item(), b.index[1].item()] and b[[3, 1]].text == [b.text[3], b.text[1]]
    assert Batch(b.image, b.cond, b.index)[:1].text is None


def test_a_step_alone_gathers_and_reduces_nothing():
    s, x = Step(0.5, 3, Rng([0])), torch.ones(2)
    assert s.gather(x) is x and s.reduce(x) is x


def test_quantiles_cover_a_batch_evenly_and_belong_to_their_rows():
    index = torch.arange(1000, 1064)
    batch, step = Batch(torch.zeros(64, 1, 2, 2), Condition(), index), Step(0.5, 0, Rng.of_rows(0, index, "main"))
    drawn = step.quantiles(batch)
    u = drawn.sort().values
    assert u.dtype == torch.float64 and u[0] > 0 and u[-1] < 1
    assert u.diff().max() < 0.04, "64 independent draws leave gaps of 0.07"
    half = Step(0.5, 0, Rng.of_rows(0, index[32:], "main")).quantiles(batch[32:])
    assert torch.equal(half, drawn[32:])


def test_labels_are_dropped_row_by_row():
    def dropped(rows, share):
        return Step(0.5, 0, Rng.of_rows(0, rows, "main")).drop(torch.ones(len(rows), dtype=torch.long), share, 7)

    some = dropped(range(4000), 0.25)
    assert set(some.tolist()) == {1, 7} and abs((some == 7).float().mean() - 0.25) < 0.03
    assert torch.equal(dropped(range(100, 200), 0.25), some[100:200]), "whatever the batch is"
    assert set(dropped(range(99), 0.0).tolist()) == {1} and set(dropped(range(99), 1.0).tolist()) == {7}
    assert Step(0.5, 0, Rng([0])).drop(None, 0.5, 7) is None


def test_nothing_is_dropped_of_held_out_rows_and_their_texts_are_those_of_training():
    texts = [("a", "b", "c")] * 64
    learnt, looked_at = (Step(0.5, 0, Rng.of_rows(0, range(64), "main"), held_out=held) for held in (False, True))
    some, all_of_them = learnt.texts(texts, 0.5), looked_at.texts(texts, 0.5)
    assert "" in some and "" not in all_of_them and all(a in ("", b) for a, b in zip(some, all_of_them))
    assert set(looked_at.drop(torch.ones(64, dtype=torch.long), 0.5, 7).tolist()) == {1}


def test_a_phase_counts_shared_parameters_once():
    shared = torch.nn.Linear(2, 2)
    outer = torch.nn.Sequential(shared, torch.nn.Linear(2, 1))
    assert len(list(Phase("main", (outer, shared)).parameters())) == 4


def test_a_model_checks_conditions():
    class Picky(Model):
        accepts, requires = frozenset({"label", "image"}), frozenset({"image"})

    m = Picky(None)
    m.check(Condition(image=torch.ones(1, 1, 2, 2)))
    with pytest.raises(ConfigError, match="does not take tokens; it takes image, label"):
        m.check(Condition(image=torch.ones(1, 1, 2, 2), tokens=torch.ones(1, 1)))
    with pytest.raises(ConfigError, match="needs image"):
        m.check(Condition())
    with pytest.raises(ConfigError, match="takes no condition at all"):
        Model(None).check(Condition(label=torch.ones(1)))
