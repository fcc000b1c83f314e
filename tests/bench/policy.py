"""What agreements cost: the effect diff of one grant, labels put on, and a page under 6 and under 200 live grants, in the database.

A copy of the hub with a million points is used and thrown away: putting labels on rewrites it.
"""

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import Any

import psycopg2
import sqlalchemy as sa

from hub.agreements.lifecycle import Lifecycle
from hub.agreements.party_keys import PartyKeys
from hub.agreements.store import Actor
from hub.audit.leaf import By
from hub.datasets import DATASETS
from hub.datasets.incidents import Category, Incident
from hub.db import Transaction, read_secrets
from hub.geo import Box
from hub.settings import Settings
from hub.setup import Addresses, open_database
from hub.sharing.context import Admission, Reach, seal
from hub.sharing.live import LiveGrant, Policies
from hub.sharing.paths import Query, areas_of
from hub.sharing.statements import NIL, Shape, Statements, page_arguments
from tests.bench.setting import MILLION, Setting, grant_of, hubs, loaded, queries
from tests.signing import Clock, Signing

NAME = "bench_policy"
ROUNDS, BOXES, LIMIT = 5, 60, 100
OWNER = Actor("bench-police", By("bench-police", client="bench"))
TWO_HUNDRED = [
    grant_of(
        f"g{n}",
        [
            {"field": "category", "one_of": [str(list(Category)[n % 20])]},
            {"field": "severity", "one_of": [n % 5 + 1, (n + 2) % 5 + 1]},
            {"field": "status", "one_of": [["open", "active", "resolved", "closed"][n // 50]]},
        ],
        1_500 + n % 12,
    )
    for n in range(200)
]


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    hubs(setting)
    with _scratch(setting) as (addresses, settings):
        database = open_database(settings, addresses)
        try:
            clock = Clock()
            lifecycle = Lifecycle(database.agreements, DATASETS, lambda mou, _names: mou.source, clock)
            signing = Signing(lifecycle, PartyKeys(database.agreements, clock), clock)
            six = _pages(addresses, settings, "six")
            found = _one_grant(signing, settings)
            pages = six, _two_hundred(signing, addresses, settings)
        finally:
            database.dispose()
    return [*found, *(_figure(f"policy.grants{n}", *page, goal) for n, page, goal in zip((6, 200), pages, (2.0, 4.0), strict=True))]


@contextmanager
def _scratch(setting: Setting) -> Iterator[tuple[Addresses, Settings]]:
    """A copy of the hub with a million points."""
    source = f"bench_{MILLION}"
    with closing(psycopg2.connect(setting.dsn("postgres"))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for part in ("", "_keys"):
            cursor.execute(f"drop database if exists {NAME}{part} with (force)")
            cursor.execute(f"create database {NAME}{part} template {source}{part}")
        state = setting.state / NAME
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(setting.state / source, state)
        try:
            addresses = Addresses(*(sa.make_url(setting.cluster.url(f"{NAME}{part}")) for part in ("", "_keys")))
            yield addresses, Settings(state_dir=state, pool_size=4, statement_timeout_s=600, log_level="warning")
        finally:
            for part in ("", "_keys"):
                cursor.execute(f"drop database if exists {NAME}{part} with (force)")


def _one_grant(signing: Signing, settings: Settings) -> list[dict[str, Any]]:
    """One grant over everything: its diff, and its labels on every record."""
    path = loaded(settings.state_dir, "other-00", [grant_of("all", "everything")], name="BENCH-ONE-GRANT")
    mou = signing.prepare(path)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        effect = signing.lifecycle.diff(OWNER, mou.mou, mou.version)
        times.append(time.perf_counter() - began)
    if b'"gained":1000000' not in effect and b'"changed":' not in effect:
        raise RuntimeError("void: the diff does not reach every record")
    found = signing.lifecycle.activate(OWNER, mou.mou, mou.version, sha256(effect).hexdigest())
    began = time.perf_counter()
    labelled = signing.lifecycle.finish(found)
    took = time.perf_counter() - began
    if labelled != MILLION:
        raise RuntimeError(f"void: {labelled} records got labels")
    diff = statistics.median(times)
    return [
        _line("policy.diff_s", diff, 1.0, "s", 2.0, "≤", f"one grant over {MILLION:,} records; worst {max(times):.2f} s"),
        _line("policy.relabel", labelled / took, 1.0, "rows/s", 30_000.0, "≥", "one grant over everything, in batches, switch included"),
    ]


def _two_hundred(signing: Signing, addresses: Addresses, settings: Settings) -> tuple[float, float, str]:
    """An agreement with 200 grants in 12 windows."""
    signing.load(loaded(settings.state_dir, "other-19", TWO_HUNDRED, name="BENCH-TWO-HUNDRED"))
    with closing(psycopg2.connect(addresses.main.set(drivername="postgresql").render_as_string(False))) as connection:
        connection.autocommit = True
        connection.cursor().execute("vacuum analyze hub.incidents")
    return _pages(addresses, settings, "other-19")


def _pages(addresses: Addresses, settings: Settings, reader: str) -> tuple[float, float, str]:
    """Milliseconds of a page of 100 through the released view, and of the bare table in the same order with the label test alone."""
    url = addresses.main.set(drivername="postgresql")
    secrets = read_secrets(settings.state_dir)
    mine = url.set(username="hub_reader", password=secrets.password("hub_reader")).render_as_string(False)
    with closing(psycopg2.connect(mine)) as wall, closing(psycopg2.connect(url.render_as_string(False))) as bare:
        bare.autocommit = True
        page = _Page(Transaction(wall, {}), secrets.context, reader)
        plain = _Bare(Transaction(bare, {}), page.grants)
        times: dict[str, list[float]] = {"wall": [], "bare": []}
        seen = []
        for n in range(ROUNDS + 1):
            for box in _boxes():
                for name, ask in (("wall", page.ask), ("bare", plain.ask)):
                    took, rows = ask(box)
                    times[name] += [took] if n else []
                    seen.append(rows)
        windows = len({(g.lookback, g.embargo) for g in page.grants})
    share = _share(url, page.grants)
    note = f"{len(page.grants)} grants, {windows} windows; pages of {statistics.mean(seen):.0f} rows; {share}"
    return statistics.median(times["wall"]), statistics.median(times["bare"]), note


def _timed(tx: Transaction, statement: str, arguments: list[Any]) -> tuple[float, int]:
    began = time.perf_counter()
    rows = tx.rows(statement, arguments)
    return (time.perf_counter() - began) * 1e3, len(rows)


def _boxes() -> list[Box]:
    found = []
    for line in queries("page")[:BOXES]:
        corners = next(part for part in line.lstrip("?").split("&") if part.startswith("bbox=")).removeprefix("bbox=")
        found.append(Box(*map(float, corners.split(","))))
    return found


def _share(url: sa.URL, grants: tuple[LiveGrant, ...]) -> str:
    with closing(psycopg2.connect(url.render_as_string(False))) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "select count(*) filter (where released && %s::int[])::float8 / count(*), avg(cardinality(released))"
            " from hub.incidents tablesample system (2)",
            ([g.id for g in grants],),
        )
        part, labels = cursor.fetchone() or (0, 0)
    return f"{part:.0%} of the records, {labels:.1f} labels a record"


class _Page:
    """Pages as the read flow asks for them, sealed context included."""

    def __init__(self, tx: Transaction, key: bytes, reader: str) -> None:
        self.tx, self.key, self.reader = tx, key, reader
        self.admitted = self._admit()
        policy = Policies("incidents").at(tx, self.admitted.epoch, self.admitted.wall)
        self.number = next(n for n, slug in policy.names.items() if slug == reader)
        self.grants = policy.live(self.number, "bench", "query", Incident.number, self.admitted.wall)
        self.statement = Statements("incidents", Incident).prepared("walk", Shape.of(Incident, self.grants))
        tx.prepare(*self.statement)
        tx.rows("commit")

    def _admit(self) -> Admission:
        return Admission(*self.tx.rows("begin; select * from hub.admit('nobody')")[0])

    def ask(self, box: Box) -> tuple[float, int]:
        """The milliseconds of entering the context and reading the page; admission and the log are measured by `query.sql`."""
        admitted = self._admit()
        context = seal(self.key, Incident, admitted, self.number, "bench", self.grants, (), 5, Reach())
        arguments = page_arguments(Incident, areas_of(Query(box=box)), NIL, LIMIT, box, (None, None), {})
        marks = ", ".join(["%s"] * len(arguments))
        timed = _timed(self.tx, f"select hub.enter(1, %s); execute {self.statement[0]}({marks})", [context, *arguments])
        self.tx.rows("commit")
        return timed


class _Bare:
    """The same page from the table itself: same order, same columns unmasked, the label test alone."""

    def __init__(self, tx: Transaction, grants: tuple[LiveGrant, ...]) -> None:
        self.tx, self.ids = tx, "{" + ",".join(str(g.id) for g in grants) + "}"
        members = ", ".join(
            f"'\"{n}\":' || to_json(x.{n})::text || ','" for n in ("category", "occurred_at", "status", "severity", "handling")
        )
        tx.prepare(
            "bare",
            f"""(int[], int[], bool[], int[], float8, float8, float8, float8) as
            select x.id::text, x.provider, x.revision_no, x.rev, x.released,
              concat('{{"type":"Feature","id":"', x.id, '"', ',"geometry":{{"type":"Point","coordinates":['
              || ST_X(x.c100) || ',' || ST_Y(x.c100) || ']}}', ',"properties":{{', {members}), x.k2
            from unnest($1, $2, $3) with ordinality r(low, high, inside, n), lateral (
              select * from hub.incidents i where i.k2 between r.low and r.high and coalesce(i.released && $4, false)
              and (r.inside or (ST_X(i.c100) between $5 and $7 and ST_Y(i.c100) between $6 and $8)) order by i.k2, i.id limit {LIMIT}) x
            order by r.n, x.k2, x.id limit {LIMIT}""",
        )

    def ask(self, box: Box) -> tuple[float, int]:
        areas = areas_of(Query(box=box))
        ranges = [[getattr(a, name) for a in areas] for name in ("low", "high", "inside")]
        return _timed(self.tx, "execute bare(%s, %s, %s, %s, %s, %s, %s, %s)", [*ranges, self.ids, *box])


def _figure(name: str, wall: float, bare: float, note: str, goal: float) -> dict[str, Any]:
    return _line(name, wall, bare, "ms", goal, "≤", note)


def _line(name: str, value: float, reference: float, unit: str, goal: float, sign: str, note: str) -> dict[str, Any]:
    ratio = value / reference
    met = ratio <= goal if sign == "≤" else ratio >= goal
    return {
        "name": name, "value": round(value, 3), "reference": round(reference, 3), "unit": unit, "ratio": round(ratio, 2), "goal": goal,
        "sign": sign, "met": met, "note": note,
    }  # fmt: skip
