"""Coming into force in batches: the version before serves until the switch, nobody waits, and nothing is lost when it is cut off."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from hub.agreements.activation import Activation
from hub.app import application
from hub.db import transaction
from hub.errors import Conflict, Unavailable
from tests.agreements.relabelling import DEAD, WRONG, WRONG_NOW, activating, begin, count, step
from tests.world import World, feature, grant, mou_data
from tests.written import yaml_of

THEFTS = [{"field": "category", "one_of": ["theft"]}]
FIRES = [{"field": "category", "one_of": ["fire"]}]


@pytest.fixture(scope="module")
def hub(world: World) -> World:
    for slug in ("police", "health", "fire"):
        world.organisation(slug)
    some = [feature(f"R-{n}", category=("theft", "fire")[n % 2], lon=-79.38 + n / 500) for n in range(40)]
    assert world.publish("police", *some).status_code == 201
    assert world.publish("fire", feature("F-1", category="theft")).status_code == 201
    return world


@pytest.fixture
def version(hub: World, tmp_path: Path) -> Callable[..., Path]:
    """Writes a version of an agreement of this test's own."""
    name = f"MOU-{uuid4().hex[:8].upper()}"

    def write(number: int, where: Any, **more: Any) -> Path:
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(yaml_of(mou_data(name, "police", "health", [grant(where=where, **more)], version=number)))
        return path

    return write


def categories(hub: World, purpose: str = "research") -> set[str]:
    return {f["properties"]["category"] for f in hub.items("health", purpose)}


def test_until_the_switch_the_version_before_serves(hub: World, version: Callable[..., Path]) -> None:
    purposes = {"purposes": ["switching"]}
    hub.load(version(1, THEFTS, **purposes))
    number = begin(hub, version(2, FIRES, **purposes))
    while step(hub, number, 7):
        assert categories(hub, "switching") == {"theft"}
        assert hub.publish("police", feature(f"S-{uuid4()}", category="theft")).status_code == 201
        assert count(hub, WRONG_NOW) == 0
    activating(hub).finish(number, hub.clock())
    assert categories(hub, "switching") == {"fire"}
    assert (count(hub, WRONG), count(hub, DEAD)) == (0, 0)


def test_asking_again_finishes_what_was_cut_off(hub: World, version: Callable[..., Path]) -> None:
    path = version(1, FIRES, purposes=["again"])
    number = begin(hub, path)
    assert step(hub, number, 7)
    assert hub.get("health", "again", "/collections/incidents/items").status_code == 403
    assert not hub.load(path).unchanged
    assert categories(hub, "again") == {"fire"}
    assert hub.load(path).unchanged
    assert count(hub, WRONG) == 0


def test_what_was_cut_off_is_found_and_finished_once(hub: World, version: Callable[..., Path]) -> None:
    hub.load(version(1, THEFTS, purposes=["found"]))
    number = begin(hub, version(2, FIRES, purposes=["found"]))
    assert activating(hub).unfinished() == [(number, True)]
    before = len([leaf for leaf in hub.leaves(type="mou", owner="police") if leaf["asked"]["step"] == "activated"])
    assert activating(hub).resume(hub.clock()) == 1
    assert (activating(hub).resume(hub.clock()), activating(hub).unfinished()) == (0, [])
    assert len([leaf for leaf in hub.leaves(type="mou", owner="police") if leaf["asked"]["step"] == "activated"]) == before + 1
    assert categories(hub, "found") == {"fire"}
    assert (count(hub, WRONG), count(hub, DEAD)) == (0, 0)


def test_a_hub_that_serves_finishes_what_was_cut_off(hub: World, version: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.app.CHORES_S", 0.02)
    hub.load(version(1, THEFTS, purposes=["serving"]))
    number = begin(hub, version(2, FIRES, purposes=["serving"]))
    broken = iter([Unavailable("down"), ValueError("a defect")])

    def chores() -> None:
        for error in broken:
            raise error
        activating(hub).resume(hub.clock())

    told: list[dict[str, Any]] = []
    monkeypatch.setattr("hub.app._log", SimpleNamespace(error=lambda _event, **line: told.append(line)))
    with TestClient(application(hub.services, lambda: None, chores)):
        _wait_until(hub, f"select count(*) from hub.mous where id = {number} and state = 'active'")
    assert told == [{"error": "down"}, {"exc_info": True}]  # a defect by kind and place: its text may hold data
    assert categories(hub, "serving") == {"fire"}


def test_a_sweep_that_was_cut_off_goes_on(hub: World, version: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.load(version(1, THEFTS, purposes=["sweeping"]))
    path = version(2, FIRES, purposes=["sweeping"])
    with monkeypatch.context() as cut:
        cut.setattr(Activation, "sweep", _fail)
        with pytest.raises(RuntimeError):
            hub.load(path)
    assert categories(hub, "sweeping") == {"fire"}
    assert count(hub, DEAD) > 0
    assert activating(hub).resume(hub.clock()) == 1
    assert (count(hub, WRONG), count(hub, DEAD)) == (0, 0)


def _fail(*_: object) -> None:
    raise RuntimeError("killed")


def test_another_version_waits_until_the_one_before_is_in_force(hub: World, version: Callable[..., Path]) -> None:
    begin(hub, version(1, THEFTS, purposes=["waiting"]))
    with pytest.raises(Conflict, match=r"version 1 of .* is activating; withdraw it first"):
        hub.load(version(2, FIRES, purposes=["waiting"]))
    hub.load(version(1, THEFTS, purposes=["waiting"]))
    hub.load(version(2, FIRES, purposes=["waiting"]))
    assert categories(hub, "waiting") == {"fire"}


def test_two_processes_that_finish_the_same_version_do_it_once(hub: World, version: Callable[..., Path]) -> None:
    hub.load(version(1, THEFTS, purposes=["twice"]))
    number = begin(hub, version(2, FIRES, purposes=["twice"]))
    before = len([leaf for leaf in hub.leaves(type="mou", owner="police") if leaf["asked"]["step"] == "activated"])
    threads = [threading.Thread(target=activating(hub).finish, args=(number, hub.clock())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([leaf for leaf in hub.leaves(type="mou", owner="police") if leaf["asked"]["step"] == "activated"]) == before + 1
    assert (count(hub, WRONG), count(hub, DEAD)) == (0, 0)


def test_neither_readers_nor_publishers_wait_for_a_batch(hub: World, version: Callable[..., Path]) -> None:
    """A batch is held open; what it has locked are only records whose labels change."""
    hub.load(version(1, THEFTS, purposes=["holding"]))
    number = begin(hub, version(2, FIRES, purposes=["holding"]))
    with transaction(hub.database.agreements) as tx:
        tx.rows("begin; select * from hub.mou_work where mou_id = %s for update", (number,))
        provider, adds, takes = tx.rows("select provider, adds, takes from hub.mou_work where mou_id = %s", (number,))[0]
        touched = tx.rows(
            "select touched from hub.incidents_relabel(%s, %s::int[], %s::int[], -1, '00000000-0000-0000-0000-000000000000', 5000)",
            (provider, adds, takes),
        )[0][0]
        assert touched >= 20
        began = time.monotonic()
        assert categories(hub, "holding") == {"theft"}
        assert hub.publish("police", feature("R-0", category="theft", title="changed meanwhile")).status_code == 200
        assert hub.publish("police", feature(f"N-{uuid4()}", category="fire")).status_code == 201
        assert time.monotonic() - began < 5
        tx.rows("rollback")
    activating(hub).finish(number, hub.clock())
    assert (count(hub, WRONG), count(hub, DEAD)) == (0, 0)


RACED = "update hub.incidents set category = 'theft', released = '{}' where external_id = 'RACED'"


@pytest.mark.parametrize("careful", [True, False], ids=["as it is", "control: without locking records first"])
def test_a_record_that_changes_while_its_batch_waits_is_labelled_by_what_it_became(
    hub: World, version: Callable[..., Path], careful: bool
) -> None:
    assert hub.publish("police", feature("RACED", category="fire", title=str(careful))).status_code in (200, 201)
    number = begin(hub, version(1, FIRES, purposes=["racing"]))
    with hub.superuser() as admin:
        text: Any = admin.scalar(sa.text("select pg_get_functiondef('hub.incidents_relabel'::regproc)".replace("::", r"\:\:")))
        without, found = re.subn(r"perform from [^;]* for update;", "", text)
        assert found == 1
        if not careful:
            admin.exec_driver_sql(without.replace("%", "%%"))
    try:
        dsn = hub.addresses.main.set(drivername="postgresql").render_as_string(hide_password=False)
        other = psycopg2.connect(dsn)
        other.cursor().execute(RACED)  # as a revision that is about to be stored
        worker = threading.Thread(target=activating(hub).finish, args=(number, hub.clock()))
        worker.start()
        _wait_until(hub, "select count(*) from pg_stat_activity where wait_event = 'transactionid' and datname = current_database()")
        other.commit()
        other.close()
        worker.join(30)
        assert count(hub, WRONG) == (0 if careful else 1)
    finally:
        with hub.superuser() as admin:
            admin.exec_driver_sql(text.replace("%", "%%"))
    assert hub.publish("police", feature("RACED", category="fire", title="whole again")).status_code == 200
    assert count(hub, WRONG) == 0


def _wait_until(hub: World, statement: str) -> None:
    for _ in range(500):
        if count(hub, statement):
            return
        time.sleep(0.02)
    raise AssertionError(f"never: {statement}")


CHILD = """
import sys, sqlalchemy
from datetime import UTC, datetime
from hub.agreements import activation
from hub.datasets import DATASETS
activation.BATCH = 2
engine = sqlalchemy.create_engine(sys.stdin.readline().strip())
print("ready", flush=True)
activation.Activation(engine, DATASETS).finish(int(sys.argv[1]), datetime.now(UTC))
"""


def test_killed_at_any_moment_it_goes_on_and_ends_right(hub: World, version: Callable[..., Path]) -> None:
    """kill -9, again and again, at a later moment each time; each process works in batches of two."""
    hub.load(version(1, THEFTS, purposes=["killed"]))
    number = begin(hub, version(2, FIRES, purposes=["killed"]))
    address = hub.database.agreements.url.render_as_string(hide_password=False)
    killed = 0
    for wait in (0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdin
        assert child.stdout
        child.stdin.write(address + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "ready\n"
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdin.close()
        child.stdout.close()
        assert count(hub, WRONG_NOW) == 0
        assert categories(hub, "killed") in ({"theft"}, {"fire"})
    assert killed >= 3
    activating(hub).resume(hub.clock())
    assert categories(hub, "killed") == {"fire"}
    assert (count(hub, WRONG), count(hub, DEAD)) == (0, 0)
