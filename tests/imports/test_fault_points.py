"""Each step of an import is broken in turn, once before it and once after: resumed, every row is there exactly once."""

import threading
from typing import Any

import psycopg2
import pytest

from hub.crypto.remote import RemoteKeys
from hub.db import Transaction
from hub.errors import Unavailable
from hub.sharing import publish
from hub.sharing.imports import Imports
from hub.sharing.publish import Publishing
from hub.sharing.replies import Replies
from hub.sharing.upload import Upload
from tests.api.asking import send
from tests.faults.test_fault_points import Broken, assert_pools_are_clean
from tests.imports.files import BY_HASH, BY_ID, csv, numbered, repr_digest, row
from tests.imports.sending import IMPORTS, counts, faults_of, open_import, opened, order, part, resume, rows, told, verdicts
from tests.imports.test_put_delete import delete, make, put
from tests.world import World, feature

pytestmark = pytest.mark.db
SECRET = "a witness said so"
STEPS = [
    (RemoteKeys, "macs"),
    (RemoteKeys, "seal_records"),
    (Publishing, "_known"),
    (Publishing, "_store"),
    (publish, "append"),
    (Upload, "_advance"),
    (Imports, "end"),
    (Imports, "get"),
    (Imports, "mapping_of"),
    (Imports, "equals_of"),
    (Transaction, "commit"),
]
FAULTS = {
    "defect": lambda: Broken(SECRET),
    "lost connection": lambda: psycopg2.OperationalError("server closed the connection unexpectedly"),
}


def break_once(patch: pytest.MonkeyPatch, where: Any, name: str, when: str, kind: str, at: int = 1) -> list[str]:
    """The step breaks at its `at`-th call; gives a list that is no longer empty then."""
    attribute = "rows" if name == "commit" else name
    step, called, broken = getattr(where, attribute), [0], list[str]()

    def breaking(*arguments: Any, **more: Any) -> Any:
        if threading.current_thread().name == "sequencer" or (name == "commit" and "commit" not in arguments[1]):
            return step(*arguments, **more)
        called[0] += 1
        if called[0] != at:
            return step(*arguments, **more)
        if when == "after":
            step(*arguments, **more)
        broken.append(name)
        error = FAULTS[kind]()
        # How these say that a database is gone.
        raise Unavailable("The database is gone.") if where in (RemoteKeys, Imports) and kind != "defect" else error

    patch.setattr(where, attribute, breaking)
    return broken


@pytest.fixture(autouse=True)
def short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.sharing.upload.BATCH", 20)


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("where", "name"), STEPS, ids=[name for _, name in STEPS])
def test_an_import_that_breaks_at_any_step_goes_on_where_it_stood(
    partners: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: str, kind: str
) -> None:
    spec, file = (BY_HASH, csv(row(n % 30, f"B-{name}-{when}-{kind}", id=n) for n in range(100))) if name in ("macs", "equals_of") else (
        BY_ID, numbered(100, f"B-{name}-{when}-{kind}")
    )  # fmt: skip
    path, statuses = opened(partners, file, spec), []
    cut = file.index(b"\n", len(file) // 2) + 1
    assert part(partners, path, file[:cut]).status_code == 200
    with monkeypatch.context() as patch:
        broken = break_once(patch, where, name, when, kind, 2 if name in ("_store", "_advance", "seal_batch") else 1)
        while not broken:
            statuses.append(attempt(partners, path, file))
    assert broken
    if statuses and statuses[-1] is not None:
        assert statuses[-1] in (500, 503)
    job = told(partners, path)
    if job["state"] == "open":
        job = resume(partners, path, file)
    assert (job["state"], counts(job)) == ("done", (100, 100, 0, 0, 0))
    said = verdicts(partners, path)
    assert [v["row"] for v in said] == list(range(1, 101))
    assert len({v["id"] for v in said}) == 100
    assert {v["revision"] for v in said} == {1}
    stored = rows(partners, "select count(*) from hub.incidents where id::text = any(:i)", i=[v["id"] for v in said])
    assert stored == [(100,)]
    assert faults_of(partners) == []
    assert_pools_are_clean(partners)


def attempt(world: World, path: str, file: bytes) -> int | None:
    """The rest is sent; None: already the question where the import stands was not answered."""
    answer = world.http.get(path, headers=world.bearer("police"))
    if answer.status_code != 200:
        return None
    at = answer.json()["offset"]
    sent = part(world, path, file[at:], at, Repr_Digest=repr_digest(file))
    assert SECRET not in sent.text
    return int(sent.status_code)


@pytest.mark.parametrize(
    ("step", "when", "kind"),
    [
        ("find", "before", "lost connection"),
        ("keep", "before", "defect"),
        ("keep", "after", "lost connection"),
        ("commit", "before", "lost connection"),
        ("commit", "after", "lost connection"),
        ("commit", "after", "defect"),
    ],
)
@pytest.mark.parametrize("way", ["POST items", "PUT", "DELETE", "POST imports"])
def test_a_request_with_a_key_that_breaks_is_done_once_when_it_is_sent_again(
    partners: World, monkeypatch: pytest.MonkeyPatch, way: str, step: str, when: str, kind: str
) -> None:
    name = f"K-{way}-{step}-{when}-{kind}"
    once = {"Idempotency-Key": f'"{name}"'}
    record = None if way.startswith("POST") else make(partners, name)
    ask = {
        "POST items": lambda: send(partners, feature(name), **once),
        "POST imports": lambda: open_import(partners, order(None), **once),
        "PUT": lambda: put(partners, record, feature(name, narrative="new"), '"1"', **once),
        "DELETE": lambda: delete(partners, record, '"1"', **once),
    }[way]
    jobs = "select count(*) from hub.imports"
    before = rows(partners, jobs)
    with monkeypatch.context() as patch:
        broken = break_once(patch, Transaction if step == "commit" else Replies, step, when, kind)
        first = ask()
        done_at_first = step == "commit" and when == "after"
        # Of a connection that is lost after the commit the hub finds out by itself that it was done.
        known = done_at_first and kind == "lost connection"
        assert first.status_code in ((200, 201) if known else (500, 503)), first.text
        assert SECRET not in first.text
        assert broken
    again = ask()
    assert again.status_code in (200, 201), again.text
    assert ("idempotency-replayed" in again.headers) == done_at_first
    if way == "POST imports":
        assert rows(partners, jobs) == [(before[0][0] + 1,)]
        partners.http.delete(f"{IMPORTS}/{again.json()['id']}", headers=partners.bearer("police"))
    else:
        assert again.json()["records"][0]["revision"] == (1 if way == "POST items" else 2)
    assert faults_of(partners) == []
