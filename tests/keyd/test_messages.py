"""The messages of the key process's socket, each kind: out as they went in, or refused as a whole."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.crypto import messages
from hub.crypto.messages import (
    MAX_BYTES,
    Ask,
    Bytes,
    Check,
    Confirm,
    Confirmed,
    Failed,
    Lent,
    Literals,
    Macs,
    Malformed,
    Open,
    OpenNote,
    Ready,
    Seal,
    Sealed,
    SealItem,
    SealNote,
    Sign,
    Wanted,
)
from hub.crypto.remote import RemoteKeys
from hub.setup import keyd_socket
from hub.sharing.retention import bucket_of
from tests.world import World

ids, small, blob = st.binary(min_size=16, max_size=16), st.integers(0, 65_535), st.binary(max_size=40)
revisions, proof = st.integers(0, 2**31 - 1), st.none() | st.text(max_size=20)
buckets = st.dates().map(lambda day: bucket_of(day.replace(day=1))) | st.just(bucket_of(None))
items = st.builds(SealItem, ids, ids, revisions, small, buckets, st.dictionaries(small, st.tuples(small, blob), max_size=4))
wanted = st.builds(Wanted, ids, ids, revisions, st.integers(1, 2**63 - 1), small)
said = st.dictionaries(st.text(max_size=20), st.text(max_size=30), max_size=3)
hashes, places, versions = st.binary(min_size=32, max_size=32), st.integers(0, 2**63 - 1), st.integers(0, 2**31)
EACH_REQUEST = {
    Check: st.just(Check()),
    Seal: st.builds(Seal, st.lists(items, max_size=3), small),
    Macs: st.builds(Macs, st.text(max_size=9), ids, st.lists(blob, max_size=3)),
    Literals: st.builds(Literals, ids, st.floats(0, 253_402_300_799), blob),
    Open: st.builds(Open, proof, proof, ids, small, st.lists(wanted, max_size=3)),
    Ask: st.builds(Ask, proof, proof, small, small, said, st.lists(ids, max_size=3)),
    Confirm: st.builds(Confirm, proof, proof, ids, small, small, said, st.lists(wanted, max_size=3)),
    Sign: st.builds(Sign, ids, st.lists(hashes, min_size=1, max_size=3)),
    SealNote: st.builds(SealNote, ids, ids, blob),
    OpenNote: st.builds(OpenNote, proof, proof, ids, ids, blob),
}
EACH_REPLY = {
    Ready: st.just(Ready()),
    Sealed: st.builds(
        Sealed,
        st.lists(st.dictionaries(st.integers(0, 2**31), blob, max_size=3), max_size=3),
        st.none() | st.tuples(versions, st.none() | versions),
    ),
    Bytes: st.builds(Bytes, st.lists(blob, max_size=3)),
    Lent: st.builds(Lent, st.lists(blob, max_size=3), places, blob, blob, blob, blob),
    Confirmed: st.builds(Confirmed, st.lists(st.booleans(), max_size=3), places, blob, blob, blob, blob),
    Failed: st.builds(Failed, st.text(max_size=9), st.text(max_size=9), st.lists(ids, max_size=3)),
}
REQUESTS, REPLIES = st.one_of(*EACH_REQUEST.values()), st.one_of(*EACH_REPLY.values())
SIDES = [(messages.request_of, REQUESTS), (messages.reply_of, REPLIES)]
Reading = Callable[[bytes], Any]


def test_there_is_a_made_up_one_of_every_kind() -> None:
    assert set(EACH_REQUEST) == set(get_args(messages.Request))
    assert set(EACH_REPLY) == set(get_args(messages.Reply))


@pytest.mark.parametrize(("read", "kinds"), SIDES, ids=["requests", "replies"])
@given(data=st.data())
def test_every_message_comes_out_as_it_went_in(read: Reading, kinds: st.SearchStrategy[Any], data: st.DataObject) -> None:
    message = data.draw(kinds)
    whole = messages.encode(message)
    assert messages.length_of(whole[:4]) == len(whole) - 4
    assert read(whole[4:]) == message


@pytest.mark.parametrize(("read", "kinds"), SIDES, ids=["requests", "replies"])
@given(data=st.data())
def test_a_message_of_which_a_piece_is_exchanged_is_another_of_the_format_or_malformed(
    read: Reading, kinds: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    body = messages.encode(data.draw(kinds))[4:]
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    changed = body[:start] + data.draw(st.binary(max_size=20)) + body[end:]
    try:
        found = read(changed)
    except Malformed:
        return
    assert read(messages.encode(found)[4:]) == found  # every value is one that its kind may hold


@given(st.binary(max_size=300))
def test_bytes_are_a_message_or_malformed(body: bytes) -> None:
    for read, _ in SIDES:
        with suppress(Malformed):
            read(body)


@given(st.binary(min_size=4, max_size=4))
def test_a_length_is_no_more_than_any_message_has(head: bytes) -> None:
    try:
        assert messages.length_of(head) == int.from_bytes(head, "big") <= MAX_BYTES
    except Malformed:
        assert int.from_bytes(head, "big") > MAX_BYTES


ID = bytes(16)
NO_BUCKETS = [
    *("until-x", "until-", "until-2028-13-01", "until-2028-00-01", "until-2028-12-02", "until-2028-12", "until-20281201"),
    *(
        "until-2028-W01-1",
        "until-0000-01-01",
        "until-12028-01-01",
        "until-2028-12-01\n",
        " until-2028-12-01",
        "until-٢٠٢٨-12-01",
        "until-2028-12-01x",
    ),
    *("Default", "default\n", "sign:leaves", "mac:content", "audit", "2026", "b" * 100),
]


@pytest.mark.parametrize(
    "said",
    [
        ["seal", [[ID[1:], ID, 1, 1, "default", {}]]],
        ["seal", [[ID + b"x", ID, 1, 1, "default", {}]]],
        ["seal", [[ID, ID, -1, 1, "default", {}]]],
        ["seal", [[ID, ID, 1 << 31, 1, "default", {}]]],
        ["seal", [[ID, ID, 1, 65_536, "default", {}]]],
        ["seal", [[ID, ID, 1, 1, "", {}]]],
        *(["seal", [[ID, ID, 1, 1, bucket, {}]]] for bucket in NO_BUCKETS),
        ["seal", [[ID, ID, 1, 1, "default", {65_536: [1, b""]}]]],
        ["seal", [[ID, ID, 1, 1, "default", {4: [65_536, b""]}]]],
        ["seal", [[ID, ID, 1, 1, "default", {4: [1, "a text"]}]]],
        ["seal", [[ID, ID, 1, 1, "default", {}, 1]]],
        ["literals", ID, -1.0, b""],
        ["literals", ID, float("nan"), b""],
        ["literals", ID, 253_402_300_800.0, b""],
        ["open", None, None, ID, 1, [[ID, ID, 1, 0, 1]]],
        ["open", None, None, ID, 1, [[ID, ID, 1, 1 << 63, 1]]],
        ["open", b"token", None, ID, 1, []],
        ["shred", ID],
        ["check", 1],
        [],
        {},
        "check",
    ],
    ids=repr,
)
def test_what_no_kind_may_hold_is_malformed(said: Any) -> None:
    with pytest.raises(Malformed):
        messages.request_of(msgspec.msgpack.encode(said))


@pytest.mark.parametrize(
    "said",
    [
        ["seal", [[ID, ID, 2**31 - 1, 65_535, "until-9999-12-01", {65_535: [65_535, b""]}]]],
        ["literals", ID, 253_402_300_799.0, b""],
        ["open", "token", None, ID, 1, [[ID, ID, 0, 2**63 - 1, 65_535]]],
        ["check"],
    ],
    ids=repr,
)
def test_the_most_that_a_kind_may_hold_is_taken(said: Any) -> None:
    """The control."""
    messages.request_of(msgspec.msgpack.encode(said))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(max_size=200) | st.binary(max_size=200).map(lambda body: len(body).to_bytes(4, "big") + body))
def test_whatever_comes_over_the_socket_the_next_is_answered(world: World, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(keyd_socket(world.settings)))
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1_000):
                pass
    keys = RemoteKeys(keyd_socket(world.settings))
    keys.check()
    keys.close()
