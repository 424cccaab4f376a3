"""Grids over settings."""

import io

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from inkwash.server.plots import Plot, Plots
from inkwash.server.protocol import Generation, read_json
from inkwash.server.queue import DONE, STATES
from inkwash.server.routes.answers import address
from inkwash.server.routes.images import document, serving_of

router = APIRouter(prefix="/v1/grids", tags=["grids"])


def _plots(request: Request) -> Plots:
    return Plots(serving_of(request))


def _told(request: Request, plots: Plots, plot: Plot) -> dict:
    counts, cells = dict.fromkeys([*STATES, "removed"], 0), []
    for place, job in plots.jobs(plot).items():
        state = job.state if job else "removed"
        counts[state] += 1
        made = job.result["pictures"][0] if job and job.state == DONE else None
        x, y, z = map(int, place.split("-"))
        cells.append({"x": x, "y": y, "z": z, "job": plot.jobs[place], "state": state, "url": made and address(request, made["file"])})
    axes = {key: {"name": a.name, "values": list(a.values)} for key, a in zip("xyz", plot.axes)}
    return {"id": plot.id, "object": "grid", "created": plot.created, "axes": axes, "counts": counts, "cells": cells}


@router.post("", status_code=202, openapi_extra=document(Generation))
async def begin(request: Request) -> JSONResponse:
    """A picture for each combination of the values of "axes"; the other fields are those of a generation."""
    plots = _plots(request)
    return JSONResponse(_told(request, plots, plots.begin(read_json(await request.body()))), 202)


@router.get("")
async def listed(request: Request) -> JSONResponse:
    """The latest first."""
    plots = _plots(request)
    return JSONResponse({"object": "list", "data": [_told(request, plots, plot) for plot in plots.latest()]})


@router.get("/{id}")
async def one(request: Request, id: str) -> JSONResponse:
    """A grid, with the state of each of its cells."""
    plots = _plots(request)
    return JSONResponse(_told(request, plots, plots.get(id)))


@router.post("/{id}/cancel")
async def cancel(request: Request, id: str) -> JSONResponse:
    """Stop what is not done."""
    plots = _plots(request)
    plots.cancel(plots.get(id))
    return JSONResponse(_told(request, plots, plots.get(id)))


@router.post("/{id}/resume")
async def resume(request: Request, id: str) -> JSONResponse:
    """Queue what ended without a picture again."""
    plots = _plots(request)
    plots.resume(plots.get(id))
    return JSONResponse(_told(request, plots, plots.get(id)))


@router.get("/{id}/picture")
async def picture(request: Request, id: str) -> Response:
    """The labelled sheets as they are now, a PNG."""
    plots, out = _plots(request), io.BytesIO()
    plots.picture(plots.get(id)).save(out, "PNG")
    return Response(out.getvalue(), media_type="image/png", headers={"Cache-Control": "no-store"})
