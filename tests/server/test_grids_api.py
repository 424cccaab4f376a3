"""Grids over HTTP."""

import io
import time

from PIL import Image

from live import PROMPT, error_of

AXES = {"x": {"name": "steps", "values": [1, 3]}, "y": {"name": "seed", "values": [5, 6, 7]}}


def done(server, id: str) -> dict:
    end = time.monotonic() + 60
    while True:
        grid = server.get(f"/v1/grids/{id}")[2]
        if grid["counts"]["queued"] + grid["counts"]["running"] == 0:
            return grid
        assert time.monotonic() < end, grid
        time.sleep(0.1)


def test_each_cell_is_a_job(server):
    status, headers, grid = server.post("/v1/grids", {"prompt": PROMPT, "axes": AXES}, headers={"Idempotency-Key": "a grid"})
    assert status == 202 and len(grid["cells"]) == 6 and grid["axes"] == AXES
    assert headers["location"] == f"{server.url}/v1/grids/{grid['id']}" and server.get(headers["location"])[2]["id"] == grid["id"]
    assert (grid["model"], grid["prompt"]) == ("reader", PROMPT)
    assert server.post("/v1/grids", {"prompt": PROMPT, "axes": AXES}, headers={"Idempotency-Key": "a grid"})[2]["id"] == grid["id"]
    grid = done(server, grid["id"])
    assert grid["counts"]["done"] == 6 and [(c["x"], c["y"]) for c in grid["cells"]] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    facts = server.get(f"/v1/jobs/{grid['cells'][3]['job']}")[2]["pictures"][0]["facts"]
    assert (facts["steps"], facts["seed"]) == (3, 6)
    one = server.post("/v1/images/generations", {"prompt": PROMPT, "steps": 3, "seed": 6})[2]
    same = [Image.open(io.BytesIO(server.get(url)[2])).tobytes() for url in (one["data"][0]["url"], grid["cells"][3]["url"])]
    assert max(abs(a - b) for a, b in zip(*same)) <= 1
    status, headers, data = server.get(f"/v1/grids/{grid['id']}/picture")
    assert status == 200 and headers["content-type"] == "image/png" and Image.open(io.BytesIO(data)).width > 2 * 128
    assert server.get("/v1/grids")[2]["data"][0]["id"] == grid["id"]


def test_older_grids_are_a_page_away(server):
    ask = {"model": "free", "steps": 1}
    ids = [server.post("/v1/grids", {**ask, "axes": {"x": {"name": "seed", "values": [k]}}})[2]["id"] for k in range(3)]
    page = server.get("/v1/grids?limit=2")[2]
    assert [grid["id"] for grid in page["data"]] == ids[:0:-1] and page["more"]
    older = server.get(f"/v1/grids?limit=1&before={page['data'][-1]['number']}")[2]
    assert [grid["id"] for grid in older["data"]] == ids[:1]
    first = server.get("/v1/grids?limit=200")[2]["data"][-1]["number"]
    assert server.get(f"/v1/grids?limit=1&before={first + 1}")[2]["more"] is False, "a page that ends with the first grid is the last"
    assert server.get(f"/v1/grids?before={first}")[2] == {"object": "list", "data": [], "more": False}
    for wrong in ("limit=0", "limit=201", "limit=a", "before=0", f"before={2**63}"):
        assert error_of(server.get(f"/v1/grids?{wrong}"), 400)["param"] == wrong.partition("=")[0]
    for id in ids:
        done(server, id)


def test_a_grid_is_deleted_with_its_cells(server):
    slow = {"prompt": PROMPT, "steps": 150, "axes": {"x": {"name": "guidance", "values": [1 + k / 10 for k in range(3)]}}}
    id = server.post("/v1/grids", slow)[2]["id"]
    assert error_of(server.ask("DELETE", f"/v1/grids/{id}"), 409)["code"] == "not_ended"
    cells = done(server, id)["cells"]
    assert all(server.get(cell["url"])[0] == 200 for cell in cells)
    assert server.ask("DELETE", f"/v1/grids/{id}")[2] == {"id": id, "object": "grid", "deleted": True}
    assert id not in [grid["id"] for grid in server.get("/v1/grids?limit=200")[2]["data"]]
    gone = [f"/v1/grids/{id}{rest}" for rest in ("", "/picture", "/events")] + [f"/v1/jobs/{cell['job']}" for cell in cells]
    assert {server.get(path)[0] for path in [*gone, *(cell["url"] for cell in cells)]} == {404}
    assert error_of(server.ask("DELETE", f"/v1/grids/{id}"), 404)["code"] == "not_found"


def test_one_seed_for_all_cells_unless_an_axis_says_another(server):
    grid = server.post("/v1/grids", {"axes": {"x": {"name": "model", "values": ["free", "classy"]}}})[2]
    assert grid["model"] is None
    jobs = [server.get(f"/v1/jobs/{cell['job']}")[2] for cell in done(server, grid["id"])["cells"]]
    assert [job["model"] for job in jobs] == ["free", "classy"] and len({job["asked"]["seed"] for job in jobs}) == 1


def test_a_grid_is_stopped_and_goes_on(server):
    slow = {"prompt": PROMPT, "steps": 120, "axes": {"x": {"name": "guidance", "values": [1 + k / 10 for k in range(5)]}}}
    grid = server.post("/v1/grids", slow)[2]
    server.post(f"/v1/grids/{grid['id']}/cancel")
    stopped = done(server, grid["id"])
    assert stopped["counts"]["cancelled"] > 0
    assert server.get(f"/v1/grids/{grid['id']}/picture")[0] == 200  # what is missing is grey
    again = server.post(f"/v1/grids/{grid['id']}/resume")[2]
    assert again["counts"]["cancelled"] == 0
    assert done(server, grid["id"])["counts"]["done"] == 5


def test_a_cell_says_why_it_has_no_picture(server):
    eta = {"x": {"name": "eta", "values": [0, 1]}}
    cells = done(server, server.post("/v1/grids", {"model": "free", "solver": "heun", "axes": eta})[2]["id"])["cells"]
    assert [c["state"] for c in cells] == ["failed"] * 2 and all("heun takes no share of fresh noise" in c["error"] for c in cells)


def test_all_cells_or_none(server):
    before = sum(server.get("/v1/jobs?limit=1")[2]["counts"].values())

    def said(axes, status=400, **more):
        return error_of(server.post("/v1/grids", {"prompt": PROMPT, "axes": axes, **more}), status)["message"]

    assert "Unknown parameter: 'stepps'" in said({"x": {"name": "stepps", "values": [1, 2]}})
    assert "are too many" in said({"x": {"name": "steps", "values": [1, 5000]}})
    assert "not served here" in said({"x": {"name": "model", "values": ["reader", "none"]}}, 404)
    assert "has a value twice" in said({"x": {"name": "seed", "values": [1, 1]}})
    assert "no room for 150 more" in said({"x": {"name": "seed", "values": list(range(150))}}, 429)
    assert "at most 400" in said({"x": {"name": "seed", "values": list(range(401))}})
    for bad in (
        None,
        {},
        [],
        {"w": {}},
        {"x": 1},
        {"x": {"name": 1, "values": []}},
        {"x": {"name": "seed", "values": "12"}},
        {"x": {"name": "a", "values": [[]]}},
    ):
        assert said(bad)
    assert sum(server.get("/v1/jobs?limit=1")[2]["counts"].values()) == before
    assert error_of(server.get("/v1/grids/grid_none"), 404)
