"""audit.page_p95_ms: the auditor's page over a log of a million leaves, over HTTP, as a signed-in auditor sees it.

The mix goes through every filter alone and through conjunctions: frequent, rare, never, frequent things that never meet, what was
frequent only long ago, areas (a street, the city, elsewhere), weeks, long times, older pages, and who saw the records of an access.
Each answer is checked: a page, with entries or with the sentence that there are none. Pages that stopped early are counted.
"""

import hashlib
import http.client
import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg2
import sqlalchemy as sa

from hub.api.services import SESSION_COOKIE
from hub.app import assemble
from hub.identity import organisations, people
from hub.settings import Settings
from hub.setup import Addresses, open_database
from tests.bench import leaves
from tests.bench import setting as bench
from tests.bench.leaves import GONE, PARTNERS, PEOPLE, mou
from tests.bench.server import running
from tests.bench.setting import HOME, ROOT, Setting

NAME, PORT, ROUNDS, GOAL_MS = "bench_audit", 8914, 4, 300
STREET, ELSEWHERE, CITY = "-79.4,43.6,-79.38,43.62", "-80.5,43.6,-80.4,43.7", "-79.6,43.6,-79.18,43.82"
ALONE: list[dict[str, str]] = [
    {},
    *({"organisation": name} for name in (PARTNERS[0], PARTNERS[9], PARTNERS[18], GONE, "nobody")),
    *({"person": str(PEOPLE[n])} for n in (0, 5, 120, 380)),
    *({"type": name} for name in ("query", "export", "publish", "sign-in", "none")),
    *({"decision": name} for name in ("permit", "refuse", "absent")),
    *({"owner": name} for name in (PARTNERS[0], PARTNERS[5])),
    *({"mou": name} for name in (mou(PARTNERS[0], PARTNERS[0]), mou(PARTNERS[5], PARTNERS[18]), "MOU-NONE")),
    *({"purpose": name} for name in ("purpose.0", "purpose.7")),
    *({"case": name} for name in ("CASE-0042", "CASE-4711", "none")),
    {"client": f"{PARTNERS[3]}-client-1"},
    *({"bbox": box} for box in (STREET, ELSEWHERE, CITY)),
]
TOGETHER: list[dict[str, str]] = [
    {"organisation": PARTNERS[0], "mou": mou(PARTNERS[0], PARTNERS[1])},
    {"organisation": GONE, "type": "query", "decision": "permit"},
    {"person": str(PEOPLE[200]), "type": "export"},
    {"type": "token", "bbox": CITY},
    {"type": "publish", "bbox": STREET},
    {"organisation": GONE, "bbox": STREET},
    {"organisation": GONE, "bbox": CITY},
    {"organisation": PARTNERS[0], "bbox": ELSEWHERE},
    {"organisation": PARTNERS[12], "bbox": STREET, "placeless": "true"},
    {"case": "CASE-0042", "bbox": STREET},
    {"decision": "absent", "organisation": PARTNERS[12]},
    {"owner": PARTNERS[5], "purpose": "purpose.3", "type": "export"},
]


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    addresses, settings = _hub(setting)
    cookie = _signed_in(settings, addresses)
    with running(settings, addresses, PORT), closing(http.client.HTTPConnection("127.0.0.1", PORT)) as wire:
        asked = list(_mix(setting))
        for query in asked[:20]:
            _ask(wire, cookie, query)
        samples = [(query, *_ask(wire, cookie, query)) for _ in range(ROUNDS) for query in asked]
    times = sorted(ms for _, ms, _ in samples)
    p95 = times[int(len(times) * 0.95)]
    worst = max(samples, key=lambda s: s[1])
    stopped = sum(early for _, _, early in samples)
    note = (
        f"{leaves.LEAVES:,} leaves, {len(times)} pages, p50 {statistics.median(times):.0f} ms, worst {worst[1]:.0f} ms ({_words(worst[0])})"
    )
    return [
        {
            "name": "audit.page_p95_ms",
            "value": round(p95, 1),
            "reference": "-",
            "unit": "ms",
            "ratio": "-",
            "goal": GOAL_MS,
            "sign": "≤",
            "met": p95 <= GOAL_MS,
            "note": f"{note}; {stopped} stopped early",
        }
    ]


def _words(query: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in query.items()) or "no filter"


def _mix(setting: Setting) -> Iterator[dict[str, str]]:
    now = datetime.now(UTC)
    ago = [f"{now - timedelta(days=days):%Y-%m-%dT%H:%M}" for days in (700, 500, 300, 293, 7, 1)]
    times = [
        {"since": ago[4]},
        {"since": ago[2]},
        {"until": ago[2]},
        {"since": ago[2], "until": ago[3]},
        {"since": ago[0], "until": ago[2]},
        {"since": ago[4], "until": ago[5]},
        {"since": f"{now + timedelta(days=9):%Y-%m-%dT%H:%M}"},
    ]
    yield from [*ALONE, *TOGETHER, *times]
    some = [{"organisation": PARTNERS[0]}, {"organisation": GONE}, {"bbox": STREET}, {"case": "CASE-0042"}]
    yield from (some_filter | when for some_filter, when in itertools.product(some, [times[2], times[3], {"since": ago[1]}]))
    with closing(psycopg2.connect(setting.dsn(NAME))) as connection:
        cursor = connection.cursor()
        cursor.execute("select max(id) from hub.audit_leaves")
        (newest,) = cursor.fetchone() or (0,)
        cursor.execute("select event::text from hub.audit_leaves where type = 'query' and owner is not null order by id desc limit 3")
        events = [event for (event,) in cursor.fetchall()]
    yield from (some_filter | {"before": str(newest // 2)} for some_filter in (ALONE[0], *TOGETHER[:4]))
    yield from ({"organisation": PARTNERS[9], "after": str(newest // 3)}, {"case": "CASE-0042", "after": str(newest // 3)})
    yield from ({"seen_in": event} for event in events)


def _ask(wire: http.client.HTTPConnection, cookie: str, query: dict[str, str]) -> tuple[float, bool]:
    """Milliseconds, and whether the page stopped before all was searched."""
    began = time.perf_counter()
    wire.request("GET", f"/audit?{urlencode(query)}", headers={"Cookie": f"{SESSION_COOKIE}={cookie}"})
    answer = wire.getresponse()
    page = answer.read()
    took = (time.perf_counter() - began) * 1e3
    early = b"Go on from there" in page
    if answer.status != 200 or not (b'<tr role="row">\n    <td' in page or b"Nothing in the log fits" in page or early):
        raise RuntimeError(f"void: {answer.status} for {query}")
    return took, early


def _hub(setting: Setting) -> tuple[Addresses, Settings]:
    """A hub whose log holds the leaves, made where it is missing."""
    marker = HOME / f"{NAME}.ready"
    mark = f"{leaves.VERSION} {_migrations()}"
    if marker.exists() and marker.read_text() == mark:
        addresses = Addresses(*(sa.make_url(setting.cluster.url(f"{NAME}{part}")) for part in ("", "_keys")))
        return addresses, Settings(state_dir=setting.state / NAME, pool_size=4, log_level="warning")
    print(f"making a log of {leaves.LEAVES:,} leaves …", flush=True)
    addresses, settings = bench.fresh_hub(setting, NAME)
    leaves.fill(setting.dsn(NAME))
    _partners(setting, settings, addresses)
    marker.write_text(mark)
    return addresses, settings


def _migrations() -> str:
    digest = hashlib.sha256()
    for path in sorted((ROOT / "migrations").rglob("*.sql")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _partners(setting: Setting, settings: Settings, addresses: Addresses) -> None:
    database = open_database(settings, addresses)
    try:
        for slug in PARTNERS:
            organisations.add(database.writer, slug, slug.capitalize())
        organisations.add(database.writer, "watch", "Watch", "auditor")
        people.add(database.writer, "watch", "auditor", "Auditor", ["auditor"])
    finally:
        database.dispose()
    with closing(psycopg2.connect(setting.dsn(NAME))) as connection:
        connection.autocommit = True
        connection.cursor().execute(
            "insert into hub.people (id, organisation, handle, name, roles)"
            " select p.id::uuid, o.id, 'person-' || p.n, 'Person ' || p.n, '{analyst}'"
            " from unnest(%s) with ordinality p(id, n) join hub.organisations o on o.slug = 'partner-00'",
            ([str(p) for p in PEOPLE],),
        )


def _signed_in(settings: Settings, addresses: Addresses) -> str:
    called, database = assemble(settings, addresses)
    try:
        cookie, _ = called.sessions.begin(people.get(database.writer, "auditor"), "passkey")
    finally:
        database.dispose()
    return cookie
