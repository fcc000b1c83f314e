"""Where everybody starts: what one can do here, by role, and where."""

from starlette.requests import Request
from starlette.responses import Response

from hub.web.shell import Pages, render, visit_of

FEW_CODES = 3


def home(request: Request) -> Response:
    visit = visit_of(request)
    id, now = visit.person.id, visit.called.clock()
    runs = visit.called.reviews.runs(visit.person.organisation.slug) if "auditor" in visit.roles else []
    return render(
        request,
        "home.html",
        visit,
        base=visit.called.settings.base_url,
        slug=visit.person.organisation.slug,
        has_passkey=bool(visit.called.passkeys.of(id)),
        codes_left=visit.called.directory.codes_left(id),
        few_codes=FEW_CODES,
        to_sign=sorted((r for r in runs if r.assignee == id and r.signed_at is None), key=lambda r: r.due_at),
        now=now,
    )


def pages() -> Pages:
    routes = Pages()
    routes.get("/home", home)
    return routes
