"""The effect diff: who gains and loses which records and fields when a version comes into force, counted on the records there are.

For the consumer, each purpose and action that the version or the one before names, or that one of its refusals touches: how many records
it has before and after, gains, loses, or sees otherwise, which fields go from which treatment to which, and up to ten of the records.
Windows are those of the moment at which the version comes into force; a grant that asks for a case is taken as asked for with one. RFC
8785 JSON: its SHA-256 is what the provider acknowledges.

One pass over the provider's records: each clause is a bit, records with the same bits are counted together, the rest is arithmetic.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import rfc8785
import shapely

from hub.agreements.rules import ewkb
from hub.agreements.store import Version
from hub.audit.leaf import instant
from hub.db import Transaction
from hub.policy.clauses import Grant, Refusal
from hub.policy.conditions import Within
from hub.policy.mou import Mou
from hub.policy.refused import COARSEST_M, refused_area
from hub.policy.treatments import WITHHOLD, Treatment, told, window
from hub.policy.vocabulary import known_field
from hub.records import WINDOW_FIELD, Record
from hub.tables import CELL_COLUMNS

EXAMPLES = 10
_LIVE = """
select c.id, m.id, d.dataset, d.purposes, d.actions, d.given, d.lookback_s, d.embargo_s, d.refused, m.mou, m.version, m.sha256
from hub.mous m join (select mou_id, id from hub.grants union all select mou_id, id from hub.refusals) c on c.mou_id = m.id
join (select id, dataset, purposes, actions, fields as given, lookback_s, embargo_s, null::text[] as refused from hub.grants
      union all select id, dataset, '{}', '{}', null, null, null, coalesce(fields, '{}') from hub.refusals) d on d.id = c.id
where m.provider = %s and m.consumer = %s and m.state = 'active' and m.in_force_from <= %s and m.in_force_until > %s order by c.id"""


@dataclass(frozen=True)
class _Bit:
    """One clause: what makes its bit 1 on a record (SQL and arguments), and when it counts. `refuses` None: a grant; empty: of whole
    records.
    """

    sql: str
    arguments: tuple[Any, ...]
    dataset: str
    before: bool
    after: bool
    purposes: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    fields: Mapping[str, Treatment] = field(default_factory=dict)
    refuses: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Records with the same bits: how many, and some of their revisions."""

    bits: str
    count: int
    some: Sequence[int]


def basis(tx: Transaction, found: Version) -> str:
    """What a diff is worked out against: the other agreements in force between the two, whatever their period."""
    rows = tx.rows(
        "select sha256 from hub.mous where provider = %s and consumer = %s and state = 'active' order by sha256",
        (found.provider_id, found.consumer_id),
    )
    return " ".join(digest for (digest,) in rows)


def effect(
    tx: Transaction,
    found: Version,
    mou: Mou,
    areas: Mapping[str, shapely.Geometry],
    datasets: Mapping[str, type[Record]],
    now: datetime,
) -> bytes:
    """The diff of a version, as canonical JSON."""
    at = max(now, found.since)
    names = {dataset.number: name for name, dataset in datasets.items()}
    live = tx.rows(_LIVE, (found.provider_id, found.consumer_id, at, at))
    bits = [_stored(row, names, found, at) for row in live] + [_new(c, found, areas, datasets, at) for _, c in mou.clauses()]
    effects: list[dict[str, Any]] = []
    for name, dataset in datasets.items():
        mine = [b for b in bits if b.dataset == name]
        if mine:
            groups = _count(tx, name, found.provider_id, mine)
            effects += _effects(tx, name, dataset, mine, groups)
    replaced = {(row[10], row[11]) for row in live if row[9] == found.mou}
    said: dict[str, Any] = {
        "v": 1,
        "mou": found.mou,
        "version": found.version,
        "sha256": found.sha256,
        "provider": found.provider,
        "consumer": found.consumer,
        "at": instant(at),
        "replaces": [{"version": version, "sha256": digest} for version, digest in sorted(replaced)],
        "beside": sorted({f"{row[9]} version {row[10]}" for row in live if row[9] != found.mou}),
        "effects": effects,
    }
    return rfc8785.dumps(said)


def _stored(row: tuple[Any, ...], names: Mapping[int, str], found: Version, at: datetime) -> _Bit:
    """A clause in force: its label is on the records."""
    number, _, dataset, purposes, actions, given, lookback, embargo, refused, mou, *_ = row
    fields = {} if given is None else {name: Treatment.parse(text) for name, text in given.items()}
    spans = [None if s is None else timedelta(seconds=s) for s in (lookback, embargo)]
    test, arguments = _windowed(spans[0], spans[1], fields.get(WINDOW_FIELD, WITHHOLD), at)
    return _Bit(
        f"%s = any(i.released){test}",
        (number, *arguments),
        names[dataset],
        True,
        mou != found.mou,
        frozenset(purposes),
        frozenset(actions),
        fields,
        None if refused is None else frozenset(refused),
    )


def _new(
    clause: Grant | Refusal, found: Version, areas: Mapping[str, shapely.Geometry], datasets: Mapping[str, type[Record]], at: datetime
) -> _Bit:
    """A clause of the version itself: its conditions, written out."""
    dataset = datasets[clause.dataset]
    granted = isinstance(clause, Grant)
    grid_m = clause.tested_m(dataset.named("place")[0].name) if isinstance(clause, Grant) else COARSEST_M
    column = CELL_COLUMNS[grid_m or COARSEST_M]
    tests: list[str] = []
    arguments: list[Any] = []
    for condition in clause.where:
        if isinstance(condition, Within):
            for name in condition.argument:
                area = areas[name] if granted else refused_area(areas[name])
                tests.append(
                    f"i.{column} in (select d.c from (select distinct {column} as c from hub.{clause.dataset} where provider = %s) d"
                    f" where public.ST_Covers(%s::public.geometry, d.c))"
                )
                arguments += [found.provider_id, ewkb(area)]
        else:
            named = known_field(dataset, condition.field)
            literal = f"(%s::{condition.column_types[named.kind]})"
            argument = list(condition.argument) if isinstance(condition.argument, tuple) else condition.argument
            test = type(condition).sql(literal, f"i.{named.name}")
            tests.append(f"{test} is true")
            arguments += [argument] * test.count("%s")
    static = " and ".join(tests) or "true"
    if not isinstance(clause, Grant):
        refuses = frozenset(clause.fields or ())
        return _Bit(static, tuple(arguments), clause.dataset, False, True, refuses=refuses)
    test, more = _windowed(clause.occurred.lookback, clause.occurred.embargo, clause.treatment(WINDOW_FIELD), at)
    return _Bit(
        static + test,
        (*arguments, *more),
        clause.dataset,
        False,
        True,
        frozenset(clause.purposes),
        frozenset(clause.actions),
        {n: t for n, t in clause.fields.items() if t != WITHHOLD},
    )


def _windowed(lookback: timedelta | None, embargo: timedelta | None, time: Treatment, at: datetime) -> tuple[str, tuple[Any, ...]]:
    since, until = window(at, lookback, embargo, time.step)
    test = "" if since is None else f" and i.{WINDOW_FIELD} >= %s"
    test += "" if until is None else f" and i.{WINDOW_FIELD} < %s"
    return test, tuple(bound for bound in (since, until) if bound is not None)


def _count(tx: Transaction, name: str, provider: int, bits: Sequence[_Bit]) -> list[_Group]:
    """The records of a provider by their bits. Ten remainders stand for ten revisions: to number the records would sort them all."""
    said = " || ".join(f"case when {b.sql} then '1' else '0' end" for b in bits)  # a function takes a hundred arguments, no more
    some = ", ".join(f"min(i.revision_no) filter (where i.revision_no %% {EXAMPLES} = {n})" for n in range(EXAMPLES))
    rows = tx.rows(
        f"select {said} as bits, count(*), array_remove(array[{some}], null) from hub.{name} i where i.provider = %s group by 1",
        (*(a for b in bits for a in b.arguments), provider),
    )
    return [_Group(*row) for row in rows]


def _effects(tx: Transaction, name: str, dataset: type[Record], bits: Sequence[_Bit], groups: Sequence[_Group]) -> Iterable[dict[str, Any]]:
    grants = [b for b in bits if b.refuses is None]
    pairs = sorted({pair for b in grants for pair in product(b.purposes, b.actions)})
    for purpose, action in pairs:
        counts: Counter[str] = Counter()
        moves: Counter[tuple[str, str, str]] = Counter()
        examples: list[tuple[str, int]] = []
        for group in groups:
            before, after = (_shown(dataset, bits, group.bits, purpose, action, when) for when in ("before", "after"))
            what = _what(before, after)
            counts.update({"before": group.count * (before is not None), "after": group.count * (after is not None), what: group.count})
            if what in ("gained", "lost", "changed"):
                examples += [(what, number) for number in group.some]
                for field_name in (f.name for f in dataset.fields):
                    one, other = ((shown or {}).get(field_name, "withhold") for shown in (before, after))
                    if one != other:
                        moves[field_name, one, other] += group.count
        own = any(b.before != b.after and purpose in b.purposes and action in b.actions for b in grants)
        if not own and not moves:
            continue  # of another agreement, and the same as before
        yield {
            "dataset": name,
            "purpose": purpose,
            "action": action,
            **{word: counts[word] for word in ("before", "after", "gained", "lost", "changed")},
            "fields": [{"field": f, "from": one, "to": other, "count": n} for (f, one, other), n in sorted(moves.items())],
            "examples": _examples(tx, name, examples),
        }


def _shown(dataset: type[Record], bits: Sequence[_Bit], set_: str, purpose: str, action: str, when: str) -> dict[str, str] | None:
    """How the fields of records with these bits are released; None: they are not shown."""
    here = [b for b, bit in zip(bits, set_, strict=True) if bit == "1" and getattr(b, when)]
    giving = [b for b in here if b.refuses is None and purpose in b.purposes and action in b.actions]
    refused = [b.refuses or None for b in here if b.refuses is not None]
    found = told(dataset, action, [b.fields for b in giving], refused)
    return None if found is None else {name: str(t) for name, t in found.items()}


def _what(before: dict[str, str] | None, after: dict[str, str] | None) -> str:
    if before == after:
        return "same"
    return "gained" if before is None else "lost" if after is None else "changed"


def _examples(tx: Transaction, name: str, wanted: Sequence[tuple[str, int]]) -> list[dict[str, str]]:
    """Up to ten records, of each kind of change some."""
    chosen: dict[int, str] = {}
    for kind in ("gained", "lost", "changed"):
        for what, number in [w for w in wanted if w[0] == kind][: EXAMPLES // 3 + (kind == "gained")]:
            chosen[number] = what
    for what, number in wanted:
        if len(chosen) < EXAMPLES:
            chosen.setdefault(number, what)
    ids = dict(tx.rows(f"select revision_no, id::text from hub.{name} where revision_no = any(%s)", (sorted(chosen),)))
    return [{"id": ids[number], "change": chosen[number]} for number in sorted(chosen) if number in ids]
