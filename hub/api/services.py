"""What the handlers call; `hub.app` puts it together and hands it to the application."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from starlette.requests import Request

from hub.audit.failures import Failures
from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Log
from hub.errors import Forbidden, NoSuchResource, NotAuthenticated
from hub.identity.server import TokenServer
from hub.identity.token_key import TokenKey
from hub.identity.tokens import AccessToken, Verifier
from hub.records import Record
from hub.settings import Settings
from hub.sharing.imports import Imports
from hub.sharing.publish import Publisher, Publishing
from hub.sharing.query import Querying, Reader
from hub.sharing.replies import Replies

READ = ["GET", "HEAD"]  # RFC 9110 §9.1: HEAD is not optional; it is decided and logged like the GET it stands for


@dataclass(frozen=True)
class Shared:
    """One dataset and its two flows."""

    name: str
    dataset: type[Record]
    publishing: Publishing
    querying: Querying
    imports: Imports


@dataclass(frozen=True)
class Services:
    settings: Settings
    datasets: Mapping[str, Shared]
    log: Log
    failures: Failures
    tokens: TokenServer
    token_key: TokenKey
    verifier: Verifier
    replies: Replies
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
    """Who asks, allowed to do what `scope` names. Failures without a token are counted, refusals logged, before they are told.

    Raises:
        NotAuthenticated, Forbidden
    """
    called = services(request)
    try:
        token = called.verifier.verify(request.headers.get("authorization"), called.clock())
    except NotAuthenticated:
        called.failures.note("access-token", called.clock())
        raise
    by = By(token.organisation, token.client_id, token.session, source_of(request))
    if scope not in token.scopes:
        reason = f"the token has no scope {scope}"
        called.log.record(called.event("refusal", by, "refuse", purpose=token.purpose, reason=reason))
        raise Forbidden(f"This needs the scope {scope}; the token has {' '.join(sorted(token.scopes)) or 'none'}.")
    return token, by


@contextmanager
def refusals_logged(called: Services, token: AccessToken, by: By) -> Iterator[None]:
    """Logs, before it is told, that a client whose token is good was refused after all: it was disabled meanwhile."""
    try:
        yield
    except NotAuthenticated as error:
        called.log.record(called.event("refusal", by, "refuse", purpose=token.purpose, reason=error.detail))
        raise


def reader_of(token: AccessToken, by: By) -> Reader:
    """The reader behind a token with the scope `query`."""
    if token.purpose is None:
        raise Forbidden("This token names no purpose; ask for one with a purpose.")
    return Reader(token.organisation_id, token.client_id, token.purpose, by)
