"""Exact lookups over HTTP (hub/sharing/match.py)."""

from typing import Annotated

import orjson
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from hub.api.agreements import Body, members_of
from hub.api.answers import JSON
from hub.api.bodies import check_encoding, read_body
from hub.api.parameters import only
from hub.api.receipts import receipt
from hub.api.services import authorise, reader_of, refusals_logged, services
from hub.crypto.keys import Lookup
from hub.errors import InvalidRequest, WrongMediaType
from hub.normalised import MAX_TEXT, MEMBERS
from hub.records import Record

MAX_BODY = 10_000
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


class Question(Body):
    """One value of one field: `value` of a phone, `plate` of a vehicle, `name` and `birth_date` of a person."""

    field: Text
    value: Text | None = None
    plate: Text | None = None
    name: Text | None = None
    birth_date: Text | None = None


async def match(request: Request) -> Response:
    """Whether the value occurs in what the reader's agreements let it ask about; and what they show of the records in which it does."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = await run_in_threadpool(authorise, request, "query")
    only(request, ())
    check_encoding(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != JSON:
        raise WrongMediaType(f"Send {JSON}.", field="Content-Type")
    lookup = _lookup(shared.dataset, members_of(Question, await read_body(request, MAX_BODY)))

    def ask() -> Response:
        with refusals_logged(called, token, by):
            found = shared.matching.match(reader_of(token, by), lookup)
        head = orjson.dumps({"match": found.match, "providers": list(found.providers)})
        body = head[:-1] + b',"records":[' + ",".join(found.features).encode() + b"]}"
        return Response(body, 200, {"Cache-Control": "no-store"} | receipt(found.signed), JSON)

    return await run_in_threadpool(ask)


def _lookup(dataset: type[Record], question: Question) -> Lookup:
    """Raises InvalidRequest: there is no such field to look up, or what is said isn't what it is looked up by."""
    fields = {f.name: f for f in dataset.matchable()}
    field = fields.get(question.field)
    if field is None or field.matched is None:
        raise InvalidRequest(f"field is one of {', '.join(fields)}.", field="field")
    said = {name: text for name, text in question.model_dump(exclude={"field"}).items() if text is not None}
    members = MEMBERS[field.matched]
    for name in (*members, *said):
        if (name in said) != (name in members):
            raise InvalidRequest(f"{field.name} is looked up by {' and '.join(members)}, no more and no less.", field=name)
    return Lookup(dataset.number, field.number, said)


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/collections/{name}/match", match, methods=["POST"])
    return routes
