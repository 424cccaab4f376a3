"""Grids over HTTP, watched while they are made, and after a server was killed among them."""

import json
import time
import urllib.request

from live import PROMPT, Server, error_of, opened


def events(server, id: str) -> list[tuple[str, dict]]:
    with urllib.request.urlopen(f"{server.url}/v1/grids/{id}/events", timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [b.split("\n") for b in answer.read().decode().strip().split("\n\n") if b.startswith("event: ")]
    return [(head.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for head, data in blocks]


def until(server, id: str, ready) -> dict:
    end = time.monotonic() + 120
    while not ready(grid := server.get(f"/v1/grids/{id}")[2]):
        assert time.monotonic() < end, grid
        time.sleep(0.05)
    return grid


def test_each_change_of_a_cell_is_an_event(server):
    axes = {"x": {"name": "steps", "values": [40, 41]}, "y": {"name": "seed", "values": [5, 6]}}
    grid = server.post("/v1/grids", {"prompt": PROMPT, "axes": axes})[2]
    (kind, whole), *changes = events(server, grid["id"])
    assert kind == "grid" and whole["id"] == grid["id"] and changes and {k for k, _ in changes} == {"cell"}
    ends = {(c["x"], c["y"]): c for _, c in changes}
    assert ends.keys() == {(0, 0), (1, 0), (0, 1), (1, 1)} and {c["state"] for c in ends.values()} == {"done"}
    assert changes[-1][1]["counts"]["done"] == 4 and opened(server.get(ends[1, 0]["url"])[2]).size == (8, 8)
    states = [(c["x"], c["y"], c["state"]) for _, c in changes]
    assert len(states) == len(set(states))  # progress alone is no change
    ((_, late),) = events(server, grid["id"])
    assert late["counts"]["done"] == 4  # it has ended: told once
    error_of(server.get("/v1/grids/grid_none/events"), 404)


def test_a_grid_survives_a_kill(models, tmp_path):
    server = Server(tmp_path, [models["free"]])
    slow = {"steps": 100, "axes": {"x": {"name": "seed", "values": [1, 2, 3]}, "y": {"name": "eta", "values": [0, 0.5, 0.9, 1]}}}
    grid = server.post("/v1/grids", slow)[2]
    until(server, grid["id"], lambda g: g["counts"]["running"] + g["counts"]["done"] > 0)
    server.kill()
    server = Server(tmp_path, [models["free"]])
    try:
        now = until(server, grid["id"], lambda g: g["counts"]["queued"] + g["counts"]["running"] == 0)
        assert [c["job"] for c in now["cells"]] == [c["job"] for c in grid["cells"]]
        assert now["counts"]["done"] + now["counts"]["interrupted"] == 12
        server.post(f"/v1/grids/{grid['id']}/resume")
        assert until(server, grid["id"], lambda g: g["counts"]["done"] == 12)["axes"] == grid["axes"]
    finally:
        server.stop()
