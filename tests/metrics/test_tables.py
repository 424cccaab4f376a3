import json
from dataclasses import asdict

import pytest

from inkwash.core.errors import InkwashError
from inkwash.metrics.tables import Figure, Table, difference


def test_difference():
    a, b = (Figure("fd", v, 1000, extractor="ours", reference="mnist") for v in (12.5, 10.0))
    assert difference(a, b) == 2.5


@pytest.mark.parametrize(
    "other, word",
    [
        (Figure("fd", 1.0, 10, extractor="theirs", reference="r"), "extractor"),
        (Figure("fd", 1.0, 10, extractor="ours", reference="s"), "reference"),
        (Figure("kid", 1.0, 10, extractor="ours", reference="r"), "name"),
    ],
)
def test_other_measures_refuse(other, word):
    figure = Figure("fd", 1.0, 10, extractor="ours", reference="r")
    with pytest.raises(InkwashError, match=word):
        difference(figure, other)


def test_density_compares_with_density_only():
    def bpd(tag):
        return Figure("bpd", 1.0, 10, tag=tag)

    assert difference(bpd("bound"), bpd("exact")) == 0
    assert difference(bpd("density"), bpd("density")) == 0
    with pytest.raises(InkwashError, match="density"):
        difference(bpd("exact"), bpd("density"))
    with pytest.raises(InkwashError, match="unknown kind"):
        bpd("guess")


def test_table():
    def fd(value, net):
        return Figure("fd", value, 500, spread=0.25, extractor=net)

    table = Table("one").add("model", fd(3.0, "ours"), Figure("bpd", 2.125, 100, tag="bound")).add("held-out", fd(1.0, "ours"))
    lines = table.text().splitlines()
    assert lines[0] == "one" and lines[1].split() == ["images", "fd", "bpd"]
    assert lines[2].split() == ["model", "100/500", "3", "±", "0.25", "2.125", "(bound)"]
    assert lines[3].split() == ["held-out", "500", "1", "±", "0.25", "-"]
    assert lines[4] == "extractor: ours"
    assert len({len(line) for line in lines[1:4]}) == 1
    record = json.loads(json.dumps(table.records()))[0]
    assert record == {"row": "model", **asdict(fd(3.0, "ours"))} and record["spread"] == 0.25
    with pytest.raises(InkwashError, match="extractor"):
        table.add("third", fd(2.0, "theirs"))
    assert "third" not in table.rows
