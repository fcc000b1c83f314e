"""The log in PostgreSQL: how an event gets in, and how auditors and owners read it."""

import json
import os
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg2
import sqlalchemy as sa
from pyroaring import BitMap64

from hub.audit.leaf import Event, Leaf, Share, leaves
from hub.db import Transaction, passing_faults, transaction
from hub.errors import HubError, NotAuthenticated, Unavailable

APPEND = "select hub.audit_append(%s, %s::uuid, %s, %s, %s, %s::float8[], %s::text[], %s::int[], %s::text[])"


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
    then: str = "",
) -> list[Leaf]:
    """Adds an event to the log within `tx`; `then` is sent in the same message (" ; commit" saves a round trip).

    Raises:
        PolicyChanged: `epoch` is given and no longer holds; nothing was added.
        Unavailable: the log can't be written, whatever the reason.
    """
    made = leaves(event, shares, os.urandom(16))
    try:
        tx.rows(
            APPEND + then,
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
            ),
        )
    except psycopg2.Error as error:
        if error.pgcode == "HB001":
            raise PolicyChanged("The agreements changed while this was answered; try again.") from None
        if (error.pgcode or "40").startswith(("40", "HB")):  # a retry helps, or the connection is gone: the caller knows
            raise
        raise Unavailable("The audit log can't be written, so nothing was stored or disclosed. Try again shortly.") from error
    return made


@dataclass(frozen=True)
class Search:
    """What to look for in the log. `owner` narrows it to leaves about that organisation's data; both ends of the time are included."""

    owner: str | None = None
    organisation: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    revisions: frozenset[int] | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True)
class Entry:
    """One leaf of the log: its place, its parsed body, the exact text and hash that proofs will be about."""

    id: int
    body: dict[str, Any]
    text: str
    hash: str


_FIND = sa.text("""
select id, leaf, leaf_hash from hub.audit_leaves
where (cast(:owner as text) is null or owner = :owner) and (cast(:organisation as text) is null or organisation = :organisation)
  and (cast(:type as text) is null or type = :type) and (cast(:since as timestamptz) is null or at >= :since)
  and (cast(:until as timestamptz) is null or at <= :until) and (cast(:before as bigint) is null or id < :before)
order by id desc limit :rows""")


class Log:
    """The log as the auditor's role sees it: what it may read, and the hub's own leaves."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def record(self, event: Event) -> None:
        """Adds an event of the hub's own log in its own transaction: refusals, tokens, readings of the log.

        Raises:
            Unavailable: it could not be written, so what it is about must not be answered either.
        """
        with transaction(self._engine) as tx:
            tx.rows("begin")
            append(tx, event, then="; commit")

    def find(self, search: Search) -> list[Entry]:
        """Entries that match, newest first. Where revisions are given, leaves that disclosed or stored one of them.

        Raises:
            Unavailable: the log can't be read just now.
        """
        found: list[Entry] = []
        before = search.before
        while len(found) < search.limit:
            rows = 1_000 if search.revisions is not None else search.limit
            page = self._read(search, before, rows)
            found += [e for e in page if search.revisions is None or shows(e.body, search.revisions)]
            if len(page) < rows:
                break
            before = page[-1].id
        return found[: search.limit]

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

    def _read(self, search: Search, before: int | None, rows: int) -> list[Entry]:
        values = {
            "owner": search.owner,
            "organisation": search.organisation,
            "type": search.type,
            "since": search.since,
            "until": search.until,
            "before": before,
            "rows": rows,
        }
        with passing_faults(), self._engine.connect() as connection:
            return [Entry(i, json.loads(text), text, bytes(digest).hex()) for i, text, digest in connection.execute(_FIND, values)]


def shows(body: dict[str, Any], revisions: frozenset[int]) -> bool:
    """Whether a leaf's bitmap holds one of `revisions`."""
    text = body.get("shown", {}).get("revisions", "")
    return any(r in revisions_in(text) for r in revisions) if text else False


def revisions_in(text: str) -> BitMap64:
    """The bitmap in a leaf's `revisions` member."""
    return BitMap64.deserialize(b64decode(text.removeprefix("roaring64:")))
