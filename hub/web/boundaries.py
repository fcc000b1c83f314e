"""Areas drawn on maps for orientation: the operator's file (HUB_BOUNDARIES_FILE), for whoever is signed in."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import NoSuchResource
from hub.web.shell import HEADERS, Pages, visit_of

MAX_BYTES = 20_000_000


def boundaries(request: Request) -> Response:
    """The file as it is, once it has been seen to be a FeatureCollection."""
    visit = visit_of(request)
    path = visit.called.settings.boundaries_file
    if path is None or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise NoSuchResource("This hub has no boundaries of its own.")
    content = path.read_bytes()
    try:
        usable = orjson.loads(content)["type"] == "FeatureCollection"
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise NoSuchResource("The hub's file of boundaries can't be read; tell its operator.")
    return Response(content, 200, {**HEADERS, "Cache-Control": "private, max-age=600"}, "application/geo+json")


def pages() -> Pages:
    routes = Pages()
    routes.get("/boundaries.json", boundaries)
    return routes
