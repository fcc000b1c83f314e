"""Query: what a reader may see comes out of the released view, is logged, and only then opened (docs/security.md).

    admit → live grants → seal the context → released view → leaf, commit → open what is granted → answer

Nothing is returned unless its leaf is committed under the policy it was decided by. An absent record and one that is not shared
run the same statements, leave the same kind of leaf and raise the same error.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Engine

from hub.audit.log import PolicyChanged
from hub.crypto.keys import Keys, Shredded
from hub.db import Transaction, transaction
from hub.errors import Forbidden, InvalidRequest, NotAuthenticated, NotShared
from hub.geo import CellRange
from hub.leaf_chain import Signed
from hub.records import WINDOW_FIELD, Record
from hub.sharing import counting, cursor, overview
from hub.sharing.context import Admission, Reach, releases, seal, sealed_for
from hub.sharing.disclosure import Disclosure, Logged, Row, Writer, row
from hub.sharing.explain import explanation
from hub.sharing.live import COUNT, MATCH, LiveGrant, LiveRefusal, Policies, Policy
from hub.sharing.paths import SEEK_KEYS, SEEK_RATE, SEEK_SHARE, Query, areas_of, cells_of, is_time_path, remaining
from hub.sharing.reader import Reader
from hub.sharing.recalled import DELIVERING
from hub.sharing.statements import NIL, Shape, Statements, array, page_arguments

RETRIES = 3
EVENED_S = 0.01
MAX_EXPORT = 10_000
T = TypeVar("T")
_REFUSED = {
    "export": ("lets your organisation export", ""),
    COUNT: ("lets your organisation count", ""),
    MATCH: ("lets your organisation ask for values in", ""),
}


@dataclass(frozen=True, slots=True)
class Page:
    """Features as JSON texts, in the page's order; `next` is the cursor of the rest, None at the end; `at` the hub's clock; `signed` the
    last leaf of the access as the key process signed it.
    """

    features: Sequence[str]
    next: str | None
    at: datetime
    signed: Signed


@dataclass(frozen=True, slots=True)
class One:
    """One record as JSON, and its leaf as the key process signed it."""

    json: str
    signed: Signed


@dataclass(frozen=True, slots=True)
class Told:
    """An answer without records of its own, as JSON, and the last leaf of the access as the key process signed it."""

    json: bytes
    signed: Signed


@dataclass(frozen=True, slots=True)
class Session:
    """One attempt at a request: its transaction, what was admitted, the policy and the clauses that hold."""

    tx: Transaction
    reader: Reader
    admitted: Admission
    policy: Policy
    grants: tuple[LiveGrant, ...]
    refusals: tuple[LiveRefusal, ...]
    shape: Shape
    released: str


class Querying:
    """The query flow for one dataset. `key` is the context key, which cursors are derived from too."""

    def __init__(
        self,
        name: str,
        dataset: type[Record],
        engine: Engine,
        keys: Keys,
        key: bytes,
        seal_ttl_s: int,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._name, self.dataset, self.engine, self._key, self._ttl_s = name, dataset, engine, key, seal_ttl_s
        self._policies = Policies(name)
        self.writer = Writer(name, dataset, engine, keys, random)
        self._statements = Statements(name, dataset)

    def page(self, reader: Reader, query: Query) -> Page:
        """One page of what the reader may see.

        Raises:
            Forbidden: no MOU in force shares this dataset with the reader for its purpose, or only one that asks for a case.
            InvalidRequest: the cursor is not for this request.
            NotAuthenticated: the client was disabled.
            Unavailable: the database or the log can't be reached; nothing was opened.
        """
        return self.again(lambda first: self._page(reader, query, first))

    def export(self, reader: Reader, query: Query) -> Page:
        """All that matches, under the grants that allow to export; the same flow as a page, without pages.

        Raises:
            InvalidRequest: more than 10,000 records match.
            Forbidden, NotAuthenticated, Unavailable: as for a page.
        """
        return self.again(lambda first: self._page(replace(reader, action="export"), replace(query, limit=MAX_EXPORT, cursor=None), first))

    def map(self, reader: Reader, query: Query) -> Told:
        """The area of `query` as a map shows it, as JSON: up to 10,000 records, else counts per cell (hub/sharing/overview.py).

        Raises:
            Forbidden, NotAuthenticated, Unavailable: as for a page.
        """
        return self.again(lambda _first: self._map(reader, query))

    def counts(self, reader: Reader) -> Told:
        """What the reader may count, as JSON (hub/sharing/counting.py).

        Raises:
            Forbidden, NotAuthenticated, Unavailable: as for a page.
        """
        return self.again(lambda _first: self._counts(replace(reader, action=COUNT)))

    def item(self, reader: Reader, record: UUID) -> One:
        """One record as a feature.

        Raises:
            NotShared: it is absent, or not shared with the reader for its purpose.
        """
        return self._found(reader, record)[0]

    def explained(self, reader: Reader, record: UUID) -> One:
        """One record, and how and under which clauses each of its fields is released (hub/sharing/explain.py).

        Raises:
            NotShared: it is absent, or not shared with the reader for its purpose.
        """
        one, policy, grants = self._found(reader, record)
        return One(explanation(self.dataset, policy, grants, one.json), one.signed)

    def _found(self, reader: Reader, record: UUID) -> tuple[One, Policy, tuple[int, ...]]:
        began = time.monotonic()
        try:
            return self.again(lambda first: self._item(reader, record, first))
        except NotShared:
            wait_out(began)
            raise

    def again(self, attempt: Callable[[bool], T]) -> T:
        """What an attempt gives, made anew where agreements or records changed under it. It is told whether it is the first: a record that
        was shredded between the log and its key is absent the next time, one whose keys were lost is still there.
        """
        for n in range(RETRIES - 1):
            try:
                return attempt(n == 0)
            except (PolicyChanged, Shredded):
                continue
        return attempt(False)

    def _page(self, reader: Reader, query: Query, first: bool) -> Page:
        with transaction(self.engine) as tx:
            session = self.admit(tx, reader)
            disclosure = self.writer.page_event(reader, query, session.admitted.wall)
            self.needs_a_grant(session, disclosure)
            bound_to = _binding(reader, query, (*session.grants, *(r for r in session.refusals if r.since <= session.admitted.wall)))
            position = cursor.read(self._key, bound_to, query.cursor) if query.cursor else None
            rows = self._rows(session, query, position)
            shown, rest = rows[: query.limit], rows[query.limit :]
            if rest and reader.action == "export":
                self.refuse(session, disclosure.refused("too many records"))
                raise InvalidRequest(f"More than {MAX_EXPORT:,} records match; narrow the area, the time or the kinds.", field="bbox")
            shares, given = self.writer.shares(session.policy, shown), self.writer.given(session.policy, shown)
            hashes = self.writer.log(tx, disclosure, session.policy, shares, given)
        last = cursor.Position(shown[-1].k2, UUID(shown[-1].id)) if rest else None
        features, signed = self.writer.features(session.policy, session.shape, shown, _logged(session, disclosure, hashes, first))
        return Page(features, cursor.write(self._key, bound_to, last) if last else None, session.admitted.wall, signed)

    def _map(self, reader: Reader, query: Query) -> Told:
        with transaction(self.engine) as tx:
            session = self.admit(tx, reader)
            disclosure = self.writer.map_event(reader, query, session.admitted.wall)
            self.needs_a_grant(session, disclosure)
            answer = self._overview(session, query)
            hashes = self.writer.log(tx, disclosure, session.policy, answer.shares, answer.given)
        return Told(answer.json, self.writer.sign(disclosure, hashes))

    def _counts(self, reader: Reader) -> Told:
        with transaction(self.engine) as tx:
            session = self.admit(tx, reader)
            disclosure = self.writer.count_event(replace(reader, action="query"), session.admitted.wall)
            self.needs_a_grant(session, disclosure)
            statement = f"{self._name}_counts", f" as select * from hub.{self._name}_counts()"
            rows = [counting.Counted(*row) for row in self._ask(session, statement, [], Reach())]
            hashes = self.writer.log(tx, disclosure, session.policy, counting.shares(session.policy, session.grants, rows))
        answer = counting.answer(session.policy, session.grants, rows, session.admitted.wall)
        return Told(answer, self.writer.sign(disclosure, hashes))

    def _item(self, reader: Reader, record: UUID, first: bool) -> tuple[One, Policy, tuple[int, ...]]:
        """One record as a feature, and the clauses that release it and hold it back."""
        with transaction(self.engine) as tx:
            session = self.admit(tx, reader)
            disclosure = self.writer.item_event(reader, record, session.admitted.wall)
            rows = self.execute(session, "item", [str(record)], Reach())
            shares = self.writer.shares(session.policy, rows)
            hashes = self.writer.log(
                tx, disclosure if rows else disclosure.absent(), session.policy, shares, self.writer.given(session.policy, rows)
            )
        if not rows:
            self.writer.sign(disclosure, hashes)
            raise NotShared
        (feature,), signed = self.writer.features(session.policy, session.shape, rows, _logged(session, disclosure, hashes, first))
        return One(feature, signed), session.policy, rows[0].clauses

    def admit(self, tx: Transaction, reader: Reader) -> Session:
        """Begins a request: who asks, under which grants and refusals. Raises NotAuthenticated."""
        admitted = Admission(*tx.rows("begin; select * from hub.admit(%s)", (reader.client,))[0])
        if not admitted.active:
            raise NotAuthenticated("This session has ended: sign in again." if reader.by.person else "This client has been disabled.")
        policy = self._policies.at(tx, admitted.epoch, admitted.wall)
        grants = self._live(policy, reader, admitted.wall, reader.case is not None)
        shape, released = policy.remember(
            ("reader", *(g.id for g in grants)), lambda: (Shape.of(self.dataset, grants), releases(self.dataset, grants))
        )
        if any(g.duties for g in grants):
            tx.rows("select pg_advisory_xact_lock_shared(7201, %s)", (DELIVERING,))  # a recall sees what is delivered, or comes before it
        refusals = policy.refused(reader.organisation, self.dataset.number, admitted.wall)
        return Session(tx, reader, admitted, policy, grants, refusals, shape, released)

    def _live(self, policy: Policy, reader: Reader, now: datetime, case: bool) -> tuple[LiveGrant, ...]:
        return policy.live(reader.organisation, reader.purpose, reader.action, self.dataset.number, now, case)

    def needs_a_grant(self, session: Session, disclosure: Disclosure) -> None:
        """Refuses, in the log first, a reader to whom no grant at all is open."""
        if session.grants:
            return
        reader, policy = session.reader, session.policy
        if self._live(policy, reader, session.admitted.wall, True):
            self.refuse(session, disclosure.refused("no case reference"))
            raise Forbidden(f"For the purpose {reader.purpose} {self._name} are shared only with a case reference; give that of your case.")
        self.refuse(session, disclosure.refused("no MOU in force"))
        to_do, whom = _REFUSED.get(reader.action, ("shares", " with your organisation"))
        raise Forbidden(f"No MOU in force {to_do} {self._name}{whom} for the purpose {reader.purpose}.")

    def refuse(self, session: Session, disclosure: Disclosure) -> None:
        """Logs a refusal, which is to be told next."""
        self.writer.sign(disclosure, self.writer.log(session.tx, disclosure, session.policy))

    def _rows(self, session: Session, query: Query, position: cursor.Position | None) -> list[Row]:
        """The rows of a page and one more, which tells that there is a next page."""
        areas, wanted = areas_of(query), query.limit + 1
        if is_time_path(query, areas):
            return self.execute(session, "time", self._time_arguments(query, position, wanted), self._period(session, query))
        left, after = remaining(areas, position)
        rows = self._walk(session, query, left, after, wanted) if left else []
        if query.box is None and len(rows) < wanted:
            after = position.id if position and position.k2 is None else NIL
            arguments = self._arguments(query, areas, after, wanted - len(rows))
            rows += self.execute(session, "placeless", arguments, Reach())
        return rows

    def _walk(self, session: Session, query: Query, left: list[CellRange], after: UUID, wanted: int) -> list[Row]:
        path, reach = self._cheaper(session, query, left, wanted)
        return self.execute(session, path, self._arguments(query, left, after, wanted), reach)

    def _cheaper(self, session: Session, query: Query, left: list[CellRange], wanted: int) -> tuple[str, Reach]:
        """Walking over the cells of an area, or looking up the reader's own records in them."""
        cells = cells_of(left) if query.box else None
        if cells is None or not self._sees_little(session, len(cells) * len(session.grants), wanted):
            return "walk", Reach()
        return "seek", Reach([grant.id << 32 | cell for grant in session.grants for cell in cells])

    def _overview(self, session: Session, query: Query) -> overview.Overview:
        areas, wanted = areas_of(query), overview.MAX_RECORDS + 1
        path, reach = ("time", self._period(session, query)) if is_time_path(query, areas) else self._cheaper(session, query, areas, wanted)
        arguments = self._arguments(query, areas, NIL, wanted)
        spots = overview.spots(self._survey(session, "records", path, arguments, reach))
        if len(spots) < wanted:
            return overview.of_records(session.policy, spots, session.admitted.wall)
        form = overview.form_of(areas)
        counts = overview.counts(form, self._survey(session, form, path, arguments, reach))
        return overview.of_counts(session.policy, counts, form, session.admitted.wall)

    def _arguments(self, query: Query, areas: Sequence[CellRange], after: UUID, wanted: int) -> list[object]:
        return page_arguments(self.dataset, areas, after, wanted, query.box, (query.since, query.until), query.values)

    def _sees_little(self, session: Session, keys: int, wanted: int) -> bool:
        """Whether looking up `keys` costs less than the records that a walk passes over before it has found what is `wanted`."""
        share = session.policy.share(session.grants)
        return bool(session.policy.shares) and share < SEEK_SHARE and keys <= SEEK_KEYS and keys * share <= SEEK_RATE * wanted

    def _time_arguments(self, query: Query, position: cursor.Position | None, wanted: int) -> list[object]:
        arguments = self._arguments(query, areas_of(query)[:1], position.id if position else NIL, wanted)
        first = -1 if position is None else position.k2
        return [array([first]), array([0]), array([query.box is not None]), *arguments[3:]]

    def _period(self, session: Session, query: Query) -> Reach:
        """The stored times that can be released inside the query's: wider by the reader's coarsest step, then tested exactly."""
        widest = max(g.treatment(WINDOW_FIELD).step for g in session.grants)
        try:
            until = query.until and query.until + widest + datetime.resolution
        except OverflowError:
            until = None
        return Reach(since=query.since, until=until)

    def execute(self, session: Session, path: str, arguments: Sequence[object], reach: Reach) -> list[Row]:
        """Rows of the released view, by a path of hub/sharing/statements.py."""
        return [row(values) for values in self._ask(session, self._statements.prepared(path, session.shape), arguments, reach)]

    def _survey(self, session: Session, form: str, path: str, arguments: Sequence[object], reach: Reach) -> list[tuple[Any, ...]]:
        return self._ask(session, self._statements.overview(form, path), arguments, reach)

    def _ask(self, session: Session, statement: tuple[str, str], arguments: Sequence[object], reach: Reach) -> list[tuple[Any, ...]]:
        """Enters the sealed context and executes a statement in it, in one message."""
        name, text = statement
        session.tx.prepare(name, text)
        reader, counts = session.reader, session.reader.action == COUNT
        context = seal(
            self._key,
            self.dataset,
            session.admitted,
            reader.organisation,
            reader.purpose,
            session.grants,
            session.refusals,
            self._ttl_s,
            reach,
            session.released,
            counts,
        )
        marks = f"({', '.join(['%s'] * len(arguments))})" if arguments else ""
        return session.tx.rows(f"select hub.enter(%s, %s); execute {name}{marks}", [sealed_for(self.dataset, counts), context, *arguments])


def wait_out(began: float) -> None:
    """Waits until a whole number of steps has passed since `began` (monotonic seconds). What is absent and what is not shared run the same
    statements, but PostgreSQL asks of a hidden row some microseconds more than of none: so both are told on the same beat.
    """
    time.sleep(EVENED_S - (time.monotonic() - began) % EVENED_S)


def _binding(reader: Reader, query: Query, clauses: Sequence[LiveGrant | LiveRefusal]) -> bytes:
    """What a cursor is good for: this reader, purpose, action and filter, with or without a case, under these clauses. Page size may
    change on the way.
    """
    values = sorted((name, value) for name, value in query.values.items())
    grounds = [(c.mou, c.version, c.id) for c in clauses]
    who = (reader.organisation, reader.client, reader.purpose, reader.action, reader.case is not None)
    said = repr((who, query.box, query.since, query.until, values, grounds))
    return sha256(said.encode()).digest()


def _logged(session: Session, disclosure: Disclosure, hashes: Sequence[bytes], first: bool) -> Logged:
    """Called once the leaves are committed."""
    return Logged(session.reader.proof, disclosure.event.id, hashes, session.admitted.wall, lost=not first)
