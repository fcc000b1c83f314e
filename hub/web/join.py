"""Addresses that let one person in once: an invitation, at which a first passkey is made, and the demo's sign-in links.

Opening such an address uses nothing up: programs that preview or prefetch links do that. Its button does.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hub.api.services import services
from hub.errors import HubError, NoSuchResource
from hub.identity.people import Person
from hub.identity.tickets import Kind
from hub.web.entry import address, again, begin, entered, first_page, log, with_cookie
from hub.web.shell import Pages, Visit, form_of, json_of, render, visitor
from hub.web.signin import options

MAX_LABEL = 60
LABEL = "My passkey"


def join(request: Request) -> Response:
    person = _look(request, "invitation")
    if person is None:
        return _spent(request, "invitation")
    return render(request, "join.html", problem=None, **_joining(request, person))


def join_options(request: Request, body: bytes) -> Response:
    """What a browser needs to make a passkey for whoever is invited."""
    json_of(request, None, body)
    person = _look(request, "invitation")
    if person is None:
        raise NoSuchResource("This invitation is used up, out of date, or no invitation at all: ask for a new one.")
    return options(services(request).passkeys.creation_options(person))


def join_now(request: Request, body: bytes) -> Response:
    """Uses the invitation up, keeps the passkey, and shows the recovery codes, this once.

    The invitation goes once the passkey is known to be good, so that a refused one costs nothing, and before it is kept: of two who
    have the address, one alone gets in.
    """
    called, fields = services(request), form_of(request, None, body)
    person = _look(request, "invitation")
    if person is None:
        return _spent(request, "invitation")

    def use_up() -> None:
        if called.directory.use(request.path_params["ticket"], "invitation", called.clock()) is None:
            raise NoSuchResource("This invitation was used up just now: ask for a new one.")

    try:
        called.passkeys.register(person, fields.get("credential", ""), label_of(fields.get("label", "")), use_up)
    except NoSuchResource:
        return _spent(request, "invitation")
    except HubError as error:
        return again(request, "join.html", error, **_joining(request, person))
    log(request, "person", person, None, {"change": "add-passkey", "person": str(person.id)})
    codes = called.directory.new_codes(person.id)
    log(request, "person", person, None, {"change": "new-codes", "person": str(person.id)})
    cookie, session = begin(request, person, "invitation")
    return with_cookie(codes_page(request, Visit(called, session, cookie), codes, first_page(session)), cookie)


def codes_page(request: Request, visit: Visit, codes: list[str], to: str) -> Response:
    """Recovery codes, which nobody can be shown again; `to`: where to go once they are kept."""
    path, _, query = to.partition("?")
    name, _, value = query.partition("=")
    return render(request, "codes.html", visit, codes=codes, to=path, hidden=(name, value) if query else None)


def _joining(request: Request, person: Person) -> dict[str, Any]:
    return {"person": person, "label": LABEL, "max_label": MAX_LABEL, "address": address(request)}


def label_of(given: str) -> str:
    """What a passkey is called: what was typed, as far as it can be."""
    return "".join(c for c in given if c.isprintable()).strip()[:MAX_LABEL].strip() or LABEL


def enter(request: Request) -> Response:
    _allowed(request)
    person = _look(request, "link")
    if person is None:
        return _spent(request, "link")
    here = visitor(request)
    return render(request, "enter.html", None, person=person, other=here.person if here and here.person.id != person.id else None)


def enter_now(request: Request, body: bytes) -> Response:
    _allowed(request)
    form_of(request, None, body)
    called = services(request)
    person = called.directory.use(request.path_params["ticket"], "link", called.clock())
    if person is None:
        return _spent(request, "link")
    return entered(*begin(request, person, "link"))


def _allowed(request: Request) -> None:
    """Raises NoSuchResource: as if a hub that isn't a demo had no such page."""
    if not services(request).settings.sign_in_links:
        raise NoSuchResource("The address may be mistyped, or the link may be old.")


def _look(request: Request, kind: Kind) -> Person | None:
    called = services(request)
    return called.directory.look(request.path_params["ticket"], kind, called.clock())


def _spent(request: Request, kind: Kind) -> Response:
    """One answer for what is used, void, expired or made up."""
    called = services(request)
    called.failures.note("sign-in", called.clock())
    return render(request, "spent.html", None, 404, kind=kind, problem=None, visit_there=visitor(request) is not None)


def pages() -> Pages:
    routes = Pages()
    routes.get("/join/{ticket}", join)
    routes.post("/join/{ticket}", join_now)
    routes.post("/join/{ticket}/options", join_options)
    routes.get("/enter/{ticket}", enter)
    routes.post("/enter/{ticket}", enter_now)
    return routes
