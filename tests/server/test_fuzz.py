"""Whatever is sent: no answer of 500, no traceback, nothing written outside the server's folder.

INKWASH_FUZZ=2000 python -m pytest tests/server/test_fuzz.py    for the long version.
"""

import io
import json
import os
import random
import sqlite3

import pytest
from PIL import Image

from live import PROMPT, Server, form_of, url_of

COUNT = int(os.environ.get("INKWASH_FUZZ", "120"))
ODD = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**63,
        -(2**63),
        1e308,
        0.5,
        "",
        " ",
        "\x00",
        "a" * 5000,
        "../../etc/passwd",
        "<script>",
        "水墨",
        "\ud800",
    ),
    *(
        [],
        [[]],
        {},
        {"a": {}},
        [None],
        "auto",
        "64x64",
        "0x0",
        "99999x99999",
        "b64_json",
        "http://127.0.0.1:1/",
        "data:,x",
        "data:image/png;base64,AAAA",
    ),
]
FIELDS = ["model", "prompt", "n", "size", "response_format", "output_format", "output_compression", "background", "partial_images", "seed"]
FIELDS += [
    "negative_prompt",
    "num_inference_steps",
    "steps",
    "guidance_scale",
    "cfg_scale",
    "solver",
    "eta",
    "interval",
    "strength",
    "image",
]
FIELDS += [
    "mask",
    "images",
    "painting",
    "scale",
    "lang",
    "beams",
    "temperature",
    "quality",
    "user",
    "lora",
    "tile",
    "recipe",
    "data",
    "name",
]
PATHS = ["generations", "edits", "variations", "captions", "upscales", "styles"]


@pytest.fixture(scope="module")
def target(models, tmp_path_factory):
    running = Server(
        tmp_path_factory.mktemp("target"), [models["reader"], models["writer"]], "--limit", "pixels=100000", "--limit", "queue=2000"
    )
    yield running
    running.stop()


def picture(order: random.Random) -> bytes:
    """A picture with some of its bytes changed, or cut, or doubled."""
    out, kind = io.BytesIO(), order.choice(["PNG", "JPEG", "WEBP"])
    Image.effect_noise((order.randint(1, 24), order.randint(1, 24)), 50).convert("RGB").save(out, kind)
    data = bytearray(out.getvalue())
    for _ in range(order.choice([0, 1, 3, 10])):
        data[order.randrange(len(data))] = order.randrange(256)
    if order.random() < 0.2:
        data = data[: order.randrange(len(data))]
    return bytes(data * order.choice([1, 1, 1, 2]))


def request(order: random.Random) -> tuple[str, str, dict]:
    """Method, path, and what goes with them."""
    path = f"/v1/images/{order.choice(PATHS)}"
    fields = {order.choice(FIELDS): order.choice(ODD) for _ in range(order.randint(0, 4))}
    tame = order.random() < 0.5  # all but its pictures
    if tame:
        path = f"/v1/images/{order.choice(PATHS[:3])}"
        fields = {"prompt": PROMPT, "steps": 1, "n": order.randint(1, 2), "size": order.choice(["auto", "9x7"])}
    way = order.random()
    if way < 0.5:
        names = ["image"] if tame else order.choices(["image", "image[]", "mask", "painting", "other"], k=order.randint(0, 3))
        files = [(name, picture(order)) for name in names]
        words = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
        raw, head = form_of({k: v.encode("utf-8", "replace").decode() for k, v in words.items()}, files)
        return "POST", path, {"raw": raw, "headers": head}
    if way < 0.8:
        if order.random() < 0.7 and not (tame and path.endswith("generations")):
            fields["image"] = url_of(picture(order))
        return "POST", path, {"raw": json.dumps(fields).encode()}
    if way < 0.9:
        return "POST", order.choice([path, "/v1/training", "/v1/training/archives"]), {"raw": order.randbytes(order.randint(0, 300))}
    rest = order.choice(
        [
            "jobs/x",
            "jobs?before=9&limit=3",
            "files/%2e%2e%2fqueue.db",
            "files/..",
            "models/%00",
            "jobs?state=%ff",
            "training/x",
            "grids/x",
            "grids?before=9&limit=3",
        ]
    )
    return order.choice(["GET", "POST", "DELETE", "PUT"]), f"/v1/{rest}", {}


@pytest.mark.slow
def test_nothing_that_is_sent_breaks_it(target):
    order, statuses = random.Random(11), {}
    before = {p for p in target.folder.rglob("*") if target.folder / "data" not in p.parents}
    for i in range(COUNT):
        method, path, more = request(order)
        status, headers, body = target.ask(method, path, **more)
        statuses[status] = statuses.get(status, 0) + 1
        assert status < 500 and status != 0, (i, method, path, more, body)
        if status >= 400:
            assert set(body["error"]) == {"message", "type", "param", "code"}, body
            assert "Traceback" not in body["error"]["message"] and str(target.folder) not in body["error"]["message"], body
    log = (target.folder / "log.txt").read_text()
    assert "Traceback" not in log, log[-3000:]
    assert {p for p in target.folder.rglob("*") if target.folder / "data" not in p.parents} == before
    assert target.get("/healthz")[0] == 200 and statuses.get(200, 0) > COUNT // 20 and statuses[400] > COUNT // 5, statuses
    failed = sqlite3.connect(target.folder / "data" / "queue.db").execute("SELECT error FROM jobs WHERE state = 'failed'").fetchall()
    assert all(json.loads(error)["fault"] == "user" for (error,) in failed), failed
