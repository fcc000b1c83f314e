"""Each step of publish and of query is broken in turn, once before it and once after: nothing half-shared, nothing disclosed unlogged."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import sqlalchemy as sa

from hub.audit import log
from hub.crypto.leaf_signer import LeafSigner
from hub.crypto.remote import RemoteKeys
from hub.db import Transaction
from hub.errors import Unavailable
from hub.leaf_chain import Signed
from hub.sharing import disclosure, publish
from hub.sharing.publish import Publishing
from hub.sharing.query import Querying
from hub.workers import lending
from tests.faults.stand import EVERYTHING
from tests.world import World, feature, grant

SECRET = "a witness said so"
ITEMS = "/collections/incidents/items"
COUNTS = ("incidents", "incidents_history", "incidents_withdrawn")


class Broken(Exception):
    """A defect of the hub: no error that it knows."""


FAULTS: dict[str, tuple[Callable[[], Exception], int]] = {
    "defect": (lambda: Broken(SECRET), 500),
    "lost connection": (lambda: psycopg2.OperationalError("server closed the connection unexpectedly"), 503),
}
KEYRING_FAULT = Unavailable("The keys database is gone.")  # how the keyring says the same
COMMIT = "commit"  # not a function: the message by which publish commits
PUBLISH_STEPS = [
    (RemoteKeys, "macs"),
    (Publishing, "_known"),
    (RemoteKeys, "seal_records"),
    (Publishing, "_store"),
    (publish, "append"),
    (Transaction, COMMIT),
]
QUERY_STEPS = [(Querying, "admit"), (Querying, "execute"), (disclosure, "send"), (RemoteKeys, "open_batch")]


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "health"):
        world.organisation(slug)
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-1", "police", "health", [grant(fields=EVERYTHING)])
    assert world.publish("police", feature("KEPT", narrative=SECRET)).status_code == 201
    assert len(world.items("health", "research")) == 1
    return world


def break_step(patch: pytest.MonkeyPatch, where: Any, name: str, when: str, fault: Callable[[], Exception]) -> None:
    """Raises once the step is reached, or done."""
    step = getattr(where, "rows" if name == COMMIT else name)

    def broken(*arguments: Any, **more: Any) -> Any:
        if threading.current_thread().name == "sequencer" or (name == COMMIT and "commit" not in arguments[1]):
            return step(*arguments, **more)
        if when == "after":
            step(*arguments, **more)
        error = fault()
        raise KEYRING_FAULT if where is RemoteKeys and isinstance(error, psycopg2.Error) else error

    patch.setattr(where, "rows" if name == COMMIT else name, broken)


@dataclass(frozen=True)
class State:
    """Rows of the dataset's tables, and the log's leaves about publishing and querying."""

    rows: tuple[int, ...]
    published: int
    queried: int


def state(world: World) -> State:
    with world.superuser() as connection:
        rows = tuple(connection.scalar(sa.text(f"select count(*) from hub.{t}")) or 0 for t in COUNTS)
        count = sa.text("select count(*) from hub.audit_leaves where type = :type")
        leaves = [connection.scalar(count, {"type": kind}) or 0 for kind in ("publish", "query")]
    return State(rows, leaves[0], leaves[1])


def assert_pools_are_clean(world: World) -> None:
    """Every idle connection of every pool: no transaction, no context, not left in autocommit; and no lock is held by anybody."""
    for engine in (world.database.reader, world.database.writer, world.database.auditor, world.keyd.database.keys):
        held = [engine.raw_connection() for _ in range(engine.pool.checkedin())]  # type: ignore[attr-defined]
        for pooled in held:
            connection = pooled.dbapi_connection
            assert connection is not None
            assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
            assert not connection.autocommit
            with connection.cursor() as cursor:
                cursor.execute("select coalesce(current_setting('hub.context', true), '')")
                assert cursor.fetchone() == ("",)
            connection.rollback()
        for pooled in held:
            pooled.close()
    with world.superuser() as connection:
        # The key process copies signatures by itself, the sequencer holds a lock of its own.
        named = "datname = current_database() and usename like 'hub%' and usename not in ('hub_keyd', 'hub_sequencer')"
        ours = f"pid in (select pid from pg_stat_activity where {named})"
        assert connection.scalar(sa.text(f"select count(*) from pg_locks where {ours}")) == 0


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("where", "name"), PUBLISH_STEPS, ids=[name for _, name in PUBLISH_STEPS])
def test_a_publish_that_breaks_at_any_step_stores_all_or_nothing(
    shared: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: str, kind: str
) -> None:
    fault, status = FAULTS[kind]
    before = state(shared)
    sent = [feature(f"{name}-{when}-{kind}", narrative=SECRET), feature("KEPT", narrative=f"{SECRET}, {name}, {when}, {kind}")]
    with monkeypatch.context() as patch:
        break_step(patch, where, name, when, fault)
        answer = shared.publish("police", *sent)
    assert answer.status_code == status
    assert SECRET not in answer.text
    if (name, when) == (COMMIT, "after"):  # the answer was lost, not the records
        assert state(shared) == State((before.rows[0] + 1, before.rows[1] + 1, 0), before.published + 1, before.queried)
    else:
        assert state(shared) == before
    assert_pools_are_clean(shared)
    again = shared.publish("police", *sent)
    assert again.status_code == (200 if (name, when) == (COMMIT, "after") else 201), again.text
    assert SECRET in shared.get("health", "research", f"{ITEMS}/{again.json()['records'][0]['id']}").text


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("where", "name"), QUERY_STEPS, ids=[name for _, name in QUERY_STEPS])
def test_a_query_that_breaks_at_any_step_discloses_nothing(
    shared: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: str, kind: str
) -> None:
    fault, status = FAULTS[kind]
    found = shared.items("health", "research")
    for path in (ITEMS, f"{ITEMS}/{found[0]['id']}"):
        before = state(shared)
        with monkeypatch.context() as patch:
            break_step(patch, where, name, when, fault)
            answer = shared.get("health", "research", path)
        assert answer.status_code == status
        assert SECRET not in answer.text
        assert found[0]["id"] not in answer.text
        logged = name == "open_batch" or (name, when) == ("send", "after")  # it may say too much, never too little
        assert state(shared).queried == before.queried + logged
        assert_pools_are_clean(shared)
        assert SECRET in shared.get("health", "research", path).text


@contextmanager
def failing_commit(world: World, code: str) -> Iterator[None]:
    """PostgreSQL itself refuses to commit whatever adds a leaf: as when it runs out of room at that moment."""
    with world.superuser() as connection:
        connection.exec_driver_sql(
            "create function public.fail() returns trigger language plpgsql as"
            f" 'begin raise exception ''no'' using errcode = ''{code}''; end';"
            " create constraint trigger fail after insert on hub.audit_leaves deferrable initially deferred"
            " for each row execute function public.fail()"
        )
    try:
        yield
    finally:
        with world.superuser() as connection:
            connection.exec_driver_sql("drop trigger fail on hub.audit_leaves; drop function public.fail()")


@pytest.mark.parametrize(("code", "statuses"), [("53100", {503}), ("57014", {503}), ("XX000", {500, 503})])
def test_when_the_commit_itself_fails_nothing_is_stored_and_nothing_disclosed(shared: World, code: str, statuses: set[int]) -> None:
    before = state(shared)
    with failing_commit(shared, code):
        answers = [shared.publish("police", feature(f"commit-{code}", narrative=SECRET)), shared.get("health", "research", ITEMS)]
    for answer in answers:
        assert answer.status_code in statuses
        assert SECRET not in answer.text
    assert state(shared) == before
    assert_pools_are_clean(shared)
    assert SECRET in shared.get("health", "research", ITEMS).text


def test_a_refusal_that_cannot_be_logged_is_not_told(shared: World) -> None:
    shared.bearer("health", "gossip")
    assert shared.get("health", "gossip", ITEMS).status_code == 403
    with failing_commit(shared, "53100"):
        assert shared.get("health", "gossip", ITEMS).status_code == 503
        assert shared.get("health", "research", f"{ITEMS}/00000000-0000-4000-8000-000000000000").status_code == 503
        assert shared.token_response("health", "research").status_code == 503
        assert shared.http.get("/audit/events", headers=shared.bearer("health", "research")).status_code == 503


def test_a_hub_that_commits_too_early_would_be_caught(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a commit between storing and logging, the test above sees rows without a leaf."""
    store, before = Publishing._store, state(shared)

    def hasty(self: Publishing, tx: Transaction, *rest: Any) -> Any:
        numbers = store(self, tx, *rest)
        tx.rows("commit; begin")
        return numbers

    with monkeypatch.context() as patch:
        patch.setattr(Publishing, "_store", hasty)
        break_step(patch, publish, "append", "before", FAULTS["defect"][0])
        assert shared.publish("police", feature("hasty")).status_code == 500
    after = state(shared)
    assert after.published == before.published
    assert after.rows != before.rows


def test_a_hub_that_opens_before_it_logs_would_be_caught(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a hub whose log swallows its own failure is lent no key; were it lent one, it would disclose with no leaf to show for it."""
    send, before = log.send, state(shared)

    def lenient(*arguments: Any, **more: Any) -> Any:
        try:
            return send(*arguments, **more)
        except (psycopg2.Error, Unavailable):
            return None

    with monkeypatch.context() as patch, failing_commit(shared, "53100"):
        patch.setattr(disclosure, "send", lenient)
        answer = shared.get("health", "research", ITEMS)
        assert answer.status_code == 500
        assert SECRET not in answer.text
        patch.setattr(lending, "check", lambda *_: None)
        patch.setattr(LeafSigner, "sign", lambda *_: [Signed(1, uuid4(), b"", b"", b"", b"")])  # there is no leaf to sign
        answer = shared.get("health", "research", ITEMS)
    assert SECRET in answer.text
    assert state(shared) == before


def test_all_connections_taken_is_503_and_passes(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.bearer("police"), shared.bearer("health", "research")
    asked: dict[str, Callable[[], Any]] = {
        "reader": lambda: shared.get("health", "research", ITEMS),
        "writer": lambda: shared.publish("police", feature("busy")),
        "auditor": lambda: shared.get("health", "research", "/audit/events"),
        "keys": lambda: shared.get("health", "research", ITEMS),
    }
    for role, ask in asked.items():
        engine: sa.Engine = getattr(shared.keyd.database if role == "keys" else shared.database, role)
        before = state(shared)
        with monkeypatch.context() as patch:
            patch.setattr(engine.pool, "_timeout", 0.2)  # not ten seconds
            held = [engine.raw_connection() for _ in range(shared.settings.pool_size)]
            answer = ask()
            for pooled in held:
                pooled.close()
        assert answer.status_code == 503, role
        assert answer.headers["retry-after"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert SECRET not in answer.text
        assert state(shared).rows == before.rows
        assert ask().status_code in (200, 201), role


def test_connections_that_died_while_idle_cost_nobody_an_answer(shared: World) -> None:
    """As after a restart of PostgreSQL: every pooled connection is dead, and none of them knows."""
    base, held = shared.database, shared.keyd.database
    engines = (base.reader, base.writer, base.auditor, base.agreements, held.main, held.keys)
    shared.bearer("police"), shared.bearer("health", "research")
    for engine in engines:
        for pooled in [engine.raw_connection() for _ in range(shared.settings.pool_size)]:
            pooled.close()
    ours = "usename like 'hub%' and usename <> 'hub_sequencer' and datname in (current_database(), current_database() || '_keys')"
    with shared.superuser() as connection:
        ended = connection.scalar(sa.text(f"select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where {ours}"))
        assert ended == len(engines) * shared.settings.pool_size
    for n in range(3):
        assert shared.publish("police", feature(f"after-{n}")).status_code == 201
        assert shared.get("health", "research", ITEMS).status_code == 200
        assert shared.http.get("/audit/events", headers=shared.bearer("police")).status_code == 200
