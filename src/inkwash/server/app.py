"""The application: routes behind the guard, the queue's pump beside them, and errors in the API's shape."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from inkwash import __version__
from inkwash.server.errors import ApiError, invalid
from inkwash.server.guard import HEADERS, LOCAL, Guard, bracketed
from inkwash.server.metrics import Metrics
from inkwash.server.protocol import Refusal
from inkwash.server.routes import grids, images, jobs, page, training
from inkwash.server.serving import Serving
from inkwash.server.settings import ServerConfig

log = logging.getLogger("inkwash.server")
TIDY = 600.0  # seconds between two rounds of tidying
ROUTERS = (images.router, jobs.router, training.router, grids.router, page.router)
REFUSALS = {
    "4XX": {"model": Refusal, "description": "Refused; the message says why"},
    "5XX": {"model": Refusal, "description": "Not done, through no fault of the request"},
}
CODES = {404: "not_found", 405: "method_not_allowed"}


def make_app(config: ServerConfig, key: str | None = None, health_of: Callable[[], str] | None = None) -> FastAPI:
    """The server of a folder whose worker runs in a process of its own. health_of: what tells how that is."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(app.state.serving.pump()), asyncio.create_task(_tidying(app.state.serving))]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    places = {"docs_url": None, "redoc_url": None, "openapi_url": "/v1/openapi.json"}
    app = FastAPI(title="Inkwash", version=__version__, lifespan=life, responses=REFUSALS, **places)
    app.state.config, app.state.serving, app.state.metrics = config, Serving(config), Metrics()
    app.state.health = health_of or (lambda: "ok" if app.state.serving.queue.models() else "loading")
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route("/healthz", health, methods=["GET"], tags=["owner"])
    app.add_api_route("/metrics", metrics, methods=["GET"], tags=["owner"], response_class=PlainTextResponse)
    app.add_exception_handler(ApiError, _told)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(Guard, hosts=(*LOCAL, *map(bracketed, (config.host, *config.hosts))), key=key, most=config.limits.body)
    app.add_middleware(Counting)  # around the guard: what it refuses counts too
    return app


async def _tidying(serving: Serving) -> None:
    while True:
        try:
            await serving.tidy()
        except Exception:  # a full disk, a locked database: the next round may do better
            log.exception("Tidying up failed; it is tried again in %.0f s.", TIDY)
        await asyncio.sleep(TIDY)


async def health(request: Request) -> JSONResponse:
    """Whether the worker is there."""
    state = request.app.state.health()
    return JSONResponse({"status": state, "version": __version__}, 200 if state == "ok" else 503)


async def metrics(request: Request) -> PlainTextResponse:
    """Counts for Prometheus."""
    return PlainTextResponse(request.app.state.metrics.text(request.app.state.serving.queue), media_type="text/plain; version=0.0.4")


async def _told(request: Request, error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    said = ApiError(
        error.status_code, f"{request.method} {request.url.path[:200]}: {str(error.detail).lower()}.", CODES.get(error.status_code)
    )
    allowed = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else {}
    return JSONResponse(said.body(), error.status_code, headers={**(error.headers or {}), **allowed})


def _methods(request: Request) -> list[str]:
    """Of all routes with the path of a request; the framework names those of the first."""
    routes = [route for router in (request.app, *ROUTERS) for route in router.routes if isinstance(route, Route)]
    there = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in there for method in route.methods or ()})


async def _unfit(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    said = invalid(f"Invalid value for {name!r}: {first['msg'][0].lower()}{first['msg'][1:]}.", name)
    return JSONResponse(said.body(), said.status)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    said = ApiError(500, "The server failed; its log says more.", "internal_error", headers={"x-should-retry": "false"})
    return JSONResponse(said.body(), said.status, headers=HEADERS | said.headers)


class Counting:
    """Counts answers by path and status."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        begun = False

        def count(status: int) -> None:
            nonlocal begun
            begun = True
            scope["app"].state.metrics.count(getattr(scope.get("route"), "path", "other"), status)

        async def sending(message: dict) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            if not begun:  # answered with 500 further out
                count(500)
            raise
