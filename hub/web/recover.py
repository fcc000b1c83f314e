"""Signing in with a recovery code, for who has no passkey any more. It leads to one thing: making a new passkey."""

from starlette.requests import Request
from starlette.responses import Response

from hub.api.services import services
from hub.errors import HubError, NotAuthenticated
from hub.identity.people import Person
from hub.web.entry import again, begin, count_try, entered, log, source_key
from hub.web.shell import Pages, form_of, render

REFUSED = "This handle and this code don't fit together, or the code was used before. Check both; each code is good once."


def recover(request: Request) -> Response:
    return render(request, "recover.html", None, problem=None, handle="")


def recover_now(request: Request, body: bytes) -> Response:
    """The person's other sessions end: whoever has lost a device can't know who holds it now."""
    fields = form_of(request, None, body)
    handle = fields.get("handle", "").strip().lower()
    try:
        person = _of_code(request, handle, fields.get("code", ""))
        cookie, session = begin(request, person, "recovery-code")
    except HubError as error:
        return again(request, "recover.html", error, handle=handle)
    ended = services(request).sessions.end_all(person.id, but=session.id)
    if ended:
        log(request, "sign-out", person, session, {"everywhere_else": ended})
    return entered(cookie, session)


def _of_code(request: Request, handle: str, code: str) -> Person:
    """Tries are counted by the handle as it was typed and failures without a name: nothing here tells whether there is such a person.

    Raises:
        NotAuthenticated, TooMany
    """
    called, counted = services(request), (source_key(request), f"handle {handle}")
    count_try(request, *counted)
    person = called.directory.use_code(handle, code, called.clock())
    if person is None:
        called.failures.note("sign-in", called.clock())
        raise NotAuthenticated(REFUSED)
    called.attempts.passed(*counted)
    return person


def pages() -> Pages:
    routes = Pages()
    routes.get("/recover", recover)
    routes.post("/recover", recover_now)
    return routes
