"""Audit bundles: what a hub exports verifies offline; whatever somebody does to the log as the database's administrator is told."""

import io
import json
import os
import random
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.agreements.replay import Replay
from hub.audit import bundle
from hub.audit.bundle import BadTrust, Trust
from hub.audit.export import Exporter, Wanted, _Bundle
from hub.audit.heads import Head, start
from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Search
from hub.audit.notes import Checkpoint, Cosigner, Note, Signer
from hub.audit.sequence import Memory, Sequencer
from hub.audit.tree import leaf_hash
from hub.audit.trust import trust_of
from hub.audit.verify import Unreadable, Verdict, verify
from hub.datasets import DATASETS
from hub.db import transaction
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


def test_the_whole_log_verifies(shared: World) -> None:
    trust = trusted(shared)
    read(shared)
    settle(shared)
    found = verdict(made(shared), trust)
    assert found.wrong == []
    assert found.notes == []
    assert found.whole
    assert set(found.complete) == {"", "police", "fire", "health"} | ({"housing"} & set(found.complete))
    assert found.mous == 2
    assert found.signatures == len(shared.keyd.signer.after(0, 100_000))
    ((size,),) = rows(shared, "select size from hub.log_state")
    assert found.entries == size
    assert found.kinds["query"] >= 6


def test_the_list_of_an_owner_verifies_and_is_complete(shared: World) -> None:
    trust = trusted(shared)
    found = verdict(made(shared, Wanted(Search(owner="police"), ("police",), {"owner": "police"})), trust)
    assert found.wrong == []
    ((count,),) = rows(shared, "select count(*) from hub.audit_leaves where owner = 'police'")
    assert (found.complete["police"].count, found.complete["police"].missing) == (count, 0)
    assert count == sum(n for kind, n in found.kinds.items() if kind != "heads")
    assert not found.whole


@pytest.mark.parametrize("by", ["organisation", "mou", "type", "case"])
def test_what_a_search_finds_verifies(shared: World, by: str) -> None:
    value = {"organisation": "health", "mou": "MOU-FIRE", "type": "query", "case": "none"}[by]
    search = Search(**{by: value})
    found = verdict(made(shared, Wanted(search, (), {by: value})), trusted(shared, pinned=False))
    assert found.wrong == []
    assert sum(n for kind, n in found.kinds.items() if kind != "heads") == len(shared.services.log.find(replace(search, limit=10_000)))
    assert any("No checkpoint was pinned" in note for note in found.notes)


def test_what_concerns_a_record_verifies_with_its_owners_list(shared: World) -> None:
    ((record,),) = rows(shared, "select id::text from hub.incidents where external_id = 'police-1'")
    revisions = shared.services.log.revisions("incidents", UUID(record), None)
    found = verdict(made(shared, Wanted(Search(revisions=revisions), ("police",), {"record": record})), trusted(shared, pinned=False))
    assert found.wrong == []
    assert found.kinds["query"] >= 2
    assert found.kinds["publish"] == 1
    assert "police" in found.complete


# What an administrator of the database does, and what is then told.

LEAF = "(select max(id) from hub.audit_leaves where type = 'query' and owner = 'police')"
OTHER = "(select min(id) from hub.audit_leaves where type = 'query' and owner = 'police')"
EDIT = f"update hub.audit_leaves set leaf = replace(leaf, 'health', 'wealth') where id = {LEAF}"
DELETE = f"delete from hub.audit_leaves where id = {LEAF}"
PLACE = f"(select idx from hub.log_index where leaf = {LEAF})"
ALTERED = {
    "edited": ([EDIT], "was altered or exchanged"),
    "edited, with its hash": (
        [
            EDIT,
            f"update hub.audit_leaves set leaf_hash = sha256('\\x00'::bytea || convert_to(leaf, 'utf8')) where id = {LEAF}",
            f"update hub.log_index i set leaf_hash = l.leaf_hash from hub.audit_leaves l where l.id = i.leaf and l.id = {LEAF}",
        ],
        "don't give the root",
    ),
    "bodies swapped": (
        [
            "update hub.audit_leaves a set leaf = b.leaf from hub.audit_leaves b"
            f" where (a.id, b.id) in (({LEAF}, {OTHER}), ({OTHER}, {LEAF}))"
        ],
        "was altered or exchanged",
    ),
    "deleted": ([DELETE], "its body was deleted"),
    "deleted, with its place": ([f"delete from hub.log_index where leaf = {LEAF}", DELETE], "another width than a tree of"),
    "deleted, and the gap closed": (
        [
            f"create temp table gone on commit drop as select {PLACE} as idx",
            f"delete from hub.log_index where leaf = {LEAF}",
            "update hub.log_index set idx = idx - 1 where idx > (select idx from gone)",
            "update hub.heads_leaves set idx = idx - 1 where idx > (select idx from gone)",
            DELETE,
        ],
        "don't give the root",
    ),
    "inserted": (
        [
            "insert into hub.audit_leaves (event, part, type, at, organisation, owner, leaf, leaf_hash, terms) select"
            " '019ab000-0000-7000-8000-0000000000ff', part, type, at, organisation, owner, leaf, leaf_hash, terms"
            f" from hub.audit_leaves where id = {LEAF}"
        ],
        "neither in the tree nor waiting",
    ),
    "reordered": (
        [
            f"create temp table here on commit drop as select {PLACE} as idx",
            "update hub.log_index set idx = -1 where idx = (select idx from here)",
            "update hub.log_index set idx = (select idx from here) where idx = (select idx from here) - 1",
            "update hub.log_index set idx = (select idx from here) - 1 where idx = -1",
        ],
        "don't give the root",
    ),
}


def altered(world: World, statements: Sequence[str], wanted: Wanted = WHOLE) -> bytes:
    """The bundle of a log that was altered with triggers off; all is as it was after."""
    out, engine = io.BytesIO(), sa.create_engine(world.addresses.main, poolclass=sa.NullPool)
    with transaction(engine) as tx, zipfile.ZipFile(out, "w") as archive:
        tx.rows("begin; set local session_replication_role = replica")
        for statement in statements:
            tx.rows(statement)
        owned = "select id from hub.audit_leaves where owner = any(%s)"
        leaves = None if wanted.search is None else [i for (i,) in tx.rows(owned, (list(wanted.owners),))]
        _Bundle(tx, archive, log_key(world.settings)).write(wanted, leaves, datetime.now(UTC))
    return out.getvalue()


@pytest.mark.parametrize("name", ALTERED)
def test_a_log_that_was_altered_is_told(shared: World, name: str) -> None:
    settle(shared)
    trust, (statements, words) = trusted(shared), ALTERED[name]
    assert verdict(altered(shared, []), trust).good
    wrong(altered(shared, statements), trust, words)


POLICE = Wanted(Search(owner="police"), ("police",), {"owner": "police"})
HEADS_OF_IT = "(select max(idx) from hub.heads_leaves where leaf::jsonb->'heads' ? 'police')"
LISTS = {
    "deleted": ([DELETE], "1 leaves of the list of police are not in the bundle"),
    "all of them deleted": (["delete from hub.audit_leaves where owner = 'police'"], "leaves of the list of police are not in the bundle"),
    "its end cut off": (
        [
            f"update hub.log_index set owner = 'nobody' where owner = 'police' and idx > {HEADS_OF_IT} - 3",
            f"delete from hub.heads_leaves where idx >= {HEADS_OF_IT}",
        ],
        "which tells how far the lists go, is not in the bundle",
    ),
    "a leaf moved to another list": (
        [f"update hub.log_index set owner = 'nobody' where leaf = {LEAF}"],
        "a leaf was left out, added or moved",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_an_owners_list_that_was_altered_is_told(shared: World, name: str) -> None:
    settle(shared)
    trust, (statements, words) = trusted(shared), LISTS[name]
    assert verdict(altered(shared, [], POLICE), trust).wrong == []
    wrong(altered(shared, statements, POLICE), trust, words)


def test_an_owners_list_goes_on_from_what_the_owner_verified_before(shared: World) -> None:
    settle(shared)
    trust = trusted(shared)
    before = verdict(made(shared, POLICE), trust).heads
    kept = Trust.read(json.dumps(json.loads(trusted_text(shared)) | {"lists": bundle.pins(before)}))
    assert kept.lists == before
    read(shared)
    settle(shared)
    assert verdict(made(shared, POLICE), kept).wrong == []
    for n, chain in ((before["police"].n, bytes(32)), (100_000, bytes(32))):
        other = replace(kept, lists={"police": Head(n, chain)})
        wrong(made(shared, POLICE), other, f"does not go on from the {n} leaves that were verified before")


@pytest.mark.parametrize(
    ("month", "words"),
    [
        ("2020-01", "its body was deleted"),
        (f"{datetime.now(UTC):%Y-%m}", "which were not a year old"),
        ("2199-01", "which were not a year old"),
    ],
)
def test_a_body_that_was_deleted_cant_pass_for_expired(world: World, month: str, words: str) -> None:
    """Not even where somebody puts a leaf into the log that says so."""
    trust = trusted(world)
    alter(world, DELETE)
    asked = {"before": month, "parts": [], "places": 10_000}
    by, now = By(client="cli"), datetime.now(UTC)
    for places in (10_000, rows(world, "select size from hub.log_state")[0][0]):
        event = Event(event_id(now, os.urandom(10)), "log-expiry", now, by, "permit", asked=asked | {"places": places})
        world.services.log.record(event)
    settle_tree(world)
    wrong(made(world), trust, words, "says that bodies before place 10000 were removed, which can't be")
    wrong(made(world, POLICE), trust, "1 leaves of the list of police are not in the bundle")


def settle_tree(world: World) -> None:
    until = time.monotonic() + 20
    while rows(world, "select count(*) from hub.log_pending") != [(0,)]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_leaf_that_nobody_can_read_spoils_nothing_else(world: World) -> None:
    """Whoever administers the database can add one, which then stays in the tree for good."""
    trust = trusted(world)
    for n, text in enumerate(
        ("{}", '{"type":"query"}', '{"type":"heads","heads":{"police":[0,""]},"at":"2026-01-01T00:00:00Z"}', "[", "1e999")
    ):
        event = f"019ab000-0000-7000-8000-0000000000d{n}"
        with world.superuser() as admin:
            admin.exec_driver_sql(
                "with added as (insert into hub.audit_leaves (event, part, type, at, leaf, leaf_hash, terms)"
                " values (%s, 1, 'x', now(), %s, %s, '{}') returning id, leaf_hash)"
                " insert into hub.log_pending (leaf, leaf_hash, owner) select id, leaf_hash, '' from added",
                (event, text, leaf_hash(text.encode())),
            )
    settle_tree(world)
    found = verdict(made(world), trust)
    assert sum("is no leaf that can be read" in sentence for sentence in found.wrong) == 4, found.wrong
    assert sum("says that it is a heads leaf, and is in the list of an owner" in sentence for sentence in found.wrong) == 1
    assert len(found.wrong) == 5
    assert found.complete["police"].missing == 0
    assert verdict(made(world, POLICE), trust).wrong == []


def test_a_log_of_several_tiles_verifies_whole_and_in_part(shared: World) -> None:
    for _ in range(300):
        shared.http.get("/audit/events?limit=1", headers=shared.bearer("police"))
    settle(shared)
    pinned = trusted(shared)
    for _ in range(300):
        shared.http.get("/audit/events?limit=1", headers=shared.bearer("fire"))
    settle(shared)
    assert verdict(made(shared), pinned).wrong == []
    assert pinned.pinned
    part = Wanted(Search(owner="fire"), ("fire",), {"owner": "fire"}, pinned=pinned.pinned.size)
    assert verdict(made(shared, part), pinned).wrong == []
    wrong(made(shared, replace(part, pinned=0)), pinned, "export with --pinned")


def test_a_leaf_that_was_deleted_before_it_got_into_the_tree_is_missed(world: World) -> None:
    """Within the fifth of a second: by the signature, which was made before the answer left."""
    trust = trusted(world)
    world.sequencing.close()  # so that there is time
    assert world.get("health", "research", ITEMS).status_code == 200
    alter(
        world,
        "delete from hub.audit_leaves where id in (select leaf from hub.log_pending where owner = 'police');"
        " delete from hub.log_pending where owner = 'police'",
    )
    copied(world)
    take(world)
    read_once_more(world)
    wrong(made(world), trust, "is not in the tree: it was deleted before it got there")


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


def read_once_more(world: World) -> None:
    """So that a heads leaf tells of the signatures up to now."""
    world.services.log.record(world.services.event("audit", By(client="cli"), "permit"))
    take(world)


def test_signatures_that_were_deleted_with_their_leaf_break_the_chain(world: World) -> None:
    trust = trusted(world)
    world.sequencing.close()
    for _ in range(2):
        assert world.get("health", "research", ITEMS).status_code == 200
    copied(world)
    ((n,),) = rows(world, "select min(n) from hub.leaf_signatures where leaf_hash in (select leaf_hash from hub.log_pending)")
    gone = f"(select leaf_hash from hub.leaf_signatures where n = {n})"
    alter(
        world,
        f"delete from hub.audit_leaves where leaf_hash = {gone}; delete from hub.log_pending where leaf_hash = {gone};"
        f" delete from hub.leaf_signatures where n = {n}",
    )
    read_once_more(world)
    wrong(made(world), trust, f"doesn't follow from number {n - 1}")


def cut(world: World, size: int) -> None:
    """The log as it was at an earlier checkpoint: everything of after is gone, from the database's point of view for good."""
    leaves = f"select leaf from hub.log_index where idx >= {size} and leaf is not null"
    root = Checkpoint.read(Note.read(rows(world, f"select note from hub.checkpoints where size = {size}")[0][0]).text).root.hex()
    alter(
        world,
        f"delete from hub.leaf_signatures where leaf_hash in (select leaf_hash from hub.log_index where idx >= {size});"
        f"delete from hub.audit_leaves where id in ({leaves}); delete from hub.heads_leaves where idx >= {size};"
        f" delete from hub.log_index where idx >= {size}; delete from hub.checkpoints where size > {size};"
        f" delete from hub.log_tiles; update hub.log_state set size = {size}, root = '\\x{root}';"
        " update hub.log_heads h set count = coalesce((select max(n) from hub.log_index i where i.owner = h.owner), 0)",
    )
    chains(world)


def chains(world: World) -> None:
    """Heads worked out anew."""
    for (owner,) in rows(world, "select owner from hub.log_heads"):
        head = start(owner)
        for idx, digest in rows(world, f"select idx, leaf_hash from hub.log_index where owner = '{owner}' order by n"):
            head = head.follow(idx, bytes(digest))
        alter(world, f"update hub.log_heads set chain = '\\x{head.chain.hex()}' where owner = '{owner}'")


def test_a_log_that_was_cut_short_or_put_back_is_told_by_the_pinned_checkpoint(world: World) -> None:
    ((size,),) = rows(world, "select size from hub.log_state")
    read(world)
    settle(world)
    trust = trusted(world)
    world.sequencing.close()
    cut(world, size)
    wrong(made(world), trust, "it was cut short, or put back to an earlier state")
    assert verdict(made(world), replace(trust, pinned=None)).wrong == []  # without one nobody can tell


def test_a_backup_that_grew_on_is_told_by_the_pinned_checkpoint(world: World) -> None:
    """Put back, then used: longer than what was pinned, and another past."""
    ((size,),) = rows(world, "select size from hub.log_state")
    read(world)
    settle(world)
    trust = trusted(world)
    world.sequencing.close()
    cut(world, size)
    for _ in range(12):
        world.services.log.record(world.services.event("audit", By(client="cli"), "permit"))
        take(world)
    copied(world)
    wrong(made(world), trust, "its past was rewritten, or forked")


def rewrite(world: World) -> None:
    """Everything anew, from a log without one access, by who has the log's signing key."""
    alter(world, EDIT)
    alter(
        world,
        "update hub.audit_leaves set leaf_hash = sha256('\\x00'::bytea || convert_to(leaf, 'utf8'));"
        " delete from hub.log_index; delete from hub.heads_leaves; delete from hub.log_tiles; delete from hub.log_heads;"
        " delete from hub.checkpoints; update hub.log_state set size = 0, root = sha256(''), whole_at = '-infinity';"
        " insert into hub.log_pending (leaf, leaf_hash, owner) select id, leaf_hash, coalesce(owner, '') from hub.audit_leaves",
    )
    take(world)


def test_a_log_rewritten_and_signed_with_the_stolen_key_is_told_three_times(world: World) -> None:
    """By the checkpoint that an auditor pinned, by witnesses that don't cosign it, by the key process's signatures."""
    witness = Cosigner("harbour", b"w" * 32)
    trust = trusted(world)
    world.sequencing.close()
    cosign(world, witness)
    watched = replace(trust, witnesses=(witness.key,), quorum=1)
    assert verdict(made(world, replace(WHOLE, quorum=1)), watched).good
    alter(world, "delete from hub.cosignatures")
    rewrite(world)
    for _ in range(8):  # longer than what was pinned
        world.services.log.record(world.services.event("audit", By(client="cli"), "permit"))
        take(world)
    copied(world)
    raw = made(world)
    wrong(raw, trust, "its past was rewritten, or forked", "is not in the tree: it was deleted before it got there")
    wrong(raw, replace(watched, pinned=None), "cosigned by 0 of the 1 witnesses", "is not in the tree")


def cosign(world: World, witness: Cosigner) -> None:
    ((size, note),) = rows(world, "select size, note from hub.checkpoints order by size desc limit 1")
    line = witness.sign(Note.read(note).text, 1_790_000_000).line()
    with world.superuser() as admin:
        admin.exec_driver_sql("insert into hub.witnesses (name, key) values (%s, %s)", (witness.key.name, str(witness.key)))
        admin.exec_driver_sql("insert into hub.cosignatures (witness, size, line) values (%s, %s, %s)", (witness.key.name, size, line))


def test_what_a_stolen_log_key_signs_without_the_key_process_is_told(world: World) -> None:
    """Leaves that somebody adds in other people's names: no signature of the key process."""
    trust = trusted(world)
    world.sequencing.close()
    event = json.loads(rows(world, f"select leaf from hub.audit_leaves where id = {LEAF}")[0][0])
    forged = json.dumps(event | {"event": "019ab000-0000-7000-8000-0000000000aa"}, sort_keys=True, separators=(",", ":"))
    with world.superuser() as admin:
        admin.exec_driver_sql(
            "select hub.audit_append(null, %s, 'query', %s, 'health', null, array['police'], array[1], array[%s])",
            ("019ab000-0000-7000-8000-0000000000aa", event["at"], forged),
        )
    take(world)
    found = verdict(made(world), trust)
    assert any("1 accesses were not signed by the key process" in note for note in found.notes), found


def test_an_access_that_cites_no_agreement_is_told(world: World) -> None:
    trust = trusted(world)
    world.sequencing.close()
    said = json.loads(rows(world, f"select leaf from hub.audit_leaves where id = {LEAF}")[0][0])
    event = "019ab000-0000-7000-8000-0000000000ab"
    forged = json.dumps({n: v for n, v in (said | {"event": event}).items() if n != "under"}, sort_keys=True, separators=(",", ":"))
    with world.superuser() as admin:
        admin.exec_driver_sql(
            "select hub.audit_append(null, %s, 'query', %s, 'health', null, array['police'], array[1], array[%s])",
            (event, said["at"], forged),
        )
    take(world)
    wrong(made(world), trust, "records of police to another organisation, and cites no agreement")


# What somebody does to a bundle.


def repacked(raw: bytes, change: Callable[[dict[str, bytes]], None], signer: Signer | None = None) -> bytes:
    """The bundle with its files changed; with `signer` the manifest is made anew and signed."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if signer is not None:
        manifest = json.loads(files[bundle.MANIFEST])
        own = (bundle.MANIFEST, bundle.MANIFEST_NOTE)
        manifest["files"] = {name: sha256(content).hexdigest() for name, content in files.items() if name not in own}
        files[bundle.MANIFEST] = json.dumps(manifest).encode()
        text = bundle.manifest_text(signer.key.name, sha256(files[bundle.MANIFEST]).hexdigest())
        files[bundle.MANIFEST_NOTE] = str(Note(text, [signer.sign(text)])).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def dropped(files: dict[str, bytes], name: str, at: int) -> None:
    lines = files[name].splitlines(keepends=True)
    del lines[at]
    files[name] = b"".join(lines)


def test_a_bundle_in_which_anything_was_changed_is_told(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = archive.namelist()
    for name in names:
        if name in (bundle.MANIFEST, bundle.MANIFEST_NOTE):
            continue
        for change in (lambda files, n=name: files.update({n: files[n] + b" "}), lambda files, n=name: files.pop(n)):
            try:
                assert not verdict(repacked(raw, change), trust).good, name
            except Unreadable:
                continue
    wrong(repacked(raw, lambda files: files.update(more=b"")), trust, "more is not in the manifest")
    stranger = Signer(trust.log.name, b"x" * 32)
    wrong(repacked(raw, lambda files: None, stranger), trust, "not signed with the log's key")


def test_a_hub_that_leaves_something_out_of_a_bundle_and_signs_it_is_told(shared: World) -> None:
    trust, raw, signer = trusted(shared), made(shared), log_key(shared.settings)

    def left_out(name: str, at: int) -> bytes:
        return repacked(raw, lambda files: dropped(files, name, at), signer)

    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        lines = archive.read(bundle.ENTRIES).splitlines()
    heads = next(at for at, line in enumerate(lines) if b'"type":"heads"' in line)
    other = next(at for at, line in enumerate(lines) if b'"type":"query"' in line)
    wrong(left_out(bundle.ENTRIES, other), trust, "its body was deleted")
    wrong(left_out(bundle.ENTRIES, heads), trust, "is in nobody's list, and its leaf is missing")
    wrong(left_out(bundle.SIGNATURES, 3), trust, "doesn't follow from number 3")
    shorter = repacked(raw, lambda files: files.update({"owners/police.chain": files["owners/police.chain"][:-40]}), signer)
    wrong(shorter, trust, "list of police", "a leaf was left out, added or moved")
    middle = repacked(
        raw, lambda f: f.update({"owners/police.chain": f["owners/police.chain"][:40] + f["owners/police.chain"][80:]}), signer
    )
    wrong(middle, trust, "list of police does not come to the head")
    gone = repacked(raw, lambda files: files.pop("owners/police.chain"), signer)
    wrong(gone, trust, "says that the list of police is complete")
    more = repacked(raw, lambda files: files.update({"tiles/0/900": bytes(8192)}), signer)
    wrong(more, trust, "The file tiles/0/900 is no tile of a tree of")
    mou = next(name for name in zipfile.ZipFile(io.BytesIO(raw)).namelist() if name.endswith("-1.yaml"))
    wrong(
        repacked(raw, lambda files: files.update({mou: files[mou] + b"\n"}), signer), trust, "cites another file", "is about another file"
    )


def test_an_owners_bundle_that_hides_the_newest_access_cant_pass_for_complete_up_to_now(shared: World) -> None:
    """An older list is told with the place up to which it is complete."""
    trust = trusted(shared, pinned=False)
    part = Wanted(Search(owner="police"), ("police",), {"owner": "police"})
    before = verdict(made(shared, part), trust).complete["police"]
    read(shared)
    settle(shared)
    after = verdict(made(shared, part), trust).complete["police"]
    assert after.count > before.count
    assert after.index > before.index


def test_a_leaf_that_shows_more_than_its_agreement_gives_is_told(world: World) -> None:
    """A hub that showed more finely than the grant allows, and says so in its log."""
    trust = trusted(world)
    world.sequencing.close()
    said = json.loads(rows(world, f"select leaf from hub.audit_leaves where id = {LEAF}")[0][0])
    changes: tuple[dict[str, Any], ...] = (
        {"shown": said["shown"] | {"fields": {"place": "clear"}}},
        {"purpose": "another.purpose"},
        {"by": {"organisation": "housing", "client": "housing"}},
        {"under": [said["under"][0] | {"grants": ["none-such"]}]},
        {"at": "2199-01-01T00:00:00.000Z"},
    )
    for n, change in enumerate(changes):
        event = f"019ab000-0000-7000-8000-0000000000b{n}"
        forged = json.dumps(said | {"event": event} | change, sort_keys=True, separators=(",", ":"))
        at, organisation = change.get("at", said["at"]), change.get("by", said["by"])["organisation"]
        with world.superuser() as admin:
            admin.exec_driver_sql(
                "select hub.audit_append(null, %s, 'query', %s, %s, null, array['police'], array[1], array[%s])",
                (event, at, organisation, forged),
            )
    take(world)
    wrong(
        made(world), trust,
        "place was shown as clear, and the grants that it cites give grid_m:500",
        "is not for the purpose another.purpose", "is between police and health", "has no grant none-such", "was not in force then",
    )  # fmt: skip


def test_agreements_that_other_keys_signed_are_told(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared)
    assert trust.parties
    swapped = dict(zip(trust.parties, reversed(list(trust.parties.values())), strict=True))
    wrong(raw, replace(trust, parties=swapped), "is not signed by")
    assert any("were not checked" in note for note in verdict(raw, replace(trust, parties=None)).notes)


def test_another_log_or_key_is_not_believed(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared)
    wrong(raw, replace(trust, log=Signer("other.example/audit", bytes(32)).key), "and other.example/audit is trusted")
    wrong(raw, replace(trust, log=Signer(trust.log.name, bytes(32)).key), "not signed with the log's key that is trusted")
    wrong(raw, replace(trust, keyd=frozenset({bytes(32)})), "by a key that is not trusted as the key process's")
    wrong(raw, replace(trust, witnesses=(Cosigner("a", bytes(32)).key,), quorum=1), "0 of the 1 witnesses")


def test_a_bundle_that_was_damaged_anywhere_is_told_and_never_a_crash(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared, POLICE)
    for at in random.Random(7).sample(range(len(raw)), 400):
        damaged = raw[:at] + bytes([raw[at] ^ 0x21]) + raw[at + 1 :]
        try:
            found = verdict(damaged, trust)
        except Unreadable:
            continue
        # What is left are times and flags of the ZIP file's own, which nobody reads.
        assert not found.good or contents(damaged) == contents(raw), at


def contents(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("raw", [b"", b"PK", b"not a zip" * 100])
def test_what_is_no_bundle_is_refused(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        verify(io.BytesIO(raw), Trust(Signer("a", bytes(32)).key, frozenset({bytes(32)})))


GOOD = {"v": 1, "log": str(Signer("a", bytes(32)).key), "keyd": ["00" * 32]}


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"more": 1},
        {"log": "x"},
        {"keyd": ["00"]},
        {"keyd": 5},
        {"quorum": 1},
        {"pinned": "x"},
        {"witnesses": ["x"]},
        {"witnesses": [str(Cosigner("a", bytes(32)).key)] * 2, "quorum": 2},
        {"witnesses": [str(Cosigner(name, bytes(32)).key) for name in "ab"], "quorum": 2},
        {"lists": {"police": [1]}},
        {"lists": {"police": [1, "?"]}},
    ],
)
def test_a_trust_file_that_is_none_is_refused(change: dict[str, Any]) -> None:
    assert Trust.read(json.dumps(GOOD))
    with pytest.raises(BadTrust):
        Trust.read(json.dumps(GOOD | change))


def test_an_entry_is_found_by_its_own_bytes(shared: World) -> None:
    """By the words of the specification alone: RFC 6962 over the entry's text, at its place of the tile."""
    with zipfile.ZipFile(io.BytesIO(made(shared))) as archive:
        tile = archive.read(next(name for name in archive.namelist() if name.startswith("tiles/0/000")))
        for line in archive.read(bundle.ENTRIES).splitlines()[:256]:
            place, _, text = line.partition(b" ")
            assert tile[32 * int(place) : 32 * int(place) + 32] == leaf_hash(text)
