"""What all ways in have in common: tries are counted, a new session replaces whatever the browser had, and the log says so first."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from hub.api.services import SESSION_COOKIE, services, source_of
from hub.audit.leaf import By
from hub.errors import HubError, TooMany
from hub.identity.passkeys import PasskeyRefused, origin_of
from hub.identity.people import Person
from hub.identity.sessions import Session
from hub.settings import is_loopback
from hub.web.shell import go, next_path, render, visitor


def begin(request: Request, person: Person, method: str) -> tuple[str, Session]:
    """A new session and its cookie's value, logged. The session that this browser had, whoever's, is over: its cookie is replaced.

    Raises:
        NotAuthenticated: the person is disabled.
    """
    called, old = services(request), visitor(request)
    cookie, session = called.sessions.begin(person, method)
    if old is not None:
        called.sessions.end(old.session)
        log(request, "sign-out", old.person, old.session, {"instead": "a new session"})
    log(request, "sign-in", person, session, {"method": method})
    return cookie, session


def log(request: Request, kind: str, person: Person, session: Session | None, asked: Mapping[str, object]) -> None:
    """What a person did, in the log before it is answered."""
    called = services(request)
    called.log.record(called.event(kind, _by(request, person, session), "permit", asked=asked))


def proven(request: Request, credential: str, person: Person | None = None) -> Person:
    """Whose passkey signed: anybody's, or `person`'s to unlock. The try is counted by source, and by person once known.

    Raises:
        PasskeyRefused: it is not accepted; logged if its person is known, else counted.
        TooMany: five tries from here, or for that person, failed in fifteen minutes.
    """
    called, source = services(request), source_key(request)
    count_try(request, source)
    try:
        found = called.passkeys.verify(credential, person)
    except PasskeyRefused as refused:
        _note_refusal(request, refused)
        raise
    whose = f"person {found.id}"
    count_try(request, whose)
    called.attempts.passed(source, whose)
    return found


def count_try(request: Request, *counted_by: str) -> None:
    """Raises TooMany, which is itself counted for the log."""
    called = services(request)
    try:
        called.attempts.check(*counted_by)
    except TooMany:
        called.failures.note("sign-in", called.clock())
        raise


def _note_refusal(request: Request, refused: PasskeyRefused) -> None:
    called = services(request)
    person = called.directory.person(refused.person) if refused.person else None
    if person is None:
        called.failures.note("sign-in", called.clock())
        return
    by = _by(request, person, None)
    called.log.record(called.event("sign-in", by, "refuse", asked={"method": "passkey"}, reason=refused.reason))
    called.attempts.check(f"person {person.id}")


def source_key(request: Request) -> str:
    """What tries are counted by: an IPv4 address, or the 64-bit network of an IPv6 one, for a single machine has all of that."""
    source = source_of(request) or "unknown"
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return f"source {source}"
    if address.version == 6 and address.ipv4_mapped is None:
        return f"source {ipaddress.ip_network((address, 64), strict=False)}"
    return f"source {getattr(address, 'ipv4_mapped', None) or address}"


def _by(request: Request, person: Person, session: Session | None) -> By:
    id = str(session.id) if session else None
    return By(person.organisation.slug, session=id, source=source_of(request), person=str(person.id))


def with_cookie(answer: Response, cookie: str) -> Response:
    """The answer, with the session's cookie: until the browser closes, never for scripts, never for another site's forms."""
    answer.set_cookie(SESSION_COOKIE, cookie, secure=True, httponly=True, samesite="lax", path="/")
    return answer


def without_cookie(answer: Response) -> Response:
    answer.delete_cookie(SESSION_COOKIE, secure=True, httponly=True, samesite="lax", path="/")
    return answer


def first_page(session: Session, wanted: str | None = None) -> str:
    """Where somebody goes who has just come in: an analyst by way of choosing a purpose."""
    to = next_path(wanted)
    if session.method == "recovery-code":
        return "/account"
    if "analyst" in session.person.roles and session.purpose is None:
        return f"/purpose?{urlencode({'next': to})}"
    return to


def entered(cookie: str, session: Session, wanted: str | None = None) -> Response:
    return with_cookie(go(first_page(session, wanted)), cookie)


def again(request: Request, template: str, error: HubError, **context: object) -> Response:
    """The same page once more, with what went wrong and what to do."""
    page = render(request, template, None, error.status, problem=error.detail, **context)
    page.headers.update(error.headers)
    return page


@dataclass(frozen=True)
class Address:
    """The hub's own address, for pages with passkeys. `usable`: it has a host name, as passkeys need (WebAuthn §5.1.3); `instead`: what
    to try where it has none.
    """

    origin: str
    usable: bool
    instead: str | None


def address(request: Request) -> Address:
    base = services(request).settings.base_url
    parts = urlsplit(base)
    host = parts.hostname or ""
    instead = f"http://localhost:{parts.port or 80}" if is_loopback(host) else None
    return Address(origin_of(base), not _is_ip(host), instead)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
