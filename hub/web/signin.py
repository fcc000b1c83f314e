"""Signing in with a passkey, unlocking a session that nobody used for half an hour, confirming it is still its person, signing out."""

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from hub.api.services import services
from hub.errors import NotAuthenticated, TooMany
from hub.web.entry import address, again, begin, entered, first_page, log, proven, source_key, with_cookie, without_cookie
from hub.web.shell import HEADERS, Go, Pages, Visit, form_of, go, json_of, next_path, render, visitor


def sign_in(request: Request) -> Response:
    visit = visitor(request)
    wanted = next_path(request.query_params.get("next"))
    if visit is not None:  # a locked session is sent on to unlocking by whatever page comes next
        return go(first_page(visit.session, wanted))
    signed_out = "signed-out" in request.query_params
    return render(request, "sign_in.html", next=wanted, problem=None, signed_out=signed_out, address=address(request))


def sign_in_options(request: Request, body: bytes) -> Response:
    """What a browser needs to ask for a passkey: anybody's."""
    json_of(request, None, body)
    called = services(request)
    return options(called.passkeys.request_options(asker=called.attempts.key(source_key(request))))


def sign_in_now(request: Request, body: bytes) -> Response:
    fields = form_of(request, None, body)
    wanted = next_path(fields.get("next"))
    try:
        cookie, session = begin(request, proven(request, fields.get("credential", "")), "passkey")
    except (NotAuthenticated, TooMany) as error:
        return again(request, "sign_in.html", error, next=wanted, signed_out=False, address=address(request))
    return entered(cookie, session, wanted)


def unlock(request: Request) -> Response:
    visit, wanted = _to_prove(request, request.query_params.get("next"))
    return render(request, "unlock.html", None, **_unlocking(request, visit, wanted), problem=None)


def unlock_options(request: Request, body: bytes) -> Response:
    """What a browser needs to ask for a passkey: one of the person's whose session it is."""
    visit, _ = _to_prove(request, None)
    json_of(request, visit, body)
    return options(visit.called.passkeys.request_options(visit.person))


def unlock_now(request: Request, body: bytes) -> Response:
    visit, _ = _to_prove(request, None)
    fields = form_of(request, visit, body)
    wanted = next_path(fields.get("next"))
    try:
        proven(request, fields.get("credential", ""), visit.person)
        cookie, session = visit.called.sessions.unlock(visit.session, "passkey")
    except (NotAuthenticated, TooMany) as error:
        return again(request, "unlock.html", error, **_unlocking(request, visit, wanted))
    log(request, "sign-in", visit.person, session, {"method": "passkey", "change": "unlock" if visit.session.locked else "confirm"})
    return with_cookie(go(wanted), cookie)


def _to_prove(request: Request, wanted: str | None) -> tuple[Visit, str]:
    """Whose session is locked, or was proven longer ago than a change to the account takes, and where they were.

    Raises:
        Go: there is none: to signing in; or it needs no proof: on.
    """
    visit, to = visitor(request), next_path(wanted)
    if visit is None:
        raise Go(f"/sign-in?{urlencode({'next': to})}")
    if visit.session.proven and not visit.session.locked:
        raise Go(to)
    return visit, to


def _unlocking(request: Request, visit: Visit, wanted: str) -> dict[str, Any]:
    has_passkey = bool(visit.called.passkeys.of(visit.person.id))
    return {
        "session": visit.session,
        "locked": visit.session.locked,
        "next": wanted,
        "has_passkey": has_passkey,
        "address": address(request),
    }


def sign_out(request: Request, body: bytes) -> Response:
    """Also of a locked session: nobody has to unlock it only to leave."""
    visit = visitor(request)
    if visit is not None:
        form_of(request, visit, body)
        visit.called.sessions.end(visit.session)
        log(request, "sign-out", visit.person, visit.session, {})
    return signed_out()


def signed_out() -> Response:
    return without_cookie(go("/sign-in?signed-out=1"))


def options(text: str) -> Response:
    """Options for the browser's WebAuthn, as JSON."""
    return Response(text, 200, HEADERS, "application/json")


def pages() -> Pages:
    routes = Pages()
    routes.get("/sign-in", sign_in)
    routes.post("/sign-in", sign_in_now)
    routes.post("/sign-in/options", sign_in_options)
    routes.get("/unlock", unlock)
    routes.post("/unlock", unlock_now)
    routes.post("/unlock/options", unlock_options)
    routes.post("/sign-out", sign_out)
    return routes
