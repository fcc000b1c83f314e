"""New leaves are looked at once each, in batches, by one process at a time; what is found is kept with how far it got, or nothing is."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from hub.app import housekeeping
from hub.audit import flagging as watch_module
from hub.audit.flagging import SETTLED
from hub.audit.log import Search
from hub.db import transaction
from tests.oversight.conftest import Story


def kept(story: Story) -> list[tuple[Any, ...]]:
    """Every flag, but for its number and when it was raised."""
    with story.world.superuser() as admin:
        rows = admin.exec_driver_sql(
            "select kind, organisation, subject, owner, at, reason, leaves, events from hub.flags order by leaves, owner"
        )
        return [tuple(row) for row in rows]


def anew(story: Story) -> None:
    """As if nothing had been looked at yet."""
    with story.world.superuser() as admin:
        admin.exec_driver_sql("alter table hub.flags disable trigger append_only; alter table hub.flag_steps disable trigger append_only")
        admin.exec_driver_sql("delete from hub.flag_steps; delete from hub.flags; delete from hub.flag_pasts")
        admin.exec_driver_sql("update hub.flag_progress set reached = 0, seen = 0")
        admin.exec_driver_sql("alter table hub.flags enable trigger append_only; alter table hub.flag_steps enable trigger append_only")


@pytest.fixture(scope="module")
def walked(story: Story) -> Story:
    story.walk("housing")
    story.refused()
    return story


@pytest.fixture
def fresh(walked: Story) -> Story:
    anew(walked)
    return walked


def test_a_walk_is_flagged_for_each_owner_with_its_own_leaves_and_refusals_in_the_hubs_own_log(fresh: Story) -> None:
    fresh.look()
    found = kept(fresh)
    assert [(f[0], f[1], f[2], f[3]) for f in sorted(found, key=lambda f: (f[0], f[3] or ""))] == [
        ("refusals", "fire", "client:fire", None),
        ("walk", "housing", "client:housing", "ambulance"),
        ("walk", "housing", "client:housing", "police"),
    ]
    leaves = {entry.id: entry.body for entry in fresh.world.services.log.find(Search(limit=10_000))}
    for _, organisation, _, owner, _, _, cited, events in found:
        assert [leaves[n].get("owner") for n in cited] == [owner] * len(cited)
        assert [leaves[n]["event"] for n in cited] == [str(e) for e in events]
        assert {leaves[n]["by"]["organisation"] for n in cited} == {organisation}
    assert {len(f[6]) for f in found} == {9, 10}


def test_that_a_flag_was_raised_is_in_the_part_of_the_log_that_it_is_about(fresh: Story) -> None:
    before = len(fresh.logged("flag"))
    fresh.look()
    made = fresh.logged("flag")[before:]
    assert sorted((leaf["asked"]["kind"], leaf.get("owner", "")) for leaf in made) == [
        ("refusals", ""),
        ("walk", "ambulance"),
        ("walk", "police"),
    ]
    assert {leaf["asked"]["step"] for leaf in made} == {"raised"}


def test_what_was_looked_at_is_not_looked_at_again(fresh: Story) -> None:
    fresh.look()
    found = kept(fresh)
    fresh.look()
    assert kept(fresh) == found


def test_any_size_of_batches_finds_the_same(fresh: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.look()
    whole = kept(fresh)
    for size in (1, 3, 7):
        anew(fresh)
        monkeypatch.setattr(watch_module, "AT_ONCE", size)
        fresh.look()
        assert kept(fresh) == whole
    assert whole


def test_a_leaf_waits_for_those_that_may_still_be_on_their_way(fresh: Story) -> None:
    now = fresh.world.clock()
    assert not fresh.watch.step(now)
    assert not fresh.watch.step(now + SETTLED - timedelta(seconds=1))
    assert kept(fresh) == []
    assert not fresh.watch.reached(now)
    fresh.watch.step(now + SETTLED)
    assert len(kept(fresh)) == 3
    assert fresh.watch.reached(now)
    fresh.refused()
    assert not fresh.watch.reached(fresh.world.clock())
    assert fresh.watch.reached(now)  # of before then, nothing is left


def test_a_clock_that_is_set_back_stops_nothing(fresh: Story) -> None:
    now = fresh.world.clock()
    fresh.watch.step(now + timedelta(days=40))
    fresh.watch.step(now)
    fresh.watch.step(now + SETTLED)
    assert len(kept(fresh)) == 3


@pytest.mark.parametrize("broken", ["_raise", "append"])
def test_a_batch_that_is_broken_off_keeps_nothing_and_is_done_whole_later(
    fresh: Story, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    fresh.look()
    whole = kept(fresh)
    anew(fresh)
    before = len(fresh.logged("flag"))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(watch_module, broken, fail)
        with pytest.raises(RuntimeError):
            fresh.look()
    assert kept(fresh) == []
    assert len(fresh.logged("flag")) == before
    fresh.look()
    assert kept(fresh) == whole


def test_of_two_processes_one_looks_at_a_time(fresh: Story) -> None:
    with transaction(fresh.world.database.auditor) as tx:
        tx.rows("begin; select reached from hub.flag_progress for update")
        fresh.look()
        assert kept(fresh) == []
    threads = [threading.Thread(target=fresh.look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh.look()
    assert len(kept(fresh)) == 3


def test_housekeeping_looks_at_new_leaves(fresh: Story) -> None:
    try:
        housekeeping(fresh.world.services, fresh.world.database)
        fresh.world.clock.ahead += timedelta(minutes=2)
        housekeeping(fresh.world.services, fresh.world.database)
    finally:
        fresh.world.clock.ahead = timedelta(0)
    assert len(kept(fresh)) == 3
