"""What a batch has tried: for each condition, edge and treatment, state of the version and number of grants on the record how many
decisions hung on it alone, permitted and denied."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import chain, product
from typing import Any

from tests.policy.axes import GRANTS, REFUSALS, Cell, Counted, Full, placed
from tests.policy.cases import ASK_ALL, CASES, Asked, Batch
from tests.policy.edges import MICROSECOND, window_bounds
from tests.policy.oracle import SEALED, Grant, Oracle, Reader, Record, Refusal, area, covers, parts, where_is, word
from tests.policy.oracle import TIMES as TIME_FIELDS
from tests.policy.standing import state

Found = Iterator[tuple[Cell, bool]]
Placed = Iterator[tuple[Full, bool]]
Opened = Callable[[Reader, Record, datetime], Sequence[Grant]]
TIMES = ("clear", "PT1H", "P1D")
PLACES = ("clear", "100", "500", "2000")
PLAIN = ("clear", "withhold")
KINDS = {"place": "place"} | dict.fromkeys(TIME_FIELDS, "time") | dict.fromkeys(SEALED, "sealed")


def cells() -> list[Cell]:
    """Every cell that must hold permits and denials, whatever the state and the number of grants."""
    return [
        *(("one_of", edge, t) for edge in ("listed | not", "there | none") for t in (*PLAIN, "bands")),
        *((asks, edge, t) for asks in ("at_most", "at_least") for edge in ("bound | next", "there | none") for t in (*PLAIN, "bands")),
        *(("within", "border | outside", t) for t in PLACES),
        *(("within", "ring or block | hole", t) for t in PLACES),
        *(("within", "its own cell | the finest", t) for t in ("500", "2000")),
        *((window, "bound | 1 µs off", t) for window in ("lookback", "embargo") for t in TIMES),
        *(("in force", edge, "any") for edge in ("first moment | before", "last moment | after")),
        *((asks, "granted | not", "any") for asks in ("purpose", "action")),
        ("case", "named | not", "any"),
        *(("several grants", "finer one open | closed", t) for t in ("place", "occurred_at", "severity", "external_id", "phone")),
        *(("bbox", side, t) for side in ("west", "south", "east", "north", "antimeridian") for t in PLACES),
        *(("since", "at | 1 µs off", t) for t in TIMES),
        *(("until", "at | 1 µs off", t) for t in TIMES),
        *(("filter", "equal | other", t) for t in ("clear", "bands", "last")),
        *((part, "asked or not", "withhold") for part in ("bbox", "since", "until", "filter")),
        *((what, "met | missed by it alone", w) for what in REFUSALS for w in ("one_of", "at_most", "at_least", "within")),
        *((what, f"over {whose} MOU's grants", "any") for what in REFUSALS for whose in ("its own", "another")),
        *(("refusal", edge, "any") for edge in ("first moment | before", "last moment | after")),
        *(("refused fields", "held | not", kind) for kind in ("place", "time", "plain", "sealed")),
    ]


def count(made: Batch, oracle: Oracle) -> Counted:
    found: Counted = Counter()
    opened = _opened(oracle)
    areas = {(g.key[0], n): made.areas[n] for g in oracle.grants for c in g.conditions if "within" in c for n in _names(c["within"])}
    for grant in oracle.grants:
        own = {n: areas[grant.key[0], n] for k, n in areas if k == grant.key[0]}
        for record in (r for r in made.records if r.provider == grant.provider):
            found.update(_granted(made, oracle, opened, grant, record, own))
    found.update(_several(made, oracle, opened))
    found.update(_refusals(made, oracle, opened))
    for asked in made.asked:
        found.update(_request(made, oracle, opened, asked))
    return found


def _opened(oracle: Oracle) -> Opened:
    """The grants that are open to a reader on a record at a moment."""
    records: dict[str, Record] = {}
    of = {g.consumer: [h for h in oracle.grants if h.consumer == g.consumer and h.came == "active"] for g in oracle.grants}

    @cache
    def found(reader: Reader, name: str, now: datetime) -> Sequence[Grant]:
        record, live = records[name], (g for g in of[reader.organisation] if oracle.live(g, reader, now))
        return [g for g in live if oracle.meets(g, record) and oracle.in_window(g, record, now)]

    def opened(reader: Reader, record: Record, now: datetime) -> Sequence[Grant]:
        records[record.values["external_id"]] = record
        return found(reader, record.values["external_id"], now)

    return opened


def _granted(made: Batch, oracle: Oracle, opened: Opened, grant: Grant, record: Record, areas: dict[str, Any]) -> Placed:
    """What a grant's conditions, window, purpose, action and case decide at each moment, unless a refusal of the record does."""
    missed = [c for c in grant.conditions if not oracle.holds(grant, c, record)]
    static = list(_static(grant, record, missed, areas))
    usual = Reader(grant.consumer, grant.data["purposes"][0], CASES[-1])
    for now in made.nows:
        timely = oracle.granted(grant, usual) and oracle.in_window(grant, record, now)
        found = chain(((*s, usual) for s in static if timely), () if missed else _moving(oracle, grant, record, now))
        if not any(r.fields is None for r in oracle.against(record, usual, now)):
            for cell, permit, reader in found:
                yield from placed(cell, permit, state(grant, now), len(opened(reader, record, now)))


def table(found: Counter[tuple[tuple[str, ...], bool]], also: Iterable[Cell]) -> str:
    rows = [f"{'condition':16}{'edge':28}{'treatment':14}{'permits':>9}{'denials':>9}"]
    for cell in also:
        rows.append(f"{cell[0]:16}{cell[1]:28}{cell[2]:14}{found[cell, True]:9}{found[cell, False]:9}")
    return "\n".join(rows)


def _names(within: Any) -> list[str]:
    return [within] if isinstance(within, str) else list(within)


def _static(grant: Grant, record: Record, missed: Sequence[Any], areas: dict[str, Any]) -> Found:
    """Conditions that decide: all others of the grant hold."""
    for condition in grant.conditions:
        if all(m is condition for m in missed):
            permit, treatment = not missed, word(grant.treatment(condition["field"]))
            edges = _place_edges(grant, record, condition, areas) if "within" in condition else _value_edges(record, condition, permit)
            asks = next(w for w in ("one_of", "at_most", "at_least", "within") if w in condition)
            yield from (((asks, edge, treatment), permit) for edge in edges)


def _value_edges(record: Record, condition: Any, permit: bool) -> Iterator[str]:
    value = record.values.get(condition["field"])
    if value is None or permit:
        yield "there | none"
    if "one_of" in condition and value is not None:
        yield "listed | not"
    if ("at_most" in condition and value in (condition["at_most"], condition["at_most"] + 1)) or (
        "at_least" in condition and value in (condition["at_least"], condition["at_least"] - 1)
    ):
        yield "bound | next"


def _place_edges(grant: Grant, record: Record, condition: Any, areas: dict[str, Any]) -> Iterator[str]:
    spot, finest = record.spot(grant.grid_m), record.spot(100)
    shapes = [area(areas[n]) for n in _names(condition["within"])]
    places = [where_is(s, spot) for s in shapes]
    if "border" in places or "outside" in places:
        yield "border | outside"
    if all(p != "outside" for p in places) != all(covers(s, finest) for s in shapes):
        yield "its own cell | the finest"
    with_hole = [s for s in shapes if any(len(rings) > 1 for rings in s)]
    outlines = [tuple(rings[:1] for rings in s) for s in with_hole]
    if with_hole and all(covers(o, spot) for o in outlines):
        yield "ring or block | hole"


def _moving(oracle: Oracle, grant: Grant, record: Record, now: datetime) -> Iterator[tuple[Cell, bool, Reader]]:
    """Windows, the period in force, purpose, action and case, each where it alone decides, were the version in force; and for whom."""
    at, (first, last) = record.values["occurred_at"], window_bounds(grant, now)
    reader = Reader(grant.consumer, grant.data["purposes"][0], CASES[-1])
    if oracle.granted(grant, reader):
        treatment = str(grant.treatment("occurred_at"))
        if first and at in (first, first - MICROSECOND) and oracle.in_window(grant, record, now, ["embargo"]):
            yield ("lookback", "bound | 1 µs off", treatment), oracle.in_window(grant, record, now), reader
        if last and at in (last, last + MICROSECOND) and oracle.in_window(grant, record, now, ["lookback"]):
            yield ("embargo", "bound | 1 µs off", treatment), oracle.in_window(grant, record, now), reader
    if not oracle.in_window(grant, record, now):
        return
    query = "query" in grant.data["actions"]
    if query and now in (grant.since, grant.since - MICROSECOND):
        yield ("in force", "first moment | before", "any"), True, reader
    if query and now in (grant.until, grant.until - MICROSECOND):
        yield ("in force", "last moment | after", "any"), True, reader
    if query and "case_reference" in grant.data:
        for asking in (Reader(grant.consumer, reader.purpose, case) for case in CASES):
            yield ("case", "named | not", "any"), oracle.granted(grant, asking), asking
    yield ("action", "granted | not", "any"), query, reader
    for purpose in ("alpha", "beta") if query else ():
        yield ("purpose", "granted | not", "any"), purpose in grant.data["purposes"], Reader(grant.consumer, purpose, CASES[-1])


def _several(made: Batch, oracle: Oracle, opened: Opened) -> Placed:
    """Records that a reader has under more than one grant: whether the finer one counts at this moment."""
    for grant in oracle.grants:
        reader = Reader(grant.consumer, grant.data["purposes"][0], CASES[-1])
        for record, now in ((r, n) for r in made.records for n in made.nows if oracle.meets(grant, r)):
            found = oracle.released(record, reader, now)
            for name in ("place", "occurred_at", "severity", "external_id", "phone") if found else ():
                open_, given = opened(reader, record, now), found and found.treatments[name]
                full = ("several grants", "finer one open | closed", name, state(grant, now), GRANTS[min(len(open_), 3)])
                if grant in open_ and len({str(g.treatment(name)) for g in open_}) > 1 and given == grant.treatment(name):
                    yield full, True
                if grant not in open_ and _finer(grant.treatment(name), given):
                    yield full, False


def _refusals(made: Batch, oracle: Oracle, opened: Opened) -> Placed:
    """Refusals of records that a reader would have, and that nothing else hides."""
    for consumer, purpose, case, now in product(made.consumers, ("alpha", "beta"), CASES, made.nows):
        reader = Reader(consumer, purpose, case)
        live = [g for g in oracle.grants if oracle.live(g, reader, now)]
        mine = [r for r in oracle.refusals if r.consumer == consumer]
        for record in made.records if live and mine else ():
            open_ = opened(reader, record, now)
            against = oracle.against(record, reader, now)
            for refusal in mine if open_ else ():
                others = [r for r in against if r is not refusal]
                if refusal.provider == record.provider and all(r.fields is not None for r in others):
                    held = {n for r in others for n in r.fields or ()}
                    for cell, permit in _refusal(oracle, refusal, record, open_, now, held):
                        yield from placed(cell, permit, state(refusal, now), len(open_))


def _refusal(oracle: Oracle, refusal: Refusal, record: Record, open_: Sequence[Grant], now: datetime, held: set[str]) -> Found:
    """What hangs on a refusal, were its version in force."""
    missed = [c for c in refusal.conditions if not oracle.holds(refusal, c, record)]
    what = REFUSALS[refusal.fields is not None]
    given = [n for n in refusal.fields or () if n not in held and any(g.treatment(n) not in ("withhold", "match_only") for g in open_)]
    if refusal.fields is not None and not given:
        return
    if not missed and now in (refusal.since, refusal.since - MICROSECOND):
        yield ("refusal", "first moment | before", "any"), False
    if not missed and now in (refusal.until, refusal.until - MICROSECOND):
        yield ("refusal", "last moment | after", "any"), False
    for condition in refusal.conditions:
        if all(m is condition for m in missed):
            asks = next(w for w in ("one_of", "at_most", "at_least", "within") if w in condition)
            yield (what, "met | missed by it alone", asks), bool(missed)
    own = {g.key[:2] == refusal.key[:2] for g in open_}
    if len(own) == 1:
        yield (what, f"over {'its own' if own.pop() else 'another'} MOU's grants", "any"), bool(missed)
    for name in given:
        yield ("refused fields", "held | not", KINDS.get(name, "plain")), bool(missed)


def _finer(one: Any, other: Any) -> bool:
    order = ("clear", "100", "PT1H", "500", "P1D", "2000", "bands", "last", "match_only", "withhold")
    measure = [len(t[1]) if word(t) == "bands" else t[1] if word(t) == "last" else 0 for t in (one, other)]
    return order.index(word(one)) < order.index(word(other)) or (word(one) == word(other) and measure[0] > measure[1])


def _request(made: Batch, oracle: Oracle, opened: Opened, asked: Asked) -> Placed:
    if asked.about is None:
        return
    part, edge, name = asked.about
    record = next(r for r in made.records if r.values["external_id"] == name)
    found = oracle.shown(record, asked.reader, asked.now, ASK_ALL)
    if found is None:
        return
    tests = parts(asked.request)
    decided = tests.pop(part)(found)
    if all(test(found) for test in tests.values()):
        field = {"bbox": "place", "since": "occurred_at", "until": "occurred_at"}.get(part, part)
        group = part if part in ("bbox", "since", "until") else "filter"
        grants = len(opened(asked.reader, record, asked.now))
        yield from placed((group, edge, word(found.treatments[field])), decided, "active", grants)
        if edge == "asked or not":
            yield from placed((group, edge, "withhold"), True, "active", grants)  # without the question the record is there
