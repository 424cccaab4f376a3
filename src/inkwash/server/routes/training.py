"""Training: begun, watched and stopped over HTTP."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from inkwash.server.errors import ApiError
from inkwash.server.lessons import RECIPES, Lessons
from inkwash.server.protocol import Training
from inkwash.server.queue import TRAINING, Job
from inkwash.server.routes.answers import told
from inkwash.server.routes.bodies import json_body
from inkwash.server.routes.images import document, serving_of

router = APIRouter(prefix="/v1/training", tags=["training"])


def _lessons(request: Request) -> Lessons:
    return Lessons(serving_of(request))


def _job(request: Request, id: str) -> Job:
    job = serving_of(request).queue.get(id)
    if job is None or job.kind != TRAINING:
        raise ApiError(404, f"There is no training {id[:60]!r}.", "not_found")
    return job


@router.post("", openapi_extra=document(Training), status_code=202)
async def begin(request: Request) -> JSONResponse:
    """Train a model; its job is followed, cancelled and queued again as any other."""
    asked = await json_body(request, Training)
    job = _lessons(request).begin(asked)
    return JSONResponse(told(request, job, serving_of(request)), 202, headers={"Location": str(request.url_for("training", id=job.id))})


@router.get("")
async def listed(request: Request) -> JSONResponse:
    """The latest trainings first, which recipes there are, and what may be trained on."""
    serving = serving_of(request)
    jobs = serving.queue.page(limit=100, kinds=(TRAINING,))
    data = [told(request, job, serving) for job in jobs]
    choices = {"recipes": list(RECIPES), "sources": ["scenes?size=32", "digits", *(p.name for p in serving.config.data)]}
    return JSONResponse({"object": "list", "data": data, "allowed": serving.config.training, **choices})


@router.post("/archives", status_code=201)
async def archive(request: Request) -> JSONResponse:
    """A zip of pictures, class folders or captions in it as `inkwash train --data` takes them; the answer's name is a `data`."""
    name = await asyncio.to_thread(_lessons(request).keep, await request.body())
    return JSONResponse({"object": "archive", "name": name}, 201)


@router.get("/{id}", name="training")
async def one(request: Request, id: str) -> JSONResponse:
    """A training, with its curve and the addresses of its sample grids."""
    job, lessons = _job(request, id), _lessons(request)
    samples = [str(request.url_for("sample", id=id, name=name)) for name in lessons.samples(job)]
    return JSONResponse(told(request, job, serving_of(request)) | {"curve": lessons.figures(job), "samples": samples})


@router.get("/{id}/samples/{name}", name="sample")
async def sample(request: Request, id: str, name: str) -> Response:
    """A sample grid."""
    return FileResponse(_lessons(request).sample(_job(request, id), name), media_type="image/png")
