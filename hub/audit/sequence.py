"""Takes waiting leaves into the tree, batch by batch, and signs a checkpoint for each (docs/decisions/0029-merkle-log.md).

One transaction takes leaves out of `hub.log_pending`, gives each its place in the tree and in the list of its owner, adds the heads
leaf, and stores tiles and checkpoint. Before it commits, what is signed is noted beside the key: after a crash the database must be where
the note says, or it was put back to an earlier state, and nothing is signed until an operator has looked.
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg2
import sqlalchemy as sa

from hub.audit.heads import TYPE, WHOLE_EVERY, Head, start
from hub.audit.leaf import VERSION, event_id, instant
from hub.audit.notes import Checkpoint, Note, Signer
from hub.audit.tiles import WIDTH, Edge, Tile, Tree
from hub.audit.tree import leaf_hash
from hub.db import Transaction, transaction
from hub.errors import HubError
from hub.private_file import read_private, replace

AT_ONCE: Final = 5_000
OWNERS_AT_ONCE: Final = 400
"""How many owners one heads leaf tells of: under the 65,535 bytes of a leaf, with the longest names."""
Row = tuple[int, int | None, bytes, str | None, int | None]
_TAKE = """
with taken as (delete from hub.log_pending where leaf = any(array(select leaf from hub.log_pending order by leaf limit %s))
               returning leaf, leaf_hash, owner)
select leaf, leaf_hash, owner from taken order by leaf"""
_INDEX = """
insert into hub.log_index (idx, leaf, leaf_hash, owner, n)
select * from unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::text[], %s::bigint[])"""
_TILES = """
insert into hub.log_tiles (level, n, hashes) select * from unnest(%s::smallint[], %s::bigint[], %s::bytea[])
on conflict (level, n) do update set hashes = excluded.hashes"""
_HEADS = """
insert into hub.log_heads (owner, count, chain) select * from unnest(%s::text[], %s::bigint[], %s::bytea[])
on conflict (owner) do update set count = excluded.count, chain = excluded.chain"""
_STATE = "update hub.log_state set size = %s, root = %s, whole_at = %s, beat_at = %s"
_CHECKPOINT = "insert into hub.checkpoints (size, at, note) values (%s, %s, %s)"


class PutBack(HubError):
    """The database is not where this log's key last signed: it was put back to an earlier state, or altered."""

    status, slug, title = 503, "log-put-back", "The audit log is not where it was last signed"


@dataclass(frozen=True)
class Place:
    """A tree's size and root. `heads`: SHA-256 over the heads of all lists at this place, where it is known."""

    size: int
    root: bytes
    heads: bytes | None = field(default=None, compare=False)


class Memory:
    """What was last signed, in a file beside the key: what is certain, and what is about to be."""

    def __init__(self, path: Path) -> None:
        """Raises Refused: the file is there and can't be read."""
        self._path = path
        self.places = self._read()

    def fits(self, place: Place) -> bool:
        """Whether a database that is there is the one that was signed; anything fits a key that has signed nothing."""
        if self.places and place not in self.places:
            self.places = self._read()  # another process of this machine had its turn
        return not self.places or place in self.places

    def _read(self) -> list[Place]:
        if not self._path.exists():
            return []
        kept = json.loads(read_private(self._path, "note of the last checkpoint", 1_000))
        return [Place(size, *(bytes.fromhex(digest) for digest in digests)) for size, *digests in kept]

    def heads_at(self, place: Place) -> bytes | None:
        """The digest of the heads that were signed with this place; None: it isn't known here."""
        return next((known.heads for known in self.places if known == place), None)

    def keep(self, *places: Place) -> None:
        """Durable on return."""
        self.places = list(places)
        replace(self._path, json.dumps([(p.size, p.root.hex(), *([p.heads.hex()] if p.heads else [])) for p in places]).encode())


class Sequencer:
    """One of a log at a time: whoever calls holds the lock (hub/workers/sequencing.py)."""

    def __init__(self, engine: sa.Engine, signer: Signer, memory: Memory, clock: Callable[[], datetime]) -> None:
        self._engine, self._signer, self._memory, self._clock = engine, signer, memory, clock
        self._edge: Edge | None = None
        self._heads: dict[str, Head] = {}  # of all lists, as the tree of `_edge` tells them

    def take(self, most: int = AT_ONCE) -> int:
        """Takes up to `most` waiting leaves into the tree; how many. Durable on return, with a checkpoint.

        Raises:
            PutBack: the database isn't where it was last signed; nothing is signed.
            Unavailable: the database can't be reached, or is full.
        """
        edge, self._edge = self._edge, None  # until it is known that all is there
        with transaction(self._engine) as tx:
            if tx.rows("select exists (select from hub.log_pending)") == [(False,)]:  # five times a second: nothing is written for that
                self._edge = edge
                return 0
            place, whole_at = self._state(tx)
            # Read before leaves are taken: then every leaf that was signed up to there is among them, or in the tree already.
            signed = tx.rows("select n, chain from hub.leaf_signatures order by n desc limit 1")
            taken = tx.rows(_TAKE, (most,))
            if not taken:  # another sequencer was first
                return 0
            if edge is None or edge.size != place.size:
                edge, self._heads = _edge_at(tx, place.size), self._read_heads(tx, place)
            if edge.root() != place.root:
                raise PutBack(f"The tiles of the audit log don't give the root of its tree of {place.size} leaves. Nothing is signed.")
            now, place = self._clock(), Place(place.size, place.root, _digest(self._heads))
            rows, whole_at = self._rows(tx, place.size, taken, now, whole_at, signed if len(taken) < most else ())
            tiles = edge.append([digest for _, _, digest, _, _ in rows])
            new = Place(edge.size, edge.root(), _digest(self._heads))
            self._memory.keep(place, new)
            self._store(tx, rows, tiles, new, now, whole_at)
        self._memory.keep(new)
        self._edge = edge
        return len(taken)

    def resume(self) -> Place:
        """Has the log go on from where the database is, whatever was signed before; where that is."""
        with transaction(self._engine) as tx:
            place, _ = self._state(tx, look=False)
            place = Place(place.size, place.root, _digest(_heads(tx)))
            tx.rows("commit")
        self._memory.keep(place)
        return place

    def beat(self) -> None:
        """Notes that the sequencer is at work."""
        with transaction(self._engine) as tx:
            tx.rows("update hub.log_state set beat_at = %s", (self._clock(),))

    def _state(self, tx: Transaction, look: bool = True) -> tuple[Place, datetime | None]:
        ((size, root, whole_at),) = tx.rows("begin; select size, root, nullif(whole_at, '-infinity') from hub.log_state for update")
        place = Place(size, bytes(root))
        if look and not self._memory.fits(place) and not self._goes_on(tx, place):
            last = max(known.size for known in self._memory.places)
            raise PutBack(
                f"The audit log has {size} leaves, and this key has last signed one of {last}: the database was put back to an earlier "
                "state, or altered. Nothing is signed, and sealed fields will be refused. See docs/operate.md."
            )
        return place, whole_at

    def _read_heads(self, tx: Transaction, place: Place) -> dict[str, Head]:
        """The heads of all lists. A tree that goes on from others would say that an owner's list is another one than it is."""
        heads, signed = _heads(tx), self._memory.heads_at(place)
        if signed is not None and _digest(heads) != signed:
            raise PutBack(
                f"The owners' lists in the audit log are not those that this key has last signed, at {place.size} leaves: they were "
                "altered. Nothing is signed, and sealed fields will be refused. See docs/operate.md."
            )
        return heads

    def _goes_on(self, tx: Transaction, place: Place) -> bool:
        """Whether the database is further than what was noted here, and goes on from there, signed with this key: a sequencer on another
        machine had its turn.
        """
        known = self._memory.places[0]
        notes = tx.rows("select note from hub.checkpoints where size = %s", (place.size,))
        if known.size > place.size or not notes:
            return False
        note = Note.read(notes[0][0])
        claimed = Checkpoint(self._signer.key.name, place.size, place.root)
        if note.text != str(claimed) or not note.signed_by(self._signer.key):
            return False
        tree = Tree(place.size, lambda tile: read_tile(tx, tile))
        return tree.root() == place.root and tree.root(known.size) == known.root

    def _rows(
        self,
        tx: Transaction,
        size: int,
        taken: Sequence[tuple[Any, ...]],
        now: datetime,
        whole_at: datetime | None,
        signed: Sequence[tuple[Any, ...]],
    ) -> tuple[list[Row], datetime | None]:
        """The rows of the index: the leaves, and the heads leaves that end the batch."""
        whole = whole_at is None or now - whole_at >= WHOLE_EVERY
        heads, told = self._heads, set(self._heads) if whole else set[str]()
        rows: list[Row] = []
        for leaf, digest, owner in taken:
            index = size + len(rows)
            heads[owner] = heads.get(owner, start(owner)).follow([(index, bytes(digest))])
            told.add(owner)
            rows.append((index, leaf, bytes(digest), owner, heads[owner].n))
        owners = sorted(told)
        for first in range(0, len(owners), OWNERS_AT_ONCE):
            some = {owner: heads[owner] for owner in owners[first : first + OWNERS_AT_ONCE]}
            event = event_id(now, os.urandom(10))
            text = _heads_leaf(event, now, os.urandom(16), some, whole, (signed[0][0], bytes(signed[0][1])) if signed else None)
            index = size + len(rows)
            tx.rows("insert into hub.heads_leaves (idx, leaf) values (%s, %s)", (index, text))
            rows.append((index, None, leaf_hash(text.encode()), None, None))
        tx.rows(_HEADS, (owners, [heads[o].n for o in owners], [heads[o].chain for o in owners]))
        return rows, now if whole else whole_at

    def _store(
        self,
        tx: Transaction,
        rows: Sequence[Row],
        tiles: dict[Tile, bytes],
        new: Place,
        now: datetime,
        whole_at: datetime | None,
    ) -> None:
        kept = {tile: hashes for tile, hashes in tiles.items() if tile.level or tile.width == WIDTH}
        text = str(Checkpoint(self._signer.key.name, new.size, new.root))
        note = str(Note(text, [self._signer.sign(text)]))
        columns = [list(column) for column in zip(*rows, strict=True)]
        tx.rows(_INDEX, columns)
        tx.rows(
            f"{_TILES}; {_STATE}; {_CHECKPOINT}; commit",
            (
                [tile.level for tile in kept], [tile.n for tile in kept], list(kept.values()),
                new.size, psycopg2.Binary(new.root), whole_at, now,
                new.size, now, note,
            ),
        )  # fmt: skip


def _heads(tx: Transaction) -> dict[str, Head]:
    return {owner: Head(n, bytes(chain)) for owner, n, chain in tx.rows("select owner, count, chain from hub.log_heads")}


def _digest(heads: Mapping[str, Head]) -> bytes:
    return sha256(json.dumps([(owner, head.n, head.chain.hex()) for owner, head in sorted(heads.items())]).encode()).digest()


def _edge_at(tx: Transaction, size: int) -> Edge:
    """The last tiles of the tree: of level 0 from the index, of those above as they are kept."""
    partial = []
    for level in range(-(-size.bit_length() // 8)):
        n, width = divmod(size >> 8 * level, WIDTH)
        partial.append(read_tile(tx, Tile(level, n, width)) if width else b"")
    return Edge(size, partial)


def read_tile(tx: Transaction, tile: Tile) -> bytes:
    """The hashes of a tile as the database has it; shorter when it hasn't.

    A narrower tile is the beginning of the full one, so any width that was ever true can be given.
    """
    if tile.level == 0 and tile.width < WIDTH:
        first = tile.n * WIDTH
        found = tx.rows("select leaf_hash from hub.log_index where idx >= %s and idx < %s order by idx", (first, first + tile.width))
        return b"".join(bytes(digest) for (digest,) in found)
    found = tx.rows("select substr(hashes, 1, %s) from hub.log_tiles where level = %s and n = %s", (32 * tile.width, tile.level, tile.n))
    return bytes(found[0][0]) if found else b""


def _heads_leaf(event: UUID, at: datetime, salt: bytes, heads: Mapping[str, Head], whole: bool, signed: tuple[int, bytes] | None) -> str:
    """The canonical text of a heads leaf. `signed`: place and chain of the last signature of the key process that is in the log by then.

    RFC 8785: keys are ASCII, numbers whole, so that orjson's sorted form is the canonical one.
    """
    body: dict[str, Any] = {
        "v": VERSION,
        "salt": b64encode(salt).decode(),
        "event": str(event),
        "part": 1,
        "parts": 1,
        "type": TYPE,
        "at": instant(at),
        "by": {},
        "heads": {owner: [head.n, b64encode(head.chain).decode()] for owner, head in heads.items()},
        "decision": "permit",
    }
    if whole:
        body["whole"] = True
    if signed is not None:
        body["signed"] = [signed[0], b64encode(signed[1]).decode()]
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
