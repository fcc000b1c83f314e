"""A log with a bit of everything, bundles of it, and their verdicts."""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.agreements.replay import Replay
from hub.audit.bundle import Trust
from hub.audit.export import Exporter, Wanted
from hub.audit.log import Search
from hub.audit.notes import Checkpoint, Note, Signer
from hub.audit.sequence import Memory, Sequencer
from hub.audit.trust import trust_of
from hub.audit.verify import Verdict, verify
from hub.datasets import DATASETS
from hub.identity.party_keys import STATEMENT, check
from hub.workers.sequencing import log_key
from tests.world import World, build, feature, grant

ITEMS = "/collections/incidents/items"
WHOLE = Wanted(None, (), {})


@pytest.fixture(scope="module")
def shared(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """For tests that leave the log a log."""
    with build(*databases(), state) as built:
        play(built, tmp_path_factory.mktemp("mous"))
        yield built


@pytest.fixture
def world(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path: Path) -> Iterator[World]:
    """A log with a bit of everything, all of it in the tree, to be ruined."""
    with build(*databases(), state) as built:
        play(built, tmp_path)
        yield built


def play(world: World, folder: Path) -> None:
    for slug in ("police", "fire", "health", "housing"):
        world.organisation(slug)
    fields = {"category": "clear", "narrative": "clear", "place": {"grid_m": 500}}
    world.mou(folder, "MOU-POLICE", "police", "health", [grant(fields=fields, actions=["query", "export"])])
    world.mou(folder, "MOU-FIRE", "fire", "health", [grant(fields={"category": "clear", "place": {"grid_m": 2000}})])
    for owner in ("police", "fire"):
        assert world.publish(owner, *(feature(f"{owner}-{n}", narrative="seen") for n in range(3))).status_code == 201
    read(world)
    assert world.get("housing", "research", ITEMS).status_code == 403
    settle(world)


def read(world: World) -> None:
    assert len(world.items("health", "research")) == 6
    assert world.get("health", "research", ITEMS, bbox="-80,43,-79,44").status_code == 200
    assert world.http.get("/audit/events", headers=world.bearer("police")).status_code == 200


def settle(world: World) -> None:
    """Waits until all is in the tree, and signatures are copied."""
    until = time.monotonic() + 20
    last = world.keyd.signer.after(0, 100_000)[-1].n
    waiting = "select (select count(*) from hub.log_pending), (select max(n) from hub.leaf_signatures)"
    while rows(world, waiting) != [(0, last)]:
        assert time.monotonic() < until, "the sequencer does not come along"
        time.sleep(0.05)


def rows(world: World, question: str) -> list[Any]:
    with world.superuser() as admin:
        return [tuple(row) for row in admin.exec_driver_sql(question.replace("%", "%%"))]


def alter(world: World, statement: str) -> None:
    """As whoever administers the database can: triggers off."""
    with world.superuser() as admin:
        admin.exec_driver_sql(f"set session_replication_role = replica; {statement}".replace("%", "%%"))


def made(world: World, wanted: Wanted = WHOLE, signer: Signer | None = None) -> bytes:
    out = io.BytesIO()
    Exporter(world.database.auditor, signer or log_key(world.settings)).write(out, wanted, datetime.now(UTC))
    return out.getvalue()


def trusted_text(world: World) -> str:
    return json.dumps(trust_of(world.database.auditor, log_key(world.settings).key, 0))


def trusted(world: World, pinned: bool = True) -> Trust:
    found = Trust.read(trusted_text(world))
    newest = rows(world, "select note from hub.checkpoints order by size desc limit 1")[0][0]
    return replace(found, pinned=Checkpoint.read(Note.read(newest).text) if pinned else None)


def verdict(raw: bytes, trust: Trust) -> Verdict:
    return verify(io.BytesIO(raw), trust, lambda jws, content, jwk: check(jws, STATEMENT, content, jwk), Replay(DATASETS))


def wrong(raw: bytes, trust: Trust, *words: str) -> None:
    found = verdict(raw, trust)
    assert not found.good
    for word in words:
        assert any(word in sentence for sentence in found.wrong), (word, found.wrong)


LEAF = "(select max(id) from hub.audit_leaves where type = 'query' and owner = 'police')"
OTHER = "(select min(id) from hub.audit_leaves where type = 'query' and owner = 'police')"
EDIT = f"update hub.audit_leaves set leaf = replace(leaf, 'health', 'wealth') where id = {LEAF}"
DELETE = f"delete from hub.audit_leaves where id = {LEAF}"
POLICE = Wanted(Search(owner="police"), ("police",), {"owner": "police"})


def settle_tree(world: World) -> None:
    until = time.monotonic() + 20
    while rows(world, "select count(*) from hub.log_pending") != [(0,)]:
        assert time.monotonic() < until
        time.sleep(0.05)


def copied(world: World) -> None:
    until = time.monotonic() + 20
    last = world.keyd.signer.after(0, 100_000)[-1].n
    while rows(world, "select max(n) from hub.leaf_signatures") != [(last,)]:
        assert time.monotonic() < until
        time.sleep(0.05)


def take(world: World, signer: Signer | None = None) -> None:
    """A sequencer that looks at nothing but the database."""
    engine = sa.create_engine(world.addresses.main)
    memory = Memory(world.settings.state_dir / f"memory-{time.monotonic_ns()}.json")
    sequencer = Sequencer(engine, signer or log_key(world.settings), memory, lambda: datetime.now(UTC))
    while sequencer.take():
        pass
    engine.dispose()
    memory._path.unlink(missing_ok=True)
