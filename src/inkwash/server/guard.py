"""What every request passes before a route sees it: whom it calls the server, its key, and the size of its body. Plain ASGI."""

import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from inkwash.server.errors import ApiError

Scope = MutableMapping[str, Any]
OPEN = re.compile(r"/|/healthz|/page/[\w./-]*|/v1/files/[A-Za-z0-9_-]{32}\.\w+|/favicon\.ico")  # without a key
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def bracketed(host: str) -> str:
    """A host as a URL has it: addresses of IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


class Guard:
    """hosts: names that a request may call the server by, any where empty. key: that requests must bring. most: bytes of a body."""

    def __init__(self, app: Callable, hosts: tuple[str, ...], key: str | None, most: int):
        self.app, self.hosts, self.key, self.most = app, {h.lower() for h in hosts}, key, most

    async def __call__(self, scope: Scope, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        error = self._refused(scope, headers)
        if error is not None:
            return await JSONResponse(error.body(), error.status, headers=HEADERS | error.headers)(scope, receive, send)
        await self.app(scope, self._limited(receive), _with_headers(send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> ApiError | None:
        host = headers.get("host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts and name not in self.hosts:
            return ApiError(403, "This server is not called by that name; its owner can allow it with --allow-host.", "bad_host")
        if self.key is not None and not OPEN.fullmatch(scope["path"]):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key.encode()):
                said = "There is no API key in the request" if not given else "The API key is wrong"
                return ApiError(
                    401, f"{said}: send it as 'Authorization: Bearer KEY'.", "invalid_api_key", headers={"WWW-Authenticate": "Bearer"}
                )
        origin = headers.get("origin")
        if origin and self.key is None and scope["method"] not in ("GET", "HEAD", "OPTIONS") and origin.partition("//")[2].lower() != host:
            return ApiError(403, "Pages of other sites may not use a server without a key.", "bad_origin")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.most:
            return ApiError(413, f"The request is larger than {self.most} bytes.", "request_too_large")
        return None

    def _limited(self, receive: Callable[[], Awaitable[dict]]) -> Callable[[], Awaitable[dict]]:
        """Of a body that did not say how long it is, no more than that either."""
        got = 0

        async def limited() -> dict:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self.most:
                raise ApiError(413, f"The request is larger than {self.most} bytes.", "request_too_large")
            return message

        return limited


def _with_headers(send: Callable) -> Callable:
    async def sending(message: dict) -> None:
        if message["type"] == "http.response.start":
            known = {k.lower() for k, _ in message["headers"]}
            more = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items() if k.lower().encode() not in known]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending
