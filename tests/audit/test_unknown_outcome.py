"""A connection that is lost at the commit of a leaf: nobody knows what became of it. The same event is sent once more, is in the log
once, and what it is about is answered.
"""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from hub.db import Transaction
from tests.agreements.duties import OWED
from tests.audit.bundles import rows
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
COUNT = "select count(*), count(distinct event) from hub.audit_leaves where type = %s"


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "health", "housing"):
        world.organisation(slug)
    folder = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant(fields={"category": "clear", "narrative": "clear", "place": "clear"})])
    world.mou(folder, "MOU-2", "police", "housing", [grant(duties=OWED)])
    assert world.publish("police", feature("A-1", narrative="x")).status_code == 201
    for client in ("health", "housing"):
        assert world.get(client, "research", ITEMS).status_code == 200
    assert world.http.get("/audit/events", headers=world.bearer("police")).status_code == 200
    return world


def losing(monkeypatch: pytest.MonkeyPatch, before: bool, times: int = 1) -> list[bool]:
    """The connection goes with the message that commits a leaf, before the server has it or after it did it."""
    real, lost = Transaction.rows, list[bool]()

    def rows(self: Transaction, statement: str, arguments: Any = ()) -> list[tuple[Any, ...]]:
        hit = "hub.audit_append" in statement and statement.endswith("; commit") and len(lost) < times
        if not (hit and before):
            found = real(self, statement, arguments)
        if hit:
            lost.append(before)
            self._connection.close()
            raise psycopg2.OperationalError("server closed the connection unexpectedly")
        return found

    monkeypatch.setattr(Transaction, "rows", rows)
    return lost


@pytest.fixture(params=[True, False], ids=["nothing was committed", "it was committed"])
def before(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


ASKS: dict[str, tuple[str, Callable[[World], Any]]] = {
    "a page": ("query", lambda world: world.get("health", "research", ITEMS)),
    "the log": ("audit", lambda world: world.http.get("/audit/events", headers=world.bearer("police"))),
}


@pytest.mark.parametrize("name", ASKS)
def test_the_same_event_is_sent_again_and_logged_once(shared: World, monkeypatch: pytest.MonkeyPatch, name: str, before: bool) -> None:
    kind, ask = ASKS[name]
    with shared.superuser() as admin:
        counted = admin.exec_driver_sql(COUNT, (kind,)).one()
    lost = losing(monkeypatch, before)
    answer = ask(shared)
    monkeypatch.undo()
    assert lost == [before]
    assert answer.status_code == 200
    with shared.superuser() as admin:
        assert tuple(admin.exec_driver_sql(COUNT, (kind,)).one()) == (counted[0] + 1, counted[1] + 1)


def test_a_connection_that_is_lost_twice_is_503_and_nothing_is_told(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = losing(monkeypatch, True, times=2)
    answer = shared.get("health", "research", ITEMS)
    assert len(lost) == 2
    assert answer.status_code == 503
    assert "narrative" not in answer.text


def test_what_is_kept_under_a_duty_is_not_kept_twice(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the transaction holds more than the leaf, the reader asks again."""
    ((kept,),) = rows(shared, "select count(*) from hub.deliveries")
    losing(monkeypatch, False)
    assert shared.get("housing", "research", ITEMS).status_code == 503
    monkeypatch.undo()
    assert rows(shared, "select count(*) from hub.deliveries") == [(kept + 1,)]
    assert shared.get("housing", "research", ITEMS).status_code == 200
