"""Absent and not shared take the same time, as far as one more look-up in the same build could be told.

One comparison: 400 pairs of requests, one of each kind, in random order within a pair; Wilcoxon's signed-rank test on the
differences of their times, two-sided, at p < 0.001. Pairs, because a machine's speed drifts: Mann–Whitney's U on the same times missed
an extra look-up on a busy machine that the pairs showed. A difference counts when two fresh samples in a row show it: a false alarm has
a chance of 0.001² = 10⁻⁶ per comparison. The control, a build that does not wait for the beat, must be found by the same rule, in one of
six tries. In it the waits for a processor are taken off that the kernel counts, of this thread and of its PostgreSQL session.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from scipy.stats import wilcoxon

from hub.audit.leaf import By
from hub.errors import NotShared
from hub.sharing import query
from hub.sharing.query import Querying
from hub.sharing.reader import Reader
from tests.world import World, feature, grant

SAMPLES, LEVEL, IN_A_ROW, TRIES = 400, 0.001, 2, 6
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
    token = world.services.verifier.verify(world.bearer("reader", "research")["Authorization"], world.clock())
    return Reader(token.organisation_id, token.client_id, "research", By("reader", "reader"))


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


def _waits(pid: int) -> int:
    """Nanoseconds that this thread and the process `pid` have stood ready without a processor (nothing where no kernel counts it)."""
    found = 0
    for path in (Path("/proc/thread-self/schedstat"), Path(f"/proc/{pid}/schedstat")):
        with suppress(OSError):
            found += int(path.read_text().split()[1])
    return found


def _took(querying: Querying, reader: Reader, wanted: UUID, pid: int | None) -> int:
    waited = _waits(pid) if pid else 0
    began = time.perf_counter_ns()
    try:
        querying.item(reader, wanted)
    except NotShared:
        return time.perf_counter_ns() - began - (_waits(pid) - waited if pid else 0)
    raise AssertionError("this record should not have been shown")


def _session(world: World) -> int:
    """The process that serves the pooled connection which the next request takes."""
    pooled = world.database.reader.raw_connection()
    try:
        return int(pooled.dbapi_connection.info.backend_pid)  # type: ignore[union-attr]
    finally:
        pooled.close()


def _p(world: World, reader: Reader, one: Draw, other: Draw, random: Random, evened: bool) -> float:
    """How likely times as unlike as these are when there is no difference."""
    querying, pid = world.services.datasets["incidents"].querying, None if evened else _session(world)
    took: tuple[list[int], list[int]] = ([], [])
    for _ in range(20):
        _took(querying, reader, uuid4(), pid)
    for _ in range(SAMPLES):
        for which in random.sample((0, 1), 2):
            took[which].append(_took(querying, reader, (one, other)[which](), pid))
    return float(wilcoxon(*took).pvalue)


def _differs(world: World, reader: Reader, one: Draw, other: Draw, seed: int, evened: bool = True) -> bool:
    random = Random(seed)
    return all(_p(world, reader, one, other, random, evened) < LEVEL for _ in range(IN_A_ROW))


@pytest.mark.parametrize("kind", ["hidden", "passed"])
def test_no_difference_shows_between_absent_and_not_shared(world: World, reader: Reader, ids: dict[str, list[UUID]], kind: str) -> None:
    random = Random(kind)
    assert not _differs(world, reader, uuid4, lambda: random.choice(ids[kind]), 1)


def test_one_more_look_up_would_show(world: World, reader: Reader, ids: dict[str, list[UUID]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a build that looks an existing record up once more, by its id, in the transaction that is open anyway."""
    random, existing = Random(3), set(map(str, ids["hidden"]))
    execute = Querying._execute

    def looking(self: Any, session: Any, path: str, arguments: Any, reach: Any) -> Any:
        if arguments[0] in existing:
            session.tx.rows("select * from hub.admit(%s)", (reader.client,))
        return execute(self, session, path, arguments, reach)

    monkeypatch.setattr(Querying, "_execute", looking)
    monkeypatch.setattr(query, "wait_out", lambda _began: None)
    assert any(_differs(world, reader, uuid4, lambda: random.choice(ids["hidden"]), n, evened=False) for n in range(TRIES))
