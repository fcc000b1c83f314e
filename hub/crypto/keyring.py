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
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg2
from psycopg2 import Binary
from sqlalchemy import Connection, Engine, Row, TextClause, text

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
from hub.crypto.keys import HUB, Ended, Opening, Sealing, Shredded
from hub.crypto.providers import RootKey
from hub.db import passing_faults, transaction
from hub.errors import Refused, Tampered, Unavailable
from hub.records import SEALED_CLASSES

MAC_CLASS: Final = 0
MAC_BUCKET: Final = "mac:"
AUDIT_CLASS: Final = 32767
"""The largest class that a smallint column holds. The catalogue numbers its own from 1 up to below this."""
NOTE_CLASS, NOTE_FIELD, NOTE_BUCKET = SEALED_CLASSES["case"], 0, "default"  # the catalogue numbers fields from 1
SIGNING_BUCKET: Final = "sign:leaves"
ROTATIONS: Final = 5
_ROTATED: Final = ("HB010", "23503")  # there is a newer KEK; this one is destroyed
_SHREDDED: Final = "HB011"

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
    SELECT CAST(:owner AS uuid), :class, :bucket, :epoch, :wrapped
    WHERE NOT EXISTS (SELECT FROM keys.kek k WHERE (k.owner, k.class, k.bucket) = (CAST(:owner AS uuid), :class, :bucket))
    ON CONFLICT (owner, class, bucket, epoch) DO NOTHING""")
# Prepared: planning these takes longer than carrying them out.
_ADD_DEKS = """(uuid[], int[], int[], int[], bytea) AS
    WITH added AS (
        INSERT INTO keys.dek (record, class, rev, kek_id, row)
        SELECT new.record, new.class, new.rev, new.kek_id, substring(sent.rows FROM 98 * (CAST(new.n AS int) - 1) + 1 FOR 98)
        FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS new(record, class, rev, kek_id, n), (SELECT $5 AS rows OFFSET 0) AS sent
        ON CONFLICT (record, class, rev) DO NOTHING
        RETURNING 1)
    SELECT count(*) FROM added"""
_DEKS = """(uuid[], int[], int[]) AS
    SELECT want.n, d.kek_id, d.row
    FROM unnest($1, $2, $3) WITH ORDINALITY AS want(record, class, rev, n)
    JOIN keys.dek d USING (record, class, rev)
    JOIN keys.kek k USING (kek_id)
    WHERE k.destroyed_at IS NULL"""


class Dek(NamedTuple):
    """Which DEK: of one class of one record revision."""

    owner: UUID
    record: UUID
    cls: int
    rev: int

    def context(self) -> Context:
        return Context(self.owner.bytes, self.record.bytes, self.cls, self.rev)


class Wrapped(NamedTuple):
    """A DEK's row as it is stored, and the KEK that wraps it."""

    kek: Kek
    row: bytes


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
        self._macs: dict[str, tuple[int, bytes]] = {}  # the number of its KEK, and the key

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
        """Per item its field number → ciphertext. The DEKs are durable on return; the record may be committed after. Raises Ended."""
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
            except psycopg2.Error as error:
                code = error.pgcode
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

    def lend(self, wanted: Sequence[Dek], rows: Sequence[Wrapped] | None = None) -> list[bytes]:
        """The field keys (K32) in the order of `wanted`; `rows`: what `wrapped` gave of them before, if it was asked. Raises Shredded if
        any DEK is gone; then none is given.
        """
        return [key for key, _ in self._unwrapped(wanted, self.wrapped(wanted) if rows is None else rows)]

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
        """HMAC-SHA-256 of each, stable over restarts; unrelated between labels (a key each) and between owners. Raises Ended for a label
        whose key was destroyed.
        """
        mac = self._macs.get(label)
        if mac is None:
            (row,) = self._ensure({_Group(HUB, MAC_CLASS, f"{MAC_BUCKET}{label}")})
            mac = self._macs[label] = row.kek_id, self._unwrap(row)
        head = b"HUBMAC1\0" + owner.bytes
        return [hmac.digest(mac[1], head + item, "sha256") for item in data]

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

    def ensure(self, dek: Dek, bucket: str) -> bytes:
        """The field key (K32) of a DEK: new and durable, or the one that it has already."""
        added, keys = self._add([(dek.owner, dek.record, dek.rev, bucket, (dek.cls,))])
        return (keys if added else self._fetch([dek]))[0][0]

    def _store(self, rows: list[_New]) -> int:
        """How many were new. Sorted, so that two batches with rows in common wait for each other, not in a circle."""
        if not rows:
            return 0
        rows.sort()
        records, classes, revs, kek_ids, wrapped = zip(*rows, strict=True)
        ids = "{" + ",".join([record.hex() for record in records]) + "}"
        values = (ids, array(classes), array(revs), array(kek_ids), Binary(b"".join(wrapped)))
        with transaction(self._engine) as tx:
            tx.prepare("add_deks", _ADD_DEKS)
            ((added,),) = tx.rows("execute add_deks(%s, %s, %s, %s, %s)", values)
        return int(added)

    def _fetch(self, wanted: Sequence[Dek]) -> list[_Open]:
        """Existing keys in the order of `wanted`: one query, and one for KEKs not met before. Raises Shredded."""
        return self._unwrapped(wanted, self.wrapped(wanted))

    def _unwrapped(self, wanted: Sequence[Dek], rows: Sequence[Wrapped]) -> list[_Open]:
        contexts = [dek.context() for dek in wanted]
        return [(unwrap_dek(kek, row, context), context) for (kek, row), context in zip(rows, contexts, strict=True)]

    def wrapped(self, wanted: Sequence[Dek]) -> list[Wrapped]:
        """The row of each DEK, wrapped as it is stored, and the KEK that wraps it, in the order of `wanted`. Raises Shredded."""
        if not wanted:
            return []
        for _ in range(ROTATIONS):
            rows = self._stored(wanted)
            if len(rows) < len(wanted):
                raise Shredded({dek.record for place, dek in enumerate(wanted) if place not in rows})
            ids = {kek_id for kek_id, _ in rows.values()}
            self._load_keks(ids)
            held = {kek_id: kek for kek_id in ids if (kek := self._keks.get(kek_id)) is not None}
            if len(held) == len(ids):
                return [Wrapped(held[kek_id], row) for _, (kek_id, row) in sorted(rows.items())]
            # A former KEK was destroyed between the two queries; the DEKs that it wrapped have its successor by now.
        raise Shredded({wanted[place].record for place, (kek_id, _) in rows.items() if kek_id not in held})

    def _stored(self, wanted: Sequence[Dek]) -> dict[int, tuple[int, bytes]]:
        """The KEK's number and the row of each DEK that there is, by its place in `wanted`."""
        with transaction(self._engine) as tx:
            tx.prepare("deks", _DEKS)
            columns = (array(d.record.hex for d in wanted), array(d.cls for d in wanted), array(d.rev for d in wanted))
            rows = tx.rows("execute deks(%s, %s, %s)", columns)
        return {n - 1: (kek_id, bytes(row)) for n, kek_id, row in rows}

    def _keks_of(self, groups: set[_Group]) -> dict[_Group, Kek]:
        # Of its own: another thread may let go of keys meanwhile, which are good for this once more.
        found = {group: kek for group in groups if (kek := self._current.get(group)) is not None}
        if missing := groups - found.keys():
            found |= {_group(row): self._keep(row) for row in self._ensure(missing)}
            self._current |= found
        return found

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
        kek = self._keks.get(kek_id)
        if kek is None:
            raise Shredded(())
        return kek

    def kek_of(self, owner: UUID, cls: int, bucket: str) -> Kek:
        """The newest of a group, made if there is none."""
        group = _Group(owner, cls, bucket)
        return self._keks_of({group})[group]

    def forget(self, kek_ids: Iterable[int]) -> None:
        """Lets go of KEKs that are destroyed."""
        gone = set(kek_ids)
        for kek_id in gone:
            self._keks.pop(kek_id, None)
        for group, kek in list(self._current.items()):  # others add to it meanwhile
            if kek.kek_id in gone:
                self._current.pop(group, None)
        for label, (kek_id, _) in list(self._macs.items()):
            if kek_id in gone:
                self._macs.pop(label, None)

    def forget_destroyed(self) -> None:
        """Lets go of KEKs that somebody else destroyed: a rotation that came to its end."""
        held = {*self._keks, *(kek.kek_id for kek in list(self._current.values())), *(kek_id for kek_id, _ in list(self._macs.values()))}
        self.forget(held - {row.kek_id for row in self._read(_LEFT_KEKS)})

    def _ensure(self, groups: set[_Group]) -> Sequence[_Row]:
        """The newest KEK of each group, made if there is none; of two processes that make one, one wins for both."""
        rows = self._newest(groups)
        missing = groups - {_group(row) for row in rows}
        if not missing:
            return rows
        with self._transaction() as connection:
            connection.execute(_ADD_KEK, [self._new_kek(group) for group in sorted(missing)])
        rows = self._newest(groups)
        if ended := groups - {_group(row) for row in rows}:
            raise Ended(f"The keys of {min(ended).bucket} are destroyed: it has ended, and nothing is sealed in it any more.")
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
        with self._transaction() as connection:
            return connection.execute(query, values).all()

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


def array(values: Iterable[UUID | int | str]) -> str:
    """PostgreSQL's array literal: the server reads one far faster than an ARRAY[…] of as many expressions."""
    return "{" + ",".join(map(str, values)) + "}"


def _group(row: _Row) -> _Group:
    return _Group(UUID(str(row.owner)), getattr(row, "class"), row.bucket)


def _catalogued(cls: int) -> int:
    if not MAC_CLASS < cls < AUDIT_CLASS:
        raise ValueError(f"class {cls} is not one that a dataset may use")
    return cls
