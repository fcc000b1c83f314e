"""A provider, a reader that owes duties for what it is given, and somebody else; what the reader gets and is told."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.agreements.parties import Party, party
from tests.world import World, feature, grant

AT = datetime(2026, 3, 4, 13, 10, tzinfo=UTC)
SHOWN = {
    "category": "clear",
    "occurred_at": {"round_to": "PT1H"},
    "place": {"grid_m": 500},
    "severity": {"bands": [2, 4]},
    "external_id": {"last": 8},
    "narrative": "clear",
    "phone": {"last": 4},
}
OWED = {"retain": "P90D", "acknowledge": "P2D", "refrain": ["NOREUSE"]}
FIRST = {
    "category": "theft",
    "occurred_at": AT.isoformat(),
    "severity": 2,
    "status": "open",
    "narrative": "Bike gone.",
    "phone": "+1 416 0199",
}


def agreed(world: World, folder: Path) -> tuple[Party, Party, Party]:
    """Police, its reader, and somebody else. The reader holds thefts under duties, fires without any, frauds under two grants."""
    for slug in ("police", "reader", "other"):
        world.organisation(slug)
    of = {c: [{"field": "category", "one_of": [c]}] for c in ("theft", "fire", "fraud")}
    grants = [grant("thefts", where=of["theft"], fields=SHOWN, duties=OWED), grant("fires", where=of["fire"], fields=SHOWN)]
    grants += [grant("frauds", where=of["fraud"], fields=SHOWN, duties=OWED | {"retain": "P1D"})]
    world.mou(folder, "MOU-1", "police", "reader", grants)
    more = [grant("also-frauds", where=of["fraud"], fields={"status": "clear"}, duties={"acknowledge": "P1D", "refrain": ["NORELINK"]})]
    world.mou(folder, "MOU-2", "police", "reader", more)
    world.mou(folder, "MOU-3", "police", "other", [grant("thefts", where=of["theft"], fields={"status": "clear"}, duties=OWED)])
    return party(world, "police"), party(world, "reader"), party(world, "other")


def published(world: World, lon: float = -79.38, lat: float = 43.65, name: str | None = None, **properties: Any) -> tuple[str, str]:
    """The external id and the id of a record."""
    name = name or f"R-{uuid4()}"
    answer = world.publish("police", feature(name, lon, lat, **(FIRST | properties)))
    assert answer.status_code in (200, 201), answer.text
    return name, answer.json()["records"][0]["id"]


def item(world: World, record: str, who: str = "reader") -> Any:
    return world.get(who, "research", f"/collections/incidents/items/{record}")


def delivered(world: World, **properties: Any) -> tuple[str, str]:
    name, record = published(world, **properties)
    assert item(world, record).status_code == 200
    return name, record


def notices(of: Party, record: str | None, state: str = "open", side: str = "recipient") -> list[dict[str, Any]]:
    answer = of.call("GET", f"/recalls?state={state}&as={side}")
    assert answer.status_code == 200, answer.text
    return [r for r in answer.json()["recalls"] if r["record"] == record]
