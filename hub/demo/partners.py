"""The demo's organisations, their clients and people. All of them are made up, and their names say that they are a demo's."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.client import Client
from hub.db import Database
from hub.demo.sources import TORONTO, WEST_YORKSHIRE
from hub.errors import Conflict, Refused
from hub.geo import Box
from hub.identity import clients, new_key, organisations, people, tickets
from hub.settings import Settings

LINK_TTL = timedelta(hours=12)


@dataclass(frozen=True)
class Partner:
    """An organisation with one client of its name; `hub get --as PROFILE` asks as that. `area`: where a police service reports from."""

    profile: str
    slug: str
    name: str
    scopes: tuple[str, ...]
    purpose: str | None = None
    kind: str = "partner"
    area: Box | None = None


POLICE = ("publish", "query", "audit")
INVESTIGATION = "policing.investigation"
PARTNERS = (
    Partner("police", TORONTO.organisation, "Demo Toronto Police", POLICE, INVESTIGATION, area=Box(-79.7, 43.5, -79.0, 43.9)),
    Partner(
        "west-yorkshire",
        WEST_YORKSHIRE.organisation,
        "Demo West Yorkshire Police",
        POLICE,
        INVESTIGATION,
        area=Box(-2.2, 53.5, -1.19, 53.98),
    ),
    Partner("health", "health-demo", "Demo Health", ("query",), "public-health.prevention"),
    Partner("housing", "housing-demo", "Demo Housing", ("query",), "housing.safety"),
    Partner("neighbours", "neighbours-demo", "Demo Neighbours", ("query",), "community.safety"),
    Partner("auditor", "auditor-demo", "Demo Auditor", ("audit",), kind="auditor"),
)


@dataclass(frozen=True)
class Role:
    """A person of the demo, called by what they do."""

    handle: str
    name: str
    role: str

    @property
    def organisation(self) -> str:
        return self.handle.partition("@")[2]


PEOPLE = (
    Role("analyst@health-demo", "Analyst, Demo Health", "analyst"),
    Role("analyst@neighbours-demo", "Analyst, Demo Neighbours", "analyst"),
    Role("analyst@housing-demo", "Analyst, Demo Housing", "analyst"),
    Role("analyst@west-yorkshire-police-demo", "Analyst, Demo West Yorkshire Police", "analyst"),
    Role("auditor@auditor-demo", "Auditor, Demo Auditor", "auditor"),
    Role("lead@toronto-police-demo", "Agreement lead, Demo Toronto Police", "agreement-lead"),
    Role("integrator@toronto-police-demo", "Integrator, Demo Toronto Police", "integrator"),
    Role("operator@auditor-demo", "Operator, Demo Auditor", "operator"),
)


def set_up(database: Database, settings: Settings) -> None:
    """Organisations, clients with key files and profiles, and people; what is there already stays."""
    engine, folder = database.writer, settings.state_dir / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    for partner in PARTNERS:
        key = folder / f"{partner.profile}.pem"
        with suppress(Conflict):
            organisations.add(engine, partner.slug, partner.name, partner.kind, partner.area)
        with suppress(Conflict):
            new_key.write(key)
        with suppress(Conflict):
            clients.add(engine, partner.slug, partner.slug, key.with_name(key.name + ".pub").read_bytes(), partner.scopes)
        about = {"base_url": settings.base_url, "client_id": partner.slug, "key": key.name, "purpose": partner.purpose}
        if partner.purpose == INVESTIGATION:  # its agreements want a case
            about["case"] = "DEMO-2026-001"
        (folder / f"{partner.profile}.json").write_text(json.dumps(about, indent=1))
    for role in PEOPLE:
        if people.find(engine, role.handle) is None:
            people.add(engine, role.organisation, role.handle, role.name, [role.role])


def links(database: Database, settings: Settings) -> dict[str, str]:
    """A one-time address for each of PEOPLE, by handle: whoever opens it is signed in as that person."""
    engine, now = database.writer, datetime.now(UTC)
    return {
        role.handle: f"{settings.base_url}/enter/{tickets.issue(engine, people.get(engine, role.handle).id, 'link', now, LINK_TTL)}"
        for role in PEOPLE
    }


def profile_client(name: str, state_dir: Path, scope: str | None = None) -> Client:
    """The client of a profile: a JSON file with base_url, client_id, key (beside it), purpose and perhaps case, or the name of one.
    `scope` asks for less than all that the client may do.

    Raises:
        Refused: there is no such profile.
    """
    path = Path(name) if name.endswith(".json") else state_dir / "profiles" / f"{name}.json"
    try:
        about = json.loads(path.read_text())
        key, case = (path.parent / about["key"]).read_bytes(), about.get("case")
        return Client(about["base_url"], about["client_id"], key, about["purpose"], scope, case=case)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"The profile {path} can't be used: {type(error).__name__}.") from None
