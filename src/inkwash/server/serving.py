"""What the server does, without HTTP: checks requests against what the models can do, makes jobs of them, and waits for their ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from inkwash.core.errors import nearest
from inkwash.inference.interpolation import METHODS
from inkwash.server.errors import ApiError, broken, invalid
from inkwash.server.intake import Intake, Upload
from inkwash.server.protocol import NAMES, PUBLIC, Captioning, Edition, Enlargement, Generation, Styling, Variation, Wishes
from inkwash.server.queue import CANCELLED, DONE, FAILED, INTERRUPTED, QUEUED, RUNNING, TRAINING, Job, Queue, QueueFull
from inkwash.server.settings import ServerConfig
from inkwash.server.store import Store

TICK = 0.02  # seconds between two looks at what the worker has changed, while somebody waits
STRENGTH = 0.6  # of an edit, unless said
RANDOM = 2**31  # seeds that are drawn for who names none
UNSERVED = ("size", "tile", "overlap", "lora", "strength", "rounds")  # options that are a field of their own, or not for strangers


class Serving:
    """The answering side of the queue."""

    def __init__(self, config: ServerConfig):
        self.config = config
        self.queue = Queue(config.folder / "queue.db", config.limits.queue)
        self.pictures = Store(config.folder / "pictures")
        self.uploads = Store(config.folder / "uploads")
        self.archives = Store(config.folder / "archives")
        self.intake = Intake(self.uploads, config.limits.pixels)
        self._events: dict[str, set[asyncio.Event]] = {}
        self._waited = asyncio.Event()  # somebody has begun to wait
        self._seed = int(time.time() * 1e6) % RANDOM

    # ---- models

    def models(self) -> dict[str, dict[str, Any]]:
        """What each model can do. Raises ApiError while they are being loaded."""
        if not (known := self.queue.models()):
            raise ApiError(503, "The models are being loaded; ask again in a moment.", "loading", headers={"Retry-After": "2"})
        return known

    def model(self, name: str | None, verb: str) -> tuple[str, dict[str, Any]]:
        """The model of that name; the first that does this where none is named. Raises ApiError."""
        models = self.models()
        if name is None or (name not in models and name.startswith(PUBLIC)):
            for known, facts in models.items():
                if verb in facts["does"]:
                    return known, facts
            raise invalid(f"No model that is served here can {verb}.", "model", "model_not_found")
        if name not in models:
            raise ApiError(404, f"The model {name[:100]!r} is not served here; {nearest(name[:100], models)}", "model_not_found", "model")
        if verb not in models[name]["does"]:
            can = ", ".join(models[name]["does"]) or "nothing that is asked for here"
            raise invalid(f"The model {name!r} cannot {verb}; it can {can}.", "model", "model_cannot")
        return name, models[name]

    # ---- requests that become jobs

    def generate(self, asked: Generation, repeat: str | None = None) -> Job:
        """Pictures of a prompt. Raises ApiError."""
        return self.submit("generate", *self.order(asked), repeat)

    def order(self, asked: Generation) -> tuple[str, dict[str, Any]]:
        """What pictures of a prompt ask of which model. Raises ApiError."""
        name, facts = self.model(asked.model, "generate")
        request = {"model": facts["path"], **self._order(asked, name, facts, needed=True)}
        if asked.background == "opaque" and facts["shape"][0] == 4:
            request["background"] = "white"
        size, scaled = self._size(asked, facts)
        if size is not None:
            request["size"] = list(size)
        payload = {"request": request, **self._previews(asked, request, facts), **self._delivery(asked, scaled)}
        return name, payload

    async def edit(self, asked: Edition, images: list[bytes], mask: bytes | None, repeat: str | None = None) -> Job:
        """Pictures made of a picture: where the mask is transparent, or all over. Raises ApiError."""
        name, facts = self.model(asked.model, "edit")
        order = self._order(asked, name, facts)
        upload = await self.intake.picture(images[0] if images else None, "image")
        if mask is not None:
            order["mask"] = await self.intake.mask(mask, upload.picture.size)
        elif (hole := await self.intake.hole(upload.picture, facts)) is not None:
            order["mask"] = hole
        elif asked.strength is not None:
            order["options"]["strength"] = asked.strength
        return self._edited(name, facts, asked, order, upload, repeat, ignored=len(images) - 1)

    async def vary(self, asked: Variation, image: bytes | None, repeat: str | None = None) -> Job:
        """Pictures like a picture. Raises ApiError."""
        name, facts = self.model(asked.model, "edit")
        order = self._order(asked, name, facts)
        order["options"]["strength"] = asked.strength
        return self._edited(name, facts, asked, order, await self.intake.picture(image, "image"), repeat)

    async def caption(self, asked: Captioning, image: bytes | None, repeat: str | None = None) -> Job:
        """What is in a picture. Raises ApiError."""
        name, facts = self.model(asked.model, "caption")
        options = asked.model_dump(include={"lang", "beams", "temperature"}, exclude_none=True)
        upload = await self.intake.picture(image, "image")
        payload = {"path": facts["path"], "image": upload.file, "seed": asked.seed, "options": options}
        return self.submit("caption", name, payload, repeat)

    async def upscale(self, asked: Enlargement, image: bytes | None, repeat: str | None = None) -> Job:
        """A picture made larger. Raises ApiError."""
        if asked.model in METHODS:
            name, path = asked.model, asked.model
        else:
            name, facts = self.model(asked.model, "upscale")
            path = facts["path"]
        upload, most = await self.intake.picture(image, "image"), self.config.limits.pixels
        if upload.picture.width * upload.picture.height * asked.scale**2 > most:
            raise invalid(f"The result would have more than {most} pixels.", "scale")
        payload = {"path": path, "image": upload.file, "source": upload.source, "scale": asked.scale}
        return self.submit("upscale", name, payload | _files(asked), repeat)

    async def style(self, asked: Styling, image: bytes | None, painting: bytes | None, repeat: str | None = None) -> Job:
        """A photograph in the style of a painting. Raises ApiError."""
        self._steps(asked.steps, "steps")
        upload, other = await self.intake.picture(image, "image"), await self.intake.picture(painting, "painting")
        places = {"image": upload.file, "source": upload.source, "style": other.file}
        options = {"strength": asked.strength, "keep_colour": asked.keep_colour, "steps": asked.steps}
        return self.submit("style", "style", {**places, "options": options, **_files(asked)}, repeat)

    def submit(self, kind: str, model: str, payload: dict[str, Any], repeat: str | None = None) -> Job:
        """A job that was looked at. Raises ApiError where the queue is full."""
        try:
            return self.queue.submit(kind, model, payload, repeat)
        except QueueFull as full:
            self.uploads.remove(uploads_of(payload))
            raise too_many(full) from None

    def again(self, id: str) -> Job | None:
        """Queue a job that ended without a result once more; None where there is no such. Raises ApiError where the queue is full, and for
        a training whose name another has got."""
        job = self.queue.get(id)
        if job and job.kind == TRAINING and job.payload["name"] in self.trained(but=id):
            raise ApiError(409, f"There is another training named {job.payload['name']!r}.", "run_exists")
        try:
            return self.queue.again(id)
        except QueueFull as full:
            raise too_many(full) from None

    def trained(self, but: str | None = None) -> set[str]:
        """Names of trainings that wait, run, can go on or are done. but: the id of one that does not count."""
        states = (QUEUED, RUNNING, INTERRUPTED, DONE)
        jobs = self.queue.page(None, 10**6, states, (TRAINING,))
        return {job.payload["name"] for job in jobs if job.id != but}

    def submit_all(self, kind: str, orders: Sequence[tuple[str, dict[str, Any]]], note: Callable[[list[str]], None]) -> list[str]:
        """Jobs that were looked at: all of them, or none. note: as the queue takes it. Raises ApiError where the queue is full."""
        try:
            return self.queue.submit_all(kind, orders, note)
        except QueueFull as full:
            raise too_many(full) from None

    # ---- parts of requests

    def _count(self, asked: Wishes) -> int:
        most = self.config.limits.images
        if asked.n > most:
            raise invalid(f"{asked.n} pictures are too many for one request; at most {most}.", "n")
        return asked.n

    def fresh_seed(self) -> int:
        """Another one for every request that names none; it is told in the answer."""
        self._seed = (self._seed * 1103515245 + 12345) % RANDOM
        return self._seed

    def _seed_of(self, asked: Wishes) -> int:
        return self.fresh_seed() if asked.seed is None else asked.seed

    def _prompt(self, asked: Wishes, needed: bool) -> str | None:
        text, most = asked.prompt, self.config.limits.prompt
        if text is not None and len(text) > most:
            raise invalid(f"The prompt has {len(text)} characters; at most {most} are taken.", "prompt", "string_above_max_length")
        if text is None or not text.strip():
            if needed or text is not None:
                raise invalid(
                    "The prompt is empty: say what to draw.", "prompt", "missing_required_parameter" if text is None else "empty_string"
                )
            return None
        return text

    def _label(self, asked: Wishes, name: str, facts: dict[str, Any]) -> str | None:
        """A prompt for a model that reads none: the name of one of its classes."""
        text = (self._prompt(asked, needed=False) or "").strip()
        classes = {c.lower(): c for c in facts["classes"]}
        if not text or text.lower() in classes:
            return classes.get(text.lower())
        if not classes:
            raise invalid(
                f"The model {name!r} takes no prompt: it draws what it has seen. Leave the prompt out.", "prompt", "prompt_not_taken"
            )
        raise invalid(f"The model {name!r} reads a class and no sentence: one of {', '.join(facts['classes'])}.", "prompt", "unknown_class")

    def _options(self, asked: Wishes, facts: dict[str, Any]) -> dict[str, Any]:
        known = {k for k in facts["options"] if k not in UNSERVED}
        options = asked.options()
        for name in options:
            if name not in known:
                said = next((public for public, own in NAMES.items() if own == name), name)
                raise invalid(f"Unknown parameter: {said[:100]!r}; {nearest(name[:100], known)}", said[:100], "unknown_parameter")
            if (
                len(json.dumps(options[name], ensure_ascii=False)) > 2 * self.config.limits.prompt
            ):  # a text twice as long at most, as it is written
                raise invalid(f"The value of {name[:100]!r} is too long.", name[:100], "string_above_max_length")
        self._steps(options.get("steps"), "num_inference_steps")
        return options

    def _steps(self, wanted: Any, name: str) -> None:
        most = self.config.limits.steps
        if isinstance(wanted, int) and wanted > most:
            raise invalid(f"{wanted} steps are too many; at most {most}.", name)

    def _size(self, asked: Wishes, facts: dict, edit: bool = False) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """(height, width) that the model is asked for, None for its own, and (width, height) of the files, None for as made.
        edit: only its own size is made."""
        wanted = asked.pixels()
        _, height, width = facts["shape"]
        if wanted is None or wanted == (width, height):
            return None, None
        if wanted[0] * wanted[1] > self.config.limits.pixels:
            raise invalid(f"{asked.size} are too many pixels; at most {self.config.limits.pixels}.", "size")
        if facts["kind"] == "pipeline" and not edit and wanted[0] % 8 == 0 and wanted[1] % 8 == 0:
            return (wanted[1], wanted[0]), None
        if self.config.sizes == "refuse":
            raise invalid(f"The size {asked.size} is not possible; this model makes {width}x{height}.", "size", "invalid_size")
        return None, wanted

    def _previews(self, asked: Wishes, order: dict[str, Any], facts: dict[str, Any]) -> dict[str, int]:
        """How many previews are wanted, and of how many steps, about."""
        steps = order["options"].get("steps") or facts["options"].get("steps", {}).get("default") or 14
        share = 1.0 if isinstance(asked, Generation) or "mask" in order else order["options"].get("strength", STRENGTH)
        return {"partial_images": asked.partial_images or 0, "looks": max(1, int(share * steps))}

    def _delivery(self, asked: Wishes, scaled: tuple[int, int] | None) -> dict[str, Any]:
        return _files(asked) | {"scaled_to": list(scaled) if scaled else None}

    def _order(self, asked: Wishes, name: str, facts: dict[str, Any], needed: bool = False) -> dict[str, Any]:
        """What a request and an edit have in common. needed: whether a model that reads must be told something."""
        order: dict[str, Any] = {"n": self._count(asked), "seed": self._seed_of(asked), "options": self._options(asked, facts)}
        if facts["reads"]:
            order["prompt"] = self._prompt(asked, needed)
        else:
            order["label"] = self._label(asked, name, facts)
        return {k: v for k, v in order.items() if v is not None}

    def _edited(self, name: str, facts: dict, asked: Wishes, order: dict, upload: Upload, repeat: str | None, ignored: int = 0) -> Job:
        _, scaled = self._size(asked, facts, edit=True)
        if asked.size == "auto" and list(upload.picture.size) != facts["shape"][:0:-1]:
            scaled = upload.picture.size  # as large as it came
        payload = {"path": facts["path"], "edit": order | {"image": upload.file}, "source": upload.source, "ignored": ignored}
        return self.submit("edit", name, payload | self._previews(asked, order, facts) | self._delivery(asked, scaled), repeat)

    # ---- waiting

    async def pump(self) -> None:
        """Wake who waits for a job when it has changed; runs as long as the server does."""
        while True:
            await self._waited.wait()
            changed = self.queue.now()
            self._wake(list(self._events))  # something may have changed before this look
            while self._events:
                await asyncio.sleep(TICK)
                if (latest := self.queue.now()) != changed:
                    self._wake([job.id for job in self.queue.since(changed)])
                    changed = latest
            self._waited.clear()

    def _wake(self, ids: Sequence[str]) -> None:
        for id in ids:
            for event in self._events.get(id, ()):
                event.set()

    async def follow(self, id: str) -> AsyncIterator[Job]:
        """A job as it is, and again whenever it has changed, until it has ended."""
        with self._woken([id]) as event:
            while (job := self.queue.get(id)) is not None:
                event.clear()
                yield job
                if job.ended:
                    return
                await event.wait()

    async def follow_all(self, ids: Sequence[str]) -> AsyncIterator[dict[str, Job]]:
        """Those of the jobs that there are, and again whenever one has changed, until all have ended."""
        with self._woken(ids) as event:
            while True:
                event.clear()
                jobs = self.queue.several(ids)
                yield jobs
                if all(job.ended for job in jobs.values()):
                    return
                await event.wait()

    @contextmanager
    def _woken(self, ids: Sequence[str]) -> Iterator[asyncio.Event]:
        """What is set whenever one of the jobs has changed."""
        event = asyncio.Event()
        for id in ids:
            self._events.setdefault(id, set()).add(event)
        self._waited.set()
        try:
            yield event
        finally:
            for id in ids:
                self._events[id].discard(event)
                if not self._events[id]:
                    del self._events[id]

    async def end(self, job: Job) -> Job:
        """A job when it is done. Raises ApiError for one that ends otherwise, or not in time: it goes on, and can be asked for."""
        try:
            async with asyncio.timeout(self.config.limits.seconds):
                async for now in self.follow(job.id):
                    job = now
        except TimeoutError:
            said = f"The job {job.id} is not done yet; ask for it at /v1/jobs/{job.id}."
            raise ApiError(503, said, "timeout", headers={"x-should-retry": "false"}) from None
        return done(job)

    async def tidy(self) -> int:
        """Remove jobs that ended longer ago than pictures are kept, and files that belong to no job. Returns how many of both."""
        gone = 0
        if self.config.keep is not None:
            for job in self.queue.ended(time.time() - 3600 * self.config.keep):
                gone += self.remove(job.id) is not None
                await asyncio.sleep(0)  # others come in between
        return gone + await asyncio.to_thread(self._sweep)  # seconds, where the history is long

    def _sweep(self) -> int:
        pictures, uploads, archives = set(), set(), set()
        with closing(Queue(self.config.folder / "queue.db")) as queue:  # a thread needs its own
            for job in queue.every():
                pictures.update(made_of(job))
                uploads.update(uploads_of(job.payload))
                archives |= {Path(job.payload["data"]).name} if job.kind == TRAINING else set()
        return self.pictures.sweep(pictures) + self.uploads.sweep(uploads) + self.archives.sweep(archives)

    def remove(self, id: str) -> Job | None:
        """An ended job and its files."""
        gone = self.remove_all([id])
        return gone[0] if gone else None

    def remove_all(self, ids: Sequence[str], note: Callable[[], None] = lambda: None) -> list[Job] | None:
        """Ended jobs and their files: all or, where one has not ended, none, which is None. note: as the queue takes it."""
        jobs = self.queue.forget_all(ids, note)
        for job in jobs or []:
            self.uploads.remove(uploads_of(job.payload))
            self.pictures.remove(made_of(job))
            self._wake([job.id])  # the pump sees only jobs that there are
        return jobs


def too_many(full: QueueFull) -> ApiError:
    """What is answered where the queue is full."""
    headers = {"Retry-After": str(round(full.seconds + 0.5))} | ({"x-should-retry": "false"} if full.never else {})
    return ApiError(429, f"{full}{'' if full.never else ' Try again later.'}", "queue_full", headers=headers)


def done(job: Job) -> Job:
    """The job, which is done. Raises ApiError for one that ended otherwise."""
    if job.state == FAILED and job.error["fault"] == "user":
        raise invalid(job.error["message"], None, "invalid_request")
    if job.state == FAILED:
        raise broken(job.error["message"])
    if job.state == CANCELLED:
        raise ApiError(409, f"The job {job.id} was cancelled.", "cancelled", headers={"x-should-retry": "false"})
    if job.state == INTERRUPTED:
        raise broken(f"The job {job.id} was interrupted as the server stopped; queue it again at /v1/jobs/{job.id}/retry.")
    if job.state != DONE:
        raise ApiError(404, f"The job {job.id} was removed.", "not_found")
    return job


def made_of(job: Job) -> list[str]:
    """Names of the files that came of a job."""
    return [*job.previews, *(p["file"] for p in (job.result or {}).get("pictures", []))]


def uploads_of(payload: dict[str, Any]) -> list[str]:
    """Names of the uploads that a job was given."""
    places = [payload.get("image"), payload.get("style"), *(payload.get("edit", {}).get(k) for k in ("image", "mask"))]
    return [p for p in places if p]


def _files(asked: Wishes | Enlargement | Styling) -> dict[str, Any]:
    return {"format": asked.output_format or "png", "compression": asked.output_compression}
