"""What watches over the log: alarms for a signed leaf that doesn't get into the tree, for a broken chain, for a log or witnesses that fall
behind; and that sealed fields are refused then.
"""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.watch import BEHIND, CHAIN, MISSING, WITNESSES, Watch
from hub.leaf_chain import chained, statement
from tests.audit.bundles import alter, rows, settle
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"


class Idle:
    """Stands for the hub's own watch, which would end an alarm between a test's look and its question."""

    def look(self) -> None:
        return None


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world.sequencing.watch = Idle()  # type: ignore[assignment]
    for slug in ("police", "health", "housing"):
        world.organisation(slug)
    folder = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant(fields={"category": "clear", "narrative": "clear", "place": "clear"})])
    world.mou(folder, "MOU-2", "police", "housing", [grant()])
    assert world.publish("police", feature("A-1", narrative="x")).status_code == 201
    return world


@pytest.fixture
def clean(shared: World) -> Iterator[World]:
    settle(shared)
    yield shared
    alter(shared, "delete from hub.log_alarms")


class Looking:
    """A watch whose time is told."""

    def __init__(self, world: World, quorum: int = 0) -> None:
        self.now = 0.0
        self.watch = Watch(world.sequencing.engine, quorum, 300, 60, lambda: self.now)

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.watch.look()


def alarms(world: World) -> list[tuple[Any, ...]]:
    return rows(world, "select kind, detail from hub.log_alarms where ended_at is null order by kind")


def test_a_log_in_order_raises_none(clean: World) -> None:
    looking = Looking(clean)
    for _ in range(3):
        looking.after(20)
    assert alarms(clean) == []


def test_a_signed_leaf_that_is_not_in_the_tree_raises_an_alarm_once_and_not_at_once(clean: World) -> None:
    signed = clean.keyd.signer.sign(uuid4(), [b"x" * 32])[-1]
    settle(clean)
    looking = Looking(clean)
    looking.after(0)
    looking.after(9)
    assert alarms(clean) == []
    for _ in range(3):
        looking.after(2)
    ((kind, detail),) = alarms(clean)
    assert kind == MISSING
    assert f"number {signed.n}," in detail
    assert (b"x" * 32).hex() in detail


def test_a_signature_that_was_removed_or_changed_raises_an_alarm(clean: World) -> None:
    for _ in range(3):
        clean.get("health", "research", ITEMS)
    settle(clean)
    ((last,),) = rows(clean, "select max(n) from hub.leaf_signatures")
    kept = rows(clean, f"select n, event, leaf_hash, chain, key, signature from hub.leaf_signatures where n = {last - 1}")[0]
    alter(clean, f"delete from hub.leaf_signatures where n = {last - 1}")
    try:
        Looking(clean).after(0)
        ((kind, detail),) = [a for a in alarms(clean) if a[0] == CHAIN]
        assert kind == CHAIN
        assert f"Signature {last} of the key process doesn't follow from number {last - 2}" in detail
    finally:
        with clean.superuser() as admin:
            admin.exec_driver_sql("insert into hub.leaf_signatures values (%s, %s, %s, %s, %s, %s)", kept)


def test_a_signature_by_another_key_raises_an_alarm(clean: World) -> None:
    """It follows, and verifies with the key that it names: a key process has one key."""
    clean.get("health", "research", ITEMS)
    settle(clean)
    last = clean.keyd.signer.after(0, 100_000)[-1]
    stranger, digest = Ed25519PrivateKey.generate(), bytes(32)
    chain = chained(last.chain, last.n + 1, digest)
    public, signature = stranger.public_key().public_bytes_raw(), stranger.sign(statement(last.n + 1, digest, chain))
    with clean.superuser() as admin:
        row = (last.n + 1, str(uuid4()), digest, chain, public, signature)
        admin.exec_driver_sql("insert into hub.leaf_signatures values (%s, %s, %s, %s, %s, %s)", row)
    try:
        Looking(clean).after(0)
        ((_, detail),) = [a for a in alarms(clean) if a[0] == CHAIN]
        assert detail.startswith(f"Signature {last.n + 1} is by another key than those before it")
    finally:
        alter(clean, f"delete from hub.leaf_signatures where n = {last.n + 1}")


def test_signatures_that_the_log_does_not_take_keep_sealed_fields_closed(clean: World) -> None:
    copies = clean.keyd.copying
    clean.keyd.copying = Behind()  # type: ignore[assignment]
    try:
        answer = clean.get("health", "research", ITEMS)
        assert answer.status_code == 503
        assert "has not taken the signatures of the key process" in answer.text
        assert "narrative" not in answer.text
        assert clean.get("housing", "research", ITEMS).status_code == 200  # which opens nothing
    finally:
        clean.keyd.copying = copies
    assert clean.get("health", "research", ITEMS).status_code == 200


class Behind:
    """Stands for copies that the log has not taken for a minute and a second."""

    behind_s = 61.0

    def run(self) -> None:
        return None


def test_a_log_that_falls_behind_raises_an_alarm_and_opens_nothing_until_it_has_caught_up(clean: World) -> None:
    place = "insert into hub.log_pending (leaf, leaf_hash, owner, at) values (-1, sha256('-'), 'nobody', now() - interval '61 seconds')"
    clean.sequencing.pause.set()
    try:
        alter(clean, place)
        Looking(clean).after(0)
        assert [kind for kind, _ in alarms(clean)] == [BEHIND]
        answer = clean.get("health", "research", ITEMS)
        assert answer.status_code == 503
        assert "nothing was opened" in answer.text
        assert "narrative" not in answer.text
        assert clean.get("housing", "research", ITEMS).status_code == 200  # which opens nothing
        assert clean.http.get("/healthz").status_code == 200
        alter(clean, "delete from hub.log_pending where leaf = -1")
        Looking(clean).after(0)
        assert alarms(clean) == []
        assert clean.get("health", "research", ITEMS).status_code == 200
    finally:
        clean.sequencing.pause.clear()


def test_witnesses_that_fall_behind_raise_an_alarm_until_they_have_caught_up(clean: World) -> None:
    alter(clean, "update hub.checkpoints set at = now() - interval '301 seconds'")
    looking = Looking(clean, quorum=1)
    looking.after(0)
    assert [kind for kind, _ in alarms(clean)] == [WITNESSES]
    Looking(clean, quorum=0).after(0)
    assert alarms(clean) == []
