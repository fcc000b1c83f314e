"""Accesses as leaves, parsed: made by hand, or a month of ordinary use."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from hub.audit.accesses import Access, access_of
from hub.audit.flags import Flag, Limits, Past, look
from hub.audit.leaf import By, Event, Share, leaves

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
ANALYST, PROGRAM = By("health", person=str(UUID(int=1))), By("health", "health-sync")
MOU = {"mou": "MOU-1", "version": 1, "sha256": "0" * 64, "grants": ["all"]}
_EVENTS = count(1)
Leaf = dict[str, Any]


def leaf(
    at: datetime,
    by: By = ANALYST,
    records: int = 0,
    *,
    extent: tuple[float, ...] | None = None,
    kind: str = "query",
    decision: str = "permit",
    purpose: str | None = "research",
    owner: str | None = "police",
    first: int = 1,
    **asked: Any,
) -> Leaf:
    """A parsed leaf: that so many records, from revision `first` on, were given."""
    said = asked | ({"extent": list(extent)} if extent else {})
    event = Event(UUID(int=next(_EVENTS)), kind, at, by, decision, purpose, None, "incidents", said)
    shares = [Share(owner, [MOU], range(first, first + records), {"fields": {"place": "grid_m:500"}})] if records else [Share()]
    (made,) = leaves(event, shares, bytes(16))
    parsed: Leaf = json.loads(made.text)
    return parsed


def flagged(made: list[Leaf], limits: Limits | None = None) -> list[Flag]:
    """The flags that leaves raise, in the order in which they are in the log."""
    pasts: dict[tuple[str, str | None], Past] = {}
    flags: list[Flag] = []
    for number, body in enumerate(made, 1):
        access = access_of(number, body)
        if access:
            flags += look(pasts.setdefault((access.subject, access.owner), Past()), access, limits or Limits())
    return flags


def month(seed: int, days: int = 30) -> list[Leaf]:
    """Ordinary use: analysts in their working hours, who look at maps of their city, list and open records, ask in vain now and then, and
    export a little; a program that asks every quarter of an hour, and one that syncs each night.
    """
    random = Random(seed)
    made = [one for n in range(4) for one in _analyst(random, By("health", person=str(UUID(int=n + 1))), days)]
    made += _polling(random, days)
    made += _nightly(random, days)
    return sorted(made, key=lambda body: str(body["at"]))


def _analyst(random: Random, by: By, days: int) -> Iterator[Leaf]:
    city = (-79.38 + random.uniform(-0.05, 0.05), 43.65 + random.uniform(-0.05, 0.05))
    purposes = random.sample(["research", "prevention", "outreach"], 2)
    for day in range(days):
        weekend = (MONDAY + timedelta(days=day)).weekday() >= 5
        if weekend or random.random() < 0.1:
            continue
        for _ in range(random.randrange(2, 6)):
            at = MONDAY + timedelta(days=day, hours=random.choice([8, 9, 10, 11, 13, 14, 15, 16]), minutes=random.randrange(60))
            yield from _sitting(random, by, at, city, random.choice(purposes))


def _sitting(random: Random, by: By, at: datetime, city: tuple[float, float], purpose: str) -> Iterator[Leaf]:
    """A while at the map: panned and zoomed, a list, a record or two."""
    lon, lat, size = *city, random.choice([0.02, 0.05, 0.1])
    for n in range(random.randrange(4, 25)):
        at += timedelta(seconds=random.randrange(3, 90))
        lon, lat = lon + size * random.uniform(-0.6, 0.6), lat + size * random.uniform(-0.6, 0.6)
        if abs(lon - city[0]) > 0.15 or abs(lat - city[1]) > 0.15:
            lon, lat = city
        size = min(0.2, max(0.005, size * random.choice([0.5, 1, 1, 1, 2])))
        found = int(random.uniform(0, 4_000) * size)
        yield leaf(at, by, found, extent=(lon, lat, lon + size, lat + size * 0.7), purpose=purpose, **{"as": "map"})
        if n % 6 == 5:
            yield leaf(at, by, random.randrange(2), purpose=purpose, decision="permit")
        if random.random() < 0.02:
            yield leaf(at, by, decision="absent", purpose=purpose, fields=["id"])
    if random.random() < 0.1:
        yield leaf(at, by, random.randrange(20, 300), kind="export", purpose=purpose, extent=(lon, lat, lon + size, lat + size))


def _polling(random: Random, days: int) -> Iterator[Leaf]:
    for n in range(days * 96):
        at = MONDAY + timedelta(minutes=15 * n, seconds=random.randrange(40))
        yield leaf(at, By("housing", "housing-poll"), random.choice([0, 0, 1, 2, 5]), purpose="tenancy", extent=(-79.5, 43.6, -79.2, 43.8))


def _nightly(random: Random, days: int) -> Iterator[Leaf]:
    for day in range(days):
        at = MONDAY + timedelta(days=day, hours=2, minutes=random.randrange(30))
        for page in range(random.randrange(3, 6)):
            yield leaf(at + timedelta(seconds=page), PROGRAM, random.randrange(600, 1_000), limit=1_000)


def accesses(made: list[Leaf]) -> list[Access]:
    return [access for number, body in enumerate(made, 1) if (access := access_of(number, body))]
