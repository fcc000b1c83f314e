"""A first revision is of a record that never was: one that is gone, stored again past the hub, would stand in the way of its shredding."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest

from hub.datasets import DATASETS
from hub.sharing.incoming import Revision, columns
from hub.sharing.publish import Publishing
from hub.sharing.stored import store_parameters
from tests.shredding.test_shred import carried_out, item, keys_of, published, rows, shared, shred
from tests.shredding.test_tags import wait_for_one_that_waits
from tests.shredding.test_unlogged import committed, number_of
from tests.wall.raw import rows as run
from tests.wall.raw import session
from tests.world import World

__all__ = ["shared"]
INCIDENT = DATASETS["incidents"]
STORE = f"select id from hub.incidents_store({', '.join(f'%s::{kind}' for _, kind in store_parameters(INCIDENT))})"
TWICE = "select 1 from hub.incidents i join hub.incidents_history h using (id, rev)"
Taken = Callable[[str], Revision]


@pytest.fixture
def taken(shared: World, monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Publishes a record; gives its first revision as it was stored, with its ciphertexts."""
    store, waves = Publishing._store, list[Revision]()

    def keeping(self: Publishing, tx: Any, publisher: Any, wave: Any) -> Any:
        waves.extend(wave)
        return store(self, tx, publisher, wave)

    monkeypatch.setattr(Publishing, "_store", keeping)

    def take(name: str) -> Revision:
        published(shared, name)
        return waves[-1]

    return take


def withdraw(world: World, record: UUID) -> None:
    headers = world.bearer("police") | {"If-Match": "*"}
    assert world.http.delete(f"/collections/incidents/items/{record}", headers=headers).is_success


def stored(world: World, connection: Any, *revisions: Revision, owner: str = "police") -> str | None:
    """Stores them with the writer's own password; the SQLSTATE of what was refused."""
    try:
        run(connection, STORE, columns(INCIDENT, number_of(world, owner), revisions))
    except psycopg2.Error as error:
        return error.pgcode
    return None


@pytest.mark.parametrize("owner", ["police", "fire"])
@pytest.mark.parametrize("gone", ["withdrawn", "withdrawn and returned and withdrawn", "shredded"])
def test_a_record_that_is_gone_is_not_stored_as_a_first_revision(shared: World, taken: Taken, gone: str, owner: str) -> None:
    first, new = taken(f"A-{gone}-{owner}"), taken(f"B-{gone}-{owner}")
    withdraw(shared, new.id)
    if gone == "shredded":
        assert shred(shared, str(first.id)).status_code == 202
    else:
        withdraw(shared, first.id)
    if "returned" in gone:
        published(shared, f"A-{gone}-{owner}")
        withdraw(shared, first.id)
    with session(shared, "hub_writer") as writer:
        assert stored(shared, writer, first, owner=owner) == "40001"
        assert stored(shared, writer, replace(new, id=uuid4()), first, owner=owner) == "40001", "nor among others"
    assert rows(shared, TWICE) == []
    if gone != "shredded":
        assert shred(shared, str(first.id)).status_code == 202
    carried_out(shared)
    assert keys_of(shared, str(first.id)) == 0


def test_a_record_that_never_was_is_stored(shared: World, taken: Taken) -> None:
    """The control: the same arguments but for the id."""
    first = taken("C-1")
    withdraw(shared, first.id)
    with session(shared, "hub_writer") as writer:
        assert stored(shared, writer, replace(first, id=uuid4())) is None


@pytest.mark.parametrize("rev", [0, -1])
def test_there_is_no_revision_before_the_first(shared: World, taken: Taken, rev: int) -> None:
    """It could be overwritten by the first, and no history would tell."""
    first = taken(f"N-{rev}")
    withdraw(shared, first.id)
    with session(shared, "hub_writer") as writer:
        assert stored(shared, writer, replace(first, id=uuid4(), rev=rev)) == "40001"


def test_a_record_that_is_withdrawn_meanwhile_is_not_stored_again(shared: World, taken: Taken) -> None:
    """The store waits for the row that goes; what it looked at before would not tell."""
    first = taken("W-1")
    with session(shared, "hub_writer") as one, session(shared, "hub_writer") as other, ThreadPoolExecutor(1) as pool:
        run(one, "begin; select hub.incidents_withdraw(%s, %s::uuid, 1, 'withdrawal')", (number_of(shared, "police"), str(first.id)))
        again = pool.submit(stored, shared, other, first)
        wait_for_one_that_waits(shared)
        assert committed(one) is None
        assert again.result(20) == "40001"
    assert rows(shared, TWICE) == []
    assert item(shared, str(first.id)).status_code == 404
