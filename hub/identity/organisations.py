"""Organisations that share through the hub: partners, and auditors who only read the log."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, text

from hub.errors import Conflict, InvalidRequest
from hub.identity.connection import transaction

KINDS = ("partner", "auditor")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
MAX_NAME = 200

_ADD = text(
    "insert into hub.organisations (slug, name, kind) values (:slug, :name, :kind)"
    " on conflict (slug) do nothing returning id, uid, slug, name, kind"
)
_GET = text("select id, uid, slug, name, kind from hub.organisations where slug = :slug")
_ALL = text("select id, uid, slug, name, kind from hub.organisations order by slug")


@dataclass(frozen=True)
class Organisation:
    """`id` stays inside the hub; `uid` is the public name for machines, `slug` the one MOUs are written with."""

    id: int
    uid: UUID
    slug: str
    name: str
    kind: str


def add(engine: Engine, slug: str, name: str, kind: str = "partner") -> Organisation:
    """Raises:
    InvalidRequest: slug, name or kind is not acceptable; `field` says which.
    Conflict: the slug is taken.
    """
    _check(slug, name, kind)
    with transaction(engine) as connection:
        row = connection.execute(_ADD, {"slug": slug, "name": name, "kind": kind}).one_or_none()
    if row is None:
        raise Conflict(f"There is already an organisation {slug!r}.", field="slug")
    return _organisation(row)


def get(engine: Engine, slug: str) -> Organisation:
    """Raises `InvalidRequest` when there is no such organisation."""
    row = None
    if SLUG.fullmatch(slug):
        with transaction(engine) as connection:
            row = connection.execute(_GET, {"slug": slug}).one_or_none()
    if row is None:
        raise InvalidRequest(f"There is no organisation {slug!r}.", field="organisation")
    return _organisation(row)


def all_of(engine: Engine) -> list[Organisation]:
    """Every organisation, by slug."""
    with transaction(engine) as connection:
        return [_organisation(row) for row in connection.execute(_ALL)]


def _check(slug: str, name: str, kind: str) -> None:
    if not SLUG.fullmatch(slug):
        reason = "A slug is 2 to 63 lower-case letters, digits and hyphens, and doesn't begin with a hyphen."
        raise InvalidRequest(reason, field="slug")
    if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME):
        raise InvalidRequest(f"A name is 1 to {MAX_NAME} printable characters.", field="name")
    if kind not in KINDS:
        raise InvalidRequest(f"A kind is one of: {', '.join(KINDS)}.", field="kind")


def _organisation(row: Row[Any]) -> Organisation:
    return Organisation(id=row.id, uid=row.uid, slug=row.slug, name=row.name, kind=row.kind)
