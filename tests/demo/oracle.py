"""What each organisation sees of the demo's rows, worked out in plain Python: it knows nothing of mappings, MOU files or the database.

SHARES says by hand what `policies/demo/*.yaml` say; only the cells are the hub's own (tests/test_cells.py holds them).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import shapely
from shapely.geometry import shape

from hub.demo.sources import TORONTO, WEST_YORKSHIRE, Source
from hub.geo import Cell, Point, cell

BOUNDARIES = Path(__file__).parents[2] / "policies" / "demo" / "boundaries"
CATEGORIES = {
    "Assault": "assault",
    "Auto Theft": "vehicle-theft",
    "Break and Enter": "burglary",
    "Robbery": "robbery",
    "Theft Over": "theft",
    "Anti-social behaviour": "disorder",
    "Bicycle theft": "theft",
    "Burglary": "burglary",
    "Criminal damage and arson": "property-damage",
    "Drugs": "drugs",
    "Other crime": "other",
    "Other theft": "theft",
    "Possession of weapons": "weapons",
    "Public order": "disorder",
    "Shoplifting": "theft",
    "Theft from the person": "theft",
    "Vehicle crime": "theft",
    "Violence and sexual offences": "assault",
}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Shown = tuple[str, float, float, datetime]  # category, lon, lat and time as they are released


@dataclass(frozen=True)
class Share:
    """What one MOU gives to one organisation for one purpose. `grid_m` None: the exact place; `step` None: the time as it is."""

    mou: str
    provider: Source
    reader: str
    purpose: str
    categories: tuple[str, ...]
    area: str | None
    grid_m: int | None
    step: timedelta | None
    lookback: timedelta
    embargo: timedelta
    case: bool = False
    actions: tuple[str, ...] = ("query",)

    @property
    def name(self) -> str:
        """Organisation, purpose and tier."""
        return f"{self.reader} · {self.purpose} · {self.grid_m or 'exact'}"


SHARES = (
    Share(
        "MOU-DEMO-001",
        TORONTO,
        "health-demo",
        "public-health.prevention",
        ("assault", "robbery", "burglary"),
        "downtown",
        grid_m=500,
        step=HOUR,
        lookback=timedelta(days=7300),
        embargo=timedelta(hours=4),
        actions=("query", "export"),
    ),
    Share(
        "MOU-DEMO-002",
        TORONTO,
        "housing-demo",
        "housing.safety",
        ("burglary",),
        None,
        grid_m=2000,
        step=DAY,
        lookback=timedelta(days=7300),
        embargo=timedelta(days=7),
    ),
    Share(
        "MOU-DEMO-003",
        TORONTO,
        "neighbours-demo",
        "community.safety",
        ("burglary", "robbery", "theft", "vehicle-theft"),
        "downtown-east",
        grid_m=500,
        step=DAY,
        lookback=timedelta(days=5475),
        embargo=timedelta(days=14),
    ),
    Share(
        "MOU-DEMO-004",
        TORONTO,
        "health-demo",
        "public-health.outreach",
        ("assault",),
        "church-yonge",
        grid_m=100,
        step=HOUR,
        lookback=timedelta(days=3650),
        embargo=DAY,
    ),
    Share(
        "MOU-DEMO-005",
        WEST_YORKSHIRE,
        "housing-demo",
        "housing.tenancy-support",
        ("disorder", "property-damage", "burglary"),
        "leeds-bradford",
        grid_m=500,
        step=DAY,
        lookback=timedelta(days=5475),
        embargo=timedelta(days=30),
        actions=("query", "export"),
    ),
    Share(
        "MOU-DEMO-006",
        TORONTO,
        "west-yorkshire-police-demo",
        "policing.investigation",
        ("robbery", "vehicle-theft"),
        None,
        grid_m=None,
        step=None,
        lookback=timedelta(days=7300),
        embargo=HOUR,
        case=True,
        actions=("query", "export"),
    ),
    Share(
        "MOU-DEMO-007",
        WEST_YORKSHIRE,
        "toronto-police-demo",
        "policing.investigation",
        ("robbery", "weapons", "drugs"),
        None,
        grid_m=None,
        step=None,
        lookback=timedelta(days=4380),
        embargo=timedelta(days=30),
        case=True,
    ),
)


@dataclass(frozen=True)
class Happened:
    """One acceptable row."""

    source: Source
    category: str
    at: datetime
    place: Point


def happened(source: Source, row: Mapping[str, str]) -> Happened | None:
    """None: the hub has to refuse the row."""
    at = toronto_time(row["occurrencedate"][:10], row["occurrencehour"]) if source is TORONTO else month(row["Month"])
    lon, lat = (row["Long"], row["Lat"]) if source is TORONTO else (row["Longitude"], row["Latitude"])
    if at is None or not lon:
        return None
    kind = row["MCI"] if source is TORONTO else row["Crime type"]
    return Happened(source, CATEGORIES[kind], at, Point(float(lon), float(lat)))


@cache
def toronto_time(day: str, hour: str) -> datetime | None:
    """When the hour of that day (2019/03/31) began; None when the clocks skipped that hour or went through it twice."""
    local = datetime.strptime(f"{day} {hour}", "%Y/%m/%d %H").replace(tzinfo=ZoneInfo("America/Toronto"))
    return local.astimezone(UTC) if local.utcoffset() == local.replace(fold=1).utcoffset() else None


@cache
def month(said: str) -> datetime:
    """When it (2018-07) began in England."""
    return datetime.strptime(said, "%Y-%m").replace(tzinfo=ZoneInfo("Europe/London")).astimezone(UTC)


def shown(share: Share, incidents: Iterable[Happened], now: datetime) -> Counter[Shown]:
    """What the organisation gets of `incidents` at `now`."""
    found: Counter[Shown] = Counter()
    for incident in incidents:
        if incident.source is not share.provider or incident.category not in share.categories:
            continue
        begins, ends = released_time(incident.at, share.step)
        if begins < now - share.lookback or ends > now - share.embargo:
            continue
        where = cell_of(incident.place, share.grid_m or 100)
        if share.area is None or inside(share.area, where):
            found[(incident.category, *(where.centre if share.grid_m else incident.place), begins)] += 1
    return found


@cache
def released_time(at: datetime, step: timedelta | None) -> tuple[datetime, datetime]:
    """The hour or day in UTC that is released: a window holds for the whole of it."""
    if step is None:
        return at, at
    begins = at.replace(minute=0, second=0, microsecond=0, **({"hour": 0} if step == DAY else {}))
    return begins, begins if begins == at else begins + step


cell_of = cache(cell)  # many incidents have the same place


@cache
def inside(area: str, where: Cell) -> bool:
    """Whether the middle of the cell lies in an MOU's area."""
    return bool(boundary(area).covers(shapely.Point(*where.centre)))


@cache
def boundary(area: str) -> shapely.Geometry:
    return shape(orjson.loads((BOUNDARIES / f"{area}.geojson").read_bytes())["geometry"])


def by_category(found: Counter[Shown]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (category, *_), count in found.items():
        counts[category] += count
    return dict(sorted(counts.items()))
