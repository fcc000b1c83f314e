"""Generated agreements, records and requests. Everything follows from the seed; records and requests are made to hit the edges of the
agreements before them: each record meets all that some grant asks, at its bounds, or misses it by one thing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import product
from random import Random
from typing import Any

from tests.policy import lives
from tests.policy.bands import cuts, keep_whole
from tests.policy.edges import MICROSECOND, SITES, GeoJson, Index, Site, spot_in, times_around, window_bounds
from tests.policy.oracle import FINEST_FIRST, Grant, Oracle, Reader, Record, Released, Request, area, centre, covers, where_is, word

CATEGORIES = ("theft", "assault", "overdose", "medical", "fire")
STATUSES = ("open", "active", "resolved", "closed")
HANDLINGS = ("TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:RED")
PURPOSES = ("alpha", "beta")
CASES = (None, "2031/7")
GRIDS = (100, 500, 2000)
BANDS = ([1, 3, 5], [2, 4], [1, 2, 3, 4, 5], [2, 3, 4], [3])
ASK_ALL = Request()


@dataclass(frozen=True)
class Asked:
    """A request of a reader at a moment. `about`: the part of it (bbox, since, until, a field) that lies on an edge of one record."""

    reader: Reader
    now: datetime
    request: Request
    about: tuple[str, str, str] | None = None  # part, edge, external id


@dataclass
class Batch:
    """One world of agreements, records and requests."""

    seed: int
    nows: Sequence[datetime]
    areas: Mapping[str, GeoJson] = field(default_factory=dict)
    mous: list[dict[str, Any]] = field(default_factory=list)  # in the order in which they are loaded
    steps: dict[tuple[str, int], str] = field(default_factory=dict)  # how far a version is brought; otherwise into force
    records: list[Record] = field(default_factory=list)
    features: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # provider, feature
    asked: list[Asked] = field(default_factory=list)
    near: dict[str, dict[str, list[Index]]] = field(default_factory=dict)  # cells by where they lie, for each boundary

    def name(self, text: str) -> str:
        return f"{text}-{self.seed}"

    @property
    def providers(self) -> Sequence[str]:
        return [self.name("police"), self.name("fire")]

    @property
    def consumers(self) -> Sequence[str]:
        return sorted({m["parties"]["consumer"] for m in self.mous})

    def oracle(self) -> Oracle:
        return Oracle(self.mous, {f"{name}.geojson": area(geometry) for name, geometry in self.areas.items()}, self.steps)


def batch(seed: int, consumers: int, records: int, requests: int) -> Batch:
    """Agreements of `consumers` organisations with two providers, `records` records, `requests` requests by each consumer."""
    rng = Random(seed)
    made = Batch(seed, _nows(rng))
    sites = [Site(name, SITES[name]) for name in ["dateline", *rng.sample(sorted(set(SITES) - {"dateline"}), 2)]]
    made.areas = {name: geometry for site in sites for grid_m in GRIDS for name, geometry in site.areas(grid_m).items()}
    for n in range(consumers):
        _agree(rng, made, n)
    oracle = made.oracle()
    grants = [g for g in oracle.grants if "query" in g.data["actions"]]
    for n in range(records):
        _add_record(rng, made, oracle, grants[n % len(grants)], sites, n)
    more, made.steps = lives.beside(made.seed, made.mous, CATEGORIES)
    made.mous += more
    oracle = made.oracle()
    made.asked = [_ask(rng, made, oracle, consumer) for consumer in made.consumers for _ in range(requests)]
    made.asked += _ask_edges(rng, made, oracle)
    made.asked += [Asked(Reader(c, p, CASES[-1]), made.nows[2], ASK_ALL) for c in made.consumers for p in PURPOSES["side" not in c :]]
    return made


def _nows(rng: Random) -> list[datetime]:
    """Midnight, the last moment before it, a full hour, and any time, on a day to come: the seals of a test must not have ended."""
    day = datetime(2031, 1, 1, tzinfo=UTC) + timedelta(days=rng.randrange(3_000))
    return [day, day - MICROSECOND, day + timedelta(hours=rng.randint(1, 23)), day + timedelta(microseconds=rng.randrange(86_400_000_000))]


# Agreements


def _agree(rng: Random, made: Batch, n: int) -> None:
    consumer = made.name(f"reader{n}")
    for m in range(rng.choice([1, 2, 2, 3])):
        other = m > 0 and rng.random() < 0.3
        mou = _mou(rng, made, f"MOU-{made.seed}-{n}-{m}", made.providers[(n + other) % 2], consumer)
        if rng.random() < 0.15:  # superseded at once: another version with other grants
            made.mous.append(mou)
            mou = _mou(rng, made, mou["mou"], mou["parties"]["provider"], consumer) | {"version": 2}
        made.mous.append(mou)


def _mou(rng: Random, made: Batch, name: str, provider: str, consumer: str) -> dict[str, Any]:
    grants = [_grant(rng, made, f"grant-{g}") for g in range(rng.choice([1, 2, 2, 3]))]
    refusals = [_refusal(rng, made, f"no-{r}") for r in range(rng.choice([0, 1, 1, 2]))]
    keep_whole(grants, refusals)
    clauses = [c for c in (*grants, *refusals) if c["where"] != "everything"]
    used = {n for clause in clauses for c in clause["where"] if "within" in c for n in _names(c["within"])}
    today = made.nows[0].date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    always = (date(2020, 1, 1), date(2090, 12, 31))
    periods = [(today, always[1]), (always[0], yesterday), (today, today), (yesterday, yesterday), (tomorrow, always[1])]
    since, until = always if rng.random() < 0.6 else rng.choice(periods)
    return {
        "mou": name,
        "version": 1,
        "title": "Generated",
        "parties": {"provider": provider, "consumer": consumer},
        "in_force": {"from": since, "until": until},
        "review_by": always[1],
        "legal_basis": "None; this is a test",
        "jurisdictions": {n: {"file": f"{n}.geojson"} for n in sorted(used)},  # the player pins the files
        "grants": grants,
        **({"refuse": refusals} if refusals else {}),
    }


def _refusal(rng: Random, made: Batch, name: str) -> dict[str, Any]:
    """Of whole records, as a rule of few; or of fields."""
    fields = rng.sample([n for n in FINEST_FIRST if n != "occurred_at"], rng.choice([1, 2, 4]))
    if rng.random() < 0.5 and "place" not in fields:
        fields[0] = "place"
    where = _where(rng, made, rng.choice([{"grid_m": m} for m in GRIDS]))
    if rng.random() < 0.45:
        return {"id": name, "dataset": "incidents", "where": where or [{"field": "severity", "at_least": 4}]}
    return {"id": name, "dataset": "incidents", "where": where or "everything", "fields": fields}


def _names(within: Any) -> list[str]:
    return [within] if isinstance(within, str) else list(within)


def _grant(rng: Random, made: Batch, name: str) -> dict[str, Any]:
    fields = _fields(rng)
    made_grant = {
        "id": name,
        "dataset": "incidents",
        "purposes": rng.choice([["alpha"], ["alpha"], ["beta"], ["alpha", "beta"]]),
        "actions": rng.choice([["query"], ["query"], ["query", "export"], ["query"], ["subscribe", "export"]]),
        "where": [c for c in _where(rng, made, fields["place"]) if not cuts(c, fields["severity"])] or "everything",
        "fields": {k: v for k, v in fields.items() if v != "withhold" or rng.random() < 0.3},
    }
    if all(v in ("withhold", "match_only") for v in made_grant["fields"].values()):
        made_grant["fields"]["status"] = "clear"
    window = _window(rng) if fields["occurred_at"] != "withhold" else {}
    case = {"case_reference": "required"} if rng.random() < 0.2 else {}
    return made_grant | case | ({"occurred": window} if window else {})


def _fields(rng: Random) -> dict[str, Any]:
    place = rng.choice(["clear", *({"grid_m": m} for m in GRIDS), "clear", {"grid_m": 500}, "withhold"])
    times = ["clear", {"round_to": "PT1H"}, {"round_to": "P1D"}, "withhold"]
    plain = {name: rng.choice(["clear", "clear", "withhold"]) for name in ("category", "status", "severity", "handling", "external_id")}
    plain["severity"] = rng.choice([plain["severity"], {"bands": rng.choice(BANDS)}])
    plain["external_id"] = rng.choice([plain["external_id"], {"last": rng.choice([1, 4, 20])}])
    other = {name: rng.choice(times) for name in ("occurred_until", "reported_at", "resolved_at")}
    sealed = {name: rng.choice(["clear", "withhold", "withhold"]) for name in ("title", "narrative", "phone", "people", "address")}
    sealed |= {"phone": "match_only"} if rng.random() < 0.1 else {}
    sealed |= {name: {"last": rng.choice([2, 4, 20])} for name in ("phone", "title") if rng.random() < 0.3}
    return {"place": place, "occurred_at": rng.choice([*times[:3], *times]), **plain, **other, **sealed}


def _where(rng: Random, made: Batch, place: Any) -> list[dict[str, Any]]:
    bound = rng.randint(2, 4)
    pool = [
        {"field": "category", "one_of": rng.sample(CATEGORIES, 3)},
        {"field": "category", "one_of": rng.sample(CATEGORIES, 4)},
        {"field": "status", "one_of": rng.sample(STATUSES, 2)},
        {"field": "handling", "one_of": rng.sample(HANDLINGS, 2)},
        {"field": "severity", "at_most": bound},
        {"field": "severity", "at_least": bound - 1},
        {"field": "severity", "one_of": [bound - 1, bound]},
        {"field": "severity", "at_most": bound},
        {"field": "severity", "at_least": bound - 1},
    ]
    where = rng.sample(pool, rng.choice([0, 1, 1, 2, 3]))
    if place != "withhold" and rng.random() < 0.7:
        grid_m = place["grid_m"] if isinstance(place, dict) else 100
        names = sorted(n for n in made.areas if n.split("-")[1] == str(grid_m) or rng.random() < 0.1)
        name = rng.choice([n for n in names if n.endswith("ring")] if rng.random() < 0.5 else names)
        both = [name, name.rsplit("-", 1)[0] + "-ring"]
        where.append({"field": "place", "within": both if rng.random() < 0.2 and both[0] != both[1] else name})
    return where


def _window(rng: Random) -> dict[str, str]:
    window = {}
    if rng.random() < 0.5:
        window["lookback"] = rng.choice(["P1D", "P7D", "P2W", "PT36H", "P1DT30M", "P365D"])
    if rng.random() < 0.5:
        window["embargo"] = rng.choice(["PT1H", "PT4H", "PT90M", "PT1M", "PT23H"])
    return window


# Records


def _add_record(rng: Random, made: Batch, oracle: Oracle, grant: Grant, sites: Sequence[Site], n: int) -> None:
    now = rng.choice(made.nows)
    wanted = rng.choice(["all", "one missed", "place", "window"])
    tries = [_feature(rng, made, grant, sites, now, made.name(f"R{n}")) for _ in range(8)]
    if wanted == "place":
        first = min(tries, key=lambda f: len(_missed(oracle, grant, Record.of(grant.provider, f), now)))
        tries = [first | {"geometry": f["geometry"]} for f in tries]
    best = min(tries, key=lambda f: _distance(wanted, _missed(oracle, grant, Record.of(grant.provider, f), now)))
    bounds = [b for bound, off in zip(window_bounds(grant, now), (-1, 1), strict=True) if bound for b in (bound, bound + off * MICROSECOND)]
    if wanted == "window" and bounds:
        best["properties"] |= {"occurred_at": rng.choice(bounds).isoformat()}
        best["properties"].pop("occurred_until", None)
    made.features.append((grant.provider, best))
    made.records.append(Record.of(grant.provider, best))


def _missed(oracle: Oracle, grant: Grant, record: Record, now: datetime) -> list[str]:
    """What the grant asks and the record does not meet."""
    conditions = ["within" if "within" in c else "value" for c in grant.conditions if not oracle.holds(grant, c, record)]
    return conditions + [w for w in ("lookback", "embargo") if not oracle.in_window(grant, record, now, [w])]


def _distance(wanted: str, missed: Sequence[str]) -> int:
    if wanted == "place":
        return 0 if missed == ["within"] else 1 + len(missed)
    return abs(len(missed) - (1 if wanted == "one missed" else 0))


def _feature(rng: Random, made: Batch, grant: Grant, sites: Sequence[Site], now: datetime, name: str) -> dict[str, Any]:
    at = rng.choice(times_around(rng, grant, now))
    properties: dict[str, Any] = {
        "external_id": name,
        "category": rng.choice(CATEGORIES),
        "status": rng.choice([*STATUSES, None]),
        "severity": rng.choice([1, 2, 3, 4, 5, None]),
        "handling": rng.choice([*HANDLINGS, None]),
        "occurred_at": at.isoformat(),
        "occurred_until": rng.choice([None, (at + timedelta(hours=rng.randint(0, 30))).isoformat()]),
        "reported_at": rng.choice([None, (at + timedelta(microseconds=rng.randrange(10**11))).isoformat()]),
        "title": f"Title of {name}",
        "narrative": rng.choice([None, f'What happened at {name}: "quoted", ünïcode, \\ and \' and \u2028.']),
        "phone": rng.choice([None, "+1 416 555 0199"]),
        "people": rng.choice([None, [{"name": f"Somebody {name}", "role": "witness"}]]),
    }
    place = spot_in(rng, *_cell_for(rng, made, grant, sites))
    geometry = {"type": "Point", "coordinates": list(place)}
    return {"type": "Feature", "geometry": geometry, "properties": {k: v for k, v in properties.items() if v is not None}}


def _cell_for(rng: Random, made: Batch, grant: Grant, sites: Sequence[Site]) -> tuple[Index, int]:
    """A cell on, in, beside or in the hole of a boundary of the grant, on its own grid; any cell when the grant names none."""
    named = [n for c in grant.conditions if "within" in c for n in _names(c["within"])]
    if not named or rng.random() < 0.1:
        site, grid_m = rng.choice(sites), rng.choice(GRIDS)
        return rng.choice(list(site.cells(grid_m))), grid_m
    name = rng.choice(named)
    if name not in made.near:
        site, grid_m = next(s for s in sites if s.name == name.split("-")[0]), int(name.split("-")[1])
        shape = area(made.areas[name])
        outline = tuple(rings[:1] for rings in shape)
        found: dict[str, list[Index]] = {}
        for index in site.cells(grid_m):
            spot = centre(*index, grid_m)
            where = where_is(shape, spot)
            found.setdefault("hole" if where == "outside" and covers(outline, spot) else where, []).append(index)
        made.near[name] = found
    return rng.choice(made.near[name][rng.choice(sorted(made.near[name]))]), int(name.split("-")[1])


# Requests


Seen = tuple[Reader, datetime, Record, Released]


def _ask(rng: Random, made: Batch, oracle: Oracle, consumer: str) -> Asked:
    """A request of this consumer, for some purpose, at some moment, about some record that it then sees."""
    reader, now = Reader(consumer, rng.choice(PURPOSES), rng.choice(CASES)), rng.choice(made.nows)
    visible = [(reader, now, r, f) for r in made.records if (f := oracle.released(r, reader, now)) is not None]
    limit = rng.choice([1000, 1000, 1000, max(3, len(visible) // 3)])
    if not visible or rng.random() < 0.15:
        return Asked(reader, now, Request(limit=limit))
    part = rng.choice(["bbox", "since", "until", "category", "status", "severity", "handling", "external_id", "several"])
    return _about(rng, rng.choice(visible), part, limit, rng.choice(["west", "south", "east", "north"]), rng.random() < 0.5)


def _ask_edges(rng: Random, made: Batch, oracle: Oracle) -> Iterator[Asked]:
    """One request for each edge of each part of a request, on either side of it, about a record of each treatment."""
    seen = [
        (reader, now, record, found)
        for reader, now in product([Reader(*r) for r in product(made.consumers, PURPOSES, CASES)], made.nows)
        for record in made.records
        if (found := oracle.released(record, reader, now)) is not None
    ]
    across = [s for s in seen if s[3].place and abs(s[3].place[0]) > 178]
    wanted = [(seen, "bbox", side, t) for side in ("west", "south", "east", "north") for t in FINEST_FIRST["place"]]
    wanted += [(seen, "bbox", "", "withhold")]
    wanted += [(across, "bbox", side, t) for side in ("west", "east") for t in FINEST_FIRST["place"]]
    wanted += [(seen, part, "", t) for part in ("since", "until") for t in (*FINEST_FIRST["occurred_at"], "withhold")]
    wanted += [(seen, name, "", t) for name in ("category", "status", "severity", "handling", "external_id") for t in ("clear", "withhold")]
    wanted += [(seen, "severity", "", "bands"), (seen, "external_id", "", "last")]
    for (some, part, side, treatment), beyond in product(wanted, (False, True)):
        name = {"bbox": "place", "since": "occurred_at", "until": "occurred_at"}.get(part, part)
        fit = [s for s in some if word(s[3].treatments[name]) == str(treatment)]
        if fit:
            yield _about(rng, rng.choice(fit), part, 1000, side, beyond)


def _about(rng: Random, seen: Seen, part: str, limit: int, side: str, beyond: bool) -> Asked:
    reader, now, record, found = seen
    if part == "several":
        parts = [_named(rng, p, record, found, rng.choice(["west", "north"]), False)[1] for p in ("bbox", "since", "category")]
        return Asked(reader, now, Request(**{k: v for named in parts for k, v in named.items()}, limit=limit))
    edge, named = _named(rng, part, record, found, side, beyond)
    return Asked(reader, now, Request(**named, limit=limit), (part, edge, record.values["external_id"]))


def _named(rng: Random, part: str, record: Record, found: Released, side: str, beyond: bool) -> tuple[str, dict[str, Any]]:
    """The edge, and what the request names."""
    if part == "bbox":
        edge, box = _box_at(rng, found, side, beyond)
        return edge, {"bbox": box}
    if part in ("since", "until"):
        edge, at = _time_at(part, record, found, beyond)
        # a short period takes another access path than a long or an open one
        other = {"until": at + timedelta(days=rng.choice([1, 30]))} if part == "since" else {"since": at - timedelta(days=6)}
        return edge, {part: at} | rng.choice([{}, other])
    value = found.values.get(part, record.values.get(part, {"status": "open", "severity": 3}.get(part)))
    edge = "asked or not" if found.treatments[part] == "withhold" else "equal | other"
    return edge, {"values": {part: _wanted(rng, part, value, beyond and edge != "asked or not")}}


def _wanted(rng: Random, name: str, value: Any, other: bool) -> tuple[Any, ...]:
    values = {
        "category": CATEGORIES,
        "status": STATUSES,
        "severity": (1, 2, 3, 4, 5),
        "handling": HANDLINGS,
        "external_id": ("none", "some"),
    }
    another = rng.choice([o for o in values[name] if o != value])
    return (another,) if other else rng.choice([(value,), (value, another)])


def _box_at(rng: Random, found: Released, side: str, beyond: bool) -> tuple[str, tuple[float, float, float, float]]:
    """A box with one border exactly through the released place, or 1e-7° beside it."""
    if found.place is None:
        return "asked or not", (-180.0, -90.0, 180.0, 90.0)
    lon, lat = found.place
    west, south, east, north = _around(rng, lon, lat)
    off = 1e-7 if beyond else 0.0
    box = {"west": west, "south": south, "east": east, "north": north}
    box[side] = {"west": lon + off, "south": lat + off, "east": lon - off, "north": lat - off}[side]
    edge = "antimeridian" if box["west"] > box["east"] and side in ("west", "east") else side
    return edge, (_degrees(box["west"], 180), _degrees(box["south"], 90), _degrees(box["east"], 180), _degrees(box["north"], 90))


def _around(rng: Random, lon: float, lat: float) -> tuple[float, float, float, float]:
    """A small box, one large enough for whole cells inside it, or one too large to list; across the antimeridian when it is near."""
    size = rng.choice([0.002, 0.05, 0.05, 1.5, 60.0])
    west, east = lon - size * rng.random() - 1e-6, lon + size * rng.random() + 1e-6
    if abs(lon) > 178 and rng.random() < 0.8:
        west, east = (west, -180 + size) if lon > 0 else (180 - size, east)
    return west, lat - size * rng.random() - 1e-6, east, lat + size * rng.random() + 1e-6


def _degrees(value: float, most: int) -> float:
    return round(min(max(value, -most), most), 9)


def _time_at(part: str, record: Record, found: Released, beyond: bool) -> tuple[str, datetime]:
    """The released time itself, or a microsecond on the other side of it; some time when it is withheld."""
    at = found.values.get("occurred_at")
    if at is None:
        return "asked or not", record.values["occurred_at"] + timedelta(days=-1 if part == "since" else 1)
    off = MICROSECOND if part == "since" else -MICROSECOND
    return "at | 1 µs off", at + off if beyond else at
