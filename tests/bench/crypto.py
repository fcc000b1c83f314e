"""The crypto.* figures. Opening fields beside other ways to do it: fields.py. Here, on a hub of their own, with real keys databases:

crypto.share     of the time of a bulk publish, what sealing takes: asking the key process, wrapping, the data keys durable, sealing
crypto.rewrap    data keys rewrapped a second on one core: the step itself; beside it whole batches through the database
crypto.keyd_ms   what the key process adds to a page of 100 records, each with two classes opened, against a keyring in this process
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from starlette.testclient import TestClient

from hub.api.services import Services, reader_of
from hub.app import application, assemble
from hub.audit.leaf import By
from hub.crypto.envelope import Context, Kek, rewrap_dek, wrap_dek
from hub.crypto.keyring import Keyring
from hub.crypto.keys import Opening, Proof
from hub.datasets import DATASETS
from hub.datasets.incidents import Incident
from hub.db import Database
from hub.identity import clients, new_key, organisations
from hub.identity.client_auth import ASSERTION_TYPE
from hub.logs import configure
from hub.settings import Settings
from hub.setup import Addresses
from hub.sharing.paths import Query
from hub.sharing.publish import Publisher
from hub.sharing.query import Querying
from hub.sharing.reader import Reader
from hub.sharing.upload import BATCH
from hub.workers import upkeep
from tests import assertion
from tests.bench import fields
from tests.bench import setting as bench
from tests.bench.setting import HOME, Setting
from tests.faults.server import KeyProcess
from tests.world import keyd

NAME, READER = "bench_crypto", "opener"
ROWS = int(os.environ.get("ROWS", "50000"))
DEKS, TIMES = 10_000, 21
PAGES, ROUNDS, LIMIT = 40, 9, 100


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    configure("warning")  # not a line for each token
    figures = fields.run()
    addresses, settings = bench.fresh_hub(setting, NAME)
    with keyd(settings, addresses) as held:
        called, database = assemble(settings, addresses)
        try:
            _reader(database, settings)
            figures += _share(called, database, held.keyring)
        finally:
            called.keys.close()
            database.dispose()
    figures += _pages(settings, addresses)
    return [*figures, _rewrap_alone(), _rewrap_whole(settings, addresses)]


def _line(
    name: str, value: float, reference: float | str, unit: str, ratio: float, goal: float | None, sign: str, note: str
) -> dict[str, Any]:
    met = None if goal is None else (ratio <= goal if sign == "≤" else ratio >= goal)
    shown = reference if isinstance(reference, str) else round(reference, 2)
    return {
        "name": name, "value": round(value, 2), "reference": shown, "unit": unit, "ratio": round(ratio, 3 if ratio < 100 else None),
        "goal": goal, "sign": sign, "met": met, "note": note,
    }  # fmt: skip


def _reader(database: Database, settings: Settings) -> None:
    """An organisation to which every field is released."""
    organisations.add(database.writer, READER, "Opener")
    key = settings.state_dir / f"{READER}.pem"
    if not key.exists():
        new_key.write(key)
    clients.add(database.writer, READER, READER, key.with_name(key.name + ".pub").read_bytes(), ["query"])
    whole = bench.grant_of("all", "everything") | {"fields": {f.name: "clear" for f in Incident.fields}}
    bench.signing(database.agreements).load(bench.loaded(settings.state_dir, READER, [whole]))


# --- publishing --------------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Seconds spent in a function."""

    seconds: float = 0.0

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return timed

    def taken(self) -> float:
        """Since it was asked last."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def _share(called: Services, database: Database, keyring: Keyring) -> list[dict[str, Any]]:
    """Batches as an import makes them, each published after the one before. The rows are records already: what reads and maps a file comes
    on top and would make the share smaller.
    """
    asked, within, stored = Watch(), Watch(), Watch()
    called.keys.seal_records = asked.over(called.keys.seal_records)  # type: ignore[method-assign]
    keyring.seal_batch = within.over(keyring.seal_batch)  # type: ignore[method-assign]
    keyring._store = stored.over(keyring._store)  # type: ignore[method-assign]
    owner = organisations.get(database.writer, "bench-police")
    publisher = Publisher(owner.id, owner.uid, owner.slug, By(owner.slug, owner.slug))
    parts: list[tuple[float, float, float, float]] = []
    for batch in _batches():
        gc.collect()  # or a collection of all that this process holds falls into one batch or the other
        began = time.perf_counter()
        called.datasets["incidents"].publishing.publish(publisher, batch)
        parts.append((time.perf_counter() - began, asked.taken(), within.taken(), stored.taken()))
    whole, sealing, inside, storing = (sum(part) for part in zip(*parts[1:], strict=True))  # the first one makes keys and connections
    share, cipher = sealing / whole, (inside - storing) / whole
    note = (
        f"{len(parts) - 1} batches of {BATCH:,}: wrapping and sealing {cipher:.3f}, data keys durable {storing / whole:.3f}, "
        f"asking {(sealing - inside) / whole:.3f}; batch by batch {', '.join(f'{part[1] / part[0]:.2f}' for part in parts[1:])}"
    )
    return [
        _line("crypto.share", sealing, whole, "s", share, 0.25, "≤", note),
        _line("crypto.share.cipher", inside - storing, whole, "s", cipher, None, "≤", "wrapping and sealing alone"),
    ]


def _batches() -> Iterator[list[Incident]]:
    rows = (row for batch in bench.batches(ROWS) for row in batch)
    while batch := list(islice(rows, BATCH)):
        yield batch


# --- rewrapping --------------------------------------------------------------------------------------------------------


def _rewrap_alone() -> dict[str, Any]:
    """What Rotation does for each data key between reading it and writing it back, on one core."""
    old, new, owner = Kek(1, os.urandom(32)), Kek(2, os.urandom(32)), os.urandom(16)
    records = [os.urandom(16) for _ in range(DEKS)]
    rows = [wrap_dek(old, os.urandom(32), os.urandom(12), Context(owner, record, 3, 1))[0] for record in records]
    rates = []
    for _ in range(TIMES):
        began = time.thread_time()
        nonces = os.urandom(12 * DEKS)
        made = [
            rewrap_dek(old, new, row, nonces[12 * n : 12 * n + 12], Context(owner, record, 3, 1))
            for n, (record, row) in enumerate(zip(records, rows, strict=True))
        ]
        rates.append(DEKS / (time.thread_time() - began))
    if len({row[6:18] for row in made}) != DEKS or any(row[66:] != was[66:] for row, was in zip(made, rows, strict=True)):
        raise RuntimeError("void: these are not the same data keys under new nonces")
    rate = statistics.median(rates)
    return _line("crypto.rewrap", rate, "-", "DEKs/s", rate, 200_000, "≥", f"the step alone, a second of one core; {TIMES} times {DEKS:,}")


def _rewrap_whole(settings: Settings, addresses: Addresses) -> dict[str, Any]:
    """Every data key of the hub, in batches: read, rewrapped, written back, durable."""
    with upkeep.held(settings, addresses) as opened:
        opened.rotation.rotate()
        began, rewrapped = time.perf_counter(), 0
        while not (done := opened.rotation.rewrap()).over:
            rewrapped += done.deks
        rate = rewrapped / (time.perf_counter() - began)
    return _line("crypto.rewrap.whole", rate, "-", "DEKs/s", rate, None, "≥", f"{rewrapped:,} data keys through the database, durable")


# --- reading -----------------------------------------------------------------------------------------------------------


class Local(NamedTuple):
    """Keys for reading, held by this process: what there would be without a key process."""

    keyring: Keyring

    def open_batch(self, _proof: Proof, _event: UUID, _dataset: int, items: Sequence[Opening]) -> tuple[list[bytes], None]:
        return self.keyring.open_batch(items), None


def _pages(settings: Settings, addresses: Addresses) -> list[dict[str, Any]]:
    process = KeyProcess(settings, addresses, HOME / "keyd.log")
    process.start()
    called, database = assemble(settings, addresses)
    try:
        with upkeep.held(settings, addresses) as opened:
            remote = called.datasets["incidents"].querying
            more = (database.secrets.context, settings.seal_ttl_s)
            local = Querying("incidents", DATASETS["incidents"], database.reader, Local(opened.keyring), *more)  # type: ignore[arg-type]
            pairs = _paired(called, settings, remote, local)
    finally:
        called.keys.close()
        database.dispose()
        process.kill()
    added = statistics.median(a - b for a, b in pairs)
    with_keyd, without = (statistics.median(times) for times in zip(*pairs, strict=True))
    note = f"median of {len(pairs)} pairs of pages; 90 % add less than {sorted(a - b for a, b in pairs)[len(pairs) * 9 // 10]:.2f}"
    return [_line("crypto.keyd_ms", with_keyd, without, "ms", added, 1.5, "≤", f"added ms; {note}")]


def _paired(called: Services, settings: Settings, remote: Querying, local: Querying) -> list[tuple[float, float]]:
    """Milliseconds of the same pages by either, one directly after the other, each first as often as second."""
    pairs: list[tuple[float, float]] = []
    for n in range(ROUNDS + 1):
        reader, cursor = _admitted(called, settings), None
        for page in range(PAGES):
            query = Query(limit=LIMIT, cursor=cursor)
            took: dict[str, float] = {}
            found: dict[str, Any] = {}
            for name in ("remote", "local") if (n + page) % 2 else ("local", "remote"):
                began = time.perf_counter()
                found[name] = (remote if name == "remote" else local).page(reader, query)
                took[name] = (time.perf_counter() - began) * 1e3
            texts = found["remote"].features
            if texts != found["local"].features or len(texts) != LIMIT or not all('"narrative":"' in text for text in texts):
                raise RuntimeError("void: the pages differ, or hold no narratives")
            cursor = found["remote"].next
            if n:
                pairs.append((took["remote"], took["local"]))
    return pairs


def _admitted(called: Services, settings: Settings) -> Reader:
    """The reader, with a fresh token."""
    base = settings.base_url
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion.make((settings.state_dir / f"{READER}.pem").read_bytes(), READER, base, datetime.now(UTC)),
        "purpose": "bench",
    }
    answer = TestClient(application(called, lambda: None), base_url=base).post("/oauth/token", data=form)
    token = called.verifier.verify(f"Bearer {answer.json()['access_token']}", called.clock())
    return reader_of(token, By(token.organisation, token.client_id, token.session))
