"""Kill -9 of the server and of PostgreSQL at random moments of an import; resumed, the file's rows are there, each exactly once."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from hub.db import Transaction, transaction
from hub.sharing import upload
from hub.sharing.upload import Upload
from tests.faults.kills import children, kill_backend, kill_keyd, kill_postmaster, kill_server, stop_immediately
from tests.faults.ledger_check import logged
from tests.faults.load import Client
from tests.faults.stand import Stand, stand, wait_until
from tests.imports.files import BY_HASH, BY_ID, csv, digest_of, repr_digest, row
from tests.imports.sending import IMPORTS, faults

# Each as often as it stands here.
KILLS = (*[kill_server] * 5, kill_keyd, *[kill_backend] * 3, kill_postmaster, stop_immediately)
PIECE = 1 << 15
PATIENCE_S = 120


def file_of(rows: int, name: str, by_hash: bool) -> bytes:
    """With `by_hash` every ninth row is equal to others."""
    return csv(row(n // 9 * 9 if by_hash and n % 9 == 1 else n, name, **({"id": n} if by_hash else {})) for n in range(rows))


@dataclass
class Job:
    """One file, and what the hub said of its import at the end."""

    name: str
    rows: int
    by_hash: bool
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> bytes:
        return file_of(self.rows, self.name, self.by_hash)

    @property
    def order(self) -> dict[str, Any]:
        file = self.file
        return {"mapping": BY_HASH if self.by_hash else BY_ID, "length": len(file), "sha256": digest_of(file)}


class Sender(Client):
    """A partner's program that sends a file, and goes on where the hub stands whenever something breaks."""

    def __init__(self, where: Stand) -> None:
        super().__init__(where, "police")
        self.sending = threading.Event()  # a part is on its way
        self.statuses: Counter[int] = Counter()
        self.stood: list[tuple[str, int]] = []  # where each part began: the import, and its byte

    def asked(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, what the answer holds); 0: none came."""
        if not self._token or time.monotonic() > self._until:
            renewed = self._renew()
            if renewed is not True:
                return 0, None
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = {} if method == "PATCH" else {"Content-Type": "application/json"}
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        answer = self._send(method, path, data, {"Authorization": f"Bearer {self._token}"} | kind | named)
        status = answer[0] if answer else 0
        self.statuses[status] += 1
        return status, json.loads(answer[2]) if answer and answer[2] else None

    def insist(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Asks until it is told."""
        until = time.monotonic() + PATIENCE_S
        while True:
            status, found = self.asked(method, path, body)
            if status in (200, 201):
                return dict(found)
            assert status in (0, 500, 503), (status, found)
            assert time.monotonic() < until, "the hub stays away"
            time.sleep(0.05)

    def run(self, job: Job) -> None:
        file, job.told = job.file, self.insist("POST", IMPORTS, job.order)
        path = f"{IMPORTS}/{job.told['id']}"
        while job.told["state"] == "open":
            at = job.told["offset"]
            self.stood.append((job.told["id"], at))
            self.sending.set()
            status, found = self.asked(
                "PATCH", path, self._pieces(file, at), Upload_Offset=str(at), Upload_Complete="?1",
                Content_Length=str(len(file) - at), Repr_Digest=repr_digest(file),
            )  # fmt: skip
            self.sending.clear()
            # 409: the server has not noticed yet that the last connection broke, and went on with what it had.
            assert status in (0, 200, 409, 500, 503), (status, found)
            job.told = self.insist("GET", path)

    def _pieces(self, file: bytes, at: int) -> Iterator[bytes]:
        for start in range(at, len(file), PIECE):
            yield file[start : start + PIECE]


def kill_while(where: Stand, sender: Sender, jobs: list[Job], seed: int, count: int, within_s: float) -> Counter[str]:
    """`count` kills while the jobs, and as many more as it takes, are sent one after the other; the last comes to its end in peace."""
    chance, over, wrong = random.Random(seed), threading.Event(), list[BaseException]()
    first = jobs[0]

    def work() -> None:
        try:
            sender.run(first)
            while not over.is_set():
                jobs.append(Job(f"{first.name}-{len(jobs)}", first.rows, len(jobs) % 2 == 1))
                sender.run(jobs[-1])
        except BaseException as error:
            wrong.append(error)
            raise

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    kills: Counter[str] = Counter()
    while sum(kills.values()) < count and not wrong:
        _moving(where, sender, wrong)
        time.sleep(chance.uniform(0, within_s))
        kills[_strike(where, chance)] += 1
    over.set()
    thread.join(600)
    assert not thread.is_alive(), "an import hangs"
    if wrong:
        raise wrong[0]
    return kills


def _moving(where: Stand, sender: Sender, wrong: list[BaseException]) -> None:
    """Returns when something was committed since it was called, or nothing more will be."""
    before: list[Any] = []

    def moved() -> bool:
        try:
            now = where.sql("select id, position->>'offset' from hub.imports where state = 'open'")
        except psycopg2.Error:  # it recovers from the last kill
            return False
        if not before:
            before.append(now)
        return now != before[0] and sender.sending.is_set()

    wait_until(lambda: wrong or moved(), "an import goes on", PATIENCE_S)


def _strike(where: Stand, chance: random.Random) -> str:
    kill = chance.choice(KILLS)
    if kill is kill_backend and not any("hub_" in title for _, title in children(where.main.pid() or 0)):
        kill = kill_server
    kill(where, chance)
    where.raise_databases()
    where.start()
    return kill.__name__


def wrong_in(where: Stand, sender: Sender, jobs: list[Job]) -> list[str]:
    """One sentence for each thing that does not hold after the imports."""
    found = [f"store: {fault}" for fault in faults(where.sql)][:20]
    published: Counter[int] = Counter()
    for leaf in logged(where):
        if leaf.type == "publish":
            published.update(leaf.revisions)
    for job in jobs:
        found += [f"{job.name}: {fault}" for fault in (*_told(job), *_stored(where, job, published))][:20]
        # The same file again changes nothing: each row's content lies under its own id.
        again = Job(job.name, job.rows, job.by_hash)
        sender.run(again)
        if again.told["unchanged"] != job.rows:
            found.append(f"{job.name}: sent again, {again.told['unchanged']} of {job.rows} rows are unchanged")
    return found


def _told(job: Job) -> Iterator[str]:
    if job.told["state"] != "done":
        yield f"the import is {job.told['state']}"
    if (job.told["rows"], job.told["landed"]) != (job.rows, job.rows):
        yield f"of {job.rows} rows {job.told['rows']} were read and {job.told['landed']} landed"


def _stored(where: Stand, job: Job, published: Counter[int]) -> Iterator[str]:
    batches = where.sql(
        "select first_row, outcomes, revisions, leaf from hub.import_batches where import = %s::uuid order by first_row", (job.told["id"],)
    )
    following = 1
    for first, outcomes, revisions, leaf in batches:
        if first != following:
            yield f"a batch begins with row {first} instead of {following}"
        following = first + len(outcomes)
        if len(revisions) != outcomes.count("l") or not leaf:
            yield f"the batch of row {first} names {len(revisions)} revisions and the leaf {leaf}"
    if following != job.rows + 1:
        yield f"the batches end before row {following}"
    hashes = {digest for (digest,) in where.sql("select encode(leaf_hash, 'hex') from hub.audit_leaves where type = 'publish'")}
    if not {leaf for *_, leaf in batches} <= hashes:
        yield "a leaf that a batch names is not in the log"
    numbers = [n for _, _, revisions, _ in batches for n in revisions]
    stored = where.sql("select external_id, rev, revision_no from hub.incidents where revision_no = any(%s)", (numbers,))
    if len(stored) != job.rows or len(set(numbers)) != job.rows:
        yield f"{len(stored)} of {job.rows} rows are in the store"
    if any(rev != 1 for _, rev, _ in stored):
        yield "a row was stored more than once"
    if any(published[n] != 1 for n in numbers):
        yield "a row is not in exactly one publish leaf"
    if not job.by_hash and {name for name, _, _ in stored} != {f"{job.name}-{n}" for n in range(job.rows)}:
        yield "the rows are not those of the file"
    if job.by_hash and Counter(name.rpartition("-")[2] for name, _, _ in stored) != _ordinals(job.rows):
        yield "equal rows are not numbered 1, 2"
    ((others,),) = where.sql("select count(*) from hub.incidents_history where external_id like %s", (f"{job.name}-%",))
    if others:
        yield f"{others} rows were stored and replaced"


def _ordinals(rows: int) -> Counter[str]:
    """Row 9 k + 1 is equal to row 9 k."""
    second = sum(1 for n in range(rows) if n % 9 == 1)
    return Counter({"1": rows - second, "2": second})


def small_batches() -> None:
    """For short files: more places to be killed at. Run in the server."""
    upload.BATCH = 100


def position_apart() -> None:
    """The fault of the control: the position is committed by itself, then, a little later, the rows. Run in the server."""
    upload.BATCH = 500
    advance = Upload._advance

    def apart(self: Upload, tx: Transaction, batch: Any, *more: Any) -> Any:
        with transaction(self._imports.engine) as other:
            other.rows("begin")
            found = advance(self, other, batch, *more)
            other.rows("commit")
        time.sleep(0.3)
        return found

    Upload._advance = apart  # type: ignore[method-assign]


def campaign(name: str, seed: int, kills: int, rows: int, by_hash: bool, within_s: float, sabotage: Any = None) -> dict[str, Any]:
    """A stand of its own, its kills, and what did not hold afterwards."""
    with stand(name) as where:
        if sabotage is not None:
            where.server.kill()
            where.server.sabotage = sabotage
            where.server.start()
        sender, jobs = Sender(where), [Job("F", rows, by_hash)]
        try:
            struck = kill_while(where, sender, jobs, seed, kills, within_s)
            points = len(set(sender.stood))
            found = wrong_in(where, sender, jobs)
        finally:
            sender.close()
        return {
            "kills": dict(struck),
            "points": points,
            "imports": len(jobs),
            "rows": rows * len(jobs),
            "statuses": dict(sender.statuses),
            "faults": found,
        }


def soak(seed: int, count: int) -> dict[str, object]:
    """The long run: `count` kills in imports of 100,000 rows whose ids are in a column, as many where ids are hashes, then the control.
    `faults` must be empty, `control_lost` not.
    """
    began = time.monotonic()
    by_id = campaign("imports", seed, count, 100_000, False, 0.5)
    by_hash = campaign("imports-hash", seed + 1, count, 100_000, True, 0.5)
    lost = campaign("imports-control", seed, 10, 5_000, False, 0.3, position_apart)
    return {
        "by id": by_id,
        "by hash": by_hash,
        "faults": by_id["faults"] + by_hash["faults"],
        "control_lost": len(lost["faults"]),
        "seconds": round(time.monotonic() - began),
    }
