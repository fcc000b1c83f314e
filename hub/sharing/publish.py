"""Publish: a partner's records go in, sealed, labelled, logged, in one transaction (docs/decisions/0010).

    lock the records of these external ids → seal what is new or changed (keys durable first) → store, label → leaf → commit

Nothing of a request is stored when any of it fails. An acknowledged record survives kill -9.
"""

import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg2
from sqlalchemy import Engine

from hub.audit.leaf import By, Event, Leaf, Share, event_id
from hub.audit.log import append
from hub.audit.tree import root
from hub.crypto.keyring import Keyring, Sealing
from hub.db import Transaction, transaction
from hub.errors import Conflict, InvalidRecord, NotAuthenticated, Problem
from hub.geo import Box
from hub.records import Record
from hub.sharing.incoming import Incoming, Revision, inbox, incoming

RETRIES = 5
BUCKET = "default"  # retention bucket, until MOUs carry retention


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes. `uid` is the organisation's id in ciphertexts, `number` in the tables, `area` where its records usually lie."""

    number: int
    uid: UUID
    slug: str
    by: By
    area: Box | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one record: outcome is created, updated or unchanged."""

    external_id: str
    id: UUID
    rev: int
    revision_no: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Published:
    """`event` and `leaf` (RFC 6962 leaf hash, hex) name the log's entry of this publication."""

    event: UUID
    leaf: str
    receipts: Sequence[Receipt]


@dataclass(frozen=True, slots=True)
class _Known:
    id: UUID
    rev: int
    revision_no: int
    content_mac: bytes


@dataclass(frozen=True)
class Publishing:
    """The publish flow for one dataset."""

    name: str
    dataset: type[Record]
    engine: Engine
    keyring: Keyring
    clock: Callable[[], datetime]
    random_id: Callable[[], UUID]

    def publish(self, publisher: Publisher, records: Sequence[Record]) -> Published:
        """Stores `records` (all of them or none) and gives the receipts in their order.

        Raises:
            InvalidRecord: two records have one external id, or coordinates are swapped.
            Conflict: another request kept changing the same records.
            Unavailable: a database is down; nothing was stored.
        """
        _refuse_swapped(publisher.area, records)
        batch = [incoming(r) for r in records]
        _refuse_twins(batch)
        for _ in range(RETRIES):
            try:
                return self._attempt(publisher, batch)
            except psycopg2.errors.UniqueViolation:
                continue  # somebody created the same external id meanwhile: now it is an update
            except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected):
                continue
        raise Conflict("These records are being changed by another request; try again.")

    def _attempt(self, publisher: Publisher, batch: Sequence[Incoming]) -> Published:
        with transaction(self.engine) as tx:
            known = self._lock(tx, publisher, batch)
            macs = [self.keyring.mac("content", publisher.uid, record.content) for record in batch]
            changed = [
                self._next(record, mac, known.get(record.external_id))
                for record, mac in zip(batch, macs, strict=True)
                if not _same(known.get(record.external_id), mac)
            ]
            revisions = self._sealed(publisher, changed)
            numbers = self._store(tx, publisher, revisions)
            event = self._event(publisher, batch)
            leaf = self._log(tx, event, publisher, revisions, numbers)
            tx.rows("commit")
        return Published(event.id, leaf.hash.hex(), _receipts(batch, known, revisions, numbers))

    def _lock(self, tx: Transaction, publisher: Publisher, batch: Sequence[Incoming]) -> dict[str, _Known]:
        ((active,),) = tx.rows("begin; select active from hub.admit(%s)", (publisher.by.client,))
        if not active:
            raise NotAuthenticated("This client has been disabled.")
        rows = tx.rows(f"select * from hub.{self.name}_lock(%s, %s)", (publisher.number, [record.external_id for record in batch]))
        return {row[0]: _Known(row[1], row[2], row[3], bytes(row[4])) for row in rows}

    def _next(self, record: Incoming, mac: bytes, known: _Known | None) -> Revision:
        return Revision(known.id if known else self.random_id(), known.rev + 1 if known else 1, record, mac, {})

    def _sealed(self, publisher: Publisher, changed: Sequence[Revision]) -> list[Revision]:
        sealings = [Sealing(publisher.uid, r.id, r.rev, self.dataset.schema_no, BUCKET, r.record.sealed) for r in changed]
        blobs = self.keyring.seal_batch(sealings) if sealings else []
        return [Revision(r.id, r.rev, r.record, r.content_mac, b) for r, b in zip(changed, blobs, strict=True)]

    def _store(self, tx: Transaction, publisher: Publisher, revisions: Sequence[Revision]) -> list[int]:
        if not revisions:
            return []
        batch = self.random_id()
        statement, text = inbox(self.name, self.dataset, batch, revisions)
        tx.copy(statement, text)
        rows = tx.rows(f"select ordinal, revision_no from hub.{self.name}_store(%s::uuid, %s)", (str(batch), publisher.number))
        return [number for _, number in sorted(rows)]

    def _event(self, publisher: Publisher, batch: Sequence[Incoming]) -> Event:
        now = self.clock()
        return Event(
            event_id(now, os.urandom(10)), "publish", now, publisher.by, "permit", dataset=self.name, asked={"records": len(batch)}
        )

    def _log(self, tx: Transaction, event: Event, publisher: Publisher, revisions: Sequence[Revision], numbers: Sequence[int]) -> Leaf:
        # The root binds each revision to its ciphertext: a row rolled back later no longer fits.
        entries = [number.to_bytes(8, "big") + r.digest for number, r in zip(numbers, revisions, strict=True)]
        share = Share(publisher.slug, (), numbers, {"root": root(entries).hex()})
        return append(tx, event, [share])[0]


def _same(known: _Known | None, mac: bytes) -> bool:
    return known is not None and hmac.compare_digest(known.content_mac, mac)


def _refuse_swapped(area: Box | None, records: Sequence[Record]) -> None:
    """A place outside the provider's area whose mirror image lies inside is a mistake, not a far-away incident."""
    if area is None:
        return
    problems = []
    for n, record in enumerate(records):
        lon, lat = getattr(record, record.named("place")[0].name)
        if not area.holds(lon, lat) and area.holds(lat, lon):
            problems.append(Problem(f"features[{n}].geometry.coordinates", "looks swapped: coordinates are [longitude, latitude]"))
    if problems:
        raise InvalidRecord("Coordinates lie in your area only when they are swapped. Nothing was stored.", problems=problems[:100])


def _refuse_twins(batch: Sequence[Incoming]) -> None:
    seen: dict[str, int] = {}
    problems = []
    for n, record in enumerate(batch):
        first = seen.setdefault(record.external_id, n)
        if first != n:
            problems.append(Problem(f"features[{n}].properties.external_id", f"is the same as that of features[{first}]"))
    if problems:
        raise InvalidRecord("Two features of one request have the same external_id.", problems=problems)


def _receipts(batch: Sequence[Incoming], known: dict[str, _Known], revisions: Sequence[Revision], numbers: Sequence[int]) -> list[Receipt]:
    stored = {r.record.external_id: (r, number) for r, number in zip(revisions, numbers, strict=True)}
    receipts = []
    for record in batch:
        if record.external_id in stored:
            revision, number = stored[record.external_id]
            receipts.append(Receipt(record.external_id, revision.id, revision.rev, number, "created" if revision.rev == 1 else "updated"))
        else:
            old = known[record.external_id]
            receipts.append(Receipt(record.external_id, old.id, old.rev, old.revision_no, "unchanged"))
    return receipts
