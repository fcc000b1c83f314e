"""Reading the log: an auditor's whole, an owner's part. Reading it is logged like any other access, refused or not."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.collections import NO_STORE
from hub.api.parameters import interval, only, record_id, text, whole
from hub.api.services import READ, Services, authorise, refusals_logged, services
from hub.audit.log import Entry, Search
from hub.errors import Forbidden, NotShared

PARAMETERS = ("datetime", "organisation", "owner", "type", "record", "before", "limit")
MAX_LIMIT = 1_000
MAX_ID = 10**11


def events(request: Request) -> Response:
    """Leaves of the log, newest first, exactly as they are stored, each with its leaf hash."""
    called = services(request)
    token, by = authorise(request, "audit")
    given = only(request, PARAMETERS)
    search = _search(given)
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)

    def log(decision: str, reason: str | None = None) -> None:
        asked = {"fields": sorted(given)}
        called.log.record(called.event("audit", by, decision, asked=asked, purpose=token.purpose, reason=reason))

    try:
        search = _narrowed(called, search, given.get("record"), only_owner)
    except Forbidden as error:
        log("refuse", error.detail)
        raise
    except NotShared:
        log("absent")
        raise
    log("permit")
    return _answer(called, given, search, called.log.find(search))


def _search(given: dict[str, str]) -> Search:
    since, until = interval(given["datetime"]) if "datetime" in given else (None, None)
    return Search(
        **{name: text(name, given[name]) for name in ("organisation", "owner", "type") if name in given},  # type: ignore[arg-type]
        since=since,
        until=until,
        before=whole("before", given["before"], 1, MAX_ID) if "before" in given else None,
        limit=whole("limit", given.get("limit", "100"), 1, MAX_LIMIT),
    )


def _narrowed(called: Services, search: Search, record: str | None, only_owner: str | None) -> Search:
    """The search as far as the asking organisation may make it: one that is no auditor reads the leaves about its own data alone.

    Raises:
        Forbidden: it asks about another owner.
        NotShared: it has no such record, or nobody has.
    """
    owner = search.owner or only_owner
    if only_owner is not None and owner != only_owner:
        raise Forbidden("Your organisation may read the leaves about its own data only.")
    if record is None:
        return replace(search, owner=owner)
    wanted = record_id(record)
    revisions = frozenset(n for name in called.datasets for n in called.log.revisions(name, wanted, only_owner))
    if not revisions:
        raise NotShared
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
    return routes
