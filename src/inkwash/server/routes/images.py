"""The Images API, and our own verbs beside it."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from inkwash.server.protocol import Captioning, Edition, Enlargement, Generation, Styling, Variation
from inkwash.server.routes.answers import answer
from inkwash.server.routes.bodies import body_with_pictures, json_body
from inkwash.server.serving import Serving

LOADING = 20.0  # seconds that a request waits for the models, before it is told that they are being loaded


async def loaded(request: Request) -> None:
    """A request that comes while a server starts waits a moment."""
    end = time.monotonic() + LOADING
    while not serving_of(request).queue.models() and time.monotonic() < end:
        await asyncio.sleep(0.05)


router = APIRouter(prefix="/v1/images", tags=["images"], dependencies=[Depends(loaded)])
PICTURE = {"type": "string", "format": "binary"}


def document(kind: type[BaseModel], *files: str, many: str | None = None) -> dict[str, Any]:
    """What the OpenAPI document says of a request's body."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    if not files:
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    form = schema | {
        "properties": {**schema["properties"], **dict.fromkeys(files, PICTURE)},
        "required": [*schema.get("required", []), files[0]],
    }
    if many:
        form["properties"] |= {f"{many}[]": {"type": "array", "items": PICTURE}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def serving_of(request: Request) -> Serving:
    return request.app.state.serving


def repeat_of(request: Request) -> str | None:
    """The name that a client gave this request, so that sending it twice makes one job. Each address has names of its own."""
    key = request.headers.get("idempotency-key")
    return f"{request.url.path} {key[:200]}" if key else None


@router.post("/generations", openapi_extra=document(Generation))
async def generations(request: Request) -> Response:
    """Pictures of a prompt."""
    asked = await json_body(request, Generation)
    job = serving_of(request).generate(asked, repeat_of(request))
    return await answer(request, serving_of(request), job, asked)


@router.post("/edits", openapi_extra=document(Edition, "image", "mask", many="image"))
async def edits(request: Request) -> Response:
    """Pictures made of a picture: where its mask is transparent, or all over."""
    asked, files = await body_with_pictures(request, Edition, ("image", "mask"))
    job = await serving_of(request).edit(asked, files.get("image", []), files.first("mask"), repeat_of(request))
    return await answer(request, serving_of(request), job, asked)


@router.post("/variations", openapi_extra=document(Variation, "image"))
async def variations(request: Request) -> Response:
    """Pictures like a picture."""
    asked, files = await body_with_pictures(request, Variation, ("image",))
    job = await serving_of(request).vary(asked, files.first("image"), repeat_of(request))
    return await answer(request, serving_of(request), job, asked)


@router.post("/captions", openapi_extra=document(Captioning, "image"))
async def captions(request: Request) -> Response:
    """What is in a picture."""
    asked, files = await body_with_pictures(request, Captioning, ("image",))
    job = await serving_of(request).caption(asked, files.first("image"), repeat_of(request))
    return await answer(request, serving_of(request), job, asked)


@router.post("/upscales", openapi_extra=document(Enlargement, "image"))
async def upscales(request: Request) -> Response:
    """A picture made larger."""
    asked, files = await body_with_pictures(request, Enlargement, ("image",))
    job = await serving_of(request).upscale(asked, files.first("image"), repeat_of(request))
    return await answer(request, serving_of(request), job, asked)


@router.post("/styles", openapi_extra=document(Styling, "image", "painting"))
async def styles(request: Request) -> Response:
    """A photograph in the style of a painting."""
    asked, files = await body_with_pictures(request, Styling, ("image", "painting"))
    job = await serving_of(request).style(asked, files.first("image"), files.first("painting"), repeat_of(request))
    return await answer(request, serving_of(request), job, asked)
