"""Tickets: addresses that let one person in once. An invitation to make a first passkey, and the demo's sign-in links."""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import Engine, text

from hub.errors import InvalidRequest
from hub.identity import people
from hub.identity.connection import transaction
from hub.identity.people import Person

Kind = Literal["invitation", "link"]
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url

_VOID_OLDER = text("update hub.tickets set used_at = :now where person = :person and kind = 'invitation' and used_at is null")
_ISSUE = text("insert into hub.tickets (token_hash, person, kind, expires_at) values (:token_hash, :person, :kind, :expires_at)")
_LOOK = text(
    "select t.person from hub.tickets t join hub.people p on p.id = t.person"
    " where t.token_hash = :token_hash and t.kind = :kind and t.used_at is null and t.expires_at > :now"
    " and (p.disabled_at is null or p.disabled_at > :now)"
)
# PostgreSQL asks the conditions again after waiting for another user of the same row: so one caller wins.
_USE = text(
    "update hub.tickets t set used_at = :now from hub.people p"
    " where t.token_hash = :token_hash and t.kind = :kind and t.used_at is null and t.expires_at > :now"
    " and p.id = t.person and (p.disabled_at is null or p.disabled_at > :now) returning t.person"
)


def issue(engine: Engine, person_id: UUID, kind: Kind, now: datetime, ttl: timedelta) -> str:
    """A new token, told this once: the hub keeps its SHA-256. A new invitation voids the person's older ones.

    Raises:
        InvalidRequest: there is no such person, or they are disabled.
    """
    token = secrets.token_urlsafe(32)
    person = people.by_id(engine, person_id)
    if person is None or person.disabled(now):
        raise InvalidRequest("There is no such person, or they are disabled.", field="person")
    with transaction(engine) as connection:
        if kind == "invitation":
            connection.execute(_VOID_OLDER, {"person": person_id, "now": now})
        values = {"token_hash": _hash(token), "person": person_id, "kind": kind, "expires_at": now + ttl}
        connection.execute(_ISSUE, values)
    return token


def look(engine: Engine, token: str, kind: Kind, now: datetime) -> Person | None:
    """Whose ticket it is, without using it up; None: unknown, used, void, expired, or its person is disabled."""
    if not TOKEN.fullmatch(token):
        return None
    with transaction(engine) as connection:
        found = connection.scalar(_LOOK, {"token_hash": _hash(token), "kind": kind, "now": now})
        return people.read(connection, found) if found else None


def use(engine: Engine, token: str, kind: Kind, now: datetime) -> Person | None:
    """Whose ticket it was, for exactly one caller, durably; None for all others, and where `look` says None."""
    if not TOKEN.fullmatch(token):
        return None
    with transaction(engine) as connection:
        found = connection.scalar(_USE, {"token_hash": _hash(token), "kind": kind, "now": now})
        return people.read(connection, found) if found else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
