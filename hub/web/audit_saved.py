"""Searches of the log that somebody saved under a name. Running one is reading the log, and is logged as that."""

import re
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from hub.api.audit import search_of
from hub.api.parameters import only
from hub.audit.saved import SavedSearch
from hub.errors import NoSuchResource
from hub.web import audit_form as form
from hub.web.audit import READERS, Review, review_of
from hub.web.shell import Pages, form_of, go, render

HERE = "/audit/searches"


def saved(request: Request) -> Response:
    """One's own, and those that colleagues share."""
    review = review_of(request, *READERS)
    only(request, ())
    person = review.visit.person
    found = review.visit.called.searches.of(person.organisation.id, person.id)
    people = {s.person for s in found} | {UUID(s.query["person"]) for s in found if "person" in s.query}
    names = review.visit.called.directory.names(people) if people else {}
    called = {str(number): named.name for number, named in names.items()}
    told = [(s, [(label, value) for label, value, _ in form.chips(review.path, s.query, called)], called.get(str(s.person))) for s in found]
    return render(request, "saved_searches.html", review.visit, base=review.path, searches=told)


def run(request: Request) -> Response:
    """To the log with a saved search."""
    review = review_of(request, *READERS)
    only(request, ())
    return go(f"{review.path}?{urlencode(_found(review, request).query)}")


def save(request: Request, body: bytes) -> Response:
    """Keeps the search in the address under a name."""
    review = review_of(request, *READERS)
    visit = review.visit
    fields = form_of(request, visit, body)
    given = {name: value for name, value in form.given_in(request, review.only_owner is None).items() if name not in form.PAGING}
    search_of(form.filters_in(given))  # refuses what could not be asked
    visit.called.searches.add(visit.person.organisation.id, visit.person.id, fields.get("name", ""), given, "shared" in fields)
    return go(HERE)


def rename(request: Request, body: bytes) -> Response:
    review = review_of(request, *READERS)
    fields = form_of(request, review.visit, body)
    if not review.visit.called.searches.rename(_id(request), review.visit.person.id, fields.get("name", "")):
        raise _absent()
    return go(HERE)


def delete(request: Request, body: bytes) -> Response:
    review = review_of(request, *READERS)
    form_of(request, review.visit, body)
    if not review.visit.called.searches.delete(_id(request), review.visit.person.id):
        raise _absent()
    return go(HERE)


def _found(review: Review, request: Request) -> SavedSearch:
    person = review.visit.person
    found = review.visit.called.searches.get(_id(request), person.organisation.id, person.id)
    if found is None:
        raise _absent()
    return found


def _absent() -> NoSuchResource:
    return NoSuchResource("There is no such saved search, or it is somebody else's. See the list of saved searches.")


def _id(request: Request) -> UUID:
    text = request.path_params["id"]
    return UUID(text) if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) else UUID(int=0)


def pages() -> Pages:
    routes = Pages()
    routes.get(HERE, saved)
    routes.get(f"{HERE}/{{id}}", run)
    routes.post(HERE, save)
    routes.post(f"{HERE}/{{id}}/rename", rename)
    routes.post(f"{HERE}/{{id}}/delete", delete)
    return routes
