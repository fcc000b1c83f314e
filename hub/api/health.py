"""Is the process alive, can it serve. Neither touches anybody's data, so neither is logged."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import NO_STORE, json_answer
from hub.api.services import READ, services


async def healthz(_request: Request) -> Response:
    """The process runs; asks nothing of any database, so that a hung one does not freeze it."""
    return Response(b'{"status":"ok"}', 200, NO_STORE, "application/json")


def readyz(request: Request) -> Response:
    """Both databases answer and have the version this hub needs; 503 otherwise."""
    services(request).ready()
    return json_answer({"status": "ready"})


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/healthz", healthz, methods=READ)
    routes.add_api_route("/readyz", readyz, methods=READ)
    return routes
