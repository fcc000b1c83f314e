"""Flags over HTTP: auditors see all and say what was made of them, owners see those about their own data; all of it is logged."""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

from hub.db import transaction
from tests.oversight.conftest import Story


@pytest.fixture(scope="module")
def flagged(story: Story) -> Story:
    """Flags about police's data (two), about ambulance's (one), and one of refusals."""
    story.walk("health")
    story.walk("housing")
    story.refused()
    story.look()
    return story


def told(found: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return sorted((f["kind"], f["organisation"], f.get("owner")) for f in found)  # type: ignore[arg-type]


def test_an_auditor_sees_every_flag_newest_first_with_its_reason_and_leaves(flagged: Story) -> None:
    found = flagged.flags("watch")
    assert [f["id"] for f in found] == sorted((f["id"] for f in found), reverse=True)
    assert [(f["kind"], f["organisation"]) for f in found if "owner" not in f] == [("refusals", "fire")]
    assert {(f["organisation"], f["owner"]) for f in found if "owner" in f} == {
        ("health", "police"),
        ("housing", "police"),
        ("housing", "ambulance"),
    }
    for flag in found:
        assert flag["state"] == "new"
        assert flag["client"] == flag["organisation"]
        assert f"{flag['leaves'][-1]['id']} of the log." in flag["reason"]
        event = flagged.ask("watch", "/audit/events", before=flag["leaves"][-1]["id"] + 1, limit=1).json()["events"][0]
        assert event["leaf"]["event"] == flag["leaves"][-1]["event"]


@pytest.mark.parametrize(("owner", "number"), [("police", 2), ("ambulance", 1), ("health", 0), ("fire", 0)])
def test_an_owner_sees_flags_about_its_own_data_and_no_other(flagged: Story, owner: str, number: int) -> None:
    found = flagged.flags(owner)
    assert [f["owner"] for f in found] == [owner] * number
    assert found == [f for f in flagged.flags("watch") if f.get("owner") == owner]
    assert flagged.flags(owner, owner=owner) == found
    for flag in flagged.flags("watch"):
        answer = flagged.ask(owner, f"/audit/flags/{flag['id']}")
        assert answer.status_code == (200 if flag in found else 404)
        if flag not in found:
            assert answer.content == flagged.ask(owner, "/audit/flags/999999").content


def test_every_leaf_that_an_owners_flag_cites_is_about_its_own_data(flagged: Story) -> None:
    own = {e["id"] for e in flagged.ask("ambulance", "/audit/events", limit=1000).json()["events"]}
    (flag,) = flagged.flags("ambulance")
    assert {leaf["id"] for leaf in flag["leaves"]} <= own
    assert "police" not in str(flag)


def test_another_owners_flags_are_refused_and_that_is_logged(flagged: Story) -> None:
    answer = flagged.ask("police", owner="ambulance")
    assert answer.status_code == 403
    assert (flagged.logged()[-1]["decision"], flagged.logged()[-1]["by"]["organisation"]) == ("refuse", "police")


def test_without_the_scope_nothing_is_told(flagged: Story) -> None:
    token = flagged.world.token_response("health", "research", "query").json()["access_token"]
    for method, path in (("GET", "/audit/flags"), ("GET", "/audit/flags/1"), ("POST", "/audit/flags/1/triage")):
        asked = {"headers": {"Authorization": f"Bearer {token}"}, "json": {"state": "explained"} if method == "POST" else None}
        answer = flagged.world.http.request(method, path, **asked)
        assert answer.status_code == 403
        assert flagged.world.http.request(method, path).status_code == 401


FILTERS: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({"kind": "walk"}, lambda f: f["kind"] == "walk"),
    ({"kind": "volume"}, lambda f: False),
    ({"organisation": "housing"}, lambda f: f["organisation"] == "housing"),
    ({"owner": "police"}, lambda f: f.get("owner") == "police"),
    ({"client": "fire"}, lambda f: f["client"] == "fire"),
    ({"person": "00000000-0000-4000-8000-000000000001"}, lambda f: False),
    ({"state": "new", "owner": "ambulance"}, lambda f: f.get("owner") == "ambulance"),
    ({"datetime": "2020-01-01T00:00:00Z/2020-02-01T00:00:00Z"}, lambda f: False),
    ({"datetime": "2020-01-01T00:00:00Z/.."}, lambda f: True),
]


@pytest.mark.parametrize(("given", "fits"), FILTERS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_filter_leaves_what_it_says(flagged: Story, given: dict[str, Any], fits: Callable[[dict[str, Any]], bool]) -> None:
    assert flagged.flags("watch", **given) == [f for f in flagged.flags("watch") if fits(f)]


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "odd"},
        {"state": "done"},
        {"limit": 0},
        {"before": "x"},
        {"datetime": "now"},
        {"client": "a", "person": "b"},
        {"more": "1"},
        {"owner": ""},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(flagged: Story, given: dict[str, Any]) -> None:
    answer = flagged.ask("watch", **given)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] in given


def test_pages_come_in_order_and_whole(flagged: Story) -> None:
    found, path, params = [], "/audit/flags", {"limit": 1}
    while True:
        answer = flagged.ask("watch", path, **params).json()
        found += answer["flags"]
        if not answer["links"]:
            break
        path, params = answer["links"][0]["href"].removeprefix(flagged.world.settings.base_url), {}
    assert found == flagged.flags("watch")


def triage(story: Story, client: str, number: int, body: Any) -> Any:
    return story.world.http.post(f"/audit/flags/{number}/triage", json=body, headers=story.world.bearer_for(client, "audit"))


def test_what_was_made_of_a_flag_is_added_to_its_history_and_to_the_log_of_its_owner(flagged: Story) -> None:
    flag = flagged.flags("watch", organisation="health")[0]
    assert triage(flagged, "watch", flag["id"], {"state": "looked-at"}).json()["state"] == "looked-at"
    answer = triage(flagged, "watch", flag["id"], {"state": "explained", "note": "A survey that was announced."})
    assert answer.status_code == 200, answer.text
    steps = [(step["state"], step["note"], step["organisation"], step["client"]) for step in answer.json()["history"]]
    assert steps == [("looked-at", "", "watch", "watch"), ("explained", "A survey that was announced.", "watch", "watch")]
    leaf = flagged.logged("flag")[-1]
    assert leaf["asked"] == {"step": "triaged", "flag": flag["id"], "state": "explained"}
    assert (leaf["owner"], leaf["by"]["organisation"]) == ("police", "watch")
    assert "survey" not in str(leaf)
    assert flagged.flags("watch", state="explained") == [{k: v for k, v in answer.json().items() if k != "history"}]
    assert flagged.ask("police", f"/audit/flags/{flag['id']}").json() == answer.json()


@pytest.mark.parametrize("owner", ["police", "ambulance", "health"])
def test_an_owner_says_nothing_about_a_flag_and_its_try_is_logged(flagged: Story, owner: str) -> None:
    flag = flagged.flags("watch", owner="police")[0]
    answer = triage(flagged, owner, flag["id"], {"state": "explained", "note": "Fine."})
    assert answer.status_code == 403
    assert (flagged.logged("flag")[-1]["decision"], flagged.logged("flag")[-1]["by"]["organisation"]) == ("refuse", owner)
    assert flagged.flags("watch", owner="police")[0] == flag


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"state": "new"},
        {"state": "odd"},
        {"state": "explained"},
        {"state": "escalated", "note": "  "},
        {"state": "looked-at", "note": "x" * 2_001},
        {"state": "looked-at", "more": 1},
    ],
)
def test_a_step_that_makes_no_sense_is_refused_and_changes_nothing(flagged: Story, body: Any) -> None:
    flag = flagged.flags("watch")[0]
    before = flagged.ask("watch", f"/audit/flags/{flag['id']}").json()
    assert triage(flagged, "watch", flag["id"], body).status_code == 400
    assert flagged.ask("watch", f"/audit/flags/{flag['id']}").json() == before


def test_a_flag_that_is_not_there_is_absent_and_the_try_is_logged(flagged: Story) -> None:
    for number in ("999999", "0", "x", "-1", "9" * 30):
        assert flagged.ask("watch", f"/audit/flags/{number}").status_code == 404
        assert flagged.logged()[-1]["decision"] == "absent"
    assert triage(flagged, "watch", 999999, {"state": "looked-at"}).status_code == 404


def test_each_reading_is_logged_and_without_a_log_nothing_is_told(flagged: Story) -> None:
    flag = flagged.flags("watch")[0]
    asks = [lambda: flagged.ask("watch"), lambda: flagged.ask("watch", f"/audit/flags/{flag['id']}")]
    asks.append(lambda: triage(flagged, "watch", flag["id"], {"state": "looked-at"}))
    for ask in asks:
        before = len(flagged.logged())
        assert ask().status_code == 200
        (leaf,) = flagged.logged()[before:]
        assert (leaf["asked"]["as"], leaf["decision"], leaf["by"]["organisation"]) == ("flags", "permit", "watch")
    history = flagged.ask("watch", f"/audit/flags/{flag['id']}").json()["history"]
    with flagged.world.superuser() as admin:
        admin.exec_driver_sql("revoke execute on function hub.audit_append from hub_auditor")
    try:
        for ask in asks:
            answer = ask()
            assert answer.status_code == 503
            assert flag["reason"] not in answer.text
    finally:
        with flagged.world.superuser() as admin:
            admin.exec_driver_sql("grant execute on function hub.audit_append to hub_auditor")
    assert flagged.ask("watch", f"/audit/flags/{flag['id']}").json()["history"] == history


@pytest.mark.parametrize("table", ["flags", "flag_steps"])
@pytest.mark.parametrize("change", ["update hub.{} set organisation = 'x'", "delete from hub.{}", "truncate hub.{} cascade"])
def test_a_flag_and_its_history_are_only_added_to(flagged: Story, table: str, change: str) -> None:
    with pytest.raises(psycopg2.Error, match="permission denied"), transaction(flagged.world.database.auditor) as tx:
        tx.rows(change.format(table))
    with pytest.raises(sa.exc.DBAPIError, match="only ever added to"), flagged.world.superuser() as admin:
        admin.exec_driver_sql(change.format(table))


def test_a_client_that_is_disabled_reads_no_flags(flagged: Story) -> None:
    flagged.world.organisation("gone", "auditor", ["audit"])
    assert flagged.ask("gone").status_code == 200
    with flagged.world.superuser() as admin:
        admin.exec_driver_sql("update hub.clients set disabled_at = now() where client_id = 'gone'")
    assert flagged.ask("gone").status_code == 401
    assert triage(flagged, "gone", 1, {"state": "looked-at"}).status_code == 401
