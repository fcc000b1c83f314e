"""A log of a million leaves to search: two years of a busy hub, made in the database from leaves that the hub's own code wrote.

20,000 leaves are written by hub/audit/leaf.py, with organisations, people, agreements and places as uneven as real ones (Zipf), a fifth
of the extents city-wide; PostgreSQL multiplies them, each with its own event, time, session and hash.
"""

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import psycopg2

from hub.audit.leaf import By, Event, Share, leaves, revisions_in

VERSION = 3  # raise it when what this file makes changes
LEAVES, TEMPLATES, DAYS = 1_000_000, 20_000, 730
PARTNERS = [f"partner-{n:02d}" for n in range(20)]
GONE = "partner-19"  # took part in the first fifth of the time, and much
OWNERS = PARTNERS[:6]
PURPOSES = [f"purpose.{n}" for n in range(12)]
PEOPLE = [UUID(int=0xC0FFEE << 64 | 0x4000800000000000 | n) for n in range(400)]
CITY = (-79.64, 43.58, -79.11, 43.86)
EVENT, SESSION, AT = UUID(int=1), "@@SESSION@@", datetime(2000, 1, 1, tzinfo=UTC)
KINDS = {"query": 74, "export": 2, "publish": 5, "token": 6, "audit": 3, "sign-in": 4, "refusal": 2, "absent": 4}


@dataclass(frozen=True)
class Template:
    """A leaf but for its event, time and session; `early`: of the partner that took part at first only."""

    type: str
    organisation: str
    owner: str | None
    extent: Sequence[float] | None
    text: str
    early: bool


def mou(owner: str, reader: str) -> str:
    """The agreement of two partners."""
    return f"MOU-{owner[-2:]}-{reader[-2:]}"


def templates(random: Random) -> list[Template]:
    readers = random.choices(PARTNERS, _zipf(len(PARTNERS)), k=TEMPLATES)
    owners = random.choices(OWNERS, _zipf(len(OWNERS)), k=TEMPLATES)
    kinds = random.choices(list(KINDS), list(KINDS.values()), k=TEMPLATES)
    people = random.choices(range(len(PEOPLE)), _zipf(len(PEOPLE)), k=TEMPLATES)
    made = [_template(random, *parts) for parts in zip(kinds, readers, owners, people, strict=True)]
    early = [_template(random, "query", GONE, owner, 399) for owner in random.choices(OWNERS, _zipf(len(OWNERS)), k=TEMPLATES // 10)]
    return [*(t for t in made if not t.early), *early]


def _zipf(count: int) -> list[float]:
    return [1 / (n + 2) for n in range(count)]


def _template(random: Random, kind: str, reader: str, owner: str, person: int) -> Template:
    by = _by(random, reader, person)
    purpose = PURPOSES[(PARTNERS.index(reader) + random.choice((0, 0, 0, 5))) % len(PURPOSES)]
    case = f"CASE-{random.randrange(5_000):04d}" if random.random() < 0.2 else None
    if kind in ("query", "export"):
        return _read(random, kind, by, purpose, case, owner)
    if kind == "absent":
        event = Event(EVENT, "query", AT, by, "absent", purpose, case, "incidents", _literals(random))
        return _made(event, Share())
    if kind == "publish":
        by = By(owner, f"{owner}-push", SESSION, "192.0.2.9")
        event = Event(EVENT, kind, AT, by, "permit", dataset="incidents", asked={"records": 200})
        return _made(event, Share(owner, (), _revisions(random, 200), {"root": "ab" * 32}))
    reason = "the token has no scope query" if kind == "refusal" else None
    asked = {"token": {"scope": "query"}, "audit": {"fields": ["owner"]}, "sign-in": {"method": "passkey"}}.get(kind)
    return _made(Event(EVENT, kind, AT, by, "refuse" if reason else "permit", asked=asked, reason=reason), Share())


def _by(random: Random, reader: str, person: int) -> By:
    if random.random() < 0.4:
        return By(reader, f"{reader}-client-{random.randrange(3)}", SESSION, f"192.0.2.{random.randrange(250)}")
    return By(reader, None, SESSION, f"198.51.100.{random.randrange(250)}", str(PEOPLE[person]))


def _read(random: Random, kind: str, by: By, purpose: str, case: str | None, owner: str) -> Template:
    single = random.random() < 0.25
    extent = None if single else _extent(random)
    asked: dict[str, Any] = _literals(random) if single else {"extent": extent, "limit": 100}
    revisions = _revisions(random, 1 if single else random.choice((3, 10, 30, 100, 100)))
    under = [{"mou": mou(owner, str(by.organisation)), "version": 1, "sha256": "e3b0c442" * 8, "grants": ["all"]}]
    fields = {"category": "clear", "occurred_at": "round_to:PT1H", "place": "grid_m:500"}
    event = Event(EVENT, kind, AT, by, "permit", purpose, case, "incidents", asked)
    return _made(event, Share(owner, under, revisions, {"fields": fields}), extent)


def _literals(random: Random) -> dict[str, Any]:
    return {"fields": ["id"], "literals": "sealed:" + random.randbytes(90).hex(), "hash": "hmac:" + random.randbytes(32).hex()}


def _extent(random: Random) -> list[float]:
    west, south, east, north = CITY
    if random.random() < 0.2:
        return list(CITY)
    # Twelve busy neighbourhoods draw most of the looks.
    spot = min(int(random.expovariate(0.35)), 11)
    lon = min(max(random.gauss(west + (spot * 5 % 12 + 0.5) * (east - west) / 12, 0.01), west), east - 0.05)
    lat = min(max(random.gauss(south + (spot * 7 % 12 + 0.5) * (north - south) / 12, 0.01), south), north - 0.04)
    return [round(lon, 4), round(lat, 4), round(lon + 0.04, 4), round(lat + 0.03, 4)]


def _revisions(random: Random, count: int) -> list[int]:
    first = random.randrange(1_000_000)
    return sorted({first + random.randrange(60_000) for _ in range(count)})


def most_shown(owner: str, count: int) -> list[int]:
    """The revisions of an owner that most of the leaves show which `fill` multiplies."""
    reads = (t for t in templates(Random(4)) if t.owner == owner and t.type in ("query", "export") and not t.early)
    shown = (json.loads(t.text)["shown"] for t in reads)
    times = Counter(number for told in shown for number in revisions_in(told["revisions"]))
    return [number for number, _ in times.most_common(count)]


def _made(event: Event, share: Share, extent: Sequence[float] | None = None) -> Template:
    (leaf,) = leaves(event, [share], bytes(16))
    organisation = event.by.organisation or ""
    return Template(event.type, organisation, share.owner, extent, leaf.text, organisation == GONE)


_MULTIPLY = """
insert into hub.audit_leaves (event, part, type, at, organisation, owner, extent, leaf, leaf_hash, terms)
select m.event, 1, m.type, m.at, m.organisation, m.owner, m.extent, m.leaf, sha256('\\x00'::bytea || convert_to(m.leaf, 'utf8')), m.terms
from (
  select s.event, t.type, s.at, t.organisation, t.owner, t.extent,
         replace(replace(replace(t.leaf, '00000000-0000-0000-0000-000000000001', s.event::text), '@@SESSION@@', s.session),
                 '2000-01-01T00:00:00.000Z', to_char(s.at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) as leaf,
         t.terms || ('session:' || s.session) as terms
  from (
    select n, md5('session' || n / 25)::uuid::text as session, at,
           overlay(overlay(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || substr(md5('event' || n), 13)
                           placing '7' from 13) placing '8' from 17)::uuid as event,
           case when n < %(rows)s / 5 and n %% 2 = 0
                then %(late)s + n * 7919::bigint %% %(early)s else n * 7919::bigint %% %(late)s end as pick
    from (select n, date_trunc('milliseconds', %(until)s - (%(rows)s - n) * (%(days)s * interval '1 day' / %(rows)s)) as at
          from generate_series(1, %(rows)s) n) g) s
  join pg_temp.templates t on t.id = s.pick
  order by s.n) m"""

_MONTHS = """
do $$ declare m date := date_trunc('month', (%s::timestamptz - %s * interval '1 day') at time zone 'UTC')::date;
begin
  while m < date_trunc('month', now() at time zone 'UTC') loop
    execute format('create table if not exists hub.%%I partition of hub.audit_leaves for values from (%%L) to (%%L)',
                   'audit_leaves_' || to_char(m, 'YYYY_MM'), hub.first_event(m), hub.first_event((m + interval '1 month')::date));
    m := (m + interval '1 month')::date;
  end loop;
end $$"""


def fill(dsn: str, rows: int = LEAVES, until: datetime | None = None) -> None:
    """Puts `rows` leaves into an empty log; the newest is of `until` (aware; None: now)."""
    made = sorted(templates(Random(4)), key=lambda t: t.early)
    connection = psycopg2.connect(dsn)
    try:
        cursor = connection.cursor()
        cursor.execute("set timezone = 'UTC'; set maintenance_work_mem = '512MB'")
        cursor.execute("create temp table raw (id bigint, type text, organisation text, owner text, extent float8[], leaf text);")
        cursor.copy_expert("copy raw from stdin", io.StringIO("".join(_line(n, t) for n, t in enumerate(made))))
        cursor.execute(
            "create temp table templates as select id, type, organisation, owner, leaf, hub.leaf_terms(leaf::jsonb) as terms,"
            " case when extent is not null then ST_MakeEnvelope(extent[1], extent[2], extent[3], extent[4], 4326) end as extent from raw;"
            "update templates set terms = array(select t from unnest(terms) t where t not like 'session:%');"
            "create unique index on templates (id); analyze templates"
        )
        # Building the indexes afterwards takes a fifth of the time; they are the same.
        cursor.execute(
            "select indexname, indexdef from pg_indexes where schemaname = 'hub' and tablename = 'audit_leaves' and indexdef !~ 'UNIQUE'"
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"drop index hub.{name}")
        late = sum(not t.early for t in made)
        values = {"rows": rows, "days": DAYS, "until": until or datetime.now(UTC), "late": late, "early": len(made) - late}
        cursor.execute(_MONTHS, (values["until"], DAYS))
        cursor.execute(_MULTIPLY, values)
        for _, definition in indexes:
            cursor.execute(definition.replace(" ON ONLY ", " ON "))  # of the log, and so of each month
        connection.commit()
        connection.autocommit = True
        cursor.execute("vacuum (analyze, freeze) hub.audit_leaves")
    finally:
        connection.close()


def _line(number: int, t: Template) -> str:
    extent = "{" + ",".join(map(str, t.extent)) + "}" if t.extent else None
    cells = (str(number), t.type, t.organisation, t.owner, extent, t.text)
    return "\t".join("\\N" if cell is None else cell.replace("\\", "\\\\") for cell in cells) + "\n"
