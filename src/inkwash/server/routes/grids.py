"""Grids over settings."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from inkwash.inference.axes import AXES
from inkwash.server.plots import Plot, Plots
from inkwash.server.protocol import Generation, read_json
from inkwash.server.queue import DONE, STATES, Job
from inkwash.server.routes.answers import QUIET, Before, Limit, address, beating, event
from inkwash.server.routes.images import document, repeat_of, serving_of

router = APIRouter(prefix="/v1/grids", tags=["grids"])


def _plots(request: Request) -> Plots:
    return Plots(serving_of(request))


def _cells(request: Request, plot: Plot, jobs: dict[str, Job]) -> list[dict[str, Any]]:
    """Each place, with its job's state and, once it is there, its picture's address, or why there is none."""
    cells = []
    for place, id in plot.jobs.items():
        job, (x, y, z) = jobs.get(id), map(int, place.split("-"))
        made = job.result["pictures"][0] if job and job.state == DONE else None
        state, error = (job.state, job.error and job.error["message"]) if job else ("removed", None)
        url = made and address(request, made["file"])
        cells.append({"x": x, "y": y, "z": z, "job": id, "state": state, "url": url, "error": error})
    return cells


def _counts(cells: list[dict[str, Any]]) -> dict[str, int]:
    return dict.fromkeys([*STATES, "removed"], 0) | Counter(cell["state"] for cell in cells)


def _told(request: Request, plot: Plot, jobs: dict[str, Job]) -> dict[str, Any]:
    cells = _cells(request, plot, jobs)
    axes = {key: {"name": a.name, "values": list(a.values)} for key, a in zip(AXES, plot.axes)}
    head = {"id": plot.id, "object": "grid", "number": plot.number, "created": plot.created, **_common(jobs), "axes": axes}
    return head | {"counts": _counts(cells), "cells": cells}


def _common(jobs: dict[str, Job]) -> dict[str, str | None]:
    """The model and the prompt, or the class, of all cells; None where they have several."""
    asked = [job.payload["request"] for job in jobs.values()]
    models, prompts = {job.model for job in jobs.values()}, {order.get("prompt") or order.get("label") for order in asked}
    return {name: known.pop() if len(known) == 1 else None for name, known in (("model", models), ("prompt", prompts))}


def _now(request: Request, plots: Plots, plot: Plot) -> dict[str, Any]:
    return _told(request, plot, plots.jobs(plot))


async def _changes(request: Request, plot: Plot) -> AsyncIterator[str]:
    """The grid as it is, then each cell that is not any more what it was."""
    before: list[dict[str, Any]] | None = None
    async for jobs in serving_of(request).follow_all(list(plot.jobs.values())):
        cells = _cells(request, plot, jobs)
        if before is None:
            yield event("grid", _told(request, plot, jobs))
        else:
            for cell in (new for old, new in zip(before, cells) if new != old):
                yield event("cell", cell | {"counts": _counts(cells)})
        before = cells


@router.post("", status_code=202, openapi_extra=document(Generation))
async def begin(request: Request) -> JSONResponse:
    """A picture for each combination of the values of "axes"; the other fields are those of a generation."""
    plots = _plots(request)
    plot = plots.begin(read_json(await request.body()), repeat_of(request))
    return JSONResponse(_now(request, plots, plot), 202, headers={"Location": str(request.url_for("grid", id=plot.id))})


@router.get("")
async def listed(request: Request, before: Before = None, limit: Limit = 50) -> JSONResponse:
    """The latest first."""
    plots = _plots(request)
    page = plots.page(before, limit + 1)  # one more than is told: whether there is another page
    data = [_now(request, plots, plot) for plot in page[:limit]]
    return JSONResponse({"object": "list", "data": data, "more": len(page) > limit})


@router.get("/{id}", name="grid")
async def one(request: Request, id: str) -> JSONResponse:
    """A grid, with the state of each of its cells."""
    plots = _plots(request)
    return JSONResponse(_now(request, plots, plots.get(id)))


@router.delete("/{id}")
async def remove(request: Request, id: str) -> JSONResponse:
    """Take a grid whose cells have ended off the list, with their jobs and pictures."""
    plots = _plots(request)
    plots.remove(plots.get(id))
    return JSONResponse({"id": id, "object": "grid", "deleted": True})


@router.get("/{id}/events")
async def events(request: Request, id: str) -> StreamingResponse:
    """A grid as it is, and its cells as they change, until all have ended."""
    changes = _changes(request, _plots(request).get(id))
    return StreamingResponse(beating(changes), media_type="text/event-stream", headers=QUIET)


@router.post("/{id}/cancel")
async def cancel(request: Request, id: str) -> JSONResponse:
    """Stop what is not done."""
    plots = _plots(request)
    plots.cancel(plots.get(id))
    return JSONResponse(_now(request, plots, plots.get(id)))


@router.post("/{id}/resume")
async def resume(request: Request, id: str) -> JSONResponse:
    """Queue what ended without a picture again."""
    plots = _plots(request)
    plots.resume(plots.get(id))
    return JSONResponse(_now(request, plots, plots.get(id)))


@router.get("/{id}/picture")
async def picture(request: Request, id: str) -> Response:
    """The labelled sheets as they are now, a PNG."""
    plots = _plots(request)
    data = await run_in_threadpool(plots.picture(plots.get(id)))  # seconds, where cells are many: others do not wait for it
    return Response(data, media_type="image/png", headers={"Cache-Control": "no-store"})
