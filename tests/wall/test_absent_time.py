"""Absent and not shared take the same time, as far as one more look-up in the same build could be told.

One comparison: 400 pairs of requests, one of each kind, in random order within a pair; Wilcoxon's signed-rank test on the
differences of their times, two-sided, at p < 0.001. Pairs, because a machine's speed drifts: Mann–Whitney's U on the same times missed
an extra look-up on a busy machine that the pairs showed. A difference counts when two fresh samples in a row show it: a false alarm has
a chance of 0.001² = 10⁻⁶ per comparison. The control, a build that does not wait for the beat and looks once more, must be found by the
same rule, in one of three tries. It is told by processor time, of this thread and of its PostgreSQL session: beside other work the clock
on the wall needs more than 400 pairs for it (p was 10⁻⁴ to 10⁻¹⁰ there; by processor time 10⁻³⁷ and less).
"""

import gc
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from scipy.stats import wilcoxon

from hub.errors import NotShared
from hub.sharing import query
from hub.sharing.query import Querying
from hub.sharing.reader import Reader
from tests.world import World, feature, grant

pytestmark = pytest.mark.unmeasured

SAMPLES, LEVEL, IN_A_ROW, TRIES = 400, 0.001, 2, 3
Draw = Callable[[], UUID]


@pytest.fixture(scope="module")
def reader(world: World, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "reader"):
        world.organisation(slug)
    where = [{"field": "category", "one_of": ["theft"]}]
    world.mou(folder, "MOU-1", "police", "reader", [grant(where=where, occurred={"lookback": "P30D"})])
    now, old = datetime.now(UTC), datetime.now(UTC) - timedelta(days=60)
    for n, at in (("shown", now), ("passed", old)):
        world.publish("police", *(feature(f"{n}-{k}", occurred_at=at.isoformat()) for k in range(200)))
    world.publish("police", *(feature(f"hidden-{k}", category="fire") for k in range(200)))
    with world.superuser() as admin:
        admin.exec_driver_sql("analyze hub.incidents")
    return world.reader("reader", "research")


@pytest.fixture(scope="module")
def ids(world: World, reader: Reader) -> dict[str, list[UUID]]:
    with world.superuser() as admin:
        rows = admin.exec_driver_sql("select split_part(external_id, '-', 1), id from hub.incidents where provider = 1").all()
    return {kind: [i for k, i in rows if k == kind] for kind in ("shown", "hidden", "passed")}


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _wall() -> int:
    return time.perf_counter_ns()


def _work(session: Path) -> Callable[[], int]:
    """Nanoseconds of processor that this thread and the process of `session` have had (this thread alone where no kernel counts it)."""

    def spent() -> int:
        try:
            there = int((session / "schedstat").read_text().split()[0])
        except OSError:
            there = 0
        return there + time.thread_time_ns()

    return spent


def _took(querying: Querying, reader: Reader, wanted: UUID, clock: Callable[[], int]) -> int:
    began = clock()
    try:
        querying.item(reader, wanted)
    except NotShared:
        return clock() - began
    raise AssertionError("this record should not have been shown")


def _session(world: World) -> Path:
    """What the kernel tells of the process that serves the pooled connection which the next request takes."""
    pooled = world.database.reader.raw_connection()
    try:
        return Path(f"/proc/{pooled.dbapi_connection.info.backend_pid}")  # type: ignore[union-attr]
    finally:
        pooled.close()


def _p(world: World, reader: Reader, one: Draw, other: Draw, random: Random, evened: bool) -> float:
    """How likely times as unlike as these are when there is no difference."""
    querying, clock = world.services.datasets["incidents"].querying, _wall if evened else _work(_session(world))
    took: tuple[list[int], list[int]] = ([], [])
    for _ in range(20):
        _took(querying, reader, uuid4(), clock)
    for _ in range(SAMPLES):
        for which in random.sample((0, 1), 2):
            took[which].append(_took(querying, reader, (one, other)[which](), clock))
    return float(wilcoxon(*took).pvalue)


def _differs(world: World, reader: Reader, one: Draw, other: Draw, seed: int, evened: bool = True) -> bool:
    random = Random(seed)
    return all(_p(world, reader, one, other, random, evened) < LEVEL for _ in range(IN_A_ROW))


@pytest.mark.parametrize("kind", ["hidden", "passed"])
def test_no_difference_shows_between_absent_and_not_shared(world: World, reader: Reader, ids: dict[str, list[UUID]], kind: str) -> None:
    random = Random(kind)
    assert not _differs(world, reader, uuid4, lambda: random.choice(ids[kind]), 1)


def test_one_more_look_up_would_show(world: World, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a build that looks some of the absent records up once more, in the transaction that is open anyway."""
    random, twice = Random(3), tuple(uuid4() for _ in range(200))
    asked, execute = set(map(str, twice)), Querying.execute

    def looking(self: Any, session: Any, path: str, arguments: Any, reach: Any) -> Any:
        if arguments[0] in asked:
            session.tx.rows("select * from hub.admit(%s)", (reader.client,))
        return execute(self, session, path, arguments, reach)

    monkeypatch.setattr(Querying, "execute", looking)
    monkeypatch.setattr(query, "wait_out", lambda _began: None)
    assert any(_differs(world, reader, uuid4, lambda: random.choice(twice), n, evened=False) for n in range(TRIES))
