"""A new version of a blind index: new keys, as many bits as the number of records asks for, filled while lookups go on with the old one.

Every step is a transaction and may be repeated; whoever is interrupted goes on where the index says that it is.
"""

from collections.abc import Iterator, Sequence
from math import ceil, log2
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg2

from hub.crypto.keyring import Keyring
from hub.crypto.keys import Opening, Tag
from hub.db import transaction
from hub.errors import Unavailable
from hub.records import Field, Record
from hub.workers.matching import Matching, State, opened_of

AT_ONCE: Final = 500
CLEARED_AT_ONCE: Final = 10_000
LEAST_BITS: Final = 8
_NEXT = "select * from hub.{}_to_index(%s::uuid, %s)"
_SIZE = "select hub.{}_size()"
_UNTAG = "select hub.{}_untag(%s::uuid, %s)"
_REINDEX = "select hub.{}_reindex(%s, %s, %s::uuid, %s::uuid[], %s::int[], %s::uuid[], %s::int[], %s::int[], %s::int[], %s::int[])"


def bits_for(records: int) -> int:
    """So many that about sqrt(2·sqrt(R)) of R records share a tag by chance: between the 2 below which a tag names a record and the sqrt(R)
    above which a lookup opens too many.
    """
    return LEAST_BITS if records < 4 else min(31, max(LEAST_BITS, ceil(log2(records) - 0.5 - 0.25 * log2(records))))


class _Record(NamedTuple):
    """A record as it is to be indexed: its fields that can be looked up, sealed."""

    id: UUID
    rev: int
    owner: UUID
    blobs: Sequence[tuple[int, bytes]]


class Reindexing:
    """For one dataset; needs the keys."""

    def __init__(self, name: str, dataset: type[Record], keyring: Keyring, matching: Matching, main: Any) -> None:
        self._name, self._dataset, self._keyring, self._matching, self._main = name, dataset, keyring, matching, main

    def begin(self) -> State:
        """Begins a new version, unless one has begun. Raises Unavailable."""
        with transaction(self._main) as tx:
            ((count,),) = tx.rows(_SIZE.format(self._name))
            tx.rows("select hub.blind_begin(%s, %s)", (self._dataset.number, bits_for(count)))
        return self._matching.state()

    def fill(self) -> int:
        """One batch; how many records it was. 0: all are there.

        Raises:
            Unavailable: a database can't be reached, or another process ends this version just now.
        """
        state = self._matching.state()
        if state.next_version is None or state.reached is None:
            return 0
        records = self._read(state.reached)
        if not records:
            return 0
        tags = [(record, tag) for record, found in zip(records, self._tags(state, records), strict=True) for tag in found]
        ids, revs = [str(r.id) for r in records], [r.rev for r in records]
        columns = (
            [str(r.id) for r, _ in tags],
            [r.rev for r, _ in tags],
            [t.field for _, t in tags],
            [t.tag for _, t in tags],
            [t.next_tag for _, t in tags],
        )
        values = (state.version, state.next_version, str(records[-1].id), ids, revs, *columns)
        try:
            with transaction(self._main) as tx:
                tx.rows(_REINDEX.format(self._name), values)
        except psycopg2.errors.SerializationFailure:
            raise Unavailable("Another process works at this index; try again.") from None
        return len(records)

    def finish(self) -> State:
        """Has lookups use the new version from now on, and takes away tags of what was sealed and never stored; to be called when all
        is filled.
        """
        with transaction(self._main) as tx:
            tx.rows("select hub.blind_finish(%s)", (self._dataset.number,))
        self._clear()
        return self._matching.state()

    def _clear(self) -> None:
        """What is on its way into the store with tags of a former version is refused there, and begins again: so these are of nothing."""
        reached: UUID | None = UUID(int=0)
        while reached is not None:
            with transaction(self._main) as tx:
                ((reached,),) = tx.rows(_UNTAG.format(self._name), (str(reached), CLEARED_AT_ONCE))

    def _read(self, after: UUID) -> list[_Record]:
        found: dict[UUID, _Record] = {}
        with transaction(self._main) as tx:
            for record, rev, owner, field, blob in tx.rows(_NEXT.format(self._name), (str(after), AT_ONCE)):
                one = found.setdefault(UUID(str(record)), _Record(UUID(str(record)), rev, UUID(str(owner)), []))
                if blob is not None:
                    one.blobs.append((field, bytes(blob)))  # type: ignore[attr-defined]
        return list(found.values())

    def _tags(self, state: State, records: Sequence[_Record]) -> Iterator[list[Tag]]:
        texts = self._open(records)
        for record in records:
            values = [(self._field(n), texts[record.id, n]) for n, _ in record.blobs if (record.id, n) in texts]
            yield list(self._matching.tags(state, record.owner, values))

    def _open(self, records: Sequence[_Record]) -> dict[tuple[UUID, int], bytes]:
        """What the fields hold."""
        schema = self._dataset.schema_no
        openings = {(r.id, n): Opening(r.owner, r.id, r.rev, schema, self._field(n).cls, n, blob) for r in records for n, blob in r.blobs}
        return opened_of(self._keyring, openings)

    def _field(self, number: int) -> Field:
        return self._matching.fields[number]
