"""The leaf: its bytes are the interface (docs/reference/audit-leaf.md), so they are held by golden files.

After a change that is meant, with a new version: GOLDEN=write .venv/bin/python -m pytest tests/audit/test_leaf.py
"""

import json
import os
import random
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from hub.audit.leaf import MAX_BYTES, By, Event, Leaf, Share, bitmap, event_id, instant, leaves, revision_count, revisions_in

FOLDER = Path(__file__).parent / "golden"
SALT = bytes(range(16))
AT = datetime(2026, 11, 22, 13, 5, 53, 120_999, UTC)
ID = UUID("019ab000-0000-7000-8000-000000000001")
BY = By("harbour-health", "hh-etl-1", "q1w2e3r4t5y6u7i8", "192.0.2.7")
QUERY = Event(
    ID,
    "query",
    AT,
    BY,
    "permit",
    "public-health.outreach",
    "HH-2217",
    "incidents",
    {
        "extent": [-1.56, 53.79, -1.53, 53.81],
        "from": "2026-11-01T00:00:00.000Z",
        "until": "2026-11-22T00:00:00.000Z",
        "limit": 100,
        "fields": ["category"],
        "literals": "sealed:AAECAwQ=",
        "hash": "hmac:00ff",
    },
)
UNDER = [{"mou": "MOU-2026-014", "version": 3, "sha256": "ab" * 32, "grants": ["overdose-response"]}]
FIELDS = {"category": "clear", "occurred_at": "round_to:PT1H", "place": "grid_m:500"}
GOLDEN: dict[str, tuple[Event, Share]] = {
    "query": (QUERY, Share("cityport-police", UNDER, [1, 2, 3, 70_000, 2**33], {"fields": FIELDS})),
    "publish": (
        Event(ID, "publish", AT, replace(BY, organisation="cityport-police"), "permit", dataset="incidents", asked={"records": 2}),
        Share("cityport-police", (), [4, 5], {"root": "cd" * 32}),
    ),
    "refusal": (Event(ID, "refusal", AT, BY, "refuse", "public-health.outreach", reason="the token has no scope publish"), Share()),
    "unauthenticated": (
        Event(ID, "unauthenticated", AT, By(), "refuse", asked={"minute": "2026-11-22T13:04:00.000Z", "counts": {"access-token": 7}}),
        Share(),
    ),
}


def one(event: Event, share: Share) -> Leaf:
    (leaf,) = leaves(event, [share], SALT)
    return leaf


@pytest.mark.parametrize(("name", "event", "share"), [(n, *given) for n, given in GOLDEN.items()])
def test_a_leaf_has_the_bytes_it_has_always_had(name: str, event: Event, share: Share) -> None:
    leaf = one(event, share)
    text = f"{leaf.text}\n{leaf.hash.hex()}\n"
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_the_leaf_has_the_members_of_its_reference() -> None:
    body = json.loads(one(*GOLDEN["query"]).text)
    assert body.keys() == {
        *("v", "salt", "event", "part", "parts", "type", "at", "by", "purpose", "case"),
        *("owner", "dataset", "under", "asked", "shown", "decision"),
    }
    assert body["by"].keys() == {"organisation", "client", "session", "from"}
    assert body["shown"].keys() == {"count", "revisions", "fields"}
    assert (body["v"], body["at"], b64decode(body["salt"])) == (1, "2026-11-22T13:05:53.120Z", SALT)
    assert "null" not in one(*GOLDEN["refusal"]).text


def test_the_hash_is_that_of_rfc_6962() -> None:
    leaf = one(*GOLDEN["query"])
    assert leaf.hash == sha256(b"\x00" + leaf.text.encode()).digest()


word = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
name = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)
coordinate = st.floats(-180, 180) | st.sampled_from([-0.0, 1e-7, 5e-324, 100.0, 1e21, 43.65225])
asked = st.fixed_dictionaries({"limit": st.integers(1, 10_000), "fields": st.lists(name)}, optional={"extent": st.lists(coordinate)})
event = st.builds(
    Event,
    st.just(ID),
    word,
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
    st.builds(By, word, word, word | st.none(), word),
    st.sampled_from(["permit", "refuse", "absent"]),
    word | st.none(),
    word | st.none(),
    word | st.none(),
    st.none()
    | st.fixed_dictionaries({"limit": st.integers(1, 10_000), "fields": st.lists(name)}, optional={"extent": st.lists(coordinate)}),
    word | st.none(),
)
numbers = st.lists(st.integers(1, 2**40), unique=True, max_size=50)
share = st.builds(Share, word | st.none(), st.just(UNDER), numbers.map(sorted), st.dictionaries(name, word | st.dictionaries(name, word)))


@given(event, share)
def test_a_leaf_is_canonical_json_whatever_is_in_it(event: Event, share: Share) -> None:
    """RFC 8785: reading it and writing it canonically gives the same bytes."""
    for leaf in leaves(event, [share], SALT):
        assert rfc8785.dumps(json.loads(leaf.text)) == leaf.text.encode()
        assert json.loads(leaf.text)["event"] == str(ID)


def test_text_that_is_no_unicode_is_no_leaf() -> None:
    with pytest.raises((TypeError, ValueError)):
        one(replace(QUERY, reason="\ud800"), Share())


def test_every_owner_has_a_leaf_of_its_own_and_a_leaf_without_shares_is_the_hubs() -> None:
    made = leaves(QUERY, [Share("a", UNDER, [1]), Share("b", UNDER, [2])], SALT)
    assert [(leaf.owner, list(numbers_of([leaf]))) for leaf in made] == [("a", [1]), ("b", [2])]
    assert "b" not in json.loads(made[0].text).values()
    (own,) = leaves(QUERY, [], SALT)
    assert own.owner is None
    assert "owner" not in json.loads(own.text)


def numbers_of(made: Sequence[Leaf]) -> BitMap64:
    found = BitMap64()
    for leaf in made:
        found |= revisions_in(json.loads(leaf.text)["shown"]["revisions"])
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 5_000, 20_000, 100_000])
@pytest.mark.parametrize("spread", [1, 1_000, 2**33])
def test_a_leaf_that_is_too_long_is_split_and_loses_nothing(count: int, spread: int) -> None:
    chance = random.Random(count)
    revisions = sorted({chance.randrange(1, count * spread + 2) for _ in range(count)})
    made = leaves(QUERY, [Share("police", UNDER, revisions, {"fields": FIELDS})], SALT)
    bodies = [json.loads(leaf.text) for leaf in made]
    assert all(len(leaf.text.encode()) <= MAX_BYTES for leaf in made)
    assert [b["part"] for b in bodies] == [leaf.part for leaf in made] == list(range(1, len(made) + 1))
    assert {b["parts"] for b in bodies} == {len(made)}
    assert list(numbers_of(made)) == revisions
    assert sum(revision_count(b) for b in bodies) == len(revisions)
    for first, second in pairwise(made):
        assert numbers_of([first]).isdisjoint(numbers_of([second]))
    if count >= 20_000 and spread == 2**33:
        assert len(made) > 1  # control: there was something to split
    shared = {k: v for k, v in bodies[0].items() if k not in ("part", "shown")}
    assert all({k: v for k, v in b.items() if k not in ("part", "shown")} == shared for b in bodies)


def test_the_edge_of_the_length_is_where_it_is_said_to_be() -> None:
    """One byte more, and there are two parts: the limit is on bytes, not on characters."""
    revisions = [1, 2]

    def made(padding: str) -> list[Leaf]:
        return leaves(replace(QUERY, reason=padding), [Share("police", UNDER, revisions)], SALT)

    room = MAX_BYTES - len(made("")[0].text.encode())
    assert [len(leaf.text.encode()) for leaf in made("x" * room)] == [MAX_BYTES]
    assert len(made("é" * (room // 2))) == 1
    assert len(made("x" * (room + 1))) == len(made("é" * (room // 2 + 1))) == 2
    with pytest.raises(ValueError, match="does not fit"):
        made("x" * (MAX_BYTES + 1))


@given(st.lists(st.integers(0, 2**64 - 1), unique=True))
def test_the_bitmap_is_the_portable_one(revisions: list[int]) -> None:
    text = bitmap(revisions)
    assert text.startswith("roaring64:")
    raw = b64decode(text.removeprefix("roaring64:"), validate=True)
    assert list(BitMap64.deserialize(raw)) == sorted(revisions)
    assert list(revisions_in(text)) == sorted(revisions)


def test_the_bitmap_is_read_by_the_published_format() -> None:
    """By hand, from the format's specification: u64 count of high words; per word its u32 and a 32-bit bitmap (cookie 12346)."""
    raw = b64decode(bitmap([7, 2**32 + 9]).removeprefix("roaring64:"))
    assert int.from_bytes(raw[:8], "little") == 2
    at = 8
    for high, low in ((0, 7), (1, 9)):
        assert int.from_bytes(raw[at : at + 4], "little") == high
        assert int.from_bytes(raw[at + 4 : at + 8], "little") == 12_346
        assert int.from_bytes(raw[at + 8 : at + 12], "little") == 1  # one container
        assert int.from_bytes(raw[at + 12 : at + 16], "little") == 0  # key 0, cardinality - 1 = 0
        assert int.from_bytes(raw[at + 20 : at + 22], "little") == low
        at += 22
    assert at == len(raw)


def test_who_saw_a_revision_is_read_from_the_bitmap() -> None:
    shown = revisions_in(json.loads(one(*GOLDEN["query"]).text)["shown"]["revisions"])
    assert 70_000 in shown
    assert {4, 69_999, 99, 2**33} & set(shown) == {99, 2**33} & set(shown)
    assert 4 not in shown


def test_ids_of_events_are_uuids_of_version_7_in_the_order_of_their_time() -> None:
    chance = random.Random(7)
    times = [AT + timedelta(milliseconds=n) for n in range(-500, 500)]
    ids = [event_id(at, chance.randbytes(10)) for at in times]
    assert [i.version for i in ids] == [7] * len(ids)
    assert {i.variant for i in ids} == {"specified in RFC 4122"}
    assert ids == sorted(ids, key=lambda i: i.bytes)
    assert [int.from_bytes(i.bytes[:6], "big") for i in ids] == [int(at.timestamp() * 1000) for at in times]
    assert len({event_id(AT, chance.randbytes(10)) for _ in range(1000)}) == 1000


def test_every_random_bit_but_those_of_version_and_variant_is_in_the_id() -> None:
    low, high = event_id(AT, bytes(10)), event_id(AT, b"\xff" * 10)
    assert (low.int ^ high.int).bit_count() == 74


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2026-11-22T13:05:53.120Z"),
        (datetime(2026, 1, 1, 0, 0, tzinfo=timezone(timedelta(hours=1))), "2025-12-31T23:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_told_in_utc_to_the_millisecond(at: datetime, text: str) -> None:
    assert instant(at) == text


def test_a_salt_keeps_equal_leaves_from_having_equal_hashes() -> None:
    first, second = (leaves(*GOLDEN["refusal"][:1], [Share()], salt)[0] for salt in (SALT, SALT[::-1]))
    assert first.hash != second.hash


def test_the_golden_leaves_hold_no_member_that_the_reference_does_not_name() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "audit-leaf.md").read_text()

    def names(value: Any) -> set[str]:
        if not isinstance(value, dict):
            return {n for v in value for n in names(v)} if isinstance(value, list) else set()
        return set(value) | {n for key, v in value.items() if key not in ("fields", "counts") for n in names(v)}

    for event, share in GOLDEN.values():
        for found in names(json.loads(one(event, share).text)):
            assert f"`{found}`" in reference, found
