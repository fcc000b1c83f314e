"""Versions of agreements in the database: read, locked, stepped on. Every step leaves a leaf with both parties, in its transaction."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import shapely

from hub.agreements.boundaries import area_of
from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.db import Transaction
from hub.errors import InvalidPolicy, NoSuchResource, Problem
from hub.policy.mou import Mou

ABSENT = "There is no such version of an agreement, or your organisation is not a party of it."
OPEN = ("draft", "proposed", "signed", "activating")  # on its way
_VERSION = """
select m.id, m.mou, m.version, m.sha256, m.state, p.slug, c.slug, m.provider, m.consumer, m.in_force_from, m.in_force_until, m.stepped_at,
       m.source, m.statement,
       coalesce((select jsonb_agg(jsonb_build_object('party', o.slug, 'kid', s.kid, 'at', s.at) order by s.at)
                 from hub.mou_signatures s join hub.organisations o on o.id = s.organisation where s.mou_id = m.id), '[]'),
       b.slug
from hub.mous m join hub.organisations p on p.id = m.provider join hub.organisations c on c.id = m.consumer
left join hub.organisations b on b.id = m.suspended_by"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes a step: somebody of an organisation who may act for it, or the operator of the hub (`organisation` None)."""

    organisation: str | None
    by: By


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an agreement. `since` ≤ now < `until` is its period; `suspended_by` None: the operator, or nobody."""

    id: int
    mou: str
    version: int
    sha256: str
    state: str
    provider: str
    consumer: str
    provider_id: int
    consumer_id: int
    since: datetime
    until: datetime
    stepped_at: datetime
    source: str
    statement: str | None
    signatures: Sequence[Mapping[str, Any]]
    suspended_by: str | None

    @property
    def document_sha256(self) -> str | None:
        """Of the document that people read before they sign; None while it is a draft, or if it was loaded without signatures."""
        return None if self.statement is None else str(json.loads(self.statement)["document"])

    def state_at(self, now: datetime) -> str:
        """The state as a reader sees it: what is in force ends with its period."""
        return "expired" if self.state in ("active", "suspended") and now >= self.until else self.state

    @property
    def parties(self) -> tuple[str, str]:
        return self.provider, self.consumer

    def party_id(self, slug: str) -> int:
        return self.provider_id if slug == self.provider else self.consumer_id


def number_of(text: str) -> int:
    """The number of a version in an address. Raises NoSuchResource: it is none, so there is no such version."""
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise NoSuchResource(ABSENT)
    return int(text)


def find(tx: Transaction, actor: Actor, mou: str, version: int, *, lock: bool = False) -> Version:
    """A version that the actor's organisation is a party of.

    Raises:
        NoSuchResource: there is none, or it is other people's: one answer.
    """
    for found in versions(tx, "m.mou = %s and m.version = %s", (mou, version), lock=lock):
        if actor.organisation is None or actor.organisation in found.parties:
            return found
    raise NoSuchResource(ABSENT)


def versions(tx: Transaction, where: str, arguments: Sequence[Any], *, lock: bool = False) -> list[Version]:
    """Versions in the order of their names and numbers."""
    rows = tx.rows(f"{_VERSION} where {where} order by m.mou, m.version{' for update of m' if lock else ''}", arguments)
    return [Version(*row) for row in rows]


def document_of(tx: Transaction, found: Version) -> bytes | None:
    """What people read before they sign; None while it is a draft, or if it was loaded without signatures."""
    content = tx.rows("select document from hub.mous where id = %s", (found.id,))[0][0]
    return None if content is None else bytes(content)


def step(tx: Transaction, found: Version, state: str, now: datetime, **columns: Any) -> None:
    """The version gets a new state, and what goes with it."""
    more = "".join(f", {name} = %s" for name in columns)
    tx.rows(f"update hub.mous set state = %s, stepped_at = %s{more} where id = %s", (state, now, *columns.values(), found.id))


def log_step(tx: Transaction, actor: Actor, found: Version, did: str, now: datetime, **asked: Any) -> None:
    """The leaf of a step, one for each party."""
    event = Event(event_id(now, os.urandom(10)), "mou", now, actor.by, "permit", asked={"step": did, **asked})
    under = [{"mou": found.mou, "version": found.version, "sha256": found.sha256}]
    append(tx, event, [Share(party, under) for party in found.parties])


def areas_of(tx: Transaction, mou: Mou) -> dict[str, shapely.Geometry]:
    """The areas of an MOU, from the boundary files that the hub was sent.

    Raises:
        InvalidPolicy: it has no such file, or the file holds no valid area.
    """
    return {name: _area(tx, f"jurisdictions.{name}", pinned.sha256) for name, pinned in mou.jurisdictions.items()}


def _area(tx: Transaction, place: str, digest: str) -> shapely.Geometry:
    rows = tx.rows("select content from hub.boundaries where sha256 = %s", (digest,))
    if not rows:
        reason = f"the hub has no boundary file with the SHA-256 {digest}; send it first"
        raise InvalidPolicy(f"{place}.sha256: {reason}", problems=[Problem(f"{place}.sha256", reason)])
    content = bytes(rows[0][0])
    if sha256(content).hexdigest() != digest:
        reason = "the hub's copy of the boundary file is not the one that is pinned"
        raise InvalidPolicy(f"{place}.sha256: {reason}", problems=[Problem(f"{place}.sha256", reason)])
    return area_of(place, content)
