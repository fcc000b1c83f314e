"""Pairs of records that differ only in what their reader's MOU does not release, and the edges between the two."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.geo import ROWS_2K, TIERS, Point, cell, columns, snap
from tests.world import feature, grant

Feature = Mapping[str, Any]
Pair = tuple[Feature, Feature]
CANARY = "Sealed and granted to nobody"
HIDDEN = {"title": CANARY, "address": CANARY, "people": [{"name": CANARY}], "phone": "555 0100", "vehicles": [{"plate": CANARY}]}


ASKED_FOR, NOT_TO_BE_ASKED_FOR = "+44 113 496 0000", "+44 113 496 0001"
ONLY_THEFT = {"field": "category", "one_of": ["theft"]}


@dataclass(frozen=True)
class Scenario:
    """A provider whose records are all twins, and the reader they must look alike to. `grid_m`: the reader's finest grid."""

    name: str
    grants: Sequence[Mapping[str, Any]]
    pairs: Sequence[Pair]
    grid_m: int = 500
    jurisdiction: Mapping[str, Any] | None = None
    refuse: Sequence[Mapping[str, Any]] = ()

    @property
    def reader(self) -> str:
        return f"reader-{self.name}"

    @property
    def provider(self) -> str:
        return f"provider-{self.name}"


def corners(lon: float, lat: float, grid_m: int) -> tuple[Point, Point]:
    """Two points of one cell, as far apart as they can be: just inside its south-western and its north-eastern corner."""
    found = cell(Point(lon, lat), grid_m)
    side = 20 // TIERS[grid_m]
    width, height = 360 / (columns(found.row // side) * side), 180 / (ROWS_2K * side)
    west, south = found.column * width - 180, found.row * height - 90
    one = Point(round(west + width * 0.01, 7), round(south + height * 0.01, 7))
    other = Point(round(west + width * 0.99, 7), round(south + height * 0.99, 7))
    assert cell(one, grid_m) == cell(other, grid_m) == found
    return one, other


PLACES = {"city": (-79.3838, 43.6534), "date line": (179.9999, -17.7), "far north": (15.6, 78.22)}
DAY = datetime(2021, 3, 4, tzinfo=UTC)
HOUR = DAY + timedelta(hours=13)


def apart(name: str, where: str, grid_m: int, **properties: Any) -> Pair:
    """Twins in two corners of one cell."""
    one, other = corners(*PLACES[where], grid_m)
    return feature(name, *one, **properties), feature(name, *other, **properties)


def at(name: str, one: datetime, other: datetime, **properties: Any) -> Pair:
    """Twins at one place, at two times."""
    return feature(name, occurred_at=one.isoformat(), **properties), feature(name, occurred_at=other.isoformat(), **properties)


def unlike(name: str, one: Mapping[str, Any], other: Mapping[str, Any], **properties: Any) -> Pair:
    """Twins with one place and time whose other properties differ."""
    return feature(name, **properties, **one), feature(name, **properties, **other)


LAST = timedelta(microseconds=1)


def scenarios(now: datetime) -> list[Scenario]:
    """Each way in which twins can differ. `now` places the windows: their bound lies between the stored times of the twins."""
    finest = {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": {"grid_m": 100}}
    coarse = {"category": "clear", "occurred_at": {"round_to": "P1D"}, "place": {"grid_m": 2000}}
    middle = finest | {"place": {"grid_m": 500}}
    old, new = _hour(now - timedelta(days=40)), _hour(now - timedelta(days=3))
    return [
        Scenario("cell100", [grant(fields=finest)], [apart(f"a{n}", w, 100) for n, w in enumerate(PLACES)], 100),
        Scenario(
            "cell500",
            [grant(fields=middle | {"narrative": "clear"}, where=[{"field": "place", "within": "west"}])],
            [apart(f"b{n}", w, 500, narrative="The same.") for n, w in enumerate(PLACES)],
            500,
            west_of_centres(500),
        ),
        Scenario("cell2k", [grant(fields=coarse)], [apart(f"c{n}", w, 2000) for n, w in enumerate(PLACES)], 2000),
        Scenario(
            "hour",
            [
                grant("all", fields=middle, where=[{"field": "category", "one_of": ["theft"]}]),
                _windowed("lookback", "fire", middle, now, old + timedelta(minutes=30)),
                _windowed("embargo", "medical", middle, now, new + timedelta(minutes=30)),
            ],
            [
                at("d0", HOUR, HOUR + timedelta(hours=1) - LAST),
                at("d1", HOUR + timedelta(minutes=59), HOUR + timedelta(minutes=1)),
                at("d2", HOUR + timedelta(minutes=2), HOUR + timedelta(minutes=58)),
                at("d3", old + timedelta(minutes=2), old + timedelta(minutes=58), category="fire"),
                at("d4", new + timedelta(minutes=2), new + timedelta(minutes=58), category="medical"),
            ],
        ),
        Scenario(
            "day",
            [grant(fields=coarse)],
            [at("e0", DAY, DAY + timedelta(days=1) - LAST), at("e1", DAY + timedelta(hours=23), DAY + timedelta(hours=1))],
            2000,
        ),
        Scenario(
            "withheld",
            [grant(fields={"category": "clear", "place": {"grid_m": 500}})],
            [
                unlike("f0", {"status": "open", "severity": 1, "handling": "TLP:GREEN"}, {"status": "closed", "severity": 5}),
                unlike("f1", {"status": "active", "severity": 3}, {}),
                unlike("f2", HIDDEN | {"narrative": CANARY, "extra": {"n": 1}}, {}),
                unlike("f3", {"narrative": "short"}, {"narrative": CANARY * 40}),
                unlike("f4", {"occurred_at": "2021-03-04T13:37:11Z"}, {"occurred_at": "2019-12-24T01:00:00Z"}),
                unlike("f5", {"reported_at": "2021-03-05T10:00:00Z", "resolved_at": "2021-03-06T10:00:00Z"}, {}),
            ],
        ),
        Scenario(
            "placeless",
            [grant(fields={"category": "clear", "occurred_at": {"round_to": "PT1H"}})],
            [
                (feature("g0", *PLACES["city"]), feature("g0", *PLACES["date line"])),
                (feature("g1", -70.9, -53.16), feature("g1", *PLACES["far north"])),
                (feature("g2", *PLACES["far north"]), feature("g2", -70.9, -53.16)),
            ],
        ),
        Scenario(
            "mixed",
            [
                grant("fine", where=[{"field": "category", "one_of": ["theft"]}], fields=finest | {"occurred_at": "clear"}),
                grant("coarse", fields=coarse | {"narrative": "clear"}),
                grant("planning", ["other-purpose"], fields=coarse),
            ],
            [
                apart("h0", "city", 100),
                apart("h1", "city", 2000, category="fire"),
                apart("h2", "date line", 2000, category="fire"),
                at("h3", DAY, DAY + timedelta(hours=23), category="fire"),
            ],
            2000,
        ),
        Scenario(
            "refused",
            [grant(fields=middle | {"severity": "clear", "narrative": "clear"})],
            [
                *(apart(f"j{n}", w, 500, severity=5, narrative=CANARY) for n, w in enumerate(PLACES)),
                *(apart(f"k{n}", w, 500, category="fire") for n, w in enumerate(PLACES)),
                *(apart(f"l{n}", w, 500, severity=1) for n, w in enumerate(PLACES)),
                unlike("m0", {"category": "medical", "narrative": CANARY}, {"category": "medical", "severity": 2}),
            ],
            500,
            west_of_centres(500),
            [
                _refused("fires", [{"field": "category", "one_of": ["fire"]}, {"field": "place", "within": "west"}]),
                _refused("worst", [{"field": "severity", "at_least": 4}, {"field": "place", "within": "west"}], ["category", "narrative"]),
                _refused("care", [{"field": "category", "one_of": ["medical"]}], ["place", "narrative", "severity"]),
            ],
        ),
        Scenario(
            "measured",
            [
                grant("ends", fields=middle | {"severity": {"bands": [2, 4]}, "phone": {"last": 4}, "title": {"last": 1}}),
                grant("fewer", fields={"severity": {"bands": [2]}, "phone": {"last": 2}, "category": "clear"}),
            ],
            [
                unlike("n0", {"severity": 4, "phone": "+1 416 555 0199"}, {"severity": 5, "phone": "0199"}),
                unlike("n1", {"severity": 2, "title": "A fight"}, {"severity": 3, "title": "t"}),
                unlike("n2", {"severity": 1}, {}),
            ],
        ),
        Scenario(
            "matched",
            [
                grant("ask", actions=["match"], fields={"phone": "match_only", "category": "clear"}, where=[ONLY_THEFT]),
                grant("look", fields={"category": "clear", "place": {"grid_m": 500}}),
            ],
            [
                unlike("o0", {"people": HIDDEN["people"], "narrative": CANARY}, {}, phone=ASKED_FOR),
                apart("o1", "city", 500, phone=ASKED_FOR),
                unlike("o2", {"phone": NOT_TO_BE_ASKED_FOR}, {"phone": "+44 113 496 0002"}, category="fire"),
                unlike("o3", {"vehicles": [{"plate": "X"}]}, {}),
            ],
        ),
        Scenario("exact", [grant(fields=finest | {"place": "clear"})], [apart("i0", "city", 100), apart("i1", "date line", 100)], 100),
    ]


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _refused(name: str, where: Sequence[Mapping[str, Any]], fields: Sequence[str] | None = None) -> dict[str, Any]:
    return {"id": name, "dataset": "incidents", "where": where} | ({"fields": fields} if fields else {})


def _windowed(which: str, category: str, fields: Mapping[str, Any], now: datetime, bound: datetime) -> dict[str, Any]:
    """A grant whose window begins, or ends, at `bound` for some minutes from `now` on."""
    span = f"PT{int((now - bound).total_seconds() // 60)}M"
    return grant(which, fields=fields, where=[{"field": "category", "one_of": [category]}], occurred={which: span})


def west_of_centres(grid_m: int) -> dict[str, Any]:
    """A jurisdiction that holds the centre of each place's cell and, of the cell, little more than its western half."""
    parts = []
    for place in PLACES.values():
        centre = snap(Point(*place), grid_m)
        one, _ = corners(*place, grid_m)
        half = centre.lon - one.lon
        west, east, south, north = one.lon - half / 2, centre.lon + half / 20, centre.lat - 0.1, centre.lat + 0.1
        parts.append([[[west, south], [east, south], [east, north], [west, north], [west, south]]])
    return {"type": "MultiPolygon", "coordinates": parts}


def pair_boxes(one: Feature, other: Feature, grid_m: int) -> Iterator[tuple[float, float, float, float]]:
    """Boxes (west, south, east, north) whose edges cut between twins, touch them, or touch the centre of their cell."""
    a, b = _place(one), _place(other)
    lon, lat = (a.lon + b.lon) / 2, (a.lat + b.lat) / 2
    south, north = max(-90.0, lat - 0.2), min(90.0, lat + 0.2)
    yield lon, south, min(180.0, lon + 0.4), north
    yield max(-180.0, lon - 0.4), south, lon, north
    yield max(-180.0, lon - 0.4), south, min(180.0, lon + 0.4), lat
    yield lon, -90.0, max(-180.0, lon - 1.0), 90.0  # round the earth, across the antimeridian
    yield -180.0, lat, 180.0, 90.0
    for point in (a, b):
        yield point.lon, point.lat, point.lon, point.lat
        yield _around(point, 1e-6)
        centre = snap(point, grid_m)
        yield centre.lon, centre.lat, centre.lon, centre.lat
        yield max(-180.0, centre.lon - 0.2), south, centre.lon - 1e-7, north


def _around(point: Point, by: float) -> tuple[float, float, float, float]:
    return max(-180.0, point.lon - by), max(-90.0, point.lat - by), min(180.0, point.lon + by), min(90.0, point.lat + by)


def pair_times(one: Feature, other: Feature) -> Iterator[str]:
    """Instants and intervals whose ends cut between twins, touch them, or touch their released hour or day."""
    a, b = (datetime.fromisoformat(twin["properties"]["occurred_at"]) for twin in (one, other))
    middle = a + (b - a) / 2
    hour, day = _hour(a), a.replace(hour=0, minute=0, second=0, microsecond=0)
    for instant in dict.fromkeys((a, middle, hour, day)):
        yield _text(instant)
    for instant in dict.fromkeys((a, b, middle, hour)):
        yield f"{_text(instant)}/.."
        yield f"../{_text(instant)}"
    early, late = min(a, b), max(a, b)
    yield f"{_text(early)}/{_text(late)}"
    yield f"{_text(middle)}/{_text(middle + timedelta(days=3))}"  # short enough for the access path `time`
    yield f"{_text(middle - timedelta(days=3))}/{_text(middle)}"
    yield f"{_text(hour)}/{_text(hour + timedelta(hours=1) - LAST)}"
    yield f"{_text(day + LAST)}/{_text(day + timedelta(days=1))}"


def _place(twin: Feature) -> Point:
    return Point(*twin["geometry"]["coordinates"])


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
