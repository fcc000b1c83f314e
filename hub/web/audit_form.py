"""The form that filters the log: what it asks, what it offers, which filters are in use, and the pages around the one that is shown."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from hub.api.audit import FILTERS
from hub.api.parameters import only
from hub.audit.log import Found
from hub.errors import InvalidRequest
from hub.web.audit_words import DECISIONS, KINDS, Row
from hub.web.shell import Visit

PAGING = ("before", "after")
# A form has two ends of a time; `seen_in` stands for the records of an access.
PARAMETERS = (*(name for name in FILTERS if name != "datetime"), "since", "until", "seen_in", *PAGING)
LABELS = {
    "organisation": "Organisation", "person": "Person", "client": "Client", "session": "Session", "owner": "Whose data",
    "type": "What happened", "decision": "Decision", "mou": "Agreement", "grant": "Grant", "purpose": "Purpose", "case": "Case",
    "dataset": "Collection", "record": "Record", "seen_in": "Records of the access", "since": "From", "until": "Until", "bbox": "Area",
    "polygon": "Corners of an area", "placeless": "Accesses without an area", "others": "By others than the owner",
}  # fmt: skip
LOOKS, LOOKS_WORDS = "query,export,match", "Any look at records"
HEADINGS = ("When (UTC)", "Who", "What", "Purpose", "Under", "Whose data", "Decision")
# Below these the form has its less common fields, folded away unless one is in use.
RARE = ("client", "session", "purpose", "case", "grant", "dataset", "bbox", "polygon", "placeless", "others")


def given_in(request: Request, whole: bool, *more: str) -> dict[str, str]:
    """What the form asks; a form also sends the fields that were left empty. `whole`: one may ask about any owner; `more`: further
    parameters.

    Raises:
        InvalidRequest: a parameter that the form hasn't, or one that came twice.
    """
    there = [*(name for name in PARAMETERS if whole or name != "owner"), *more]
    return {name: value.strip() for name, value in only(request, there).items() if value.strip()}


def said(error: InvalidRequest) -> str:
    """What is wrong, with a field called what the form calls it; errors begin with the parameter's name."""
    name, blank, rest = error.detail.partition(" ")
    return (LABELS | {"datetime": "Time"}).get(name, name) + blank + rest


def filters_in(given: Mapping[str, str]) -> dict[str, str]:
    """The same in the words of the API: one `datetime` for the two ends."""
    filters = {name: value for name, value in given.items() if name in FILTERS}
    if "since" in given or "until" in given:
        filters["datetime"] = f"{_time(given.get('since'), ':00')}/{_time(given.get('until'), ':59.999')}"
    return filters


def _time(given: str | None, seconds: str) -> str:
    """An end of an interval; browsers send times without seconds, and without a zone: UTC is meant, and the whole minute."""
    if given is None:
        return ".."
    return f"{given}{seconds}Z" if len(given) == len("2026-01-31T13:05") else given if given.endswith(("Z", "z")) else f"{given}Z"


def query(given: Mapping[str, str], **more: str) -> str:
    return urlencode({name: value for name, value in given.items() if name not in PAGING} | more)


def links(path: str, given: Mapping[str, str], found: Found) -> dict[str, str | None]:
    """Where to go from here: `older`, `newer`, `newest`, `on` (the same search where it stopped)."""
    entries, rest, upward = found.entries, found.rest, "after" in given

    def to(**more: str) -> str:
        return f"{path}?{query(given, **more)}"

    on = rest and (to(after=str(rest.low - 1)) if upward else to(before=str(rest.high + 1)))
    turned = "before" in given or upward
    return {
        "on": on if found.late else None,
        "older": to(before=str(entries[-1].id)) if upward and entries else None if upward or found.late else on,
        "newer": (None if found.late else on) if upward else to(after=str(entries[0].id)) if turned and entries else None,
        "newest": to() if turned else None,
    }


def chips(path: str, given: Mapping[str, str], people: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The filters in use: heading, value, and where to go without it."""
    words = {**people, **KINDS, **DECISIONS, LOOKS: LOOKS_WORDS, "true": "yes"}
    return [
        (
            LABELS[name],
            words.get(value, value) if name in ("person", "type", "decision", "placeless", "others") else value,
            f"{path}?{query({n: v for n, v in given.items() if n != name})}",
        )
        for name, value in given.items()
        if name in LABELS
    ]


def kinds(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """The kinds of event that the form offers, in words; also one that it doesn't have, where that is asked for."""
    found = {LOOKS: LOOKS_WORDS} | KINDS
    if "type" in given:
        found.setdefault(given["type"], given["type"].replace(",", ", "))
    return list(found.items())


def people(visit: Visit, whole: bool, given: Mapping[str, str], rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Whom the form offers, by id: an auditor everybody, an owner those who are on the page."""
    if whole:
        found = {str(p.id): f"{p.name}, {p.organisation.name}" for p in visit.called.directory.people()}
    else:
        found = {r.person: f"{r.name or r.person}, {r.organisation}" for r in rows if r.person}
    if "person" in given:
        found.setdefault(given["person"], given["person"])
    return sorted(found.items(), key=lambda pair: pair[1].casefold())


def offers(visit: Visit, whole: bool, given: Mapping[str, str], rows: Sequence[Row]) -> dict[str, list[Any]]:
    """What else it offers, of what the visitor may know: an auditor everything on the hub, an owner the parties of its agreements."""
    own = visit.person.organisation
    agreements = visit.called.agreements.of(None if whole else own.id)
    if whole:
        found = {o.slug: o.name for o in visit.called.directory.organisations()}
    else:
        parties = [slug for a in agreements for slug in (a.mou.parties.provider, a.mou.parties.consumer)]
        found = {slug: slug for slug in [own.slug, *parties, *(r.organisation for r in rows if r.organisation)]}
    for name in ("organisation", "owner"):
        if name in given:
            found.setdefault(given[name], given[name])
    return {
        "organisations": sorted(found.items(), key=lambda pair: pair[1].casefold()),
        "mous": [a.mou.mou for a in agreements],
        "grants": [f"{a.mou.mou}/{grant.id}" for a in agreements for grant in a.mou.grants],
        "purposes": sorted({purpose for a in agreements for grant in a.mou.grants for purpose in grant.purposes}),
    }
