"""What is disclosed: its leaves in the log, then, and only then, its features with the sealed fields opened."""

import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson
import psycopg2
from sqlalchemy import Engine

from hub.audit.leaf import TESTED, Event, Share, event_id, instant, leaves
from hub.audit.log import send
from hub.crypto.keys import Keys, Lookup, Opening, Proof, Shredded
from hub.db import Transaction, lost, transaction
from hub.leaf_chain import Signed
from hub.normalised import told as told_of
from hub.policy import treatments
from hub.policy.treatments import CLEAR, Treatment
from hub.records import Field, Matched, Record
from hub.sharing.deliveries import Delivery, Given, deliveries, keep, member, owed
from hub.sharing.live import LiveGrant, LiveRefusal, Policy
from hub.sharing.paths import Query
from hub.sharing.reader import Reader
from hub.sharing.statements import Shape

_GONE = "null"  # an exact place that can't be opened any more


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a released view, as hub/sharing/statements.py selects it: masked, with the live grants that release it and the refusals
    that hold some of its fields back (`clauses`).
    """

    id: str
    provider: int
    revision_no: int
    rev: int
    clauses: tuple[int, ...]
    head: str
    ciphers: Sequence[Any]
    k2: int | None


def row(values: tuple[Any, ...]) -> Row:
    """A row as hub/sharing/statements.py selects it."""
    return Row(values[0], values[1], values[2], values[3], tuple(values[4]), values[5], values[6:-1], values[-1])


@dataclass(frozen=True, slots=True)
class Disclosure:
    """An access about to be logged. `recipient`: the organisation that asks; `extent`: west, south, east, north for the log's index."""

    event: Event
    recipient: int
    extent: Sequence[float] | None = None

    def absent(self) -> "Disclosure":
        return replace(self, event=replace(self.event, decision="absent"))

    def refused(self, reason: str) -> "Disclosure":
        return replace(self, event=replace(self.event, decision="refuse", reason=reason))


@dataclass(frozen=True, slots=True)
class Logged:
    """A disclosure whose leaves, of these `hashes`, are committed: what the key process asks for. `at` is the hub's clock; `lost`: records
    whose keys are gone are shown without their sealed fields.
    """

    proof: Proof
    event: UUID
    hashes: Sequence[bytes]
    at: datetime
    lost: bool = False


class Writer:
    """Logs disclosures of one dataset and writes its features."""

    def __init__(self, name: str, dataset: type[Record], engine: Engine, keys: Keys, random: Callable[[int], bytes]) -> None:
        self._name, self._dataset, self._engine, self._keys, self._random = name, dataset, engine, keys, random
        self._place = dataset.named("place")[0].name

    def page_event(self, reader: Reader, query: Query, at: datetime) -> Disclosure:
        paged = {"limit": query.limit} | ({"page": "next"} if query.cursor else {})
        return self._area_event(reader, query, {} if reader.action == "export" else paged, at)

    def map_event(self, reader: Reader, query: Query, at: datetime) -> Disclosure:
        return self._area_event(reader, query, {"as": "map"}, at)

    def count_event(self, reader: Reader, at: datetime) -> Disclosure:
        return Disclosure(self._event(reader, {"as": "counts"}, {}, at), reader.organisation)

    def item_event(self, reader: Reader, record: UUID, at: datetime) -> Disclosure:
        return Disclosure(self._event(reader, {}, {"id": [str(record)]}, at), reader.organisation)

    def test_event(self, reader: Reader, lookup: Lookup, at: datetime) -> Disclosure:
        """That values of a field are compared; nothing is given by it."""
        field = self._looked_up(lookup)
        said: list[str | int] = [*told_of(_kind(field), lookup.said)]
        return Disclosure(self._event(reader, {"as": TESTED}, {field.name: said}, at), reader.organisation)

    def match_event(self, reader: Reader, lookup: Lookup, tested: UUID, at: datetime) -> Disclosure:
        """That records matched, and what of them is given; the question is in the event before."""
        field = self._looked_up(lookup)
        event = self._event(reader, {"as": "disclosed", "fields": [field.name], "tested": str(tested)}, {}, at)
        return Disclosure(event, reader.organisation)

    def tests(self, policy: Policy, grants: Sequence[LiveGrant], lookup: Lookup, rows: Sequence[Row]) -> list[Share]:
        """What each owner is told whose records are compared: which, and under which grants; also where none is left to compare."""
        field, found = self._looked_up(lookup), []
        for provider in sorted({g.provider for g in grants}):
            numbers = [r.revision_no for r in rows if r.provider == provider]
            own = cited(policy, [tuple(g.id for g in grants if g.provider == provider)])
            found.append(Share(policy.names[provider], own, numbers, {"fields": {field.name: TESTED}}))
        return found

    def matches(self, policy: Policy, lookup: Lookup, rows: Sequence[Row]) -> list[Share]:
        """What the log says of records that matched: as of those that are shown, and that this field did."""
        field = self._looked_up(lookup)
        return [replace(share, more={"fields": {field.name: "match_only", **share.more["fields"]}}) for share in self.shares(policy, rows)]

    def _looked_up(self, lookup: Lookup) -> Field:
        return next(f for f in self._dataset.matchable() if f.number == lookup.field)

    def _area_event(self, reader: Reader, query: Query, asked: dict[str, Any], at: datetime) -> Disclosure:
        if query.box:
            asked["extent"] = list(query.box)
        if query.since:
            asked["from"] = instant(query.since)
        if query.until:
            asked["until"] = instant(query.until)
        crosses = query.box is not None and query.box.west > query.box.east
        extent = (-180.0, query.box.south, 180.0, query.box.north) if query.box and crosses else query.box
        return Disclosure(self._event(reader, asked, {n: list(v) for n, v in query.values.items()}, at), reader.organisation, extent)

    def _event(self, reader: Reader, asked: dict[str, Any], literals: Mapping[str, list[str | int]], at: datetime) -> Event:
        event = event_id(at, self._random(10))
        if literals:
            text = orjson.dumps(literals, option=orjson.OPT_SORT_KEYS)
            asked["fields"] = sorted(literals)
            sealed, digest = self._keys.literals(event, at, text)
            asked["literals"], asked["hash"] = "sealed:" + b64encode(sealed).decode(), "hmac:" + digest.hex()
        return Event(event, reader.action, at, reader.by, "permit", reader.purpose, reader.case, dataset=self._name, asked=asked)

    def log(
        self, tx: Transaction, disclosure: Disclosure, policy: Policy, shares: Sequence[Share] = (), given: Sequence[Delivery] = ()
    ) -> list[bytes]:
        """Keeps what was `given` under a duty, appends one leaf per owner and commits; the leaves' hashes. They are to be signed before
        anything is answered: by `features`, or else by `sign`. Where the connection is lost at the commit, the same leaves are sent once
        more: they are in the log once, whatever became of the first.

        Raises:
            PolicyChanged: `policy`, under which the shares were decided, no longer holds; nothing was logged and nothing may be shown.
        """
        keep(tx, disclosure.event, disclosure.recipient, self._dataset.number, given)
        made = leaves(disclosure.event, shares, os.urandom(16))
        whole = partial(send, event=disclosure.event, made=made, epoch=policy.epoch, extent=disclosure.extent, then="; commit")
        try:
            whole(tx)
        except psycopg2.Error as error:
            if given or not lost(error):  # what was given is kept in the same transaction: it would be kept twice
                raise
            with transaction(self._engine) as again:
                again.rows("begin")
                whole(again)
        return [leaf.hash for leaf in made]

    def sign(self, disclosure: Disclosure, hashes: Sequence[bytes]) -> Signed:
        """Has the committed leaves of a disclosure that opens nothing signed; the last."""
        return self._keys.sign(disclosure.event.id, hashes)

    def shares(self, policy: Policy, rows: Sequence[Row]) -> list[Share]:
        """What the log says of records that are shown whole, owner by owner."""
        found = []
        for provider, group in groupby(sorted(rows, key=lambda r: r.provider), key=lambda r: r.provider):
            own = list(group)
            sets = {r.clauses for r in own}
            more = {"fields": _treatments(policy, sets)}
            found.append(Share(policy.names[provider], cited(policy, sets), [r.revision_no for r in own], more))
        return found

    def given(self, policy: Policy, rows: Sequence[Row]) -> list[Delivery]:
        """What is to be kept of records that are shown whole, under grants with duties."""
        shown = {c: dict(_shown(policy, c)) for c in {r.clauses for r in rows} if owed(policy, c)}
        return deliveries(policy, (Given(r.provider, r.id, r.clauses) for r in rows), shown)

    def features(self, policy: Policy, shape: Shape, rows: Sequence[Row], logged: Logged) -> tuple[list[str], Signed]:
        """The features of rows whose leaves are committed, sealed fields opened where a grant releases them, with what is owed for them
        since then; and the last of the leaves as the key process signed it.

        Raises:
            Tampered: a ciphertext does not verify.
        """
        ends = {(r.provider, r.clauses) for r in rows}
        tails = {(p, clauses): f'"provider":"{policy.names[p]}"}}{member(policy, clauses, logged.at)}' for p, clauses in ends}
        if not shape.sealed:
            return [f"{r.head}{tails[r.provider, r.clauses]}}}" for r in rows], self._keys.sign(logged.event, logged.hashes)
        opened, signed = self._open(policy, shape, rows, logged)
        return [self._opened(r.head, tails[r.provider, r.clauses], values) for r, values in zip(rows, opened, strict=True)], signed

    def _open(self, policy: Policy, shape: Shape, rows: Sequence[Row], logged: Logged) -> tuple[list[dict[str, str]], Signed]:
        """For each row the JSON values of its sealed fields that are released."""
        found: list[dict[str, str]] = [{} for _ in rows]
        places = [(n, i) for n, r in enumerate(rows) for i, blob in enumerate(r.ciphers) if blob is not None]
        openings = [self._opening(policy, rows[n], shape.sealed[i], rows[n].ciphers[i]) for n, i in places]
        plains, signed = self._plain(openings, logged)
        for (n, i), plain in zip(places, plains, strict=True):
            name = shape.sealed[i].name
            if plain is None:
                found[n] |= {name: _GONE} if name == self._place else {}
                continue
            treatment = self._ending(policy, rows[n].clauses, name) if name in shape.ends else CLEAR
            found[n] |= {name: plain.decode()} if treatment == CLEAR else _ended(name, plain, treatment.last)
        return found, signed

    def _plain(self, openings: Sequence[Opening], logged: Logged) -> tuple[Sequence[bytes | None], Signed]:
        """Plaintexts. Of a record whose keys are gone None, if that is known already: it must not hide a page of others for good."""
        gone: frozenset[UUID] = frozenset()
        while left := [o for o in openings if o.record not in gone] if gone else openings:
            try:
                opened, signed = self._keys.open_batch(logged.proof, logged.event, self._dataset.number, left)
            except Shredded as shredded:
                if not logged.lost or shredded.records <= gone:
                    raise
                gone |= shredded.records
                continue
            each = iter(opened)
            return [None if o.record in gone else next(each) for o in openings] if gone else opened, signed
        return [None] * len(openings), self._keys.sign(logged.event, logged.hashes)

    @staticmethod
    def _ending(policy: Policy, clauses: tuple[int, ...], name: str) -> Treatment:
        return policy.remember(("ending", name, *clauses), partial(finest, policy, clauses, name))

    def _opening(self, policy: Policy, r: Row, field: Field, blob: Any) -> Opening:
        schema = self._dataset.schema_no
        return Opening(policy.uids[r.provider], UUID(r.id), r.rev, schema, field.cls, field.number, bytes(blob), r.revision_no)

    def _opened(self, head: str, tail: str, values: dict[str, str]) -> str:
        exact = values.pop(self._place, None)
        geometry = f',"geometry":{exact}' if exact == _GONE else f',"geometry":{{"type":"Point","coordinates":{exact}}}' if exact else ""
        return head + "".join(f'"{name}":{value},' for name, value in values.items()) + tail + geometry + "}"


def _kind(field: Field) -> Matched:
    if field.matched is None:
        raise TypeError(f"{field.name} can't be looked up")
    return field.matched


def _ended(name: str, plain: bytes, last: int) -> dict[str, str]:
    """The end of a text, and how many characters of it: as JSON, like everything that is opened. A text that is no longer comes with the
    same sign of omission, so that nothing tells it from one that is.
    """
    return {name: orjson.dumps(f"…{orjson.loads(plain)[-last:]}").decode(), f"{name}_last": str(last)}


def cited(policy: Policy, sets: Iterable[tuple[int, ...]]) -> list[dict[str, Any]]:
    """The MOUs of sets of clauses as a leaf cites them, each with its grants, and the refusals that held fields back."""
    used = sorted({c for s in sets for c in s})
    found: dict[tuple[str, int, str], tuple[list[str], list[str]]] = {}
    for number in used:
        clause = policy.grants.get(number) or policy.refusals[number]
        grants, refusals = found.setdefault((clause.mou, clause.version, clause.sha256), ([], []))
        (refusals if isinstance(clause, LiveRefusal) else grants).append(clause.name)
    return [
        {"mou": mou, "version": version, "sha256": digest, "grants": grants} | ({"refusals": refusals} if refusals else {})
        for (mou, version, digest), (grants, refusals) in found.items()
    ]


def finest(policy: Policy, clauses: tuple[int, ...], name: str) -> Treatment:
    """How a record with these live clauses releases a field."""
    given = (policy.grants[c].fields for c in clauses if c in policy.grants)
    return treatments.finest(name, given, (policy.refusals[c].fields for c in clauses if c in policy.refusals))


def _treatments(policy: Policy, sets: set[tuple[int, ...]]) -> dict[str, str]:
    """For each field the treatments in which it was shown: the finest that each record's own clauses give."""
    shown: dict[str, set[str]] = {}
    for clauses in sets:
        for name, treatment in _shown(policy, clauses):
            shown.setdefault(name, set()).add(treatment)
    return told(shown)


def _shown(policy: Policy, clauses: tuple[int, ...]) -> list[tuple[str, str]]:
    return policy.remember(("finest", *clauses), partial(_released, policy, clauses))


def told(shown: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Treatments by field as a leaf has them."""
    return {name: ",".join(sorted(words)) for name, words in shown.items() if words}


def _released(policy: Policy, clauses: tuple[int, ...]) -> list[tuple[str, str]]:
    names = {n for c in clauses if c in policy.grants for n in policy.grants[c].fields}
    found = [(name, finest(policy, clauses, name)) for name in names]
    return [(name, str(treatment)) for name, treatment in found if treatment.shows]
