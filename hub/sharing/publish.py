"""Publish: a partner's records go in, sealed, labelled, logged, in one transaction (docs/decisions/0010).

    what is there of them → seal what is new or changed (keys durable first) → store, label → leaf → commit

Nothing of a batch is stored when any of it fails. An acknowledged record survives kill -9. Nothing is locked while fields are
sealed: the store refuses a revision that is not the next, and then the batch is looked at anew, its records locked.
"""

import hmac
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg2
from sqlalchemy import Engine

from hub.audit.entries import NO_CIPHERTEXT, Entry, leaf_input, written
from hub.audit.leaf import By, Event, Leaf, Share, event_id
from hub.audit.log import append
from hub.audit.tree import root
from hub.crypto.keys import NO_PROOF, Ended, Keys, Proof, Sealing, Shredded
from hub.db import Transaction, transaction
from hub.errors import Conflict, InvalidRecord, NotAuthenticated, NotShared, PreconditionFailed, Problem
from hub.geo import Box
from hub.records import WINDOW_FIELD, Record
from hub.sharing.incoming import Incoming, Revision, columns, incoming, macs_of
from hub.sharing.recalled import CONTENT_MAC
from hub.sharing.retention import bucket_of, kept_until, over, problem, refuse
from hub.sharing.stored import store_parameters

RETRIES = 5


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes. `uid` is the organisation's id in ciphertexts, `number` in the tables, `area` where its records usually lie; `proof`
    is the client's token.
    """

    number: int
    uid: UUID
    slug: str
    by: By
    area: Box | None = None
    proof: Proof = NO_PROOF


class Receipt(NamedTuple):
    """What became of one record: outcome is created, updated, unchanged or withdrawn."""

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


Finish = Callable[[Transaction, Published], None]
"""Called within the transaction, after the leaf and before the commit: what it writes holds exactly when the records do."""


class _Known(NamedTuple):
    """The last revision of a record: in the store, or of an earlier row of the batch, whose number comes with the store."""

    id: UUID
    rev: int
    revision_no: int | None
    content_mac: bytes | None  # None: withdrawn


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a batch comes to. `waves`: revisions to store one wave after the other, since one record may come twice; `rows`: for each
    of the batch its outcome and the revision, new or known, that holds its content.
    """

    waves: Sequence[list[Revision]]
    rows: Sequence[tuple[str, _Known]]


@dataclass(frozen=True)
class Publishing:
    """The publish flow for one dataset."""

    name: str
    dataset: type[Record]
    engine: Engine
    keys: Keys
    clock: Callable[[], datetime]
    random_id: Callable[[], UUID]

    def publish(self, publisher: Publisher, records: Sequence[Record], finish: Finish | None = None) -> Published:
        """Stores `records` (all of them or none) and gives the receipts in their order.

        Raises:
            InvalidRecord: two records have one external id, or coordinates are swapped.
            Conflict: another request kept changing the same records.
            Unavailable: a database is down; nothing was stored.
        """
        _refuse_swapped(publisher.area, records)
        batch = [incoming(r) for r in records]
        _refuse_twins(batch)
        return self.store(publisher, batch, {"records": len(batch)}, finish=finish)

    def replace(
        self, publisher: Publisher, record_id: UUID, record: Record, revisions: Collection[int] | None, finish: Finish | None = None
    ) -> Published:
        """Stores a new revision of the record `record_id` if its current revision is among `revisions` (None: whichever it is).

        Raises:
            NotShared: the publisher has no such record.
            PreconditionFailed: it is at another revision.
            InvalidRecord: its external id is another record's; an external id never changes.
        """
        _refuse_swapped(publisher.area, [record])
        batch = [incoming(record)]
        known = self._current(publisher, record_id)
        if known[0] != batch[0].external_id:
            reason = "is not this record's: an external id never changes"
            raise InvalidRecord(f"properties.external_id {reason}.", problems=[Problem("properties.external_id", reason)])

        def still(now: Mapping[str, _Known]) -> None:
            found = now.get(known[0])
            if found is None or found.content_mac is None:  # withdrawn meanwhile: nothing is there to match (RFC 9110 §13.1.1)
                raise NotShared
            _check(found, revisions)

        return self.store(publisher, batch, {"records": 1}, check=still, finish=finish)

    def withdraw(
        self,
        publisher: Publisher,
        record_id: UUID,
        revisions: Collection[int] | None,
        finish: Finish | None = None,
        kind: str = "withdrawal",
    ) -> Published:
        """Takes a record back: nobody is shown it any more; a tombstone is its next revision. Whoever was given it under a duty is told
        that it is recalled, as `kind` (withdrawal or erasure). As for `replace`.

        Raises:
            NotShared, PreconditionFailed, Conflict, Unavailable
        """
        for _ in range(RETRIES):
            external_id, known = self._current(publisher, record_id)
            _check(known, revisions)
            try:
                with transaction(self.engine) as tx:
                    self.admit(tx, publisher, "begin; ")
                    arguments = (publisher.number, str(record_id), known.rev, kind)
                    ((number,),) = tx.rows(f"select hub.{self.name}_withdraw(%s, %s::uuid, %s, %s)", arguments)
                    event = self.event("withdraw", publisher, {"records": 1} | ({} if kind == "withdrawal" else {"recall": kind}))
                    tombstone = Entry(number, record_id, known.rev + 1, NO_CIPHERTEXT)
                    leaf = append(tx, event, [Share(publisher.slug, (), [number])], entries=written([tombstone]))[0]
                    receipt = Receipt(external_id, record_id, known.rev + 1, number, "withdrawn")
                    return _committed(tx, Published(event.id, leaf.hash.hex(), [receipt]), finish)
            except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected):
                continue
        raise Conflict("This record is being changed by another request; try again.")

    def store(
        self,
        publisher: Publisher,
        batch: Sequence[Incoming],
        asked: Mapping[str, Any],
        *,
        check: Callable[[Mapping[str, _Known]], None] = lambda _known: None,
        ready: Callable[[], None] = lambda: None,
        finish: Finish | None = None,
    ) -> Published:
        """Stores `batch` in its order, all of it or nothing. `ready` is called when everything is sealed and the transaction is about
        to begin; `check` is shown what is there of the records, and may raise.

        Raises:
            InvalidRecord: the retention of a record has ended.
            Conflict, PreconditionFailed, Unavailable
        """
        macs, months = self._macs(publisher, batch), None
        for attempt in range(RETRIES):
            try:
                if attempt == 0:
                    with transaction(self.engine) as tx:
                        months = self.admit(tx, publisher)
                        known = self._known(tx, publisher, batch)
                    # The connection is given back first: sealing takes longer than all that is asked of it.
                    plan = self._plan(publisher, batch, macs, known, months, check)
                ready()
                with transaction(self.engine) as tx:
                    planned, months = months, self.admit(tx, publisher, "begin; ")
                    if attempt == 0 and months != planned:
                        continue  # it is kept by a rule that came while it was sealed
                    if attempt:
                        self._lock(tx, publisher, batch)
                        plan = self._plan(publisher, batch, macs, self._known(tx, publisher, batch), months, check)
                    return self._commit(tx, publisher, batch, plan, asked, finish)
            except psycopg2.errors.UniqueViolation:
                continue  # somebody created the same external id meanwhile: now it is an update
            except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected, Shredded, Ended):
                continue  # shredded: the record went meanwhile, so this is a new one; ended: so it comes too late, as it will be told
        raise Conflict("These records are being changed by another request; try again.")

    def outcomes(self, publisher: Publisher, batch: Sequence[Incoming]) -> list[str]:
        """What would become of `batch`; nothing is stored."""
        macs = self._macs(publisher, batch)
        with transaction(self.engine) as tx:
            months = self.admit(tx, publisher)
            known = self._known(tx, publisher, batch)
        return [outcome for outcome, _ in self._planned(known, batch, macs, months)[1]]

    def _macs(self, publisher: Publisher, batch: Sequence[Incoming]) -> list[bytes]:
        def macs(label: str, data: list[bytes]) -> list[bytes]:
            return self.keys.macs(label, publisher.uid, data)

        return macs_of(batch, self.dataset, macs)

    def _current(self, publisher: Publisher, record_id: UUID) -> tuple[str, _Known]:
        with transaction(self.engine) as tx:
            self.admit(tx, publisher)
            rows = tx.rows(f"select * from hub.{self.name}_known_id(%s, %s::uuid)", (publisher.number, str(record_id)))
        if not rows:
            raise NotShared
        external_id, number, rev, revision_no, mac = rows[0]
        return external_id, _Known(UUID(str(number)), rev, revision_no, bytes(mac))

    def _known(self, tx: Transaction, publisher: Publisher, batch: Sequence[Incoming]) -> dict[str, _Known]:
        rows = tx.rows(f"select * from hub.{self.name}_known(%s, %s)", (publisher.number, _names(batch)))
        return {row[0]: _Known(UUID(str(row[1])), row[2], row[3], None if row[4] is None else bytes(row[4])) for row in rows}

    def _lock(self, tx: Transaction, publisher: Publisher, batch: Sequence[Incoming]) -> None:
        tx.rows(f"select hub.{self.name}_lock(%s, %s)", (publisher.number, _names(batch)))

    def admit(self, tx: Transaction, publisher: Publisher, begin: str = "") -> int | None:
        """For how many months the publisher's records are kept; None: without end."""
        months = "(select r.months from hub.retention r where r.provider = %s and r.dataset = %s)"
        arguments = (publisher.number, self.dataset.number, publisher.by.client)
        ((active, found),) = tx.rows(f"{begin}select active, {months} from hub.admit(%s)", arguments)
        if not active:
            raise NotAuthenticated("This client has been disabled.")
        kept: int | None = found
        return kept

    def _plan(
        self,
        publisher: Publisher,
        batch: Sequence[Incoming],
        macs: Sequence[bytes],
        known: dict[str, _Known],
        months: int | None,
        check: Callable[[Mapping[str, _Known]], None],
    ) -> _Plan:
        check(known)
        if months is not None:
            self._refuse_late(batch, months)
        waves, rows = self._planned(known, batch, macs, months)
        for wave in waves:
            self._seal(publisher, wave)
        return _Plan(waves, rows)

    def _planned(
        self, known: dict[str, _Known], batch: Sequence[Incoming], macs: Sequence[bytes], months: int | None
    ) -> tuple[list[list[Revision]], list[tuple[str, _Known]]]:
        waves: list[list[Revision]] = []
        changed: dict[str, int] = {}
        rows: list[tuple[str, _Known]] = []
        for record, mac in zip(batch, macs, strict=True):
            name = record.external_id
            old = known.get(name)
            if old is not None and old.content_mac is not None and hmac.compare_digest(old.content_mac[:CONTENT_MAC], mac[:CONTENT_MAC]):
                rows.append(("unchanged", old))
                continue
            new = known[name] = _Known(old.id if old else self.random_id(), old.rev + 1 if old else 1, None, mac)
            wave = changed[name] = changed.get(name, -1) + 1
            if wave == len(waves):
                waves.append([])
            waves[wave].append(Revision(new.id, new.rev, record, mac, kept_until(record.clear[WINDOW_FIELD], months)))
            rows.append(("created" if new.rev == 1 else "updated", new))
        return waves, rows

    def _refuse_late(self, batch: Sequence[Incoming], months: int) -> None:
        now = self.clock()
        late = (n for n, record in enumerate(batch) if over(record.clear[WINDOW_FIELD], months, now))
        refuse([problem(f"features[{n}].properties.{WINDOW_FIELD}", months) for n in late])

    def _seal(self, publisher: Publisher, wave: Sequence[Revision]) -> None:
        schema = self.dataset.schema_no
        sealings = [Sealing(publisher.uid, r.id, r.rev, schema, bucket_of(r.kept_until), r.record.sealed) for r in wave]
        sealed, versions = self.keys.seal_records(self.dataset.number, sealings)
        for revision, blobs in zip(wave, sealed, strict=True):
            revision.blobs, revision.versions = blobs, versions

    def _commit(
        self, tx: Transaction, publisher: Publisher, batch: Sequence[Incoming], plan: _Plan, asked: Mapping[str, Any], finish: Finish | None
    ) -> Published:
        numbers: dict[tuple[UUID, int], int] = {}
        for wave in plan.waves:
            found = self._store(tx, publisher, wave)
            numbers.update({(r.id, r.rev): found[r.text] for r in wave})
        event = self.event("publish", publisher, asked)
        leaf = self._log(tx, event, publisher, [r for wave in plan.waves for r in wave], numbers)
        receipts = [
            Receipt(record.external_id, k.id, k.rev, numbers[k.id, k.rev] if k.revision_no is None else k.revision_no, outcome)
            for record, (outcome, k) in zip(batch, plan.rows, strict=True)
        ]
        return _committed(tx, Published(event.id, leaf.hash.hex(), receipts), finish)

    def _store(self, tx: Transaction, publisher: Publisher, wave: Sequence[Revision]) -> dict[str, int]:
        arguments = columns(self.dataset, publisher.number, wave)
        marks = ", ".join(f"%s::{kind}" for _, kind in store_parameters(self.dataset))
        numbers = dict(tx.rows(f"select id::text, revision_no from hub.{self.name}_store({marks})", arguments))
        for versions in {r.versions for r in wave if r.versions is not None}:
            tx.rows(f"select hub.{self.name}_indexed(%s, %s)", versions)
        return numbers

    def event(self, kind: str, publisher: Publisher, asked: Mapping[str, Any]) -> Event:
        now = self.clock()
        return Event(event_id(now, os.urandom(10)), kind, now, publisher.by, "permit", dataset=self.name, asked=asked)

    def _log(
        self, tx: Transaction, event: Event, publisher: Publisher, revisions: Sequence[Revision], numbers: Mapping[tuple[UUID, int], int]
    ) -> Leaf:
        # The root binds each revision to its ciphertext: a row rolled back later no longer fits.
        entries = sorted(Entry(numbers[r.id, r.rev], r.id, r.rev, r.digest) for r in revisions)  # as the bitmap gives them back
        share = Share(publisher.slug, (), [e.number for e in entries], {"root": root([leaf_input(e) for e in entries]).hex()})
        return append(tx, event, [share], entries=written(entries))[0]


def _names(batch: Sequence[Incoming]) -> list[str]:
    return list({record.external_id for record in batch})


def _committed(tx: Transaction, published: Published, finish: Finish | None) -> Published:
    if finish is not None:
        finish(tx, published)
    tx.rows("commit")
    return published


def _check(known: _Known, expected: Collection[int] | None) -> None:
    if expected is not None and known.rev not in expected:
        raise PreconditionFailed(f"The record is at revision {known.rev}; If-Match names another one.", field="If-Match")


def swapped(area: Box | None, lon: float, lat: float) -> bool:
    """Whether a place outside the provider's area has its mirror image inside: a mistake, not a far-away incident."""
    return area is not None and not area.holds(lon, lat) and area.holds(lat, lon)


def _refuse_swapped(area: Box | None, records: Sequence[Record]) -> None:
    problems = [
        Problem(f"features[{n}].geometry.coordinates", "looks swapped: coordinates are [longitude, latitude]")
        for n, record in enumerate(records)
        if swapped(area, *getattr(record, record.named("place")[0].name))
    ]
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
