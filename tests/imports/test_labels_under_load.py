"""Rows that arrive while agreements change carry the labels of the agreements that are in force, and no others are ever shown."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.datasets.incidents import Incident
from hub.db import transaction
from hub.sharing.labels import label_parameters
from tests.imports.files import numbered
from tests.imports.sending import faults_of, opened, part, rows
from tests.world import World, grant

pytestmark = [pytest.mark.db, pytest.mark.unmeasured]
CATEGORIES = ("theft", "fire")  # shared by turns
VERSIONS = 12
BATCH = 400


def mislabelled(world: World) -> int:
    """Records whose labels are not those of a full recomputation."""
    columns = "".join(f", i.{name}" for name, _ in label_parameters(Incident))
    ((count,),) = rows(world, f"select count(*) from hub.incidents i where released <> hub.incidents_label(null, i.provider{columns})")
    return int(count)


class Turns:
    """Loads versions of one agreement by turns, knows which may be in force, and watches as its consumer."""

    def __init__(self, world: World, folder: Path, consumer: str) -> None:
        self.world, self.folder, self.consumer = world, folder, consumer
        self.version, self.loading = 0, 0
        self.wrong: list[str] = []
        self.looks = 0

    def next(self) -> None:
        self.loading = self.version + 1
        where = [{"field": "category", "one_of": [CATEGORIES[self.loading % 2]]}]
        name = f"MOU-{self.consumer.upper()}"
        self.world.mou(self.folder, name, "police", self.consumer, [grant(where=where)], version=self.loading)
        self.version = self.loading

    def look(self) -> None:
        before = self.version
        shown = self.world.get(self.consumer, "research", "/collections/incidents/items", limit=1000)
        after = self.loading
        assert shown.status_code in (200, 503), shown.text
        if shown.status_code == 200:
            found = {f["properties"]["category"] for f in shown.json()["features"]}
            self.looks += bool(found)
            if not found <= {CATEGORIES[v % 2] for v in range(before, after + 1)}:
                self.wrong.append(f"{found} under versions {before} to {after}")


def under_load(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: Path, consumer: str, changes: bool, enough: Callable[[], bool] = lambda: False
) -> Turns:
    """Two clients import while agreements change, until `enough` says so or VERSIONS were loaded. With `changes` both bring the same
    records, again and again; without, only new ones.
    """
    monkeypatch.setattr("hub.sharing.upload.BATCH", BATCH)
    world.organisation(consumer)
    turns, over = Turns(world, folder, consumer), threading.Event()
    turns.next()

    def importing(who: int) -> None:
        n = 0
        while not over.is_set():
            file = numbered(3 * BATCH, consumer if changes else f"{consumer}-{who}-{n}", story=f"{who} {n}")
            answer = part(world, opened(world, file), file)
            assert answer.status_code in (200, 409, 503), answer.text
            n += 1

    def watching() -> None:
        while not over.is_set():
            turns.look()

    threads = [threading.Thread(target=importing, args=(who,)) for who in range(2)] + [threading.Thread(target=watching)]
    for thread in threads:
        thread.start()
    try:
        while turns.version < VERSIONS and not enough():
            turns.next()
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    return turns


def test_labels_are_those_of_a_full_recomputation_and_no_reader_sees_a_row_that_is_not_covered(
    partners: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    turns = under_load(partners, monkeypatch, tmp_path, "watcher", changes=True)
    assert turns.wrong == []
    assert turns.looks > VERSIONS / 2
    assert mislabelled(partners) == 0
    assert rows(partners, "select max(rev) > 1 from hub.incidents") == [(True,)]
    assert faults_of(partners) == []


def test_a_store_that_does_not_wait_for_rules_that_change_is_noticed(
    partners: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Control: the store without its lock labels rows by rules that have just been replaced."""
    with partners.superuser() as connection:
        text: Any = connection.scalar(sa.text("select pg_get_functiondef('hub.incidents_store'::regproc)"))
        careless, count = re.subn(r"perform pg_advisory_xact_lock_shared\(7201, 2\);", "", text)
        assert count == 1
        connection.exec_driver_sql(careless.replace("%", "%%"))
    try:
        under_load(partners, monkeypatch, tmp_path, "unwatched", changes=False, enough=lambda: mislabelled(partners) > 0)
        assert mislabelled(partners) > 0
    finally:
        with partners.superuser() as connection:
            connection.exec_driver_sql(text.replace("%", "%%"))


def test_whoever_locks_records_waits_for_rules_that_change_first(partners: World) -> None:
    """Else it would hold records that the loading of an agreement waits for, and wait for that."""
    with transaction(partners.database.writer) as tx:
        tx.rows("begin")
        tx.rows("select hub.incidents_lock(%s, %s)", (1, ["ANY"]))
        held = "locktype = 'advisory' and classid = 7201 and objid = 2 and mode = 'ShareLock' and pid = pg_backend_pid()"
        assert tx.rows(f"select count(*) from pg_locks where {held}") == [(1,)]
        tx.rows("rollback")
