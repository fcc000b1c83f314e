"""The log for people: the auditor's page over all of it, the owner's over what is about its own data, and one access in full.

They show what `GET /audit/events` shows, under the same rules, and looking at them is logged in the same way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from pyroaring import BitMap64
from starlette.requests import Request
from starlette.responses import Response

from hub.api.audit import MAX_ID, allowed, search_of
from hub.api.audit_csv import people_in
from hub.api.audit_files import Taking, names_in
from hub.api.parameters import only, record_id
from hub.api.parameters import whole as number
from hub.api.services import refusals_logged, token_of
from hub.audit.leaf import By, revisions_in
from hub.audit.log import Entry, Found, Search
from hub.errors import Forbidden, InvalidRequest, NotShared
from hub.maps.live import live_map
from hub.web import audit_form as form
from hub.web.audit_words import DECISIONS, Row, members, row
from hub.web.shell import HEADERS, Pages, Visit, render, visit_of

ROWS = 50
# After these a page says how far back it looked, and offers to go on: looking at the records of each entry takes as long as one lets
# it; any other search ends by itself well before, unless the machine is very busy.
SCANNING_S, SEARCHING_S = 0.25, 1.0
COUNTED, COUNTING_S = 1_000, 0.04
READERS = ("auditor", "agreement-lead")  # in the API: the roles that give the scope `audit`


@dataclass(frozen=True)
class Review:
    """Somebody's look at the log. `only_owner`: the organisation to whose data it is narrowed, None for an auditor of the hub."""

    visit: Visit
    by: By
    only_owner: str | None

    @property
    def path(self) -> str:
        return "/owner" if self.only_owner else "/audit"

    def log(self, decision: str, fields: Iterable[str], **asked: str) -> None:
        called = self.visit.called
        called.log.record(called.event("audit", self.by, decision, asked={"fields": sorted(fields), **asked}))


def review_of(request: Request, *roles: str) -> Review:
    """Raises: Go, Forbidden (logged); NotAuthenticated when the session ended meanwhile."""
    visit = visit_of(request, *roles)
    called, by = visit.called, visit.by(request)
    with refusals_logged(called, token_of(visit.session), by):
        only_owner = called.log.scope_of(visit.person.organisation.slug, f"session:{visit.session.id}")
    if not (visit.sees_own_log if only_owner else visit.sees_whole_log):  # an agreement lead of an auditing organisation, if there is one
        _refuse(visit, by, "This page is for the auditors of your organisation.")
    return Review(visit, by, only_owner)


def _refuse(visit: Visit, by: By, why: str) -> None:
    visit.called.log.record(visit.called.event("refusal", by, "refuse", reason=why))
    raise Forbidden(why)


def whole_log(request: Request) -> Response:
    """Every access that the hub logged: for auditors of an organisation that does nothing else."""
    return _page(request, auditor_of(request))


def own_log(request: Request) -> Response:
    """Every access to the records of one's own organisation."""
    return _page(request, owner_of(request))


def whole_csv(request: Request) -> Response:
    return _file(request, auditor_of(request), "csv")


def own_csv(request: Request) -> Response:
    return _file(request, owner_of(request), "csv")


def whole_ndjson(request: Request) -> Response:
    return _file(request, auditor_of(request), "ndjson")


def own_ndjson(request: Request) -> Response:
    return _file(request, owner_of(request), "ndjson")


def auditor_of(request: Request) -> Review:
    review = review_of(request, "auditor")
    if review.only_owner is not None:
        _refuse(review.visit, review.by, "The whole log is for independent auditors. Who saw your organisation's data is at /owner.")
    return review


def owner_of(request: Request) -> Review:
    review = review_of(request, *READERS)
    if review.only_owner is None:
        _refuse(review.visit, review.by, "An auditing organisation owns no records. The whole log is at /audit.")
    return review


def searched(review: Review, given: Mapping[str, str], **asked: str) -> Search:
    """The search, logged.

    Raises:
        InvalidRequest: a filter makes no sense.
        NotShared: there is no such record or access, or it is not one's own.
    """
    search = search_of(form.filters_in(given))
    if "before" in given:
        search = replace(search, before=number("before", given["before"], 1, MAX_ID))
    if "after" in given:
        search = replace(search, after=number("after", given["after"], 0, MAX_ID))
    named = {name: value for name, value in given.items() if name not in form.PAGING}
    if "seen_in" in given:
        search = replace(search, revisions=_seen_in(review, given))
    return allowed(review.visit.called, review.by, search, named, review.only_owner, **asked)


def _seen_in(review: Review, given: Mapping[str, str]) -> frozenset[int]:
    """The revisions that an access disclosed or stored, as far as one may know."""
    found: BitMap64 = BitMap64()
    for entry in review.visit.called.log.access(record_id(given["seen_in"]), review.only_owner):
        text = entry.body.get("shown", {}).get("revisions")
        found |= revisions_in(text) if text else BitMap64()
    if not found:
        review.log("absent", given)
        raise NotShared
    return frozenset(found)


def _page(request: Request, review: Review) -> Response:
    given: dict[str, str] = {}
    status, problem, found, count = 200, None, Found([], None), None
    try:
        given = form.given_in(request, review.only_owner is None)
        search = replace(searched(review, given), limit=ROWS)
        found = review.visit.called.log.review(search, SEARCHING_S if search.revisions is None else SCANNING_S)
        count = _count(review, search, found)
    except InvalidRequest as error:
        status, problem = error.status, form.said(error)
    except NotShared as error:
        status, problem = error.status, "There is no such record or access" + (" of your organisation." if review.only_owner else ".")
    rows = _rows(review, found.entries)
    whole = review.only_owner is None
    people = form.people(review.visit, whole, given, rows)
    return render(
        request,
        "owner.html" if review.only_owner else "audit.html",
        review.visit,
        status,
        given=given,
        problem=problem,
        rows=rows,
        headings=[h for h in form.HEADINGS if whole or h != "Whose data"],
        found=found,
        count=count,
        kinds=form.kinds(given),
        decisions=DECISIONS,
        decision_choices=[(word, text.capitalize()) for word, text in DECISIONS.items()],
        parts=live_map(),
        chips=form.chips(review.path, given, dict(people)),
        people=people,
        rare_open=any(name in given for name in form.RARE),
        query=form.query(given),
        looks=form.LOOKS,
        trace=None if problem else _trace(review, given.get("record")),
        **form.offers(review.visit, whole, given, rows),
        **form.links(review.path, given, found),
    )


def _trace(review: Review, given: str | None) -> str | None:
    """Where it is told who gets the record that is asked about."""
    if given is None:
        return None
    called, record = review.visit.called, record_id(given)
    there = [name for name in called.datasets if called.log.revisions(name, record, review.only_owner)]
    return f"/audit/records/{there[0]}/{record}" if there else None


def _count(review: Review, search: Search, found: Found) -> str | None:
    """How many there are, where that is cheap to know."""
    if search.before is not None or search.after is not None or found.late:
        return None
    if found.rest is None:
        return f"{len(found.entries):,}"
    if search.revisions is not None:
        return None
    number = review.visit.called.log.count(search, COUNTED + 1, COUNTING_S)
    return None if number is None else f"More than {COUNTED:,}" if number > COUNTED else f"{number:,}"


def _rows(review: Review, entries: list[Entry]) -> list[Row]:
    names = review.visit.called.directory.names(people_in(entries)) if entries else {}
    return [row(entry, names) for entry in entries]


def access(request: Request) -> Response:
    """One access in full: each of its leaves that one may read."""
    review = review_of(request, *READERS)
    only(request, ())
    event: UUID = record_id(request.path_params["event"])
    found = review.visit.called.log.access(event, review.only_owner)
    review.log("permit" if found else "absent", ["event"])
    if not found:
        raise NotShared
    rows = _rows(review, found)
    leaves = [
        {"row": r, "entry": e, "members": members(e.body), "source": e.body.get("by", {}).get("from")}
        for r, e in zip(rows, found, strict=True)
    ]
    disclosed = any("revisions" in e.body.get("shown", {}) for e in found)
    return render(
        request,
        "access.html",
        review.visit,
        grants=sorted({f"{under['mou']}/{grant}" for e in found for under in e.body.get("under", ()) for grant in under.get("grants", ())}),
        first=rows[0],
        leaves=leaves,
        base=review.path,
        narrowed=review.only_owner,
        disclosed=disclosed,
        decisions=DECISIONS,
    )


def _file(request: Request, review: Review, kind: str) -> Response:
    """Everything that the filters let through, as it is streamed."""
    given = {name: value for name, value in form.given_in(request, review.only_owner is None, "names").items() if name not in form.PAGING}
    ocsf = names_in(given)
    search = searched(review, given, **{"as": kind})
    named = f"{review.path[1:]}{'-ocsf' if ocsf else ''}.{kind}"
    taking = Taking(review.visit.called, token_of(review.visit.session), review.by, search, kind, ocsf, given)
    return taking.answer(HEADERS | {"Content-Disposition": f'attachment; filename="{named}"'}, request.method == "HEAD")


def pages() -> Pages:
    routes = Pages()
    routes.get("/audit", whole_log)
    routes.get("/audit.csv", whole_csv)
    routes.get("/audit.ndjson", whole_ndjson)
    routes.get("/audit/access/{event}", access)
    routes.get("/owner", own_log)
    routes.get("/owner.csv", own_csv)
    routes.get("/owner.ndjson", own_ndjson)
    return routes
