"""KEKs, DEKs and the keys database: seals and opens fields in batches.

Root key → KEK per (owner, class, retention bucket, epoch) → DEK per (record revision, class) → fields. KEKs stay
unwrapped in memory once used; DEKs don't, so deleting a DEK row takes effect with the next read.

A DEK is committed before the ciphertext made with it is returned, and its row is never replaced. A publish that is
retried with the same record and revision, or that races another one, seals under the DEK that is already there: nobody
knows whether the earlier attempt was committed, and ciphertext under either attempt must open. (Nonces are random, so
using a DEK twice is safe. The row keeps the retention bucket of the first attempt.)
"""

import hmac
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import Connection, Engine, Row, TextClause, text
from sqlalchemy.exc import DBAPIError

from hub.crypto.envelope import (
    Context,
    FieldKey,
    Kek,
    kek_aad,
    open_field,
    seal_field,
    unwrap_dek,
    wrap_dek,
)
from hub.crypto.keys import HUB, NotCovered, Opening, Sealing, Shredded
from hub.crypto.providers import RootKey
from hub.db import passing_faults
from hub.errors import Refused, Tampered, Unavailable
from hub.records import SEALED_CLASSES

MAC_CLASS: Final = 0
AUDIT_CLASS: Final = 32767
"""The largest class that a smallint column holds. The catalogue numbers its own from 1 up to below this."""
NOTE_CLASS, NOTE_FIELD, NOTE_BUCKET = SEALED_CLASSES["case"], 0, "default"  # the catalogue numbers fields from 1
SIGNING_BUCKET: Final = "sign:leaves"
ROTATIONS: Final = 5
_ROTATED: Final = ("HB010", "23503")  # there is a newer KEK; this one is destroyed
_SHREDDED: Final = "HB011"
_MONTHS: Final = UUID("6e2f6a0c-6a55-4f0e-9a53-0f4b1d0c7c11")

_CURRENT_KEKS = text("""
    SELECT DISTINCT ON (k.owner, k.class, k.bucket) k.kek_id, k.owner, k.class, k.bucket, k.epoch, k.wrapped
    FROM unnest(CAST(:owners AS uuid[]), CAST(:classes AS int[]), CAST(:buckets AS text[]))
         AS want(owner, class, bucket)
    JOIN keys.kek k USING (owner, class, bucket)
    WHERE k.destroyed_at IS NULL
    ORDER BY k.owner, k.class, k.bucket, k.epoch DESC""")
_KEKS_BY_ID = text("""
    SELECT kek_id, owner, class, bucket, epoch, wrapped FROM keys.kek
    WHERE kek_id = ANY(CAST(:ids AS int[])) AND destroyed_at IS NULL""")
_ANY_KEK = text("SELECT kek_id, owner, class, bucket, epoch, wrapped FROM keys.kek WHERE destroyed_at IS NULL ORDER BY kek_id LIMIT 1")
_LEFT_KEKS = text("SELECT kek_id FROM keys.kek WHERE destroyed_at IS NULL")
_ADD_KEK = text("""
    INSERT INTO keys.kek (owner, class, bucket, epoch, wrapped)
    VALUES (CAST(:owner AS uuid), :class, :bucket, :epoch, :wrapped)
    ON CONFLICT (owner, class, bucket, epoch) DO NOTHING""")
_ADD_DEKS = text("""
    INSERT INTO keys.dek (record, class, rev, kek_id, row)
    SELECT new.record, new.class, new.rev, new.kek_id, substring(sent.rows FROM 98 * (CAST(new.n AS int) - 1) + 1 FOR 98)
    FROM unnest(CAST(:records AS uuid[]), CAST(:classes AS int[]), CAST(:revs AS int[]), CAST(:kek_ids AS int[]))
         WITH ORDINALITY AS new(record, class, rev, kek_id, n),
         (SELECT CAST(:rows AS bytea) AS rows OFFSET 0) AS sent
    ON CONFLICT (record, class, rev) DO NOTHING""")
_DEKS = text("""
    SELECT want.n, d.kek_id, d.row
    FROM unnest(CAST(:records AS uuid[]), CAST(:classes AS int[]), CAST(:revs AS int[]))
         WITH ORDINALITY AS want(record, class, rev, n)
    JOIN keys.dek d USING (record, class, rev)
    JOIN keys.kek k USING (kek_id)
    WHERE k.destroyed_at IS NULL""")


class Dek(NamedTuple):
    """Which DEK: of one class of one record revision."""

    owner: UUID
    record: UUID
    cls: int
    rev: int

    def context(self) -> Context:
        return Context(self.owner.bytes, self.record.bytes, self.cls, self.rev)


class _Group(NamedTuple):
    """Which KEK, whatever its epoch."""

    owner: UUID
    cls: int
    bucket: str


_Open = tuple[bytes, Context]
_New = tuple[bytes, int, int, int, bytes]
"""A DEK to store: record, class, revision, id of its KEK, wrapped row."""
_Wanted = tuple[UUID, UUID, int, str, Sequence[int]]
"""DEKs that are wanted: owner, record, revision, retention bucket, classes."""
_Row = Row[*tuple[Any, ...]]


class Keyring:
    """Every method raises Unavailable when the keys database can't be reached, and Tampered for keys that don't verify.

    `engine` must hide its parameters: a wrapped key in a log would outlive its shredding.
    """

    def __init__(self, root: RootKey, engine: Engine, random: Callable[[int], bytes] = os.urandom) -> None:
        if not engine.hide_parameters:
            raise ValueError("the engine of the keys database needs hide_parameters=True")
        self._root, self._engine, self._random = root, engine, random
        self._keks: dict[int, Kek] = {}
        self._current: dict[_Group, Kek] = {}
        self._macs: dict[str, bytes] = {}
        self._months: dict[Dek, FieldKey] = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._keks)} KEKs, hidden)"

    def check(self) -> None:
        """For start-up. Raises Refused when the root key is not the one that this keys database was filled with."""
        try:
            for row in self._read(_ANY_KEK):
                self._unwrap(row)
        except Tampered as error:
            raise Refused(
                "The root key does not fit the keys database: it may be another hub's, or have been changed (hub root-key change) "
                f"while the settings name the former one. {error.detail}"
            ) from None

    def seal_batch(self, items: Sequence[Sealing]) -> list[dict[int, bytes]]:
        """Per item its field number → ciphertext. The DEKs are durable on return; the record may be committed after."""
        classes = [sorted({_catalogued(cls) for cls, _ in item.fields.values()}) for item in items]
        added, keys = self._add([(i.owner, i.record, i.rev, i.bucket, found) for i, found in zip(items, classes, strict=True)])
        if added < len(keys):  # some revision has a DEK already
            wanted = [Dek(i.owner, i.record, cls, i.rev) for i, found in zip(items, classes, strict=True) for cls in found]
            keys = self._fetch(wanted)
        nonces, each = self._draw(sum(len(item.fields) for item in items), 12), iter(keys)
        return [_seal(item, {cls: next(each) for cls in found}, nonces) for item, found in zip(items, classes, strict=True)]

    def _add(self, wanted: Sequence[_Wanted]) -> tuple[int, list[_Open]]:
        """Stores a fresh DEK for each class that is wanted: how many were new, and the keys to seal with if all were."""
        for _ in range(ROTATIONS):
            rows, keys = self._new_deks(wanted)
            try:
                return self._store(rows), keys
            except DBAPIError as error:
                code = getattr(error.orig, "pgcode", None)
                if code == _SHREDDED:
                    raise Shredded({record for _, record, *_ in wanted}) from None
                if code not in _ROTATED:
                    raise
                self._current.clear()
        raise Unavailable("The keys are being rotated; try again shortly.")

    def _new_deks(self, wanted: Sequence[_Wanted]) -> tuple[list[_New], list[_Open]]:
        """A fresh DEK for each (owner, record, rev, bucket, classes) and class: the row to store, and the key to seal with."""
        keks = self._keks_of({_Group(owner, cls, bucket) for owner, _, _, bucket, classes in wanted for cls in classes})
        count = sum(len(classes) for *_, classes in wanted)
        secrets, nonces = self._draw(count, 32), self._draw(count, 12)
        rows: list[_New] = []
        keys: list[_Open] = []
        for owner, record, rev, bucket, classes in wanted:
            owner_bytes, record_bytes = owner.bytes, record.bytes
            for cls in classes:
                kek, context = keks[_Group(owner, cls, bucket)], Context(owner_bytes, record_bytes, cls, rev)
                row, key = wrap_dek(kek, next(secrets), next(nonces), context)
                rows.append((record_bytes, cls, rev, kek.kek_id, row))
                keys.append((key, context))
        return rows, keys

    def lend(self, wanted: Sequence[Dek]) -> list[bytes]:
        """The field keys (K32) in the order of `wanted`. Raises Shredded if any DEK is gone; then none is given."""
        return [key for key, _ in self._fetch(wanted)]

    def open_batch(self, items: Sequence[Opening]) -> list[bytes]:
        """Plaintexts in the order of `items`. Raises Shredded if any DEK is gone; then nothing is opened."""
        places: dict[Dek, int] = {}
        chosen = [places.setdefault(Dek(item.owner, item.record, item.cls, item.rev), len(places)) for item in items]
        keys = [(FieldKey(key), context) for key, context in self._fetch(list(places))]
        opened = []
        for place, item in zip(chosen, items, strict=True):
            key, context = keys[place]
            opened.append(open_field(key, item.blob, context, item.field, item.schema))
        return opened

    def macs(self, label: str, owner: UUID, data: Sequence[bytes]) -> list[bytes]:
        """HMAC-SHA-256 of each, stable over restarts; unrelated between labels (a key each) and between owners."""
        key = self._macs.get(label)
        if key is None:
            (row,) = self._ensure({_Group(HUB, MAC_CLASS, f"mac:{label}")})
            key = self._macs[label] = self._unwrap(row)
        head = b"HUBMAC1\0" + owner.bytes
        return [hmac.digest(key, head + item, "sha256") for item in data]

    def signing_seed(self) -> bytes:
        """The private key (32 bytes, Ed25519) of the signatures under leaves."""
        (row,) = self._ensure({_Group(HUB, MAC_CLASS, SIGNING_BUCKET)})
        return self._unwrap(row)

    def seal_note(self, owner: UUID, note: UUID, text: bytes) -> bytes:
        """Seals a note: what an organisation's own work keeps at the hub, under a key of its own."""
        return self.seal_batch([Sealing(owner, note, 1, 1, NOTE_BUCKET, {NOTE_FIELD: (NOTE_CLASS, text)})])[0][NOTE_FIELD]

    def open_note(self, owner: UUID, note: UUID, blob: bytes) -> bytes:
        """Raises Shredded, or Tampered for what is no note of this owner and id: no field of a record has a note's number."""
        return self.open_batch([Opening(owner, note, 1, 1, NOTE_CLASS, NOTE_FIELD, blob)])[0]

    def literals(self, event: UUID, at: datetime, text: bytes) -> tuple[bytes, bytes]:
        """An audit event's literals, sealed under the DEK of its month (UTC; `at` is aware), and their keyed hash."""
        month = _month(at)
        if month not in self._months:
            self._months[month] = FieldKey(self._of_month(month)[0])
        sealed = seal_field(self._months[month], text, self._random(12), _of_event(event), 0, 0)
        return sealed, self.macs("literals", HUB, [text])[0]

    def open_literals(self, event: UUID, at: datetime, blob: bytes) -> bytes:
        """Raises Shredded when that month's DEK is gone."""
        month = _month(at)
        return open_field(FieldKey(self.lend([month])[0]), blob, _of_event(event), 0, 0)

    def _of_month(self, month: Dek) -> _Open:
        """The month's key: new, or the one that it has already."""
        added, keys = self._add([(month.owner, month.record, month.rev, "audit", (month.cls,))])
        return keys[0] if added else self._fetch([month])[0]

    def _store(self, rows: list[_New]) -> int:
        """How many were new. Sorted, so that two batches with rows in common wait for each other, not in a circle."""
        if not rows:
            return 0
        rows.sort()
        records, classes, revs, kek_ids, wrapped = zip(*rows, strict=True)
        values = {
            "records": "{" + ",".join([record.hex() for record in records]) + "}",
            "classes": array(classes),
            "revs": array(revs),
            "kek_ids": array(kek_ids),
            "rows": b"".join(wrapped),
        }
        with self._transaction() as transaction:
            return transaction.execute(_ADD_DEKS, values).rowcount

    def _fetch(self, wanted: Sequence[Dek]) -> list[_Open]:
        """Existing keys in the order of `wanted`: one query, and one for KEKs not met before. Raises Shredded."""
        if not wanted:
            return []
        rows = self._wrapped(wanted)
        keys: list[_Open] = []
        for place, dek in enumerate(wanted):
            kek, row = rows[place]
            context = dek.context()
            keys.append((unwrap_dek(kek, row, context), context))
        return keys

    def _wrapped(self, wanted: Sequence[Dek]) -> dict[int, tuple[Kek, bytes]]:
        """The row of each DEK and the KEK that wraps it, by its place in `wanted`. Raises Shredded."""
        for _ in range(ROTATIONS):
            rows = {n - 1: (kek_id, bytes(row)) for n, kek_id, row in self._read(_DEKS, **_columns(wanted))}
            if len(rows) < len(wanted):
                raise Shredded({dek.record for place, dek in enumerate(wanted) if place not in rows})
            ids = {kek_id for kek_id, _ in rows.values()}
            self._load_keks(ids)
            held = {kek_id: kek for kek_id in ids if (kek := self._keks.get(kek_id)) is not None}
            if len(held) == len(ids):
                return {place: (held[kek_id], row) for place, (kek_id, row) in rows.items()}
            # A former KEK was destroyed between the two queries; the DEKs that it wrapped have its successor by now.
        raise Shredded({wanted[place].record for place, (kek_id, _) in rows.items() if kek_id not in held})

    def _keks_of(self, groups: set[_Group]) -> dict[_Group, Kek]:
        missing = groups - self._current.keys()
        if missing:
            for row in self._ensure(missing):
                self._current[_group(row)] = self._keep(row)
        return {group: self._current[group] for group in groups}

    def _load_keks(self, ids: set[int]) -> None:
        missing = ids - self._keks.keys()
        if missing:
            for row in self._read(_KEKS_BY_ID, ids=array(missing)):
                self._keep(row)

    def _keep(self, row: _Row) -> Kek:
        kek = self._keks.get(row.kek_id)
        if kek is None:
            kek = self._keks[row.kek_id] = Kek(row.kek_id, self._unwrap(row))
        return kek

    def _unwrap(self, row: _Row) -> bytes:
        group = _group(row)
        return self._root.unwrap(bytes(row.wrapped), kek_aad(group.owner.bytes, group.cls, group.bucket, row.epoch))

    def kek(self, kek_id: int) -> Kek:
        """Raises Shredded when it is destroyed."""
        self._load_keks({kek_id})
        if kek_id not in self._keks:
            raise Shredded(())
        return self._keks[kek_id]

    def kek_of(self, owner: UUID, cls: int, bucket: str) -> Kek:
        """The newest of a group, made if there is none."""
        group = _Group(owner, cls, bucket)
        return self._keks_of({group})[group]

    def forget(self, kek_ids: Iterable[int]) -> None:
        """Lets go of KEKs that are destroyed."""
        gone = set(kek_ids)
        for kek_id in gone:
            self._keks.pop(kek_id, None)
        self._current = {group: kek for group, kek in self._current.items() if kek.kek_id not in gone}

    def forget_destroyed(self) -> None:
        """Lets go of KEKs that somebody else destroyed: a rotation that came to its end."""
        held = set(self._keks)
        self.forget(held - {row.kek_id for row in self._read(_LEFT_KEKS)})

    def _ensure(self, groups: set[_Group]) -> Sequence[_Row]:
        """The newest KEK of each group, made if there is none; of two processes that make one, one wins for both."""
        rows = self._newest(groups)
        missing = groups - {_group(row) for row in rows}
        if not missing:
            return rows
        with self._transaction() as transaction:
            transaction.execute(_ADD_KEK, [self._new_kek(group) for group in sorted(missing)])
        rows = self._newest(groups)
        if ended := groups - {_group(row) for row in rows}:
            raise NotCovered(f"The retention bucket {min(ended).bucket} has ended; nothing is sealed in it any more.")
        return rows

    def _newest(self, groups: set[_Group]) -> Sequence[_Row]:
        named = list(groups)
        return self._read(
            _CURRENT_KEKS,
            owners=array(group.owner for group in named),
            classes=array(group.cls for group in named),
            buckets=[group.bucket for group in named],
        )

    def _new_kek(self, group: _Group) -> dict[str, object]:
        wrapped = self._root.wrap(self._random(32), kek_aad(group.owner.bytes, group.cls, group.bucket, 1))
        return {"owner": str(group.owner), "class": group.cls, "bucket": group.bucket, "epoch": 1, "wrapped": wrapped}

    def _draw(self, count: int, size: int) -> Iterator[bytes]:
        """`count` random strings out of one call: one per nonce would cost as much as the encryption."""
        pool = self._random(count * size)
        return (pool[start : start + size] for start in range(0, count * size, size))

    def _read(self, query: TextClause, **values: object) -> Sequence[_Row]:
        with self._transaction() as transaction:
            return transaction.execute(query, values).all()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with passing_faults(), self._engine.begin() as connection:
            yield connection


def _seal(item: Sealing, keys: Mapping[int, _Open], nonces: Iterator[bytes]) -> dict[int, bytes]:
    ready = {cls: (FieldKey(key), context) for cls, (key, context) in keys.items()}
    sealed = {}
    for number, (cls, plaintext) in item.fields.items():
        key, context = ready[cls]
        sealed[number] = seal_field(key, plaintext, next(nonces), context, number, item.schema)
    return sealed


def _columns(deks: Sequence[Dek]) -> dict[str, object]:
    return {
        "records": array(dek.record for dek in deks),
        "classes": array(dek.cls for dek in deks),
        "revs": array(dek.rev for dek in deks),
    }


def array(values: Iterable[UUID | int]) -> str:
    """PostgreSQL's array literal: the server reads one far faster than an ARRAY[…] of as many expressions."""
    return "{" + ",".join(map(str, values)) + "}"


def _group(row: _Row) -> _Group:
    return _Group(UUID(str(row.owner)), getattr(row, "class"), row.bucket)


def _catalogued(cls: int) -> int:
    if not MAC_CLASS < cls < AUDIT_CLASS:
        raise ValueError(f"class {cls} is not one that a dataset may use")
    return cls


def _month(at: datetime) -> Dek:
    if at.tzinfo is None:
        raise ValueError("an audit event's time is aware")
    return Dek(HUB, uuid5(_MONTHS, f"{at.astimezone(UTC):%Y-%m}"), AUDIT_CLASS, 1)


def _of_event(event: UUID) -> Context:
    return Context(HUB.bytes, event.bytes, AUDIT_CLASS, 1)
