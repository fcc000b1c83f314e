"""Which records come out, with which values: the rules of docs and DESIGN §4, §5, §9, written once more, slowly.

A second opinion must not share a mistake with the first: this module imports nothing of `hub`, no geometry library, and computes in
whole numbers and fractions. An MOU is the mapping that its YAML file gives, a record the GeoJSON feature that was sent.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import floor
from typing import Any, TypeVar

from tests.policy.standing import LABELLED, came, state

TEXTS = ("external_id", "category", "status", "handling")
NUMBERS = ("severity",)
TIMES = ("occurred_at", "occurred_until", "reported_at", "resolved_at")
SEALED = ("title", "narrative", "address", "people", "phone", "vehicles", "extra")
DEFAULTS = {"handling": "TLP:AMBER"}
FINEST_FIRST: dict[str, tuple[Any, ...]] = {
    "place": ("clear", 100, 500, 2000),
    **dict.fromkeys(TIMES, ("clear", "PT1H", "P1D")),
    **dict.fromkeys((*TEXTS, *NUMBERS, *SEALED), ("clear",)),
}
STEPS = {"clear": timedelta(0), "PT1H": timedelta(hours=1), "P1D": timedelta(days=1)}
CELLS_PER_SIDE = {100: 1, 500: 5, 2000: 20}  # in 100 m cells
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
C = TypeVar("C")
GrantKey = tuple[str, int, str]  # MOU, version, grant or refusal
Spot = tuple[float, float]  # lon, lat in degrees
Area = tuple[tuple[tuple[Spot, ...], ...], ...]  # polygons of rings


# Places


def degrees(value: float) -> Fraction:
    """The number as it was written: a partner's JSON holds decimals."""
    return Fraction(repr(float(value)))


def columns_2k(row: int) -> int:
    m = 2 * row + 1 - 10_000
    return 80_000 * (10**8 - m * m) // (4 * 10**8 + m * m)


@lru_cache(maxsize=500_000)
def cell(lon: float, lat: float, grid_m: int) -> tuple[int, int]:
    """Row from the south pole and column from the antimeridian."""
    row = min(floor((degrees(lat) + 90) / Fraction(180, 200_000)), 199_999)
    around = columns_2k(row // 20) * 20
    column = floor((degrees(-180.0 if lon == 180 else lon) + 180) / Fraction(360, around))
    side = CELLS_PER_SIDE[grid_m]
    return row // side, column // side


@lru_cache(maxsize=500_000)
def centre(row: int, column: int, grid_m: int) -> Spot:
    """In degrees with seven decimals, halves up."""
    in_2k = 20 // CELLS_PER_SIDE[grid_m]
    width = Fraction(360, columns_2k(row // in_2k) * in_2k)
    height = Fraction(180, 10_000 * in_2k)
    return _seven((column + Fraction(1, 2)) * width - 180), _seven((row + Fraction(1, 2)) * height - 90)


def _seven(exact: Fraction) -> float:
    return floor(exact * 10**7 + Fraction(1, 2)) / 1e7


def margin(lon: float, lat: float) -> Fraction:
    """How far a position is from where the rounding of a double could decide, in 100 m cells: from the nearest border, unless it is
    one that a double can be on; zero when one of its centres lies half-way between two seventh decimals."""
    row, column = cell(lon, lat, 100)
    around = columns_2k(row // 20) * 20
    for side in CELLS_PER_SIDE.values():
        exact = (column // side + Fraction(1, 2)) * Fraction(360 * side, around)
        if (exact * 10**7 + Fraction(1, 2)).denominator == 1:
            return Fraction(0)
    places = [(degrees(lat) + 90) / Fraction(180, 200_000)] if lat not in (-90, 0, 90) else []
    places += [(degrees(lon) + 180) / Fraction(360, around)] if lon not in (-180, 0, 180) else []
    return min((abs(exact - round(exact)) for exact in places), default=Fraction(1))


def area(geometry: Mapping[str, Any]) -> Area:
    """A GeoJSON Polygon or MultiPolygon."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return tuple(tuple(tuple((float(x), float(y)) for x, y in ring) for ring in polygon) for polygon in polygons)


def covers(where: Area, spot: Spot) -> bool:
    """Whether a spot lies in an area or on its border (that of a hole included)."""
    return where_is(where, spot) != "outside"


@lru_cache(maxsize=500_000)
def where_is(where: Area, spot: Spot) -> str:
    """inside, border or outside."""
    found = {_in_polygon(rings, spot) for rings in where}
    return "border" if "border" in found else "inside" if "inside" in found else "outside"


@lru_cache(maxsize=500_000)
def touches(where: Area, row: int, column: int) -> bool:
    """Whether a 2 km cell, its border included, has a point in common with an area."""
    width, height = Fraction(360, columns_2k(row)), Fraction(180, 10_000)
    west, south = column * width - 180, row * height - 90
    box = (west, south, west + width, south + height)
    crossed = any(_meets(a, b, box) for rings in where for ring in rings for a, b in pairwise(ring))
    return crossed or any(_in_polygon(rings, (west, south)) != "outside" for rings in where)


def _meets(a: Spot, b: Spot, box: tuple[Fraction, ...]) -> bool:
    """Whether a line from `a` to `b` has a point in a box: it is cut off at each side in turn."""
    (ax, ay), (bx, by) = ([Fraction(v) for v in spot] for spot in (a, b))
    first, last = Fraction(0), Fraction(1)
    for start, step, low, high in ((ax, bx - ax, box[0], box[2]), (ay, by - ay, box[1], box[3])):
        if step == 0:
            if not low <= start <= high:
                return False
            continue
        enters, leaves = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, enters), min(last, leaves)
    return first <= last


def _in_polygon(rings: Sequence[Sequence[Spot]], spot: tuple[float | Fraction, float | Fraction]) -> str:
    inside = False
    x, y = Fraction(spot[0]), Fraction(spot[1])
    for ring in rings:
        for (ax, ay), (bx, by) in pairwise(ring):
            if max(ay, by) < spot[1] or min(ay, by) > spot[1]:
                continue
            side = (Fraction(bx) - Fraction(ax)) * (y - Fraction(ay)) - (x - Fraction(ax)) * (Fraction(by) - Fraction(ay))
            if side == 0 and min(ax, bx) <= spot[0] <= max(ax, bx):
                return "border"
            if (ay > spot[1]) != (by > spot[1]):
                inside ^= (side > 0) == (by > ay)
    return "inside" if inside else "outside"


# Times


def moment(text: str | datetime) -> datetime:
    return (datetime.fromisoformat(text) if isinstance(text, str) else text).astimezone(UTC)


def span(text: str) -> timedelta:
    weeks, days, hours, minutes = re.fullmatch(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", text).groups(default="0")  # type: ignore[union-attr]
    return timedelta(weeks=int(weeks), days=int(days), hours=int(hours), minutes=int(minutes))


def rounded(at: datetime, step: timedelta) -> datetime:
    """The beginning of the hour or day (UTC) that `at` lies in."""
    return EPOCH + (at - EPOCH) // step * step if step else at


# Who may see what


@dataclass(frozen=True)
class Reader:
    organisation: str
    purpose: str
    case: str | None = None


@dataclass(frozen=True)
class Request:
    """`bbox` is west, south, east, north; times are included at both ends; `values` are exact values of clear fields."""

    bbox: tuple[float, float, float, float] | None = None
    since: datetime | None = None
    until: datetime | None = None
    values: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    limit: int = 1000


@dataclass(frozen=True)
class Record:
    """A published feature, read: clear values, times, exact place, sealed values."""

    provider: str
    lon: float
    lat: float
    values: Mapping[str, Any]

    @classmethod
    def of(cls, provider: str, feature: Mapping[str, Any]) -> "Record":
        lon, lat = feature["geometry"]["coordinates"]
        given = DEFAULTS | {k: v for k, v in feature["properties"].items() if v is not None}
        return cls(provider, lon, lat, {k: moment(v) if k in TIMES else v for k, v in given.items()})

    def spot(self, grid_m: int) -> Spot:
        return centre(*cell(self.lon, self.lat, grid_m), grid_m)


@dataclass(frozen=True)
class Grant:
    """A grant of a version of an MOU, and how far that version came."""

    key: GrantKey
    provider: str
    consumer: str
    since: datetime
    until: datetime
    data: Mapping[str, Any]
    came: str

    def treatment(self, name: str) -> Any:
        """clear, a grid (m), PT1H, P1D, ("bands", their beginnings), ("last", characters), or withhold: what is not listed is withheld."""
        given = self.data["fields"].get(name, "withhold")
        if not isinstance(given, dict):
            return given
        kind, argument = next(iter(given.items()))
        return argument if kind in ("grid_m", "round_to") else (kind, tuple(argument) if kind == "bands" else argument)

    @property
    def grid_m(self) -> int:
        """Where the grant tests a place; an exact one at the finest grid."""
        return 100 if self.treatment("place") == "clear" else self.treatment("place")

    @property
    def conditions(self) -> Sequence[Mapping[str, Any]]:
        return () if self.data["where"] == "everything" else self.data["where"]


@dataclass(frozen=True)
class Refusal:
    """A refusal of a version of an MOU, and how far that version came; `fields` None: of whole records."""

    key: GrantKey
    provider: str
    consumer: str
    since: datetime
    until: datetime
    data: Mapping[str, Any]
    came: str

    @property
    def fields(self) -> Sequence[str] | None:
        return self.data.get("fields")

    @property
    def conditions(self) -> Sequence[Mapping[str, Any]]:
        return () if self.data["where"] == "everything" else self.data["where"]


@dataclass(frozen=True)
class Released:
    """A record as a reader gets it; `grants` names the refusals too that hold fields of it back. `place` is the released position (of an
    exact one its 100 m cell), None when withheld."""

    grants: frozenset[GrantKey]
    treatments: Mapping[str, Any]
    place: Spot | None
    values: Mapping[str, Any]


class Oracle:
    """Decides for a set of MOUs; `areas` are the boundary files by name, `steps` how far a version was brought, otherwise into force."""

    def __init__(
        self, mous: Sequence[Mapping[str, Any]], areas: Mapping[str, Area], steps: Mapping[tuple[str, int], str] | None = None
    ) -> None:
        self._came = came(mous, steps or {})
        self._areas = {(mou["mou"], n): areas[pinned["file"]] for mou in mous for n, pinned in mou.get("jurisdictions", {}).items()}
        # What was worked out before, because the same is asked very often.
        self._met: dict[Any, bool] = {}  # by grant and record: an external id names one record of a provider
        self._live: dict[Any, Sequence[Grant]] = {}  # by reader and moment
        self._refusing: dict[Any, Sequence[Refusal]] = {}  # by organisation and moment
        self._finest: dict[Any, Mapping[str, Any]] = {}  # by grants and refusals
        self.grants = [self._clause(Grant, mou, grant) for mou in mous for grant in mou["grants"]]
        self._by_consumer: dict[str, list[Grant]] = {}
        self.refusals = [self._clause(Refusal, mou, refusal) for mou in mous for refusal in mou.get("refuse", ())]
        for grant in self.grants:
            self._by_consumer.setdefault(grant.consumer, []).append(grant)

    def _clause(self, kind: Callable[..., C], mou: Mapping[str, Any], data: Mapping[str, Any]) -> C:
        since, until = _midnight(mou["in_force"]["from"]), _midnight(mou["in_force"]["until"]) + timedelta(days=1)
        key = (mou["mou"], mou["version"], data["id"])
        return kind(key, mou["parties"]["provider"], mou["parties"]["consumer"], since, until, data, self._came[key[:2]])

    def holds(self, grant: Grant | Refusal, condition: Mapping[str, Any], record: Record) -> bool:
        """A condition tests the record's own value, whether or not it is released; a place the centre of the grant's cell. A refusal
        reaches every 2 km cell that the area touches."""
        if "within" in condition:
            names = [condition["within"]] if isinstance(condition["within"], str) else condition["within"]
            shapes = [self._areas[grant.key[0], name] for name in names]
            if isinstance(grant, Refusal):
                return all(touches(shape, *cell(record.lon, record.lat, 2000)) for shape in shapes)
            return all(covers(shape, record.spot(grant.grid_m)) for shape in shapes)
        value = record.values.get(condition["field"])
        if value is None:
            return False
        if "one_of" in condition:
            return value in condition["one_of"]
        return bool(value <= condition["at_most"] if "at_most" in condition else value >= condition["at_least"])

    def meets(self, grant: Grant | Refusal, record: Record) -> bool:
        """Whether the record meets what doesn't depend on who asks or when, nor on how far the version came."""
        key = (grant.key, record.provider, record.values["external_id"])
        if key not in self._met:
            self._met[key] = grant.provider == record.provider and all(self.holds(grant, c, record) for c in grant.conditions)
        return self._met[key]

    def labelled(self, grant: Grant | Refusal, record: Record) -> bool:
        return grant.came in LABELLED and self.meets(grant, record)

    def labels(self, record: Record) -> frozenset[GrantKey]:
        return frozenset(c.key for c in (*self.grants, *self.refusals) if self.labelled(c, record))

    @staticmethod
    def granted(grant: Grant, reader: Reader) -> bool:
        """Whether the grant is for such a request, if its version is in force."""
        granted = reader.purpose in grant.data["purposes"] and "query" in grant.data["actions"]
        granted = granted and (reader.case is not None or "case_reference" not in grant.data)
        return grant.consumer == reader.organisation and granted

    @classmethod
    def live(cls, grant: Grant, reader: Reader, now: datetime) -> bool:
        return cls.granted(grant, reader) and state(grant, now) == "active"

    @staticmethod
    def in_window(grant: Grant, record: Record, now: datetime, which: Sequence[str] = ("lookback", "embargo")) -> bool:
        """The whole released hour (or day) lies within [now - lookback, now - embargo)."""
        window = grant.data.get("occurred", {})
        step = STEPS.get(grant.treatment("occurred_at"), timedelta(0))
        begin = rounded(record.values["occurred_at"], step)
        old = "lookback" in which and "lookback" in window and begin < now - span(window["lookback"])
        end = begin + (step or timedelta(microseconds=1))  # a time is a microsecond long
        new = "embargo" in which and "embargo" in window and end > now - span(window["embargo"])
        return not old and not new

    def refused(self, reader: Reader, now: datetime) -> bool:
        """Whether no grant at all holds for the reader."""
        return not self._live_for(reader, now)

    def _live_for(self, reader: Reader, now: datetime) -> Sequence[Grant]:
        if (reader, now) not in self._live:
            self._live[reader, now] = [g for g in self._by_consumer.get(reader.organisation, ()) if self.live(g, reader, now)]
        return self._live[reader, now]

    def against(self, record: Record, reader: Reader, now: datetime) -> Sequence[Refusal]:
        """The refusals that reach the record: of any MOU of its provider with the reader's organisation, whatever the purpose."""
        key = (reader.organisation, now)
        if key not in self._refusing:
            self._refusing[key] = [r for r in self.refusals if r.consumer == reader.organisation and state(r, now) == "active"]
        return [r for r in self._refusing[key] if self.labelled(r, record)]

    def released(self, record: Record, reader: Reader, now: datetime) -> Released | None:
        """The record as the reader gets it, or None: invisible."""
        open_ = [g for g in self._live_for(reader, now) if self.labelled(g, record) and self.in_window(g, record, now)]
        refusals = self.against(record, reader, now)
        if not open_ or any(r.fields is None for r in refusals):
            return None
        keys = frozenset(c.key for c in (*open_, *refusals))
        if keys not in self._finest:
            self._finest[keys] = _treatments(open_, refusals)
        treatments = self._finest[keys]
        tier = treatments["place"]
        place = None if tier == "withhold" else record.spot(100 if tier == "clear" else tier)
        return Released(keys, treatments, place, _values(record, treatments))

    def shown(self, record: Record, reader: Reader, now: datetime, request: Request) -> Released | None:
        """The same for a request: what it names is compared with what is released."""
        found = self.released(record, reader, now)
        return found if found and all(part(found) for part in parts(request).values()) else None


def parts(request: Request) -> dict[str, Any]:
    """The tests that a request makes of a released record, by name."""
    found: dict[str, Any] = {}
    if request.bbox is not None:
        found["bbox"] = lambda r: in_box(request.bbox, r.place)
    if request.since is not None:
        found["since"] = lambda r: "occurred_at" in r.values and r.values["occurred_at"] >= request.since
    if request.until is not None:
        found["until"] = lambda r: "occurred_at" in r.values and r.values["occurred_at"] <= request.until
    for name, wanted in request.values.items():
        found[name] = lambda r, name=name, wanted=wanted: r.values.get(name) in wanted
    return found


def in_box(box: tuple[float, float, float, float] | None, place: Spot | None) -> bool:
    """Borders included; west > east crosses the antimeridian; a withheld place lies in no box."""
    if box is None or place is None:
        return box is None
    west, south, east, north = box
    lon, lat = place
    across = west <= lon <= east if west <= east else (lon >= west or lon <= east)
    return across and south <= lat <= north


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def word(treatment: Any) -> str:
    """The treatment without the measure that its grant gives it."""
    return treatment[0] if isinstance(treatment, tuple) else str(treatment)


def _treatments(grants: Sequence[Grant], refusals: Sequence[Refusal]) -> Mapping[str, Any]:
    """The finest of each field, unless a refusal holds it back."""
    held = {name for r in refusals for name in r.fields or ()}
    return {name: _finest(name, [] if name in held else [g.treatment(name) for g in grants]) for name in FINEST_FIRST}


def _finest(name: str, given: Sequence[Any]) -> Any:
    """Of two bandings the one with more bands, then the one whose bands begin later; of two ends the longer."""
    known = next((t for t in FINEST_FIRST[name] if t in given), None)
    measured = [t for t in given if isinstance(t, tuple)]
    hidden = "match_only" if "match_only" in given else "withhold"
    return known or max(measured, key=lambda t: (len(t[1]), t[1]) if t[0] == "bands" else t[1], default=hidden)


def _values(record: Record, treatments: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `properties` but the provider; what is withheld, or not there, is absent. How a time is rounded is said even when
    the record has none."""
    out: dict[str, Any] = {}
    for name, treatment in treatments.items():
        value = record.values.get(name)
        if name == "place":
            out |= {} if treatment == "withhold" else {"place_grid_m": 0 if treatment == "clear" else treatment}
        elif name in TIMES and treatment != "withhold":
            out |= {} if value is None else {name: rounded(value, STEPS[treatment])}
            out |= {} if treatment == "clear" else {f"{name}_round_to": treatment}
        elif word(treatment) == "bands":
            begun = [edge for edge in treatment[1] if value is not None and edge <= value]
            out |= {f"{name}_bands": list(treatment[1])} | ({name: begun[-1]} if begun else {})
        elif word(treatment) == "last":
            out |= {name: "…" + value[-treatment[1] :], f"{name}_last": treatment[1]} if value is not None else {}
        elif treatment == "clear" and value is not None:
            out[name] = value
    return out
