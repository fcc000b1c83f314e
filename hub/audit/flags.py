"""Flags: accesses that somebody should look at, because they are unlike what the same client or person did before. Pure.

Leaves are folded one by one, in their order: `look` compares an access with the `Past` of its subject, and adds it to that. The leaves
about one owner's data are looked at apart from all others, and those of the hub's own log (what gave nothing) apart too: so a flag tells
an owner nothing of another's data, and the same leaves give the same flags. Each kind is raised once a day and subject at most.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from math import cos, radians
from typing import Any, NamedTuple

from hub.audit.accesses import Access
from hub.geo import Box

STATES = ("new", "looked-at", "explained", "escalated")
DAYS = 60  # with accesses, that a past remembers
CITED = 100  # leaves that a flag cites, the newest
AREAS, PURPOSES, CELLS = 40, 100, 80  # that a past remembers, the newest
KM_PER_DEGREE = 111.2  # of latitude


@dataclass(frozen=True, slots=True)
class Limits:
    """What is unusual. docs/reference/settings.md says each, with HUB_FLAG_ before its name."""

    past_accesses: int = 50
    past_days: int = 10
    volume_times: int = 3
    volume_records: int = 500
    hour_percent: int = 5
    area_km: int = 25
    export_records: int = 5_000
    refusals: int = 10
    refusals_minutes: int = 10
    walk_cells: int = 9
    walk_km: int = 3
    walk_minutes: int = 15


class Cite(NamedTuple):
    """A leaf that a flag is about: its number in the log, and its event."""

    leaf: int
    event: str


class Found(NamedTuple):
    """Why an access is unusual, in words that follow "was flagged:", and the leaves that show it."""

    reason: str
    cites: Sequence[Cite]


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that somebody should look at. `kind`: of DETECTORS; `at`: of the last leaf that it cites."""

    kind: str
    organisation: str
    subject: str
    owner: str | None
    at: datetime
    reason: str
    cites: tuple[Cite, ...]


@dataclass(slots=True)
class Past:
    """What is remembered of a subject, as far as one owner's part of the log tells: bounded, however long that is. `days`: by UTC day with
    an access the records given, and its hours as bits; `areas`: west, south, east, north of what was asked about, near ones joined;
    `turned_away` and `cells`: of the last minutes, each beginning with time, leaf and event; `today` and `exported`: leaves of the newest
    day that gave records; `taken`: how many were exported on it; `told`: the day on which a kind was last flagged.
    """

    accesses: int = 0
    days: dict[str, list[int]] = field(default_factory=dict)
    areas: list[list[float]] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)
    turned_away: list[list[Any]] = field(default_factory=list)
    cells: list[list[Any]] = field(default_factory=list)
    today: list[list[Any]] = field(default_factory=list)
    exported: list[list[Any]] = field(default_factory=list)
    taken: int = 0
    told: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Past":
        return cls(**kept)

    def kept(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def known(self, limits: Limits) -> bool:
        """Whether there is enough of it to compare with."""
        return self.accesses >= limits.past_accesses and len(self.days) > limits.past_days


def look(past: Past, access: Access, limits: Limits) -> list[Flag]:
    """The flags that an access raises. It is part of the past then."""
    day = _day(access)
    _begin(past, access, limits)
    flags = []
    for kind, detect in DETECTORS.items():
        found = detect(past, access, limits) if past.told.get(kind) != day else None
        if found:
            past.told[kind] = day
            cites = tuple(sorted(set(found.cites)))[-CITED:]
            reason = f"{found.reason} {_entries(cites)}"
            flags.append(Flag(kind, access.organisation, access.subject, access.owner, access.at, reason, cites))
    _end(past, access, limits)
    return flags


def _begin(past: Past, access: Access, limits: Limits) -> None:
    """What this access adds to the last minutes and to its day, which it is itself compared within."""
    day, here = _day(access), [access.at.isoformat(), access.leaf, access.event]
    if day not in past.days:
        past.days[day] = [0, 0]
        past.today, past.exported, past.taken = [], [], 0
        for old in sorted(past.days.keys() - {day})[: -DAYS + 1]:
            del past.days[old]
    given, hours = past.days[day]
    past.days[day] = [given + access.records, hours | 1 << access.at.hour]
    if access.records:
        past.today = [*past.today, here][-CITED:]
    if access.records and access.kind == "export":
        past.taken += access.records
        past.exported = [*past.exported, here][-CITED:]
    if access.decision != "permit" and access.first:
        past.turned_away = _since([*past.turned_away, here], access.at, limits.refusals_minutes)[-CITED:]
    if access.extent and _small(access.extent, limits.walk_km):
        past.cells = _with_cell(_since(past.cells, access.at, limits.walk_minutes)[1 - CELLS :], here, access.extent)


def _end(past: Past, access: Access, limits: Limits) -> None:
    if not access.first:
        return
    past.accesses += 1
    if access.purpose and access.purpose not in past.purposes:
        past.purposes = [*past.purposes, access.purpose][-PURPOSES:]
    for half in access.extent.halves() if access.extent else ():
        past.areas = _joined(past.areas, half, limits.area_km)


# --- detectors: what is unusual, each a function of the past, the access and the limits --------------------------------------------


def volume(past: Past, access: Access, limits: Limits) -> Found | None:
    """Far more records on one day than on nearly all the days before."""
    day = _day(access)
    before = sorted(given for d, (given, _) in past.days.items() if d != day)
    given = past.days[day][0]
    if not access.records or not past.known(limits) or given < limits.volume_records:
        return None
    usual = before[len(before) * 9 // 10]
    if given <= limits.volume_times * usual:
        return None
    reason = (
        f"{given:,} records were given on {_said(access.at)} so far; on nine of ten earlier days with accesses (there are {len(before)})"
        f" it was {usual:,} or fewer."
    )
    return Found(reason, _cites(past.today))


def hour(past: Past, access: Access, limits: Limits) -> Found | None:
    """At an hour at which the subject asks on hardly any day, and neither does it in the hour before or after."""
    day = _day(access)
    around = sum(1 << (access.at.hour + n) % 24 for n in (-1, 0, 1))
    before = [hours for d, (_, hours) in past.days.items() if d != day]
    near = sum(hours & around > 0 for hours in before)
    if not past.known(limits) or near * 100 >= limits.hour_percent * len(before):
        return None
    reason = (
        f"It asked at {access.at:%H:%M} UTC on {_said(access.at)}; on {near} of {len(before)} earlier days it asked within an hour of that."
    )
    return Found(reason, [Cite(access.leaf, access.event)])


def area(past: Past, access: Access, limits: Limits) -> Found | None:
    """Outside of where it has asked before, by more than some kilometres."""
    if access.extent is None or not past.known(limits) or not past.areas:
        return None
    outside = [half for half in access.extent.halves() if not any(_within(half, _grown(a, limits.area_km)) for a in past.areas)]
    if not outside:
        return None
    west, south, east, north = access.extent
    reason = (
        f"It asked about the area from {west:g}, {south:g} to {east:g}, {north:g} (longitude, latitude), which reaches more than"
        f" {limits.area_km} km beyond where it asked before."
    )
    return Found(reason, [Cite(access.leaf, access.event)])


def purpose(past: Past, access: Access, limits: Limits) -> Found | None:
    """For a purpose that it never named before."""
    if access.purpose is None or not past.known(limits) or access.purpose in past.purposes:
        return None
    before = ", ".join(sorted(past.purposes)) or "none"
    return Found(f"It asked for the purpose {access.purpose}; before, for {before}.", [Cite(access.leaf, access.event)])


def export(past: Past, access: Access, limits: Limits) -> Found | None:
    """Many records taken away as files within a day."""
    if access.kind != "export" or past.taken < limits.export_records:
        return None
    return Found(f"{past.taken:,} records were exported on {_said(access.at)} so far.", _cites(past.exported))


def refusals(past: Past, access: Access, limits: Limits) -> Found | None:
    """Refused, or told that there is no such record, again and again."""
    if len(past.turned_away) < limits.refusals:
        return None
    often = len(past.turned_away)
    reason = f"It was refused, or asked for what is absent, {often} times within {limits.refusals_minutes} minutes."
    return Found(reason, _cites(past.turned_away))


def walk(past: Past, access: Access, limits: Limits) -> Found | None:
    """Through small areas that lie side by side, as if to cover everything. Panning over a map gives areas that overlap the one before."""
    lone = [cell for cell in past.cells if cell[4]]
    if len(lone) < limits.walk_cells or lone[-1][1] != access.leaf:
        return None
    found = _beside(lone)
    if len(found) < limits.walk_cells:
        return None
    reason = (
        f"It asked about {len(found)} areas of at most {limits.walk_km} km that lie side by side, within {limits.walk_minutes} minutes."
    )
    return Found(reason, _cites(found))


DETECTORS: dict[str, Callable[[Past, Access, Limits], Found | None]] = {
    "volume": volume,
    "hour": hour,
    "area": area,
    "purpose": purpose,
    "export": export,
    "refusals": refusals,
    "walk": walk,
}


# --- words, times, areas ------------------------------------------------------------------------------------------------------------


def _day(access: Access) -> str:
    return access.at.date().isoformat()


def _said(at: datetime) -> str:
    return f"{at:%-d %B %Y} (UTC)"


def _entries(cites: Sequence[Cite]) -> str:
    """Entries 12, 13, 15 of the log."""
    numbers = [str(c.leaf) for c in cites]
    shown = numbers if len(numbers) <= 12 else [*numbers[:10], f"… ({len(numbers) - 11} more)", numbers[-1]]
    return f"{'Entry' if len(numbers) == 1 else 'Entries'} {', '.join(shown)} of the log."


def _cites(kept: Sequence[Sequence[Any]]) -> list[Cite]:
    return [Cite(leaf, event) for _, leaf, event, *_ in kept]


def _since(kept: list[list[Any]], at: datetime, minutes: int) -> list[list[Any]]:
    return [one for one in kept if at - datetime.fromisoformat(one[0]) <= timedelta(minutes=minutes)]


def _degrees(km: float, lat: float) -> tuple[float, float]:
    """So many kilometres at a latitude, in degrees of longitude and of latitude."""
    return km / (KM_PER_DEGREE * max(cos(radians(lat)), 0.01)), km / KM_PER_DEGREE


def _small(box: Box, km: float) -> bool:
    wide, high = _degrees(km, (box.south + box.north) / 2)
    return all(half.east - half.west <= wide and half.north - half.south <= high for half in box.halves())


def _grown(area: Sequence[float], km: float) -> Box:
    west, south, east, north = area
    wide, high = _degrees(km, max(abs(south), abs(north)))
    return Box(west - wide, south - high, east + wide, north + high)


def _within(inner: Box, outer: Box) -> bool:
    return outer.west <= inner.west and inner.east <= outer.east and outer.south <= inner.south and inner.north <= outer.north


def _meet(a: Box, b: Box) -> bool:
    return a.west <= b.east and b.west <= a.east and a.south <= b.north and b.south <= a.north


def _joined(areas: list[list[float]], new: Box, km: float) -> list[list[float]]:
    """The areas with one more, joined with those that are near; of too many the oldest are forgotten."""
    near = [a for a in areas if _meet(_grown(a, km), new)]
    all_of = [*near, list(new)]
    whole = [min(a[0] for a in all_of), min(a[1] for a in all_of), max(a[2] for a in all_of), max(a[3] for a in all_of)]
    return [*(a for a in areas if a not in near), whole][-AREAS:]


def _with_cell(cells: list[list[Any]], here: list[Any], box: Box) -> list[list[Any]]:
    """The cells with one more, unless it is there. The last member of each says whether it overlaps no other by more than a tenth."""
    if list(box) in [cell[3] for cell in cells]:
        return cells
    over = [_overlap(box, Box(*cell[3])) for cell in cells]
    kept = [[*cell[:4], cell[4] and not overlaps] for cell, overlaps in zip(cells, over, strict=True)]
    return [*kept, [*here, list(box), not any(over)]]


def _beside(cells: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The newest cell, and all that can be reached from it by steps from one cell to one beside it."""
    found, left = [cells[-1]], list(cells[:-1])
    for here in found:
        reached = [cell for cell in left if _touch(Box(*here[3]), Box(*cell[3]))]
        found += reached
        left = [cell for cell in left if cell not in reached]
    return found


def _shared(a: Box, b: Box) -> tuple[float, float]:
    """How wide and high two areas overlap, each as a part of the smaller; less than 0: how far they are apart."""
    across, along = min(a.east, b.east) - max(a.west, b.west), min(a.north, b.north) - max(a.south, b.south)
    wide, high = min(a.east - a.west, b.east - b.west), min(a.north - a.south, b.north - b.south)
    return across / (wide or 1), along / (high or 1)


def _overlap(a: Box, b: Box) -> bool:
    across, along = _shared(a, b)
    return across > 0 and along > 0 and across * along > 0.1


def _touch(a: Box, b: Box) -> bool:
    """Whether two areas that don't overlap are no more than a tenth of the smaller apart."""
    return min(_shared(a, b)) >= -0.1
