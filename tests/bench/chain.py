"""audit.insert, audit.chain, audit.lag, audit.verify, audit.cpu, audit.who_s, audit.growth: what the log costs, and what its tree does.

Throughput: sixteen writers append one leaf at a time, each durable, while the sequencer works; against a plain insert of the same rows into
a table with a primary key, and against a hash chain under a lock in PL/pgSQL, in alternating rounds.
"""

import io
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg2

from hub.app import assemble
from hub.audit.bundle import Trust
from hub.audit.export import Exporter, Wanted
from hub.audit.leaf import By, Event, Share, event_id, leaves
from hub.audit.log import APPEND, Log, Search
from hub.audit.trust import trust_of
from hub.audit.verify import verify
from hub.crypto.keys import Proof
from hub.db import connect, read_secrets
from hub.geo import Box
from hub.settings import Settings
from hub.setup import Addresses
from hub.sharing.disclosure import Writer
from hub.sharing.paths import Query
from hub.sharing.query import Querying
from hub.sharing.reader import Reader
from hub.workers.sequencing import EVERY_S, Sequencing, log_key
from tests.bench import leaves as many
from tests.bench import setting as bench
from tests.bench.setting import TENTH, Setting
from tests.world import keyd

NAME, WHO, WRITERS, ROUND_S, ROUNDS, READS, MOVES = "bench_chain", "bench_who", 16, 3.0, 3, 150, 200
VERIFIED = 7
EVENTS = int(os.environ.get("WHO_EVENTS", "5000000"))
PLAIN = "insert into plain (event, at, owner, leaf, leaf_hash) values (%s, %s, %s, %s, %s)"
SCHEMA = """
create table plain (id bigint generated always as identity primary key, event uuid, at timestamptz, owner text, leaf text, leaf_hash bytea);
create table chained (n bigint primary key, event uuid, at timestamptz, owner text, leaf text, chain bytea);
insert into chained values (0, null, null, null, '', '');
create function chain_append(p_event uuid, p_at timestamptz, p_owner text, p_leaf text) returns void language plpgsql as $$
declare last record;
begin
  perform pg_advisory_xact_lock(1);
  select n, chain into last from chained order by n desc limit 1;
  insert into chained values (last.n + 1, p_event, p_at, p_owner, p_leaf, sha256(last.chain || convert_to(p_leaf, 'utf8')));
end $$"""


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    addresses, settings = bench.fresh_hub(setting, NAME)
    found = _throughput(setting, addresses, settings)
    found += _verify(addresses, settings)
    bench.hubs(setting, [TENTH])
    found += _reading(setting)
    return [*found, *_who(setting)]


def _figure(name: str, value: float, unit: str, goal: float | None, sign: str, note: str, reference: object = "-") -> dict[str, Any]:
    met = None if goal is None else value <= goal if sign == "≤" else value >= goal
    return {
        "name": name, "value": round(value, 3), "reference": reference, "unit": unit, "ratio": "-",
        "goal": goal, "sign": sign, "met": met, "note": note,
    }  # fmt: skip


CITED: dict[str, Any] = {}


def _leaf() -> tuple[Event, str, bytes]:
    """One access to a page of fifty records."""
    now = datetime.now(UTC)
    under = [CITED | {"grants": ["all"]}]
    fields = {"category": "clear", "occurred_at": "round_to:PT1H", "place": "grid_m:500"}
    first = int.from_bytes(os.urandom(3), "big")
    share = Share("bench-police", under, range(first, first + 100, 2), {"fields": fields})
    asked = {"extent": [-1.56, 53.79, -1.53, 53.81], "limit": 50}
    by = By("bench-health", "bench-health-1", "s" * 20, "10.0.0.7")
    event = Event(event_id(now, os.urandom(10)), "query", now, by, "permit", "p", None, "incidents", asked)
    (made,) = leaves(event, [share], os.urandom(16))
    return event, made.text, made.hash


def _append(cursor: Any) -> None:
    event, text, _ = _leaf()
    at = event.at.replace(microsecond=event.at.microsecond // 1000 * 1000)
    extent = [-1.56, 53.79, -1.53, 53.81]
    cursor.execute(APPEND, (None, str(event.id), "query", at, "bench-health", extent, ["bench-police"], [1], [text]))


def _plain(cursor: Any) -> None:
    event, text, digest = _leaf()
    cursor.execute(PLAIN, (str(event.id), event.at, "bench-police", text, psycopg2.Binary(digest)))


def _chained(cursor: Any) -> None:
    event, text, _ = _leaf()
    cursor.execute("select chain_append(%s, %s, %s, %s)", (str(event.id), event.at, "bench-police", text))


def _rate(dsn: str, write: Callable[[Any], None], times: list[float] | None = None) -> float:
    """Rows a second of sixteen writers, each a transaction; when each was committed goes into `times`."""
    counts, over = [0] * WRITERS, time.monotonic() + ROUND_S

    def writer(n: int) -> None:
        with closing(psycopg2.connect(dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while time.monotonic() < over:
                    write(cursor)
                    counts[n] += 1

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(WRITERS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def _throughput(setting: Setting, addresses: Addresses, settings: Settings) -> list[dict[str, Any]]:
    dsn = setting.dsn(NAME)
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute(SCHEMA)
    mou, version, digest = _one(dsn, "select mou, version, sha256 from hub.mous order by id limit 1")
    CITED.update(mou=mou, version=version, sha256=digest)
    rates: dict[str, list[float]] = {"append": [], "plain": [], "chained": []}
    working = Sequencing(settings, addresses)
    working.start()
    try:
        for _ in range(ROUNDS):
            rates["append"].append(_rate(dsn, _append))
            time.sleep(2)  # so that the sequencer's rest is not on the others' account
            rates["plain"].append(_rate(dsn, _plain))
            rates["chained"].append(_rate(dsn, _chained))
        lag = _lag(dsn)
    finally:
        working.close()
    append, plain, chained = (statistics.median(rates[name]) for name in ("append", "plain", "chained"))
    note = f"{append:,.0f} rows/s, {WRITERS} writers, sequencer at work, five indexes"
    return [
        _figure("audit.insert", append / plain, "ratio", 0.8, "≥", f"{note}; plain insert {plain:,.0f} rows/s"),
        _figure("audit.chain", append / chained, "ratio", 5, "≥", f"{note}; locked chain {chained:,.0f} rows/s"),
        _figure("audit.lag", lag / EVERY_S, "ratio", 2, "≤", f"p99 {lag * 1e3:,.0f} ms from a leaf's time to its checkpoint's"),
    ]


def _lag(dsn: str) -> float:
    """p99 of the seconds from an event to the checkpoint that first covers it."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        deadline = time.monotonic() + 60
        while True:
            cursor.execute("select count(*) from hub.log_pending")
            if cursor.fetchone() == (0,) or time.monotonic() > deadline:
                break
            connection.rollback()
            time.sleep(0.2)
        cursor.execute(
            "select percentile_cont(0.99) within group (order by extract(epoch from c.at - l.at))::float8"
            " from hub.log_index i join hub.audit_leaves l on l.id = i.leaf"
            " cross join lateral (select c.at from hub.checkpoints c where c.size > i.idx order by c.size limit 1) c"
            " where l.type = 'query'"
        )
        ((lag,),) = cursor.fetchall()
    return float(lag)


def _verify(addresses: Addresses, settings: Settings) -> list[dict[str, Any]]:
    """Over the leaves of the throughput, as one bundle of the whole log."""
    database, signer = connect(addresses.main, read_secrets(settings.state_dir)), log_key(settings)
    try:
        out = io.BytesIO()
        made = Exporter(database.auditor, signer).write(out, Wanted(None, (), {}), datetime.now(UTC))
        said = dict(trust_of(database.auditor, signer.key, 0)) | {"keyd": ["00" * 32]}
    finally:
        database.dispose()
    trust = Trust.read(json.dumps(said))
    took = []
    for _ in range(VERIFIED):
        began = time.process_time()
        found = verify(out, trust)
        took.append(time.process_time() - began)
        if found.wrong or not found.whole:
            raise RuntimeError(f"void: {found.wrong[:3]}")
    size = made.checkpoint.size
    rates = f"median of {VERIFIED}, {size / max(took):,.0f} to {size / min(took):,.0f}"
    note = f"{size:,} leaves of a bundle of {len(out.getvalue()) / 1e6:,.0f} MB, unpacked, hashed and parsed, on one core; {rates}"
    return [_figure("audit.verify", size / statistics.median(took), "leaves/s", 100_000, "≥", note)]


def _reading(setting: Setting) -> list[dict[str, Any]]:
    addresses, settings = setting.addresses(TENTH), setting.settings(TENTH)
    with ExitStack() as stack:
        stack.enter_context(keyd(settings, addresses))
        working = Sequencing(settings, addresses)
        working.start()
        stack.callback(working.close)
        called, database = assemble(settings, addresses)
        stack.callback(database.dispose)
        querying = called.datasets["incidents"].querying
        (number,) = _one(setting.dsn(f"bench_{TENTH}"), "select id from hub.organisations where slug = 'everything'")
        reader = Reader(number, "everything", "bench", By("everything", "everything"), None, proof=Proof())
        return [_cpu(setting, querying, reader), _growth(setting, querying, reader)]


def _one(dsn: str, question: str) -> tuple[Any, ...]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        found = cursor.fetchone()
    if found is None:
        raise RuntimeError(question)
    return tuple(found)


def _boxes() -> Sequence[Query]:
    found = []
    for line in bench.queries("page")[:READS]:
        west, south, east, north = (float(part) for part in line.split("bbox=")[1].split("&")[0].split(","))
        found.append(Query(limit=50, box=Box(west, south, east, north)))
    return found


def _cpu(setting: Setting, querying: Querying, reader: Reader) -> dict[str, Any]:
    """Processor time of a read of fifty records, of this process, the key process and PostgreSQL, with the log and without."""
    queries = _boxes()
    signed = querying.page(reader, queries[0]).signed

    def unlogged(self: Writer, tx: Any, *_more: Any) -> list[bytes]:
        tx.rows("commit")
        return []

    def spent(bare: bool) -> float:
        with ExitStack() as stack:
            if bare:
                stack.enter_context(mock.patch.object(Writer, "log", unlogged))
                stack.enter_context(mock.patch.object(querying.writer._keys, "sign", return_value=signed))
            before = _processor(setting)
            for query in queries:
                querying.page(reader, query)
            return _processor(setting) - before

    pairs = [(spent(False), spent(True)) for _ in range(5)]
    share = statistics.median((full - bare) / full for full, bare in pairs)
    full = statistics.median(full for full, _ in pairs) / len(queries) * 1e3
    return _figure("audit.cpu", share, "ratio", 0.2, "≤", f"of {full:.2f} ms a page, key process, sequencer and PostgreSQL included")


def _processor(setting: Setting) -> float:
    """Seconds of this process and of PostgreSQL's."""
    postmaster = setting.cluster.pid()
    ticks = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == postmaster or entry.name == str(postmaster):
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def _growth(setting: Setting, querying: Querying, reader: Reader) -> dict[str, Any]:
    """Bytes that an analyst's session of 200 movements of the map adds to the log: its tables, indexes included."""
    tables = "'hub.log_index', 'hub.heads_leaves', 'hub.log_tiles', 'hub.checkpoints', 'hub.leaf_signatures'"
    question = (
        f"select (select sum(pg_total_relation_size(t::regclass)) from unnest(array[{tables}]) t)"
        " + (select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'hub.audit_leaves'::regclass)"
    )
    dsn, queries = setting.dsn(f"bench_{TENTH}"), _boxes()
    (before,) = _one(dsn, question)
    for n in range(MOVES):
        querying.map(reader, queries[n % len(queries)])
        time.sleep(0.25)  # a batch each, as of one person
    time.sleep(1)
    (after,) = _one(dsn, question)
    grown = int(after) - int(before)
    return _figure(
        "audit.growth", grown / 1e3, "kB", None, "≤", f"{MOVES} movements of the map, {grown / MOVES:,.0f} bytes each, one batch each"
    )


def _who(setting: Setting) -> list[dict[str, Any]]:
    """Who saw X: the records that were shown most, no time filter, every leaf about their owner's data looked at."""
    if EVENTS == 0:
        return []
    print(f"making a log of {EVENTS:,} leaves …", flush=True)
    addresses, settings = bench.fresh_hub(setting, WHO)
    many.fill(setting.dsn(WHO), EVENTS)
    database = connect(addresses.main, read_secrets(settings.state_dir))
    try:
        log, owner = Log(database.auditor), many.OWNERS[0]
        whole, page, counts = [], [], []
        for number in many.most_shown(owner, 3):
            for limit, times in ((100, page), (1_000_000, whole)):
                began = time.perf_counter()
                found = log.review(Search(owner=owner, revisions=frozenset({number}), limit=limit))
                times.append(time.perf_counter() - began)
            counts.append(len(found.entries))
    finally:
        database.dispose()
    if min(counts) < 100:
        raise RuntimeError(f"void: the records were seen {counts} times")
    note = f"{EVENTS:,} events, three records seen {min(counts):,} to {max(counts):,} times, the worst; the first 100 in {max(page):.2f} s"
    return [_figure("audit.who_s", max(whole), "s", 2, "≤", note)]
