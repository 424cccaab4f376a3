"""The clients that people have: the openai package as it is, and as it was below 1.0 (in .venv/openai-old, put there by the Makefile)."""

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from live import PROMPT, Server, png

openai = pytest.importorskip("openai")
KEY = "a-key-of-many-characters"
OLD = Path(sys.prefix) / "openai-old"


@pytest.fixture(scope="module")
def keyed(models, tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("keyed"), [models["reader"], models["classy"]], "--limit", "queue=2", key=KEY)
    yield running
    running.stop()


@pytest.fixture
def client(keyed):
    with openai.OpenAI(base_url=f"{keyed.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def masked() -> bytes:
    hole = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (0, 0, 8, 4))
    out = io.BytesIO()
    hole.save(out, "PNG")
    return out.getvalue()


def picture(data) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_generate(client):
    answer = client.images.generate(prompt=PROMPT, n=2, size="1024x1024")
    assert len(answer.data) == 2 and answer.data[0].url.startswith("http") and answer.data[0].b64_json is None
    answer = client.images.generate(prompt=PROMPT, model="gpt-image-1", size="256x256", extra_body={"seed": 4, "steps": 2})
    assert picture(answer.data[0].b64_json).size == (256, 256) and answer.data[0].seed == 4
    answer = client.images.generate(prompt=PROMPT, model="reader", response_format="b64_json")
    assert picture(answer.data[0].b64_json).size == (8, 8)


def test_edit_and_variation(client):
    answer = client.images.edit(
        image=[("a.png", png()), ("b.png", png())], mask=("m.png", masked()), prompt=PROMPT, model="gpt-image-1", n=2
    )
    assert len(answer.data) == 2 and picture(answer.data[0].b64_json).getpixel((3, 6)) == (200, 30, 30)
    answer = client.images.edit(image=("a.png", png()), prompt=PROMPT)
    assert answer.data[0].url.startswith("http")
    if hasattr(client.images, "create_variation"):
        assert client.images.create_variation(image=("a.png", png()), n=1).data[0].url.startswith("http")


def test_streaming(client):
    events = list(client.images.generate(prompt=PROMPT, model="gpt-image-1", stream=True, partial_images=2))
    assert [e.type.rpartition(".")[2] for e in events] == ["partial_image", "partial_image", "completed"]
    assert picture(events[0].b64_json).size == picture(events[2].b64_json).size == (8, 8) and events[1].partial_image_index == 1
    events = list(client.images.edit(image=("a.png", png()), prompt=PROMPT, model="gpt-image-1", stream=True, partial_images=2))
    assert [e.type for e in events] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]


def test_models(client):
    assert [m.id for m in client.models.list()] == ["reader", "classy"]
    assert client.models.retrieve("classy").id == "classy"


def test_each_kind_of_error(client, keyed):
    with pytest.raises(openai.BadRequestError, match="The prompt is empty") as caught:
        client.images.generate(prompt="")
    assert caught.value.param == "prompt" and caught.value.type == "invalid_request_error" and caught.value.code == "empty_string"
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.images.generate(prompt=PROMPT, model="nowhere")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="wrong").models.list()
    with pytest.raises(openai.PermissionDeniedError):
        client.models.list(extra_headers={"Host": "evil.example"})


def test_a_full_queue_is_a_rate_limit(client, keyed):
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(20):
            client.images.generate(prompt=PROMPT, n=10, extra_body={"steps": 200}, extra_headers={"Prefer": "respond-async"})
    assert int(caught.value.response.headers["retry-after"]) >= 1
    for state in ("queued", "running"):
        for job in keyed.get(f"/v1/jobs?state={state}")[2]["data"]:
            keyed.post(f"/v1/jobs/{job['id']}/cancel")


OLDER = """
import json, sys, urllib.request
import openai
assert openai.VERSION.startswith("0."), openai.VERSION
openai.api_base, openai.api_key = sys.argv[1] + "/v1", sys.argv[2]
response = openai.Image.create(prompt="a picture number 3", n=1, size="1024x1024")
url = response['data'][0]['url']
picture = urllib.request.urlopen(url).read()
picture_, mask = (open(path, "rb") for path in sys.argv[3:])
edited = openai.Image.create_edit(image=picture_, mask=mask, prompt="a picture number 3", n=1, size="256x256")
varied = openai.Image.create_variation(image=open(sys.argv[3], "rb"), n=2, size="256x256")
try:
    openai.Image.create(prompt="")
except openai.error.InvalidRequestError as error:
    said = error.user_message
models = [m["id"] for m in openai.Model.list()["data"]]
print(json.dumps([picture[:4].hex(), len(edited["data"]), len(varied["data"]), said, models]))
"""


@pytest.mark.skipif(not OLD.is_dir(), reason="the openai package below 1.0 is put into .venv/openai-old by `make test`")
def test_the_snippet_that_tutorials_print(keyed, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "m.png").write_bytes(masked())
    command = [sys.executable, "-c", OLDER, keyed.url, KEY, str(tmp_path / "a.png"), str(tmp_path / "m.png")]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(OLD)}, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == ["89504e47", 1, 2, "The prompt is empty: say what to draw.", ["reader", "classy"]]


def test_what_open_webui_sends(keyed):
    """Its images router: model, prompt, n, size and response_format, whatever the model."""
    sent = {"model": "reader", "prompt": PROMPT, "n": 1, "size": "512x512", "response_format": "b64_json"}
    status, _, body = keyed.post("/v1/images/generations", sent)
    assert status == 200 and picture(body["data"][0]["b64_json"]).size == (512, 512)
