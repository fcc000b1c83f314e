"""Counts without a right to the records, as SQL text and as what is answered: by 2 km cell, calendar month (UTC) and category, of each
grant apart.

PostgreSQL gives nothing from which a smaller count could be worked out (docs/decisions/0022). Migrations hold the function frozen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from hub.audit.leaf import Share, instant
from hub.geo import Cell
from hub.records import WINDOW_FIELD, Record
from hub.released import COUNTING, READER
from hub.sharing.disclosure import cited
from hub.sharing.live import LiveGrant, Policy
from hub.tables import SCHEMA

KIND = "category"  # what is counted apart
FIELDS = {KIND: "clear", "occurred_at": "round_to:P1M", "place": "grid_m:2000"}  # how a count shows its records, as the log tells it


def counts_sql(name: str, dataset: type[Record]) -> str:
    """`<dataset>_counts`, which verifies the sealed context as the views do; one that opens no view, for a row without values would
    tell that a record is there. Only whole months that have ended count, and that lie within
    the grant's window: a record never enters or leaves a count at a time of its own. A cell shows if its count is at least the grant's
    least, and all that is smaller than it in its month and category adds up to nothing or to at least as much: so the total says no
    smaller number of what is not shown.
    """
    place = dataset.named("place")[0].name
    month = f"date_trunc('month', i.{WINDOW_FIELD} at time zone 'UTC')"
    return f"""
create function {SCHEMA}.{name}_counts() returns table (clause int, month timestamp, kind text, k2 int, number int)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  with c as materialized (
    select (x.c).* from (select {SCHEMA}.context_body({dataset.number + COUNTING})::{SCHEMA}.{name}_context as c offset 0) x
    where (x.c).grants is not null),
  g as materialized (
    select g.id, g.min_count as least, c.since[public.idx(c.grants, g.id)] as since, c.until[public.idx(c.grants, g.id)] as until
    from c join {SCHEMA}.grants g on g.id = any(c.grants) where g.min_count is not null),
  n as (
    select g.id, g.least, {month} as month, i.{KIND} as kind, i.k2, count(*) as number
    from {SCHEMA}.{name} i cross join c join g on g.id = any(i.released)
    where i.released operator(public.&&) (select array_agg(g.id) from g)
      and not i.released operator(public.&&) (c.refused || c.{KIND}_held || c.{place}_held)
      and {month} at time zone 'UTC' >= g.since
      and ({month} + interval '1 month') at time zone 'UTC' <= least(g.until, now())
    group by 1, 2, 3, 4, 5),
  s as (
    select n.*, sum(n.number) over line as total,
           sum(n.number) over (line order by n.number, n.k2 rows unbounded preceding) - n.number as smaller
    from n window line as (partition by n.id, n.month, n.kind))
  select s.id, s.month, s.kind, s.k2, s.number::int from s where s.number >= s.least and (s.smaller = 0 or s.smaller >= s.least)
  union all
  select distinct s.id, s.month, s.kind, null::int, s.total::int from s where s.total >= s.least
  order by 1, 2, 3, 4 nulls first
$$;
revoke execute on function {SCHEMA}.{name}_counts from public;
grant execute on function {SCHEMA}.{name}_counts to {READER};
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """A row of the function: a total (`k2` None), or the count of a cell."""

    clause: int
    month: datetime
    kind: str
    k2: int | None
    number: int


def answer(policy: Policy, grants: Sequence[LiveGrant], rows: Sequence[Counted], at: datetime) -> bytes:
    """JSON: each grant with its totals, and under each the cells that can be told."""
    return orjson.dumps({"at": instant(at), "grants": [_grant(policy, g, [r for r in rows if r.clause == g.id]) for g in grants]})


def _grant(policy: Policy, grant: LiveGrant, rows: Sequence[Counted]) -> dict[str, Any]:
    cells: dict[tuple[datetime, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row.k2 is not None:
            centre = Cell.of_code(row.k2).centre
            cells.setdefault((row.month, row.kind), []).append({"place": [centre.lon, centre.lat], "count": row.number})
    counts = [
        {"month": f"{row.month:%Y-%m}", KIND: row.kind, "total": row.number, "cells": cells.get((row.month, row.kind), [])}
        for row in rows
        if row.k2 is None
    ]
    return {
        "mou": grant.mou,
        "version": grant.version,
        "grant": grant.name,
        "provider": policy.names[grant.provider],
        "min_count": grant.min_count,
        "grid_m": 2000,
        "counts": counts,
    }


def shares(policy: Policy, grants: Sequence[LiveGrant], rows: Sequence[Counted]) -> list[Share]:
    """What the log tells each owner: how many of its records were counted, in how many cells; no revision."""
    found = []
    for provider in sorted({g.provider for g in grants}):
        mine = {g.id for g in grants if g.provider == provider}
        own = [r for r in rows if r.clause in mine]
        more = {"count": sum(r.number for r in own if r.k2 is None), "cells": sum(r.k2 is not None for r in own), "fields": FIELDS}
        if own:
            found.append(Share(policy.names[provider], cited(policy, [tuple(sorted({r.clause for r in own}))]), (), more))
    return found
