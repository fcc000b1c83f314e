"""Searches of the log find exactly what a look at every leaf finds, whichever way they take, and in bounded steps."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import psycopg2
import pytest
import shapely
import sqlalchemy as sa
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from hub.audit import log as log_module
from hub.audit import search as search_module
from hub.audit.leaf import By, Event, Share, leaves, revisions_in
from hub.audit.log import Entry, Log, Search
from hub.db import Transaction, transaction
from hub.geo import Box, Point
from tests.world import World

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
COUNT = 900
CITIES = {"north": (-79.4, 43.6), "south": (-1.6, 53.7), "dateline": (179.9, -17.0)}
PEOPLE = [UUID(int=n + 1) for n in range(3)]
MEMBERS = {
    "organisation": ["one", "two", "gone", "none"],
    "owner": ["police", "ambulance", "one", "none"],
    "type": ["query", "export", "token", "export,token", "token,none"],
    "person": PEOPLE,
    "client": ["one-client", "none"],
    "session": ["s1", "s7"],
    "mou": ["MOU-1", "MOU-2", "none"],
    "grant": ["MOU-1/a", "MOU-2/b", "a", "MOU-1/"],
    "others": [True],
    "purpose": ["research", "safety"],
    "case": ["C-1", "C-2"],
    "decision": ["permit", "refuse", "absent"],
    "dataset": ["incidents", "alerts"],
}


def leaf(random: Random, n: int) -> tuple[str, str, datetime, str | None, Any]:
    """One leaf; `gone` took part in the first third only. One in twenty is logged long after or before its time."""
    early = n < COUNT / 3 and random.random() < 0.6
    person = random.choice([*PEOPLE, None])
    organisation = "gone" if early else random.choice(["one", "one", "one", "two"])
    by = By(organisation, None if person else f"{organisation}-client", f"s{n // 40}", None, str(person) if person else None)
    kind, owner = random.choice(["query"] * 5 + ["export", "token"]), random.choice(["police", "police", "ambulance", "one"])
    extent = None
    if kind != "token" and random.random() < 0.7:
        lon, lat = CITIES[random.choice(list(CITIES))] if not early else CITIES["north"]
        west, south, size = lon + random.randrange(9) / 100, lat + random.randrange(9) / 100, random.choice([0.01, 0.05, 0.05])
        extent = (west, south, min(west + size, 180.0), south + size)
    at = BEGAN + timedelta(hours=n) + (timedelta(days=random.randrange(-20, 20)) if random.random() < 0.05 else timedelta())
    case = random.choice([None, None, "C-1", "C-2"])
    decision = random.choice(["permit"] * 8 + ["refuse", "absent"])
    event = Event(UUID(int=10**6 + n), kind, at, by, decision, random.choice(["research", "safety"]), case, "incidents", {"limit": 1})
    if kind == "token" or decision != "permit":
        share = Share()
    else:
        under = [{"mou": f"MOU-{m}", "grants": random.choice([["a"], ["a", "b"]])} for m in random.choice([(1,), (2,), (1, 2)])]
        share = Share(owner, under, sorted(random.sample(range(n + 1), min(n + 1, 5))))
    (made,) = leaves(event, [share], bytes(16))
    return kind, made.text, at, share.owner, extent


class Scene:
    """A hub's log, and the same leaves to look at one by one."""

    def __init__(self, world: World) -> None:
        self.log = Log(world.database.auditor)
        random = Random(3)
        made = [leaf(random, n) for n in range(COUNT)]
        with world.superuser() as connection:
            connection.execute(
                sa.text(
                    "insert into hub.audit_leaves (event, part, type, at, organisation, owner, extent, leaf, leaf_hash, terms)"
                    " values (gen_random_uuid(), 1, :type, :at, :by, :owner, ST_MakeEnvelope(:w, :s, :e, :n, 4326), :leaf, '', "
                    " hub.leaf_terms(cast(:leaf as jsonb)))"
                ),
                [
                    {"type": kind, "leaf": text, "at": at, "owner": owner, "by": json.loads(text)["by"]["organisation"]}
                    | dict(zip("wsen", extent or [None] * 4, strict=True))
                    for kind, text, at, owner, extent in made
                ],
            )
        self.extents = {json.loads(text)["event"]: extent for _, text, _, _, extent in made}
        self.all = self.log.find(Search(limit=10_000))
        assert len(self.all) == COUNT

    def matching(self, search: Search) -> list[Entry]:
        """Newest first, all of them, by looking at every leaf."""
        return [entry for entry in self.all if self._matches(entry, search)]

    def _matches(self, entry: Entry, search: Search) -> bool:
        body, by = entry.body, entry.body["by"]
        at = datetime.fromisoformat(body["at"])
        extent = self.extents[body["event"]]
        named = {
            **{name: body.get(name) for name in ("owner", "purpose", "case", "decision", "dataset")},
            **{name: by.get(name) for name in ("organisation", "client", "session")},
            "person": UUID(by["person"]) if "person" in by else None,
        }
        return (
            all(getattr(search, name) in (None, value) for name, value in named.items())
            and (search.type is None or body["type"] in search.type.split(","))
            and (search.grant is None or search.grant in [f"{u['mou']}/{g}" for u in body.get("under", ()) for g in u["grants"]])
            and (not search.others or ("owner" in body and body["owner"] != by["organisation"]))
            and (search.mou is None or search.mou in [u["mou"] for u in body.get("under", ())])
            and (search.since is None or at >= search.since)
            and (search.until is None or at <= search.until)
            and (search.before is None or entry.id < search.before)
            and (search.after is None or entry.id > search.after)
            and (search.box is None or (search.placeless if extent is None else touches(search.box, extent)))
            and (search.polygon is None or (search.placeless if extent is None else crosses(search.polygon, extent)))
            and (search.revisions is None or shows(body, search.revisions))
        )


def touches(box: Box, extent: tuple[float, ...]) -> bool:
    west, south, east, north = extent
    return any(h.west <= east and west <= h.east and h.south <= north and south <= h.north for h in box.halves())


def crosses(polygon: tuple[Point, ...], extent: tuple[float, ...]) -> bool:
    return bool(shapely.Polygon(polygon).intersects(shapely.box(*extent)))


def shows(body: dict[str, Any], revisions: frozenset[int]) -> bool:
    return not revisions.isdisjoint(revisions_in(body["shown"]["revisions"])) if "shown" in body else False


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    return Scene(world)


@pytest.fixture(params=["as it is", "small steps"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small steps take every way that a large log makes a search take."""
    if request.param == "small steps":
        monkeypatch.setattr(search_module, "STRIDE", 25)
        monkeypatch.setattr(search_module, "MANY", 12)
        monkeypatch.setattr(search_module, "SAMPLE", 200)
        monkeypatch.setattr(search_module, "SCANNED", 7)
    return str(request.param)


def box(random: Random) -> Box:
    lon, lat = CITIES[random.choice(list(CITIES))]
    west, south = lon + random.randrange(-3, 9) / 100 - 0.001, lat + random.randrange(-3, 9) / 100 - 0.001
    if random.random() < 0.2:
        return Box(170.0, -20.0, -170.0, 80.0)
    return Box(west, south, west + random.choice([0.001, 0.06]), south + random.choice([0.001, 0.06]))


def triangle(random: Random) -> tuple[Point, ...]:
    """Slim enough to miss areas that its box touches."""
    lon, lat = CITIES[random.choice(list(CITIES))]
    return Point(lon, lat), Point(min(lon + 0.11, 180.0), lat + 0.1), Point(lon + 0.01, lat + 0.03)


def searches(random: Random) -> Iterator[dict[str, Any]]:
    while True:
        named = random.sample(list(MEMBERS), random.choice([0, 1, 1, 2, 3]))
        found: dict[str, Any] = {name: random.choice(MEMBERS[name]) for name in named}
        if random.random() < 0.4:
            found["since"] = BEGAN + timedelta(hours=random.randrange(COUNT))
        if random.random() < 0.4:
            found["until"] = BEGAN + timedelta(hours=random.randrange(COUNT))
        if random.random() < 0.3:
            found["box"] = box(random)
            found["placeless"] = random.random() < 0.3
        if random.random() < 0.2:
            found["polygon"] = triangle(random)
        if random.random() < 0.2:
            found["revisions"] = frozenset(random.sample(range(COUNT), random.choice([1, 3])))
        yield found


def test_every_search_finds_what_a_look_at_every_leaf_finds(scene: Scene, steps: str) -> None:
    random, ids = Random(5), [e.id for e in scene.all]
    drawn = searches(random)
    filled = 0
    for _ in range(150):
        given, limit = next(drawn), random.choice([1, 4, 30, 2_000])
        if random.random() < 0.5:
            given["before"] = random.choice(ids)
        wanted = scene.matching(Search(**given))
        assert scene.log.find(Search(limit=limit, **given)) == wanted[:limit], given
        filled += bool(wanted)
    assert filled > 50


def test_the_leaves_that_follow_one_are_found_in_the_same_way(scene: Scene, steps: str) -> None:
    random, ids = Random(6), [e.id for e in scene.all]
    drawn = searches(random)
    for _ in range(100):
        given, limit = next(drawn) | {"after": random.choice(ids)}, random.choice([1, 4, 30])
        wanted = scene.matching(Search(**given))
        assert scene.log.find(Search(limit=limit, **given)) == wanted[len(wanted) - min(limit, len(wanted)) :], given


@pytest.mark.parametrize("given", [{"organisation": "gone"}, {"mou": "MOU-1", "organisation": "two"}, {"revisions": frozenset({5})}, {}])
@pytest.mark.usefixtures("steps")
def test_a_search_without_time_goes_on_where_it_stopped_and_misses_nothing(scene: Scene, given: dict[str, Any]) -> None:
    found: list[Entry] = []
    before, rounds = None, 0
    while True:
        part = scene.log.review(Search(before=before, limit=5, **given), 0.0)
        found += part.entries
        rounds += 1
        if part.rest is None:
            break
        assert before is None or part.rest.high < before - 1 or part.entries
        if part.late:
            assert part.back_to is not None
        before = part.rest.high + 1
        assert rounds < COUNT
    assert found == scene.matching(Search(**given))


@pytest.mark.usefixtures("steps")
def test_counts_are_right_or_not_given(scene: Scene) -> None:
    for given in ({}, {"organisation": "two"}, {"case": "C-1", "decision": "refuse"}, {"purpose": "none"}):
        whole = len(scene.matching(Search(**given)))
        assert scene.log.count(Search(**given), 1_000, 10.0) == whole
        assert scene.log.count(Search(**given), 3, 10.0) == min(whole, 3)
        assert scene.log.count(Search(**given), 1_000, 0.0) in (None, whole)


@pytest.mark.usefixtures("steps")
def test_a_search_counted_by_words_is_what_a_look_at_every_leaf_counts(scene: Scene) -> None:
    drawn, random = searches(Random(7)), Random(8)
    for given in [{}, {"others": True, "owner": "police"}, *(next(drawn) for _ in range(40))]:
        wanted = scene.matching(Search(**given))
        found = scene.log.summary(Search(**given), 60.0)
        assert (found.entries, found.complete, found.back_to) == (len(wanted), True, None), given
        for name in ("organisation", "purpose", "type", "decision", "grant"):
            values = Counter(value for e in wanted for value in said(e, name))
            assert {g.value: g.entries for g in found.groups[name]} == values
            assert [g.entries for g in found.groups[name]] == sorted(values.values(), reverse=True)
        for group in random.sample(found.groups["organisation"], len(found.groups["organisation"])):
            times = [datetime.fromisoformat(e.body["at"]) for e in wanted if e.body["by"]["organisation"] == group.value]
            assert (group.first, group.last) == (min(times), max(times))


def said(entry: Entry, name: str) -> list[str]:
    if name == "grant":
        return [f"{u['mou']}/{g}" for u in entry.body.get("under", ()) for g in u["grants"]]
    value = entry.body["by"].get(name) if name == "organisation" else entry.body.get(name)
    return [value] if value else []


def test_a_count_that_takes_too_long_says_how_far_back_it_goes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "STRIDE", 25)
    monkeypatch.setattr(search_module, "MANY", 12)
    monkeypatch.setattr(log_module, "AT_ONCE", 10)
    whole = scene.log.summary(Search(decision="permit"), 60.0)
    part = scene.log.summary(Search(decision="permit"), 0.0)
    assert whole.complete
    assert not part.complete
    assert part.back_to is not None
    assert 0 < part.entries < whole.entries
    assert sum(g.entries for g in part.groups["decision"]) == part.entries


class Late(Transaction):
    """A time limit that is reached as its statement ends: PostgreSQL then cancels the next one. `struck`: how many it did."""

    struck = 0

    def rows(self, statement: str, arguments: Any = ()) -> list[tuple[Any, ...]]:
        if getattr(self, "_limited", False):
            self._limited = False
            Late.struck += 1
            super().rows("set statement_timeout = '1ms'")
            try:
                super().rows("select pg_sleep(1)")
            finally:
                super().rows("reset statement_timeout")
        self._limited = "statement_timeout" in statement
        return super().rows(statement, arguments)


def test_a_time_limit_strikes_nothing_that_comes_after_the_statement_it_was_meant_for(
    world: World, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "STRIDE", 25)
    monkeypatch.setattr(search_module, "MANY", 12)
    given = Search(organisation="two", purpose="safety", since=BEGAN)
    wanted = len(scene.matching(given))
    Late.struck = 0
    with transaction(world.database.auditor) as tx:
        late = Late(tx._connection, {})
        finder = search_module.Finder(late, given, time.monotonic() + 60)
        found = 0
        for batch in finder.batches():
            found += len(batch)
            assert tx._connection.info.transaction_status == TRANSACTION_STATUS_IDLE  # nothing is open that would keep a limit
            assert tx.rows("show statement_timeout") == [("30s",)]
        assert found == wanted
    assert Late.struck
    monkeypatch.setattr(search_module.Finder, "_settle", lambda _self: None)  # the control
    with transaction(world.database.auditor) as tx:
        late = Late(tx._connection, {})
        list(search_module.Finder(late, given, time.monotonic() + 60).batches())
        with pytest.raises(psycopg2.errors.QueryCanceled):
            late.rows("select 1")


def test_who_saw_a_record_ends_with_the_leaf_that_published_it(world: World, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing older is looked at: what lies before it, though it names the revision, is not found."""
    monkeypatch.setattr(search_module, "STRIDE", 3)
    with world.superuser() as connection:
        for n, kind in enumerate(["query", "query", "query", "query", "publish", "query"]):
            event = Event(UUID(int=10**9 + n), kind, BEGAN, By("late"), "permit")
            (made,) = leaves(event, [Share("police", (), [10**6])], bytes(16))
            connection.execute(
                sa.text(
                    "insert into hub.audit_leaves (event, part, type, at, leaf, leaf_hash, terms)"
                    " values (:e, 1, :k, :at, :leaf, '', hub.leaf_terms(cast(:leaf as jsonb)))"
                ),
                {"e": event.id, "k": kind, "at": BEGAN, "leaf": made.text},
            )
    found = scene.log.review(Search(revisions=frozenset({10**6})), 60.0)
    assert [e.body["type"] for e in found.entries][:2] == ["query", "publish"]
    assert len(found.entries) < 6
    assert found.rest is None
