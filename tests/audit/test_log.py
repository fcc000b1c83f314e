"""The log in PostgreSQL: one way in, nothing changed afterwards, and nothing disclosed that it does not hold."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import Log, PolicyChanged, Search, append
from hub.db import owner_transaction, transaction
from hub.errors import Unavailable
from tests.leaves import leaf_text
from tests.world import World

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)

ROLES = ("reader", "writer", "auditor")


@pytest.fixture
def event() -> Event:
    now = datetime.now(UTC)
    return Event(event_id(now, os.urandom(10)), "test", now, By("police"), "permit", asked={"limit": 1})


def add(world: World, event: Event, shares: list[Share], engine: str = "writer", **more: Any) -> Any:
    with transaction(getattr(world.database, engine)) as tx:
        tx.rows("begin")
        return append(tx, event, shares, then="; commit", **more)


def kept(world: World, event: Event) -> list[Any]:
    with world.superuser() as connection:
        found = connection.execute(
            sa.text("select owner, part, leaf, leaf_hash, type, organisation from hub.audit_leaves where event = :e order by id"),
            {"e": event.id},
        )
        return [(*row[:3], bytes(row[3]), *row[4:]) for row in found]


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_add_and_the_hash_is_made_by_the_database(world: World, event: Event, role: str) -> None:
    made = add(world, event, [Share("police", (), [1, 2]), Share("ambulance", (), [3])], role)
    assert kept(world, event) == [(leaf.owner, leaf.part, leaf.text, leaf.hash, "test", "police") for leaf in made]
    assert all(leaf.hash == sha256(b"\x00" + leaf.text.encode()).digest() for leaf in made)


CHANGES = [
    "update hub.audit_leaves set leaf = '{}'",
    "update hub.audit_leaves set at = now() where false",
    "delete from hub.audit_leaves",
    "truncate hub.audit_leaves",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_nothing_in_the_log_can_be_changed_not_even_by_its_owner(world: World, event: Event, statement: str) -> None:
    add(world, event, [])
    before = len(world.leaves())
    with pytest.raises(psycopg2.Error) as refused, owner_transaction(world.addresses.main) as tx:
        tx.rows(statement)
    assert refused.value.pgcode == "42501"
    assert "only ever added to" in str(refused.value)
    assert len(world.leaves()) == before


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [*CHANGES, "insert into hub.audit_leaves (event, part, type, at, leaf, leaf_hash) values (gen_random_uuid(), 1, 'x', now(), '{}', '')"],
)
def test_the_roles_of_the_hub_cannot_even_try(world: World, role: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="permission denied"), transaction(getattr(world.database, role)) as tx:
        tx.rows(statement)


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_only_the_auditors_role_reads_the_log(world: World, role: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), transaction(getattr(world.database, role)) as tx:
        tx.rows("select leaf from hub.audit_leaves")


def test_the_same_event_sent_again_after_an_unknown_outcome_is_there_once(
    world: World, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.audit.log.os.urandom", lambda n: bytes(n))  # the same event has the same salt
    shares = [Share("police", (), [1]), Share(None)]
    add(world, event, shares)
    add(world, event, shares)
    assert [owner for owner, *_ in kept(world, event)] == ["police", None]


@pytest.mark.parametrize("other", [Share("police", (), [2]), Share("police", (), [1], {"fields": {"place": "clear"}})])
def test_another_leaf_under_the_name_of_an_event_is_refused(
    world: World, event: Event, other: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.audit.log.os.urandom", lambda n: bytes(n))
    add(world, event, [Share("police", (), [1])])
    with pytest.raises(psycopg2.Error) as refused:
        add(world, event, [Share("ambulance", (), [5]), other])
    assert refused.value.pgcode == "HB002"
    assert [owner for owner, *_ in kept(world, event)] == ["police"]  # nor is the one that would have been new


def test_another_salt_makes_it_another_leaf(world: World, event: Event) -> None:
    add(world, event, [])
    with pytest.raises(psycopg2.Error, match="another leaf"):
        add(world, event, [])


def test_a_leaf_decided_under_an_epoch_that_has_passed_is_refused(world: World, event: Event) -> None:
    with world.superuser() as connection:
        epoch = connection.scalar(sa.text("select epoch from hub.policy_epoch"))
    assert epoch is not None
    for passed in (epoch - 1, epoch + 1):
        with pytest.raises(PolicyChanged):
            add(world, event, [], epoch=passed)
    assert kept(world, event) == []
    add(world, event, [], epoch=epoch)
    assert len(kept(world, event)) == 1


def test_a_change_of_the_policy_waits_for_the_leaves_that_have_begun(world: World, event: Event) -> None:
    """What was decided under the old agreements is in the log before the new ones are in force."""
    with world.superuser() as connection:
        epoch = connection.scalar(sa.text("select epoch from hub.policy_epoch"))
    order: list[str] = []

    def advance() -> None:
        with owner_transaction(world.addresses.main) as tx:
            tx.rows("select pg_advisory_xact_lock(7201, 1); update hub.policy_epoch set epoch = epoch + 1")
            order.append("advanced")
            tx.rows("commit")

    with transaction(world.database.reader) as tx:
        tx.rows("begin")
        append(tx, event, epoch=epoch)
        changing = threading.Thread(target=advance)
        changing.start()
        changing.join(0.3)
        order.append("committed")
        tx.rows("commit")
    changing.join(10)
    assert order == ["committed", "advanced"]
    with pytest.raises(PolicyChanged):
        add(world, replace(event, id=event_id(event.at, os.urandom(10))), [], epoch=epoch)


def test_a_leaf_over_the_limit_is_refused_by_the_database_too(world: World, event: Event) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation), transaction(world.database.writer) as tx:
        tx.rows(
            "select hub.audit_append(null, %s::uuid, 'x', %s, null, null, array[null], array[1], array[%s])",
            (str(event.id), NOON, leaf_text(event.id, "x", NOON, more="é" * 32_767)),
        )


@pytest.fixture
def no_room(world: World) -> Iterator[None]:
    """Every insertion into the log fails as on a full disk."""
    with world.superuser() as connection:
        connection.execute(
            sa.text(
                "create function public.no_room() returns trigger language plpgsql as "
                "$$ begin raise exception 'could not extend file' using errcode = '53100'; end $$"
            )
        )
        connection.execute(sa.text("create trigger no_room before insert on hub.audit_leaves execute function public.no_room()"))
    yield
    with world.superuser() as connection:
        connection.execute(sa.text("drop trigger no_room on hub.audit_leaves"))
        connection.execute(sa.text("drop function public.no_room()"))


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("role", ROLES)
def test_a_log_that_cannot_be_written_is_unavailable(world: World, event: Event, role: str) -> None:
    with pytest.raises(Unavailable, match="Try again"):
        add(world, event, [], role)
    assert kept(world, event) == []


def test_a_log_that_hangs_is_given_up_in_time(world: World, event: Event) -> None:
    with world.superuser() as connection:
        connection.execute(sa.text("lock table hub.audit_leaves in exclusive mode"))
        with transaction(world.database.auditor) as tx:
            tx.rows("begin; set local statement_timeout = '200ms'")
            with pytest.raises(Unavailable, match="log can't be written"):
                append(tx, event, then="; commit")
    assert kept(world, event) == []


def test_the_extent_is_kept_for_the_index_and_none_where_none_was_asked(world: World, event: Event) -> None:
    other = replace(event, id=event_id(event.at, os.urandom(10)))
    add(world, event, [], extent=(-80.0, 43.0, -79.0, 44.0))
    add(world, other, [])
    with world.superuser() as connection:
        shapes = [
            connection.scalar(sa.text("select ST_AsText(extent) from hub.audit_leaves where event = :e"), {"e": e.id})
            for e in (event, other)
        ]
    assert shapes == ["POLYGON((-80 43,-80 44,-79 44,-79 43,-80 43))", None]


def test_searching_finds_by_each_member_and_by_all_together(world: World) -> None:
    log = Log(world.database.auditor)
    now = datetime.now(UTC).replace(microsecond=120_000)
    made = []
    for n, (kind, organisation, owner) in enumerate([("a", "x", "p"), ("a", "y", "p"), ("b", "x", "q"), ("b", "y", None)]):
        event = Event(event_id(now, os.urandom(10)), f"find-{kind}", now.replace(year=2001 + n), By(organisation), "permit")
        add(world, event, [Share(owner, (), [1_000 + n, 2_000])])
        made.append(str(event.id))

    def found(**conditions: Any) -> list[int]:
        return [made.index(e.body["event"]) for e in log.find(Search(**conditions)) if e.body["event"] in made]

    assert found(type="find-a") == [1, 0]
    assert found(organisation="x") == [2, 0]
    assert found(owner="p", organisation="y") == [1]
    assert found(owner="p", type="find-b") == []
    assert found(since=now.replace(year=2002)) == [3, 2, 1]
    assert found(until=now.replace(year=2002)) == [1, 0]
    assert found(since=now.replace(year=2002), until=now.replace(year=2003)) == [2, 1]
    assert found(revisions=frozenset({1_001, 1_003})) == [3, 1]
    assert found(revisions=frozenset({2_000}), owner="q") == [2]
    assert found(revisions=frozenset({999})) == []
    assert found(revisions=frozenset()) == []
    first, second = log.find(Search(type="find-a"))
    assert log.find(Search(type="find-a", before=first.id)) == [second]
    assert log.find(Search(type="find-a", limit=1)) == [first]


def test_who_saw_a_revision_is_found_however_far_back_it_is(world: World) -> None:
    """Pages of the search that hold nothing of it are passed over."""
    log = Log(world.database.auditor)
    now = datetime.now(UTC)
    wanted = Event(event_id(now, os.urandom(10)), "far-back", now, By("x"), "permit")
    add(world, wanted, [Share("far", (), [77_777])])
    with transaction(world.database.writer) as tx:
        tx.rows(
            "select hub.audit_append(null, e, 'noise', %s, null, null, array['far'], array[1], array[replace(%s, 'EVENT', e::text)])"
            " from (select gen_random_uuid() as e from generate_series(1, 2500)) events",
            (NOON, leaf_text("EVENT", "noise", NOON, owner="far")),
        )
    (found,) = log.find(Search(revisions=frozenset({77_777})))
    assert found.body["event"] == str(wanted.id)
