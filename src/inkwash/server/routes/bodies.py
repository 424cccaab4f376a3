"""Bodies of requests: JSON, or a form with files, under the names that clients use."""

import asyncio
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from inkwash.core.errors import DataError
from inkwash.server.errors import ApiError, invalid
from inkwash.server.protocol import read, read_form, read_json
from inkwash.server.store import from_data_url

T = TypeVar("T", bound=BaseModel)
FILES, FIELDS = 20, 100  # of one form, at most
LONG = 1 << 18  # bytes of JSON that others do not wait for


class Pictures(dict[str, list[bytes]]):
    """Files of a request by name."""

    def first(self, name: str) -> bytes | None:
        return self[name][0] if self.get(name) else None


async def json_body(request: Request, kind: type[T]) -> T:
    """The fields of a JSON body. Raises ApiError."""
    return read(kind, await _json(request))


async def _json(request: Request) -> Any:
    """Raises ApiError for what is not JSON."""
    body = await request.body()
    return await asyncio.to_thread(read_json, body) if len(body) > LONG else read_json(body)


async def body_with_pictures(request: Request, kind: type[T], names: tuple[str, ...]) -> tuple[T, Pictures]:
    """The fields and the pictures of a form, or of a JSON body with data: URLs. Raises ApiError."""
    content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content == "application/json":
        return _from_json(await _json(request), kind, names, request.app.state.config.limits.body)
    if content not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise ApiError(415, "Send pictures as multipart/form-data, or as data: URLs in application/json.", "unsupported_media_type")
    try:
        async with request.form(max_files=FILES, max_fields=FIELDS, max_part_size=1 << 20) as form:
            fields: dict[str, str] = {}
            pictures = Pictures()
            for key, value in form.multi_items():
                name = key.removesuffix("[]")
                if isinstance(value, UploadFile):
                    if name not in names:
                        raise invalid(f"Unknown parameter: {key[:100]!r}.", key[:100], "unknown_parameter")
                    pictures.setdefault(name, []).append(await value.read())
                elif name in names:  # a field where a file should be
                    pictures.setdefault(name, []).append(_url(value, name, request.app.state.config.limits.body))
                else:
                    fields[key] = value
    except (MultiPartException, HTTPException) as error:
        said = getattr(error, "detail", None) or getattr(error, "message", None) or "it cannot be read"
        raise ApiError(400, f"The form is broken: {said}.", "invalid_form") from None
    return read_form(kind, fields), pictures


def _from_json(values: Any, kind: type[T], names: tuple[str, ...], most: int) -> tuple[T, Pictures]:
    """Pictures are data: URLs, or {"image_url": one}, or lists of them, "images" for "image" among them."""
    if not isinstance(values, dict):
        raise invalid("The body is not a JSON object.", code="invalid_json")
    pictures, fields = Pictures(), {}
    for key, value in values.items():
        name = "image" if key == "images" and "image" in names else key
        if name not in names:
            fields[key] = value
            continue
        for part in value if isinstance(value, list) else [value]:
            if part is not None:
                pictures.setdefault(name, []).append(_url(part, name, most))
    return read(kind, fields), pictures


def _url(value: Any, name: str, most: int) -> bytes:
    url = value.get("image_url") if isinstance(value, dict) else value
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str):
        raise invalid(f"The {name} is not a data: URL.", name, "invalid_image")
    try:
        return from_data_url(url, most, name)
    except DataError as error:
        raise invalid(str(error), name, "invalid_image") from None
