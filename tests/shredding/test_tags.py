"""No tag outlives its record: shredding meets tags that are being written, in every order, and neither waits for the other in a circle."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hub.db import Transaction
from hub.sharing.publish import Publishing
from hub.workers.matching import Matching
from tests.shredding.test_shred import published, rows, shared, shred
from tests.shredding.test_unlogged import SHRED, add, committed, event, number_of
from tests.wall.raw import rows as run
from tests.wall.raw import session
from tests.world import World, feature

__all__ = ["shared"]
PHONE = "+44 20 7946 0001"
TAG = "select hub.incidents_tag(%s::uuid, 1, null, array[%s::uuid], array[2], array[5], array[7], array[null::int])"
WAITING = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def tags_of(world: World, record: str) -> list[int]:
    return [rev for (rev,) in rows(world, "select rev from hub.incidents_blind where id = cast(:r as uuid) order by rev", r=record)]


def wait_for_one_that_waits(world: World) -> None:
    until = time.monotonic() + 20
    while not rows(world, WAITING):
        assert time.monotonic() < until, "somebody waits for a lock"
        time.sleep(0.02)


@pytest.fixture
def indexing(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Any]]:
    """What is done before the next tags are written, once each."""
    index, late = Matching.index, list[Callable[[], Any]]()

    def first(self: Matching, *arguments: Any) -> Any:
        if late:
            late.pop(0)()
        return index(self, *arguments)

    monkeypatch.setattr(Matching, "index", first)
    return late


def tag(connection: Any, world: World, record: str) -> None:
    owner = rows(world, "select uid from hub.organisations where slug = 'police'")[0][0]
    run(connection, TAG, (str(owner), record))


def test_a_record_that_is_shredded_between_its_key_and_its_tags_has_none(shared: World, indexing: list[Callable[[], Any]]) -> None:
    (record,) = published(shared, "T-1", phone=PHONE)
    assert tags_of(shared, record) == [1]
    done: list[int] = []
    indexing.append(lambda: done.append(shred(shared, record).status_code))
    (again,) = published(shared, "T-1", phone=PHONE, title="Another revision")
    assert done == [202]
    assert again != record
    assert (tags_of(shared, record), tags_of(shared, again)) == ([], [1])


def test_tags_that_are_being_written_go_with_the_record(shared: World) -> None:
    (record,) = published(shared, "T-2", phone=PHONE)
    with session(shared, "hub_keyd") as keyd, ThreadPoolExecutor(1) as pool:
        run(keyd, "begin")
        tag(keyd, shared, record)
        order = pool.submit(shred, shared, record)
        wait_for_one_that_waits(shared)
        run(keyd, "commit")
        assert order.result(20).status_code == 202
    assert tags_of(shared, record) == []


@pytest.mark.parametrize(("ends", "tags"), [("commit", []), ("rollback", [1, 2])])
def test_tags_that_come_while_a_record_is_being_shredded_wait_for_how_it_ends(shared: World, ends: str, tags: list[int]) -> None:
    (record,) = published(shared, f"T-3-{ends}", phone=PHONE)
    order = event("shred")
    with session(shared, "hub_writer") as writer, session(shared, "hub_keyd") as keyd, ThreadPoolExecutor(1) as pool:
        run(writer, "begin")
        numbers = [n for (n,) in run(writer, SHRED, (number_of(shared, "police"), [record], str(order.id)))]
        tagging = pool.submit(tag, keyd, shared, record)
        wait_for_one_that_waits(shared)
        add(writer, order, "police", numbers)
        if ends == "commit":
            assert committed(writer) is None
        else:
            run(writer, "rollback")
        tagging.result(20)
    assert tags_of(shared, record) == tags


def test_a_publication_that_writes_tags_while_it_holds_its_records_waits_for_no_shredding(
    shared: World, indexing: list[Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a second attempt does, which seals within its transaction. The shredding waits for its records, holding nothing that tags need."""
    (record,) = published(shared, "T-4", phone=PHONE)
    store, attempts = Publishing._store, list[int]()

    def late(self: Publishing, tx: Transaction, *arguments: Any) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            tx.rows("do $$ begin raise exception 'somebody else was faster' using errcode = '40001'; end $$")
        return store(self, tx, *arguments)

    monkeypatch.setattr(Publishing, "_store", late)
    with ThreadPoolExecutor(1) as pool:
        orders: list[Any] = []

        def order() -> None:
            orders.append(pool.submit(shred, shared, record))
            wait_for_one_that_waits(shared)

        indexing += [lambda: None, order]
        answer = shared.publish("police", feature("T-4", phone=PHONE, title="Another revision"))
        assert (answer.status_code, answer.json()["records"][0]["id"]) == (200, record)
        assert orders[0].result(20).status_code == 202
    assert len(attempts) == 2
    assert tags_of(shared, record) == []
