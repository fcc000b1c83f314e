"""The sequencer: every leaf gets its place once, tiles and checkpoints fit, owners' lists are dense, and a database that was put back or
altered is not signed.
"""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub import db
from hub.audit.heads import Head, start
from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.audit.notes import Checkpoint, Note, Signer
from hub.audit.sequence import Memory, PutBack, Sequencer, read_tile
from hub.audit.tiles import Tree, tiles_of
from hub.audit.tree import included, inclusion, leaf_hash, root_of
from hub.db import transaction

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
EVENT = UUID("01900000-0000-7000-8000-000000000000")


class Hub:
    """A log with a sequencer of its own, and nothing else."""

    def __init__(self, main: sa.URL, state: Path, folder: Path) -> None:
        self.database = db.connect(main, db.read_secrets(state))
        self.engine = db.connect_sequencer(main, db.read_roles_secret(state / "log"))
        self.admin = sa.create_engine(main, isolation_level="AUTOCOMMIT")
        self.signer, self.file = Signer("hub.example/audit", bytes(32)), folder / "signed.json"
        self.now = NOW
        self.sequencer = self.another()

    def another(self) -> Sequencer:
        return Sequencer(self.engine, self.signer, Memory(self.file), lambda: self.now)

    def add(self, *owners: str | None, event: UUID | None = None) -> UUID:
        with transaction(self.database.auditor) as tx:
            tx.rows("begin")
            made = Event(event or event_id(NOW, uuid4().bytes[:10]), "test", NOW, By("police"), "permit")
            append(tx, made, [Share(owner) for owner in owners], then="; commit")
        return made.id

    def rows(self, statement: str) -> list[Any]:
        with self.admin.connect() as connection:
            return list(connection.exec_driver_sql(statement.replace("%", "%%")))

    def alter(self, statement: str) -> None:
        """As whoever administers the database can."""
        with self.admin.connect() as connection:
            connection.exec_driver_sql(f"set session_replication_role = replica; {statement}; set session_replication_role = origin")

    def tree(self, size: int) -> Tree:
        with transaction(self.engine) as tx:
            tiles = {tile: read_tile(tx, tile) for tile in tiles_of(size)}
        return Tree(size, tiles.__getitem__)


@pytest.fixture
def hub(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path: Path) -> Iterator[Hub]:
    made = Hub(databases()[0], state, tmp_path)
    yield made
    made.database.dispose()
    made.engine.dispose()
    made.admin.dispose()


def indexed(hub: Hub) -> list[Any]:
    return hub.rows(
        "select i.idx, i.leaf_hash, i.owner, i.n, coalesce(l.leaf, h.leaf), i.leaf is null from hub.log_index i"
        " left join hub.audit_leaves l on l.id = i.leaf left join hub.heads_leaves h on h.idx = i.idx order by idx"
    )


def test_each_leaf_gets_one_place_and_the_checkpoint_is_over_the_bodies(hub: Hub) -> None:
    events = [hub.add("police", "fire"), hub.add(None), hub.add("police")]
    assert hub.sequencer.take() == 4
    rows = indexed(hub)
    assert [row[0] for row in rows] == [0, 1, 2, 3, 4]
    assert [json.loads(row[4])["event"] for row in rows[:4]] == [str(events[0])] * 2 + [str(e) for e in events[1:]]
    assert [(row[2], row[3]) for row in rows] == [("police", 1), ("fire", 1), ("", 1), ("police", 2), (None, None)]
    hashes = [leaf_hash(row[4].encode()) for row in rows]
    assert [bytes(row[1]) for row in rows] == hashes
    ((size, note),) = hub.rows("select size, note from hub.checkpoints")
    read = Note.read(note)
    assert read.signed_by(hub.signer.key)
    assert Checkpoint.read(read.text) == Checkpoint("hub.example/audit", 5, root_of(hashes))
    assert size == 5
    assert hub.sequencer.take() == 0
    assert hub.rows("select count(*) from hub.checkpoints") == [(1,)]


def test_the_heads_leaf_tells_the_chain_that_anybody_can_compute(hub: Hub) -> None:
    for owners in (["police", "fire"], ["police"], [None, "police"]):
        hub.add(*owners)
        hub.sequencer.take()
    heads: dict[str, Head] = {}
    told: dict[str, Head] = {}
    for idx, digest, owner, n, leaf, is_heads in indexed(hub):
        if is_heads:
            body = json.loads(leaf)
            told |= {o: Head(count, b64decode(chain)) for o, (count, chain) in body["heads"].items()}
            assert all(heads[o] == told[o] for o in body["heads"])
            assert body.get("whole", False) is (idx == 2)  # the first tells of all
        else:
            heads[owner] = heads.get(owner, start(owner)).follow([(idx, bytes(digest))])
            assert heads[owner].n == n
    assert told == heads
    assert {o: h.n for o, h in heads.items()} == {"police": 3, "fire": 1, "": 1}


def test_after_an_hour_a_heads_leaf_tells_of_every_owner(hub: Hub) -> None:
    hub.add("police", "fire")
    hub.sequencer.take()
    hub.now += timedelta(minutes=59)
    hub.add("police")
    hub.sequencer.take()
    hub.now += timedelta(minutes=1)
    hub.add("fire")
    hub.sequencer.take()
    told = [json.loads(leaf) for (leaf,) in hub.rows("select leaf from hub.heads_leaves order by idx")]
    assert [(sorted(body["heads"]), body.get("whole", False)) for body in told] == [
        (["fire", "police"], True),
        (["police"], False),
        (["fire", "police"], True),
    ]


def test_tiles_over_many_batches_are_those_of_the_leaves(hub: Hub) -> None:
    with transaction(hub.database.auditor) as tx:
        for _ in range(7):
            tx.rows("begin")
            for _ in range(100):
                append(tx, Event(event_id(NOW, uuid4().bytes[:10]), "test", NOW, By("police"), "permit"), [Share("police")])
            tx.rows("commit")
            sequencer = hub.another()  # as if started anew
            while sequencer.take(33):
                pass
    hashes = [bytes(h) for (h,) in hub.rows("select leaf_hash from hub.log_index order by idx")]
    assert len(hashes) > 700
    tree = hub.tree(len(hashes))
    for size, note in hub.rows("select size, note from hub.checkpoints"):
        assert Checkpoint.read(note).root == root_of(hashes[:size]) == tree.root(size)
    for index in range(0, len(hashes), 61):
        assert included(hashes[index], index, len(hashes), inclusion(index, len(hashes), tree.ranged), tree.root())


def test_two_that_take_at_once_take_each_leaf_once(hub: Hub) -> None:
    for _ in range(40):
        hub.add("police")
    taken: list[int] = []

    def take() -> None:
        sequencer = hub.another()
        for _ in range(6):
            taken.append(sequencer.take(5))

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while n := hub.another().take(5):
        taken.append(n)
    assert sum(taken) == 40
    rows = indexed(hub)
    assert [row[0] for row in rows] == list(range(len(rows)))
    assert [row[3] for row in rows if row[2] == "police"] == list(range(1, 41))


def test_a_leaf_that_is_sent_again_waits_once(hub: Hub) -> None:
    event = hub.add("police", event=event_id(NOW, bytes(10)))
    assert hub.sequencer.take() == 1
    with transaction(hub.database.auditor) as tx:
        text = hub.rows(f"select leaf from hub.audit_leaves where event = '{event}'")[0][0]
        tx.rows(
            "select hub.audit_append(null, %s::uuid, 'test', %s, 'police', null, '{police}', '{1}', array[%s])", (str(event), NOW, text)
        )
    assert hub.sequencer.take() == 0


def test_a_database_that_was_put_back_is_not_signed(hub: Hub) -> None:
    hub.add("police")
    hub.sequencer.take()
    ((size, root),) = hub.rows("select size, encode(root, 'hex') from hub.log_state")
    hub.add("police")
    hub.sequencer.take()
    hub.alter(
        f"update hub.log_state set size = {size}, root = '\\x{root}'; update hub.log_heads set count = 1;"
        f" delete from hub.log_index where idx >= {size}; delete from hub.checkpoints where size > {size};"
        f" delete from hub.heads_leaves where idx >= {size}"
    )
    hub.add("police")
    for sequencer in (hub.sequencer, hub.another()):
        with pytest.raises(PutBack, match="has 2 leaves, and this key has last signed one of 4"):
            sequencer.take()
    assert hub.rows("select max(size) from hub.checkpoints") == [(2,)]
    assert hub.rows("select count(*) from hub.log_pending") == [(1,)]
    assert hub.another().resume().size == 2  # an operator has looked
    assert hub.another().take() == 1


def test_a_crash_before_or_after_the_commit_is_no_matter(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("police")
    hub.sequencer.take()
    hub.add("police")
    kept = Memory.keep
    calls: list[int] = []

    def dies(memory: Memory, *places: Any) -> None:
        if len(places) == 1:
            raise SystemExit  # after the commit, before it is noted that it was
        kept(memory, *places)

    with monkeypatch.context() as patched:
        patched.setattr(Memory, "keep", dies)
        with pytest.raises(SystemExit):
            hub.another().take()

    def dies_before(memory: Memory, *places: Any) -> None:
        kept(memory, *places)
        calls.append(len(places))
        raise SystemExit

    hub.add("police")
    with monkeypatch.context() as patched:
        patched.setattr(Memory, "keep", dies_before)
        with pytest.raises(SystemExit):
            hub.another().take()
    assert hub.another().take() == 1
    assert [row[3] for row in indexed(hub) if row[2] == "police"] == [1, 2, 3]


def test_tiles_that_were_altered_are_not_built_upon(hub: Hub) -> None:
    hub.add("police")
    hub.sequencer.take()
    hub.alter("update hub.log_index set leaf_hash = sha256('x') where idx = 0")
    hub.add("police")
    with pytest.raises(PutBack, match="don't give the root"):
        hub.another().take()


def test_what_is_in_the_tree_is_only_ever_added_to(hub: Hub) -> None:
    hub.add("police")
    hub.sequencer.take()
    for statement in (
        "update hub.log_index set idx = idx",
        "delete from hub.checkpoints",
        "truncate hub.log_index",
        "delete from hub.cosignatures",
        "update hub.heads_leaves set leaf = ''",
    ):
        with pytest.raises(sa.exc.DBAPIError, match="only ever added to"), hub.admin.connect() as connection:
            connection.exec_driver_sql(statement)


def test_leaves_lie_by_the_month_of_their_event_and_old_months_are_found(hub: Hub) -> None:
    for at in (datetime(2020, 5, 5, tzinfo=UTC), datetime.now(UTC), datetime(2031, 1, 1, tzinfo=UTC)):
        with transaction(hub.database.auditor) as tx:
            tx.rows("begin")
            append(tx, Event(event_id(at, uuid4().bytes[:10]), "test", at, By("police"), "permit"), then="; commit")
    where = [table for (table,) in hub.rows("select tableoid::regclass::text from hub.audit_leaves order by at")]
    assert where == ["hub.audit_leaves_other", f"hub.audit_leaves_{datetime.now(UTC):%Y_%m}", "hub.audit_leaves_other"]
    assert hub.sequencer.take() == 3


def test_every_month_is_guarded_like_the_whole(hub: Hub) -> None:
    months = [
        name for (name,) in hub.rows("select inhrelid::regclass::text from pg_inherits where inhparent = 'hub.audit_leaves'::regclass")
    ]
    assert len(months) >= 5
    for month in months:
        with pytest.raises(sa.exc.DBAPIError, match="only ever added to"), hub.admin.connect() as connection:
            connection.exec_driver_sql(f"delete from {month}")
    for role in ("hub_reader", "hub_writer", "hub_auditor", "hub_keyd", "hub_sequencer", "hub_agreements"):
        for month in months:
            assert hub.rows(f"select has_table_privilege('{role}', '{month}', 'select, insert, update, delete')") == [(False,)]


def test_lists_that_were_altered_are_not_built_upon(hub: Hub) -> None:
    """Else the tree itself would tell, signed, that an owner's list is shorter than it is."""
    for _ in range(3):
        hub.add("police")
        hub.sequencer.take()
    assert hub.rows("select count from hub.log_heads where owner = 'police'") == [(3,)]
    head = start("police").follow(hub.rows("select idx, leaf_hash from hub.log_index where owner = 'police' order by n limit 1"))
    hub.alter(f"update hub.log_heads set count = 1, chain = '\\x{head.chain.hex()}' where owner = 'police'")
    hub.add("police")
    with pytest.raises(PutBack, match="owners' lists in the audit log are not those"):
        hub.another().take()
    assert hub.sequencer.take() == 1  # which knows them: the table is what is wrong
    assert hub.rows("select count from hub.log_heads where owner = 'police'") == [(4,)]
    assert hub.another().take() == 0
    hub.add("police")
    assert hub.another().take() == 1
    assert [row[3] for row in indexed(hub) if row[2] == "police"] == [1, 2, 3, 4, 5]
