"""What a search of the log finds, in numbers: who looked how often, for what, under what. Each number leads to the entries behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from hub.api.audit import SUMMING_S
from hub.audit.log import Summary
from hub.audit.summary import Group
from hub.errors import InvalidRequest, NotShared
from hub.identity.people import Named
from hub.web import audit_form as form
from hub.web.audit import Review, auditor_of, owner_of, searched
from hub.web.audit_words import DECISIONS, KINDS
from hub.web.shell import Pages, render

MOST = 100  # rows of a table


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what it is about (`more`: a person's organisation), how often and when, and where the entries are."""

    words: str
    more: str
    entries: int
    first: datetime
    last: datetime
    to: str


def whole_summary(request: Request) -> Response:
    return _page(request, auditor_of(request))


def own_summary(request: Request) -> Response:
    return _page(request, owner_of(request))


def _page(request: Request, review: Review) -> Response:
    given: dict[str, str] = {}
    status, problem, found = 200, None, None
    try:
        whole = review.only_owner is None
        given = {name: value for name, value in form.given_in(request, whole).items() if name not in form.PAGING}
        found = review.visit.called.log.summary(searched(review, given, **{"as": "summary"}), SUMMING_S)
    except InvalidRequest as error:
        status, problem = error.status, form.said(error)
    except NotShared as error:
        status, problem = error.status, "There is no such record or access" + (" of your organisation." if review.only_owner else ".")
    names = _names(review, given, found)
    return render(
        request,
        "audit_summary.html",
        review.visit,
        status,
        base=review.path,
        narrowed=review.only_owner,
        problem=problem,
        found=found,
        tables=_tables(review, given, found, names) if found else [],
        most=MOST,
        query=form.query(given),
        chips=form.chips(f"{review.path}/summary", given, {number: named.name for number, named in names.items()}),
    )


def _names(review: Review, given: Mapping[str, str], found: Summary | None) -> dict[str, Named]:
    """Of the people whom the page names, by id."""
    if found is None:
        return {}
    people = {UUID(group.value) for group in found.groups["person"][:MOST]}
    if "person" in given:
        people.add(UUID(given["person"]))
    return {str(number): named for number, named in review.visit.called.directory.names(people).items()} if people else {}


def _tables(review: Review, given: Mapping[str, str], found: Summary, names: Mapping[str, Named]) -> list[tuple[str, int, list[Line]]]:
    """For each word by which entries are counted: its heading, how many rows there are, and the first of them."""

    def line(by: str, group: Group) -> Line:
        named = names.get(group.value) if by == "person" else None
        words = named.name if named else {"type": KINDS, "decision": DECISIONS}.get(by, {}).get(group.value, group.value)
        to = f"{review.path}?{form.query({**given, by: group.value})}"
        return Line(
            words, named.organisation_slug if named else "", group.entries, group.first.astimezone(UTC), group.last.astimezone(UTC), to
        )

    return [(form.LABELS[by], len(groups), [line(by, group) for group in groups[:MOST]]) for by, groups in found.groups.items() if groups]


def pages() -> Pages:
    routes = Pages()
    routes.get("/audit/summary", whole_summary)
    routes.get("/owner/summary", own_summary)
    return routes
