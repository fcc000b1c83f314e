"""Access reviews over HTTP, to read: the runs of an organisation's reviews, one of them whole, and its PDF, for programs with the scope
`audit`. Reading them is logged before they are told. Setting up, deciding and signing off is for people (hub/web/reviews.py).
"""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import NO_STORE, PDF, json_answer
from hub.api.parameters import only, record_id
from hub.api.services import READ, Services, authorise, refusals_logged, services
from hub.audit.leaf import By, instant
from hub.audit.review import Run, Summary
from hub.errors import NoSuchResource
from hub.reports import access_review


def runs(request: Request) -> Response:
    """The runs of the asker's organisation, those that are due last first."""
    called, by, organisation = _asked(request)
    now = called.clock()
    return json_answer({"runs": [_told(r, r.lines, r.decided, now) for r in listed(called, by, organisation)]})


def run(request: Request) -> Response:
    """One run, with its figures and what was decided."""
    called, by, organisation = _asked(request)
    found = opened(called, by, record_id(request.path_params["run"]), organisation)
    return json_answer(_whole(found, called.clock()))


def document(request: Request) -> Response:
    """A signed run as a PDF."""
    called, by, organisation = _asked(request)
    return pdf(called, opened(called, by, record_id(request.path_params["run"]), organisation), NO_STORE)


def _asked(request: Request) -> tuple[Services, By, str]:
    """Who asks, and for which organisation. Raises Forbidden: it is neither an auditor's nor an owner's; logged."""
    called = services(request)
    token, by = authorise(request, "audit")
    only(request, ())
    with refusals_logged(called, token, by):
        called.log.scope_of(token.organisation, token.client_id)
    return called, by, token.organisation


def listed(called: Services, by: By, organisation: str) -> list[Summary]:
    """An organisation's runs, once it is in the log that they are read."""
    _log(called, by, "permit", [])
    return called.reviews.runs(organisation)


def opened(called: Services, by: By, number: UUID, organisation: str) -> Run:
    """One run, once it is in the log that it is read.

    Raises:
        NoSuchResource: there is none, or it is another organisation's; logged.
    """
    try:
        found = called.reviews.run(number, organisation)
    except NoSuchResource:
        _log(called, by, "absent", ["run"])
        raise
    _log(called, by, "permit", ["run"])
    return found


def pdf(called: Services, found: Run, headers: dict[str, str]) -> Response:
    """A signed run as a PDF, to be kept under a name of its own. Raises Conflict: it is not signed off yet."""
    names = {str(id): person.name for id, person in called.directory.names(found.people).items()}
    name = f"access-review-{found.since:%Y-%m-%d}-{found.id}.pdf"
    return Response(access_review.render(found, names), 200, headers | {"Content-Disposition": f'attachment; filename="{name}"'}, PDF)


def _log(called: Services, by: By, decision: str, fields: list[str]) -> None:
    called.log.record(called.event("audit", by, decision, asked={"as": "review", "fields": fields}))


def _told(found: Summary | Run, lines: int, decided: int, now: datetime) -> dict[str, Any]:
    review = found.review
    told = {
        "id": found.id,
        "review": {"id": review.id, "title": review.title, "scope": review.scope, "every": review.every},
        "from": instant(found.since),
        "until": instant(found.until),
        "due_at": instant(found.due_at),
        "assignee": found.assignee,
        "overdue": found.overdue(now),
        "lines": lines,
        "decided": decided,
    }
    return told if found.signed_at is None else told | {"signed_at": instant(found.signed_at)}


def _whole(found: Run, now: datetime) -> dict[str, Any]:
    """Figures and what was signed are canonical JSON (RFC 8785) in the hub: written so again, they have the SHA-256 beside them."""
    told = _told(found, len(found.lines), len(found.decisions), now) | {
        "opened_at": instant(found.opened_at),
        "figures": json.loads(found.figures),
        "figures_sha256": found.figures_sha256,
        "decisions": [
            {"line": d.line, "decision": d.decision, "note": d.note, "person": d.person, "at": instant(d.at)}
            for _, d in sorted(found.decisions.items())
        ],
    }
    return told if found.signed is None else told | {"signed": json.loads(found.signed), "signed_sha256": found.signed_sha256}


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/audit/reviews", runs, methods=READ)
    routes.add_api_route("/audit/reviews/{run}", run, methods=READ)
    routes.add_api_route("/audit/reviews/{run}/review.pdf", document, methods=READ)
    return routes
