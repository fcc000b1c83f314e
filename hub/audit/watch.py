"""Watches over the log while it grows: every leaf that the key process signed must get into the tree, and witnesses must follow."""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import sqlalchemy as sa
import structlog

from hub.audit.notes import BadNote, Note, VerifierKey
from hub.db import Transaction, transaction
from hub.leaf_chain import NOTHING, Signed, genuine

AT_ONCE: Final = 5_000
PATIENCE_S: Final = 10.0
"""How long a signed leaf may be missing in the tree: the sequencer takes it within a second when all is well."""
MISSING, CHAIN, WITNESSES, BEHIND = "signed leaf missing", "chain of signatures", "witnesses behind", "log behind"
COSIGNATURE = "cosignature"
_AFTER = """
select n, event::text, leaf_hash, chain, key, signature, exists (select from hub.log_index i where i.leaf_hash = s.leaf_hash)
from hub.leaf_signatures s where n > %s order by n limit %s"""
_STILL = """
select u.n from unnest(%s::bigint[], %s::bytea[]) u(n, leaf_hash)
where not exists (select from hub.log_index i where i.leaf_hash = u.leaf_hash)"""
_LAST = """
select w.name, w.key, last.size, last.line, c.note from hub.witnesses w
cross join lateral (select s.size, s.line from hub.cosignatures s where s.witness = w.name order by s.size desc limit 1) last
join hub.checkpoints c on c.size = last.size where w.removed_at is null"""
_RAISE = """
insert into hub.log_alarms (kind, about, detail) select %s, %s, %s
where not exists (select from hub.log_alarms where kind = %s and about = %s and ended_at is null)"""
_END = "update hub.log_alarms set ended_at = now() where kind = %s and ended_at is null"
_log = structlog.get_logger("hub.sequencer")


class Watch:
    """Looks at the signatures of the key process in their order, from the first on when it starts, and at how far the witnesses are."""

    def __init__(self, engine: sa.Engine, quorum: int, alarm_s: int, behind_s: int, tick: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._quorum, self._alarm_s, self._behind_s, self._tick = engine, quorum, alarm_s, behind_s, tick
        self._n, self._chain = NOTHING
        self._key: bytes | None = None
        self._missing: dict[int, tuple[bytes, float]] = {}
        self._verified: set[tuple[str, int]] = set()

    def look(self) -> bool:
        """Raises alarms for what is wrong by now, and ends those of what no longer is. Looks at AT_ONCE signatures at most: whether there
        may be more.

        Raises:
            Unavailable: the database can't be reached.
        """
        with transaction(self._engine) as tx:
            looked = self._look_at_signatures(tx)
            self._look_at_missing(tx)
            self._look_at_cosignatures(tx)
            self._look_behind(tx)
        return looked == AT_ONCE

    def _look_at_signatures(self, tx: Transaction) -> int:
        rows = tx.rows(_AFTER, (self._n, AT_ONCE))
        for n, event, digest, chain, key, signature, there in rows:
            entry = Signed(n, event, bytes(digest), bytes(chain), bytes(key), bytes(signature))
            if not genuine(entry, self._n, self._chain):
                self._alarm(tx, CHAIN, n, f"Signature {n} of the key process doesn't follow from number {self._n}, or doesn't verify.")
            elif self._key not in (None, entry.key):
                self._alarm(tx, CHAIN, n, f"Signature {n} is by another key than those before it, of which the key process has one alone.")
            self._key = self._key or entry.key
            if not there:
                self._missing[n] = entry.leaf_hash, self._tick()
            self._n, self._chain = n, entry.chain
        return len(rows)

    def _look_at_missing(self, tx: Transaction) -> None:
        if not self._missing:
            return
        still = {n for (n,) in tx.rows(_STILL, (list(self._missing), [digest for digest, _ in self._missing.values()]))}
        for n in self._missing.keys() - still:
            del self._missing[n]
        for n, (digest, since) in self._missing.items():
            if self._tick() - since >= PATIENCE_S:
                self._alarm(tx, MISSING, n, f"The leaf {digest.hex()}, which the key process signed as number {n}, is not in the tree.")

    def _look_at_cosignatures(self, tx: Transaction) -> None:
        """The last one of each witness, which is what counts: a serving process verifies them, and could store what doesn't verify."""
        for name, key, size, line, note in tx.rows(_LAST):
            if (name, size) not in self._verified:
                if not _cosigned(key, line, note):
                    self._alarm(tx, COSIGNATURE, f"{name} {size}", f"The cosignature of {name} on {size} leaves doesn't verify.")
                self._verified = {known for known in self._verified if known[0] != name} | {(name, size)}

    def _look_behind(self, tx: Transaction) -> None:
        ((behind, unwitnessed),) = tx.rows("select * from hub.log_behind(%s)", (self._quorum,))
        late = f"A leaf has been waiting for more than {self._behind_s} s to be taken into the tree; sealed fields are refused."
        lacks = f"A checkpoint has lacked the cosignatures of {self._quorum} witnesses for more than {self._alarm_s} s."
        for kind, s, most, what in ((BEHIND, behind, self._behind_s, late), (WITNESSES, unwitnessed, self._alarm_s, lacks)):
            if s is not None and s > most:
                self._alarm(tx, kind, "", what)
            else:
                tx.rows(_END, (kind,))

    def _alarm(self, tx: Transaction, kind: str, about: object, detail: str) -> None:
        if self._raised(tx, kind, str(about), detail):
            _log.error("alarm", kind=kind, detail=detail)

    def _raised(self, tx: Transaction, kind: str, about: str, detail: str) -> bool:
        return bool(tx.rows(f"{_RAISE} returning true", (kind, about, detail, kind, about)))


def _cosigned(key: str, line: str, note: str) -> bool:
    try:
        return Note.read(Note.read(note).text + "\n" + line).cosigned_at(VerifierKey.read(key)) is not None
    except BadNote:
        return False


def open_alarms(tx: Transaction) -> Iterable[tuple[str, str, datetime]]:
    """The alarms that have not ended, the oldest hundred: kind, what is wrong, since when."""
    return tx.rows("select kind, detail, at from hub.log_alarms where ended_at is null order by at limit 100")
