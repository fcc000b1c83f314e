"""Signatures of the key process over a log: what a deleted leaf, a deleted signature, and signatures that stopped look like."""

import json
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.signatures import Signatures
from hub.leaf_chain import NOTHING, chained, statement

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()


def leaf(n: int) -> bytes:
    return sha256(b"%d" % n).digest()


def chain(count: int) -> list[tuple[bytes, bytes]]:
    """The lines of `count` signatures in their order, and the chain after each."""
    (_, last), made = NOTHING, []
    for n in range(1, count + 1):
        last = chained(last, n, leaf(n))
        raw = {"leaf": leaf(n), "chain": last, "key": PUBLIC, "signature": KEY.sign(statement(n, leaf(n), last))}
        said = {"n": n, "event": str(UUID(int=n))} | {name: b64encode(value).decode() for name, value in raw.items()}
        made.append((json.dumps(said).encode(), last))
    return made


def looked_at(signed: int, minutes: dict[int, float], heads: int | None = None, dropped: Iterable[int] = ()) -> list[str]:
    """What is wrong with a log of the leaves of these numbers, each so many minutes after noon, of which 1 to `signed` were signed and
    `dropped` signatures left out; its last heads leaf tells of signature `heads`.
    """
    found, wrong, lines = Signatures({PUBLIC}, 0, True), list[str](), chain(signed)
    for n, (line, _) in enumerate(lines, 1):
        if n not in set(dropped):
            wrong += found.read(line)
    for index, (n, after) in enumerate(minutes.items()):
        found.entry(index, NOW + timedelta(minutes=after), {"type": "query", "by": {}}, leaf(n))
    if heads is not None:
        wrong += found.heads(len(minutes), {"signed": [heads, b64encode(lines[heads - 1][1]).decode()]})
    wrong += found.end({leaf(n) for n in minutes}, True)
    return wrong


def test_a_log_in_order_is_right() -> None:
    assert looked_at(5, {n: n for n in range(1, 6)}, heads=5) == []


def test_what_was_signed_just_before_the_end_may_still_be_on_its_way() -> None:
    assert looked_at(5, {1: 0, 2: 1, 3: 2}, heads=3) == []
    assert looked_at(5, {1: 0, 2: 1, 5: 2}, heads=2) == []  # of those signed at once, one was taken before the others


@pytest.mark.parametrize("heads", [5, None])
def test_a_signed_leaf_that_is_missing_is_missed_whatever_heads_leaves_say(heads: int | None) -> None:
    """Whoever has the log's key can keep heads leaves from telling of signatures."""
    (told,) = looked_at(5, {1: 0, 2: 1, 4: 3, 5: 5.1}, heads=heads)
    assert told == "The leaf that the key process signed as number 3 is not in the tree: it was deleted before it got there."


def test_a_signature_that_is_missing_breaks_the_chain() -> None:
    (told,) = looked_at(5, {n: n for n in range(1, 6)}, dropped=[3])
    assert told == "Signature 4 of the key process doesn't verify, or doesn't follow from number 2."


def test_accesses_that_go_on_unsigned_for_long_are_told() -> None:
    assert looked_at(2, {1: 0, 2: 1, 3: 10.9}) == []  # never answered, perhaps
    (told,) = looked_at(2, {1: 0, 2: 1, 3: 2, 4: 11})
    assert "Since 2026-11-27 12:01 UTC accesses were logged and none was signed by the key process, up to entry 3" in told
    (told,) = looked_at(0, {1: 0, 2: 1, 3: 2, 4: 11})
    assert "Since 2026-11-27 12:00 UTC" in told


def test_unsigned_accesses_are_named() -> None:
    found = Signatures({PUBLIC}, 0, True)
    for index in range(30):
        found.entry(index, NOW, {"type": "query", "by": {}}, leaf(index))
    (note,) = found.notes()
    assert note.startswith("30 accesses were not signed")
    assert note.endswith("Entries 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 10 more.")


def test_a_key_that_is_not_trusted_signs_nothing() -> None:
    found = Signatures({bytes(32)}, 0, True)
    assert [*found.read(chain(1)[0][0])] == ["Signature 1 is by a key that is not trusted as the key process's."]
    found.entry(0, NOW, {"type": "query", "by": {}}, leaf(1))
    assert found.unsigned == [0]
