"""Exact lookups in the key process: tags of what is published, candidates for one question at a time, and the comparison itself.

A serving process never gets a tag, nor the key of a field that doesn't match: candidates are opened and compared here, for a
committed event that says that they were tested (docs/decisions/0028-matching.md).
"""

import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import orjson
import psycopg2
from sqlalchemy import Engine

from hub.crypto.keyring import Keyring
from hub.crypto.keys import HUB, Ended, NotCovered, Opening, Sealing, Shredded, Tag, Versions
from hub.crypto.messages import Wanted
from hub.db import transaction
from hub.errors import InvalidRequest, Unavailable
from hub.normalised import MEMBERS, Unfit, of_question, of_stored, told
from hub.records import Field, Matched, Record

K = TypeVar("K")
RETRIES: Final = 5
LABEL: Final = "blind:{}:{}:{}"
"""Of the key of a field's tags: dataset, field, version. Not one of those that keyed hashes can be asked for."""
_STATE = "select version, bits, next_version, next_bits, reached from hub.blind_state(%s)"
_TAG = "select hub.{}_tag(%s::uuid, %s, %s, %s::uuid[], %s::int[], %s::int[], %s::int[], %s::int[])"
_CANDIDATES = "select * from hub.{}_candidates(%s, %s, %s::int[], %s::uuid[])"
_MATCHED = "select * from hub.{}_matched(%s, %s::uuid[], %s)"


class State(NamedTuple):
    """How an index stands: version and bits of its tags, and of those that are being made; how far these are."""

    version: int
    bits: int
    next_version: int | None
    next_bits: int | None
    reached: UUID | None

    @property
    def versions(self) -> Versions:
        return Versions(self.version, self.next_version)


class Matching:
    """For one dataset. `region`: whose national phone numbers are understood."""

    def __init__(self, name: str, dataset: type[Record], keyring: Keyring, main: Engine, region: str | None) -> None:
        self._name, self._dataset, self._keyring, self._main, self._region = name, dataset, keyring, main, region
        self.fields: Mapping[int, Field] = {f.number: f for f in dataset.matchable()}
        self._ended: set[str] = set()

    def state(self) -> State:
        with transaction(self._main) as tx:
            ((version, bits, next_version, next_bits, reached),) = tx.rows(_STATE, (self._dataset.number,))
        return State(version, bits, next_version, next_bits, reached and UUID(str(reached)))

    def index(self, items: Sequence[Sealing]) -> Versions | None:
        """Keeps the tags of records that are being sealed; without a value that can be looked up nothing is asked of the database."""
        values = [(i, [(f, i.fields[n][1]) for n, f in self.fields.items() if n in i.fields]) for i in items]
        if not any(found for _, found in values):
            return None
        for _ in range(RETRIES):
            state = self.state()
            tags = [(i, tag) for i, found in values for tag in self.tags(state, i.owner, found)]
            try:
                for owner in {i.owner for i, _ in tags}:
                    self._keep(state, owner, [(i, tag) for i, tag in tags if i.owner == owner])
            except psycopg2.errors.SerializationFailure:
                continue  # another version began or ended meanwhile
            return state.versions
        raise Unavailable("The index for lookups is being changed; try again shortly.")

    def _keep(self, state: State, owner: UUID, tags: Sequence[tuple[Sealing, Tag]]) -> None:
        columns = (
            [str(i.record) for i, _ in tags],
            [i.rev for i, _ in tags],
            [tag.field for _, tag in tags],
            [tag.tag for _, tag in tags],
            [tag.next_tag for _, tag in tags],
        )
        with transaction(self._main) as tx:
            tx.rows(_TAG.format(self._name), (str(owner), state.version, state.next_version, *columns))

    def tags(self, state: State, owner: UUID, values: Sequence[tuple[Field, bytes]]) -> Iterator[Tag]:
        """The tags of an owner's record: `values` are its fields that can be looked up, as JSON."""
        for field, text in values:
            forms = sorted(of_stored(field, text, self._region))
            try:
                now = self._made(state.version, state.bits, field, owner, forms)
            except Ended:  # nobody can ask under this version either; the next will have its own
                now = [0] * len(forms)
            if state.next_version is None or state.next_bits is None:
                yield from (Tag(field.number, tag, None) for tag in now)
            else:
                then = self._made(state.next_version, state.next_bits, field, owner, forms)
                yield from (Tag(field.number, tag, new) for tag, new in zip(now, then, strict=True))

    def candidates(self, field: int, said: Mapping[str, str], owners: Sequence[UUID]) -> list[UUID]:
        """Records of these owners that may hold a value. Raises InvalidRequest, and Unavailable where the key of the index is destroyed."""
        found, form = self._asked(field, said)
        for _ in range(RETRIES):
            state = self.state()
            try:
                tags = [self._made(state.version, state.bits, found, owner, [form])[0] for owner in owners]
            except Ended:
                continue  # another version came to its end meanwhile
            with transaction(self._main) as tx:
                rows = tx.rows(_CANDIDATES.format(self._name), (field, state.version, tags, [str(owner) for owner in owners]))
            return [UUID(str(record)) for (record,) in rows]
        raise Unavailable("The index for lookups is of before its keys were destroyed: run `hub reindex`.")

    def former(self, labels: Collection[str]) -> list[str]:
        """Those of the labels whose keys no lookup needs any more: of versions before the one in use, where that has a key of its own."""
        version, found = self.state().version, []
        for number in self.fields:
            head = LABEL.format(self._dataset.number, number, "")
            if f"{head}{version}" in labels:
                found += [label for label in labels if label.startswith(head) and int(label.removeprefix(head)) < version]
        return found

    def compare(self, field: int, said: Mapping[str, str], wanted: Sequence[Wanted]) -> list[bool]:
        """Which of these revisions hold the value; one whose keys are gone holds none. Raises InvalidRequest."""
        found, form = self._asked(field, said)
        columns = ([str(UUID(bytes=w.record)) for w in wanted], [w.rev for w in wanted])
        with transaction(self._main) as tx:
            blobs = {n - 1: bytes(blob) for n, blob in tx.rows(_MATCHED.format(self._name), (field, *columns)) if blob is not None}
        schema = self._dataset.schema_no
        openings = {
            n: Opening(UUID(bytes=w.owner), UUID(bytes=w.record), w.rev, schema, found.cls, field, blobs[n])
            for n, w in enumerate(wanted)
            if n in blobs
        }
        opened = opened_of(self._keyring, openings)
        return [n in opened and self._holds(found, opened[n], form) for n in range(len(wanted))]

    def literals_hash(self, field: int, said: Mapping[str, str]) -> str:
        """What a leaf has in `asked.hash` when it is about this question."""
        found, kind = self._field(field, said)
        text = orjson.dumps({found.name: told(kind, said)}, option=orjson.OPT_SORT_KEYS)
        return "hmac:" + self._keyring.macs("literals", HUB, [text])[0].hex()

    def field_name(self, field: int, said: Mapping[str, str]) -> str:
        return self._field(field, said)[0].name

    def _holds(self, field: Field, text: bytes, form: str) -> bool:
        found = [hmac.compare_digest(one.encode(), form.encode()) for one in of_stored(field, text, self._region)]
        return any(found)

    def _made(self, version: int, bits: int, field: Field, owner: UUID, forms: Sequence[str]) -> list[int]:
        label = LABEL.format(self._dataset.number, field.number, version)
        if label in self._ended:
            raise Ended("The key of this version of the index is destroyed.")
        try:
            whole = self._keyring.macs(label, owner, [form.encode() for form in forms])
        except Ended:
            self._ended.add(label)  # for good: it needn't be asked for again
            raise
        return [int.from_bytes(mac[:4], "big") >> (32 - bits) for mac in whole]

    def _asked(self, number: int, said: Mapping[str, str]) -> tuple[Field, str]:
        field, kind = self._field(number, said)
        try:
            return field, of_question(kind, said, self._region)
        except Unfit as error:
            raise InvalidRequest(f"{error.member} {error}.", field=error.member) from None

    def _field(self, number: int, said: Mapping[str, str]) -> tuple[Field, Matched]:
        field = self.fields.get(number)
        if field is None or field.matched is None:
            raise NotCovered("There is no such field to look up.")
        if set(said) != set(MEMBERS[field.matched]):
            raise InvalidRequest(f"{field.name} is looked up by {' and '.join(MEMBERS[field.matched])}.")
        return field, field.matched


def opened_of(keyring: Keyring, openings: Mapping[K, Opening]) -> dict[K, bytes]:
    """What the fields hold, but for those of records whose keys are gone."""
    left = dict(openings)
    while left:
        try:
            return dict(zip(left, keyring.open_batch(list(left.values())), strict=True))
        except Shredded as error:
            kept = {key: one for key, one in left.items() if one.record not in error.records}
            if len(kept) == len(left):
                raise
            left = kept
    return {}
