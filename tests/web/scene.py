"""A small partnership for tests in a browser: one police, three who read what it shares, one who watches."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from hub.identity import people, tickets
from hub.identity.people import Person
from tests.web.served import Served
from tests.world import World, feature, grant

CATEGORIES = ("assault", "theft", "burglary")
INCIDENTS = 90  # a third of each
WHOLE = "-79.40,43.63,-79.32,43.70"  # west,south,east,north: around all of them
ROLES = {
    "analyst@health": ("health", "Analyst, Health", ("analyst",)),
    "analyst@housing": ("housing", "Analyst, Housing", ("analyst",)),
    "auditor@watch": ("watch", "Auditor, Watch", ("auditor",)),
    "lead@police": ("police", "Agreement lead, Police", ("agreement-lead",)),
    "integrator@police": ("police", "Integrator, Police", ("integrator", "operator")),
    "analyst@newcomers": ("newcomers", "Analyst, Newcomers", ("analyst",)),
}


@dataclass(frozen=True)
class Scene:
    served: Served
    people: dict[str, Person]

    def invitation(self, handle: str) -> str:
        """The address that `hub person invite` prints."""
        return f"{self.served.base}/join/{self._ticket(handle, 'invitation')}"

    def link(self, handle: str) -> str:
        """A one-time sign-in link, as the demo prints them."""
        return f"{self.served.base}/enter/{self._ticket(handle, 'link')}"

    def _ticket(self, handle: str, kind: tickets.Kind) -> str:
        world = self.served.world
        return tickets.issue(world.database.writer, self.people[handle].id, kind, world.clock(), timedelta(hours=1))

    def counted(self, client: str, purpose: str, **asked: Any) -> int:
        """How many incidents of the area a client of that organisation gets by the API."""
        return len(self.served.world.items(client, purpose, bbox=WHOLE, **asked))


def scene(served: Served, folder: Path) -> Scene:
    """Publishes and agrees; health has not used its invitation yet."""
    world = served.world
    for slug in ("police", "health", "housing", "newcomers"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    _agree(world, folder)
    assert world.publish("police", *(_incident(n) for n in range(INCIDENTS))).status_code == 201
    added = {h: people.add(world.database.writer, slug, h, name, roles) for h, (slug, name, roles) in ROLES.items()}
    return Scene(served, added)


def _incident(n: int) -> dict[str, Any]:
    at = datetime(2021, 3, 1, 0, 17, 31, tzinfo=UTC) + timedelta(hours=7 * n)
    return feature(
        f"case-{n:03d}",
        -79.38 + (n % 10) * 0.004,
        43.65 + (n // 10) * 0.003,
        category=CATEGORIES[n % 3],
        occurred_at=at.isoformat().replace("+00:00", "Z"),
        severity=1 + n % 5,
        narrative=f"[synthetic] What happened in case {n}.",
        phone=f"+1 416 555 0{n:03d}",
    )


def _agree(world: World, folder: Path) -> None:
    area = {"type": "Polygon", "coordinates": [[[-79.40, 43.63], [-79.32, 43.63], [-79.32, 43.70], [-79.40, 43.70], [-79.40, 43.63]]]}
    content = json.dumps(area).encode()
    (folder / "downtown.geojson").write_bytes(content)
    street = [_of("assault", "theft"), _inside()]
    grants = [
        grant("street", ["prevention"], street, actions=["query", "export"], fields=_hourly({"grid_m": 500})),
        grant("on-case", ["prevention"], [_of("burglary"), _inside()], case_reference="required", fields=_hourly("clear")),
    ]
    jurisdictions = {"downtown": {"file": "downtown.geojson", "sha256": sha256(content).hexdigest()}}
    world.mou(folder, "MOU-HEALTH", "police", "health", grants, title="Injury prevention downtown", jurisdictions=jurisdictions)
    daily = {"category": "clear", "occurred_at": {"round_to": "P1D"}, "place": {"grid_m": 2000}}
    homes = grant("homes", ["tenancy"], [_of("theft")], fields=daily)
    world.mou(folder, "MOU-HOUSING", "police", "housing", [homes], title="Safe homes", review_by=date(2026, 1, 1))  # long overdue


def _inside() -> dict[str, Any]:
    return {"field": "place", "within": "downtown"}


def _hourly(place: Any) -> dict[str, Any]:
    return {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "severity": "clear", "narrative": "clear", "place": place}


def _of(*categories: str) -> dict[str, Any]:
    return {"field": "category", "one_of": list(categories)}
