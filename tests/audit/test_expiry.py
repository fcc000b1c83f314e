"""Bodies of old months go; the log still verifies, and says what is gone."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from hub.audit.leaf import By, Event, event_id
from hub.audit.log import append
from hub.db import transaction
from tests.audit.test_bundle import made, play, rows, settle, trusted, verdict
from tests.commands import Run, environment, refused
from tests.world import World

OLD = datetime(2020, 5, 5, tzinfo=UTC)


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


def test_old_months_go_and_proofs_stay(world: World, hub: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql(
            "create table hub.audit_leaves_2020_05 partition of hub.audit_leaves"
            " for values from (hub.first_event('2020-05-01')) to (hub.first_event('2020-06-01'));"
            " alter table hub.audit_leaves_2020_05 owner to hub_owner"
        )
    for _ in range(3):
        with transaction(world.database.auditor) as tx:
            tx.rows("begin")
            append(tx, Event(event_id(OLD, uuid4().bytes[:10]), "token", OLD, By("police"), "permit"), then="; commit")
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
    assert any("have expired" in note for note in found.notes)
    assert found.kinds["log-expiry"] == 1

    assert "no months before" in hub("audit", "expire", "--before", "2020-06", "--yes").out


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
