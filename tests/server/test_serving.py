"""What the server does, without HTTP and without a worker."""

import asyncio
import io
import json
import random
import threading
import time
import zipfile
from contextlib import suppress

import pytest

from inkwash import recipes
from inkwash.inference import edit
from inkwash.server import app, lessons
from inkwash.server.errors import ApiError
from inkwash.server.lessons import Lessons
from inkwash.server.making import MAKERS
from inkwash.server.protocol import Edition, Generation, Styling, Training, read, read_form
from inkwash.server.queue import CANCELLED, DONE, FAILED, KINDS, QUEUED, TRAINING, Queue
from inkwash.server.serving import STRENGTH, Serving
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


def test_what_changes_before_the_pump_is_awake_is_told_too(serving):
    async def both():
        pump = asyncio.create_task(serving.pump())
        await asyncio.sleep(0.05)  # nobody waits: it sleeps
        job = serving.generate(asked())
        states = serving.follow(job.id)
        assert (await anext(states)).state == QUEUED  # looked, before the pump could begin to
        worker = Queue(serving.config.folder / "queue.db")
        worker.claim([job.id])
        worker.finish(job.id, DONE, {"pictures": [], "texts": []})
        worker.close()
        last = await asyncio.wait_for(anext(states), 5)
        await states.aclose()
        pump.cancel()
        return last

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
    upload = asyncio.run(serving.edit(read(Edition, {"prompt": "a"}), [png()], None))
    serving.queue.claim([upload.id])
    name = serving.pictures.put(b"x", "png")
    serving.queue.finish(upload.id, DONE, {"pictures": [{"file": name}], "texts": []})
    fresh = serving.generate(asked())
    assert asyncio.run(serving.tidy()) == 0 and serving.pictures.path(name)
    serving.queue.db.execute("UPDATE jobs SET finished = ? WHERE id = ?", (time.time() - 3 * 3600, upload.id))
    assert asyncio.run(serving.tidy()) == 1 and serving.pictures.path(name) is None
    assert serving.queue.get(upload.id) is None and serving.queue.get(fresh.id) and not list(serving.uploads.folder.iterdir())


def test_tidying_goes_on_after_a_round_that_failed(serving, monkeypatch, caplog):
    rounds = []

    async def tidy():
        rounds.append(1)
        if len(rounds) == 1:
            raise OSError("locked")

    async def some():
        tidying = asyncio.create_task(app._tidying(serving))
        while len(rounds) < 3:
            await asyncio.sleep(0.01)
        tidying.cancel()

    monkeypatch.setattr(serving, "tidy", tidy)
    monkeypatch.setattr(app, "TIDY", 0.01)
    asyncio.run(asyncio.wait_for(some(), 10))
    assert "Tidying up failed" in caplog.text and "locked" in caplog.text


def test_while_files_are_looked_through_others_are_answered(serving, monkeypatch):
    """What removes a file waits here for the loop to go on: on the loop itself it would wait for ever."""
    turned, swept = threading.Event(), []
    monkeypatch.setattr(serving.pictures, "sweep", lambda known: swept.append(turned.wait(10)) or 0)

    async def both():
        tidying = asyncio.create_task(serving.tidy())
        await asyncio.sleep(0.01)
        turned.set()
        await tidying

    asyncio.run(both())
    assert swept == [True]


def test_a_full_queue_keeps_no_upload(serving):
    for _ in range(3):
        serving.generate(asked())
    with pytest.raises(ApiError) as caught:
        asyncio.run(serving.edit(read(Edition, {"prompt": "a"}), [png()], None))
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
    assert [*lessons.RECIPES, "style"] == sorted(recipes.RECIPES, key=lambda name: (name == "style", name))
    assert STRENGTH == edit.STRENGTH
    assert set(KINDS) == {*MAKERS, TRAINING, "serve"}


def test_who_waits_for_what_is_removed_is_told(serving):
    async def both():
        pump = asyncio.create_task(serving.pump())
        job = serving.generate(asked())
        waiting = asyncio.create_task(serving.end(job))
        await asyncio.sleep(0.05)
        serving.queue.cancel(job.id)
        serving.remove(job.id)  # before the pump has seen the cancellation
        try:
            await asyncio.wait_for(waiting, 5)
        finally:
            pump.cancel()

    with pytest.raises(ApiError, match="was removed") as caught:
        asyncio.run(both())
    assert caught.value.status == 404


def test_an_edit_by_a_pipeline_is_scaled_to_the_size_asked_for_or_refused(serving):
    job = asyncio.run(serving.edit(read(Edition, {"prompt": "a", "model": "pipeline", "size": "1024x512"}), [png()], None))
    assert job.payload["scaled_to"] == [1024, 512] and "size" not in job.payload["edit"]
    serving.config = serving.config.model_copy(update={"sizes": "refuse"})
    with pytest.raises(ApiError, match="not possible"):
        asyncio.run(serving.edit(read(Edition, {"prompt": "a", "model": "pipeline", "size": "1024x512"}), [png()], None))


def test_no_option_is_longer_than_a_prompt_may_be(serving):
    most = serving.config.limits
    serving.queue.describe({"reader": {**READER, "options": {**OPTIONS, "negative": {"default": ""}, "interval": {"default": [0, 1]}}}})
    for given in ({"negative_prompt": "a" * (2 * most.prompt + 1)}, {"interval": [1] * (2 * most.prompt)}):
        with pytest.raises(ApiError, match="too long"):
            serving.generate(asked(**given))
    with pytest.raises(ApiError, match="steps are too many"):
        asyncio.run(serving.style(read(Styling, {"steps": most.steps + 1}), png(), png()))
    assert not serving.queue.counts().get("queued")


def test_what_was_cancelled_finds_no_place_in_a_full_queue_and_what_was_interrupted_does(serving):
    jobs = [serving.generate(asked()) for _ in range(3)]
    serving.queue.claim([jobs[0].id])
    serving.queue.interrupt(training=False)
    serving.queue.cancel(jobs[1].id)
    for _ in range(2):
        serving.generate(asked())
    with pytest.raises(ApiError) as caught:
        serving.again(jobs[1].id)
    assert caught.value.status == 429 and serving.queue.get(jobs[1].id).state == CANCELLED
    assert serving.again(jobs[0].id).state == QUEUED and serving.again("job_none") is None


def test_a_training_has_a_name_of_its_own(serving):
    training = Lessons(serving)
    ask = {"recipe": "vae", "data": "digits", "steps": 2}
    training.begin(read(Training, {**ask, "name": "mine"}))
    for taken in ("mine", "reader"):
        with pytest.raises(ApiError) as caught:
            training.begin(read(Training, {**ask, "name": taken}))
        assert caught.value.status == 409
    first = training.begin(read(Training, {**ask, "name": "twice"}))
    serving.queue.cancel(first.id)
    training.begin(read(Training, {**ask, "name": "twice"}))
    with pytest.raises(ApiError, match="another training") as caught:
        serving.again(first.id)
    assert caught.value.status == 409
    with pytest.raises(ApiError, match="log is called so"):
        read(Training, {**ask, "name": "mine.log"})
    training.config = training.config.model_copy(update={"training": False})
    for act in (lambda: training.begin(read(Training, {**ask, "name": "other"})), lambda: training.keep(b"")):
        with pytest.raises(ApiError, match="switched off"):
            act()


def test_an_archive_that_python_cannot_unpack_is_refused(serving):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.png", png())
    whole, random_ = out.getvalue(), random.Random(0)
    newer = bytearray(whole)
    newer[whole.index(b"PK\x01\x02") + 6] = 99  # a version of the format that there is not
    with pytest.raises(ApiError, match="not a zip file"):
        Lessons(serving).keep(bytes(newer))
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(3):
            data[random_.randrange(len(data))] = random_.randrange(256)
        with suppress(ApiError):
            Lessons(serving).keep(bytes(data))


def test_the_newer_dialect_is_told_by_its_models(serving):
    assert asked(model="chatgpt-image-latest").embedded and asked(model="gpt-image-1").embedded and not asked(model="dall-e-2").embedded
