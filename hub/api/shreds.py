"""Destroying records of one's own for good, and legal holds that forbid it (hub/sharing/shredding.py)."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import Field, StringConstraints, model_validator
from starlette.requests import Request
from starlette.responses import Response

from hub.api.agreements import Body, members_of
from hub.api.answers import JSON, json_answer
from hub.api.parameters import only, record_id
from hub.api.publish import Writing, absence_logged, answered, body_of, writing
from hub.api.services import READ
from hub.errors import NoSuchResource
from hub.records import Time
from hub.sharing.holds import Hold
from hub.sharing.replies import Reply
from hub.sharing.shredding import AT_ONCE, Shred

Reference = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Id = Annotated[UUID, Field(strict=False)]
When = Annotated[Time, Field(strict=False)]
Keep = Callable[[Any, dict[str, Any]], None]
"""Keeps a reply, within the transaction of what it tells."""


class Order(Body):
    """What is to be destroyed: records by their ids, or what occurred before a time, 1,000 at once."""

    records: Annotated[list[Id], Field(min_length=1, max_length=AT_ONCE)] | None = None
    occurred_before: When | None = None
    reference: Reference | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> "Order":
        if (self.records is None) == (self.occurred_before is None):
            raise ValueError("say either records or occurred_before")
        return self


class Holding(Body):
    """What a legal hold keeps: one record, or what occurred within a period; without either everything."""

    reference: Reference
    record: Id | None = None
    since: Annotated[When | None, Field(alias="from")] = None
    until: When | None = None

    @model_validator(mode="after")
    def _one_or_many(self) -> "Holding":
        if self.record is not None and (self.since or self.until):
            raise ValueError("say a record or a period, not both")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("the period ends before it begins")
        return self


async def shred(request: Request) -> Response:
    """Destroys records; at once they are absent to everybody, their keys go within seconds."""
    write = await writing(request)
    body = await body_of(request, write, (JSON,))
    order, shredding = members_of(Order, body), write.shared.shredding

    def run(finish: Keep | None) -> dict[str, Any]:
        rule = {} if order.occurred_before is None else _matching(write, order.occurred_before)
        records = order.records or rule.pop("ids")
        if order.dry_run or not records:
            return {"records": len(set(records)), "dry_run": order.dry_run, **rule}
        kind, keep = "request" if order.records else "rule", finish or _nothing
        with absence_logged(write, "shred"):
            made = shredding.shred(write.publisher, records, order.reference, kind, lambda tx, one: keep(tx, one.told() | rule))
        return made.told() | rule

    return await answered(request, write, body, run, lambda told: Reply(202 if "state" in told else 200, {}, orjson.dumps(told)))


def _nothing(_tx: object, _told: object) -> None:
    """Nothing is kept of a request without a key."""


def _matching(write: Writing, before: datetime) -> dict[str, Any]:
    ids, held = write.shared.shredding.matching(write.publisher, before)
    return {"ids": ids, "held": held, "more": len(ids) == AT_ONCE}


async def shreds(request: Request) -> Response:
    """The organisation's orders, newest first, and how far each is."""
    write = await _looking(request)
    found: list[Shred] = await run_in_threadpool(write.shared.shredding.recent, write.publisher)
    return json_answer({"shreds": [one.told() for one in found]})


async def one_shred(request: Request) -> Response:
    """One order, and how far it is."""
    write = await _looking(request)
    text = request.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NoSuchResource("Your organisation gave no such order.")
    return json_answer((await run_in_threadpool(write.shared.shredding.get, write.publisher, int(text))).told())


async def hold(request: Request) -> Response:
    """Places a legal hold: what it keeps can't be destroyed, by request, by rule or by the end of its retention."""
    write = await writing(request)
    body = await body_of(request, write, (JSON,))
    said = members_of(Holding, body)

    def run(finish: Callable[[Any, Hold], None] | None) -> Hold:
        with absence_logged(write, "hold"):
            return write.shared.holds.place(write.publisher, said.reference, said.record, said.since, said.until, finish)

    return await answered(request, write, body, run, lambda one: Reply(201, {}, orjson.dumps(one.told())))


async def holds(request: Request) -> Response:
    """The organisation's holds: those in force, then those released."""
    write = await _looking(request)
    found: list[Hold] = await run_in_threadpool(write.shared.holds.all, write.publisher)
    return json_answer({"holds": [one.told() for one in found]})


async def release(request: Request) -> Response:
    """Releases a hold."""
    write = await writing(request)
    body = await body_of(request, write, ())
    number = record_id(request.path_params["id"])
    return await answered(
        request,
        write,
        body,
        lambda finish: write.shared.holds.release(write.publisher, number, finish),
        lambda one: Reply(200, {}, orjson.dumps(one.told())),
    )


async def _looking(request: Request) -> Writing:
    only(request, ())
    return await writing(request)


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/collections/{name}/shreds", shred, methods=["POST"])
    routes.add_api_route("/collections/{name}/shreds", shreds, methods=READ)
    routes.add_api_route("/collections/{name}/shreds/{id}", one_shred, methods=READ)
    routes.add_api_route("/collections/{name}/holds", hold, methods=["POST"])
    routes.add_api_route("/collections/{name}/holds", holds, methods=READ)
    routes.add_api_route("/collections/{name}/holds/{id}", release, methods=["DELETE"])
    return routes
