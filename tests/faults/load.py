"""Client threads that publish and read while things break, and a ledger of what the hub told them.

Each revision that is published has a time of its own, `stamp` microseconds after EPOCH: that is how the readers' answers, the
receipts and the stored rows are told apart afterwards.
"""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tests import assertion
from tests.faults.stand import PROVIDERS, READERS, Stand
from tests.world import ASSERTION_TYPE, BASE

EPOCH = datetime(2021, 1, 1, tzinfo=UTC)
ITEMS = "/collections/incidents/items"
RENEW_S = 600
CATEGORIES = ("theft", "fire", "medical", "overdose")


def time_of(stamp: int) -> str:
    return (EPOCH + timedelta(microseconds=stamp)).isoformat()


def stamp_of(occurred_at: datetime) -> int:
    return (occurred_at - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Receipt:
    """One acknowledged record: what was sent (`stamp`), and what the hub said became of it."""

    stamp: int
    provider: str
    external_id: str
    id: str
    rev: int
    revision_no: int
    outcome: str
    event: str
    leaf: str


@dataclass
class Ledger:
    """What clients know. `seen`: how often a reader was given a revision, by (client, stamp)."""

    receipts: list[Receipt] = field(default_factory=list)
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    ids: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in PROVIDERS})
    pages: int = 0
    stamps: Iterator[int] = field(default_factory=lambda: itertools.count(time.time_ns() // 1_000 % 10**14))  # no other ledger's

    def progress(self) -> tuple[int, int]:
        return len(self.receipts), self.pages


class Client:
    """One connection of one partner's program. A request that fails is None: the client knows nothing then."""

    def __init__(self, stand: Stand, name: str, purpose: str | None = None) -> None:
        self._stand, self.name, self._purpose = stand, name, purpose
        self._http = http.client.HTTPConnection("127.0.0.1", stand.server.port, timeout=30)
        self._token, self._until = "", 0.0
        self.secrets: list[str] = []  # every assertion and token of this client

    def ask(
        self, method: str, path: str, body: Any = None, media: str = "application/geo+json"
    ) -> tuple[int, Mapping[str, str], bytes] | None:
        """(status, headers, body) of an answer that arrived whole."""
        if time.monotonic() > self._until and (refused := self._renew()) is not True:
            return refused
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": media}
        return self._send(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body).encode(), headers)

    def _renew(self) -> Any:
        """True with a new token; otherwise what came instead."""
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion.make(self._stand.clients[self.name], self.name, BASE, datetime.now(UTC)),
        }
        self.secrets.append(form["client_assertion"])
        form |= {"purpose": self._purpose} if self._purpose else {"scope": "publish audit"}
        answer = self._send("POST", "/oauth/token", urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"})
        if answer is None or answer[0] != 200:
            return answer
        self._token, self._until = json.loads(answer[2])["access_token"], time.monotonic() + RENEW_S
        self.secrets.append(self._token)
        return True

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes] | None:
        try:
            self._http.request(method, path, body, dict(headers))
            answer = self._http.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None

    def close(self) -> None:
        self._http.close()


def record(chance: random.Random, external_id: str, stamp: int) -> dict[str, Any]:
    """A feature whose narrative, sealed, says the same as its external id and time."""
    sealed = {
        "title": "Somebody saw something",
        "address": "1 Any Street",
        "people": [{"name": "Sam Doe", "birth_date": "1990-01-02"}],
        "phone": "+1 555 0100",
        "vehicles": [{"plate": "ABC 123"}],
        "extra": {"beat": 7},
    }
    kept = {name: value for name, value in sealed.items() if chance.random() < 0.5}
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [round(chance.uniform(-79.6, -79.1), 7), round(chance.uniform(43.6, 43.8), 7)]},
        "properties": kept
        | {
            "external_id": external_id,
            "category": chance.choice(CATEGORIES),
            "severity": chance.randint(1, 5),
            "occurred_at": time_of(stamp),
            "narrative": f"{external_id} {stamp}",
        },
    }


class Load:
    """Publishers and readers at work between `with` and its end."""

    def __init__(self, stand: Stand, ledger: Ledger, seed: int, publishers: Sequence[str] = ("police", "police", "fire")) -> None:
        self._stand, self.ledger = stand, ledger
        self._over = threading.Event()
        self._lock = threading.Lock()
        jobs = [(self._publish, name) for name in publishers] + [(self._read, name) for name in READERS]
        self._threads = [
            threading.Thread(target=self._run, args=(job, name, random.Random(f"{seed} {n}")), daemon=True)
            for n, (job, name) in enumerate(jobs)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, job: Any, name: str, chance: random.Random) -> None:
        client = Client(self._stand, name, "research" if name in READERS else None)
        try:
            while not self._over.is_set():
                job(client, chance)
        except Exception as error:
            self.ledger.wrong.append(f"{name}: {type(error).__name__}: {error}")
            raise
        finally:
            client.close()

    def _publish(self, client: Client, chance: random.Random) -> None:
        """One to twenty records, new ones and updates; the same again while nobody knows what became of them."""
        count = chance.choice((1, 1, 3, 20))
        names = chance.sample(range(len(self.ledger.receipts) + 40), count)  # the higher, the likelier new
        with self._lock:
            sent = {f"{client.name}-{n}": next(self.ledger.stamps) for n in names}
        body = {"type": "FeatureCollection", "features": [record(chance, name, stamp) for name, stamp in sent.items()]}
        for _ in range(3):
            answer = client.ask("POST", ITEMS, body)
            status = self._note(answer, (200, 201, 409, 503))
            if answer is not None and status in (200, 201):
                self._receipts(client.name, sent, json.loads(answer[2]))
            if status in (200, 201, 409) or self._over.wait(0.05):
                return

    def _receipts(self, provider: str, sent: Mapping[str, int], said: Mapping[str, Any]) -> None:
        receipts = [
            Receipt(
                sent[r["external_id"]],
                provider,
                r["external_id"],
                r["id"],
                r["revision"],
                r["revision_no"],
                r["outcome"],
                said["event"],
                said["leaf"],
            )
            for r in said["records"]
        ]
        with self._lock:
            self.ledger.receipts += receipts
            self.ledger.ids[provider] += [r.id for r in receipts if r.outcome == "created"]
            if {r.external_id for r in receipts} != set(sent):
                self.ledger.wrong.append(f"event {said['event']}: the receipt is not about what was sent")

    def _read(self, client: Client, chance: random.Random) -> None:
        ids = self.ledger.ids["police"]
        if not ids or client.name != "health" or chance.random() < 0.6:
            self._walk(client, chance)
            return
        answer = client.ask("GET", f"{ITEMS}/{chance.choice(ids)}")
        if self._note(answer, (200, 503)) == 200 and answer is not None:  # 404: an acknowledged record would be gone
            self._seen(client.name, [json.loads(answer[2])])
        else:
            self._over.wait(0.05)

    def _walk(self, client: Client, chance: random.Random) -> None:
        west, south = chance.uniform(-79.6, -79.2), chance.uniform(43.6, 43.7)
        path = f"{ITEMS}?limit={chance.choice((5, 20, 100))}"
        path += f"&bbox={west},{south},{west + 0.1},{south + 0.1}" if chance.random() < 0.5 else ""
        for _ in range(3):
            answer = client.ask("GET", path)
            if self._note(answer, (200, 503)) != 200 or answer is None:
                self._over.wait(0.05)
                return
            page = json.loads(answer[2])
            self._seen(client.name, page["features"])
            following = [link["href"] for link in page["links"] if link["rel"] == "next"]
            if not following:
                return
            path = following[0].removeprefix(BASE)

    def _seen(self, client: str, features: Sequence[Mapping[str, Any]]) -> None:
        stamps = [stamp_of(datetime.fromisoformat(f["properties"]["occurred_at"])) for f in features]
        with self._lock:
            self.ledger.seen.update((client, stamp) for stamp in stamps)
            self.ledger.pages += 1

    def _note(self, answer: Any, allowed: Sequence[int]) -> int:
        status = answer[0] if answer else 0
        with self._lock:
            self.ledger.statuses[status] += 1
            if status and status not in allowed:
                self.ledger.wrong.append(f"HTTP {status}: {answer[2][:300]!r}")
        return status
