"""What the log shows to everybody: checkpoints with the cosignatures on them, tiles, proofs, its state; and to auditors the leaves.

All but the leaves is hashes and signatures: leaves are salted, so that nothing can be guessed from theirs. Each question costs a few
reads of tiles, however large the tree.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from hub.audit import tree, witnesses
from hub.audit.notes import Note, VerifierKey
from hub.audit.sequence import read_tile
from hub.audit.tiles import SIZE, WIDTH, Tile, Tree
from hub.audit.watch import open_alarms
from hub.audit.witnesses import MAX_SIZE, Witness
from hub.db import Transaction, transaction
from hub.errors import NoSuchResource

COUNTED: Final = 100_000
"""Up to here waiting leaves are counted."""
_NOTE = """
select c.note, coalesce(string_agg(s.line, '' order by s.witness) filter (where w.name is not null), '')
from hub.checkpoints c
left join hub.cosignatures s on s.size = c.size left join hub.witnesses w on w.name = s.witness and w.removed_at is null
where c.size = %s group by c.note"""
_COSIGNED = """
select s.size from hub.cosignatures s join hub.witnesses w on w.name = s.witness and w.removed_at is null
where s.size <= (
  select last.size from hub.witnesses r
  cross join lateral (select c.size from hub.cosignatures c where c.witness = r.name order by c.size desc limit 1) last
  where r.removed_at is null order by last.size desc offset %s - 1 limit 1)  -- spares looking at what too few can have cosigned
group by s.size having count(*) >= %s order by s.size desc limit 1"""
_BODIES = """
select coalesce(l.leaf, h.leaf) from hub.log_index i
left join hub.audit_leaves l on l.id = i.leaf left join hub.heads_leaves h on h.idx = i.idx
where i.idx >= %s and i.idx < %s order by i.idx"""


@dataclass(frozen=True)
class Alarm:
    """What is wrong with the log, and since when."""

    kind: str
    detail: str
    since: datetime


@dataclass(frozen=True)
class State:
    """How the log stands. `waiting`: leaves that are not in the tree yet (at most COUNTED are counted), the oldest for `behind_s` seconds;
    `unwitnessed_s`: for how long a checkpoint has lacked the quorum's cosignatures, None when none does; `leaf_key`: the public key by
    which the key process signed last.
    """

    key: VerifierKey
    leaf_key: bytes | None
    size: int
    at: datetime | None
    waiting: int
    behind_s: float | None
    quorum: int
    unwitnessed_s: float | None
    witnesses: Sequence[Witness]
    alarms: Sequence[Alarm]


class Published:
    """The log as outsiders see it. `key` is the log's, by which checkpoints are signed; `quorum` how many witnesses are wanted."""

    def __init__(self, engine: sa.Engine, key: VerifierKey, quorum: int) -> None:
        self._engine, self._key, self._quorum = engine, key, quorum

    def checkpoint(self, size: int | None = None, witnesses: int = 0) -> str:
        """A signed note, with the cosignatures of registered witnesses: of the tree of `size` leaves, or the newest that at least so many
        witnesses cosigned.

        Raises:
            NoSuchResource: there is none.
        """
        with transaction(self._engine) as tx:
            if size is None:
                size = _newest(tx) if witnesses == 0 else _first(tx.rows(_COSIGNED, (witnesses, witnesses)))
            found = tx.rows(_NOTE, (size,)) if size and size < MAX_SIZE else []
        if not found:
            raise NoSuchResource("The log has no such checkpoint.")
        return "".join(found[0])

    def witnessed(self) -> str:
        """The newest checkpoint that the quorum cosigned."""
        return self.checkpoint(witnesses=self._quorum)

    def tile(self, tile: Tile) -> bytes:
        """Its hashes.

        Raises:
            NoSuchResource: the tree has no such tile, or not so wide a one yet.
        """
        with transaction(self._engine) as tx:
            return _tile(tx, tile)

    def entries(self, n: int, width: int) -> bytes:
        """The leaves of the tile (0, n), each after its length in two bytes (C2SP tlog-tiles). For auditors: the caller sees to that.

        Raises:
            NoSuchResource: they aren't there yet, or some are not kept any more.
        """
        found: list[tuple[str | None]] = []
        if n < MAX_SIZE // WIDTH:
            with transaction(self._engine) as tx:
                found = tx.rows(_BODIES, (n * WIDTH, n * WIDTH + width))
        bodies = [body.encode() for (body,) in found if body is not None]
        if len(bodies) != width:
            raise NoSuchResource("The log has no such leaves, or does not keep all of them any more.")
        return b"".join(len(body).to_bytes(2, "big") + body for body in bodies)

    def index_of(self, leaf: bytes, size: int) -> int:
        """The first place at which the leaf with this hash is among the first `size`.

        Raises:
            NoSuchResource: it is not there.
        """
        with transaction(self._engine) as tx:
            found = tx.rows("select min(idx) from hub.log_index where leaf_hash = %s and idx < %s", (leaf, size))
        if found[0][0] is None:
            raise NoSuchResource(f"No leaf with this hash is among the first {size} of the log.")
        return int(found[0][0])

    def size(self) -> int:
        """Of the newest checkpoint; 0 when there is none."""
        with transaction(self._engine) as tx:
            return _newest(tx) or 0

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that leaf `index` is in the tree of `size` leaves, which need not be one of a checkpoint.

        Raises:
            NoSuchResource: the log has no such leaf.
        """
        with transaction(self._engine) as tx:
            grown = self._grown(tx, size)
            if not 0 <= index < size:
                raise NoSuchResource(f"Leaf {index} is not among the first {size}.")
            return tree.inclusion(index, size, grown.ranged)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that the tree of `first` leaves is the beginning of that of `second`; they need not be those of checkpoints.

        Raises:
            NoSuchResource: the log has no such trees.
        """
        with transaction(self._engine) as tx:
            grown = self._grown(tx, second)
            if not 0 < first <= second:
                raise NoSuchResource(f"A tree of {first} leaves is not the beginning of one of {second}.")
            return tree.consistency(first, second, grown.ranged)

    def _grown(self, tx: Transaction, size: int) -> Tree:
        if size > (_newest(tx) or 0):
            raise NoSuchResource(f"The log does not have {size} leaves yet.")
        known: dict[Tile, bytes] = {}

        def read(tile: Tile) -> bytes:
            if tile not in known:
                known[tile] = _tile(tx, tile)
            return known[tile]

        return Tree(size, read)

    def keep(self, note: Note) -> tuple[int, list[str]]:
        """Keeps the cosignatures that a witness sends (hub/audit/witnesses.py)."""
        with transaction(self._engine) as tx:
            return witnesses.keep(tx, note)

    def state(self) -> State:
        """How the log stands."""
        with transaction(self._engine) as tx:
            ((size, at),) = tx.rows("select size, at from hub.checkpoints order by size desc limit 1") or [(0, None)]
            ((waiting,),) = tx.rows("select count(*) from (select from hub.log_pending limit %s) p", (COUNTED,))
            ((behind, unwitnessed),) = tx.rows("select * from hub.log_behind(%s)", (self._quorum,))
            signed = tx.rows("select key from hub.leaf_signatures order by n desc limit 1")
            registered, alarms = witnesses.standing(tx), [Alarm(*alarm) for alarm in open_alarms(tx)]
        leaf_key = bytes(signed[0][0]) if signed else None
        return State(self._key, leaf_key, size, at, waiting, behind, self._quorum, unwitnessed, registered, alarms)


def base64_of(hashes: Sequence[bytes]) -> list[str]:
    """As proofs are told in JSON."""
    return [b64encode(h).decode() for h in hashes]


def _newest(tx: Transaction) -> int | None:
    return _first(tx.rows("select size from hub.checkpoints order by size desc limit 1"))


def _first(rows: Sequence[tuple[int]]) -> int | None:
    return rows[0][0] if rows else None


def _tile(tx: Transaction, tile: Tile) -> bytes:
    found = read_tile(tx, tile) if tile.n < MAX_SIZE // WIDTH else b""
    if len(found) != SIZE * tile.width:
        raise NoSuchResource("The log's tree has no such tile.")
    return found
