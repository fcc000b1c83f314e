"""Reading the log: an auditor's whole, an owner's part. Reading it is logged like any other access, refused or not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import NO_STORE, json_answer
from hub.api.parameters import bbox, interval, only, polygon, record_id, text, whole
from hub.api.services import READ, Services, Shared, authorise, refusals_logged, services
from hub.audit.leaf import By, instant
from hub.audit.log import Entry, Search
from hub.audit.search import DECISIONS
from hub.audit.summary import Group
from hub.errors import Forbidden, InvalidRequest, NotShared

WORDS = ("organisation", "owner", "type", "client", "session", "mou", "grant", "purpose", "case", "dataset")
FILTERS = (*WORDS, "person", "decision", "datetime", "bbox", "polygon", "placeless", "others", "record")
PARAMETERS = (*FILTERS, "before", "limit")
MAX_LIMIT = 1_000
SUMMING_S = 2.0
MAX_ID = 10**11


def events(request: Request) -> Response:
    """Leaves of the log, newest first, exactly as they are stored, each with its leaf hash."""
    called = services(request)
    token, by = authorise(request, "audit")
    given = only(request, PARAMETERS)
    search = replace(
        search_of(given),
        before=whole("before", given["before"], 1, MAX_ID) if "before" in given else None,
        limit=whole("limit", given.get("limit", "100"), 1, MAX_LIMIT),
    )
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)
    search = allowed(called, by, search, given, only_owner, token.purpose)
    return _answer(called, given, search, called.log.find(search))


def summary(request: Request) -> Response:
    """Leaves of the log, counted by who did it and for what, as far as that is done in a short while."""
    called = services(request)
    token, by = authorise(request, "audit")
    given = only(request, FILTERS)
    search = search_of(given)
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)
    search = allowed(called, by, search, given, only_owner, token.purpose, **{"as": "summary"})
    found = called.log.summary(search, SUMMING_S)
    told = {
        "entries": found.entries,
        "complete": found.complete,
        "back_to": found.back_to and instant(found.back_to),
        "by": {name: [_group(group) for group in groups] for name, groups in found.groups.items()},
    }
    return json_answer(told)


def _group(group: Group) -> dict[str, Any]:
    return {"value": group.value, "entries": group.entries, "first": instant(group.first), "last": instant(group.last)}


def trace(request: Request) -> Response:
    """Who gets one record now, under which clauses, and why others don't: for its owner, and for auditors."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = authorise(request, "audit")
    only(request, ())
    record = record_id(request.path_params["id"])
    with refusals_logged(called, token, by):
        owner = called.log.scope_of(token.organisation, token.client_id)
    return Response(traced(called, by, shared, record, owner, called.clock()), 200, NO_STORE, "application/json")


def traced(called: Services, by: By, shared: Shared, record: UUID, owner: str | None, now: datetime) -> bytes:
    """The trace of a record as JSON, for programs and for the page; it is in the log before it is told. `owner` None: an auditor asks.

    Raises:
        NotShared: there is no such record, or it is another owner's.
    """

    def log(decision: str) -> None:
        called.log.record(called.event("audit", by, decision, asked={"as": "trace", "fields": ["record"]}))

    try:
        found = shared.tracing.trace(record, owner, now)
    except NotShared:
        log("absent")
        raise
    log("permit")
    return found


def search_of(given: Mapping[str, str]) -> Search:
    """The filters among `given`, but for the record.

    Raises:
        InvalidRequest: one of them makes no sense; `field` says which.
    """
    since, until = interval(given["datetime"]) if "datetime" in given else (None, None)
    return Search(
        **{name: text(name, given[name]) for name in WORDS if name in given},  # type: ignore[arg-type]
        person=_person(given["person"]) if "person" in given else None,
        decision=one_of("decision", given["decision"], DECISIONS) if "decision" in given else None,
        since=since,
        until=until,
        box=bbox(given["bbox"]) if "bbox" in given else None,
        polygon=polygon(given["polygon"]) if "polygon" in given else None,
        placeless=_yes("placeless", given),
        others=_yes("others", given),
    )


def _yes(name: str, given: Mapping[str, str]) -> bool:
    return one_of(name, given.get(name, "false"), ("true", "false")) == "true"


def _person(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise InvalidRequest("person is the id that the hub gave a person, a UUID.", field="person") from None


def one_of(name: str, given: str, words: Sequence[str]) -> str:
    if given not in words:
        raise InvalidRequest(f"{name} is one of: {', '.join(words)}.", field=name)
    return given


def allowed(
    called: Services,
    by: By,
    search: Search,
    given: Mapping[str, str],
    only_owner: str | None,
    purpose: str | None = None,
    **asked: str,
) -> Search:
    """The search as far as the asking organisation may make it: one that is no auditor reads the leaves about its own data alone
    (`only_owner`). That it is made, or refused, is in the log before it is answered; `asked` is added to what the log says of it.

    Raises:
        Forbidden: it asks about another owner.
        NotShared: it has no such record, or nobody has.
    """

    def log(decision: str, reason: str | None = None) -> None:
        said = {"fields": sorted(given), **asked}
        called.log.record(called.event("audit", by, decision, asked=said, purpose=purpose, reason=reason))

    try:
        search = _narrowed(called, search, given.get("record"), only_owner)
    except Forbidden as error:
        log("refuse", error.detail)
        raise
    except NotShared:
        log("absent")
        raise
    log("permit")
    return search


def _narrowed(called: Services, search: Search, record: str | None, only_owner: str | None) -> Search:
    owner = search.owner or only_owner
    if only_owner is not None and owner != only_owner:
        raise Forbidden("Your organisation may read the leaves about its own data only.")
    if record is None:
        return replace(search, owner=owner)
    wanted = record_id(record)
    revisions = frozenset(n for name in called.datasets for n in called.log.revisions(name, wanted, only_owner))
    if not revisions:
        raise NotShared
    if owner is None:  # leaves about others' data need not be looked at
        owner = next((o for name in called.datasets if (o := called.log.owner_of(name, wanted))), None)
    return replace(search, owner=owner, revisions=revisions)


def _answer(called: Services, given: dict[str, str], search: Search, found: Sequence[Entry]) -> Response:
    links = []
    if len(found) == search.limit:
        asked = urlencode([(n, v) for n, v in given.items() if n != "before"] + [("before", str(found[-1].id))], safe=",:/")
        links.append({"rel": "next", "type": "application/json", "href": f"{called.settings.base_url}/audit/events?{asked}"})
    # The leaf's own text, not a rewritten one: its hash is over these bytes.
    entries = ",".join(f'{{"id":{e.id},"hash":"{e.hash}","leaf":{e.text}}}' for e in found)
    return Response(f'{{"links":{orjson.dumps(links).decode()},"events":[{entries}]}}', 200, NO_STORE, "application/json")


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/audit/events", events, methods=READ)
    routes.add_api_route("/audit/events/summary", summary, methods=READ)
    routes.add_api_route("/collections/{name}/items/{id}/trace", trace, methods=READ)
    return routes
