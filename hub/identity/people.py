"""People of an organisation: who they are and what they may do here. How they prove it is in `passkeys`, `recovery` and `tickets`.

The SQL of this package names a person's columns as `person_of` reads them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from hub.errors import Conflict, InvalidRequest
from hub.identity import organisations
from hub.identity.connection import transaction
from hub.identity.organisations import MAX_NAME, Organisation

ROLES = ("integrator", "analyst", "auditor", "agreement-lead", "operator")
AUDITORS_ROLES = frozenset({"auditor", "operator"})
HANDLE = re.compile(r"[a-z0-9._@+-]{2,100}")

_ADD = text(
    "insert into hub.people (organisation, handle, name, roles) values (:organisation, :handle, :name, cast(:roles as text[]))"
    " on conflict (handle) do nothing returning id"
)
# What is not asked for is null, and its condition gone before the statement is planned.
_FIND = text(
    "select p.id as person, p.handle, p.name, p.roles, p.disabled_at,"
    " o.id as organisation, o.uid, o.slug, o.name as organisation_name, o.kind"
    " from hub.people p join hub.organisations o on o.id = p.organisation"
    " where (cast(:id as uuid) is null or p.id = cast(:id as uuid)) and (cast(:handle as text) is null or p.handle = :handle)"
    " and (cast(:organisation as text) is null or o.slug = :organisation) order by o.slug, p.handle"
)
_NAMES = text(
    "select p.id, p.name, o.slug from hub.people p join hub.organisations o on o.id = p.organisation where p.id = any(cast(:ids as uuid[]))"
)
_SET_ROLES = text("update hub.people set roles = cast(:roles as text[]) where id = :person")
_DISABLE = text("update hub.people set disabled_at = least(disabled_at, :at) where id = :person")
_END_SESSIONS = text("update hub.sessions set ended_at = :at where person = :person and ended_at is null")
_VOID_TICKETS = text("update hub.tickets set used_at = :at where person = :person and used_at is null")
_FORGET_PASSKEYS = text("delete from hub.passkeys where person = :person")
_FORGET_CODES = text("delete from hub.recovery_codes where person = :person")


@dataclass(frozen=True)
class Person:
    """`id` is what the log says, `handle` what an operator types, `name` what pages show."""

    id: UUID
    organisation: Organisation
    handle: str
    name: str
    roles: frozenset[str]
    disabled_at: datetime | None

    def disabled(self, now: datetime) -> bool:
        return self.disabled_at is not None and self.disabled_at <= now


@dataclass(frozen=True)
class Named:
    """How a person is called on pages that show the log."""

    name: str
    organisation_slug: str


def add(engine: Engine, organisation_slug: str, handle: str, name: str, roles: Iterable[str]) -> Person:
    """Adds a person, who can't sign in before they have used an invitation.

    Raises:
        InvalidRequest: the organisation, handle, name or roles are not acceptable; `field` says which.
        Conflict: the handle is taken; handles are unique on the hub.
    """
    if not HANDLE.fullmatch(handle):
        raise InvalidRequest("A handle is 2 to 100 lower-case letters, digits and the characters . _ @ + -.", field="handle")
    if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME):
        raise InvalidRequest(f"A name is 1 to {MAX_NAME} printable characters.", field="name")
    organisation = organisations.get(engine, organisation_slug)
    allowed = check_roles(organisation, roles)
    values = {"organisation": organisation.id, "handle": handle, "name": name, "roles": sorted(allowed)}
    with transaction(engine) as connection:
        if connection.execute(_ADD, values).one_or_none() is None:
            raise Conflict(f"There is already a person {handle!r}.", field="handle")
        return _one(connection, handle=handle)


def find(engine: Engine, handle: str) -> Person | None:
    """The person, or None; never asks the database about a handle that cannot be one."""
    if not HANDLE.fullmatch(handle):
        return None
    with transaction(engine) as connection:
        found = _find(connection, handle=handle)
    return found[0] if found else None


def get(engine: Engine, handle: str) -> Person:
    """Raises `InvalidRequest` when there is no such person."""
    person = find(engine, handle)
    if person is None:
        raise InvalidRequest(f"There is no person {handle!r}.", field="handle")
    return person


def by_id(engine: Engine, id: UUID) -> Person | None:
    with transaction(engine) as connection:
        found = _find(connection, id=id)
    return found[0] if found else None


def read(connection: Connection, id: UUID) -> Person:
    """The person of an id that a row of this transaction has named."""
    return _one(connection, id=id)


def all_of(engine: Engine, organisation_slug: str | None) -> list[Person]:
    """The people of an organisation, or everybody (None), the disabled among them; by organisation and handle."""
    with transaction(engine) as connection:
        return _find(connection, organisation=organisation_slug)


def names(engine: Engine, ids: Iterable[UUID]) -> dict[UUID, Named]:
    """How the people of these ids are called; an id that is nobody's is left out."""
    with transaction(engine) as connection:
        rows = connection.execute(_NAMES, {"ids": list(ids)})
        return {row.id: Named(row.name, row.slug) for row in rows}


def set_roles(engine: Engine, handle: str, roles: Iterable[str]) -> Person:
    """Replaces a person's roles; felt by the next request of whoever is signed in.

    Raises:
        InvalidRequest: no such person, or roles that are not acceptable.
    """
    person = get(engine, handle)
    allowed = check_roles(person.organisation, roles)
    with transaction(engine) as connection:
        connection.execute(_SET_ROLES, {"person": person.id, "roles": sorted(allowed)})
        return read(connection, person.id)


def disable(engine: Engine, handle: str, at: datetime) -> Person:
    """No way in from `at` on (an earlier disabling stands); sessions end, and tickets are void, at once. Unknown: `InvalidRequest`."""
    person = get(engine, handle)
    with transaction(engine) as connection:
        for statement in (_DISABLE, _END_SESSIONS, _VOID_TICKETS):
            connection.execute(statement, {"person": person.id, "at": at})
        return read(connection, person.id)


def revoke(engine: Engine, person_id: UUID, at: datetime) -> None:
    """Takes every way in away at once: passkeys, recovery codes, tickets, sessions. For somebody who lost their devices."""
    with transaction(engine) as connection:
        for statement in (_FORGET_PASSKEYS, _FORGET_CODES):
            connection.execute(statement, {"person": person_id})
        for statement in (_END_SESSIONS, _VOID_TICKETS):
            connection.execute(statement, {"person": person_id, "at": at})


def check_roles(organisation: Organisation, roles: Iterable[str]) -> frozenset[str]:
    """The roles, if a person of this organisation may have them; raises `InvalidRequest` otherwise."""
    wanted = frozenset(roles)
    if not wanted or not wanted <= set(ROLES):
        raise InvalidRequest(f"Roles are one or more of: {', '.join(ROLES)}.", field="roles")
    if organisation.kind == "auditor" and not wanted <= AUDITORS_ROLES:
        reason = (
            f"{organisation.slug} is an auditor and reads everybody's log: its people are auditor or operator only, "
            "so that they have no part in what they look into."
        )
        raise InvalidRequest(reason, field="roles")
    return wanted


def person_of(row: Row[Any]) -> Person:
    """The person in a row that names the columns as `_FIND` does."""
    organisation = Organisation(id=row.organisation, uid=row.uid, slug=row.slug, name=row.organisation_name, kind=row.kind)
    return Person(row.person, organisation, row.handle, row.name, frozenset(row.roles), row.disabled_at)


def _find(connection: Connection, *, id: UUID | None = None, handle: str | None = None, organisation: str | None = None) -> list[Person]:
    return [person_of(row) for row in connection.execute(_FIND, {"id": id, "handle": handle, "organisation": organisation})]


def _one(connection: Connection, *, id: UUID | None = None, handle: str | None = None) -> Person:
    (person,) = _find(connection, id=id, handle=handle)
    return person
