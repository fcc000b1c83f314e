"""Reading the log: an auditor's whole, an owner's part. Reading it is logged like any other access."""

from dataclasses import replace

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.collections import NO_STORE
from hub.api.parameters import interval, only, record_id, whole
from hub.api.services import Services, authorise, services
from hub.audit.log import Search
from hub.errors import Forbidden, NotShared

MAX_LIMIT = 1_000
MAX_ID = 10**11


def events(request: Request) -> Response:
    """Leaves of the log, newest first, exactly as they are stored, each with its leaf hash."""
    called = services(request)
    token, by = authorise(request, "audit")
    given = only(request, ("datetime", "organisation", "owner", "type", "record", "before", "limit"))
    search = _search(called, given, called.log.scope_of(token.organisation, token.client_id))
    called.log.record(called.event("audit", by, "permit", asked={"fields": sorted(given)}, purpose=token.purpose))
    found = called.log.find(search)
    base = f"{called.settings.base_url}/audit/events"
    links = []
    if len(found) == search.limit:
        rest = "&".join(f"{n}={v}" for n, v in given.items() if n != "before")
        links.append({"rel": "next", "type": "application/json", "href": f"{base}?{rest}{'&' if rest else ''}before={found[-1].id}"})
    # The leaf's own text, not a rewritten one: its hash is over these bytes.
    entries = ",".join(f'{{"id":{e.id},"hash":"{e.hash}","leaf":{e.text}}}' for e in found)
    return Response(f'{{"links":{orjson.dumps(links).decode()},"events":[{entries}]}}', 200, NO_STORE, "application/json")


def _search(called: Services, given: dict[str, str], only_owner: str | None) -> Search:
    since, until = interval(given["datetime"]) if "datetime" in given else (None, None)
    owner = given.get("owner", only_owner)
    if only_owner is not None and owner != only_owner:
        raise Forbidden("Your organisation may read the leaves about its own data only.")
    search = Search(
        owner=owner,
        organisation=given.get("organisation"),
        type=given.get("type"),
        since=since,
        until=until,
        before=whole("before", given["before"], 1, MAX_ID) if "before" in given else None,
        limit=whole("limit", given.get("limit", "100"), 1, MAX_LIMIT),
    )
    if "record" not in given:
        return search
    wanted = record_id(given["record"])
    revisions = frozenset(n for name in called.datasets for n in called.log.revisions(name, wanted, only_owner))
    if not revisions:
        raise NotShared
    return replace(search, revisions=revisions)


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/audit/events", events, methods=["GET"])
    return routes
