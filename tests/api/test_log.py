"""The log over HTTP: what everybody may have without a token, what auditors alone get, and that this is in the log before it is told."""

from base64 import b64decode
from typing import Any

import pytest

from hub.audit import witnesses
from hub.audit.notes import Checkpoint, Cosigner, Note, VerifierKey
from hub.audit.tree import consistent, included, leaf_hash, node_hash
from hub.db import owner_transaction
from hub.workers.sequencing import log_key
from tests.api.asking import problem
from tests.audit.bundles import settle
from tests.world import World

CLINIC = Cosigner("clinic.example/witness", bytes(32))
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
ENTRIES = "/audit/tile/entries/000.p/2"


@pytest.fixture(scope="module")
def hub(partners: World) -> World:
    with owner_transaction(partners.addresses.main) as tx:
        witnesses.add(tx, CLINIC.key.name, str(CLINIC.key))
        tx.rows("commit")
    settle(partners)
    assert newest(partners).size > 5
    return partners


def get(world: World, path: str, client: str | None = None, **params: Any) -> Any:
    return world.http.get(path, params=params, headers=world.bearer_for(client, "audit") if client else {})


def newest(world: World) -> Checkpoint:
    return Checkpoint.read(Note.read(get(world, "/audit/checkpoint").text).text)


def send(world: World, note: Note | str | bytes, **headers: str) -> Any:
    content = note if isinstance(note, bytes) else str(note).encode()
    return world.http.post("/audit/cosignatures", content=content, headers=TEXT | headers)


def cosigned(world: World, size: int) -> Note:
    text = Note.read(get(world, "/audit/checkpoint", size=size).text).text
    return Note(text, [CLINIC.sign(text, 1_800_000_000)])


def hashes(told: dict[str, Any]) -> list[bytes]:
    return [b64decode(h) for h in told["proof"]]


def test_a_checkpoint_is_signed_by_the_key_that_the_log_names(hub: World) -> None:
    answer, state = get(hub, "/audit/checkpoint"), get(hub, "/audit/log").json()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    key = VerifierKey.read(state["key"])
    assert Note.read(answer.text).signed_by(key)
    assert newest(hub).origin == state["origin"] == key.name == log_key(hub.settings).key.name
    assert not Note.read(answer.text).signed_by(VerifierKey(key.name, key.kind, b64decode(state["leaf_key"])))
    assert (state["quorum"], state["unwitnessed_s"], state["alarms"]) == (0, None, [])
    assert [w["name"] for w in state["witnesses"]] == [CLINIC.key.name]


def test_proofs_and_tiles_fit_the_checkpoint(hub: World) -> None:
    now = newest(hub)
    tile = get(hub, f"/audit/tile/0/000.p/{now.size}") if now.size < 256 else get(hub, "/audit/tile/0/000")
    assert tile.headers["content-type"] == "application/octet-stream"
    leaf = tile.content[32 * 3 : 32 * 4]
    told = get(hub, "/audit/proof/inclusion", leaf=leaf.hex(), size=now.size).json()
    assert (told["index"], told["size"]) == (3, now.size)
    assert included(leaf, 3, now.size, hashes(told), now.root)
    assert get(hub, "/audit/proof/inclusion", index=3, size=now.size).json() == told
    assert get(hub, "/audit/proof/inclusion", index=0).status_code == 200
    first = get(hub, "/audit/checkpoint", size=now.size).text
    told = get(hub, "/audit/proof/consistency", first=2, second=now.size).json()
    known = get(hub, "/audit/tile/0/000.p/2").content
    assert consistent(2, node_hash(known[:32], known[32:]), now.size, now.root, hashes(told))
    assert Note.read(first).text == str(now)


def test_a_full_tile_may_be_kept_and_nothing_else(hub: World) -> None:
    while newest(hub).size < 256:
        get(hub, "/audit/events", "auditor")
        hub.sequencing.sequencer.take()
    assert get(hub, "/audit/tile/0/000").headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/audit/tile/0/000.p/5", "/audit/checkpoint", "/audit/log", "/audit/proof/consistency?first=1&second=2"):
        assert get(hub, path).headers["cache-control"] == "no-store"


def test_leaves_are_for_auditors_and_each_look_is_in_the_log(hub: World) -> None:
    before = len(hub.leaves(type="audit"))
    answer = get(hub, ENTRIES, "auditor")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    length = int.from_bytes(answer.content[:2], "big")
    assert leaf_hash(answer.content[2 : 2 + length]) == get(hub, "/audit/tile/0/000.p/1").content
    looks = [(leaf["by"]["organisation"], leaf["decision"], leaf["asked"]["as"]) for leaf in hub.leaves(type="audit")[before:]]
    assert looks == [("auditor", "permit", "entries")]
    problem(get(hub, "/audit/tile/entries/x999/999", "auditor"), 404)
    assert hub.leaves(type="audit")[-1]["decision"] == "absent"


@pytest.mark.parametrize("client", ["police", "health", "housing"])
def test_who_is_no_auditor_gets_no_leaves_whatever_its_scope(hub: World, client: str) -> None:
    problem(get(hub, ENTRIES, client), 403, word="for auditors")
    leaf = hub.leaves(type="audit")[-1]
    assert (leaf["by"]["organisation"], leaf["decision"]) == (client, "refuse")
    problem(hub.http.get(ENTRIES), 401)
    problem(hub.http.get(ENTRIES, headers=hub.bearer_for(client, "publish")), 403, word="scope audit")


def test_without_the_log_no_leaf_is_told(hub: World) -> None:
    headers = hub.bearer_for("auditor", "audit")
    with hub.superuser() as admin:
        admin.exec_driver_sql("revoke execute on function hub.audit_append from hub_auditor")
    try:
        answer = hub.http.get(ENTRIES, headers=headers)
        assert (answer.status_code, b"salt" in answer.content) == (503, False)
        assert get(hub, "/audit/checkpoint").status_code == 200  # what tells of nobody's data needs no log
    finally:
        with hub.superuser() as admin:
            admin.exec_driver_sql("grant execute on function hub.audit_append to hub_auditor")
    assert hub.http.get(ENTRIES, headers=headers).status_code == 200


def test_a_cosignature_is_taken_shown_and_taken_again(hub: World) -> None:
    size = newest(hub).size
    for _ in range(2):
        answer = send(hub, cosigned(hub, size))
        assert (answer.status_code, answer.json()) == (200, {"size": size, "witnesses": [CLINIC.key.name]})
    shown = get(hub, "/audit/checkpoint", cosigned="true").text
    assert Checkpoint.read(Note.read(shown).text).size == size
    assert Note.read(shown).cosigned_at(CLINIC.key) == 1_800_000_000
    assert len(Note.read(shown).signatures) == 2


def test_what_is_no_cosignature_is_refused_in_words(hub: World) -> None:
    size = newest(hub).size
    note = cosigned(hub, size)
    stranger = Cosigner(CLINIC.key.name, bytes([1]) * 32)
    other = str(Checkpoint(hub.settings.origin(), size, bytes(32)))
    problem(send(hub, Note(note.text, [stranger.sign(note.text, 1)])), 403, word="registered")
    problem(send(hub, Note(other, [CLINIC.sign(other, 1)])), 409, word="no such checkpoint")
    problem(send(hub, "no note"), 400, "body")
    problem(send(hub, b"\xff"), 400, "body")
    problem(send(hub, Note("no\ncheckpoint\n", [CLINIC.sign("no\ncheckpoint\n", 1)])), 400, "body")
    problem(send(hub, note, **{"Content-Type": "application/json"}), 415)
    problem(send(hub, b"x" * 20_000), 413)
    assert send(hub, note).status_code == 200  # the honest twin


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/audit/checkpoint?size=4&cosigned=true", 400),
        ("/audit/checkpoint?cosigned=perhaps", 400),
        ("/audit/checkpoint?size=0", 400),
        ("/audit/checkpoint?size=99999999", 404),
        ("/audit/checkpoint?since=1", 400),
        ("/audit/tile/0/000?x=1", 400),
        ("/audit/tile/0/1", 404),
        ("/audit/tile/0/x999/999", 404),
        ("/audit/tile/zero/000", 404),
        ("/audit/tile/0/%2e%2e", 404),
        ("/audit/proof/inclusion", 400),
        ("/audit/proof/inclusion?index=1&leaf=00", 400),
        ("/audit/proof/inclusion?leaf=xyz", 400),
        ("/audit/proof/inclusion?leaf=" + "0" * 64, 404),
        ("/audit/proof/inclusion?index=5&size=5", 404),
        ("/audit/proof/consistency?first=1", 400),
        ("/audit/proof/consistency?first=0&second=1", 400),
        ("/audit/proof/consistency?first=3&second=2", 404),
        ("/audit/proof/consistency?first=3&second=99999999", 404),
    ],
)
def test_what_makes_no_sense_is_a_problem(hub: World, path: str, status: int) -> None:
    problem(hub.http.get(path), status)


def test_where_no_witness_is_wanted_the_newest_checkpoint_is_witnessed(hub: World) -> None:
    assert get(hub, "/audit/checkpoint", witnessed="true").status_code == 200  # none is wanted
    assert get(hub, "/audit/checkpoint", witnessed="false").status_code == 200
