"""The application behind a real server on a loopback port, for what only shows on the wire."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from hub.app import application
from tests.world import World


@contextmanager
def serving(world: World) -> Iterator[int]:
    """The port. Served as `hub serve` does it: the same parser, no access log, no server header."""
    app = application(world.services, lambda: None)
    config = uvicorn.Config(app, port=0, http="httptools", access_log=False, log_config=None, server_header=False, lifespan="off")
    server = uvicorn.Server(config)
    running = threading.Thread(target=server.run)
    running.start()
    try:
        while not server.started:
            assert running.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        running.join(10)


def exchange(port: int, *pieces: bytes, hang_up: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Sends the pieces one after the other; gives status, headers and body of the first answer (0 when there is none)."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02)
        if hang_up:
            return 0, {}, b""
        received = b""
        while b"\r\n\r\n" not in received and (part := connection.recv(65_536)):
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        if not head:
            return 0, {}, b""
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        while not pieces[0].startswith(b"HEAD") and len(body) < int(headers.get("content-length", 0)) and (part := connection.recv(65_536)):
            body += part
        return int(first.split()[1]), headers, body


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: hub", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
