"""Bodies of old months go; the log still verifies, and says what is gone."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from hub.audit.export import Wanted
from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import Search, append
from hub.db import transaction
from tests.audit.bundles import made, play, rows, settle, settle_tree, trusted, verdict
from tests.commands import Run, environment, refused
from tests.world import World

OLD = datetime(2020, 5, 5, tzinfo=UTC)


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


def month(world: World) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql(
            "create table hub.audit_leaves_2020_05 partition of hub.audit_leaves"
            " for values from (hub.first_event('2020-05-01')) to (hub.first_event('2020-06-01'));"
            " alter table hub.audit_leaves_2020_05 owner to hub_owner"
        )


def old(world: World) -> None:
    event = Event(event_id(OLD, uuid4().bytes[:10]), "publish", OLD, By("police"), "permit")
    with transaction(world.database.auditor) as tx:
        tx.rows("begin")
        append(tx, event, [Share("police")], then="; commit")


def test_old_months_go_and_proofs_stay(world: World, hub: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    month(world)
    world.sequencing.pause.set()
    for _ in range(3):
        old(world)
    world.sequencing.pause.clear()
    play(world, tmp_path_factory.mktemp("mous"))
    trust = trusted(world)
    assert verdict(made(world), trust).good

    ran = hub("audit", "expire", "--before", "2020-06", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert "Removed 3 bodies" in ran.out
    assert rows(world, "select count(*) from hub.audit_leaves where at < '2021-01-01'") == [(0,)]
    settle(world)
    found = verdict(made(world), trust)
    assert found.wrong == []
    assert any("of before 2020-06, were removed by the hub's operator" in note for note in found.notes)
    police = verdict(made(world, Wanted(Search(owner="police"), ("police",), {"owner": "police"})), trust)
    assert police.wrong == []
    assert (police.complete["police"].expired, police.complete["police"].missing) == (3, 0)
    assert found.kinds["log-expiry"] == 1

    assert "no months before" in hub("audit", "expire", "--before", "2020-06", "--yes").out


def test_what_is_younger_than_a_year_is_kept(hub: Run) -> None:
    refused(hub("audit", "expire", "--before", f"{datetime.now(UTC):%Y-%m}", "--yes"), "Bodies stay for 365 days at least")


def test_old_leaves_that_came_into_the_tree_late_are_kept_as_long_as_those_of_then(world: World, hub: Run) -> None:
    """Nobody could tell them from young ones that somebody deleted."""
    month(world)
    for _ in range(2):
        old(world)
        settle_tree(world)
    refused(
        hub("audit", "expire", "--before", "2020-06", "--yes"), "Leaves of before 2020-06 came into the tree on", "together with those of"
    )
    assert rows(world, "select count(*) from hub.audit_leaves_2020_05") == [(2,)]


def test_leaves_that_are_not_in_the_tree_are_kept(world: World, hub: Run) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql(
            "create table hub.audit_leaves_2019_05 partition of hub.audit_leaves"
            " for values from (hub.first_event('2019-05-01')) to (hub.first_event('2019-06-01'));"
            " alter table hub.audit_leaves_2019_05 owner to hub_owner;"
            " insert into hub.audit_leaves (event, part, type, at, leaf, leaf_hash)"
            " values (hub.first_event('2019-05-01'), 1, 'x', '2019-05-01', '{}', '')"
        )
    refused(hub("audit", "expire", "--before", "2019-06", "--yes"), "1 leaves of audit_leaves_2019_05 are not in the tree")
    assert rows(world, "select count(*) from hub.audit_leaves_2019_05") == [(1,)]
