"""Restores the keys database from a backup: all of it in one transaction, or nothing.

Records that were shredded, as the backup knows, the keys database that is there, or the main database, get no key back. The chain of signed
leaves goes on from the copies in the main database, as far as they verify.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, text

from hub.crypto import backup_parts as parts
from hub.crypto.backup_file import Reader
from hub.crypto.envelope import kek_aad
from hub.crypto.keyring import SIGNING_BUCKET, array
from hub.crypto.providers import RootKey
from hub.db import passing_faults
from hub.errors import Refused
from hub.leaf_chain import NOTHING, Signed, genuine

AT_ONCE: Final = 5_000
_TABLES = ("kek", "dek", "signed")
_QUIET = text("set local log_statement = 'none'; set local log_min_error_statement = 'panic'; set local log_min_duration_statement = -1")
_COUNTS = text(f"select {', '.join(f'(select count(*) from keys.{table})' for table in _TABLES)}")
_LOCK = text("lock table keys.kek, keys.dek, keys.signed, keys.shredded, keys.backups in exclusive mode")
_KEK = text("""
    insert into keys.kek (kek_id, owner, class, bucket, epoch, wrapped, created_at, destroyed_at)
    values (:kek_id, cast(:owner as uuid), :cls, :bucket, :epoch, :wrapped, :created_at, :destroyed_at)""")
_DEKS = text("""
    insert into keys.dek (record, class, rev, kek_id, row)
    select u.record, u.class, u.rev, :kek_id, substring(sent.rows from 98 * (cast(u.n as int) - 1) + 1 for 98)
    from unnest(cast(:records as uuid[]), cast(:classes as int[]), cast(:revs as int[])) with ordinality u(record, class, rev, n),
         (select cast(:rows as bytea) as rows offset 0) as sent
    where not exists (select from keys.shredded s where s.record = u.record)
      and exists (select from keys.kek k where k.kek_id = :kek_id and k.destroyed_at is null)""")
_SIGNED = text("""
    insert into keys.signed (n, event, leaf_hash, chain, key, signature, at)
    values (:n, cast(:event as uuid), :leaf_hash, :chain, :key, :signature, coalesce(:at, now()))""")
_SHREDDED = text("insert into keys.shredded (record, at) values (cast(:record as uuid), coalesce(:at, now())) on conflict do nothing")
_KNOWN = text("""
    update keys.backups set sha256 = coalesce(sha256, :sha256), destroyed_at = coalesce(destroyed_at, :destroyed_at)
    where made_at = :made_at""")
# A keys database that was begun anew has numbered its own backups from 1 again: those keep their numbers, and these get others.
_LISTED = text("""
    insert into keys.backups (id, made_at, sha256, note, destroyed_at)
    select case when t.taken then (select max(id) + 1 from keys.backups) else :id end, :made_at, :sha256,
           case when t.taken then concat_ws(' ', cast(:note as text), '(was number ' || :id || ')') else :note end, :destroyed_at
    from (select exists (select from keys.backups b where b.id = :id)) t(taken)""")
_NEXT = text("""
    select setval(pg_get_serial_sequence('keys.kek', 'kek_id'), (select coalesce(max(kek_id), 0) + 1 from keys.kek), false),
           setval(pg_get_serial_sequence('keys.backups', 'id'), (select coalesce(max(id), 0) + 1 from keys.backups), false)""")


@dataclass
class Restored:
    """What came back: `of` and `end` are the backup's own words; `shredded`: data keys that were left out; `continued`: signatures that the
    main database had besides.
    """

    of: parts.About | None = None
    end: parts.End | None = None
    keks: int = 0
    deks: int = 0
    shredded: int = 0
    signed: int = 0
    tombstones: int = 0
    continued: int = 0
    _public: set[bytes] = field(default_factory=set)
    _head: tuple[int, bytes] = NOTHING


def verify(file: BinaryIO, root: RootKey) -> Restored:
    """Reads a backup from its beginning to its end, and unwraps every KEK. Raises Refused for one that isn't whole."""
    found = Restored()
    for part in _parts(Reader(file, root)):
        _count(found, part)
        if isinstance(part, parts.Kek) and part.destroyed_at is None:
            _unwrapped(root, part)
    _whole(found, found.deks)
    return found


class Restore:
    """`connection`: of the keys database's administrator, in a transaction that the caller commits. `former`: the root key that the backup
    was made under; `root`: the one that the keys shall be wrapped with. `shredded`: records that the main database knows as shredded.
    `continued`: signed leaves after a place in the chain, some at a time, as the main database has them.
    """

    def __init__(
        self,
        connection: Connection,
        former: RootKey,
        root: RootKey,
        shredded: Iterable[UUID] = (),
        continued: Callable[[int], Sequence[Signed]] = lambda _n: (),
    ) -> None:
        self._connection, self._former, self._root = connection, former, root
        self._shredded, self._continued = shredded, continued
        self._found = Restored()

    def run(self, file: BinaryIO, *, replace: bool) -> Restored:
        """Raises Refused: there are keys and they aren't to be replaced, or the backup isn't whole. Then roll back."""
        with passing_faults():
            self._connection.execute(_QUIET)  # a wrapped key in the server's log would outlive its shredding
            self._connection.execute(_LOCK)
            self._make_room(replace)
            self._bury((record.bytes, None) for record in self._shredded)
            reader = Reader(file, self._former)
            for part in _parts(reader):
                _count(self._found, part)
                self._take(part)
            about = _whole(self._found, self._found.deks + self._found.shredded)
            self._connection.execute(_KNOWN, {"made_at": about.at, "sha256": reader.digest, "destroyed_at": None})
            self._go_on()
            self._connection.execute(_NEXT)
        return self._found

    def _make_room(self, replace: bool) -> None:
        """Keys that wrap nothing are none: a key process that was started too early makes some."""
        keks, deks, signed = self._connection.execute(_COUNTS).one()
        if (deks or signed) and not replace:
            raise Refused(
                f"The keys database is not empty: {keks:,} key-encryption keys, {deks:,} data keys, {signed:,} signatures. With --replace "
                "they are given up, and whatever was sealed since the backup can never be opened again."
            )
        for table in ("dek", "kek", "signed"):
            self._connection.execute(text(f"delete from keys.{table}"))

    def _take(self, part: parts.Any) -> None:
        match part:
            case parts.Listed():
                for number, made_at, sha256, note, destroyed_at in part.entries:
                    values = {"id": number, "made_at": made_at, "sha256": sha256, "note": note, "destroyed_at": destroyed_at}
                    if not self._connection.execute(_KNOWN, values).rowcount:
                        self._connection.execute(_LISTED, values)
            case parts.Tombstones():
                self._bury(zip(_each(part.records, 16), part.at, strict=True))
            case parts.Kek():
                self._kek(part)
            case parts.Deks():
                self._deks(part)
            case parts.Signatures():
                self._sign([Signed(n, UUID(bytes=event), *rest) for n, event, *rest, _ in part.entries], [e[-1] for e in part.entries])
            case _:
                pass

    def _bury(self, tombstones: Iterable[tuple[bytes, Any]]) -> None:
        each = iter(tombstones)
        while some := [{"record": str(UUID(bytes=record)), "at": at} for record, at in islice(each, AT_ONCE)]:
            self._connection.execute(_SHREDDED, some)

    def _kek(self, kek: parts.Kek) -> None:
        owner = str(UUID(bytes=kek.owner))
        values = {"kek_id": kek.kek_id, "owner": owner, "cls": kek.cls, "bucket": kek.bucket, "epoch": kek.epoch}
        wrapped = self._wrapped(kek) if kek.destroyed_at is None else b""
        self._connection.execute(_KEK, {**values, "wrapped": wrapped, "created_at": kek.created_at, "destroyed_at": kek.destroyed_at})

    def _wrapped(self, kek: parts.Kek) -> bytes:
        key, aad = _unwrapped(self._former, kek), _aad(kek)
        if kek.bucket == SIGNING_BUCKET:
            self._found._public.add(Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw())
        return kek.wrapped if self._former is self._root else self._root.wrap(key, aad)

    def _deks(self, deks: parts.Deks) -> None:
        values = {
            "kek_id": deks.kek_id,
            "records": array(UUID(bytes=record) for record in _each(deks.records, 16)),
            "classes": array(deks.classes),
            "revs": array(deks.revs),
            "rows": deks.rows,
        }
        added = self._connection.execute(_DEKS, values).rowcount
        self._found.shredded += len(deks.revs) - added
        self._found.deks -= len(deks.revs) - added

    def _sign(self, entries: Sequence[Signed], at: Sequence[Any]) -> None:
        rows = [{**e._asdict(), "event": str(e.event), "at": when} for e, when in zip(entries, at, strict=True)]
        self._connection.execute(_SIGNED, rows)
        self._found._head = (entries[-1].n, entries[-1].chain)

    def _go_on(self) -> None:
        """Takes over what was signed since the backup: else a number of the chain would be given twice."""
        while entries := self._continued(self._found._head[0]):
            n, chain = self._found._head
            for place, entry in enumerate(entries):
                if entry.key not in self._found._public or not genuine(entry, n, chain):
                    entries = entries[:place]
                    break
                n, chain = entry.n, entry.chain
            if not entries:
                return
            self._sign(entries, [None] * len(entries))
            self._found.continued += len(entries)


def _parts(reader: Reader) -> Iterator[parts.Any]:
    for content in reader.frames():
        try:
            yield parts.read(content)
        except ValueError:
            raise Refused("The backup holds something that this version of the hub does not know.") from None


def _count(found: Restored, part: parts.Any) -> None:
    match part:
        case parts.About():
            found.of = part
        case parts.End():
            found.end = part
        case parts.Kek():
            found.keks += 1
        case parts.Deks():
            found.deks += len(part.revs)
        case parts.Signatures():
            found.signed += len(part.entries)
        case parts.Tombstones():
            found.tombstones += len(part.at)
        case _:
            pass


def _whole(found: Restored, deks: int) -> parts.About:
    if found.of is None or found.end != parts.End(found.keks, deks, found.signed, found.tombstones):
        raise Refused("The backup does not hold what it says that it holds.")
    return found.of


def _unwrapped(root: RootKey, kek: parts.Kek) -> bytes:
    """Raises Tampered."""
    return root.unwrap(kek.wrapped, _aad(kek))


def _aad(kek: parts.Kek) -> bytes:
    return kek_aad(kek.owner, kek.cls, kek.bucket, kek.epoch)


def _each(joined: bytes, size: int) -> list[bytes]:
    return [joined[start : start + size] for start in range(0, len(joined), size)]
