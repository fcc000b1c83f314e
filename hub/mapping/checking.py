"""What a mapping makes of a whole file: for `hub mapping check`, on the partner's own machine, where values may be seen."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as member
from datetime import datetime
from hashlib import blake2b
from typing import Any

from hub.errors import InvalidFile, Problem
from hub.mapping.maker import EXTERNAL_ID
from hub.mapping.model import Mapping
from hub.mapping.places import projection
from hub.mapping.reading import Reading, Row
from hub.mapping.times import coarse
from hub.records import Record

FIRST = 10  # rows shown
MAX_WORDS = 10_000  # of values that no map holds


@dataclass
class Doubt:
    """One thing to look at, and in how many rows it is."""

    field: str
    reason: str
    rows: int = 0
    first: list[int] = member(default_factory=list)  # physical lines

    def seen(self, row: Row) -> None:
        self.rows += 1
        if len(self.first) < 3:
            self.first.append(row.line)


@dataclass
class Report:
    """All that was seen. `stopped` says why the file could not be read to its end."""

    rows: int = 0
    kept: int = 0
    shown: list[Row] = member(default_factory=list)
    refusals: dict[Problem, Doubt] = member(default_factory=dict)
    flags: dict[Problem, Doubt] = member(default_factory=dict)
    unmatched: Counter[tuple[str, str]] = member(default_factory=Counter)
    repeated: Doubt = member(default_factory=lambda: Doubt(EXTERNAL_ID, "an id that an earlier row has: the later row replaces it"))
    equal: Doubt = member(default_factory=lambda: Doubt(EXTERNAL_ID, "equal in the hashed columns to an earlier row: told apart by order"))
    spread: dict[str, tuple[datetime, datetime]] = member(default_factory=dict)
    box: tuple[float, float, float, float] | None = None  # west, south, east, north
    stopped: InvalidFile | None = None

    @property
    def refused(self) -> int:
        return self.rows - self.kept


def check(mapping: Mapping, dataset: type[Record], pieces: Iterable[bytes]) -> Report:
    """Reads the whole file. Ids are remembered as 8 bytes each."""
    report = Report()
    seen: set[bytes] = set()
    times = [f.name for f in dataset.named("time")]
    place = dataset.named("place")[0].name

    def watch(name: str, word: str) -> None:
        if len(report.unmatched) < MAX_WORDS or (name, word) in report.unmatched:
            report.unmatched[name, word] += 1

    try:
        for row in _rows(Reading(mapping, dataset, watch=watch), pieces):
            _count(report, row, seen)
            if row.record is not None:
                _measure(report, row.record, times, place)
    except InvalidFile as error:
        report.stopped = error
    return report


def doubts_of(mapping: Mapping) -> Iterator[Problem]:
    """What can be doubted before a row is read."""
    if mapping.place is not None and mapping.place.crs is not None:
        metres = projection(mapping.place.crs).transformer.accuracy
        if not 0 <= metres <= 1:  # negative: PROJ can't say before it knows the place
            about = f"about {metres:g} m" if metres > 0 else "some metres"
            yield Problem("place", f"{mapping.place.crs} is converted to within {about}: finer grids are not part of the hub")
    spans = {name: v for (name, *_), v in mapping.values if v.take is not None and any(coarse(f) for f in v.formats)}
    if "occurred_at" in spans and spans["occurred_at"].take == "start" and "occurred_until" not in mapping.fields:
        yield Problem("occurred_at", "is the start of a period, and nothing says when it ended: `occurred_until` with `take: end` would")
    for (name, *_), value in mapping.values:
        if any("%y" in f for f in value.formats):
            yield Problem(str(name), "has years of two digits: 69 to 99 are read as 1969 to 1999, the others as 2000 to 2068")


def _rows(reading: Reading, pieces: Iterable[bytes]) -> Iterator[Row]:
    for piece in pieces:
        reading.feed(piece)
        while found := reading.rows(1_000):
            yield from found
    reading.end()
    while found := reading.rows(1_000):
        yield from found


def _count(report: Report, row: Row, seen: set[bytes]) -> None:
    report.rows += 1
    for kind, problems in ((report.refusals, row.problems), (report.flags, row.flags)):
        for problem in problems:
            kind.setdefault(problem, Doubt(problem.field, problem.reason)).seen(row)
    if row.record is None:
        return
    report.kept += 1
    if len(report.shown) < FIRST:
        report.shown.append(row)
    named = row.key or b"=" + str(getattr(row.record, EXTERNAL_ID)).encode()
    digest = blake2b(named, digest_size=8).digest()
    if digest in seen:
        (report.repeated if row.key is None else report.equal).seen(row)
    seen.add(digest)


def _measure(report: Report, record: Any, times: list[str], place: str) -> None:
    for name in times:
        at = getattr(record, name)
        if at is not None:
            first, last = report.spread.get(name, (at, at))
            report.spread[name] = (min(first, at), max(last, at))
    lon, lat = getattr(record, place)
    west, south, east, north = report.box or (lon, lat, lon, lat)
    report.box = (min(west, lon), min(south, lat), max(east, lon), max(north, lat))
