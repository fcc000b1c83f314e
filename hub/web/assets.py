"""Static files: the hub's own, and the vendored ones that set-up makes (hub/web/static/vendor, not in the repository)."""

import mimetypes
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from hub.errors import NoSuchResource
from hub.web.shell import Pages
from hub.web.templating import STATIC

TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".svg": "image/svg+xml",
}


def serve(request: Request) -> Response:
    """A file by its name below the folder; none outside it."""
    path = _file(request.path_params["path"])
    if path is None:
        raise NoSuchResource("The hub has no such file.")
    media = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    kept = "public, max-age=31536000, immutable" if "v" in request.query_params else "public, max-age=300"
    return FileResponse(path, media_type=media, headers={"Cache-Control": kept, "X-Content-Type-Options": "nosniff"})


@cache
def _files() -> frozenset[str]:
    return frozenset(p.relative_to(STATIC).as_posix() for p in STATIC.rglob("*") if p.is_file())


def _file(name: str) -> Path | None:
    return STATIC / name if name in _files() else None


def pages() -> Pages:
    routes = Pages()
    routes.get("/assets/{path:path}", serve)
    return routes
