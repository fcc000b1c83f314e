"""query.sql and query.growth: a page of 100 incidents in a box of about 4 × 3 km, over HTTP, with policy and audit.

Each round asks the same 60 boxes of the frozen list once by the frozen lean SQL (psycopg2, one connection) and once of each hub,
alternating; the figure is the median over boxes and rounds. Every answer is checked: full pages, the released grid, no error.
"""

import json
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg2

from hub.client import Client
from tests.bench.server import running
from tests.bench.setting import FROZEN, MILLION, READERS, TENTH, Setting, hubs, queries

ROUNDS, BOXES, LAST_BOXES = 5, 60, 15
EMPTY_BOX = "?bbox=-30.02,45.00,-29.98,45.03&limit=100"
sys.path.insert(0, str(FROZEN))
import floor_sql  # noqa: E402  # the frozen lean SQL


class Wire:
    """One kept connection: what a request costs, without the cost of an HTTP library."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str, token: str) -> bytes:
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"void: {head[:40]!r} {body[:200]!r}")
        length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")).split(b":")[1])
        while len(body) < length:
            body += self._received()
        return body

    def _received(self) -> bytes:
        part = self._socket.recv(1 << 18)
        if not part:
            raise RuntimeError("the server closed the connection")
        return part

    def close(self) -> None:
        self._socket.close()


@contextmanager
def served(setting: Setting, rows: int, port: int) -> Iterator[Wire]:
    """A serving process over the hub with `rows` points."""
    with running(setting.settings(rows), setting.addresses(rows), port), closing(Wire(port)) as wire:
        yield wire


def token(setting: Setting, rows: int, port: int, reader: str) -> str:
    """A fresh token of a reader."""
    key = setting.settings(rows).state_dir / f"{reader}.pem"
    with Client(f"http://127.0.0.1:{port}", reader, key.read_bytes(), purpose="bench") as client:
        return client.token()


def timed(ask: Any) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1e3


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    hubs(setting)
    boxes = dict.fromkeys(READERS, queries("page")) | {"one": _whole_cities()}
    with ExitStack() as stack:
        wires = {rows: stack.enter_context(served(setting, rows, port)) for rows, port in ((MILLION, 8911), (TENTH, 8912))}
        ports = {MILLION: 8911, TENTH: 8912}
        lean = stack.enter_context(closing(psycopg2.connect(setting.dsn("reference"))))
        lean.autocommit = True
        full = {reader: _full_pages(setting, wires, ports, reader, boxes[reader]) for reader in READERS}
        samples = _rounds(setting, wires, ports, lean, full)
        last = _last_pages(wires[MILLION], token(setting, MILLION, ports[MILLION], "fifteen"), full["fifteen"][:LAST_BOXES])
    return [*_figures(samples, full), last]


def _whole_cities() -> list[str]:
    """The boxes of the frozen list `window`, a page of 20: who may see 1 % of 100,000 points has no 100 of them in 4 × 3 km."""
    return list(dict.fromkeys(f"{line.split('&')[0]}&limit=20" for line in queries("window")))


def _full_pages(setting: Setting, wires: dict[int, Wire], ports: dict[int, int], reader: str, boxes: list[str]) -> list[str]:
    """The boxes that give this reader a full page at both sizes, so that growth compares like with like; answers are checked."""
    found = []
    tokens = {rows: token(setting, rows, ports[rows], reader) for rows in wires}
    for box in boxes:
        pages = [json.loads(wire.get(f"/collections/incidents/items{box}", tokens[rows])) for rows, wire in wires.items()]
        for page in pages:
            for feature in page["features"]:
                if feature["properties"]["place_grid_m"] != 100 or "narrative" in feature["properties"]:
                    raise RuntimeError("void: a page shows what its grant does not")
        if all(f"limit={page['numberReturned']}" in box for page in pages):
            found.append(box)
        if len(found) == BOXES:
            break
    return found


def _rounds(
    setting: Setting, wires: dict[int, Wire], ports: dict[int, int], lean: Any, full: dict[str, list[str]]
) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {}
    cursor = lean.cursor()
    for _ in range(ROUNDS):
        for reader, boxes in full.items():
            tokens = {rows: token(setting, rows, ports[rows], reader) for rows in wires}
            for box in boxes:
                sql, arguments = floor_sql.query("page", box, "lean")
                if reader in ("everything", "six"):
                    samples.setdefault("lean", []).append(timed(lambda s=sql, a=arguments: (cursor.execute(s, a), cursor.fetchone())))
                for rows, wire in wires.items():
                    path = f"/collections/incidents/items{box}"
                    samples.setdefault(f"{reader}.{rows}", []).append(timed(lambda p=path, w=wire, t=tokens[rows]: w.get(p, t)))
            for rows, wire in wires.items():
                path = f"/collections/incidents/items{EMPTY_BOX}"
                samples.setdefault(f"empty.{rows}", []).append(timed(lambda p=path, w=wire, t=tokens[rows]: w.get(p, t)))
    return samples


def _last_pages(wire: Wire, bearer: str, boxes: list[str]) -> dict[str, Any]:
    """The last page of a walk to the end, which is seldom full: in ms, over HTTP."""
    times = []
    for box in boxes:
        path: str | None = f"/collections/incidents/items{box}"
        while path:
            began = time.perf_counter()
            page = json.loads(wire.get(path, bearer))
            took = (time.perf_counter() - began) * 1e3
            following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
            path = "/" + following.split("/", 3)[3] if following else None
        times.append(took)
    return figure(
        "query.last_page", statistics.median(times), 20.0, 1.0, f"ms ÷ 20 ms, reader of 15 %, {len(times)} walks; worst {max(times):.1f} ms"
    )


def _figures(samples: dict[str, list[float]], full: dict[str, list[str]]) -> list[dict[str, Any]]:
    ms = {name: statistics.median(values) for name, values in samples.items()}
    figures = [
        figure("query.sql", ms[f"everything.{MILLION}"], ms["lean"], 3.0, "one grant over everything ÷ frozen lean SQL"),
        figure("query.sql.grants6", ms[f"six.{MILLION}"], ms["lean"], None, "six grants over everything ÷ frozen lean SQL"),
    ]
    growth = {r: (ms[f"{r}.{MILLION}"], ms[f"{r}.{TENTH}"]) for r in ("everything", "fifteen", "one") if f"{r}.{MILLION}" in ms}
    growth["empty"] = ms[f"empty.{MILLION}"], ms[f"empty.{TENTH}"]
    for reader, (large, small) in growth.items():
        note = f"{len(full[reader])} boxes with full pages at both sizes" if reader in full else "an empty area"
        figures.append(figure(f"query.growth.{reader}", large, small, None, note))
    worst = max(growth, key=lambda r: growth[r][0] / growth[r][1])
    figures.append(figure("query.growth", *growth[worst], 1.5, f"1 M ÷ 100 k rows, the worst: {worst}"))
    return figures


def figure(name: str, value: float, reference: float, goal: float | None, note: str) -> dict[str, Any]:
    """One line of the table; times in ms."""
    ratio = value / reference
    return {
        "name": name,
        "value": round(value, 3),
        "reference": round(reference, 3),
        "unit": "ms",
        "ratio": round(ratio, 2),
        "goal": goal,
        "sign": "≤",
        "met": None if goal is None else ratio <= goal,
        "note": note,
    }
