"""What every page has: who is visiting, the frame around the page, headers that let nothing foreign run, errors in words.

A page is a function of the request (and of the body, for a POST) that `Pages` wraps: its errors become pages, its redirects answers.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import orjson
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hub.api.bodies import read_body
from hub.api.services import READ, SESSION_COOKIE, Services, services, source_of
from hub.audit.leaf import By
from hub.errors import Forbidden, HubError, InvalidRequest, NoSuchResource
from hub.identity.people import Person
from hub.identity.sessions import Session
from hub.web.reminders import LEAD, Reminder, attention
from hub.web.templating import TEMPLATES

MAX_FORM = 64 * 1024
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
# Nothing inline, nothing from elsewhere, no frame; forms go to the hub alone.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: a form would then be sent with `Origin: null`, and its origin could not be checked.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), publickey-credentials-get=(self)",
    "Cache-Control": "no-store",
}
# After recovery a person may do one thing: make a new passkey.
RECOVERING = ("/account", "/sign-out")


class Go(Exception):
    """The visitor has to go elsewhere first."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


@dataclass(frozen=True)
class Visit:
    """A signed-in person's request."""

    called: Services
    session: Session
    cookie: str

    @property
    def person(self) -> Person:
        return self.session.person

    @property
    def roles(self) -> frozenset[str]:
        return self.session.person.roles

    @property
    def sees_whole_log(self) -> bool:
        return "auditor" in self.roles and self.person.organisation.kind == "auditor"

    @property
    def sees_own_log(self) -> bool:
        return bool(self.roles & {"auditor", "agreement-lead"}) and self.person.organisation.kind != "auditor"

    def by(self, request: Request) -> By:
        """Who it is, for the log."""
        return By(self.person.organisation.slug, session=str(self.session.id), source=source_of(request), person=str(self.person.id))


def visit_of(request: Request, *roles: str, purpose: bool = False) -> Visit:
    """Who visits, with one of `roles` (none: any), and with a purpose chosen where the page needs one.

    Raises:
        Go: to signing in, unlocking or choosing a purpose; the visitor comes back afterwards.
        Forbidden: the person has none of the roles; logged.
    """
    visit = visitor(request)
    if visit is None:
        raise Go(f"/sign-in?{_back(request)}")
    if visit.session.locked:
        raise Go(f"/unlock?{_back(request)}")
    if visit.session.method == "recovery-code" and not request.url.path.startswith(RECOVERING):
        raise Go("/account")
    if roles and not visit.roles & set(roles):
        # The route's template: an address may name a record, and the log keeps no such word in clear.
        reason = f"the page {getattr(request.scope.get('route'), 'path', '-')} is for {', '.join(roles)}"
        visit.called.log.record(visit.called.event("refusal", visit.by(request), "refuse", reason=reason))
        raise Forbidden(f"This page is for people with the role {' or '.join(roles)}; yours: {', '.join(sorted(visit.roles))}.")
    if purpose and visit.session.purpose is None:
        raise Go(f"/purpose?{_back(request)}")
    return visit


def visitor(request: Request) -> Visit | None:
    """The person behind the session cookie, their session perhaps locked; None: nobody is signed in."""
    cookie = request.cookies.get(SESSION_COOKIE, "")
    called = services(request)
    session = called.sessions.find(cookie) if cookie else None
    return Visit(called, session, cookie) if session else None


def _back(request: Request) -> str:
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return urlencode({"next": asked if request.method in READ else "/home"})


def next_path(wanted: str | None, otherwise: str = "/home") -> str:
    """`wanted` if it is a path of this hub, however a browser may read it; else `otherwise`."""
    # `///host` has no host for Python, and one for browsers.
    if not wanted or not wanted.startswith("/") or wanted.startswith("//") or not wanted.isprintable() or "\\" in wanted:
        return otherwise
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return otherwise
    if parts.scheme or parts.netloc:
        return otherwise
    return quote(wanted, safe="/?&=%:,.~+-_@!$'()*;#")


def form_of(request: Request, visit: Visit | None, body: bytes) -> dict[str, str]:
    """The fields of a form, each once; with a visit its CSRF token must be the session's.

    Raises:
        InvalidRequest: it is no form, or a field came twice.
        Forbidden: the token is missing or another's.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise InvalidRequest("The form can't be read.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidRequest("A field of the form came twice.")
    if visit is not None:
        _check_token(fields.pop(CSRF_FIELD, ""), visit)
    return fields


def json_of(request: Request, visit: Visit | None, body: bytes) -> dict[str, Any]:
    """The JSON object a script sent; with a visit its header X-CSRF-Token must be the session's.

    Raises:
        InvalidRequest, Forbidden
    """
    if visit is not None:
        _check_token(request.headers.get(CSRF_HEADER, ""), visit)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return found


def _check_token(given: str, visit: Visit) -> None:
    if not hmac.compare_digest(given.encode("utf-8", "replace"), visit.session.csrf.encode()):
        raise Forbidden("This form is out of date, or was not made by this hub. Go back, reload the page, and try again.")


def check_origin(request: Request) -> None:
    """Refuses what another site had the browser send (Fetch Metadata; the Origin header, RFC 6454 §7).

    Raises:
        Forbidden
    """
    base = services(request).settings.base_url
    parts = urlsplit(base)
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if (site is not None and site not in ("same-origin", "none")) or (origin is not None and origin != f"{parts.scheme}://{parts.netloc}"):
        raise Forbidden(f"This was sent by another site. Open {base} itself and try again.")


def render(request: Request, template: str, visit: Visit | None = None, status: int = 200, **context: Any) -> HTMLResponse:
    """A page. `visit` None: nobody is signed in. `attention`: agreements of which something is due, for whoever answers for them."""
    context.setdefault("attention", _attention(visit) if visit else ())
    text = TEMPLATES.get_template(template).render(visit=visit, path=request.url.path, **context)
    return HTMLResponse(text, status, HEADERS)


def _attention(visit: Visit) -> Sequence[Reminder]:
    if LEAD not in visit.roles or visit.session.locked or visit.session.method == "recovery-code":
        return ()
    return attention(visit.called, visit.person.organisation.slug, visit.called.clock())


def go(to: str) -> Response:
    """To another page of the hub, by GET (RFC 9110 §15.4.4)."""
    return RedirectResponse(to, 303, {"Cache-Control": "no-store"})


def error_page(request: Request, status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An error in words, with a way on. Whoever is signed in keeps the frame, unless even that can't be had just now."""
    try:
        visit = visitor(request)
    except HubError:
        visit = None
    page = render(request, "error.html", visit, status, title=title, detail=detail, problems=(), attention=())
    page.headers.update(headers or {})
    return page


class Pages:
    """Collects the routes of a module's pages."""

    def __init__(self) -> None:
        self.router = APIRouter(include_in_schema=False)

    def get(self, path: str, page: Callable[[Request], Response]) -> None:
        @wraps(page)
        def run(request: Request) -> Response:
            return _answered(request, lambda: page(request))

        self.router.add_api_route(path, run, methods=READ, response_model=None)

    def post(self, path: str, page: Callable[[Request, bytes], Response]) -> None:
        async def run(request: Request) -> Response:
            try:
                body = await read_body(request, MAX_FORM)
            except HubError as error:
                return await run_in_threadpool(_told, request, error)

            def checked() -> Response:
                check_origin(request)
                return page(request, body)

            return await run_in_threadpool(_answered, request, checked)

        self.router.add_api_route(path, run, methods=["POST"], response_model=None)


def _answered(request: Request, page: Callable[[], Response]) -> Response:
    try:
        return page()
    except Go as elsewhere:
        return go(elsewhere.to)
    except HubError as error:
        return _told(request, error)


def _told(request: Request, error: HubError) -> Response:
    if wants_json(request):
        raise error  # to the one handler, which answers a problem
    title = {NoSuchResource: "There is no such page", Forbidden: "This is not open to you"}.get(type(error), error.title)
    return error_page(request, error.status, title, error.detail, dict(error.headers))


def wants_json(request: Request) -> bool:
    """Whether a script of ours asks, not a person."""
    return "application/json" in request.headers.get("accept", "") or request.headers.get("content-type", "").startswith("application/json")
