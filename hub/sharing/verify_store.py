"""Verifies the store against the log: every publication's root, from the ciphertexts that are there now.

A leaf's root tells that its batch doesn't fit. The entries kept beside the leaf (hub/audit/entries.py), which have to give the same root,
tell which revision. Leaves of before they were kept name the batch alone. Everything is read in one snapshot, page by page, by a role that
reads no value of a record: what it is given are hashes. In memory: a bit or two for each revision that the log names, and one batch.

This can't show what a leaf doesn't hold: clear columns, cells, labels. And a leaf that was forged together with its root fits.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pyroaring import BitMap64
from sqlalchemy import Engine

from hub.audit.entries import Entry, leaf_input, read
from hub.audit.leaf import revisions_in
from hub.audit.tree import root
from hub.db import Transaction, transaction
from hub.sharing.store_findings import Row, Unfit, explained, listed, misplaced, missing, still_found

STORING: Final = ("publish", "withdraw", "shred")
"""Types of leaves that name revisions as stored, or as destroyed."""
IDS_AT_ONCE, LEAVES_AT_ONCE, ROWS_AT_ONCE, UNFIT_AT_ONCE = 20_000, 100, 5_000, 10_000
_LEAVES = f"""
select l.id, l.event, l.owner, l.part, l.at, l.leaf, l.leaf_hash, case when l.part = 1 then e.entries end, l.type
from hub.audit_leaves l left join hub.leaf_entries e using (event)
where l.id > %s and l.id <= %s and l.type = any(%s) and (%s::text is null or l.owner = %s) order by l.id limit {LEAVES_AT_ONCE}"""
_PARTS = "select leaf from hub.audit_leaves where event = %s::uuid and owner is not distinct from %s order by part"


@dataclass
class Counted:
    """What was looked at."""

    leaves: int = 0
    roots: int = 0
    revisions: int = 0


@dataclass
class _Named:
    """Revision numbers that the log names, by dataset, as stored and as destroyed; and revisions whose ciphertext doesn't fit, until they
    are explained.
    """

    numbers: dict[str, BitMap64]
    destroyed: dict[str, BitMap64]
    unfit: dict[str, list[Unfit]] = field(default_factory=dict)


class _Batch(NamedTuple):
    """A publication or withdrawal, all parts of its leaf together. `entries`: None where they weren't kept, or don't fit in number."""

    event: UUID
    owner: str
    dataset: str
    root: str | None
    numbers: Sequence[int]
    entries: list[Entry] | None
    kept: bool


def verify_store(
    engine: Engine, datasets: Sequence[str], counted: Counted, owner: str | None = None, since: datetime | None = None
) -> Iterator[str]:
    """Whatever is wrong, a sentence each, as it is found. `owner`: only what this organisation published; `since` (aware): only roots of
    leaves from then on, while every leaf is still asked which revisions it names. `engine` is of the auditor's role.

    Raises:
        Unavailable: the database can't be reached.
    """
    found = _Named({name: BitMap64() for name in datasets}, {name: BitMap64() for name in datasets})
    with transaction(engine) as tx:
        tx.rows("begin isolation level repeatable read, read only")
        for row in _leaves(tx, owner):
            counted.leaves += 1
            yield from _whole(row)
            try:
                batch = _batch(tx, row) if row[3] == 1 else None
            except (ValueError, KeyError, TypeError, AttributeError):
                yield f"the leaf of event {row[1]} can't be read: it was altered"
                continue
            if batch is None or batch.dataset not in found.numbers:
                continue
            if row[8] == "shred":
                found.destroyed[batch.dataset].update(batch.numbers)
                continue
            found.numbers[batch.dataset].update(batch.numbers)
            if since is None or row[4] >= since:
                counted.roots += batch.root is not None
                yield from _check(tx, batch, found)
        for name in datasets:
            yield from _explain(tx, name, found)
            yield from _listing(tx, name, found, counted, owner)
            left = tx.rows(f"select id, owner from hub.{name}_blind_left()")
            yield from (still_found(name, UUID(str(record))) for record, whose in left if owner in (None, whose))


def _leaves(tx: Transaction, owner: str | None) -> Iterator[tuple[Any, ...]]:
    ((last,),) = tx.rows("select coalesce(max(id), 0) from hub.audit_leaves")
    after = 0
    while after < last:
        rows = tx.rows(_LEAVES, (after, after + IDS_AT_ONCE, list(STORING), owner, owner))
        yield from rows
        after = rows[-1][0] if len(rows) == LEAVES_AT_ONCE else after + IDS_AT_ONCE


def _whole(row: tuple[Any, ...]) -> Iterator[str]:
    _, event, _, part, _, leaf, digest, *_ = row
    if hashlib.sha256(b"\0" + leaf.encode()).digest() != bytes(digest):
        yield f"the leaf of event {event}, part {part}, was altered: it doesn't fit its own hash"


def _batch(tx: Transaction, row: tuple[Any, ...]) -> _Batch | None:
    """None for a leaf that stored nothing: something absent was to be replaced."""
    _, event, owner, _, _, leaf, _, kept, _ = row
    bodies = [json.loads(leaf)]
    if bodies[0].get("parts", 1) > 1:
        bodies = [json.loads(text) for (text,) in tx.rows(_PARTS, (str(event), owner))]
    shown = bodies[0].get("shown")
    if shown is None or owner is None:
        return None
    numbers = [n for body in bodies for n in revisions_in(body["shown"]["revisions"])]
    entries = None if kept is None else read(bytes(kept), numbers)
    return _Batch(UUID(str(event)), owner, bodies[0]["dataset"], shown.get("root"), numbers, entries, kept is not None)


def _check(tx: Transaction, batch: _Batch, found: _Named) -> Iterator[str]:
    rows = _inventory(tx, batch.dataset, batch.numbers)
    if batch.root is None:  # a withdrawal: its tombstone
        yield from _each(tx, batch, batch.entries or _nameless(batch.numbers), rows, found)
        return
    kept = batch.entries
    if kept is not None and _root(kept) == batch.root:
        yield from _each(tx, batch, kept, rows, found)
        return
    whole = all(number in rows for number in batch.numbers)
    stored = [Entry(n, rows[n].id, rows[n].rev, rows[n].digest) for n in batch.numbers if n in rows]
    where = f"the publication of event {batch.event} ({batch.owner}, {len(batch.numbers):,} revisions of {batch.dataset})"
    if whole and _root(stored) == batch.root:
        if batch.kept:
            yield f"{where}: the entries kept beside its leaf were altered; the store fits the leaf"
        yield from (sentence for e in stored for sentence in misplaced(batch.dataset, e, rows[e.number], batch.owner))
    elif kept is not None and whole and [e.digest for e in stored] == [e.digest for e in kept]:
        yield f"{where}: the root in its leaf was altered, for the store fits the entries kept beside it"
    elif batch.kept:
        yield f"{where}: neither the store nor the entries kept beside its leaf fit the root in it"
        yield from (f"{batch.dataset} number {n} of it is missing" for n in batch.numbers if n not in rows)
    else:
        yield from _of_old(batch, where, rows)


def _of_old(batch: _Batch, where: str, rows: dict[int, Row]) -> Iterator[str]:
    """A leaf of before entries were kept: numbers that are missing are told, and else the batch alone."""
    gone = [n for n in batch.numbers if n not in rows]
    for n in gone:
        yield f"{batch.dataset} number {n} of {where} is missing"
    if gone and len(gone) < len(batch.numbers):
        yield f"{where}: the others can't be verified without it, for no entries are kept beside the leaf"
    elif not gone and len(batch.numbers) == 1:
        yield f"{batch.dataset} {rows[batch.numbers[0]].id} (number {batch.numbers[0]}): its ciphertext is not the one that was published"
    elif not gone:
        yield f"{where}: one or more of them don't fit the root in its leaf, and no entries are kept beside it, by which to tell"


def _each(tx: Transaction, batch: _Batch, entries: Sequence[Entry], rows: dict[int, Row], found: _Named) -> Iterator[str]:
    """Revision by revision: what was stored is known."""
    for entry in entries:
        row = rows.get(entry.number)
        if row is None:
            yield missing(batch.dataset, entry, _of_record(tx, batch.dataset, entry.id))
        elif entry.digest and row.digest != entry.digest:
            found.unfit.setdefault(batch.dataset, []).append(Unfit(entry, row))
        elif entry.digest:
            yield from misplaced(batch.dataset, entry, row, batch.owner)
    if len(found.unfit.get(batch.dataset, ())) > UNFIT_AT_ONCE:
        yield from _explain(tx, batch.dataset, found)


def _explain(tx: Transaction, dataset: str, found: _Named) -> Iterator[str]:
    unfit = found.unfit.pop(dataset, [])
    records = {u.entry.id for u in unfit}
    siblings = [row for record in records for row in _of_record(tx, dataset, record)]
    wrong = {u.entry.number for u in unfit}
    yield from explained(dataset, unfit, [Entry(r.number, r.id, r.rev, r.digest) for r in siblings if r.number not in wrong])


def _listing(tx: Transaction, dataset: str, found: _Named, counted: Counted, owner: str | None) -> Iterator[str]:
    after = -1
    while page := tx.rows(f"select * from hub.{dataset}_listing(%s, %s)", (after, ROWS_AT_ONCE)):
        after = page[-1][0]
        rows = [Row(n, UUID(str(record)), rev, whose, part, b"") for n, record, rev, whose, part, _, _ in page if owner in (None, whose)]
        counted.revisions += len(rows)
        newest = {n: (newest, current) for n, _, _, _, _, newest, current in page}
        yield from listed(dataset, rows, newest, found.numbers[dataset], found.destroyed[dataset])


def _inventory(tx: Transaction, dataset: str, numbers: Sequence[int]) -> dict[int, Row]:
    """By number; of one that lies in two places either (the listing names it)."""
    found = {}
    for start in range(0, len(numbers), ROWS_AT_ONCE):
        some = list(numbers[start : start + ROWS_AT_ONCE])
        for n, record, rev, owner, part, digest in tx.rows(f"select * from hub.{dataset}_inventory(%s::bigint[])", (some,)):
            found[n] = Row(n, UUID(str(record)), rev, owner, part, bytes(digest))
    return found


def _of_record(tx: Transaction, dataset: str, record: UUID) -> list[Row]:
    numbers = [n for (n,) in tx.rows(f"select * from hub.{dataset}_revisions(%s::uuid, null)", (str(record),))]
    return list(_inventory(tx, dataset, numbers).values())


def _root(entries: Sequence[Entry]) -> str:
    return root([leaf_input(entry) for entry in entries]).hex()


def _nameless(numbers: Sequence[int]) -> list[Entry]:
    return [Entry(number, UUID(int=0), 0, b"") for number in numbers]
