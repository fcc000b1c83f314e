"""What an administrator of the database, or whoever has the log's key, does to the log, and how a bundle of it tells."""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from hub.audit import bundle
from hub.audit.bundle import Trust
from hub.audit.export import Wanted, _Bundle
from hub.audit.heads import Head, start
from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Search
from hub.audit.notes import Checkpoint, Cosigner, Note
from hub.audit.tree import leaf_hash
from hub.db import transaction
from hub.workers.sequencing import log_key
from tests.audit.bundles import (
    DELETE,
    EDIT,
    ITEMS,
    LEAF,
    OTHER,
    POLICE,
    WHOLE,
    alter,
    copied,
    made,
    read,
    rows,
    settle,
    settle_tree,
    shared,
    take,
    trusted,
    trusted_text,
    verdict,
    world,
    wrong,
)
from tests.world import World

__all__ = ["shared", "world"]  # fixtures

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
    for places in (10_000, 1e30, 1.5, rows(world, "select size from hub.log_state")[0][0]):
        event = Event(event_id(now, os.urandom(10)), "log-expiry", now, by, "permit", asked=asked | {"places": places})
        world.services.log.record(event)
    settle_tree(world)
    wrong(made(world), trust, words, "says that bodies before place 10000 were removed, which can't be")
    wrong(made(world, POLICE), trust, "1 leaves of the list of police are not in the bundle")


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
            head = head.follow([(idx, bytes(digest))])
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
