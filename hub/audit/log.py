"""The log in PostgreSQL: how an event gets in, and how auditors and owners read it."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg2
import sqlalchemy as sa

from hub.audit.leaf import Event, Leaf, Share, leaves
from hub.audit.search import Finder, Search, Span, showing
from hub.audit.summary import AT_ONCE, Summary, summarise
from hub.db import Transaction, lost, transaction
from hub.errors import HubError, NotAuthenticated, Unavailable

__all__ = ["Entry", "Found", "Log", "PolicyChanged", "Search", "Summary", "append"]

APPEND = "select hub.audit_append(%s, %s::uuid, %s, %s, %s, %s::float8[], %s::text[], %s::int[], %s::text[])"
ENTRIES = "; insert into hub.leaf_entries (event, entries) values (%s::uuid, %s)"


class PolicyChanged(HubError):
    """The policy that a request was decided under no longer holds; decide again."""

    status, slug, title = 503, "policy-changed", "The agreements changed meanwhile"


def append(
    tx: Transaction,
    event: Event,
    shares: Sequence[Share] = (),
    *,
    epoch: int | None = None,
    extent: Sequence[float] | None = None,
    entries: bytes = b"",
    then: str = "",
) -> list[Leaf]:
    """Adds an event to the log within `tx`; `then` is sent in the same message (" ; commit" saves a round trip). `entries`: what the root
    in its leaf was made of (hub/audit/entries.py).

    Raises:
        PolicyChanged: `epoch` is given and no longer holds; nothing was added.
        Unavailable: the log can't be written, whatever the reason.
    """
    made = leaves(event, shares, os.urandom(16))
    send(tx, event, made, epoch=epoch, extent=extent, entries=entries, then=then)
    return made


def send(
    tx: Transaction,
    event: Event,
    made: Sequence[Leaf],
    *,
    epoch: int | None = None,
    extent: Sequence[float] | None = None,
    entries: bytes = b"",
    then: str = "",
) -> None:
    """As `append`, with leaves that are made already: after an unknown outcome the same may be sent again, and are in the log once.

    Raises:
        PolicyChanged, Unavailable
    """
    try:
        tx.rows(
            APPEND + (ENTRIES if entries else "") + then,
            (
                epoch,
                str(event.id),
                event.type,
                event.at.replace(microsecond=event.at.microsecond // 1000 * 1000),  # as the leaf tells it
                event.by.organisation,
                list(extent) if extent else None,
                [leaf.owner for leaf in made],
                [leaf.part for leaf in made],
                [leaf.text for leaf in made],
                *((str(event.id), psycopg2.Binary(entries)) if entries else ()),
            ),
        )
    except psycopg2.Error as error:
        if error.pgcode == "HB001":
            raise PolicyChanged("The agreements changed while this was answered; try again.") from None
        if (error.pgcode or "40").startswith(("40", "HB")):  # a retry helps, or the connection is gone: the caller knows
            raise
        raise Unavailable("The audit log can't be written, so nothing was stored or disclosed. Try again shortly.") from error


@dataclass(frozen=True)
class Entry:
    """One leaf of the log: its place, its parsed body, the exact text and hash that proofs will be about."""

    id: int
    body: dict[str, Any]
    text: str
    hash: str


@dataclass(frozen=True)
class Found:
    """What a search gave, newest first. `rest`: the ids that were not looked at, None when all were; `late`: it stopped because its time
    was over, with everything outside `rest` looked at; `back_to`: the time of the oldest leaf that it looked at then.
    """

    entries: list[Entry]
    rest: Span | None
    late: bool = False
    back_to: datetime | None = None


class Log:
    """The log as the auditor's role sees it: what it may read, and the hub's own leaves. `sign` has the leaves of a committed event signed
    by the key process; an operator's command, which needs none to answer, does without.
    """

    def __init__(self, engine: sa.Engine, sign: Callable[[UUID, Sequence[bytes]], object] = lambda _event, _hashes: None) -> None:
        self._engine, self._sign = engine, sign

    def record(self, event: Event) -> None:
        """Adds an event of the hub's own log in its own transaction: refusals, tokens, readings of the log.

        Raises:
            Unavailable: it could not be written, so what it is about must not be answered either.
        """
        made = leaves(event, (), os.urandom(16))
        for last in (False, True):
            with transaction(self._engine) as tx:
                try:
                    tx.rows("begin")
                    send(tx, event, made, then="; commit")
                    break
                except psycopg2.Error as error:
                    if last or not lost(error):
                        raise
        self._sign(event.id, [leaf.hash for leaf in made])

    def find(self, search: Search) -> list[Entry]:
        """Entries that match, newest first. Where revisions are given, leaves that disclosed or stored one of them.

        Raises:
            Unavailable: the log can't be read just now.
        """
        return self.review(search).entries

    def review(self, search: Search, budget_s: float | None = None) -> Found:
        """Entries that match, newest first, as far as they can be found in about `budget_s` seconds.

        Raises:
            Unavailable: the log can't be read just now.
        """
        with transaction(self._engine) as tx:
            finder = Finder(tx, search, None if budget_s is None else time.monotonic() + budget_s)
            ids: list[int] = []
            for batch in finder.batches():
                ids += batch if search.revisions is None else showing(tx, finder, batch, search, search.limit - len(ids))
                if len(ids) >= search.limit or finder.stops:
                    break
            ids = ids[: search.limit]
            late = finder.stops and len(ids) < search.limit and not finder.over
            return Found(_entries(tx, ids), _rest(finder, ids, search), late, _time_of(tx, finder.rest, search) if late else None)

    def count(self, search: Search, most: int, budget_s: float) -> int | None:
        """How many leaves match, `most` at most; None when it isn't known in about `budget_s` seconds."""
        with transaction(self._engine) as tx:
            finder = Finder(tx, replace(search, limit=most), time.monotonic() + budget_s)
            number = 0
            for batch in finder.batches():
                number += len(batch)
                if number >= most or finder.stops:
                    break
            return min(number, most) if number >= most or finder.over else None

    def summary(self, search: Search, budget_s: float) -> Summary:
        """How many leaves match, by who did it and for what, as far as they can be counted in about `budget_s` seconds, newest first.

        Raises:
            Unavailable: the log can't be read just now.
        """
        with transaction(self._engine) as tx:
            finder = Finder(tx, replace(search, limit=AT_ONCE), time.monotonic() + budget_s)
            found = summarise(tx, finder, search)
            return replace(found, back_to=None if finder.over else _time_of(tx, finder.rest, search))

    def access(self, event: UUID, owner: str | None) -> list[Entry]:
        """The leaves of an event, all or those about the data of `owner`, in the order of owners and parts."""
        with transaction(self._engine) as tx:
            rows = tx.rows(
                "select id, leaf, leaf_hash from hub.audit_leaves where event = %s::uuid and (%s is null or owner = %s)"
                " order by owner nulls first, part",
                (str(event), owner, owner),
            )
        return [_entry(*row) for row in rows]

    def owner_of(self, table: str, record: UUID) -> str | None:
        """The slug of the organisation whose record it is; None when there is no such record."""
        with transaction(self._engine) as tx:
            found = tx.rows(
                f"select o.slug from hub.organisations o where exists (select from hub.{table}_revisions(%s::uuid, o.slug))", (str(record),)
            )
        return found[0][0] if found else None

    def revisions(self, table: str, record: UUID, owner: str | None) -> frozenset[int]:
        """Every revision number of a record of `owner` (None: of anybody); none when there is no such record."""
        with transaction(self._engine) as tx:
            return frozenset(n for (n,) in tx.rows(f"select * from hub.{table}_revisions(%s::uuid, %s)", (str(record), owner)))

    def scope_of(self, organisation: str, client: str) -> str | None:
        """Whose data a client may read leaves about: its own organisation's, or None, an auditor's: everybody's.

        Raises:
            NotAuthenticated: the client was disabled.
        """
        with transaction(self._engine) as tx:
            ((active, kind),) = tx.rows(
                "select (select active from hub.admit(%s)), (select kind from hub.organisations where slug = %s)", (client, organisation)
            )
        if not active:
            raise NotAuthenticated("This client has been disabled.")
        return None if kind == "auditor" else organisation


def _entries(tx: Transaction, ids: Sequence[int]) -> list[Entry]:
    rows = tx.rows("select id, leaf, leaf_hash from hub.audit_leaves where id = any(%s) order by id desc", (list(ids),))
    return [_entry(*row) for row in rows]


def _entry(number: int, text: str, digest: bytes) -> Entry:
    return Entry(number, json.loads(text), text, bytes(digest).hex())


def _rest(finder: Finder, ids: Sequence[int], search: Search) -> Span | None:
    """What comes after the last entry that is given."""
    if len(ids) < search.limit:
        return None if finder.over else finder.rest
    low, high = finder.range
    return Span(ids[-1] + 1, high) if search.after is not None else Span(low, ids[-1] - 1)


def _time_of(tx: Transaction, rest: Span, search: Search) -> datetime | None:
    """The time of the leaf that was looked at last."""
    last = "id < %s order by id desc" if search.after is not None else "id > %s order by id"
    found = tx.rows(f"select at from hub.audit_leaves where {last} limit 1", (rest.low if search.after is not None else rest.high,))
    return found[0][0] if found else None
