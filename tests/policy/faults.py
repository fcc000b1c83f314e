"""Planted faults: mistakes that somebody could make. Each must be noticed by the same comparison that finds nothing without it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from hub import released
from hub.db import MIGRATIONS
from hub.policy.treatments import WITHHOLD, Treatment, before, cut, cut_up, window
from hub.released import PATHS, view_sql
from hub.sharing import context, disclosure, live, paths, query, statements
from hub.sharing.labels import label_sql
from hub.workers import lending
from tests.policy.answers import api_differences
from tests.policy.edges import MICROSECOND
from tests.policy.playing import Played
from tests.policy.views import CHECK, INCIDENTS, label_differences, view_differences

Differences = Iterator[str]
CORES = sorted((Path(MIGRATIONS) / "hub" / "versions").glob("*_core.sql"), reverse=True)
RELABEL = """
update hub.incidents i set released = hub.incidents_label(null, i.provider, i.category, i.occurred_at, i.occurred_until, i.reported_at,
  i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.c100, i.c500, i.c2k)"""


Bounds = tuple[datetime | None, datetime | None]


def _lookback_cut_down(now: datetime, lookback: timedelta | None, embargo: timedelta | None, step: timedelta) -> Bounds:
    _, until = window(now, lookback, embargo, step)
    return (None if lookback is None else cut(before(now, lookback), step)), until


def _embargo_cut_up(now: datetime, lookback: timedelta | None, embargo: timedelta | None, step: timedelta) -> Bounds:
    since, _ = window(now, lookback, embargo, step)
    return since, (None if embargo is None else cut_up(before(now, embargo), step))


@dataclass(frozen=True)
class Fault:
    """`plant` makes it, for the length of a comparison, and gives the differences that are found."""

    name: str
    plant: Callable[[list[Played], pytest.MonkeyPatch], Differences]


def edited(text: str, *edits: tuple[str, str]) -> str:
    """The text with every edit made, as a replacement of what is there. An edit that finds nothing is a mistake in the test."""
    for old, new in edits:
        assert old in text, f"{old!r} is not in the text any more"
        text = text.replace(old, new)
    return text.replace("create function", "create or replace function").replace("create view", "create or replace view")


# In the labels


def in_labels(*edits: tuple[str, str], rules: str = "select") -> Callable[[list[Played], pytest.MonkeyPatch], Differences]:
    """`rules`: a statement that changes the rules too."""

    def plant(played: list[Played], _: pytest.MonkeyPatch) -> Differences:
        with _owner_cursor(played[0]) as (connection, cursor):
            cursor.execute(rules)
            cursor.execute(edited(label_sql("incidents", INCIDENTS), *edits))
            cursor.execute(RELABEL)
            yield from chain.from_iterable(label_differences(p, connection) for p in played)

    return plant


_CELL = "(case r.grid_m when 100 then p_c100 when 500 then p_c500 when 2000 then p_c2k end)"
LABEL_FAULTS = [
    Fault("at_most leaves its bound out", in_labels(("p_severity <= r.severity__at_most", "p_severity < r.severity__at_most"))),
    Fault("at_least is read as at_most", in_labels(("p_severity >= r.severity__at_least", "p_severity <= r.severity__at_least"))),
    Fault(
        "a missing value meets at_most", in_labels(("p_severity <= r.severity__at_most", "coalesce(p_severity, 0) <= r.severity__at_most"))
    ),
    Fault("within tests the finest cell", in_labels((_CELL, "p_c100"))),
    Fault("within tests the coarsest cell", in_labels((_CELL, "p_c2k"))),
    Fault("within leaves the border out", in_labels(("public.ST_Covers(", "public.ST_Contains("))),
    Fault(
        "one jurisdiction of several is enough",
        in_labels(
            ("not exists (select from unnest(r.place__within)", "exists (select from unnest(r.place__within)"), (" is not true))", "))")
        ),
    ),
    Fault(
        "a refusal leaves the cells on its border out",
        in_labels(
            rules="update hub.incidents_rules set place__within = array(select ST_Buffer(a, -0.012) from unnest(place__within) a)"
            " where place__within is not null and clause in (select id from hub.refusals)"
        ),
    ),
    Fault("refusals label nothing", in_labels(rules="delete from hub.incidents_rules where clause in (select id from hub.refusals)")),
    Fault(
        "a suspended MOU loses its labels",
        in_labels(
            rules="delete from hub.incidents_rules where clause in"
            " (select g.id from hub.grants g join hub.mous m on m.id = g.mou_id where m.state = 'suspended')"
        ),
    ),
    Fault("a rule reaches other providers' records", in_labels(("r.provider = p_provider and ", ""))),
]


# In the released views, and in what the context says


def in_views(
    *edits: tuple[str, str], sql: Callable[[], str] | None = None, patch: Callable[[pytest.MonkeyPatch], None] | None = None
) -> Callable[[list[Played], pytest.MonkeyPatch], Differences]:
    def plant(played: list[Played], monkeypatch: pytest.MonkeyPatch) -> Differences:
        if patch:
            patch(monkeypatch)
        with _owner_cursor(played[0]) as (connection, cursor):
            if sql:
                cursor.execute(sql())
            for path in PATHS:
                cursor.execute(edited(view_sql("incidents", INCIDENTS, path), *(e for e in edits if path in _paths_of(e))))
            cursor.execute("set local role hub_reader; set local plan_cache_mode = force_generic_plan")
            cursor.execute(CHECK)
            yield from chain.from_iterable(view_differences(p, connection) for p in played)

    return plant


def _paths_of(edit: tuple[str, str]) -> tuple[str, ...]:
    """Only `scan` and `time` hide the cell of a withheld place: the others hold no such record, or no cell."""
    return ("scan", "time") if "end as k2" in edit[0] else PATHS


@contextmanager
def _owner_cursor(played: Played) -> Iterator[tuple[Any, Any]]:
    """A session of the administrator; all that is done in it is undone at the end, and nobody else ever sees it."""
    connection = played.admin.raw_connection()
    try:
        with connection.cursor() as cursor:
            cursor.execute("set local role hub_owner")
            yield connection.dbapi_connection, cursor
    finally:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("deallocate all")
        connection.rollback()
        connection.close()


def _snapshot(*edits: tuple[str, str], name: str = "policy_snapshot") -> Callable[[], str]:
    """The function as the newest migration makes it, edited."""
    found = (re.search(rf"create function hub\.{name}\(.*?\n\$\$;", core.read_text(), re.S) for core in CORES)
    return partial(edited, next(text.group() for text in found if text), *edits)


def _set(target: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(target, name, value)


def _ends_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key process that lends whatever is asked for: the real one finds that the leaf says less than is to be opened."""
    monkeypatch.setattr(disclosure, "finest", _first_given)
    monkeypatch.setattr(lending, "check", lambda *_: None)


def _live(
    test: Callable[[live.LiveGrant, str, datetime], bool],
    cases: Callable[[live.LiveGrant, bool], bool] = lambda g, case: case or not g.case_required,
) -> Callable[[pytest.MonkeyPatch], None]:
    """Live grants by another test of (grant, purpose, now), or of (grant, whether there is a case)."""

    def patched(
        self: live.Policy, recipient: int, purpose: str, _action: str, dataset: int, now: datetime, case: bool = False
    ) -> tuple[live.LiveGrant, ...]:
        own = (g for g in self.grants.values() if g.recipient == recipient and g.dataset == dataset)
        return tuple(g for g in own if test(g, purpose, now) and cases(g, case))

    return lambda monkeypatch: monkeypatch.setattr(live.Policy, "live", patched)


def _refused(test: Callable[[live.Policy, live.LiveRefusal, datetime], bool]) -> Callable[[pytest.MonkeyPatch], None]:
    """Refusals by another test of (policy, refusal, now)."""

    def patched(self: live.Policy, recipient: int, dataset: int, now: datetime) -> tuple[live.LiveRefusal, ...]:
        own = (r for r in self.refusals.values() if (r.recipient, r.dataset) == (recipient, dataset))
        return tuple(r for r in own if test(self, r, now))

    return lambda monkeypatch: monkeypatch.setattr(live.Policy, "refused", patched)


def _for_its_purposes(policy: live.Policy, refusal: live.LiveRefusal, now: datetime) -> bool:
    return now < refusal.until and any(g.mou == refusal.mou and "alpha" in g.purposes for g in policy.grants.values())


def _as_it_is(g: live.LiveGrant, purpose: str, now: datetime) -> bool:
    return purpose in g.purposes and "query" in g.actions and g.since <= now < g.until


_SINCE = "i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]"
_UNTIL = "i.occurred_at < (select until from c)[public.idx((select grants from c), g)]"
_BAND = "b.low[width_bucket(i.severity, b.low)]"
_COARSEST_FIRST = {2000: "c2k", 500: "c500", 100: "c100"}
_ACTIVE = "m.state = 'active'"
NOTHING = Fault("nothing", in_views())
VIEW_FAULTS = [
    Fault("the look-back is not tested", in_views((_SINCE, "true"))),
    Fault("the embargo is not tested", in_views((_UNTIL, "true"))),
    Fault("every grant has the first one's window", in_views(("[public.idx((select grants from c), g)]", "[1]"))),
    Fault("refusals of whole records are forgotten", in_views(("i.released operator(public.&&) (select refused from c)", "false"))),
    Fault(
        "refusals of fields are forgotten", in_views(("nullif(i.released operator(public.&) (select held from c), '{}')", "null::int[]"))
    ),
    Fault("a refused place is shown", in_views(("e.held operator(public.&&) (select place_held from c)", "false"))),
    Fault("a refused sealed field is shown", in_views(("e.held operator(public.&&) (select phone_held from c)", "false"))),
    Fault("a refused value is shown", in_views(("e.held operator(public.&&) (select category_held from c)", "false"))),
    Fault("a refused time is shown", in_views(("e.held operator(public.&&) (select reported_at_held from c)", "false"))),
    Fault("a refusal holds for some purposes only", in_views(patch=_refused(_for_its_purposes))),
    Fault("a refusal ends a day early", in_views(patch=_refused(lambda _, r, now: now + timedelta(days=1) < r.until))),
    Fault("a refusal begins a day late", in_views(patch=_refused(lambda _, r, now: r.since + timedelta(days=1) <= now < r.until))),
    Fault("hours are not cut", in_views(("date_trunc('hour', i.occurred_at, 'UTC')", "i.occurred_at"))),
    Fault("a band shows the number in it", in_views((_BAND, "i.severity"))),
    Fault("a number below the first band is shown", in_views((_BAND, f"coalesce({_BAND}, i.severity)"))),
    Fault("a band holds its end too", in_views(("[width_bucket(i.severity, b.low)]", "[width_bucket(i.severity - 1, b.low)]"))),
    Fault(
        "the coarsest bands apply",
        in_views(("select min(public.idx((select severity_bands", "select max(public.idx((select severity_bands")),
    ),
    Fault("the end of a text is longer by one", in_views(("right(i.external_id, ", "right(i.external_id, 1 + "))),
    Fault(
        "the shortest end applies",
        in_views(("select min(public.idx((select external_id_last", "select max(public.idx((select external_id_last")),
    ),
    Fault("a grant outside its window unmasks", in_views(("e.grants operator(public.&&)", "i.released operator(public.&&)"))),
    Fault("a 2 km grant shows the 500 m cell", in_views(("when 2000 then i.c2k", "when 2000 then i.c500"))),
    Fault("the cell of a withheld place is shown", in_views(("case when p.tier is not null then i.k2 end as k2", "i.k2 as k2"))),
    Fault("the coarsest place applies", in_views(patch=_set(released, "CELL_COLUMNS", _COARSEST_FIRST))),
    Fault("the coarsest time applies", in_views(patch=_set(released, "ROUNDINGS", {"P1D": "day", "PT1H": "hour"}))),
    Fault("the look-back is cut down", in_views(patch=_set(context, "bounds", _lookback_cut_down))),
    Fault("the embargo is cut up", in_views(patch=_set(context, "bounds", _embargo_cut_up))),
    Fault("a grant for another purpose counts", in_views(patch=_live(lambda g, _, now: "query" in g.actions and g.since <= now < g.until))),
    Fault("a grant for another action counts", in_views(patch=_live(lambda g, p, now: p in g.purposes and g.since <= now < g.until))),
    Fault(
        "an MOU ends a moment late", in_views(patch=_live(lambda g, p, now: p in g.purposes and "query" in g.actions and now <= g.until))
    ),
    Fault(
        "an MOU's last moment is left out", in_views(patch=_live(lambda g, p, now: _as_it_is(g, p, now) and now < g.until - MICROSECOND))
    ),
    Fault("an MOU's first moment is left out", in_views(patch=_live(lambda g, p, now: _as_it_is(g, p, now) and now > g.since))),
    Fault("a suspended MOU counts as active", in_views(sql=_snapshot((_ACTIVE, "m.state in ('active', 'suspended')")))),
    Fault("a version counts before it is in force", in_views(sql=_snapshot((_ACTIVE, "m.state in ('active', 'activating')")))),
    Fault(
        "a suspended MOU still refuses",
        in_views(sql=_snapshot((_ACTIVE, "m.state in ('active', 'suspended')"), name="refusal_snapshot")),
    ),
    Fault(
        "a version refuses before it is in force",
        in_views(sql=_snapshot((_ACTIVE, "m.state in ('active', 'activating')"), name="refusal_snapshot")),
    ),
    Fault("a grant for cases opens without one", in_views(patch=_live(_as_it_is, lambda g, case: True))),
    Fault("a case opens nothing", in_views(patch=_live(_as_it_is, lambda g, case: not g.case_required))),
    Fault("a case closes what needs none", in_views(patch=_live(_as_it_is, lambda g, case: case == g.case_required))),
    Fault("an MOU's last day is left out", in_views(sql=_snapshot(("m.in_force_until,", "m.in_force_until - interval '1 day',")))),
    Fault("an MOU's first day is left out", in_views(sql=_snapshot(("m.in_force_from,", "m.in_force_from + interval '1 day',")))),
]


# In the read flow


def in_flow(
    patch: Callable[[pytest.MonkeyPatch], None], views: tuple[str, str] | None = None
) -> Callable[[list[Played], pytest.MonkeyPatch], Differences]:
    """Sessions are closed before and after: they hold prepared statements. What a policy has worked out before is forgotten meanwhile."""

    def plant(played: list[Played], monkeypatch: pytest.MonkeyPatch) -> Differences:
        world, shared = played[0].world, played[0].world.services.datasets["incidents"]
        patch(monkeypatch)
        monkeypatch.setattr(shared.querying, "_statements", statements.Statements("incidents", INCIDENTS))
        monkeypatch.setattr(shared.querying, "_policies", live.Policies("incidents"))
        world.database.reader.dispose()
        if views:
            _make_views(played[0], views)
        try:
            yield from chain.from_iterable(api_differences(p, asked) for p in played for asked in p.batch.asked)
        finally:
            world.database.reader.dispose()
            if views:
                _make_views(played[0])

    return plant


def _make_views(played: Played, *edits: tuple[str, str]) -> None:
    with played.admin.begin() as connection:
        connection.exec_driver_sql("set local role hub_owner")
        for path in PATHS:
            connection.exec_driver_sql(f"drop view hub.incidents_{path}")
            connection.exec_driver_sql(edited(view_sql("incidents", INCIDENTS, path), *edits))
            connection.exec_driver_sql(f"grant select on hub.incidents_{path} to hub_reader")


def _filters(*edits: tuple[str, str]) -> Callable[[pytest.MonkeyPatch], None]:
    text = edited(statements.Statements("incidents", INCIDENTS)._filters(), *edits)
    return lambda monkeypatch: monkeypatch.setattr(statements.Statements, "_filters", lambda _self: text)


def _ranges(change: Callable[[list[Any]], list[Any]]) -> Callable[[pytest.MonkeyPatch], None]:
    original = paths.ranges
    return lambda monkeypatch: monkeypatch.setattr(paths, "ranges", lambda box: change(original(box)))


_IN_BOX = statements._IN_BOX
_FINEST = _IN_BOX.replace("v.{place}", "v.finest")
_OPEN_BOX = _IN_BOX.replace("ST_Y(v.{place}) between $10 and $11", "ST_Y(v.{place}) > $10 and ST_Y(v.{place}) < $11")
_WITH_FINEST = ("as grants\nfrom hub", "as grants, i.c100 as finest\nfrom hub")


def _uncut_period(_self: query.Querying, _session: Any, asked: paths.Query) -> context.Reach:
    return context.Reach(since=asked.since, until=asked.until)


def _with_case(case: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Every reader has a case, or none has."""
    original = live.Policy.live

    def patched(self: live.Policy, *asked: Any) -> tuple[live.LiveGrant, ...]:
        return original(self, *asked[:5], case)

    return lambda monkeypatch: monkeypatch.setattr(live.Policy, "live", patched)


def _first_given(policy: live.Policy, clauses: tuple[int, ...], name: str) -> Treatment:
    return next((t for c in clauses if c in policy.grants and (t := policy.grants[c].treatment(name)).shows), WITHHOLD)


FLOW_FAULTS = [
    Fault("the reader's case is taken for granted", in_flow(_with_case(True))),
    Fault("the reader's case is forgotten", in_flow(_with_case(False))),
    Fault("an area is compared with the finest cell", in_flow(_set(statements, "_IN_BOX", _FINEST), _WITH_FINEST)),
    Fault("an area leaves its border out", in_flow(_set(statements, "_IN_BOX", _OPEN_BOX))),
    Fault("the last cells of an area are left out", in_flow(_ranges(lambda found: found[:-1] if len(found) > 1 else found))),
    Fault("every cell of an area is inside it", in_flow(_ranges(lambda found: [r._replace(inside=True) for r in found]))),
    Fault("a sealed text that is cut is shown whole", in_flow(_set(disclosure, "_ended", lambda name, plain, _n: {name: plain.decode()}))),
    Fault("the first grant's end of a sealed text applies", in_flow(_ends_of_the_first)),
    Fault("the end of a period is left out", in_flow(_filters(("v.occurred_at <= $13", "v.occurred_at < $13")))),
    Fault("a withheld time lies in every period", in_flow(_filters(("v.occurred_at >= $12", "coalesce(v.occurred_at >= $12, true)")))),
    Fault("a withheld value meets every filter", in_flow(_filters(("v.category = any($14)", "coalesce(v.category = any($14), true)")))),
    Fault("a short period forgets that times are cut", in_flow(_set(query.Querying, "_period", _uncut_period))),
]  # fmt: skip
FAULTS = [*LABEL_FAULTS, *VIEW_FAULTS, *FLOW_FAULTS]
