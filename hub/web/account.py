"""One's own account: who the hub thinks one is, passkeys, recovery codes, and where one is signed in."""

from starlette.requests import Request
from starlette.responses import Response

from hub.errors import Forbidden, HubError, InvalidRequest, NotAuthenticated
from hub.web.audit_words import METHODS
from hub.web.entry import address, log, with_cookie
from hub.web.join import LABEL, MAX_LABEL, codes_page, label_of
from hub.web.roles import SAYS
from hub.web.shell import Go, Pages, Visit, form_of, go, json_of, render, visit_of
from hub.web.signin import options, signed_out

# Each is told once, after going back to the page.
DONE = {
    "confirmed": "Confirmed: for five minutes you can change your passkeys and codes.",
    "added": "The new passkey is ready: you can sign in with it from now on.",
    "recovered": "The new passkey is ready. Remove those of devices that you no longer have.",
    "renamed": "The passkey has its new name.",
    "removed": "The passkey is removed: nobody can sign in with it any more.",
}


def account(request: Request) -> Response:
    return _page(request, visit_of(request))


def passkey_options(request: Request, body: bytes) -> Response:
    """What a browser needs to make another passkey."""
    visit = visit_of(request)
    json_of(request, visit, body)
    _must_be_proven(visit)
    return options(visit.called.passkeys.creation_options(visit.person))


def add_passkey(request: Request, body: bytes) -> Response:
    """Keeps a new passkey. After a recovery code it is what the session was for, which then goes on as any other, under a new cookie."""
    visit = visit_of(request)
    fields = form_of(request, visit, body)
    _must_be_proven(visit)
    try:
        visit.called.passkeys.register(visit.person, fields.get("credential", ""), label_of(fields.get("label", "")))
    except (InvalidRequest, NotAuthenticated) as error:
        return _page(request, visit, error)
    _log(request, visit, "add-passkey")
    if visit.session.method != "recovery-code":
        return _done("added")
    cookie, _ = visit.called.sessions.unlock(visit.session, "passkey")
    return with_cookie(_done("recovered"), cookie)


def rename_passkey(request: Request, body: bytes) -> Response:
    visit, fields = _changing(request, body)
    try:
        visit.called.passkeys.rename(visit.person.id, _credential(fields), fields.get("label", ""))
    except InvalidRequest as error:
        return _page(request, visit, error)
    return _done("renamed")


def remove_passkey(request: Request, body: bytes) -> Response:
    visit, fields = _changing(request, body)
    _must_be_proven(visit)
    try:
        visit.called.passkeys.remove(visit.person.id, _credential(fields))
    except InvalidRequest as error:
        return _page(request, visit, error)
    _log(request, visit, "remove-passkey")
    return _done("removed")


def new_codes(request: Request, body: bytes) -> Response:
    """Ten new recovery codes, shown this once."""
    visit, _ = _changing(request, body)
    _must_be_proven(visit)
    codes = visit.called.directory.new_codes(visit.person.id)
    _log(request, visit, "new-codes")
    return codes_page(request, visit, codes, "/account")


def sign_out_everywhere(request: Request, body: bytes) -> Response:
    visit, _ = _changing(request, body)
    ended = visit.called.sessions.end_all(visit.person.id)
    log(request, "sign-out", visit.person, visit.session, {"everywhere": ended})
    return signed_out()


def _changing(request: Request, body: bytes) -> tuple[Visit, dict[str, str]]:
    """Raises Forbidden after a recovery code, which is good for making a new passkey alone."""
    visit = visit_of(request)
    fields = form_of(request, visit, body)
    if visit.session.method == "recovery-code":
        raise Forbidden("After signing in with a recovery code, a new passkey comes first: make one at your account.")
    return visit, fields


def _must_be_proven(visit: Visit) -> None:
    """How somebody signs in is not changed by a session's cookie alone, which can be stolen.

    Raises:
        Go: it was too long ago that the person proved themself: to the page, which says how to.
    """
    if not visit.session.proven:
        raise Go("/account?confirm=1")


def _credential(fields: dict[str, str]) -> bytes:
    try:
        return bytes.fromhex(fields.get("id", ""))
    except ValueError:
        raise InvalidRequest("You have no such passkey.") from None


def _log(request: Request, visit: Visit, change: str) -> None:
    log(request, "person", visit.person, visit.session, {"change": change, "person": str(visit.person.id)})


def _done(word: str) -> Response:
    return go(f"/account?done={word}")


def _told(request: Request, visit: Visit) -> str | None:
    """What was done just now; that it was confirmed only as long as that is so, for pages are reloaded."""
    word = request.query_params.get("done", "")
    return DONE.get(word) if word != "confirmed" or visit.session.proven else None


def _page(request: Request, visit: Visit, error: HubError | None = None) -> Response:
    called = visit.called
    return render(
        request,
        "account.html",
        visit,
        error.status if error else 200,
        problem=error.detail if error else None,
        done=_told(request, visit),
        confirm="confirm" in request.query_params and not visit.session.proven,
        recovering=visit.session.method == "recovery-code",
        passkeys=called.passkeys.of(visit.person.id),
        codes_left=called.directory.codes_left(visit.person.id),
        sessions=called.sessions.of(visit.person.id),
        methods=METHODS,
        says=SAYS,
        label=LABEL,
        max_label=MAX_LABEL,
        address=address(request),
    )


def pages() -> Pages:
    routes = Pages()
    routes.get("/account", account)
    routes.post("/account/passkeys", add_passkey)
    routes.post("/account/passkeys/options", passkey_options)
    routes.post("/account/passkeys/rename", rename_passkey)
    routes.post("/account/passkeys/remove", remove_passkey)
    routes.post("/account/codes", new_codes)
    routes.post("/account/sign-out-everywhere", sign_out_everywhere)
    return routes
