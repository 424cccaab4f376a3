"""The page at / and its files at /page/: those that ship with the package, by an exact list, behind a policy that lets nothing else in."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from inkwash.server.errors import ApiError

router = APIRouter(tags=["page"], include_in_schema=False)
FOLDER = Path(__file__).parents[1] / "page"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
FILES = {p.name: p for p in FOLDER.iterdir() if p.suffix in TYPES}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def _file(request: Request, path: Path) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}  # kept, but asked for anew: the server may be a newer one
    answer = FileResponse(path, media_type=f"{TYPES[path.suffix]}; charset=utf-8", headers=headers, stat_result=path.stat())
    if request.headers.get("if-none-match") == answer.headers["etag"]:
        return Response(status_code=304, headers=headers | {"ETag": answer.headers["etag"]})
    return answer


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _file(request, FILES["index.html"])


@router.get("/page/{name}")
async def part(request: Request, name: str) -> Response:
    """Its scripts, its style, its icon."""
    if name not in FILES or name == "index.html":
        raise ApiError(404, "The page has no such file.", "not_found")
    return _file(request, FILES[name])
