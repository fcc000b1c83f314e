"""Flags over HTTP: an auditor's whole and its triage, an owner's part. Reading them is logged before they are told, triaging them too."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from hub.api.agreements import Body, members_of
from hub.api.answers import JSON, json_answer
from hub.api.audit import MAX_ID, MAX_LIMIT
from hub.api.bodies import check_encoding, read_body
from hub.api.parameters import interval, only, text, whole
from hub.api.services import READ, Services, authorise, refusals_logged, services
from hub.audit.flagged import MAX_NOTE, Flagged, FlagSearch
from hub.audit.flags import DETECTORS, STATES
from hub.audit.leaf import By
from hub.errors import Forbidden, InvalidRequest, NoSuchResource, WrongMediaType

FILTERS = ("state", "kind", "owner", "organisation", "person", "client", "datetime")
PARAMETERS = (*FILTERS, "before", "limit")
MAX_BODY = 20_000


class Triage(Body):
    """What somebody made of a flag, and why."""

    state: Literal["looked-at", "explained", "escalated"]
    note: Annotated[str, StringConstraints(max_length=MAX_NOTE, strip_whitespace=True)] = ""


def flags(request: Request) -> Response:
    """Flags, newest first."""
    called = services(request)
    token, by = authorise(request, "audit")
    given = only(request, PARAMETERS)
    search = search_of(given)
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)
    found = listed(called, by, search, given, only_owner)
    links = []
    if len(found) == search.limit:
        asked = urlencode([(n, v) for n, v in given.items() if n != "before"] + [("before", str(found[-1].id))], safe=",:/")
        links.append({"rel": "next", "type": JSON, "href": f"{called.settings.base_url}/audit/flags?{asked}"})
    return json_answer({"links": links, "flags": [flag.told() for flag in found]})


def flag(request: Request) -> Response:
    """One flag, with what was made of it."""
    called = services(request)
    token, by = authorise(request, "audit")
    only(request, ())
    number = number_of(request)
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)
    found = opened(called, by, number, only_owner)
    return json_answer(_with_history(called, found))


async def triage(request: Request) -> Response:
    """Adds what an auditor makes of a flag."""
    called = services(request)
    token, by = await run_in_threadpool(authorise, request, "audit")
    only(request, ())
    check_encoding(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != JSON:
        raise WrongMediaType(f"Send {JSON}.", field="Content-Type")
    said, number = members_of(Triage, await read_body(request, MAX_BODY)), number_of(request)

    def take() -> Response:
        with refusals_logged(called, token, by):
            only_owner = called.log.scope_of(token.organisation, token.client_id)
        return json_answer(_with_history(called, triaged(called, by, number, only_owner, said.state, said.note)))

    return await run_in_threadpool(take)


def search_of(given: Mapping[str, str]) -> FlagSearch:
    """Raises InvalidRequest: a filter makes no sense; `field` says which."""
    if "person" in given and "client" in given:
        raise InvalidRequest("person and client are not asked for together: a flag is about one of them.", field="client")
    since, until = interval(given["datetime"]) if "datetime" in given else (None, None)
    subject = next((f"{name}:{text(name, given[name])}" for name in ("person", "client") if name in given), None)
    return FlagSearch(
        owner=text("owner", given["owner"]) if "owner" in given else None,
        organisation=text("organisation", given["organisation"]) if "organisation" in given else None,
        subject=subject,
        kind=_one_of("kind", given, tuple(DETECTORS)),
        state=_one_of("state", given, STATES),
        since=since,
        until=until,
        before=whole("before", given["before"], 1, MAX_ID) if "before" in given else None,
        limit=whole("limit", given.get("limit", "100"), 1, MAX_LIMIT),
    )


def _one_of(name: str, given: Mapping[str, str], words: tuple[str, ...]) -> str | None:
    if name in given and given[name] not in words:
        raise InvalidRequest(f"{name} is one of: {', '.join(words)}.", field=name)
    return given.get(name)


def listed(called: Services, by: By, search: FlagSearch, given: Mapping[str, str], only_owner: str | None) -> list[Flagged]:
    """The flags that a search finds, once it is in the log that it was made. `only_owner`: about whose data alone; None: an auditor asks.

    Raises:
        Forbidden: it asks about another owner; logged.
    """
    if only_owner is not None and search.owner not in (None, only_owner):
        why = "Your organisation may read flags about its own data only."
        _log(called, by, "refuse", given, why)
        raise Forbidden(why)
    _log(called, by, "permit", given)
    return called.flags.find(search if only_owner is None else replace(search, owner=only_owner))


def opened(called: Services, by: By, number: int, only_owner: str | None) -> Flagged:
    """One flag, once it is in the log that it is read.

    Raises:
        NoSuchResource: there is none, or it is about another owner's data; logged.
    """
    try:
        found = called.flags.get(number, only_owner)
    except NoSuchResource:
        _log(called, by, "absent", {"flag": ""})
        raise
    _log(called, by, "permit", {"flag": ""})
    return found


def triaged(called: Services, by: By, number: int, only_owner: str | None, state: str, note: str) -> Flagged:
    """The flag with one step more.

    Raises:
        Forbidden: an owner asks; what becomes of a flag is for independent auditors. Logged. NoSuchResource: there is no such flag; logged.
    """
    if only_owner is not None:
        why = "Flags are triaged by independent auditors; your organisation may read those about its own data."
        called.log.record(called.event("flag", by, "refuse", asked={"step": "triaged"}, reason=why))
        raise Forbidden(why)
    opened(called, by, number, None)
    asked = {"step": "triaged", "flag": number, "state": state}
    return called.flags.triage(number, called.event("flag", by, "permit", asked=asked), state, note)


def _log(called: Services, by: By, decision: str, given: Mapping[str, str], reason: str | None = None) -> None:
    called.log.record(called.event("audit", by, decision, asked={"as": "flags", "fields": sorted(given)}, reason=reason))


def number_of(request: Request) -> int:
    """The number of a flag in a path. One that can't be one names no flag."""
    given = request.path_params["id"]
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 12 else 0


def _with_history(called: Services, found: Flagged) -> dict[str, Any]:
    return found.told() | {"history": [step.told() for step in called.flags.history(found.id)]}


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/audit/flags", flags, methods=READ)
    routes.add_api_route("/audit/flags/{id}", flag, methods=READ)
    routes.add_api_route("/audit/flags/{id}/triage", triage, methods=["POST"])
    return routes
