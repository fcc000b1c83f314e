"""What maps need beside pages of records: an area as a map shows it, and why one record looks as it does."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import JSON
from hub.api.parameters import map_query, only, record_id
from hub.api.receipts import receipt
from hub.api.services import READ, authorise, reader_of, refusals_logged, services

HEADERS = {"Cache-Control": "no-store"}


def area(request: Request) -> Response:
    """The records of an area at their released places; of too many of them counts per cell."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = authorise(request, "query")
    query = map_query(request, shared.dataset)
    with refusals_logged(called, token, by):
        found = shared.querying.map(reader_of(token, by), query)
    return Response(found.json, 200, HEADERS | receipt(found.signed), JSON)


def explain(request: Request) -> Response:
    """One record, how each of its fields is released, and under which agreements. Absent and not shared are one answer."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = authorise(request, "query")
    only(request, ())
    with refusals_logged(called, token, by):
        one = shared.querying.explained(reader_of(token, by), record_id(request.path_params["id"]))
    return Response(one.json, 200, HEADERS | receipt(one.signed), JSON)


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/collections/{name}/map", area, methods=READ)
    routes.add_api_route("/collections/{name}/items/{id}/explain", explain, methods=READ)
    return routes
