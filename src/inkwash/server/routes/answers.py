"""Answers: a job's pictures as an ImagesResponse, as events while they are made, and the job itself."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from inkwash.server.errors import ApiError
from inkwash.server.lessons import OTHERS
from inkwash.server.protocol import Captioning, Wishes
from inkwash.server.queue import TRAINING, Job
from inkwash.server.serving import Serving, done

USAGE = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0, "input_tokens_details": {"text_tokens": 0, "image_tokens": 0}}
QUIET = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies shall not hold events back
Before = Annotated[int | None, Query(ge=1, lt=2**63)]  # the number of what the last page ended with
Limit = Annotated[int, Query(ge=1, le=200)]  # of one page
BEAT = 15.0  # seconds without an event after which a comment keeps the connection open


def address(request: Request, file: str) -> str:
    """Where a file can be fetched, without a key."""
    return str(request.url_for("file", name=file))


def embedded(serving: Serving, file: str) -> str:
    """A file's bytes in base64. Raises ApiError where it was removed."""
    path = serving.pictures.path(file)
    if path is None:
        raise ApiError(404, "The picture was removed.", "not_found")
    return base64.b64encode(path.read_bytes()).decode()


def images(request: Request, serving: Serving, job: Job, inside: bool, newer: bool) -> dict[str, Any]:
    """A job that is done as the API's answer. inside: whether it holds the pictures themselves."""
    pictures = job.result["pictures"]
    data = [
        {("b64_json" if inside else "url"): embedded(serving, p["file"]) if inside else address(request, p["file"]), "seed": p["seed"]}
        for p in pictures
    ]
    size = "x".join(map(str, pictures[0]["size"])) if pictures else None
    own = {"job": job.id, "model": job.model, **_notes(job)}
    dialect = {"output_format": job.payload.get("format"), "size": size, "usage": USAGE} if newer else {}
    return {"created": int(job.finished), "data": data, **dialect, "inkwash": own}


def _notes(job: Job) -> dict[str, Any]:
    """What a client should know of how its wishes were met."""
    pictures, notes = job.result["pictures"], {}
    scaled = [p for p in pictures if p["made"] != p["size"]]
    if scaled:
        made, size = ("x".join(map(str, scaled[0][k])) for k in ("made", "size"))
        notes["scaled"] = f"The model makes {made}; the picture was scaled to {size}."
    if job.payload.get("ignored"):
        notes["ignored"] = f"The model edits one picture at a time: {job.payload['ignored']} more were not looked at."
    if doubted := [p["facts"]["doubted"] for p in pictures if "doubted" in p["facts"]]:
        notes["doubted"] = doubted
    return notes


async def answer(request: Request, serving: Serving, job: Job, asked: Any) -> Response:
    """What came of a job, when it is there, in the client's dialect; at once, and as a job, for who prefers that."""
    if "respond-async" in request.headers.get("prefer", ""):
        return JSONResponse(told(request, job, serving), 202, headers={"Location": str(request.url_for("job", id=job.id))})
    if isinstance(asked, Wishes) and asked.stream:
        return StreamingResponse(beating(_events(serving, job, asked)), media_type="text/event-stream", headers=QUIET)
    job = await serving.end(job)
    if isinstance(asked, Captioning):
        return JSONResponse({"created": int(job.finished), "model": job.model, "data": [{"text": t} for t in job.result["texts"]]})
    inside = asked.embedded if isinstance(asked, Wishes) else asked.response_format == "b64_json"
    return JSONResponse(images(request, serving, job, inside, isinstance(asked, Wishes) and asked.newer))


async def _events(serving: Serving, job: Job, asked: Wishes) -> AsyncIterator[str]:
    """Previews as they come, then the pictures."""
    prefix = "image_generation" if job.kind == "generate" else "image_edit"
    sent, common = 0, {"output_format": asked.form, "quality": "auto", "background": asked.background or "auto"}
    try:
        async for now in serving.follow(job.id):
            job = now
            for file in job.previews[sent:]:
                data = {
                    "b64_json": embedded(serving, file),
                    "partial_image_index": sent,
                    "created_at": int(job.created),
                    "size": asked.size,
                }
                yield event(f"{prefix}.partial_image", data | common)
                sent += 1
        for p in done(job).result["pictures"]:
            size = "x".join(map(str, p["size"]))
            data = {
                "b64_json": embedded(serving, p["file"]),
                "created_at": int(job.finished),
                "size": size,
                "usage": USAGE,
                "seed": p["seed"],
                "inkwash": {"job": job.id, "model": job.model, **_notes(job)},
            }
            yield event(f"{prefix}.completed", data | common)
    except ApiError as error:
        yield event("error", error.body())


def event(kind: str, data: dict[str, Any]) -> str:
    """One server-sent event, its kind in its data too."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, ensure_ascii=False)}\n\n"


async def beating(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Events as they come, and comments while there are none."""
    pending = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            finished, _ = await asyncio.wait([pending], timeout=BEAT)
            if not finished:
                yield ": still here\n\n"
                continue
            if (now := pending.result()) is None:
                return
            yield now
            pending = asyncio.ensure_future(anext(events, None))
    finally:
        pending.cancel()


def told(request: Request, job: Job, serving: Serving) -> dict[str, Any]:
    """A job, for whoever looks at the queue."""
    result = job.result or {}
    pictures = [
        {"url": address(request, p["file"]), **{k: p[k] for k in ("seed", "size", "made", "facts")}} for p in result.get("pictures", [])
    ]
    order = job.payload.get("request") or job.payload.get("edit") or (job.payload if job.kind == TRAINING else {})
    return {
        "id": job.id, "object": "job", "number": job.number, "kind": job.kind, "model": job.model, "state": job.state,
        "created": job.created, "started": job.started, "finished": job.finished, "done": job.done, "total": job.total,
        "ahead": serving.queue.ahead(job) if job.state == "queued" else 0,
        "asked": {k: v for k, v in order.items() if k not in ("model", "image", "mask", "data", *OTHERS)},
        "previews": [address(request, f) for f in job.previews], "pictures": pictures, "texts": result.get("texts", []),
        **{k: v for k, v in result.items() if k not in ("pictures", "texts", "run")}, "error": job.error and job.error["message"],
    }  # fmt: skip
