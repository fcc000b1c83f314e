"""What only shows on the wire: streamed, lying, broken and interrupted requests to a real server."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.api.asking import GEOJSON, ITEMS, nothing_stored
from tests.api.live import exchange, request, serving
from tests.world import World, feature

BODY = json.dumps(feature("WIRE")).encode()


@pytest.fixture(scope="module")
def port(partners: World) -> Iterator[int]:
    partners.bearer("health", "research")
    with serving(partners) as found:
        yield found


def headers(world: World, **more: str) -> dict[str, str]:
    return world.bearer("police") | {"Content-Type": GEOJSON} | {name.replace("_", "-"): value for name, value in more.items()}


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_a_streamed_body_is_read(partners: World, port: int) -> None:
    head = request("POST", ITEMS, headers(partners, Transfer_Encoding="chunked"))
    status, _, body = exchange(port, head, chunk(BODY[:50]), chunk(BODY[50:]), chunk(b""))
    assert (status, json.loads(body)["records"][0]["outcome"]) == (201, "created")


def test_a_streamed_body_is_given_up_at_the_limit(partners: World, port: int) -> None:
    head = request("POST", ITEMS, headers(partners, Transfer_Encoding="chunked"))
    megabyte = chunk(b" " * 1024 * 1024)
    with nothing_stored(partners):
        status, got, body = exchange(port, head, *[megabyte] * 11)
        assert (status, got["content-type"]) == (413, "application/problem+json")
        assert b"10,485,760" in body


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(partners: World, port: int) -> None:
    with nothing_stored(partners):
        assert exchange(port, request("POST", ITEMS, headers(partners, Content_Length=str(10**10))))[0] == 413


def test_a_body_shorter_than_it_says_is_not_stored(partners: World, port: int) -> None:
    with nothing_stored(partners):
        exchange(port, request("POST", ITEMS, headers(partners, Content_Length="100000"), BODY), hang_up=True)
        assert exchange(port, request("GET", "/healthz", {}))[0] == 200


def test_a_body_longer_than_it_says_is_no_request(partners: World, port: int) -> None:
    """What is over would be the beginning of a next request."""
    with nothing_stored(partners):
        assert exchange(port, request("POST", ITEMS, headers(partners, Content_Length=str(len(BODY) - 1)), BODY))[0] == 400


def test_two_lengths_or_a_length_and_a_stream_are_no_request(partners: World, port: int) -> None:
    """Request smuggling (RFC 9112 §6.3) ends at the parser."""
    for more in ({"Content_Length": "5\r\nContent-Length: 6"}, {"Content_Length": "5", "Transfer_Encoding": "chunked"}):
        with nothing_stored(partners):
            status, _, _ = exchange(port, request("POST", ITEMS, headers(partners, **more), BODY))
            assert status in (0, 400)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client on the plain port
        b"GET / HTTP/9.9\r\nHost: hub\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"\r\n\r\nnonsense\r\n\r\n",
        request("GET", "/", {"X": "a\rb"}),
    ],
)
def test_what_is_no_http_gets_no_answer_but_a_refusal(port: int, sent: bytes) -> None:
    status, _, body = exchange(port, sent)
    assert status in (0, 400)
    assert b"Traceback" not in body


def test_an_answer_names_no_server_and_no_version(partners: World, port: int) -> None:
    status, got, _ = exchange(port, request("GET", ITEMS, partners.bearer("health", "research")))
    assert status == 200
    assert got.keys() == {"audit-receipt", "cache-control", "content-length", "content-type", "date"}


def test_head_has_the_length_and_no_body(partners: World, port: int) -> None:
    status, got, body = exchange(port, request("HEAD", ITEMS, partners.bearer("health", "research")))
    assert (status, body) == (200, b"")
    assert int(got["content-length"]) > 0


def test_a_path_with_odd_bytes_is_a_problem(partners: World, port: int) -> None:
    for path in ("/collections/%FF/items", "/%00", f"{ITEMS}/%C3%28", "/collections/%F0%9F%9A%93", "//"):
        status, got, _ = exchange(port, request("GET", path, partners.bearer("health", "research")))
        assert (status, got["content-type"]) == (404, "application/problem+json"), path


def test_a_defect_is_told_to_nobody(
    partners: World, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the answer nor the server's log, which would print a traceback with the statement and its values."""

    def broken(*_: object) -> None:
        raise RuntimeError("a canary")

    monkeypatch.setattr("hub.api.collections.page_query", broken)
    said = structlog.testing.LogCapture()
    # Whatever another test has bound the log to, here it comes to this one.
    own = structlog.wrap_logger(None, [said], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr("hub.api.problems._log", own)
    with caplog.at_level(logging.DEBUG):
        status, got, body = exchange(port, request("GET", ITEMS, partners.bearer("health", "research")))
    assert (status, got["content-type"]) == (500, "application/problem+json")
    logged = "".join(capfd.readouterr()) + caplog.text + str(said.entries)
    assert "RuntimeError" in logged
    assert b"canary" not in body
    assert "canary" not in logged
