"""OAuth 2 clients: a program of an organisation, known by one registered public key."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, text

from hub.errors import Conflict, InvalidRequest
from hub.identity import organisations
from hub.identity.connection import transaction
from hub.identity.keys import read_public
from hub.identity.organisations import Organisation

SCOPES = frozenset({"publish", "query", "audit", "agreements"})
CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")

_ADD = text(
    "insert into hub.clients (client_id, organisation, jwk, scopes)"
    " values (:client_id, :organisation, cast(:jwk as jsonb), cast(:scopes as text[]))"
    " on conflict (client_id) do nothing returning client_id"
)
_GET = text(
    "select c.client_id, c.jwk, c.scopes, c.disabled_at, o.id, o.uid, o.slug, o.name, o.kind"
    " from hub.clients c join hub.organisations o on o.id = c.organisation where c.client_id = :client_id"
)
_DISABLE = text("update hub.clients set disabled_at = least(disabled_at, :at) where client_id = :client_id returning client_id")


@dataclass(frozen=True)
class Client:
    """`jwk` is public (RFC 7517). From `disabled_at` on it gets no token; those it has live out their minutes."""

    client_id: str
    organisation: Organisation
    jwk: dict[str, str]
    scopes: frozenset[str]
    disabled_at: datetime | None

    def disabled(self, now: datetime) -> bool:
        return self.disabled_at is not None and self.disabled_at <= now


def add(engine: Engine, organisation_slug: str, client_id: str, public_jwk_or_pem: str | bytes, scopes: Iterable[str]) -> Client:
    """Registers a client with its public key (JWK or PEM).

    Raises:
        InvalidRequest: the id, key, scopes or organisation is not acceptable; `field` says which.
        Conflict: the client id is taken.
    """
    if not CLIENT_ID.fullmatch(client_id):
        reason = "A client id is 2 to 63 lower-case letters, digits, dots, hyphens and underscores."
        raise InvalidRequest(reason, field="client_id")
    allowed = _scopes(scopes)
    jwk = read_public(public_jwk_or_pem)
    organisation = organisations.get(engine, organisation_slug)
    values = {
        "client_id": client_id,
        "organisation": organisation.id,
        "jwk": json.dumps(jwk),
        "scopes": sorted(allowed),
    }
    with transaction(engine) as connection:
        if connection.execute(_ADD, values).one_or_none() is None:
            raise Conflict(f"There is already a client {client_id!r}.", field="client_id")
    return Client(client_id, organisation, jwk, allowed, None)


def find(engine: Engine, client_id: str) -> Client | None:
    """The client, or None; never asks the database about an id that cannot be one."""
    if not CLIENT_ID.fullmatch(client_id):
        return None
    with transaction(engine) as connection:
        row = connection.execute(_GET, {"client_id": client_id}).one_or_none()
    return _client(row) if row else None


def get(engine: Engine, client_id: str) -> Client:
    """Raises `InvalidRequest` when there is no such client."""
    client = find(engine, client_id)
    if client is None:
        raise InvalidRequest(f"There is no client {client_id!r}.", field="client_id")
    return client


def disable(engine: Engine, client_id: str, at: datetime) -> None:
    """No token for this client from `at` on; an earlier disabling stands. Unknown client: `InvalidRequest`."""
    if CLIENT_ID.fullmatch(client_id):
        with transaction(engine) as connection:
            if connection.execute(_DISABLE, {"client_id": client_id, "at": at}).one_or_none():
                return
    raise InvalidRequest(f"There is no client {client_id!r}.", field="client_id")


def _scopes(scopes: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(scopes)
    if not wanted or wanted - SCOPES:
        raise InvalidRequest(f"Scopes are one or more of: {', '.join(sorted(SCOPES))}.", field="scopes")
    return wanted


def _client(row: Row[Any]) -> Client:
    organisation = Organisation(id=row.id, uid=row.uid, slug=row.slug, name=row.name, kind=row.kind)
    return Client(row.client_id, organisation, row.jwk, frozenset(row.scopes), row.disabled_at)
