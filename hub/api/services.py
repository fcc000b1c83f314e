"""What the handlers call; `hub.app` puts it together and hands it to the application."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from starlette.requests import Request

from hub.agreements.in_force import Agreements
from hub.agreements.lifecycle import Lifecycle
from hub.agreements.party_keys import PartyKeys
from hub.agreements.recalls import Recalls
from hub.audit.failures import Failures
from hub.audit.flagged import Flags
from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Log
from hub.audit.published import Published
from hub.audit.reviews import Reviews
from hub.audit.saved import SavedSearches
from hub.crypto.keys import Proof
from hub.crypto.remote import RemoteKeys
from hub.errors import Forbidden, NoSuchResource, NotAuthenticated
from hub.identity.attempts import Attempts
from hub.identity.directory import Directory
from hub.identity.passkeys import Passkeys
from hub.identity.server import TokenServer
from hub.identity.sessions import Session, Sessions
from hub.identity.token_key import TokenKey
from hub.identity.tokens import AccessToken, Verifier
from hub.records import Record
from hub.settings import Settings
from hub.sharing.holds import Holds
from hub.sharing.imports import Imports
from hub.sharing.match import Matching
from hub.sharing.publish import Publisher, Publishing
from hub.sharing.query import Querying
from hub.sharing.reader import Reader
from hub.sharing.replies import Replies
from hub.sharing.shared_maps import SharedMaps
from hub.sharing.shredding import Shredding
from hub.sharing.trace import Tracing

SESSION_COOKIE = "__Host-session"  # RFC 6265bis §4.1.3.2: Secure, Path=/, no Domain
SCOPES_OF_ROLES = {"analyst": "query", "auditor": "audit", "agreement-lead": "audit"}
READ = ["GET", "HEAD"]  # RFC 9110 §9.1: HEAD is not optional; it is decided and logged like the GET it stands for


@dataclass(frozen=True)
class Shared:
    """One dataset and its two flows."""

    name: str
    dataset: type[Record]
    publishing: Publishing
    querying: Querying
    imports: Imports
    tracing: Tracing
    shredding: Shredding
    holds: Holds
    matching: Matching


@dataclass(frozen=True)
class Services:
    settings: Settings
    datasets: Mapping[str, Shared]
    log: Log
    published: Published
    flags: Flags
    reviews: Reviews
    failures: Failures
    tokens: TokenServer
    token_key: TokenKey
    verifier: Verifier
    keys: RemoteKeys
    replies: Replies
    sessions: Sessions
    passkeys: Passkeys
    attempts: Attempts
    directory: Directory
    agreements: Agreements
    lifecycle: Lifecycle
    party_keys: PartyKeys
    recalls: Recalls
    maps: SharedMaps
    searches: SavedSearches
    publisher: Callable[[AccessToken, By], Publisher]
    ready: Callable[[], None]
    clock: Callable[[], datetime]

    def shared(self, name: str) -> Shared:
        """Raises NoSuchResource when the hub has no dataset `name`."""
        if name not in self.datasets:
            raise NoSuchResource(f"The hub has no collection of that name; see {self.settings.base_url}/collections.")
        return self.datasets[name]

    def event(self, kind: str, by: By, decision: str, **more: object) -> Event:
        """A new event of now."""
        now = self.clock()
        return Event(event_id(now, os.urandom(10)), kind, now, by, decision, **more)  # type: ignore[arg-type]


def services(request: Request) -> Services:
    """The services of the application that serves `request`."""
    return cast(Services, request.app.state.services)


def source_of(request: Request) -> str | None:
    """The address a request came from."""
    return request.client.host if request.client else None


def authorise(request: Request, scope: str) -> tuple[AccessToken, By]:
    """Who asks, a client or a person, allowed to do what `scope` names. Failures without a token are counted, refusals logged, before
    they are told.

    Raises:
        NotAuthenticated, Forbidden
    """
    called = services(request)
    try:
        token, by = _asking(called, request)
    except NotAuthenticated:
        called.failures.note("access-token", called.clock())
        raise
    if scope not in token.scopes:
        reason = f"{'the roles give' if by.person else 'the token has'} no scope {scope}"
        called.log.record(called.event("refusal", by, "refuse", purpose=token.purpose, reason=reason))
        have = " ".join(sorted(token.scopes)) or "none"
        raise Forbidden(f"This needs the scope {scope}; {'your roles give' if by.person else 'the token has'} {have}.")
    return token, by


def _asking(called: Services, request: Request) -> tuple[AccessToken, By]:
    header, cookie = request.headers.get("authorization"), request.cookies.get(SESSION_COOKIE)
    # A browser sends its cookie along with whatever another site has it send: only what changes nothing is answered by it.
    if header is None and cookie and request.method in READ:
        session = called.sessions.find(cookie)
        if session is None or session.locked or session.method == "recovery-code":
            raise NotAuthenticated("You are not signed in, or your session is locked: sign in again.")
        by = By(session.person.organisation.slug, session=str(session.id), source=source_of(request), person=str(session.person.id))
        return token_of(session, cookie), by
    token = called.verifier.verify(header, called.clock())
    return token, By(token.organisation, token.client_id, token.session, source_of(request))


def token_of(session: Session, cookie: str = "") -> AccessToken:
    """What a person's session may do, in the words of a client's token; with its `cookie` where sealed fields are to be opened."""
    person = session.person
    scopes = frozenset(SCOPES_OF_ROLES[role] for role in person.roles if role in SCOPES_OF_ROLES)
    return AccessToken(
        f"session:{session.id}", person.organisation.slug, person.organisation.id, session.purpose, scopes,
        str(session.id), session.expires_at, session.case, cookie,
    )  # fmt: skip


@contextmanager
def refusals_logged(called: Services, token: AccessToken, by: By) -> Iterator[None]:
    """Logs, before it is told, what the flow does not: that a client whose token is good was disabled meanwhile, a session ended, or
    that a person has chosen no purpose yet.
    """
    try:
        yield
    except (NotAuthenticated, Forbidden) as error:
        if isinstance(error, NotAuthenticated) or token.purpose is None:
            called.log.record(called.event("refusal", by, "refuse", purpose=token.purpose, reason=error.detail))
        raise


def reader_of(token: AccessToken, by: By) -> Reader:
    """The reader behind a token with the scope `query`."""
    if token.purpose is None:
        raise Forbidden("No purpose is chosen: a person chooses one after signing in, a client asks for a token with one.")
    proof = Proof(cookie=token.brought) if by.person else Proof(token.brought)
    return Reader(token.organisation_id, token.client_id, token.purpose, by, token.case, proof=proof)
