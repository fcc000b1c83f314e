"""Writes audit bundles (hub/audit/bundle.py): what a search found, or the whole log, and all that is needed to verify it offline."""

import json
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import IO, Any, Final

from sqlalchemy import Engine

from hub.audit import bundle
from hub.audit.leaf import instant
from hub.audit.lists import EXPIRY
from hub.audit.log import Log
from hub.audit.notes import Checkpoint, Note, Signer
from hub.audit.search import Search
from hub.audit.sequence import read_tile
from hub.audit.tiles import WIDTH, Tile, tiles_of
from hub.db import Transaction, transaction
from hub.errors import Unavailable

AT_ONCE: Final = 2_000
FOUND_AT_ONCE: Final = 1_000
_ENTRIES = """
select i.idx, coalesce(l.leaf, h.leaf), i.leaf_hash, h.idx is not null from hub.log_index i
left join hub.audit_leaves l on l.id = i.leaf left join hub.heads_leaves h on h.idx = i.idx
where i.idx = any(%s) order by i.idx"""
_NEWEST = """
select c.size, c.note from hub.checkpoints c where %s <= (
  select count(*) from hub.cosignatures s join hub.witnesses w on w.name = s.witness and w.removed_at is null where s.size = c.size)
order by c.size desc limit 1"""
_HEAD_OF = "select idx from hub.heads_leaves where idx < %s and leaf::jsonb->'heads' ? %s order by idx desc limit 1"
_EXPIRIES = """
select i.idx, (select max(h.idx) from hub.heads_leaves h where h.idx < (l.leaf::jsonb#>>'{asked,places}')::bigint)
from hub.audit_leaves l join hub.log_index i on i.leaf = l.id
where l.terms @> array[%s] and l.owner is null and l.leaf::jsonb->>'decision' = 'permit'
  and l.leaf::jsonb#>>'{asked,places}' ~ '^[0-9]{1,18}$' and i.idx < %s"""
_STRAYS = """
select l.event::text from hub.audit_leaves l
where not exists (select from hub.log_index i where i.leaf = l.id) and not exists (select from hub.log_pending p where p.leaf = l.id)
limit 100"""

_SIGNATURES = """
select n, event::text, leaf_hash, chain, key, signature from hub.leaf_signatures
where n > %s and (%s or leaf_hash = any(%s::bytea[])) order by n limit %s"""
_LINKS = "select idx, leaf_hash, n from hub.log_index where owner = %s and n > %s and idx < %s order by n limit %s"


@dataclass(frozen=True)
class Wanted:
    """What a bundle is to hold: what `search` finds (None: the whole log), and the lists of these owners, complete. `scope`: the same in
    words of the command, for who reads it; `quorum`: of how many witnesses the checkpoint needs a cosignature; `pinned`: the size of a
    checkpoint that the reader verified before.
    """

    search: Search | None
    owners: Sequence[str]
    scope: Mapping[str, Any]
    quorum: int = 0
    pinned: int = 0


@dataclass(frozen=True)
class Made:
    """What went into a bundle."""

    checkpoint: Checkpoint
    entries: int
    later: int
    """Leaves that match and came into the log after the checkpoint."""


class Exporter:
    """Writes bundles of one log; `engine` is the auditor's."""

    def __init__(self, engine: Engine, signer: Signer) -> None:
        self._engine, self._signer, self._log = engine, signer, Log(engine)

    def write(self, file: IO[bytes], wanted: Wanted, at: datetime) -> Made:
        """Writes a bundle to `file`, which can be written at random.

        Raises:
            Unavailable: there is no checkpoint with enough cosignatures yet, or the database can't be reached.
        """
        leaves = None if wanted.search is None else self._found(wanted.search)
        with transaction(self._engine) as tx, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            tx.rows("begin isolation level repeatable read read only")
            return _Bundle(tx, archive, self._signer).write(wanted, leaves, at)

    def _found(self, search: Search) -> list[int]:
        """The ids of every leaf that a search finds."""
        ids: list[int] = []
        while True:
            page = self._log.review(replace(search, limit=FOUND_AT_ONCE, before=ids[-1] if ids else search.before))
            ids += [entry.id for entry in page.entries]
            if page.rest is None or not page.entries:
                return ids


class _Bundle:
    def __init__(self, tx: Transaction, archive: zipfile.ZipFile, signer: Signer) -> None:
        self._tx, self._archive, self._signer = tx, archive, signer
        self._files: dict[str, str] = {}

    def write(self, wanted: Wanted, leaves: Sequence[int] | None, at: datetime) -> Made:
        checkpoint = self._checkpoint(wanted.quorum)
        size, every = checkpoint.size, leaves is None
        owners = self._owners(size) if every else sorted(set(wanted.owners))
        indexes, later = (range(size), 0) if leaves is None else self._indexes(leaves, size)
        places = indexes if every else sorted({*indexes, *self._telling(owners, size)})
        hashes, cited, entries = self._entries(places)
        # The root of a tree takes the narrower tile at its edge too.
        edges = {(whole - 1) // WIDTH for whole in (size, wanted.pinned) if 0 < whole <= size}
        self._tiles(size, {index // WIDTH for index in places} | edges)
        for owner in owners:
            self._chain(owner, size)
        self._signatures(None if every else hashes)
        self._mous(cited)
        manifest = {
            "v": bundle.VERSION,
            "kind": "concord-audit-bundle",
            "origin": self._signer.key.name,
            "made_at": instant(at),
            "scope": dict(wanted.scope),
            "size": size,
            "all": every,
            "complete": owners,
            "strays": [event for (event,) in self._tx.rows(_STRAYS)] if every else [],
            "files": self._files,
        }
        self._sign(json.dumps(manifest, indent=1, sort_keys=True).encode())
        return Made(checkpoint, entries, later)

    def _sign(self, manifest: bytes) -> None:
        text = bundle.manifest_text(self._signer.key.name, sha256(manifest).hexdigest())
        self._archive.writestr(bundle.MANIFEST, manifest)
        self._archive.writestr(bundle.MANIFEST_NOTE, str(Note(text, [self._signer.sign(text)])))

    def _add(self, name: str, content: bytes) -> None:
        self._archive.writestr(name, content)
        self._files[name] = sha256(content).hexdigest()

    @contextmanager
    def _lines(self, name: str) -> Iterator[Callable[[str], None]]:
        """Adds a file line by line."""
        digest = sha256()
        with self._archive.open(name, "w") as file:

            def add(text: str) -> None:
                line = f"{text}\n".encode()
                digest.update(line)
                file.write(line)

            yield add
        self._files[name] = digest.hexdigest()

    def _checkpoint(self, quorum: int) -> Checkpoint:
        """The newest with enough cosignatures, as one note."""
        found = self._tx.rows(_NEWEST, (quorum,))
        if not found:
            raise Unavailable(f"The log has no checkpoint yet that {quorum} witnesses cosigned; try again shortly.")
        ((size, note),) = found
        lines = self._tx.rows("select line from hub.cosignatures where size = %s order by witness", (size,))
        whole = note + "".join(line for (line,) in lines)
        self._add(bundle.CHECKPOINT, whole.encode())
        return Checkpoint.read(Note.read(whole).text)

    def _owners(self, size: int) -> list[str]:
        owners = "select distinct owner from hub.log_index where owner is not null and idx < %s order by owner"
        return [owner for (owner,) in self._tx.rows(owners, (size,))]

    def _indexes(self, leaves: Sequence[int], size: int) -> tuple[list[int], int]:
        found = [idx for (idx,) in self._tx.rows("select idx from hub.log_index where leaf = any(%s) order by idx", (list(leaves),))]
        before = [idx for idx in found if idx < size]
        return before, len(leaves) - len(before)

    def _telling(self, owners: Sequence[str], size: int) -> set[int]:
        """The places of the leaves that tell how far these lists go, how far the tree, and what was removed of it."""
        heads = {idx for owner in owners for (idx,) in self._tx.rows(_HEAD_OF, (size, owner))}
        expiries = {idx for row in self._tx.rows(_EXPIRIES, (f"type:{EXPIRY}", size)) for idx in row if idx is not None}
        return heads | expiries | ({size - 1} if size else set())

    def _entries(self, places: Sequence[int]) -> tuple[set[bytes], set[tuple[str, int]], int]:
        """Writes the entries. Their hashes, the versions of agreements that they cite, and how many there are."""
        hashes: set[bytes] = set()
        cited: set[tuple[str, int]] = set()
        count = 0
        with self._lines(bundle.ENTRIES) as add:
            for first in range(0, len(places), AT_ONCE):
                for idx, leaf, digest, of_heads in self._tx.rows(_ENTRIES, (list(places[first : first + AT_ONCE]),)):
                    hashes.add(bytes(digest))
                    if leaf is None:
                        continue
                    add(f"{idx} {leaf}")
                    count += not of_heads
                    cited |= cites(leaf)
        return hashes, cited, count

    def _tiles(self, size: int, zero: set[int]) -> None:
        for tile in tiles_of(size):
            if tile.level or tile.n in zero:
                self._add(f"{bundle.TILES}{Tile(tile.level, tile.n, tile.width).path()}", read_tile(self._tx, tile))

    def _chain(self, owner: str, size: int) -> None:
        parts, n = [], 0
        while rows := self._tx.rows(_LINKS, (owner, n, size, AT_ONCE)):
            parts.append(b"".join(bundle.LINK.pack(idx, bytes(digest)) for idx, digest, _ in rows))
            n = rows[-1][2]
        self._add(f"{bundle.OWNERS}{owner}{bundle.CHAIN}", b"".join(parts))

    def _signatures(self, hashes: set[bytes] | None) -> None:
        """All of the key process's signatures, or those of these leaves."""
        with self._lines(bundle.SIGNATURES) as add:
            n = 0
            while rows := self._tx.rows(_SIGNATURES, (n, hashes is None, sorted(hashes or ()), AT_ONCE)):
                for number, event, *raw in rows:
                    leaf, chain, key, signature = (b64encode(bytes(b)).decode() for b in raw)
                    add(json.dumps({"n": number, "event": event, "leaf": leaf, "chain": chain, "key": key, "signature": signature}))
                n = rows[-1][0]

    def _mous(self, cited: set[tuple[str, int]]) -> None:
        boundaries: set[str] = set()
        for mou, version in sorted(cited):
            for source, statement, signatures in self._tx.rows("select * from hub.cited_mou(%s, %s)", (mou, version)):
                name = f"{bundle.MOUS}{mou}-{version}"
                said = {"mou": mou, "version": version, "statement": statement, "signatures": signatures}
                self._add(f"{name}.yaml", source.encode())
                self._add(f"{name}.json", json.dumps(said, indent=1, sort_keys=True).encode())
                boundaries |= set(json.loads(statement)["boundaries"].values()) if statement else set()
        for digest in sorted(boundaries):
            for (content,) in self._tx.rows("select * from hub.cited_boundary(%s)", (digest,)):
                self._add(f"{bundle.BOUNDARIES}{digest}", bytes(content))


def cites(leaf: str) -> set[tuple[str, int]]:
    """The versions of agreements that the text of a leaf cites; none where it has not the form of a leaf, which the verifier tells."""
    try:
        under = [(u["mou"], u["version"]) for u in json.loads(leaf).get("under", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {(mou, version) for mou, version in under if isinstance(mou, str) and type(version) is int and 0 < version < 1 << 31}
