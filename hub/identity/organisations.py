"""Organisations that share through the hub: partners, and auditors who only read the log."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, text

from hub.errors import Conflict, InvalidRequest
from hub.geo import Box, valid_place
from hub.identity.connection import transaction

KINDS = ("partner", "auditor")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
MAX_NAME = 200

_ADD = text(
    "insert into hub.organisations (slug, name, kind, area) values (:slug, :name, :kind, :area)"
    " on conflict (slug) do nothing returning id, uid, slug, name, kind, area"
)
_GET = text("select id, uid, slug, name, kind, area from hub.organisations where slug = :slug")
_ALL = text("select id, uid, slug, name, kind, area from hub.organisations order by slug")


@dataclass(frozen=True)
class Organisation:
    """`id` stays inside the hub; `uid` is the public name for machines, `slug` the one MOUs are written with. `area`: the box
    its records usually lie in (west, south, east, north in degrees), by which swapped coordinates are noticed.
    """

    id: int
    uid: UUID
    slug: str
    name: str
    kind: str
    area: Box | None = None


def add(engine: Engine, slug: str, name: str, kind: str = "partner", area: Box | None = None) -> Organisation:
    """Raises:
    InvalidRequest: slug, name, kind or area is not acceptable; `field` says which.
    Conflict: the slug is taken.
    """
    _check(slug, name, kind)
    if area and not (valid_place(area.west, area.south) and valid_place(area.east, area.north) and area.south <= area.north):
        raise InvalidRequest("An area is west,south,east,north in degrees.", field="area")
    with transaction(engine) as connection:
        values = {"slug": slug, "name": name, "kind": kind, "area": list(area) if area else None}
        row = connection.execute(_ADD, values).one_or_none()
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
    return Organisation(id=row.id, uid=row.uid, slug=row.slug, name=row.name, kind=row.kind, area=Box(*row.area) if row.area else None)
