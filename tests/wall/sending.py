"""Sends requests to the application without a network or an HTTP client in between: thousands of them, compared byte for byte."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from tests import assertion
from tests.world import BASE, World

MAX_PAGES = 8
SIGNED = "a client assertion, signed when it is sent: each is good for one request"


@dataclass(frozen=True)
class Ask:
    """One request; `walk` follows `next`. Without a purpose the token is one that can publish and audit; `form` or `json` is the body."""

    method: str
    path: str
    client: str | None
    purpose: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    form: Mapping[str, str] | None = None
    json: Any = None
    walk: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    scope: str | None = None  # of the token, alone


@dataclass(frozen=True)
class Answer:
    """What a client sees of one response."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def empty(self) -> bool:
        return b'"numberReturned":0,' in self.body or b'"records":[]' in self.body

    @property
    def ids(self) -> list[str]:
        return [found["id"] for found in json.loads(self.body)["features"]]

    @property
    def following(self) -> str | None:
        """Path and query of the next page."""
        if self.status != 200:
            return None
        links = [link["href"] for link in json.loads(self.body).get("links", ()) if link["rel"] == "next"]
        return links[0].removeprefix(BASE) if links else None


def send(world: World, wanted: Iterable[Ask]) -> list[list[Answer]]:
    """The answers to each request: one, or a page after the other."""
    prepared = [(ask, _headers(world, ask), _body(world, ask)) for ask in wanted]

    async def run() -> list[list[Answer]]:
        return [await _pages(world.http.app, ask, headers, body) for ask, headers, body in prepared]

    return asyncio.run(run())


def _headers(world: World, ask: Ask) -> dict[str, str]:
    headers = {"Host": BASE.removeprefix("http://"), **dict(ask.headers)}
    if ask.client:
        headers |= world.bearer_for(ask.client, ask.scope) if ask.scope else world.bearer(ask.client, ask.purpose)
    if ask.json is not None and "Content-Type" not in headers:
        headers["Content-Type"] = "application/json" if ask.scope else "application/geo+json"
    if ask.form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    return headers


def _body(world: World, ask: Ask) -> bytes:
    if ask.form is None:
        return b"" if ask.json is None else json.dumps(ask.json).encode()
    form = dict(ask.form)
    if form.get("client_assertion") == SIGNED:
        client = form.pop("client")
        form["client_assertion"] = assertion.make(world.keys[client], client, BASE, world.clock())
    return urlencode(form).encode()


async def _pages(app: Any, ask: Ask, headers: Mapping[str, str], body: bytes) -> list[Answer]:
    address: str | None = ask.path + (f"?{urlencode(ask.params)}" if ask.params else "")
    found: list[Answer] = []
    while address and len(found) < MAX_PAGES:
        found.append(await _call(app, ask.method, address, headers, body))
        address = found[-1].following if ask.walk else None
    return [_still(answer) for answer in found]


async def _call(app: Any, method: str, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
    parts = urlsplit(address)
    messages: list[dict[str, Any]] = []
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:  # an answer that is streamed listens for the end of the connection, which doesn't come
            await asyncio.sleep(3_600)
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def keep(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    with suppress(Exception):  # a defect is answered with 500, then raised for the server's own log
        await app(scope, receive, keep)
    start, *rest = messages
    return Answer(start["status"], tuple(map(tuple, start["headers"])), b"".join(m.get("body", b"") for m in rest))


# The clock of the answer, and names that are drawn afresh for each publication or token.
_FRESH = [
    (re.compile(rb'"timeStamp":"[^"]{24}"'), b'"timeStamp":"-"'),
    (re.compile(rb'"kind":"(records|counts)","at":"[^"]{24}"'), rb'"kind":"\1","at":"-"'),
    (re.compile(rb'"event":"[0-9a-f-]{36}","leaf":"[0-9a-f]{64}"'), b'"event":"-","leaf":"-"'),
    (re.compile(rb'^{"at":"[^"]{24}","grants":'), b'{"at":"-","grants":'),
    (re.compile(rb'"retain_until":"[^"]{24}"'), b'"retain_until":"-"'),
    (re.compile(rb'"access_token":"[^"]+"'), b'"access_token":"-"'),
]


def _still(answer: Answer) -> Answer:
    """The answer with what no two responses share put aside."""
    body = answer.body
    for pattern, instead in _FRESH:
        body = pattern.sub(instead, body)
    if body.startswith((b'{"held":', b'{"deliveries":')):
        return Answer(answer.status, tuple(h for h in answer.headers if h[0] != b"content-length"), _kinds(body))
    # A receipt is of this access alone: its event, its place in the chain. Whether there is one is compared.
    headers = tuple((name, b"-" if name == b"audit-receipt" else value) for name, value in answer.headers)
    return Answer(answer.status, headers, body)


def _kinds(body: bytes) -> bytes:
    """Deliveries without their times, each kind once: every request before made one more."""
    ((name, found),) = json.loads(body).items()
    fresh = ("event", "at", "first", "last", "retain_until", "destroyed_at")
    kinds = {json.dumps({k: v for k, v in one.items() if k not in fresh}, sort_keys=True) for one in found}
    return json.dumps({name: sorted(kinds)}).encode()


def differences(one: Sequence[list[Answer]], other: Sequence[list[Answer]]) -> list[int]:
    """Which requests were answered differently."""
    return [n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
