"""Random bodies, parameters and headers: a short run of tests/api/fuzz.py."""

import pytest

from tests.api.asking import ITEMS, ask
from tests.api.fuzz import CHECKS, check_query, partners_for, run
from tests.world import World

pytestmark = pytest.mark.unmeasured

COUNTS = {"bodies": 250, "queries": 250, "map queries": 120, "audit queries": 80, "headers": 60}


@pytest.fixture(scope="module")
def fuzzed(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    partners_for(world, tmp_path_factory.mktemp("mous"))
    return world


@pytest.mark.parametrize("name", list(CHECKS))
def test_whatever_is_sent_the_answer_is_a_success_or_a_clear_problem(fuzzed: World, name: str) -> None:
    seen = run(fuzzed, name, COUNTS[name], 1)
    assert sum(seen.values()) >= COUNTS[name] // 2
    assert len(seen) > 1, f"all answers were alike: {seen}"  # else the examples test nothing but one refusal


def test_what_was_stored_by_all_that_can_be_read(fuzzed: World) -> None:
    assert ask(fuzzed, "limit=1000").status_code == 200
    assert fuzzed.items("health", "research")


def test_a_defect_is_noticed(fuzzed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a hub that fails on one kind of query does not pass."""

    def broken(*_: object) -> None:
        raise RuntimeError("a canary")

    monkeypatch.setattr("hub.api.collections.page_query", broken)
    with pytest.raises(AssertionError):
        check_query(fuzzed, [("limit", "1")])
    answer = ask(fuzzed, "limit=1")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert ITEMS not in answer.text
