"""What the key process signs: one chain without gaps, whoever signs at once, durable before it is told, and copied into the log."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import uuid4

import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.crypto.leaf_signer import LeafSigner
from hub.errors import Tampered, Unavailable
from hub.leaf_chain import NOTHING, Signed, chained, statement
from hub.workers import copying
from tests.world import World


@pytest.fixture
def engine(world: World) -> sa.Engine:
    return world.keyd.database.keys


@pytest.fixture
def signer(world: World, engine: sa.Engine) -> LeafSigner:
    return LeafSigner(world.keyd.keyring.signing_seed(), engine)


def verified(entries: list[Signed]) -> bool:
    """Whether they are one chain from the beginning, each signed: what an auditor asks, from the definition alone."""
    n, chain = NOTHING
    for entry in entries:
        n, chain = n + 1, chained(chain, n + 1, entry.leaf_hash)
        if (entry.n, entry.chain) != (n, chain):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(entry.key).verify(entry.signature, statement(entry.n, entry.leaf_hash, entry.chain))
        except InvalidSignature:
            return False
    return True


def test_each_leaf_is_signed_in_one_chain(signer: LeafSigner) -> None:
    before = len(signer.after(0, 10_000))
    hashes = [secrets.token_bytes(32) for _ in range(5)]
    event = uuid4()
    made = [*signer.sign(event, hashes[:2]), *signer.sign(event, []), *signer.sign(event, hashes[2:])]
    entries = signer.after(0, 10_000)
    assert entries[before:] == made
    assert [s.leaf_hash for s in made] == hashes
    assert {s.event for s in made} == {event}
    assert verified(entries)


@pytest.mark.parametrize("change", ["gone", "exchanged", "another leaf", "another number", "another signature"])
def test_a_chain_that_was_changed_is_noticed(signer: LeafSigner, change: str) -> None:
    signer.sign(uuid4(), [secrets.token_bytes(32) for _ in range(4)])
    entries = signer.after(0, 10_000)
    assert verified(entries)
    one = entries[-2]
    changed = {
        "gone": [*entries[:-2], entries[-1]],
        "exchanged": [*entries[:-2], entries[-1], one],
        "another leaf": [*entries[:-2], one._replace(leaf_hash=bytes(32)), entries[-1]],
        "another number": [*entries[:-2], one._replace(n=one.n + 1), entries[-1]],
        "another signature": [*entries[:-2], one._replace(signature=entries[-1].signature), entries[-1]],
    }[change]
    assert not verified(changed)


def test_processes_that_sign_at_once_make_one_chain(world: World, engine: sa.Engine) -> None:
    signers = [LeafSigner(world.keyd.keyring.signing_seed(), engine) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: signers[n % 4].sign(uuid4(), [secrets.token_bytes(32)] * (1 + n % 3)), range(40)))
    entries = signers[0].after(0, 10_000)
    assert verified(entries)
    assert {s.n for part in made for s in part} <= {s.n for s in entries}
    assert all(b.n == a.n + 1 for part in made for a, b in pairwise(part))  # those of an event stay together


def test_a_restart_goes_on_where_the_chain_is(world: World, engine: sa.Engine, signer: LeafSigner) -> None:
    (last,) = signer.sign(uuid4(), [bytes(32)])
    (following,) = LeafSigner(world.keyd.keyring.signing_seed(), engine).sign(uuid4(), [bytes(32)])
    assert following.n == last.n + 1
    assert following.key == last.key == signer.public


def test_what_couldnt_be_stored_takes_no_place(signer: LeafSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    (last,) = signer.sign(uuid4(), [bytes(32)])
    with monkeypatch.context() as patch:
        patch.setattr(LeafSigner, "_store", lambda *_: (_ for _ in ()).throw(sa.exc.OperationalError("insert", {}, Exception("gone"))))
        with pytest.raises((Unavailable, sa.exc.OperationalError)):
            signer.sign(uuid4(), [bytes(32)])
    (following,) = signer.sign(uuid4(), [bytes(32)])
    assert following.n == last.n + 1


@pytest.fixture
def admin(world: World) -> Iterator[sa.Connection]:
    with world.superuser() as connection:
        yield connection


def test_every_signature_gets_into_the_log_in_its_order(
    world: World, signer: LeafSigner, admin: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "AT_ONCE", 3)
    signer.sign(uuid4(), [secrets.token_bytes(32) for _ in range(8)])
    copying.copy(signer, world.keyd.database.main)
    assert copying.copy(signer, world.keyd.database.main) == 0
    entries = signer.after(0, 10_000)
    rows = admin.exec_driver_sql("select n, event::text, leaf_hash, chain, key, signature from hub.leaf_signatures order by n").all()
    assert [(n, e, *map(bytes, rest)) for n, e, *rest in rows] == [(s.n, str(s.event), *s[2:]) for s in entries]


REFUSES = """
create function hub.drops() returns trigger language plpgsql as 'begin return null; end';
create trigger drops before insert on hub.leaf_signatures for each row execute function hub.drops()"""
TAKES = "drop trigger drops on hub.leaf_signatures; drop function hub.drops()"


def done(world: World, statement: str) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql(statement)


def test_a_log_that_drops_signatures_is_told_from_one_that_takes_them(world: World, signer: LeafSigner) -> None:
    """Whoever administers the database could have the copies vanish, and then leaves: nothing would show that they were there."""
    now = [0.0]
    copies = copying.Copying(signer, world.keyd.database.main, lambda: now[0])
    copies.run()
    done(world, REFUSES)
    try:
        signer.sign(uuid4(), [secrets.token_bytes(32)])
        for now[0] in (1.0, 2.0):
            with pytest.raises(Tampered, match="doesn't take signatures"):
                copies.run()
        assert copies.behind_s == 2.0
    finally:
        done(world, TAKES)
    copies.run()
    assert copies.behind_s == 0.0


def test_a_signature_in_the_log_that_was_not_made_here_stops_the_copies(world: World, signer: LeafSigner) -> None:
    """Another's at the end would keep every later one out."""
    copies = copying.Copying(signer, world.keyd.database.main)
    copies.run()
    last = signer.after(0, 100_000)[-1]
    columns = "event, leaf_hash, chain, key, signature"
    done(world, f"insert into hub.leaf_signatures select n + 1, {columns} from hub.leaf_signatures where n = {last.n}")
    try:
        with pytest.raises(Tampered, match=f"signature {last.n + 1} was not made by this key process"):
            copies.run()
        signer.sign(uuid4(), [bytes(32)])
        with pytest.raises(Tampered, match=f"signature {last.n + 1} was not made by this key process"):
            copies.run()
    finally:
        done(world, f"set session_replication_role = replica; delete from hub.leaf_signatures where n = {last.n + 1}")
    copies.run()
    assert copies.behind_s < 5


@pytest.mark.parametrize(
    "statement", ["delete from hub.leaf_signatures", "update hub.leaf_signatures set n = -n", "truncate hub.leaf_signatures"]
)
def test_a_copy_is_only_ever_added_to(world: World, statement: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="only ever added to"), world.superuser() as connection:
        connection.exec_driver_sql(statement.format("hub.leaf_signatures"))
