"""Duties over HTTP: recalls and answers to them, what was delivered and until when it may be kept, attestations of destruction. For a
party's program with the scope `agreements` (hub/agreements/recalls.py).
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, StringConstraints
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from hub.agreements.recalls import ABSENT
from hub.api.agreements import Asked, Body, asking, members_of
from hub.api.answers import JSON, json_answer
from hub.api.parameters import record_id
from hub.api.services import READ
from hub.errors import InvalidRequest, NoSuchResource
from hub.policy.mou import NAME
from hub.records import Time

SIDE = "recipient"


class Answer(Body):
    """What the recipient did with its copies."""

    answer: Literal["corrected", "destroyed", "not-held"]


class Attestation(Body):
    """That all that was given under an MOU until then is destroyed, and how; the provider reads it in its log."""

    mou: Annotated[str, StringConstraints(pattern=NAME)]
    until: Annotated[Time, Field(strict=False)]
    statement: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


async def recalls(request: Request) -> Response:
    """Recalls to the organisation, or of its own records (`as=provider`); `state`: open, overdue or all; `after`: the last one of the page
    before.
    """
    asked = await asking(request, parameters=("as", "state", "after"))
    given = request.query_params
    found = await asked.run(asked.called.recalls.notices, asked.actor, given.get("as", SIDE), given.get("state", "open"), _after(given))
    now = asked.called.clock()
    return await _read(asked, "recalls", [r.told(now) for r in found])


async def acknowledge(request: Request) -> Response:
    """The recipient answers a recall."""
    asked = await asking(request, 1_000, (JSON,))
    answer = members_of(Answer, asked.body).answer
    found = await asked.run(asked.called.recalls.acknowledge, asked.actor, _recall(request), answer)
    return json_answer(found.told(asked.called.clock()))


async def held(request: Request) -> Response:
    """What the organisation was given under duties and still holds, by MOU; or what others hold of its own records (`as=provider`)."""
    asked = await asking(request, parameters=("as",))
    return await _read(asked, "held", await asked.run(asked.called.recalls.held, asked.actor, request.query_params.get("as", SIDE)))


async def deliveries(request: Request) -> Response:
    """Each delivery of a record under a duty: to the organisation, or of its own record."""
    asked = await asking(request)
    number = asked.called.shared(request.path_params["name"]).dataset.number
    found = await asked.run(asked.called.recalls.deliveries, asked.actor, number, record_id(request.path_params["id"]))
    return await _read(asked, "deliveries", found)


async def attest(request: Request) -> Response:
    """The recipient attests that it destroyed what it was given under an MOU."""
    asked = await asking(request, 20_000, (JSON,))
    said = members_of(Attestation, asked.body)
    return json_answer(await asked.run(asked.called.recalls.attest, asked.actor, said.mou, said.until, said.statement))


def _after(given: QueryParams) -> UUID | None:
    try:
        return UUID(given["after"]) if "after" in given else None
    except ValueError:
        raise InvalidRequest("after is the id of a recall.", field="after") from None


def _recall(request: Request) -> UUID:
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise NoSuchResource(ABSENT) from None


async def _read(asked: Asked, what: str, found: list[dict[str, Any]]) -> Response:
    """The answer, once it is in the log that it was read."""
    await asked.run(asked.called.log.record, asked.called.event("duty", asked.by, "permit", asked={"step": f"{what} read"}))
    return json_answer({what: found})


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/recalls", recalls, methods=READ)
    routes.add_api_route("/recalls/{id}/acknowledgement", acknowledge, methods=["POST"])
    routes.add_api_route("/deliveries", held, methods=READ)
    routes.add_api_route("/collections/{name}/items/{id}/deliveries", deliveries, methods=READ)
    routes.add_api_route("/attestations", attest, methods=["POST"])
    return routes
