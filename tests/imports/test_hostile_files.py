"""Files that are meant to exhaust the hub: refused early, in bounded memory and time. The server is a process of its own, measured."""

import itertools
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.live import request
from tests.faults.server import Server
from tests.imports.files import BY_HASH, BY_ID, HEADER, mapping, numbered, row
from tests.imports.sending import counts, opened, told, verdicts
from tests.world import World

pytestmark = [pytest.mark.db, pytest.mark.unmeasured]
GIGABYTE = 1 << 30
PIECE = 1 << 16
ENOUGH = 24 << 20  # bytes by which any of these is refused, with what lies in buffers
MOST_RSS = 30 << 20


@pytest.fixture(scope="module")
def server(partners: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Warm: it has read a file, so that what is loaded once is not counted."""
    made = Server(partners.settings, partners.addresses, tmp_path_factory.mktemp("server") / "log")
    made.start()
    try:
        for spec in (BY_ID, BY_HASH):
            file = numbered(6_000, f"WARM-{spec is BY_ID}")
            status, _ = sending(made, partners, opened(partners, file, spec), [file], len(file))
            assert status == 200
        yield made
    finally:
        made.kill()


def sending(server: Server, world: World, path: str, pieces: Any, length: int | None = GIGABYTE) -> tuple[int, int]:
    """Sends the pieces until the server answers: (status, bytes sent by then)."""
    body = {"Content-Length": str(length)} if length is not None else {"Transfer-Encoding": "chunked"}
    head = request("PATCH", path, world.bearer("police") | {"Upload-Offset": "0", "Upload-Complete": "?1"} | body)
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head)
        try:
            for piece in pieces:
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece if length is not None else f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return int(connection.recv(PIECE).split()[1]), sent


def peak(server: Server) -> int:
    """The most memory that the server held since `forget`, in bytes."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) << 10


def forget(server: Server) -> int:
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    return peak(server)


def forever(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece * (PIECE // len(piece) + 1))


def started(first: bytes, then: Iterator[bytes]) -> Iterator[bytes]:
    return itertools.chain([first], then)


HEAD = f"{HEADER}\n".encode()
GOOD = HEAD + f"{row(0, 'BEFORE')}\n".encode()
FILES: dict[str, tuple[Any, Iterator[bytes], str]] = {
    "a line of a gigabyte": (BY_ID, started(GOOD, forever(b"x")), "over 1,048,576 bytes"),
    "a header of a gigabyte": (BY_ID, forever(b"x"), "over 1,048,576 bytes"),
    "a quote that never ends": (BY_ID, started(GOOD + b'"', forever(b"x\n")), "quote"),
    "a header of ten million columns": (BY_ID, forever(b"c,"), "over 1,048,576 bytes"),
    "a header of many columns": (BY_ID, started(b",".join(b"%d" % n for n in range(3_000)) + b"\n", forever(b"x")), "2,000"),
    "a row of ten million columns": (BY_ID, started(GOOD, forever(b",")), "over 1,048,576 bytes"),
    "zeros": (BY_ID, forever(b"\0"), "over 1,048,576 bytes"),
    "lines of zeros": (BY_ID, forever(b"\0\0\0\n"), "NUL"),
    "one text of a gigabyte": (None, forever(b'{"type": "Feature",'), "over 1,048,576 bytes"),
    "a FeatureCollection": (None, started(b'{"type": "FeatureCollection", "features": [\n', forever(b" ")), "FeatureCollection"),
    "a text that is not separated": (None, started(b"\x1e", forever(b"1\n")), "over 1,048,576 bytes"),
    "UTF-16 without end": (BY_ID, started(b"\xff\xfe", forever(b"x\0")), "over 1,048,576 bytes"),
}

AFTER_A_ROW = ("a line of a gigabyte", "a quote that never ends", "a row of ten million columns")


@pytest.mark.parametrize("what", FILES)
def test_a_file_without_measure_is_refused_early_and_in_bounded_memory(partners: World, server: Server, what: str) -> None:
    spec, pieces, word = FILES[what]
    path, before, began = opened(partners, None, spec), forget(server), time.monotonic()
    status, sent = sending(server, partners, path, pieces)
    assert (status, sent < ENOUGH) == (422, True), sent
    assert time.monotonic() - began < 20
    assert peak(server) - before < MOST_RSS
    job = told(partners, path)
    assert job["state"] == "failed"
    assert word in job["problem"]["reason"]
    assert job["landed"] + job["unchanged"] == (what in AFTER_A_ROW)  # which stays


def test_the_measure_of_memory_sees_what_is_held(partners: World, server: Server) -> None:
    """Control: a body of eight megabytes that is read whole (POST) shows."""
    before = forget(server)
    body = json.dumps({"type": "FeatureCollection", "features": ["x" * 1_000] * 8_000}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        more = {"Content-Length": str(len(body)), "Content-Type": "application/geo+json"}
        connection.sendall(request("POST", "/collections/incidents/items", partners.bearer("police") | more) + body)
        assert connection.recv(100).split()[1] in (b"413", b"400", b"422")
    assert peak(server) - before > 8 << 20


def test_a_chunked_gigabyte_is_refused_as_early(partners: World, server: Server) -> None:
    status, sent = sending(server, partners, opened(partners, None), forever(b"x"), None)
    assert (status, sent < ENOUGH) == (422, True)


def test_a_file_of_refused_rows_is_read_to_its_end_in_bounded_memory(partners: World, server: Server) -> None:
    """Each row with several things wrong: the report grows, the server doesn't."""
    bad = f"{row(0, 'BAD', kind='?', when='?', lon='?', lat='?')}\n".encode()
    pieces = [HEAD, *[bad * 2_000] * 5]
    path, before = opened(partners, None), forget(server)
    status, _ = sending(server, partners, path, pieces, sum(map(len, pieces)))
    assert status == 200
    assert peak(server) - before < MOST_RSS
    assert counts(told(partners, path)) == (10_000, 0, 0, 0, 10_000)
    assert len(verdicts(partners, path)[0]["errors"]) >= 3


@pytest.mark.parametrize("blank", [b"\n", b"\r\n"], ids=repr)
def test_a_file_of_blank_lines_is_read_in_bounded_time(partners: World, server: Server, blank: bytes) -> None:
    pieces = [GOOD, *[blank * (PIECE // len(blank))] * 8]
    path, before, began = opened(partners, None), forget(server), time.monotonic()
    status, _ = sending(server, partners, path, pieces, sum(map(len, pieces)))
    assert status == 200
    assert time.monotonic() - began < 20
    assert peak(server) - before < MOST_RSS
    assert told(partners, path)["landed"] + told(partners, path)["unchanged"] == 1


def test_a_text_nested_deeply_is_one_refused_row(partners: World, server: Server) -> None:
    deep = b'{"type":"Feature","properties":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_001 + b"\n"
    path = opened(partners, None, None)
    assert sending(server, partners, path, [deep], len(deep))[0] == 200
    assert counts(told(partners, path)) == (1, 0, 0, 0, 1)


def test_a_mapping_of_many_words_is_read_in_bounded_time(partners: World, server: Server) -> None:
    """At its largest: as many columns and as many words as are taken."""
    columns = [*HEADER.split(","), *(f"c{n}" for n in range(1_994))]
    words = {f"w{n}": "theft" for n in range(4_999)} | {"T": "theft"}
    spec = mapping(
        header=columns,
        drop=[c for c in columns if c.startswith("c")][:1_000],
        unmapped="extra",
        fields=BY_ID["fields"] | {"category": {"column": "kind", "map": words}},
    )
    file = b"".join(f"{row(n, 'WIDE', kind='T')}{',' * 1_994}\n".encode() for n in range(200))
    path, before, began = opened(partners, None, spec), forget(server), time.monotonic()
    assert sending(server, partners, path, [file], len(file))[0] == 200
    assert time.monotonic() - began < 20
    assert peak(server) - before < MOST_RSS
    assert told(partners, path)["landed"] == 200


def test_the_server_has_survived_it_all(partners: World, server: Server) -> None:
    """Runs last in this module; and holds no uploads any more."""
    file = numbered(10, "AFTERWARDS")
    path = opened(partners, file)
    assert sending(server, partners, path, [file], len(file))[0] == 200
    assert told(partners, path)["landed"] == 10
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) < 60
