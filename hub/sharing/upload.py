"""The bytes of an import as they arrive: read into rows, sealed in batches, each batch committed with the position after it.

Two batches are under way at once: while PostgreSQL stores one, the next is sealed. They commit in the file's order. Two that name the
same record are not under way together: what the later one comes to depends on the earlier.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import orjson

from hub.db import Transaction, transaction
from hub.errors import Conflict, InvalidFile, InvalidRequest, Problem
from hub.mapping.reading import Reading
from hub.mapping.rows import Row, State
from hub.mapping.spec import read_mapping
from hub.records import WINDOW_FIELD
from hub.sharing.equals import Equals
from hub.sharing.imports import LETTERS, Counts, Imports, Job, check_going_on
from hub.sharing.incoming import Incoming, incoming
from hub.sharing.publish import Published, Publisher, swapped
from hub.sharing.retention import over, problem

BATCH = 2_000
AHEAD = 2


@dataclass(frozen=True, slots=True)
class _Batch:
    """Whole rows, what is to be stored of them (None: refused), what is noted of them, and where the file stands after them."""

    first: int
    records: Sequence[Incoming | None]
    notes: Sequence[tuple[int, int, str, str, str]]  # row, line, errors or flags, field, reason
    equals: bytes
    before: State
    after: State

    @property
    def names(self) -> frozenset[str]:
        """The external ids of what is to be stored."""
        return frozenset(record.external_id for record in self.records if record is not None)


class Upload:
    """One request's part of a file, from byte `offset` on. Not for several threads."""

    def __init__(self, imports: Imports, publisher: Publisher, job: Job, offset: int, digest: str | None) -> None:
        """Raises Conflict or InvalidRequest when bytes from `offset` on may not follow what the import has read."""
        check_going_on(imports, publisher, job, offset, digest)
        mapping = imports.mapping_of(publisher, job)
        self._imports, self._publisher, self._job = imports, publisher, job
        spec = None if mapping is None else read_mapping(mapping, imports.dataset)
        self._reading = Reading(spec, imports.dataset, job.position)
        self._equals = Equals()
        if offset:
            for key in imports.equals_of(job.id):
                self._equals.next(key)
        self._months = imports.kept_months(publisher)
        self._received, self._whole, self._digest = offset, None if offset else sha256(), digest
        self._counts, self._position = job.counts, job.position
        self._rows: list[Row] = []
        self._pool = ThreadPoolExecutor(AHEAD, "import")
        self._under_way: deque[tuple[Future[None], frozenset[str]]] = deque()
        self._last: Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Takes the next bytes. What is committed can be later than the return.

        Raises:
            InvalidFile: the file can't be read on; the import has failed, what landed stays.
            InvalidRequest: there is more than was announced.
            Conflict: the import was cancelled, or another request goes on with it.
            NotAuthenticated, Unavailable
        """
        self._received += len(data)
        if self._job.length is not None and self._received > self._job.length:
            raise InvalidRequest(f"The file was announced with {self._job.length:,} bytes; here are more.", field="body")
        if self._whole is not None:
            self._whole.update(data)
        self._reading.feed(data)
        self._drain()

    def finish(self) -> None:
        """The file is complete: commits its rest and ends the import.

        Raises:
            InvalidFile: what arrived is not the file that was announced, or it can't be read to its end.
        """
        if self._job.length is not None and self._received < self._job.length:
            raise InvalidRequest(f"Of {self._job.length:,} bytes {self._received:,} have arrived; the file isn't complete.", field="body")
        if self._whole is not None and not self._as_announced(self._whole.hexdigest()):
            self._rows = []
            self._fail(InvalidFile("What arrived is not the file that was announced: its SHA-256 differs.", field="Repr-Digest"))
        self._reading.end()
        self._drain()
        self.flush()
        self._imports.finish(self._publisher, self._job.id, self._position.offset, self._received)

    def _as_announced(self, digest: str) -> bool:
        """Whether the whole file is the one that the import was opened with, or that this request says it sends."""
        if self._digest not in (None, digest):
            return False
        return self._job.digest_mac is None or self._imports.digest_mac(self._publisher, digest) == self._job.digest_mac

    def flush(self) -> None:
        """Commits the whole rows that have arrived, and waits."""
        if self._rows:
            self._submit()
        self._wait(0)

    def close(self) -> None:
        """Lets go of its threads; what is under way ends by itself."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _drain(self) -> None:
        try:
            while rows := self._reading.rows(BATCH - len(self._rows)):
                self._rows += rows
                if len(self._rows) >= BATCH:
                    self._submit()
        except InvalidFile as error:
            self._fail(error)

    def _fail(self, error: InvalidFile) -> None:
        self.flush()
        problem = error.problems[0] if error.problems else Problem("file", error.detail)
        self._imports.end(self._publisher, self._job.id, "failed", {"field": _kept(problem.field), "reason": _kept(problem.reason)})
        raise error

    def _submit(self) -> None:
        batch = self._batch(self._rows, self._reading.state)
        self._rows, names = [], batch.names
        self._wait(AHEAD - 1)
        if not all(names.isdisjoint(others) for _, others in self._under_way):
            self._wait(0)
        self._last = self._pool.submit(self._commit, batch, self._last)
        self._under_way.append((self._last, names))

    def _wait(self, most: int) -> None:
        while len(self._under_way) > most:
            self._under_way.popleft()[0].result()

    def _batch(self, rows: Sequence[Row], after: State) -> _Batch:
        records: list[Incoming | None] = []
        keyed = [row.key for row in rows if row.key is not None]
        digests = iter(self._imports.keys.macs("external-id", self._publisher.uid, keyed))
        notes: list[tuple[int, int, str, str, str]] = []
        equals = []
        for row in rows:
            name, problems, flags = None, row.problems, row.flags
            if row.key is not None:
                digest = next(digests)
                equals.append(digest[:8])
                name = f"{digest[:16].hex()}-{self._equals.next(digest[:8])}"
            if row.record is not None:
                more, doubts = self._placed(row)
                problems, flags = problems + more + self._late(row), flags + doubts
            kept = None if problems or row.record is None else incoming(row.record, name)
            records.append(kept)
            said = [("errors", p) for p in problems] if kept is None else [("flags", p) for p in flags]
            notes += [(row.number, row.line, kind, _kept(p.field), _kept(p.reason)) for kind, p in said]
        batch = _Batch(rows[0].number, records, notes, b"".join(equals), self._position, after)
        self._position = after
        return batch

    def _placed(self, row: Row) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        area, place = self._publisher.area, self._imports.dataset.named("place")[0].name
        lon, lat = getattr(row.record, place)
        if area is None:
            return (), ()
        if swapped(area, lon, lat):
            return (Problem(place, "looks swapped: it lies in your area only as (latitude, longitude)"),), ()
        if not area.holds(lon, lat):
            return (), (Problem(place, "lies outside your organisation's area"),)
        return (), ()

    def _late(self, row: Row) -> tuple[Problem, ...]:
        """That a record would be kept no longer on the day when it comes."""
        months, now = self._months, self._imports.clock()
        late = months is not None and over(getattr(row.record, WINDOW_FIELD), months, now)
        return (problem(WINDOW_FIELD, months),) if late and months is not None else ()

    def _commit(self, batch: _Batch, previous: "Future[None] | None") -> None:
        accepted = [record for record in batch.records if record is not None]
        publishing = self._imports.publishing
        counts = self._counts

        def ready() -> None:
            if previous is not None:
                previous.result()

        def advance(tx: Transaction, published: Published) -> None:
            nonlocal counts
            counts = self._advance(tx, batch, [r.outcome for r in published.receipts], published)

        if accepted and not self._job.dry_run:
            asked = {"records": len(accepted), "import": str(self._job.id)}
            publishing.store(self._publisher, accepted, asked, ready=ready, finish=advance)
        else:
            ready()
            outcomes = publishing.outcomes(self._publisher, accepted) if accepted else []
            with transaction(self._imports.engine) as tx:
                publishing.admit(tx, self._publisher, "begin; ")
                counts = self._advance(tx, batch, outcomes, None)
                tx.rows("commit")
        self._counts = counts

    def _advance(self, tx: Transaction, batch: _Batch, outcomes: Sequence[str], published: Published | None) -> Counts:
        """Moves the import past `batch`, in the transaction that stores it."""
        known = iter(outcomes)
        letters = "".join("x" if record is None else LETTERS[next(known)] for record in batch.records)
        flagged = len({note[0] for note in batch.notes if note[2] == "flags"})
        counts = self._counts.plus(letters, flagged)
        moved = tx.rows(
            "update hub.imports set position = %s::jsonb, counts = %s::jsonb, updated_at = now() "
            "where id = %s::uuid and state = 'open' and (position->>'offset')::bigint = %s returning true",
            (_json(asdict(batch.after)), _json(asdict(counts)), str(self._job.id), batch.before.offset),
        )
        if not moved:
            raise Conflict("This import was cancelled, or another request goes on with it; look at it anew.")
        revisions = [r.revision_no for r in published.receipts] if published else []
        event, leaf = (str(published.event), published.leaf) if published else (None, None)
        tx.rows(
            "insert into hub.import_batches (import, first_row, outcomes, revisions, notes, equals, event, leaf) "
            "values (%s::uuid, %s, %s, %s::bigint[], %s::jsonb, %s, %s::uuid, %s)",
            (str(self._job.id), batch.first, letters, revisions, _json(batch.notes), batch.equals, event, leaf),
        )
        return counts


def _kept(text: str) -> str:
    """A place or a reason as PostgreSQL can keep it: a name in the file may hold NUL."""
    return text.replace("\0", "␀")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
