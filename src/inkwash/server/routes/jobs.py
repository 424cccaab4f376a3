"""The queue, seen from outside: the gallery's history, progress that can be taken up again, cancelling."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from inkwash.server.errors import ApiError, invalid
from inkwash.server.queue import KINDS, STATES, Job
from inkwash.server.routes.answers import QUIET, Before, Limit, beating, event, told
from inkwash.server.routes.images import serving_of
from inkwash.server.store import TYPES

router = APIRouter(prefix="/v1", tags=["queue"])


def _found(job: Job | None, id: str) -> Job:
    if job is None:
        raise ApiError(404, f"There is no job {id[:60]!r}.", "not_found")
    return job


def _answer(request: Request, job: Job | None, id: str) -> JSONResponse:
    return JSONResponse(told(request, _found(job, id), serving_of(request)))


@router.get("/models")
async def models(request: Request) -> JSONResponse:
    """The models that are served, what each can do, and how much one request may ask for."""
    known, limits = serving_of(request).models(), request.app.state.config.limits
    data = [_model(name, facts) for name, facts in known.items()]
    return JSONResponse({"object": "list", "data": data, "inkwash": {"limits": limits.model_dump(mode="json")}})


def _model(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "inkwash", "inkwash": facts}


@router.get("/models/{name}")
async def model(request: Request, name: str) -> JSONResponse:
    """One model."""
    known = serving_of(request).models()
    if name not in known:
        raise ApiError(404, f"The model {name[:100]!r} is not served here.", "model_not_found", "model")
    return JSONResponse(_model(name, known[name]))


@router.get("/jobs")
async def jobs(
    request: Request,
    before: Before = None,
    limit: Limit = 50,
    state: str | None = None,
    kind: Annotated[tuple[str, ...], Query()] = KINDS,
) -> JSONResponse:
    """The latest jobs first, and how many of these kinds there are in each state."""
    if state is not None and state not in STATES:
        raise invalid(f"There is no state {state[:40]!r}; they are {', '.join(STATES)}.", "state")
    if strange := [k for k in kind if k not in KINDS]:
        raise invalid(f"There is no kind {strange[0][:40]!r}; they are {', '.join(KINDS)}.", "kind")
    serving = serving_of(request)
    states = (state,) if state else STATES
    page = serving.queue.page(before, limit + 1, states, kind)  # one more than is told: whether there is another page
    counts = serving.queue.counts(kind)
    data = [told(request, job, serving) for job in page[:limit]]
    return JSONResponse({"object": "list", "data": data, "counts": counts, "more": len(page) > limit})


@router.get("/jobs/{id}", name="job")
async def job(request: Request, id: str) -> JSONResponse:
    """One job."""
    return _answer(request, serving_of(request).queue.get(id), id)


@router.get("/jobs/{id}/events")
async def events(request: Request, id: str) -> StreamingResponse:
    """One job as it is, and again whenever it has changed, until it has ended."""
    serving = serving_of(request)
    _found(serving.queue.get(id), id)

    following = (event("job", told(request, now, serving)) async for now in serving.follow(id))
    return StreamingResponse(beating(following), media_type="text/event-stream", headers=QUIET)


@router.post("/jobs/{id}/cancel")
async def cancel(request: Request, id: str) -> JSONResponse:
    """Stop a job: at once where it waits, after its next step where it runs."""
    return _answer(request, serving_of(request).queue.cancel(id), id)


@router.post("/jobs/{id}/retry")
async def retry(request: Request, id: str) -> JSONResponse:
    """Queue a job that ended without a result once more."""
    return _answer(request, serving_of(request).again(id), id)


@router.delete("/jobs/{id}")
async def remove(request: Request, id: str) -> JSONResponse:
    """Take an ended job and its pictures off the list."""
    serving = serving_of(request)
    known = _found(serving.queue.get(id), id)
    if not known.ended:
        raise ApiError(409, f"The job {id} has not ended; cancel it first.", "not_ended")
    serving.remove(id)
    return JSONResponse({"id": id, "object": "job", "deleted": True})


@router.get("/files/{name}", name="file")
async def file(request: Request, name: str) -> Response:
    """A picture, by a name that only those know who were told."""
    path = serving_of(request).pictures.path(name)
    if path is None:
        raise ApiError(404, "There is no such file.", "not_found")
    headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "private, max-age=31536000, immutable"}
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # its name is the key: a client's page may show it
    return FileResponse(path, media_type=TYPES[path.suffix[1:]], headers=headers)
