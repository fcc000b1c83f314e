"""A generated batch in a real hub: organisations, agreements and records, and a wall clock that a test sets."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from hub.agreements.activation import Activation
from tests import assertion
from tests.policy.cases import Asked, Batch
from tests.policy.oracle import GrantKey, Oracle, Reader, Record, cell
from tests.signing import OPERATOR
from tests.world import ASSERTION_TYPE, BASE, World
from tests.written import yaml_of

CLOCK = """
create table hub.test_clock (at timestamptz);
insert into hub.test_clock values (null);
create or replace function hub.admit(p_client text, out pid int, out tx_us bigint, out wall timestamptz, out epoch bigint,
  out active boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select pg_backend_pid(), (extract(epoch from now()) * 1000000)::bigint, coalesce((select at from hub.test_clock), clock_timestamp()),
         (select e.epoch from hub.policy_epoch e),
         exists (select from hub.clients c where c.client_id = p_client and (c.disabled_at is null or c.disabled_at > now()))
$$"""


@dataclass
class Played:
    """A batch that a hub holds: ids by external id, grants and refusals by their number in the database."""

    world: World
    batch: Batch
    oracle: Oracle
    admin: sa.Engine
    ids: dict[str, str] = field(default_factory=dict)
    grants: dict[int, GrantKey] = field(default_factory=dict)
    organisations: dict[str, int] = field(default_factory=dict)

    def key(self, number: int) -> GrantKey:
        return self.grants.get(number, ("a grant of another batch", number, ""))

    def set_clock(self, at: datetime | None) -> None:
        set_clock(self.admin, at)


def movable_clock(world: World) -> sa.Engine:
    """The wall clock that admission reads becomes one that a test sets; all else of the hub stays. Gives the administrator's engine."""
    engine = sa.create_engine(world.addresses.main, pool_size=1)
    with engine.begin() as connection:
        connection.exec_driver_sql("set local role hub_owner")
        connection.exec_driver_sql(CLOCK)
    return engine


def set_clock(admin: sa.Engine, at: datetime | None) -> None:
    """None: the real time."""
    with admin.begin() as connection:
        connection.execute(sa.text("update hub.test_clock set at = :at"), {"at": at})


def play(world: World, admin: sa.Engine, made: Batch, folder: Path) -> Played:
    """Adds a batch's organisations, agreements and records to the hub."""
    for slug in (*made.providers, *made.consumers):
        world.organisation(slug)
    half = len(made.features) // 2
    ids = _publish(world, made, 0, half)  # half of the records come before the agreements, half after them
    for number, mou in enumerate(made.mous):
        bring(world, _write(folder, made, mou, number), made.steps.get((mou["mou"], mou["version"]), "active"))
    ids |= _publish(world, made, half, len(made.features))
    with admin.begin() as connection:
        connection.exec_driver_sql("analyze hub.incidents")
        named = connection.execute(
            sa.text(
                "select c.id, m.mou, m.version, c.name from hub.mous m join"
                " (select id, mou_id, name from hub.grants union all select id, mou_id, name from hub.refusals) c on c.mou_id = m.id"
            )
        ).all()
        numbers = connection.execute(sa.text("select slug, id from hub.organisations")).all()
    return Played(world, made, made.oracle(), admin, ids, {r[0]: (r[1], r[2], r[3]) for r in named}, {r[0]: r[1] for r in numbers})


def bring(world: World, path: Path, state: str) -> None:
    """Takes the steps of an MOU file's life until it is in this state, as its parties and the hub do."""
    if state in ("draft", "proposed", "signed"):
        world.signing.prepare(path, state)
    elif state == "withdrawn":
        mou = world.signing.prepare(path)
        world.services.lifecycle.withdraw(OPERATOR, mou.mou, mou.version)
    elif state == "activating":
        with _before_the_switch():
            world.load(path)
    else:
        mou = world.load(path).mou
        life = world.services.lifecycle
        for step in {"suspended": [life.suspend], "terminated": [life.terminate]}.get(state, []):
            step(OPERATOR, mou.mou, mou.version, "A test")


@contextmanager
def _before_the_switch() -> Iterator[None]:
    """A version that comes into force gets its labels, and then its process is killed."""
    switch, Activation._switch = Activation._switch, lambda *_: []  # type: ignore[method-assign]
    try:
        yield
    finally:
        Activation._switch = switch  # type: ignore[method-assign]


def _publish(world: World, made: Batch, first: int, last: int) -> dict[str, str]:
    ids = {}
    for provider in made.providers:
        answer = world.publish(provider, *[f for p, f in made.features[first:last] if p == provider])
        assert answer.status_code == 201, answer.text
        ids |= {r["external_id"]: r["id"] for r in answer.json()["records"]}
    return ids


def _write(folder: Path, made: Batch, mou: Mapping[str, Any], number: int) -> Path:
    pinned = {}
    for name in mou["jurisdictions"]:
        content = orjson.dumps(made.areas[name])
        (folder / f"{name}.geojson").write_bytes(content)
        pinned[name] = {"file": f"{name}.geojson", "sha256": sha256(content).hexdigest()}
    path = folder / f"{made.seed}-{number}.yaml"
    path.write_bytes(yaml_of({**mou, "jurisdictions": pinned}))
    return path


def bearer(world: World, reader: Reader) -> dict[str, str]:
    """An Authorization header of the organisation's client, for the reader's purpose and case."""
    if reader.case is None:
        return world.bearer(reader.organisation, reader.purpose)
    key = (reader.organisation, f"{reader.purpose} {reader.case}")
    if key not in world.tokens:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion.make(world.keys[reader.organisation], reader.organisation, BASE, world.clock()),
            "purpose": reader.purpose,
            "case": reader.case,
        }
        answer = world.http.post("/oauth/token", data=form)
        assert answer.status_code == 200, answer.text
        world.tokens[key] = answer.json()["access_token"]
    return {"Authorization": f"Bearer {world.tokens[key]}"}


def code_of(record: Record) -> int:
    """A record's 2 km cell as the number that the tables hold: rows from the south, then columns from the west."""
    row, column = cell(record.lon, record.lat, 2000)
    return row * 32_768 + column


def case_of(asked: Asked) -> str:
    """Names a case in a difference."""
    case = f", case {asked.reader.case}," if asked.reader.case else ""
    return f"{asked.reader.organisation} for {asked.reader.purpose}{case} at {asked.now.isoformat()} asks {asked.request}"
