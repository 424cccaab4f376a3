"""What the server does, without HTTP and without a worker."""

import asyncio
import json
import time

import pytest

from inkwash import recipes
from inkwash.server import lessons
from inkwash.server.errors import ApiError
from inkwash.server.making import MAKERS
from inkwash.server.protocol import Edition, Generation, read, read_form
from inkwash.server.queue import DONE, FAILED, KINDS, TRAINING
from inkwash.server.serving import Serving
from inkwash.server.settings import Limits, ServerConfig
from live import png

OPTIONS = {"steps": {"default": 14}, "guidance": {"default": 1.0}, "size": {"default": None}, "lora": {"default": ""}}
READER = {
    "kind": "latent",
    "path": "runs/reader",
    "shape": [3, 64, 64],
    "does": ["generate", "edit"],
    "reads": True,
    "classes": [],
    "options": OPTIONS,
}
PIPELINE = {**READER, "kind": "pipeline", "path": "hub", "shape": [3, 512, 512]}


@pytest.fixture
def serving(tmp_path):
    made = Serving(ServerConfig(models=("m",), folder=tmp_path, keep=2.0, limits=Limits(queue=3)))
    made.queue.describe({"reader": READER, "pipeline": PIPELINE})
    return made


def asked(**fields) -> Generation:
    return read(Generation, {"prompt": "a", **fields})


def test_sizes_are_made_where_they_can_be_and_scaled_where_not(serving):
    job = serving.generate(asked(size="1024x512"))
    assert job.payload["scaled_to"] == [1024, 512] and "size" not in job.payload["request"]
    job = serving.generate(asked(size="1024x512", model="pipeline"))
    assert job.payload["scaled_to"] is None and job.payload["request"]["size"] == [512, 1024]
    assert serving.generate(asked(size="64x64")).payload["scaled_to"] is None


def test_public_names_mean_the_first_model_and_paths_stay_inside(serving):
    for name in (None, "dall-e-2", "gpt-image-1"):
        job = serving.generate(asked(**({"model": name} if name else {})))
        assert job.model == "reader" and job.payload["request"]["model"] == "runs/reader"
    serving.queue.cancel(job.id)
    with pytest.raises(ApiError, match="not served here"):
        serving.generate(asked(model="runs/reader"))


def test_who_waits_is_woken(serving):
    async def both():
        pump = asyncio.create_task(serving.pump())
        job = serving.generate(asked())
        waiting = asyncio.create_task(serving.end(job))
        await asyncio.sleep(0.05)
        assert not waiting.done() and serving._events
        serving.queue.claim([job.id])
        serving.queue.finish(job.id, DONE, {"pictures": [], "texts": []})
        done = await asyncio.wait_for(waiting, 5)
        pump.cancel()
        return done

    assert asyncio.run(both()).state == DONE and not serving._events


@pytest.mark.parametrize("fault, status, retry", [("user", 400, None), ("server", 500, "false")])
def test_whose_fault_it_was(serving, fault, status, retry):
    job = serving.generate(asked())
    serving.queue.claim([job.id])
    serving.queue.finish(job.id, FAILED, None, {"message": "No.", "fault": fault})
    with pytest.raises(ApiError) as caught:
        asyncio.run(serving.end(job))
    assert caught.value.status == status and caught.value.headers.get("x-should-retry") == retry and str(caught.value) == "No."


def test_what_is_old_goes_with_its_files(serving):
    upload = serving.edit(read(Edition, {"prompt": "a"}), [png()], None)
    serving.queue.claim([upload.id])
    name = serving.pictures.put(b"x", "png")
    serving.queue.finish(upload.id, DONE, {"pictures": [{"file": name}], "texts": []})
    fresh = serving.generate(asked())
    assert serving.tidy() == 0 and serving.pictures.path(name)
    serving.queue.db.execute("UPDATE jobs SET finished = ? WHERE id = ?", (time.time() - 3 * 3600, upload.id))
    assert serving.tidy() == 1 and serving.pictures.path(name) is None
    assert serving.queue.get(upload.id) is None and serving.queue.get(fresh.id) and not list(serving.uploads.folder.iterdir())


def test_a_full_queue_keeps_no_upload(serving):
    for _ in range(3):
        serving.generate(asked())
    with pytest.raises(ApiError) as caught:
        serving.edit(read(Edition, {"prompt": "a"}), [png()], None)
    assert caught.value.headers.keys() == {"Retry-After"} and str(caught.value).endswith("Try again later.")
    assert caught.value.status == 429 and not list(serving.uploads.folder.iterdir())


def test_forms_are_read_by_their_fields():
    got = read_form(
        Edition, {"prompt": "123", "n": "2", "stream": "true", "seed": "5", "interval": "[0, 0.5]", "model": "7", "strength": ""}
    )
    assert (got.prompt, got.n, got.stream, got.seed, got.model, got.strength) == ("123", 2, True, 5, "7", None)
    assert got.options() == {"interval": [0, 0.5]}
    assert read(Generation, {"prompt": None, "n": None}).n == 1
    with pytest.raises(ApiError, match="not a JSON object"):
        read(Generation, json.loads("[]"))


def test_names_are_those_that_there_are():
    """The answering side imports no torch, so it has the names of recipes and kinds of jobs in lists of its own."""
    assert list(lessons.RECIPES) == sorted(recipes.RECIPES)
    assert set(KINDS) == {*MAKERS, TRAINING, "serve"}
