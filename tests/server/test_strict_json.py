"""What no answer could hold does not come in: one such job would make the list of all jobs unreadable."""

import json

import pytest

from inkwash.server.errors import ApiError
from inkwash.server.protocol import Generation, read_form, read_json
from live import PROMPT, error_of

BODIES = [b'{"eta": NaN}', b'{"eta": -Infinity}', b'{"eta": 1e400}', b'{"negative_prompt": "\\ud800"}', b'{"a": [{"\\udfff": 1}]}']


@pytest.mark.parametrize("body", [*BODIES, b'{"a": "\xed\xa0\x80"}', b"[" * 100_000])
def test_bodies_that_are_not_strict_json_are_refused(body):
    with pytest.raises(ApiError, match="not valid JSON"):
        read_json(body)


def test_a_body_of_very_many_values_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(json, "loads", None)
    for body in (b"[" + b"[],[]," * 60_000 + b"1]", b'{"a":' * 100_001):
        with pytest.raises(ApiError, match="more than 100000 values"):
            read_json(body)


def test_whole_letters_beyond_the_first_plane_are_welcome():
    assert read_json('{"prompt": "\\ud83d\\ude00 水"}'.encode()) == {"prompt": "😀 水"}


def test_a_form_has_no_such_numbers_either():
    assert read_form(Generation, {"eta": "NaN", "rho": "1e400", "steps": "3"}).options() == {"eta": "NaN", "rho": "1e400", "steps": 3}


@pytest.mark.parametrize("path", ["images/generations", "grids"])
@pytest.mark.parametrize("fault", [b'"eta": NaN', b'"eta": 1e400', b'"negative_prompt": "\\ud800"'])
def test_nothing_is_queued_and_lists_stay_readable(server, path, fault):
    before = sum(server.get("/v1/jobs")[2]["counts"].values())
    rest = json.dumps({"prompt": PROMPT, **({"axes": {"x": {"name": "seed", "values": [1]}}} if path == "grids" else {})}).encode()
    error_of(server.ask("POST", f"/v1/{path}", raw=b"{" + fault + b", " + rest[1:]), 400)  # right but for the one thing
    status, _, jobs = server.get("/v1/jobs")
    assert status == 200 and sum(jobs["counts"].values()) == before
    assert server.get("/v1/grids")[0] == 200
