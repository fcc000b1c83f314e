"""What outsiders get of the log: checkpoints with cosignatures, tiles, proofs between any sizes, leaves; which cosignatures it takes."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.audit import witnesses
from hub.audit.notes import Checkpoint, Cosigner, Note, Signer, VerifierKey
from hub.audit.published import Published
from hub.audit.tiles import Tile, Tree, tile_at, tiles_of
from hub.audit.tree import consistent, included, leaf_hash, root_of
from hub.audit.watch import Watch
from hub.audit.witnesses import NotAWitness, NotThisLogs
from hub.db import owner_transaction, transaction
from hub.errors import Conflict, InvalidRequest, NoSuchResource
from tests.audit.test_sequence import NOW, Hub

CLINIC, LIBRARY = Cosigner("clinic.example/witness", bytes(32)), Cosigner("library.example/witness", bytes([1]) * 32)
AT = int(NOW.timestamp())


class Log(Hub):
    """A log that is published, and its witnesses."""

    def __init__(self, main: sa.URL, state: Path, folder: Path) -> None:
        super().__init__(main, state, folder)
        self.main = main
        self.published = self.wanting(0)

    def wanting(self, quorum: int) -> Published:
        return Published(self.database.auditor, self.signer.key, quorum)

    def grow(self, times: int) -> None:
        for _ in range(times):
            self.add("police", "fire")
            self.sequencer.take()

    def register(self, *cosigners: Cosigner) -> None:
        for cosigner in cosigners:
            self.operator(lambda tx, key=cosigner.key: witnesses.add(tx, key.name, str(key)))

    def operator(self, does: Callable[..., object]) -> None:
        with owner_transaction(self.main) as tx:
            does(tx)
            tx.rows("commit")

    def cosign(self, cosigner: Cosigner, size: int, at: int = AT) -> tuple[int, list[str]]:
        text = Note.read(self.published.checkpoint(size)).text
        return self.published.keep(Note(text, [cosigner.sign(text, at)]))


@pytest.fixture
def log(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path: Path) -> Iterator[Log]:
    made = Log(databases()[0], state, tmp_path)
    yield made
    made.database.dispose()
    made.engine.dispose()
    made.admin.dispose()


def hashes(log: Log) -> list[bytes]:
    return [bytes(h) for (h,) in log.rows("select leaf_hash from hub.log_index order by idx")]


def cosigners(note: str, log: Log) -> list[str]:
    read = Note.read(note)
    assert read.signed_by(log.signer.key)
    return [c.key.name for c in (CLINIC, LIBRARY) if read.cosigned_at(c.key) is not None]


def test_the_newest_checkpoint_and_any_by_its_size_are_given_as_signed(log: Log) -> None:
    with pytest.raises(NoSuchResource):
        log.published.checkpoint()
    log.grow(3)
    stored = dict(tuple(row) for row in log.rows("select size, note from hub.checkpoints"))
    assert sorted(stored) == [3, 6, 9]
    assert log.published.checkpoint() == stored[9]
    assert [log.published.checkpoint(size) for size in (3, 6)] == [stored[3], stored[6]]
    for size in (0, 4, 12, 10**30):
        with pytest.raises(NoSuchResource):
            log.published.checkpoint(size)


def test_tiles_are_those_of_the_tree_and_no_wider_than_it_is(log: Log) -> None:
    for _ in range(30):
        log.add(*(f"owner-{n}" for n in range(20)))
    log.sequencer.take()
    leaves = hashes(log)
    assert len(leaves) > 600
    given = {tile: log.published.tile(tile) for tile in tiles_of(len(leaves))}
    assert given[Tile(0, 0)] == b"".join(leaves[:256])
    assert given[Tile(1, 0, 2)] == root_of(leaves[:256]) + root_of(leaves[256:512])
    assert Tree(len(leaves), given.__getitem__).root() == root_of(leaves)
    assert log.published.tile(Tile(0, 1, 7)) == b"".join(leaves[256:263])  # a width that was once true
    for absent in (Tile(0, 3), Tile(0, 2, len(leaves) - 511), Tile(1, 0, 3), Tile(2, 0, 1), Tile(63, 0, 1), Tile(0, 10**40, 1)):
        with pytest.raises(NoSuchResource):
            log.published.tile(absent)


def test_proofs_hold_between_any_two_sizes(log: Log) -> None:
    log.grow(11)
    leaves = hashes(log)
    n = len(leaves)
    for second in range(1, n + 1):
        for first in range(1, second + 1):
            proof = log.published.consistency(first, second)
            assert consistent(first, root_of(leaves[:first]), second, root_of(leaves[:second]), proof)
    for size in range(1, n + 1, 3):
        for index in range(size):
            assert included(leaves[index], index, size, log.published.inclusion(index, size), root_of(leaves[:size]))
    assert log.published.index_of(leaves[5], n) == 5
    for asked in (
        lambda: log.published.consistency(0, 1),
        lambda: log.published.consistency(2, 1),
        lambda: log.published.consistency(1, n + 1),
        lambda: log.published.inclusion(3, 3),
        lambda: log.published.inclusion(0, n + 1),
        lambda: log.published.index_of(leaves[5], 5),
        lambda: log.published.index_of(bytes(32), n),
    ):
        with pytest.raises(NoSuchResource):
            asked()


def test_leaves_are_given_as_they_were_hashed_until_they_are_not_kept(log: Log) -> None:
    log.grow(2)
    leaves, given = hashes(log), log.published.entries(0, 6)
    found = []
    while given:
        length = int.from_bytes(given[:2], "big")
        found.append(given[2 : 2 + length])
        given = given[2 + length :]
    assert [leaf_hash(body) for body in found] == leaves
    with pytest.raises(NoSuchResource):
        log.published.entries(0, 7)
    with pytest.raises(NoSuchResource):
        log.published.entries(10**40, 1)
    log.alter("delete from hub.audit_leaves where id = (select min(id) from hub.audit_leaves)")
    with pytest.raises(NoSuchResource, match="not keep all of them"):
        log.published.entries(0, 6)
    assert log.published.tile(Tile(0, 0, 6)) == b"".join(leaves)  # proofs stay


def test_a_cosignature_is_shown_with_its_checkpoint_and_counts_for_the_quorum(log: Log) -> None:
    log.grow(3)
    log.register(CLINIC, LIBRARY)
    assert log.cosign(CLINIC, 6) == (6, [CLINIC.key.name])
    assert log.cosign(LIBRARY, 3) == (3, [LIBRARY.key.name])
    assert cosigners(log.published.checkpoint(6), log) == [CLINIC.key.name]
    assert cosigners(log.published.checkpoint(), log) == []
    assert log.wanting(0).witnessed() == log.published.checkpoint()
    assert log.wanting(1).witnessed() == log.published.checkpoint(witnesses=1) == log.published.checkpoint(6)
    with pytest.raises(NoSuchResource):
        log.wanting(2).witnessed()
    log.cosign(CLINIC, 3)
    assert log.wanting(2).witnessed() == log.published.checkpoint(3)
    assert cosigners(log.wanting(2).witnessed(), log) == [CLINIC.key.name, LIBRARY.key.name]


def test_the_same_cosignature_again_changes_nothing(log: Log) -> None:
    log.grow(1)
    log.register(CLINIC)
    log.cosign(CLINIC, 3)
    before = log.published.checkpoint()
    assert log.cosign(CLINIC, 3, AT + 60) == (3, [CLINIC.key.name])
    assert log.published.checkpoint() == before


def test_what_is_no_cosignature_of_a_checkpoint_of_this_log_is_refused(log: Log) -> None:
    log.grow(2)
    log.register(CLINIC)
    text = Note.read(log.published.checkpoint()).text
    signature = CLINIC.sign(text, AT)
    stranger = Cosigner(CLINIC.key.name, bytes([7]) * 32)
    forged = signature._replace(value=signature.value[:-1] + bytes([signature.value[-1] ^ 1]))
    other = str(Checkpoint(log.signer.key.name, 6, bytes(32)))
    another_log = str(Checkpoint("other.example/audit", 6, Checkpoint.read(text).root))
    later = str(Checkpoint(log.signer.key.name, 12, bytes(32)))
    for refusal, note in (
        (NotAWitness, Note(text, [stranger.sign(text, AT)])),
        (NotAWitness, Note(text, [LIBRARY.sign(text, AT)])),
        (NotAWitness, Note(text, [forged])),
        (NotAWitness, Note(text, [signature._replace(value=bytes(8) + signature.value[8:])])),  # at another time
        (NotAWitness, Note(text, [CLINIC.sign(text, 2**64 - 1)])),  # of no time that there is
        (NotAWitness, Note(text, [log.signer.sign(text)])),
        (NotAWitness, Note(text, [CLINIC.sign(other, AT)])),
        (NotThisLogs, Note(other, [CLINIC.sign(other, AT)])),
        (NotThisLogs, Note(another_log, [CLINIC.sign(another_log, AT)])),
        (NotThisLogs, Note(later, [CLINIC.sign(later, AT)])),
        (NotThisLogs, Note(text + "more\n", [CLINIC.sign(text + "more\n", AT)])),
    ):
        with pytest.raises(refusal):
            log.published.keep(note)
    assert log.rows("select count(*) from hub.cosignatures") == [(0,)]
    log.published.keep(Note(text, [LIBRARY.sign(text, AT), forged, signature]))  # the honest one, among others
    assert cosigners(log.published.checkpoint(), log) == [CLINIC.key.name]


def test_a_removed_witness_counts_no_more_and_does_not_come_back(log: Log) -> None:
    log.grow(2)
    log.register(CLINIC, LIBRARY)
    log.cosign(CLINIC, 3)
    log.cosign(LIBRARY, 3)
    log.operator(lambda tx: witnesses.remove(tx, CLINIC.key.name))
    assert cosigners(log.published.checkpoint(3), log) == [LIBRARY.key.name]
    with pytest.raises(NoSuchResource):
        log.wanting(2).witnessed()
    with pytest.raises(NotAWitness):
        log.cosign(CLINIC, 6)
    assert log.cosign(LIBRARY, 6) == (6, [LIBRARY.key.name])  # the honest twin
    with pytest.raises(Conflict, match="was removed"):
        log.register(CLINIC)
    with pytest.raises(InvalidRequest, match="No witness"):
        log.operator(lambda tx: witnesses.remove(tx, CLINIC.key.name))


def test_one_key_is_one_witness(log: Log) -> None:
    log.register(CLINIC)
    twice = VerifierKey("two.example/witness", CLINIC.key.kind, CLINIC.key.public)
    for refusal, word, name, key in (
        (Conflict, "registered already", CLINIC.key.name, str(CLINIC.key)),
        (Conflict, "is that of the witness clinic", twice.name, str(twice)),
        (InvalidRequest, "is called library", "other", str(LIBRARY.key)),
        (InvalidRequest, "key of a log", log.signer.key.name, str(log.signer.key)),
        (InvalidRequest, "can't be read", "x", "x+1+2"),
    ):
        with pytest.raises(refusal, match=word):
            log.operator(lambda tx, name=name, key=key: witnesses.add(tx, name, key))
    log.register(LIBRARY)
    assert [w.name for w in log.published.state().witnesses] == [CLINIC.key.name, LIBRARY.key.name]


def test_the_state_tells_how_far_each_witness_is_and_what_waits(log: Log) -> None:
    log.register(CLINIC, LIBRARY)
    log.now -= timedelta(hours=1)
    log.alter(f"update hub.witnesses set added_at = '{log.now.isoformat()}'")
    log.grow(1)
    log.cosign(CLINIC, 3)
    log.add("police")
    found = log.wanting(2).state()
    assert (found.size, found.waiting, found.quorum, str(found.key)) == (3, 1, 2, str(log.signer.key))
    assert found.unwitnessed_s is not None
    assert found.behind_s is not None
    clinic, library = found.witnesses
    assert (clinic.size, clinic.lag_s) == (3, None)
    assert (library.size, library.at) == (None, None)
    assert library.lag_s is not None
    log.cosign(LIBRARY, 3)
    found = log.wanting(2).state()
    assert (found.unwitnessed_s, [w.lag_s for w in found.witnesses]) == (None, [None, None])


def test_a_cosignature_that_was_stored_and_does_not_verify_raises_an_alarm(log: Log) -> None:
    """As whoever owns a serving process could store one, to hide that no witness comes."""
    log.register(CLINIC, LIBRARY)
    log.grow(1)
    log.cosign(CLINIC, 3)
    watch = Watch(log.engine, 1, 300, 60)
    watch.look()
    assert log.published.state().alarms == []  # the honest one
    line = Note.read(log.published.checkpoint()).signatures[1].line().replace(CLINIC.key.name, LIBRARY.key.name)
    with transaction(log.database.auditor) as tx:
        tx.rows("insert into hub.cosignatures (witness, size, line) values (%s, 3, %s)", (LIBRARY.key.name, line))
    for _ in range(2):
        watch.look()
    assert [(a.kind, a.detail) for a in log.published.state().alarms] == [
        ("cosignature", f"The cosignature of {LIBRARY.key.name} on 3 leaves doesn't verify.")
    ]


def test_a_tiles_path_is_that_of_the_standard() -> None:
    """By an implementation of its own: groups of three digits, an x before all but the last."""
    for n in (0, 1, 255, 999, 1000, 1234067, 10**9):
        groups: list[str] = []
        rest = n
        while not groups or rest:
            groups.insert(0, f"{rest % 1000:03}")
            rest //= 1000
        path = "/".join([f"x{g}" for g in groups[:-1]] + groups[-1:])
        for level in (0, 3, 63):
            assert tile_at(f"{level}/{path}") == Tile(level, n)
            assert tile_at(f"{level}/{path}.p/17") == Tile(level, n, 17)
    for bad in (
        "0/1",
        "0/0001",
        "00/001",
        "64/000",
        "0/000.p/256",
        "0/000.p/0",
        "0/x000/001",
        "0/000.p/01",
        "0/001/000",
        "-1/000",
        "0/",
        "entries/000",
    ):
        assert tile_at(bad) is None, bad


def test_a_log_signed_by_another_key_is_told_from_this_one(log: Log) -> None:
    log.grow(1)
    assert not Note.read(log.published.checkpoint()).signed_by(Signer("hub.example/audit", bytes([9]) * 32).key)
