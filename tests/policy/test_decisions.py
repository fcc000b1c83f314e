"""Oracle = labels = released views = API, over generated agreements, records and requests whose values lie on the edges.

A case is one (agreements of a reader, record, request). `soak` plays as many as it is asked for.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from hub import localdb
from hub.sharing import query
from tests.conftest import HOME
from tests.policy import axes, coverage
from tests.policy.answers import api_differences, item_differences
from tests.policy.cases import batch
from tests.policy.faults import FAULTS, NOTHING, Fault
from tests.policy.playing import Played, movable_clock, play
from tests.policy.views import label_differences, reader_connection, view_differences
from tests.world import World, build

pytestmark = pytest.mark.unmeasured

SEEDS = (4, 7, 10)
CONSUMERS, RECORDS, REQUESTS = 16, 200, 3


@pytest.fixture(scope="module")
def played(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Played]]:
    admin = movable_clock(world)
    yield [play(world, admin, batch(seed, CONSUMERS, RECORDS, REQUESTS), tmp_path_factory.mktemp("mous")) for seed in SEEDS]
    admin.dispose()


@pytest.fixture(params=range(len(SEEDS)), ids=[f"seed {seed}" for seed in SEEDS])
def one(request: pytest.FixtureRequest, played: list[Played]) -> Played:
    return played[request.param]


def none_of(differences: Iterator[str]) -> None:
    found = list(islice(differences, 5))
    assert not found, "\n".join(found)


def test_labels_are_the_oracles(one: Played) -> None:
    none_of(in_labels(one))


def test_every_access_path_shows_what_the_oracle_says(one: Played) -> None:
    none_of(in_views(one))


def test_the_api_answers_and_logs_what_the_oracle_says(one: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: Counter[str] = Counter()
    none_of(in_answers(one, monkeypatch, taken))
    assert set(taken) == {"walk", "seek", "placeless", "time", "item"}, f"not every access path was taken: {taken}"


@pytest.fixture(scope="module")
def counted(played: list[Played]) -> axes.Counted:
    return sum((coverage.count(one.batch, one.oracle) for one in played), Counter())


def test_each_edge_of_each_condition_was_permitted_and_denied_in_each_treatment(played: list[Played], counted: axes.Counted) -> None:
    found = axes.summed(counted, 0, 1, 2)
    table = coverage.table(found, coverage.cells())
    cases = sum(cases_of(one) for one in played)
    print(f"\n{table}\n{cases:,} cases")
    empty = [cell for cell in coverage.cells() if not (found[cell, True] and found[cell, False])]
    assert not empty, f"no permits or no denials: {empty}\n{table}"
    assert cases >= 10_000


@pytest.mark.parametrize("what", ["grants", "refusals"])
def test_each_state_of_a_version_decided_alone_under_each_number_of_grants(counted: axes.Counted, what: str) -> None:
    """Of the whole table the long run tells which cells were never met."""
    of = Counter({key: n for key, n in counted.items() if (key[0][0] in axes.REFUSALS) == (what == "refusals")})
    found = axes.summed(of, 3, 4)
    condition = "refusal" if what == "refusals" else "one_of"
    could = {
        (s, n): [p for p in (True, False) if p not in axes.impossible((condition, "", "", s, n))] for s in axes.STATES for n in axes.GRANTS
    }
    empty = [(cell, permit) for cell, permits in could.items() for permit in permits if not found[cell, permit]]
    assert not empty, f"no permits (True) or no denials (False): {empty}"


def test_nothing_happened_that_is_called_impossible(counted: axes.Counted) -> None:
    assert not [(cell, permit) for (cell, permit), n in counted.items() if n and permit in axes.impossible(cell)]
    assert {cell[:3] for cell, _ in counted} <= set(coverage.cells())


def test_the_comparison_finds_nothing_where_nothing_is_planted(played: list[Played], monkeypatch: pytest.MonkeyPatch) -> None:
    none_of(islice(NOTHING.plant(played[:1], monkeypatch), 5))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_planted_fault_is_noticed(played: list[Played], monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    differences = fault.plant(played, monkeypatch)
    try:
        found = next(differences, None)
        assert found is not None, f"{fault.name}: nobody noticed"
        assert not found.startswith("500"), f"{fault.name} breaks the hub instead: {found}"
    finally:
        differences.close()  # type: ignore[attr-defined]  # takes the fault out again


def in_labels(one: Played) -> Iterator[str]:
    with one.admin.connect() as connection:
        yield from label_differences(one, connection.connection.dbapi_connection)


def in_views(one: Played) -> Iterator[str]:
    with reader_connection(one) as connection:
        yield from view_differences(one, connection)


def in_answers(one: Played, monkeypatch: pytest.MonkeyPatch, taken: Counter[str]) -> Iterator[str]:
    """Asks for pages by walking and by seeking in turn, and for some records by their ids."""
    execute = query.Querying.execute

    def counted(self: Any, session: Any, path: str, *more: Any) -> Any:
        taken[path] += 1
        return execute(self, session, path, *more)

    monkeypatch.setattr(query.Querying, "execute", counted)
    names = list(one.ids)
    for n, asked in enumerate(one.batch.asked):
        monkeypatch.setattr(query, "SEEK_SHARE", 2.0 if n % 2 else -1.0)
        monkeypatch.setattr(query, "SEEK_RATE", float("inf"))
        yield from api_differences(one, asked)
        for name in names[n % 100 :: 100] if not one.oracle.refused(asked.reader, asked.now) else ():
            yield from item_differences(one, asked, name)


def cases_of(one: Played) -> int:
    return len(one.batch.records) * len(one.batch.asked)


def soak(seed: int, count: int) -> dict[str, Any]:
    """Plays batches from `seed` on, each in a fresh hub, until there were `count` cases; gives what differed."""
    cases, batches, differences = 0, 0, []
    met: axes.Counted = Counter()
    while cases < count:
        with fresh_world() as (world, folder), pytest.MonkeyPatch.context() as monkeypatch:
            one = play(world, movable_clock(world), batch(seed + batches, CONSUMERS, RECORDS, REQUESTS), folder)
            met += coverage.count(one.batch, one.oracle)
            for found in (in_labels(one), in_views(one), in_answers(one, monkeypatch, Counter())):
                differences += [f"seed {seed + batches}: {d}" for d in islice(found, 20)]
            one.admin.dispose()
        cases, batches = cases + cases_of(one), batches + 1
    never, cells = axes.never(met, coverage.cells()), coverage.cells()
    table = {"coverage": axes.rows(met, cells), "impossible": axes.excluded(cells), "never": never}
    counted = {"batches": batches, "cases": cases, "differences": len(differences), "first": differences[:20]}
    return counted | {"cells": sum(1 for _ in axes.every(cells)), "never_met": len(never)} | table


@contextmanager
def fresh_world() -> Iterator[tuple[World, Path]]:
    """A hub on the tests' cluster, without pytest; it is gone afterwards."""
    cluster, name = localdb.ensure(HOME / "pg", durable=False), f"test_{os.getpid()}_{uuid4().hex[:8]}"
    main, keys = (sa.make_url(cluster.url(n)) for n in (name, f"{name}_keys"))
    (HOME / "state").mkdir(parents=True, exist_ok=True)
    try:
        with build(main, keys, HOME / "state") as world, tempfile.TemporaryDirectory() as folder:
            yield world, Path(folder)
    finally:
        engine = sa.create_engine(cluster.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for url in (main, keys):
                connection.exec_driver_sql(f'drop database if exists "{url.database}" with (force)')
        engine.dispose()
