"""Labels are those of a full recomputation after any sequence of steps: publishing, revising, withdrawing, versions that come into
force batch by batch, are cut off and go on.
"""

from collections.abc import Callable, Iterator
from itertools import count as counting
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.agreements.activation import Activation
from tests.agreements.relabelling import DEAD, WRONG, WRONG_NOW, activating, begin, count, step
from tests.world import World, feature, grant, mou_data
from tests.written import yaml_of

pytestmark = pytest.mark.unmeasured

PROVIDERS = ("police", "fire")
WHERE: list[Any] = [
    "everything",
    [{"field": "category", "one_of": ["theft"]}],
    [{"field": "severity", "at_most": 3}],
    [{"field": "category", "one_of": ["fire"]}, {"field": "severity", "at_least": 3}],
]
numbers = counting(1)


@pytest.fixture(scope="module")
def hub(world: World) -> Iterator[World]:
    for slug in (*PROVIDERS, "health"):
        world.organisation(slug)
    return world


def machine(hub: World, folder: Path, check: Callable[[bool], None]) -> type[RuleBasedStateMachine]:
    class Steps(RuleBasedStateMachine):
        @initialize()
        def fresh(self) -> None:
            self.prefix = f"L{next(numbers)}"
            self.records: dict[tuple[str, int], tuple[str, str]] = {}  # (id, ETag)
            self.versions: dict[tuple[str, str], int] = {}
            self.coming: dict[tuple[str, str], int] = {}

        @rule(
            provider=st.sampled_from(PROVIDERS),
            n=st.integers(0, 4),
            category=st.sampled_from(["theft", "fire"]),
            severity=st.sampled_from([None, 3, 4]),
        )
        def publish(self, provider: str, n: int, category: str, severity: int | None) -> None:
            made = feature(f"{self.prefix}-{n}", category=category, severity=severity, lon=-79.38 + n / 100)
            answer = hub.publish(provider, made)
            assert answer.status_code in (200, 201), answer.text
            receipt = answer.json()["records"][0]
            self.records[provider, n] = receipt["id"], f'"{receipt["revision"]}"'

        @precondition(lambda self: self.records)
        @rule(data=st.data())
        def withdraw(self, data: st.DataObject) -> None:
            key = data.draw(st.sampled_from(sorted(self.records)))
            number, etag = self.records.pop(key)
            answer = hub.http.delete(f"/collections/incidents/items/{number}", headers=hub.bearer(key[0]) | {"If-Match": etag})
            assert answer.status_code == 200, answer.text

        @rule(
            provider=st.sampled_from(PROVIDERS), where=st.lists(st.sampled_from(WHERE), min_size=1, max_size=3), name=st.sampled_from("AB")
        )
        def begin(self, provider: str, where: list[Any], name: str) -> None:
            key = provider, name
            if key in self.coming:
                return
            self.versions[key] = self.versions.get(key, 0) + 1
            path = folder / f"{self.prefix}-{provider}-{name}-{self.versions[key]}.yaml"
            grants = [grant(f"grant-{n}", where=w) for n, w in enumerate(where)]
            title = f"MOU-{self.prefix}-{provider.upper()}-{name}"
            path.write_bytes(yaml_of(mou_data(title, provider, "health", grants, version=self.versions[key])))
            self.coming[key] = begin(hub, path)

        @precondition(lambda self: self.coming)
        @rule(data=st.data(), records=st.integers(1, 4))
        def batch(self, data: st.DataObject, records: int) -> None:
            step(hub, self.coming[data.draw(st.sampled_from(sorted(self.coming)))], records)

        @precondition(lambda self: self.coming)
        @rule(data=st.data())
        def finish(self, data: st.DataObject) -> None:
            activating(hub).finish(self.coming.pop(data.draw(st.sampled_from(sorted(self.coming)))), hub.clock())

        @rule()
        def resume(self) -> None:
            activating(hub).resume(hub.clock())
            self.coming.clear()
            check(True)

        @invariant()
        def right(self) -> None:
            check(False)

    return Steps


def wrong(hub: World, settled: bool) -> int:
    """Records with other labels than they should have; `settled`: nothing is under way."""
    return count(hub, WRONG) + count(hub, DEAD) if settled else count(hub, WRONG_NOW)


def run(steps: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        steps,
        settings=settings(max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_labels_equal_their_recomputation_after_any_sequence_of_steps(hub: World, tmp_path: Path) -> None:
    def check(settled: bool) -> None:
        assert wrong(hub, settled) == 0

    run(machine(hub, tmp_path, check), 12)
    activating(hub).resume(hub.clock())
    check(True)


def test_a_position_that_runs_ahead_of_its_labels_is_noticed(hub: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the position is kept, the labels of the batch are not."""
    found: list[int] = []
    steps = machine(hub, tmp_path, lambda settled: found.append(wrong(hub, settled)))()
    steps.fresh()  # type: ignore[attr-defined]
    assert hub.publish("police", feature("ahead", category="theft")).status_code in (200, 201)
    monkeypatch.setattr(Activation, "_batch", _position_alone(Activation._batch))
    path = tmp_path / "ahead.yaml"
    path.write_bytes(yaml_of(mou_data("MOU-AHEAD", "police", "health", [grant(where="everything")])))
    begin(hub, path)
    steps.resume()  # type: ignore[attr-defined]
    steps.right()  # type: ignore[attr-defined]
    assert min(found) > 0


def _position_alone(batch: Callable[..., bool]) -> Callable[..., bool]:
    class Careless:
        def __init__(self, tx: Any) -> None:
            self.tx = tx

        def rows(self, statement: str, arguments: Any = ()) -> Any:
            if "_relabel(" not in statement:
                return self.tx.rows(statement, arguments)
            self.tx.rows("savepoint here")
            found = self.tx.rows(statement, arguments)
            self.tx.rows("rollback to savepoint here")
            return found

    return lambda self, tx, number: batch(self, Careless(tx), number)
