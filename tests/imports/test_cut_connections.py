"""Connections that break, lie about lengths, or stop: what has arrived whole is kept once, and the rest goes on from there."""

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hub.identity import clients
from hub.sharing.upload import Upload
from tests.api.live import exchange, request, serving
from tests.faults.stand import wait_until
from tests.imports.files import BY_HASH, BY_ID, csv, numbered, repr_digest, row
from tests.imports.sending import counts, faults_of, opened, path_of, resume, rows, told, verdicts
from tests.world import World

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def port(partners: World) -> Iterator[int]:
    with serving(partners) as found:
        yield found


@dataclass
class Seen:
    """How many uploads the server has begun, and is done with."""

    begun: int = 0
    closed: int = 0


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found, begin, close = Seen(), Upload.__init__, Upload.close

    def beginning(self: Upload, *arguments: Any) -> None:
        begin(self, *arguments)
        found.begun += 1

    def closing(self: Upload) -> None:
        close(self)
        found.closed += 1

    monkeypatch.setattr(Upload, "__init__", beginning)
    monkeypatch.setattr(Upload, "close", closing)
    return found


def head(world: World, path: str, offset: int, length: int | None, client: str = "police", **more: str) -> bytes:
    """The head of a PATCH; without a length its body comes in chunks."""
    body = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return request("PATCH", path, world.bearer(client) | {"Upload-Offset": str(offset)} | body | named)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def cut_off(port: int, seen: Seen, sent: bytes) -> None:
    """Sends so much and hangs up; returns when the server has noticed, and kept what it could. What the server has not taken from the
    connection by then is lost, so it is given time for that.
    """
    begun, closed = seen.begun, seen.closed
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        wait_until(lambda: seen.begun > begun, "the server begins to read", 20)
        time.sleep(0.15)
    wait_until(lambda: seen.closed > closed, "the server notices that the connection broke", 20)


def repeated(count: int, name: str) -> bytes:
    """Rows of which most come several times, so that their order among equals tells them apart."""
    return csv(row(n % 7, name, id=n) for n in range(count))


@pytest.mark.parametrize("way", ["length", "chunks"])
@pytest.mark.parametrize("kind", ["id", "hash"])
def test_a_file_that_is_cut_off_again_and_again_lands_once(partners: World, port: int, seen: Seen, kind: str, way: str) -> None:
    chance, name, count = random.Random(f"{kind} {way}"), f"CUT-{kind}-{way}", 700
    file, spec = (numbered(count, name), BY_ID) if kind == "id" else (repeated(count, name), BY_HASH)
    path, at, cuts = opened(partners, file, spec), 0, 0
    while cuts < 6:
        size = chance.randint(1, max(2, (len(file) - at) // 4))
        body = file[at : at + size]
        sent = head(partners, path, at, len(file) - at if way == "length" else None, Repr_Digest=repr_digest(file), Upload_Complete="?1")
        cut_off(port, seen, sent + (body if way == "length" else chunk(body)))
        job = told(partners, path)
        assert at <= job["offset"] <= at + size
        whole = file[:at].count(b"\n") + body.count(b"\n") - 1  # the header is no row
        assert job["rows"] == max(0, whole) if job["offset"] > at else True
        assert len(verdicts(partners, path)) == job["rows"]
        at, cuts = job["offset"], cuts + 1
    job = resume(partners, path, file)
    assert (job["state"], counts(job)) == ("done", (count, count, 0, 0, 0))
    said = verdicts(partners, path)
    assert [v["row"] for v in said] == list(range(1, count + 1))
    stored = rows(partners, "select external_id, rev, id::text from hub.incidents where id::text = any(:i)", i=[v["id"] for v in said])
    assert len(stored) == count
    assert {rev for _, rev, _ in stored} == {1}
    if kind == "id":
        assert {n for n, _, _ in stored} == {f"{name}-{n}" for n in range(count)}
    else:
        ordinals: dict[str, list[int]] = {}
        for external_id, _, _ in stored:
            stem, _, ordinal = external_id.rpartition("-")
            ordinals.setdefault(stem, []).append(int(ordinal))
        assert len(ordinals) == 7
        assert all(sorted(found) == list(range(1, 101)) for found in ordinals.values())
        again = opened(partners, file, spec)
        exchange(port, head(partners, again, 0, len(file)), file)
        assert counts(told(partners, again)) == (count, 0, 0, count, 0)  # the same ids as if it had come in one piece
    assert faults_of(partners) == []


def test_ordinals_that_began_anew_after_a_cut_are_noticed(partners: World, port: int, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the keys of the rows before the cut, equal rows after it would change those before it."""
    file = repeated(140, "ANEW")
    path = opened(partners, file, BY_HASH)
    half = file.index(b"\n", len(file) // 2) + 1
    cut_off(port, seen, head(partners, path, 0, len(file)) + file[:half])
    assert told(partners, path)["offset"] == half
    monkeypatch.setattr("hub.sharing.imports.Imports.equals_of", lambda *_: iter(()))
    job = resume(partners, path, file)
    assert job["landed"] < 140


def test_a_body_that_ends_early_keeps_its_whole_rows(partners: World, port: int, seen: Seen) -> None:
    file = numbered(10, "SHORT")
    path = opened(partners, file)
    cut = len(file) - 5
    cut_off(port, seen, head(partners, path, 0, len(file)) + file[:cut])
    job = told(partners, path)
    assert (job["state"], job["rows"]) == ("open", 9)
    assert file[: job["offset"]].endswith(b"\n")


def test_a_length_that_is_too_short_ends_the_body_there(partners: World, port: int, seen: Seen) -> None:
    """What is over is no part of it, and no request either."""
    file = numbered(4, "LIES-SHORT")
    path = opened(partners, file)
    cut = file.index(b"\n", len(file) // 2) + 1
    status, headers, _ = exchange(port, head(partners, path, 0, cut), file)
    assert status in (200, 400)
    wait_until(lambda: seen.closed, "the server is done")
    job = told(partners, path)
    assert (job["state"], job["offset"]) in (("open", cut), ("open", 0))
    if status == 200:
        assert headers["upload-offset"] == str(job["offset"])
    assert resume(partners, path, file)["landed"] == 4


def test_more_than_was_announced_is_refused_before_it_is_sent(partners: World, port: int) -> None:
    file = numbered(4, "LIES-LONG")
    path = opened(partners, file)
    status, _, body = exchange(port, head(partners, path, 0, len(file) + 1))
    assert (status, json.loads(body)["errors"][0]["field"]) == (400, "Content-Length")
    status, _, body = exchange(port, head(partners, path, 0, None), chunk(file), chunk(file), chunk(b""))
    assert (status, json.loads(body)["errors"][0]["field"]) == (400, "body")
    assert told(partners, path)["state"] == "open"


def test_less_than_was_announced_is_not_the_end(partners: World, port: int) -> None:
    file = numbered(4, "FEWER")
    path = opened(partners, file)
    cut = file.index(b"\n", len(file) // 2) + 1
    status, _, body = exchange(port, head(partners, path, 0, cut, Upload_Complete="?1"), file[:cut])
    assert (status, json.loads(body)["errors"][0]["field"]) == (400, "body")
    assert told(partners, path)["state"] == "open"
    assert resume(partners, path, file)["landed"] == 4


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", "99999999999999999999999"])
def test_a_length_that_is_no_number_is_no_request(partners: World, port: int, length: str) -> None:
    path = opened(partners, numbered(1, f"LENGTH-{length}"))
    more = {"Upload-Offset": "0", "Content-Length": length, "Upload-Complete": "?1"}
    status, _, _ = exchange(port, request("PATCH", path, partners.bearer("police") | more, b"x"), hang_up=False)
    assert status in (0, 400, 413)
    assert told(partners, path)["offset"] == 0


def test_a_slow_sender_is_served_while_others_are(partners: World, port: int) -> None:
    file, slow = numbered(30, "SLOW"), threading.Event()
    path = opened(partners, file)

    def trickle() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head(partners, path, 0, len(file)))
            for n in range(0, len(file), 200):
                connection.sendall(file[n : n + 200])
                slow.wait(0.02)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")

    sender = threading.Thread(target=trickle)
    sender.start()
    for n in range(5):
        status, _, _ = exchange(port, request("GET", path, partners.bearer("police")))
        assert status == 200, n
    sender.join(30)
    assert told(partners, path)["landed"] == 30


def test_a_client_that_is_disabled_while_it_sends_lands_nothing_more(partners: World, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    partners.organisation("shut")
    file = numbered(10_000, "SHUT")
    path = opened(partners, file, client="shut")
    commit = Upload._commit

    def disabled_in_between(self: Upload, batch: Any, previous: Any) -> None:
        if batch.first > 2_000:
            clients.disable(partners.database.writer, "shut", partners.clock())
        commit(self, batch, previous)

    monkeypatch.setattr(Upload, "_commit", disabled_in_between)
    status, headers, body = exchange(port, head(partners, path, 0, len(file), "shut"), file)
    assert (status, json.loads(body)["status"]) == (401, 401)
    assert headers["www-authenticate"].startswith("Bearer")
    ((landed, offset),) = rows(
        partners, "select (counts->>'landed')::int, (position->>'offset')::int from hub.imports where id::text = :i", i=path[-36:]
    )
    assert landed in (0, 2_000)
    stored = "select count(*) from hub.incidents where external_id like 'SHUT-%'"
    assert rows(partners, stored) == [(landed,)]
    refusal = partners.leaves(type="refusal")[-1]
    assert (refusal["by"]["client"], refusal["decision"]) == ("shut", "refuse")
    status, _, _ = exchange(port, head(partners, path, offset, len(file) - offset, "shut", Repr_Digest=repr_digest(file)), file[offset:])
    assert status == 401
    assert rows(partners, stored) == [(landed,)]
    (kept,) = rows(partners, "select state from hub.imports where id::text = :i", i=path[-36:])
    assert kept == ("open",)


def test_many_imports_at_once_are_all_served(partners: World, port: int) -> None:
    """More than there are database connections: who gets none in time is told to come again."""
    files = [numbered(300, f"CROWD-{n}") for n in range(8)]
    paths = [opened(partners, file) for file in files]
    statuses: list[int] = []

    def send(path: str, file: bytes) -> None:
        statuses.append(exchange(port, head(partners, path, 0, len(file)), file)[0])

    running = [threading.Thread(target=send, args=pair) for pair in zip(paths, files, strict=True)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert Counter(statuses) == {200: 8}
    assert [told(partners, p)["landed"] for p in paths] == [300] * 8


def test_an_answer_that_never_arrived_does_not_matter(partners: World, port: int, seen: Seen) -> None:
    """The sender hangs up when all is sent; whoever asks finds the import done."""
    file = numbered(5, "UNHEARD")
    path = opened(partners, file)
    cut_off(port, seen, head(partners, path, 0, len(file)) + file)
    job = told(partners, path)
    assert (job["state"], job["landed"]) == ("done", 5)
    assert path_of(job) == path
