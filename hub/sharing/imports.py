"""Imports: a partner's file of any length, row by row, resumable, with a verdict for each row (docs/decisions/0014).

The file is read while it arrives and never kept: its whole rows become batches, each committed with the position in the file after
it. So what was interrupted goes on where the last batch ended, and each row is stored exactly once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Engine

from hub.audit.leaf import Event, Share
from hub.audit.log import append
from hub.crypto.keys import Keys
from hub.db import Transaction, transaction
from hub.errors import Conflict, InvalidMapping, InvalidRequest, NoSuchResource, Problem
from hub.mapping.rows import State
from hub.mapping.spec import read_mapping
from hub.records import Record
from hub.sharing.publish import Publisher, Publishing

MAX_OPEN = 20
KEPT = timedelta(days=30)
OUTCOMES = {"l": "landed", "u": "updated", "=": "unchanged", "x": "refused"}
LETTERS = {"created": "l", "updated": "u", "unchanged": "="}


@dataclass(frozen=True, slots=True)
class Order:
    """What a partner asks for. `mapping` is None for GeoJSON in the hub's own words; `length` in bytes and `digest` (SHA-256, hex) are
    the whole file's.
    """

    mapping: Mapping[str, Any] | None
    dry_run: bool = False
    length: int | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by what became of them; `flagged` rows were kept, with a doubt."""

    landed: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    flagged: int = 0

    @property
    def rows(self) -> int:
        return self.landed + self.updated + self.unchanged + self.refused

    def plus(self, letters: str, flagged: int) -> "Counts":
        """With the rows of another batch, a letter (OUTCOMES) each."""
        added = {name: getattr(self, name) + letters.count(letter) for letter, name in OUTCOMES.items()}
        return Counts(**added, flagged=self.flagged + flagged)


@dataclass(frozen=True, slots=True)
class Job:
    """An import as it stands. state: open, done, failed or cancelled; `problem` says why it failed."""

    id: UUID
    state: str
    dry_run: bool
    length: int | None
    position: State
    counts: Counts
    problem: Mapping[str, str] | None
    created_at: datetime
    updated_at: datetime
    digest_mac: bytes | None = field(repr=False)
    sealed_order: bytes | None = field(repr=False)


_COLUMNS = "id, state, dry_run, length, position, counts, problem, created_at, updated_at, digest_mac, order_sealed"


def _job(row: tuple[Any, ...]) -> Job:
    number, state, dry_run, length, position, counts, problem, created, updated, digest, sealed = row
    columns = position.pop("columns")
    return Job(
        UUID(str(number)),
        state,
        dry_run,
        length,
        State(**position, columns=tuple(columns) if columns is not None else None),
        Counts(**counts),
        problem,
        created,
        updated,
        None if digest is None else bytes(digest),
        None if sealed is None else bytes(sealed),
    )


@dataclass(frozen=True)
class Imports:
    """The imports of one dataset."""

    publishing: Publishing
    engine: Engine
    keys: Keys
    clock: Callable[[], datetime]
    random_id: Callable[[], UUID]

    @property
    def dataset(self) -> type[Record]:
        return self.publishing.dataset

    def open(self, publisher: Publisher, order: Order, finish: Callable[[Transaction, Job], None] | None = None) -> tuple[Job, bool]:
        """A new import, or the one that is open for the same file and mapping already, and whether it is new.

        Raises:
            InvalidMapping: the mapping is not one.
            Conflict: too many imports are open.
        """
        if order.mapping is not None and read_mapping(dict(order.mapping), self.dataset).dataset != self.publishing.name:
            reason = f"must be {self.publishing.name}, which these imports are of"
            raise InvalidMapping(f"dataset: {reason}.", problems=[Problem("dataset", reason)])
        said = orjson.dumps([order.mapping, order.dry_run, order.length, order.digest], option=orjson.OPT_SORT_KEYS)
        (mac,), number = self.keys.macs("import", publisher.uid, [said]), self.random_id()
        with transaction(self.engine) as tx:
            self.publishing.admit(tx, publisher, "begin; ")
            # Of requests that arrive together the second sees what the first has opened.
            tx.rows("select pg_advisory_xact_lock(7202, %s)", (publisher.number,))
            tx.rows("delete from hub.imports where provider = %s and updated_at < %s", (publisher.number, self.clock() - KEPT))
            going_on = self._same(tx, publisher, mac) if order.digest else None
            if going_on is None:
                self._refuse_too_many(tx, publisher)
                digest_mac = order.digest and self.digest_mac(publisher, order.digest)
                sealed = self.keys.seal_note(publisher.uid, number, orjson.dumps(order.mapping))
                values = (str(number), publisher.number, publisher.by.client, self.dataset.number, order.dry_run, mac, digest_mac)
                (row,) = tx.rows(
                    "insert into hub.imports (id, provider, client, dataset, state, dry_run, order_mac, digest_mac, order_sealed, length, "
                    "position, counts) values (%s::uuid, %s, %s, %s, 'open', %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb) "
                    f"returning {_COLUMNS}",
                    (*values, sealed, order.length, _json(State()), _json(Counts())),
                )
                append(tx, self._event(publisher, {"import": str(number), "dry_run": order.dry_run}), [Share(publisher.slug)])
            job = going_on or _job(row)
            if finish is not None:
                finish(tx, job)
            tx.rows("commit")
        return job, going_on is None

    def get(self, publisher: Publisher, job_id: UUID) -> Job:
        """Raises NoSuchResource: the publisher's organisation has no such import."""
        with transaction(self.engine) as tx:
            return self._get(tx, publisher, job_id)

    def recent(self, publisher: Publisher, limit: int = 100) -> list[Job]:
        """The organisation's imports, newest first."""
        with transaction(self.engine) as tx:
            self.publishing.admit(tx, publisher)
            values = (publisher.number, self.dataset.number, limit)
            where = "provider = %s and dataset = %s order by created_at desc, id limit %s"
            return [_job(row) for row in tx.rows(f"select {_COLUMNS} from hub.imports where {where}", values)]

    def cancel(self, publisher: Publisher, job_id: UUID, finish: Callable[[Transaction, Job], None] | None = None) -> Job:
        """Ends an open import. What landed stays.

        Raises:
            NoSuchResource
            Conflict: it has ended already.
        """
        return self.end(publisher, job_id, "cancelled", None, then=finish)

    def finish(self, publisher: Publisher, job_id: UUID, at: int, length: int) -> Job:
        """Ends an import whose file, of `length` bytes, has been read; `at` is where its last row ended.

        Raises:
            Conflict: it has ended already, or another request went on with it.
        """
        return self.end(publisher, job_id, "done", None, (at, length))

    def end(
        self,
        publisher: Publisher,
        job_id: UUID,
        state: str,
        problem: Mapping[str, str] | None,
        moves: tuple[int, int] | None = None,
        then: Callable[[Transaction, Job], None] | None = None,
    ) -> Job:
        """Ends an open import, and forgets its mapping. `moves`: only if it stands at the first offset; it then stands at the second.
        `then` is called before the commit.
        """
        at, to = moves or (None, None)
        with transaction(self.engine) as tx:
            self.publishing.admit(tx, publisher, "begin; ")
            found = tx.rows(
                "update hub.imports set state = %s, problem = %s::jsonb, order_sealed = null, updated_at = now(), "
                "position = coalesce(jsonb_set(position, '{offset}', to_jsonb(%s::bigint)), position) "
                "where id = %s::uuid and provider = %s and dataset = %s and state = 'open' "
                f"and coalesce((position->>'offset')::bigint = %s, true) returning {_COLUMNS}",
                (state, _json(problem), to, str(job_id), publisher.number, self.dataset.number, at),
            )
            if not found:
                raise _not_open(self._get(tx, publisher, job_id))
            tx.rows("update hub.import_batches set equals = '' where import = %s::uuid and equals <> ''", (str(job_id),))
            if state == "cancelled":
                append(tx, self._event(publisher, {"import": str(job_id), "cancelled": True}), [Share(publisher.slug)])
            job = _job(found[0])
            if then is not None:
                then(tx, job)
            tx.rows("commit")
        return job

    def report(self, publisher: Publisher, job_id: UUID, only: str | None = None) -> Iterator[dict[str, Any]]:
        """The verdict of each row, or of those with the outcome `only`. Logged like any reading.

        Raises:
            NoSuchResource
        """
        self.get(publisher, job_id)
        with transaction(self.engine) as tx:
            tx.rows("begin")
            asked = {"import": str(job_id), "report": only or "all"}
            append(tx, self._event(publisher, asked), [Share(publisher.slug)], then="; commit")
        return self._report(publisher, job_id, next((letter for letter, name in OUTCOMES.items() if name == only), None))

    def _report(self, publisher: Publisher, job_id: UUID, only: str | None) -> Iterator[dict[str, Any]]:
        after = -1
        while True:
            with transaction(self.engine) as tx:
                batch = tx.rows(
                    "select first_row, outcomes, revisions, notes, leaf from hub.import_batches where import = %s::uuid and first_row > %s "
                    "order by first_row limit 1",
                    (str(job_id), after),
                )
                if not batch:
                    return
                first, outcomes, revisions, notes, leaf = batch[0]
                name = self.publishing.name
                known = (
                    tx.rows(f"select * from hub.{name}_receipts(%s, %s::bigint[])", (publisher.number, revisions)) if only != "x" else []
                )
            yield from _verdicts(first, outcomes, iter(revisions), notes, leaf, {no: (i, rev) for no, i, rev in known}, only)
            after = first

    def mapping_of(self, publisher: Publisher, job: Job) -> dict[str, Any] | None:
        """The mapping that an open import was ordered with."""
        if job.sealed_order is None:
            raise _not_open(job)
        found: dict[str, Any] | None = orjson.loads(self.keys.open_note(publisher.proof, publisher.uid, job.id, job.sealed_order))
        return found

    def kept_months(self, publisher: Publisher) -> int | None:
        """For how many months the publisher's records are kept; None: without end."""
        with transaction(self.engine) as tx:
            return self.publishing.admit(tx, publisher)

    def digest_mac(self, publisher: Publisher, digest: str) -> bytes:
        """What is kept of a file's digest: of a short file it could be guessed by trying."""
        return self.keys.macs("import-digest", publisher.uid, [digest.encode()])[0]

    def equals_of(self, job_id: UUID) -> Iterator[bytes]:
        """The keys of the rows that were committed, 8 bytes each, in their order."""
        after = -1
        while True:
            with transaction(self.engine) as tx:
                rows = tx.rows(
                    "select first_row, equals from hub.import_batches where import = %s::uuid and first_row > %s "
                    "order by first_row limit 20",
                    (str(job_id), after),
                )
            if not rows:
                return
            after = rows[-1][0]
            for _, keys in rows:
                data = bytes(keys)
                yield from (data[i : i + 8] for i in range(0, len(data), 8))

    def _get(self, tx: Transaction, publisher: Publisher, job_id: UUID) -> Job:
        self.publishing.admit(tx, publisher)
        where = "id = %s::uuid and provider = %s and dataset = %s"
        rows = tx.rows(f"select {_COLUMNS} from hub.imports where {where}", (str(job_id), publisher.number, self.dataset.number))
        if not rows:
            raise NoSuchResource("Your organisation has no such import.")
        return _job(rows[0])

    def _same(self, tx: Transaction, publisher: Publisher, mac: bytes) -> Job | None:
        where = "provider = %s and dataset = %s and state = 'open' and order_mac = %s order by created_at desc limit 1"
        rows = tx.rows(f"select {_COLUMNS} from hub.imports where {where}", (publisher.number, self.dataset.number, mac))
        return _job(rows[0]) if rows else None

    def _refuse_too_many(self, tx: Transaction, publisher: Publisher) -> None:
        ((count,),) = tx.rows("select count(*) from hub.imports where provider = %s and state = 'open'", (publisher.number,))
        if count >= MAX_OPEN:
            raise Conflict(f"{count} imports of your organisation are open; finish or cancel one first.")

    def _event(self, publisher: Publisher, asked: Mapping[str, Any]) -> Event:
        return self.publishing.event("import", publisher, asked)


def _not_open(job: Job) -> Conflict:
    if job.state == "open":
        return Conflict("Another request goes on with this import; look at it anew.")
    return Conflict(f"This import is not open: it is {job.state}.")


def _json(value: Any) -> str | None:
    if value is None:
        return None
    return orjson.dumps(asdict(value) if hasattr(value, "__dataclass_fields__") else value).decode()


def _verdicts(
    first: int,
    outcomes: str,
    revisions: Iterator[int],
    notes: list[list[Any]],
    leaf: str | None,
    known: Mapping[int, tuple[Any, int]],
    only: str | None,
) -> Iterator[dict[str, Any]]:
    said: dict[int, dict[str, Any]] = {}
    for row, line, kind, place, reason in notes:
        found = said.setdefault(row, {"line": line})
        found.setdefault(kind, []).append({"field": place, "reason": reason})
    for row, letter in enumerate(outcomes, first):
        number = next(revisions, None) if letter != "x" else None
        if only is not None and letter != only:
            continue
        verdict: dict[str, Any] = {"row": row, "outcome": OUTCOMES[letter], **said.get(row, {})}
        if number is not None and number in known:
            verdict |= {"id": str(known[number][0]), "revision": known[number][1], "revision_no": number}
        yield verdict | ({"leaf": leaf} if leaf and letter in "lu" else {})


def check_going_on(imports: Imports, publisher: Publisher, job: Job, offset: int, digest: str | None) -> None:
    """Whether bytes from `offset` on may follow what `job` has read.

    Raises:
        Conflict: the import has ended, stands elsewhere, or the file is another one by now.
        InvalidRequest: the file's digest is missing.
    """
    if job.state != "open":
        raise _not_open(job)
    if offset != job.position.offset:
        raise Conflict(
            f"This import stands at byte {job.position.offset}, not at {offset}.", headers={"Upload-Offset": str(job.position.offset)}
        )
    if offset and job.digest_mac is None:
        raise Conflict(
            "This import was opened without the file's SHA-256, so nobody can tell whether the rest belongs to it; open a new one."
        )
    if offset and digest is None:
        raise InvalidRequest("Say the whole file's SHA-256 (Repr-Digest): it may have changed meanwhile.", field="Repr-Digest")
    if digest is not None and job.digest_mac is not None and imports.digest_mac(publisher, digest) != job.digest_mac:
        raise Conflict("This is not the file that the import was opened with: its SHA-256 differs.", field="Repr-Digest")
