"""Flags for people: an auditor's list with its triage, an owner's list of those about its own data.

They show what `GET /audit/flags` shows, under the same rules, and looking at them is logged in the same way.
"""

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from hub.api.flags import listed, number_of, opened, search_of, triaged
from hub.api.parameters import only
from hub.audit.flagged import TRIAGED, Flagged
from hub.errors import InvalidRequest
from hub.web.audit import READERS, Review, review_of
from hub.web.shell import Pages, Visit, form_of, go, render

ROWS = 50
FILTERS = ("state", "kind", "organisation", "owner")
KINDS = {
    "volume": "Unusually many records",
    "hour": "Unusual hour",
    "area": "Unusual area",
    "purpose": "New purpose",
    "export": "Mass export",
    "refusals": "Refused again and again",
    "walk": "Walk through neighbouring cells",
}
STATES = {"new": "new", "looked-at": "looked at", "explained": "explained", "escalated": "escalated"}
TAGS = {"new": "care", "looked-at": "", "explained": "good", "escalated": "bad"}


def flags(request: Request) -> Response:
    """The flags that one may see, newest first."""
    review = review_of(request, *READERS)
    status, problem, found = 200, None, []
    given: dict[str, str] = {}
    try:
        given = {name: value.strip() for name, value in only(request, (*FILTERS, "before")).items() if value.strip()}
        found = listed(review.visit.called, review.by, replace(search_of(given), limit=ROWS), given, review.only_owner)
    except InvalidRequest as error:
        status, problem = error.status, error.detail
    chosen = {name: value for name, value in given.items() if name != "before"}
    return render(
        request,
        "flags.html",
        review.visit,
        status,
        given=given,
        problem=problem,
        flags=found,
        names=_names(review.visit, found),
        whole=review.only_owner is None,
        organisations=_organisations(review),
        older=f"/flags?{urlencode(chosen | {'before': str(found[-1].id)})}" if len(found) == ROWS else None,
        **WORDS,
    )


def flag(request: Request) -> Response:
    """One flag: why it was raised, the accesses that it cites, and what was made of it."""
    review = review_of(request, *READERS)
    only(request, ("done",))
    return _page(request, review, opened(review.visit.called, review.by, number_of(request), review.only_owner))


def triage(request: Request, body: bytes) -> Response:
    """Adds what an auditor makes of a flag; what is wrong with it is told on its page."""
    review = review_of(request, "auditor")
    called, fields, number = review.visit.called, form_of(request, review.visit, body), number_of(request)
    try:
        triaged(called, review.by, number, review.only_owner, fields.get("state", ""), fields.get("note", "").strip())
    except InvalidRequest as error:
        return _page(request, review, opened(called, review.by, number, None), error, fields)
    return go(f"/flags/{number}?done=1")


def _page(
    request: Request, review: Review, found: Flagged, error: InvalidRequest | None = None, fields: dict[str, str] | None = None
) -> Response:
    history = review.visit.called.flags.history(found.id)
    people = [UUID(step.person) for step in history if step.person]
    return render(
        request,
        "flag.html",
        review.visit,
        error.status if error else 200,
        flag=found,
        history=history,
        names=_names(review.visit, [found], people),
        whole=review.only_owner is None,
        problem=error.detail if error else None,
        fields=fields or {},
        choices=TRIAGED,
        done="done" in request.query_params,
        base=review.path,
        cited=list(dict(zip(found.events, found.leaves, strict=True)).items()),
        **WORDS,
    )


WORDS = {"kinds": KINDS, "states": STATES, "tags": TAGS}


def _names(visit: Visit, found: Iterable[Flagged], more: Iterable[UUID] = ()) -> dict[str, str]:
    """What the people are called of whom flags tell."""
    ids = {UUID(named) for flag in found for kind, _, named in [flag.subject.partition(":")] if kind == "person"} | set(more)
    return {str(id): person.name for id, person in visit.called.directory.names(ids).items()} if ids else {}


def _organisations(review: Review) -> list[tuple[str, str]]:
    """Whom the form offers: an auditor everybody, an owner nobody."""
    if review.only_owner is not None:
        return []
    return sorted((o.slug, o.name) for o in review.visit.called.directory.organisations())


def pages() -> Pages:
    routes = Pages()
    routes.get("/flags", flags)
    routes.get("/flags/{id}", flag)
    routes.post("/flags/{id}", triage)
    return routes
