"""What destroys, or lets destroy, is committed with its leaf or not at all: tried with the writer's own password, past the hub."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from hub.audit.leaf import By, Event, Share, event_id, leaves
from tests.shredding.test_shred import carried_out, item, keys_of, post, published, rows, shared
from tests.wall.raw import rows as run
from tests.wall.raw import session
from tests.world import World

__all__ = ["shared"]
UNLOGGED = "HB020"
APPEND = "select hub.audit_append(null, %s::uuid, %s, %s, null, null, %s::text[], %s::int[], %s::text[])"
SHRED = "select * from hub.incidents_shred(%s, %s::uuid[], %s::uuid, 'request')"


@pytest.fixture
def writer(shared: World) -> Iterator[Any]:
    with session(shared, "hub_writer") as connection:
        yield connection


def event(kind: str, decision: str = "permit", **asked: Any) -> Event:
    now = datetime.now(UTC)
    return Event(event_id(now, os.urandom(10)), kind, now, By(), decision, dataset="incidents", asked=asked)


def add(connection: Any, one: Event, owner: str, numbers: Sequence[int] = ()) -> None:
    """A leaf, as the hub adds it."""
    made = leaves(one, [Share(owner, (), numbers)], os.urandom(16))
    columns = [leaf.owner for leaf in made], [leaf.part for leaf in made], [leaf.text for leaf in made]
    run(connection, APPEND, (str(one.id), one.type, one.at, *columns))


def number_of(world: World, slug: str) -> int:
    number: int = rows(world, "select id from hub.organisations where slug = :s", s=slug)[0][0]
    return number


def committed(connection: Any) -> str | None:
    """Commits; the SQLSTATE of what was refused."""
    try:
        run(connection, "commit")
    except psycopg2.Error as error:
        return error.pgcode
    return None


def revisions(world: World, record: str) -> list[int]:
    return [n for (n,) in rows(world, "select revision_no from hub.incidents where id = cast(:r as uuid)", r=record)]


@pytest.mark.parametrize("leaf", ["none", "another event", "another owner", "refused", "another kind", "before"])
def test_an_order_without_a_leaf_of_its_owner_destroys_nothing(shared: World, writer: Any, leaf: str) -> None:
    (record,) = published(shared, f"U-{leaf}")
    numbers, order = revisions(shared, record), event("shred", "absent" if leaf == "refused" else "permit")
    if leaf == "before":
        add(writer, order, "police", numbers)
    run(writer, "begin")
    assert run(writer, SHRED, (number_of(shared, "police"), [record], str(order.id))) == [(n,) for n in numbers]
    if leaf not in ("none", "before"):
        told = {"another event": event("shred"), "another kind": Event(order.id, "hold", order.at, By(), "permit")}.get(leaf, order)
        add(writer, told, "fire" if leaf == "another owner" else "police", numbers)
    assert committed(writer) == UNLOGGED
    assert item(shared, record).status_code == 200
    assert rows(shared, "select 1 from hub.shreds where event = cast(:e as uuid)", e=str(order.id)) == []


def test_an_order_with_its_leaf_is_carried_out(shared: World, writer: Any) -> None:
    """The control."""
    (record,) = published(shared, "U-whole")
    order = event("shred")
    run(writer, "begin")
    numbers = [n for (n,) in run(writer, SHRED, (number_of(shared, "police"), [record], str(order.id)))]
    add(writer, order, "police", numbers)
    assert committed(writer) is None
    carried_out(shared)
    assert (item(shared, record).status_code, keys_of(shared, record)) == (404, 0)


@pytest.mark.parametrize("owner", ["fire", "police"])
def test_keys_go_for_a_leaf_of_the_records_own_owner_alone(shared: World, writer: Any, owner: str) -> None:
    """An order that an administrator puts past the trigger; the second is the control."""
    (record,) = published(shared, f"U-keys-{owner}")
    order = event("shred")
    add(writer, order, owner, revisions(shared, record))
    with shared.superuser() as admin:
        admin.exec_driver_sql("set session_replication_role = replica")
        admin.exec_driver_sql(
            "with o as (insert into hub.shreds (event, provider, dataset, kind, records)"
            " select %(e)s::uuid, id, 1, 'request', 1 from hub.organisations where slug = %(s)s returning id)"
            " insert into hub.incidents_shredded (id, rev, revision_no, provider, digest, shred)"
            " select i.id, i.rev, i.revision_no, i.provider, '', o.id from hub.incidents i, o where i.id = %(r)s::uuid",
            {"e": str(order.id), "s": owner, "r": record},
        )
    shared.keyd.destroying.run()
    assert (keys_of(shared, record) == 0) == (owner == "police")
    with shared.superuser() as admin:  # nothing is left to be carried out
        admin.exec_driver_sql("delete from hub.incidents_shredded where id = %s", (record,))
        admin.exec_driver_sql("delete from hub.shreds where event = %s", (str(order.id),))


@pytest.mark.parametrize("leaf", ["none", "another hold", "placed again", "its own"])
def test_a_hold_is_not_released_without_a_leaf(shared: World, writer: Any, leaf: str) -> None:
    (record,) = published(shared, f"U-hold-{leaf}")
    hold = post(shared, "/collections/incidents/holds", {"reference": "Claim", "record": record}).json()["id"]
    run(writer, "begin")
    run(writer, "update hub.holds set released_at = now() where id = %s", (hold,))
    if leaf != "none":
        released: dict[str, Any] = {} if leaf == "placed again" else {"released": True}
        add(writer, event("hold", hold=str(UUID(int=1)) if leaf == "another hold" else hold, **released), "police")
    assert committed(writer) == (None if leaf == "its own" else UNLOGGED)
    held = rows(shared, "select 1 from hub.holds where id = cast(:h as uuid) and released_at is null", h=hold)
    assert bool(held) == (leaf != "its own")


def test_a_hold_is_not_placed_without_a_leaf(shared: World, writer: Any) -> None:
    run(writer, "begin")
    run(
        writer,
        "insert into hub.holds (id, provider, dataset, reference) values (gen_random_uuid(), %s, 1, 'x')",
        (number_of(shared, "police"),),
    )
    assert committed(writer) == UNLOGGED


@pytest.mark.parametrize("months", [12, None])
def test_a_rule_is_neither_set_nor_taken_away_without_a_leaf_that_says_so(shared: World, writer: Any, months: int | None) -> None:
    police = number_of(shared, "police")
    change = f"insert into hub.retention (provider, dataset, months) values ({police}, 1, {months})"
    if months is None:
        run(writer, f"begin; insert into hub.retention (provider, dataset, months) values ({police}, 1, 12)")
        add(writer, event("retention", months=12), "police")
        assert committed(writer) is None
        change = f"delete from hub.retention where provider = {police}"
    for said, refused in ((None, UNLOGGED), (24, UNLOGGED), (months or 0, None)):
        run(writer, f"begin; {change}")
        if said is not None:
            add(writer, event("retention", months=said), "police")
        assert committed(writer) == refused
    if months is not None:
        assert refused_update(writer, police) == UNLOGGED
        with shared.superuser() as admin:
            admin.exec_driver_sql("set session_replication_role = replica")
            admin.exec_driver_sql("delete from hub.retention")


def refused_update(connection: Any, provider: int) -> str | None:
    run(connection, f"begin; update hub.retention set months = 1 where provider = {provider}")
    return committed(connection)


def test_records_are_kept_as_the_rule_says_whoever_asks(shared: World, writer: Any) -> None:
    (record,) = published(shared, "U-kept")
    police = number_of(shared, "police")
    with pytest.raises(psycopg2.errors.UndefinedFunction):
        run(writer, "select hub.incidents_keep(%s, 1, %s::uuid, 100000)", (police, str(UUID(int=0))))
    run(writer, "select hub.incidents_keep(%s, %s::uuid, 100000)", (police, str(UUID(int=0))))
    assert rows(shared, "select kept_until from hub.incidents where id = cast(:r as uuid)", r=record) == [(None,)]
