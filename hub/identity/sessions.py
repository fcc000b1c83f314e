"""Sessions of people who signed in: kept by the hub, named by a cookie of which it keeps the SHA-256 alone.

A session locks when nobody used it for half an hour and ends after twelve hours. `hub.admit` asks the same of `session:<id>` at each
query, so that an end is felt there too. For five minutes after signing in or unlocking it is `proven`: a cookie alone, which can be
stolen, is not enough to change how its person signs in.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import Engine, Row, text

from hub.db import passing_faults
from hub.errors import NotAuthenticated
from hub.identity.connection import transaction
from hub.identity.people import Person, person_of

IDLE = timedelta(minutes=30)
LIFETIME = timedelta(hours=12)
PROVEN = timedelta(minutes=5)
SEEN_EVERY = timedelta(minutes=1)  # so a lock may come up to this much early
COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url

_BEGIN = text(
    "insert into hub.sessions (token_hash, person, method, created_at, seen_at, expires_at, proven_at)"
    " select :token_hash, p.id, :method, :now, :now, :expires_at, :now from hub.people p"
    " where p.id = :person and (p.disabled_at is null or p.disabled_at > :now)"
    " returning id, method, purpose, case_reference, created_at, seen_at, expires_at, false as locked, true as proven"
)
_FIND = text("""
with found as (
  select s.id, s.method, s.purpose, s.case_reference, s.created_at, s.seen_at, s.expires_at, s.seen_at <= :now - :idle as locked,
         coalesce(s.proven_at > :now - :proven, false) as proven,
         p.id as person, p.handle, p.name, p.roles, p.disabled_at,
         o.id as organisation, o.uid, o.slug, o.name as organisation_name, o.kind
  from hub.sessions s join hub.people p on p.id = s.person join hub.organisations o on o.id = p.organisation
  where s.token_hash = :token_hash and s.ended_at is null and s.expires_at > :now and (p.disabled_at is null or p.disabled_at > :now)
), seen as (
  update hub.sessions s set seen_at = :now from found f where s.id = f.id and not f.locked and f.seen_at <= :now - :every)
select * from found""")
_UNLOCK = text(
    "update hub.sessions s set token_hash = :token_hash, method = :method, seen_at = :now, proven_at = :now from hub.people p"
    " where s.id = :id and s.ended_at is null and s.expires_at > :now"
    " and p.id = s.person and (p.disabled_at is null or p.disabled_at > :now)"
    " returning s.id, s.method, s.purpose, s.case_reference, s.created_at, s.seen_at, s.expires_at, false as locked, true as proven"
)
_CHOOSE = text("update hub.sessions set purpose = :purpose, case_reference = :case where id = :id and ended_at is null returning id")
_END = text("update hub.sessions set ended_at = :now where id = :id and ended_at is null")
_END_ALL = text(
    "update hub.sessions set ended_at = :now where person = :person and ended_at is null and expires_at > :now"
    " and (cast(:but as uuid) is null or id <> cast(:but as uuid))"
)
_OF = text("""
select s.id, s.method, s.purpose, s.case_reference, s.created_at, s.seen_at, s.expires_at, s.seen_at <= :now - :idle as locked,
       coalesce(s.proven_at > :now - :proven, false) as proven,
       p.id as person, p.handle, p.name, p.roles, p.disabled_at, o.id as organisation, o.uid, o.slug, o.name as organisation_name, o.kind
from hub.sessions s join hub.people p on p.id = s.person join hub.organisations o on o.id = p.organisation
where s.person = :person and s.ended_at is null and s.expires_at > :now and (p.disabled_at is null or p.disabled_at > :now)
order by s.seen_at desc, s.id""")


@dataclass(frozen=True)
class Session:
    """Somebody who signed in. `seen_at` is exact to a minute; `proven`: within the last five minutes, by a passkey or by the way in;
    `csrf` is what a form of this session carries, empty where the session was only listed.
    """

    id: UUID
    person: Person
    method: str
    purpose: str | None
    case: str | None
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    locked: bool
    proven: bool
    csrf: str = field(repr=False)


class Sessions:
    """Begins, finds and ends sessions. `key` is what CSRF tokens are made with: they are neither the cookie nor stored."""

    def __init__(self, engine: Engine, key: bytes, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._key = key
        self._clock = clock

    def begin(self, person: Person, method: str) -> tuple[str, Session]:
        """A new session and its cookie's value, which is always a new one: a cookie that somebody planted becomes nobody's.

        Raises:
            NotAuthenticated: the person is disabled.
        """
        cookie, now = secrets.token_urlsafe(32), self._clock()
        values = {"person": person.id, "method": method, "now": now, "expires_at": now + LIFETIME}
        with transaction(self._engine) as connection:
            row = connection.execute(_BEGIN, {"token_hash": _hash(cookie), **values}).one_or_none()
        if row is None:
            _gone("You can't sign in: ask the operator of the hub.")
        return cookie, _session(row, person, self._csrf(cookie))

    def find(self, cookie_value: str) -> Session | None:
        """The session of a cookie, perhaps locked, and noted as used unless it is; None: unknown, ended, expired, person disabled."""
        if not COOKIE.fullmatch(cookie_value):
            return None
        values = {"token_hash": _hash(cookie_value), "now": self._clock(), "idle": IDLE, "every": SEEN_EVERY, "proven": PROVEN}
        # One statement that is a transaction of its own: every page asks.
        with passing_faults(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            row = connection.execute(_FIND, values).one_or_none()
        return _session(row, person_of(row), self._csrf(cookie_value)) if row else None

    def unlock(self, session: Session, method: str) -> tuple[str, Session]:
        """The same session, proven, under a new cookie, which the old one is void for, with its purpose and its end.

        Raises:
            NotAuthenticated: it has ended meanwhile.
        """
        cookie, now = secrets.token_urlsafe(32), self._clock()
        values = {"id": session.id, "method": method, "now": now, "token_hash": _hash(cookie)}
        with transaction(self._engine) as connection:
            row = connection.execute(_UNLOCK, values).one_or_none()
        if row is None:
            _gone()
        return cookie, _session(row, session.person, self._csrf(cookie))

    def choose(self, session: Session, purpose: str, case: str | None) -> Session:
        """The session with a purpose, and a case where it needs one. Whether they may be chosen is for the caller to know.

        Raises:
            NotAuthenticated: it has ended meanwhile.
        """
        with transaction(self._engine) as connection:
            if connection.execute(_CHOOSE, {"id": session.id, "purpose": purpose, "case": case}).one_or_none() is None:
                _gone()
        return replace(session, purpose=purpose, case=case)

    def end(self, session: Session) -> None:
        """Signs out; harmless to repeat."""
        self._end(_END, {"id": session.id})

    def end_all(self, person_id: UUID, but: UUID | None = None) -> int:
        """Signs a person out everywhere, `but` in one session; how many sessions ended."""
        return self._end(_END_ALL, {"person": person_id, "but": but})

    def of(self, person_id: UUID) -> list[Session]:
        """A person's sessions that have not ended, the last used first, without their CSRF tokens."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_OF, {"person": person_id, "now": self._clock(), "idle": IDLE, "proven": PROVEN})
            return [_session(row, person_of(row), "") for row in rows]

    def _end(self, statement: Any, values: Mapping[str, Any]) -> int:
        with transaction(self._engine) as connection:
            ended: int = connection.execute(statement, {**values, "now": self._clock()}).rowcount
        return ended

    def _csrf(self, cookie: str) -> str:
        return hmac.new(self._key, b"csrf " + cookie.encode(), hashlib.sha256).hexdigest()


def _gone(sentence: str = "Your session has ended: sign in again.") -> NoReturn:
    raise NotAuthenticated(sentence)


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()


def _session(row: Row[Any], person: Person, csrf: str) -> Session:
    times = (row.created_at, row.seen_at, row.expires_at)
    return Session(row.id, person, row.method, row.purpose, row.case_reference, *times, row.locked, row.proven, csrf)
