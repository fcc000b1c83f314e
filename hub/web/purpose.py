"""Choosing what for: an analyst says it before seeing anything, and each query is decided and logged under it."""

from starlette.requests import Request
from starlette.responses import Response

from hub.agreements.in_force import Purpose
from hub.errors import InvalidRequest
from hub.identity.case import CASE_FORM, MAX_CASE, is_case
from hub.web.shell import Pages, Visit, form_of, go, next_path, render, visit_of


def purpose(request: Request) -> Response:
    visit = visit_of(request, "analyst")
    return _page(request, visit, next_path(request.query_params.get("next")))


def choose(request: Request, body: bytes) -> Response:
    visit = visit_of(request, "analyst")
    fields = form_of(request, visit, body)
    wanted, word, case = next_path(fields.get("next")), fields.get("purpose", ""), fields.get("case", "").strip()
    try:
        chosen = _checked(_offered(visit), word, case)
    except InvalidRequest as error:
        return _page(request, visit, wanted, error, word, case)
    visit.called.sessions.choose(visit.session, word, case if case and chosen.case != "never" else None)
    return go(wanted)


def _checked(offered: list[Purpose], word: str, case: str) -> Purpose:
    """Raises InvalidRequest, in words for the one who chose."""
    chosen = next((p for p in offered if p.word == word), None)
    if chosen is None:
        raise InvalidRequest("No agreement in force covers that purpose. Choose one of those below.")
    if chosen.case == "always" and not case:
        raise InvalidRequest(f"The agreements for {word} want a case reference: the number of the case you work on.", field="case")
    if case and chosen.case != "never" and not is_case(case):
        raise InvalidRequest(f"A case reference is {CASE_FORM}.", field="case")
    return chosen


def _offered(visit: Visit) -> list[Purpose]:
    return visit.called.agreements.purposes(visit.person.organisation.id, visit.called.clock())


def _page(request: Request, visit: Visit, wanted: str, error: InvalidRequest | None = None, word: str = "", case: str = "") -> Response:
    offered = _offered(visit)
    return render(
        request,
        "purpose.html",
        visit,
        error.status if error else 200,
        offered=offered,
        next=wanted,
        problem=error.detail if error else None,
        wrong=word if error else None,
        typed=case,
        max_case=MAX_CASE,
        lapsed=visit.session.purpose not in (None, *(p.word for p in offered)),
    )


def pages() -> Pages:
    routes = Pages()
    routes.get("/purpose", purpose)
    routes.post("/purpose", choose)
    return routes
