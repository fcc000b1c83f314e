"""Labels and released views against the oracle, in PostgreSQL. Differences come out as sentences."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2

from hub.datasets import DATASETS
from hub.db import Transaction
from hub.released import PATHS
from hub.sharing.context import Admission, Reach, seal
from hub.sharing.live import LiveGrant, Policies
from tests.policy.cases import Asked
from tests.policy.oracle import SEALED, TIMES, Released, Request
from tests.policy.playing import Played, case_of, code_of

INCIDENTS = DATASETS["incidents"]
PLAIN = ("external_id", "category", "status", "severity", "handling")
MEASURES = ("severity_bands", "external_id_last")
LABELS = """
select i.external_id, i.released from hub.incidents i join hub.organisations o on o.id = i.provider where o.slug = any(%s)"""


def label_differences(played: Played, connection: Any) -> Iterator[str]:
    """Records whose labels are not those of the oracle; `connection` may see tables."""
    cursor = connection.cursor()
    cursor.execute(LABELS, (list(played.batch.providers),))
    found = {name: frozenset(played.key(g) for g in released) for name, released in cursor.fetchall()}
    for record in played.batch.records:
        name, expected = record.values["external_id"], played.oracle.labels(record)
        if found.get(name) != expected:
            yield f"labels of {name}: {_set(expected)} expected, {_set(found.get(name))} found"


def _set(keys: Any) -> str:
    return "nothing" if keys is None else str(sorted(keys))


def _check_sql() -> str:
    """Every access path with the same filters over masked columns; the parameters are those of `_check_arguments`."""
    columns = [f"v.{n}" for n in (*PLAIN, *MEASURES)] + [f"v.{n}{r}" for n in TIMES for r in ("", "_round_to")]
    columns += [f"v.{n}_sealed is not null" for n in ("place", *SEALED)]
    across = "case when $2 <= $4 then ST_X(v.place) between $2 and $4 else ST_X(v.place) >= $2 or ST_X(v.place) <= $4 end"
    box = f"(not $1 or (ST_Y(v.place) between $3 and $5 and {across}))"
    times = "($6 is null or v.occurred_at >= $6) and ($7 is null or v.occurred_at <= $7)"
    values = " and ".join(f"(${8 + n} is null or v.{name}::text = any(${8 + n}))" for n, name in enumerate(PLAIN))
    selects = [
        f"select '{path}', v.id::text, {'null::int' if path == 'placeless' else 'v.k2'}, v.grants, ST_X(v.place), ST_Y(v.place), "
        f"v.place_grid_m, {', '.join(columns)} from hub.incidents_{path} v where {box} and {times} and {values}"
        for path in PATHS
    ]
    return (
        "prepare decisions(bool, float8, float8, float8, float8, timestamptz, timestamptz, text[], text[], text[], text[], text[]) as "
        + (" union all ".join(selects))
    )


CHECK = _check_sql()


def view_differences(played: Played, connection: Any) -> Iterator[str]:
    """What the access paths show otherwise than the oracle; `connection` is in a transaction of the reader's role."""
    policies = Policies("incidents")
    for asked in played.batch.asked:
        yield from _asked_differences(played, connection, asked, policies)


def _asked_differences(played: Played, connection: Any, asked: Asked, policies: Policies) -> Iterator[str]:
    tx = Transaction(connection, {})
    row = tx.rows("select * from hub.admit('nobody')")[0]
    admitted = Admission(row[0], row[1], asked.now, row[3], True)
    policy = policies.at(tx, admitted.epoch, played.batch.nows[0])  # read once: the clauses of an epoch are the same at any time
    organisation = played.organisations[asked.reader.organisation]
    grants = policy.live(organisation, asked.reader.purpose, "query", INCIDENTS.number, asked.now, asked.reader.case is not None)
    context = seal(
        played.world.database.secrets.context,
        INCIDENTS,
        admitted,
        organisation,
        asked.reader.purpose,
        grants,
        policy.refused(organisation, INCIDENTS.number, asked.now),
        5,
        _reach(played, asked, grants),
    )
    rows = tx.rows(
        f"select hub.enter(%s, %s); execute decisions({', '.join(['%s'] * 12)})",
        [INCIDENTS.number, context, *_check_arguments(asked.request)],
    )
    names = {i: n for n, i in played.ids.items()}
    found: dict[str, dict[str, Any]] = {path: {} for path in PATHS}
    for path, number, *more in rows:
        if number in found[path]:
            yield f"{path} has {names.get(number)} twice; {case_of(asked)}"
        found[path][number] = _view_values(played, more)
    yield from _compare_views(played, asked, found)


def _reach(played: Played, asked: Asked, grants: tuple[LiveGrant, ...]) -> Reach:
    cells = {code_of(r) for r in played.batch.records}
    until = asked.request.until and asked.request.until + timedelta(days=1, microseconds=1)
    return Reach([g.id << 32 | c for g in grants for c in sorted(cells)], asked.request.since, until)


def _check_arguments(request: Request) -> list[Any]:
    lists = [[str(v) for v in request.values[n]] if n in request.values else None for n in PLAIN]
    return [request.bbox is not None, *(request.bbox or (0, 0, 0, 0)), request.since, request.until, *lists]


def _view_values(played: Played, row: list[Any]) -> tuple[Any, ...]:
    k2, grants, lon, lat, grid_m, *values = row
    names = [*PLAIN, *MEASURES, *(f"{n}{r}" for n in TIMES for r in ("", "_round_to")), "place_sealed", *SEALED]
    found = {n: v for n, v in zip(names, values, strict=True) if v is not None and v is not False}
    found |= {} if grid_m is None else {"place_grid_m": grid_m}
    return frozenset(played.key(g) for g in grants), None if lon is None else (lon, lat), k2, found


def _compare_views(played: Played, asked: Asked, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for record in played.batch.records:
        name = record.values["external_id"]
        shown = played.oracle.shown(record, asked.reader, asked.now, asked.request)
        placed = shown is not None and shown.place is not None
        k2 = code_of(record) if placed else None
        expected = None if shown is None else (shown.grants, shown.place, k2, _as_in_view(shown))
        for path in PATHS:
            here = expected if path in ("scan", "time") or (path == "placeless") != placed else None
            if found[path].get(played.ids[name]) != here:
                yield f"{path}, {name}: {here} expected, {found[path].get(played.ids[name])} found; {case_of(asked)}"
    strangers = {i for rows in found.values() for i in rows} - set(played.ids.values())
    if strangers:
        yield f"records of others are shown: {sorted(strangers)}; {case_of(asked)}"


def _as_in_view(shown: Released) -> dict[str, Any]:
    """What is sealed is cut when it is opened: a view says that it may be."""
    exact = {"place_sealed": True} if shown.treatments["place"] == "clear" else {}
    ends = {f"{n}_last" for n in SEALED}
    return {n: True if n in SEALED else v for n, v in shown.values.items() if n not in ends} | exact


@contextmanager
def reader_connection(played: Played) -> Iterator[Any]:
    """A session as the application's reader role has it."""
    url = played.world.addresses.main
    secret = played.world.database.secrets.password("hub_reader")
    connection = psycopg2.connect(url.set(drivername="postgresql", username="hub_reader", password=secret).render_as_string(False))
    try:
        with connection.cursor() as cursor:
            cursor.execute("set plan_cache_mode = force_generic_plan")
            cursor.execute(CHECK)
        connection.commit()
        yield connection
    finally:
        connection.close()
