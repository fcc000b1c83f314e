"""The whole trace of a record: for its owner and for auditors, the same as what readers then get, and nothing for anybody else."""

from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hub.agreements.activation import Activation
from tests.signing import OPERATOR
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"


@pytest.fixture(scope="module")
def ids(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "housing", "stranger"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])

    def fields() -> dict[str, Any]:  # made anew each time: the hub reads no aliases
        return {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": {"grid_m": 500}}

    many = [
        grant("fires", where=[{"field": "category", "one_of": ["fire"]}], fields=fields() | {"title": "clear"}),
        grant("recent", ["research", "safety"], fields=fields(), occurred={"lookback": "P30D"}),
        grant("by-case", ["court"], case_reference="required", actions=["query", "export"]),
    ]
    refuse = [
        {"id": "worst", "dataset": "incidents", "where": [{"field": "severity", "at_least": 5}]},
        {"id": "no-place", "dataset": "incidents", "where": [{"field": "severity", "at_least": 4}], "fields": ["place"]},
    ]
    world.mou(folder, "MOU-TRACED", "police", "health", many, refuse=refuse)
    world.mou(folder, "MOU-HOUSING", "police", "housing", [grant(purposes=["safety"], fields={"place": {"grid_m": 2000}})])
    future = {"from": (world.clock() + timedelta(days=9)).date(), "until": (world.clock() + timedelta(days=99)).date()}
    world.mou(folder, "MOU-LATER", "police", "housing", [grant(purposes=["later"])], in_force=future)
    world.mou(folder, "MOU-STOPPED", "police", "stranger", [grant(purposes=["stopped"])])
    world.services.lifecycle.suspend(OPERATOR, "MOU-STOPPED", 1, "a doubt")
    now = world.clock()
    some = [
        feature("old fire", category="fire", severity=2),
        feature("new theft", severity=4, occurred_at=(now - timedelta(hours=3)).isoformat()),
        feature("worst", category="fire", severity=5, occurred_at=(now - timedelta(hours=3)).isoformat()),
    ]
    return {r["external_id"]: r["id"] for r in world.publish("police", *some).json()["records"]}


def trace(world: World, who: str, record: str) -> Any:
    answer = world.http.get(f"{ITEMS}/{record}/trace", headers=world.bearer_for(who, "audit"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_clause_says_whether_it_holds_and_why_not(world: World, ids: dict[str, str]) -> None:
    found = trace(world, "police", ids["old fire"])
    told = {c.get("grant", c.get("refusal")) + "@" + c["mou"]: (c["holds"], c.get("why_not"), c.get("missed")) for c in found["clauses"]}
    conditions = "the record does not meet its conditions"
    assert told == {
        "fires@MOU-TRACED": (True, None, None),
        "recent@MOU-TRACED": (False, "the record is outside its window", []),
        "by-case@MOU-TRACED": (True, None, None),
        "worst@MOU-TRACED": (False, conditions, ["severity__at_least"]),
        "no-place@MOU-TRACED": (False, conditions, ["severity__at_least"]),
        "all@MOU-HOUSING": (True, None, None),
        "all@MOU-LATER": (False, "its MOU is outside its period", []),
        "all@MOU-STOPPED": (False, "its MOU is suspended", []),
    }
    assert (found["provider"], found["id"]) == ("police", ids["old fire"])


@pytest.mark.parametrize("name", ["old fire", "new theft", "worst"])
def test_the_trace_is_what_readers_get(world: World, ids: dict[str, str], name: str) -> None:
    """For every reader and purpose: shown or absent, and each field as the trace says."""
    told = {(r["organisation"], r["purpose"], r["action"]): r for r in trace(world, "police", ids[name])["readers"]}
    for reader, purpose in product(("health", "housing", "stranger"), ("research", "safety", "later", "stopped")):
        answer = world.get(reader, purpose, f"{ITEMS}/{ids[name]}/explain")
        expected = told.pop((reader, purpose, "query"), None)
        assert (answer.status_code == 200) == (expected is not None), (reader, purpose, answer.text)
        if expected:
            given = {f["name"]: f["treatment"] for f in answer.json()["fields"] if f["treatment"] != "withhold"}
            assert given == expected["fields"], (reader, purpose)
    left = {("health", "court", "query"), ("health", "court", "export")}
    assert set(told) == (left if name != "worst" else set())
    assert all(r["case_required"] for r in told.values())


def test_an_auditor_gets_the_same_trace_and_no_value(world: World, ids: dict[str, str]) -> None:
    mine, theirs = (trace(world, who, ids["new theft"]) for who in ("police", "watch"))
    assert mine == theirs
    assert "theft" not in str(theirs)
    assert "2021" not in str(theirs)


def test_others_get_the_one_answer_for_what_is_absent(world: World, ids: dict[str, str]) -> None:
    absent = world.http.get(f"{ITEMS}/6f0f4a44-0000-4000-8000-000000000000/trace", headers=world.bearer_for("health", "audit"))
    for record in ids.values():
        answer = world.http.get(f"{ITEMS}/{record}/trace", headers=world.bearer_for("health", "audit"))
        assert (answer.status_code, answer.json()) == (404, absent.json())
    assert world.http.get(f"{ITEMS}/{ids['worst']}/trace", headers=world.bearer("health", "research")).status_code == 404
    assert world.http.get(f"{ITEMS}/{ids['worst']}/trace").status_code == 401


def test_a_trace_is_in_the_log_before_it_is_told(world: World, ids: dict[str, str]) -> None:
    trace(world, "watch", ids["worst"])
    world.http.get(f"{ITEMS}/6f0f4a44-0000-4000-8000-000000000000/trace", headers=world.bearer_for("watch", "audit"))
    permitted, absent = world.leaves(type="audit", organisation="watch")[-2:]
    assert (permitted["decision"], absent["decision"]) == ("permit", "absent")
    assert permitted["asked"] == absent["asked"] == {"as": "trace", "fields": ["record"]}


def test_a_record_that_is_shared_with_nobody_has_no_clauses(world: World, ids: dict[str, str], tmp_path: Path) -> None:
    record = world.publish("stranger", feature("alone")).json()["records"][0]["id"]
    found = trace(world, "stranger", record)
    assert (found["readers"], found["clauses"]) == ([], [])


@pytest.mark.parametrize("how", ["ended", "replaced"])
def test_what_ended_holds_nothing_though_its_rules_are_still_there(
    world: World, ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """As when the hub is killed between the step and taking the rules away, which it goes on with when it serves again."""
    slug = f"leaver-{how}"
    world.organisation(slug)
    name = f"MOU-{slug.upper()}"
    world.mou(tmp_path, name, "police", slug, [grant("first")])
    told = lambda: [c for c in trace(world, "police", ids["old fire"])["clauses"] if c["recipient"] == slug]  # noqa: E731
    readers = lambda: [r for r in trace(world, "police", ids["old fire"])["readers"] if r["organisation"] == slug]  # noqa: E731
    assert [(c["grant"], c["holds"]) for c in told()] == [("first", True)]
    with monkeypatch.context() as cut_off:
        cut_off.setattr(Activation, "sweep", lambda *_: None)
        if how == "ended":
            world.services.lifecycle.terminate(OPERATOR, name, 1, "done")
        else:
            world.mou(tmp_path, name, "police", slug, [grant("second", ["other"])], version=2)
    after = {c["grant"]: (c["holds"], c.get("why_not")) for c in told()}
    assert after["first"] == (False, "its MOU was ended or replaced")
    assert [r["purpose"] for r in readers()] == ([] if how == "ended" else ["other"])
    assert world.get(slug, "research", f"{ITEMS}/{ids['old fire']}/explain").status_code == 404
    world.services.lifecycle.activation.resume(world.clock())
    assert [c["grant"] for c in told()] == ([] if how == "ended" else ["second"])
