"""Rotation: new epochs of KEKs at once, DEKs rewrapped in batches, former KEKs destroyed once they wrap nothing; the root key changed.

Ciphertext is never touched. Each batch is a transaction; whoever is interrupted goes on by asking again. A process that seals meanwhile
learns of a new epoch from the database, which refuses a DEK under any but the newest KEK of its group.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from hub.crypto.envelope import NONCE_BYTES, Context, Kek, kek_aad, rewrap_dek
from hub.crypto.keyring import MAC_CLASS, array
from hub.crypto.providers import RootKey
from hub.db import passing_faults
from hub.errors import Tampered

BATCH: Final = 5_000
MAX_WRAPS: Final = 1 << 31
"""NIST SP 800-38D allows 2^32 random nonces under one key; half of it leaves room."""
_NEWEST = "not exists (select from keys.kek n where (n.owner, n.class, n.bucket) = (k.owner, k.class, k.bucket) and n.epoch > k.epoch)"
_STATUS = text(f"""
    select k.kek_id, k.owner, k.class, k.bucket, k.epoch, k.created_at, k.destroyed_at, {_NEWEST} and k.destroyed_at is null as newest,
           (select count(*) from keys.dek d where d.kek_id = k.kek_id) as deks
    from keys.kek k order by k.owner, k.class, k.bucket, k.epoch""")
_ROTATED = text(f"""
    select k.owner, k.class, k.bucket, k.epoch from keys.kek k
    where {_NEWEST} and k.destroyed_at is null and k.class <> {MAC_CLASS}
      and (cast(:owner as uuid) is null or k.owner = cast(:owner as uuid)) and (cast(:cls as int) is null or k.class = :cls)
    order by k.kek_id for update""")
_BESIDE = text("select pg_advisory_xact_lock_shared(7203, 1)")  # no bucket ends meanwhile: that locks DEKs, then KEKs
_ADD = text("""
    insert into keys.kek (owner, class, bucket, epoch, wrapped) values (cast(:owner as uuid), :cls, :bucket, :epoch, :wrapped)
    on conflict do nothing""")
_FORMER = text(f"select k.* from keys.kek k where not {_NEWEST} and k.destroyed_at is null order by k.kek_id limit 1 for update of k")
_SUCCESSOR = text(f"select k.* from keys.kek k where {_NEWEST} and (k.owner, k.class, k.bucket) = (cast(:owner as uuid), :cls, :bucket)")
_DEKS = text("select record, class, rev, row from keys.dek where kek_id = :kek_id order by record, class, rev limit :most for update")
_REWRAP = text("""
    update keys.dek d set kek_id = :kek_id, row = substring(sent.rows from 98 * (cast(u.n as int) - 1) + 1 for 98)
    from unnest(cast(:records as uuid[]), cast(:classes as int[]), cast(:revs as int[])) with ordinality u(record, class, rev, n),
         (select cast(:rows as bytea) as rows offset 0) as sent
    where (d.record, d.class, d.rev) = (u.record, u.class, u.rev)""")
_DESTROY = text("delete from keys.kek k where k.kek_id = :kek_id and not exists (select from keys.dek d where d.kek_id = k.kek_id)")
_ALL = text("select * from keys.kek where destroyed_at is null order by kek_id for update")
_LOCK = text("lock table keys.kek in exclusive mode")
_NEW_WRAP = text("update keys.kek set wrapped = :wrapped where kek_id = :kek_id")
_Row = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class KekStatus:
    """One KEK: of whom, for what, how many DEKs it wraps. `newest`: DEKs are wrapped with it now; none opens since `destroyed_at`."""

    kek_id: int
    owner: UUID
    cls: int
    bucket: str
    epoch: int
    created_at: datetime
    newest: bool
    deks: int
    destroyed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What one batch did: DEKs rewrapped, KEKs destroyed; `over` when nothing is left to do."""

    deks: int
    destroyed: int
    over: bool


class Rotation:
    """Works beside the key process; needs the root key. Every method raises Unavailable when the keys database can't be reached, and
    Tampered for a key that doesn't verify; then nothing is changed.
    """

    def __init__(self, root: RootKey, engine: Engine, random: Callable[[int], bytes] = os.urandom) -> None:
        self._root, self._engine, self._random = root, engine, random

    def status(self) -> list[KekStatus]:
        """Every KEK, group by group, oldest epoch first."""
        with passing_faults(), self._engine.begin() as connection:
            rows = connection.execute(_STATUS).all()
        return [
            KekStatus(r.kek_id, UUID(str(r.owner)), getattr(r, "class"), r.bucket, r.epoch, r.created_at, r.newest, r.deks, r.destroyed_at)
            for r in rows
        ]

    def rotate(self, owner: UUID | None = None, cls: int | None = None) -> int:
        """A new epoch for every group of KEKs, or those of an owner or class; how many. Keys of MACs and of signatures stay: what was
        made with them is compared with what will be.
        """
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_BESIDE)
            groups = connection.execute(_ROTATED, {"owner": None if owner is None else str(owner), "cls": cls}).all()
            for group in groups:
                connection.execute(_ADD, self._next(group))
        return len(groups)

    def rewrap(self, most: int = BATCH) -> Rewrapped:
        """One batch: up to `most` DEKs of the oldest former KEK get its successor; a former KEK without any is destroyed."""
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_BESIDE)
            former = connection.execute(_FORMER).first()
            if former is None:
                return Rewrapped(0, 0, True)
            deks = connection.execute(_DEKS, {"kek_id": former.kek_id, "most": most}).all()
            if deks:
                self._rewrap(connection, former, deks)
            destroyed = 0 if len(deks) == most else connection.execute(_DESTROY, {"kek_id": former.kek_id}).rowcount
        return Rewrapped(len(deks), destroyed, False)

    def change_root(self, new: RootKey, before_commit: Callable[[], None] = lambda: None) -> int:
        """Wraps every KEK with another root key, all of them or none; how many. `before_commit` is called when nothing but the commit is
        left to do. A key process that goes on with the former root key would make KEKs that don't fit: none may run.
        """
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_LOCK)
            rows = connection.execute(_ALL).all()
            for row in rows:
                wrapped = new.wrap(self._root.unwrap(bytes(row.wrapped), _aad(row)), _aad(row))
                connection.execute(_NEW_WRAP, {"kek_id": row.kek_id, "wrapped": wrapped})
            before_commit()
        self._root = new
        return len(rows)

    def holds(self) -> None:
        """Waits for whoever changes KEKs, and then unwraps all of them: raises Tampered if one doesn't fit this root key."""
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_LOCK)
            for row in connection.execute(_ALL):
                self._kek(row)

    def _next(self, group: _Row) -> dict[str, object]:
        owner, cls, epoch = UUID(str(group.owner)), getattr(group, "class"), group.epoch + 1
        wrapped = self._root.wrap(self._random(32), kek_aad(owner.bytes, cls, group.bucket, epoch))
        return {"owner": str(owner), "cls": cls, "bucket": group.bucket, "epoch": epoch, "wrapped": wrapped}

    def _rewrap(self, connection: Connection, former: _Row, deks: Sequence[_Row]) -> None:
        group = {"owner": str(former.owner), "cls": getattr(former, "class"), "bucket": former.bucket}
        successor = connection.execute(_SUCCESSOR, group).one()
        rewrap_rows(connection, self._kek(former), self._kek(successor), UUID(str(former.owner)), deks, self._random)

    def _kek(self, row: _Row) -> Kek:
        return Kek(row.kek_id, self._root.unwrap(bytes(row.wrapped), _aad(row)))


def rewrap_rows(connection: Connection, old: Kek, new: Kek, owner: UUID, deks: Sequence[_Row], random: Callable[[int], bytes]) -> None:
    """Wraps DEKs of `owner` (rows with record, class, rev and row) with another KEK, in the caller's transaction. Raises Tampered."""
    nonces = random(NONCE_BYTES * len(deks))
    rows = []
    for n, d in enumerate(deks):
        context = Context(owner.bytes, UUID(str(d.record)).bytes, getattr(d, "class"), d.rev)
        try:
            rows.append(rewrap_dek(old, new, bytes(d.row), nonces[NONCE_BYTES * n : NONCE_BYTES * (n + 1)], context))
        except Tampered as error:
            raise Tampered(f"{error.detail} It is of record {d.record}, class {context.cls}, revision {d.rev}.") from None
    values = {
        "kek_id": new.kek_id,
        "records": array(d.record for d in deks),
        "classes": array(getattr(d, "class") for d in deks),
        "revs": array(d.rev for d in deks),
        "rows": b"".join(rows),
    }
    connection.execute(_REWRAP, values)


def _aad(row: _Row) -> bytes:
    return kek_aad(UUID(str(row.owner)).bytes, getattr(row, "class"), row.bucket, row.epoch)
