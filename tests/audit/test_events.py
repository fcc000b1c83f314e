"""`GET /audit/events`: an auditor reads everything, an owner what is about its own data, and reading is logged."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest

from tests.audit.conftest import ITEMS, Story


def leaves(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e["leaf"] for e in entries]


def test_an_auditor_reads_every_leaf_newest_first_exactly_as_it_is_stored(story: Story) -> None:
    answer = story.ask("auditor", limit=1000)
    entries = answer.json()["events"]
    assert [e["id"] for e in entries] == sorted((e["id"] for e in entries), reverse=True)
    assert {leaf.get("owner") for leaf in leaves(entries)} == {None, "police", "ambulance", "health", "housing"}
    assert {leaf["type"] for leaf in leaves(entries)} >= {"token", "publish", "query", "mou", "party-key", "audit"}
    for entry in entries:
        assert entry.keys() == {"id", "hash", "leaf"}
        # The hash is over the leaf's own bytes as they stand in the answer.
        text = json.dumps(entry["leaf"], separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        assert f'"leaf":{text}' in answer.text
        assert sha256(b"\x00" + text.encode()).hexdigest() == entry["hash"]


@pytest.mark.parametrize("owner", ["police", "ambulance"])
def test_an_owner_reads_the_leaves_about_its_own_data_and_no_other(story: Story, owner: str) -> None:
    own = story.events(owner)
    assert own
    assert {leaf["owner"] for leaf in leaves(own)} == {owner}
    assert own == [e for e in story.events("auditor") if e["leaf"].get("owner") == owner]
    assert story.events(owner, owner=owner) == own
    readers = {leaf["by"]["organisation"] for leaf in leaves(own) if leaf["type"] == "query"}
    assert readers == ({"health", "housing"} if owner == "police" else {"housing"})


def test_one_access_to_the_data_of_two_owners_is_two_leaves_and_neither_tells_of_the_other(story: Story) -> None:
    mine, theirs = (
        [leaf for leaf in leaves(story.events(owner, type="query")) if leaf["by"]["organisation"] == "housing"]
        for owner in ("police", "ambulance")
    )
    assert mine[0]["event"] == theirs[0]["event"]
    assert (mine[0]["shown"]["count"], theirs[0]["shown"]["count"]) == (2, 1)
    assert "ambulance" not in json.dumps(mine)
    assert "MOU-3" not in json.dumps(mine)
    assert "MOU-2" not in json.dumps(theirs)


@pytest.mark.parametrize("owner", ["ambulance", "health", "nobody", "auditor"])
def test_another_owners_leaves_are_refused_and_the_refusal_is_logged(story: Story, owner: str) -> None:
    before = story.events("auditor", type="audit")
    answer = story.ask("police", owner=owner)
    assert answer.status_code == 403
    assert "own data only" in answer.json()["detail"]
    newest = leaves(story.events("auditor", type="audit"))
    made = newest[1 : len(newest) - len(before)]  # but for the auditor's own look
    assert [(leaf["decision"], leaf["by"]["organisation"]) for leaf in made] == [("refuse", "police")]
    assert owner not in made[0]["reason"].split()


def test_a_partner_without_the_scope_is_refused(story: Story) -> None:
    token = story.world.token_response("health", "research", "query").json()["access_token"]
    answer = story.world.http.get("/audit/events", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert "needs the scope audit" in answer.json()["detail"]


def test_a_partner_that_owns_nothing_reads_of_its_agreements_and_keys_alone(story: Story) -> None:
    assert {leaf["type"] for leaf in leaves(story.events("health"))} == {"mou", "party-key"}
    assert {u["mou"] for leaf in leaves(story.events("health")) for u in leaf.get("under", ())} == {"MOU-1"}


def test_who_saw_a_record_in_any_of_its_revisions(story: Story) -> None:
    found = leaves(story.events("police", record=story.ids["A"]))
    kinds = [(leaf["type"], leaf["by"]["organisation"]) for leaf in found]
    assert kinds == [("query", "housing"), ("query", "health"), ("publish", "police"), ("query", "health"), ("publish", "police")]
    assert [(leaf["type"], leaf["by"]["organisation"]) for leaf in leaves(story.events("police", record=story.ids["B"]))] == [
        ("query", "housing"),
        ("query", "health"),
        ("publish", "police"),
    ]
    assert story.events("auditor", record=story.ids["A"]) == story.events("police", record=story.ids["A"])
    assert [leaf["by"]["organisation"] for leaf in leaves(story.events("police", record=story.ids["A"], type="query"))] == [
        "housing",
        "health",
        "health",
    ]


def test_who_saw_anothers_record_is_not_told_from_who_saw_none(story: Story) -> None:
    answers = [story.ask("police", record=record) for record in (story.ids["C"], str(uuid4()), "7", story.ids["C"].upper())]
    assert [a.status_code for a in answers] == [404] * 4
    assert len({a.content for a in answers}) == 1
    assert len({json.dumps(dict(a.headers), sort_keys=True) for a in answers}) == 1
    newest = leaves(story.events("auditor", type="audit", organisation="police"))[:4]
    assert {(leaf["decision"], json.dumps(leaf["asked"])) for leaf in newest} == {("absent", '{"fields": ["record"]}')}
    assert story.ask("auditor", record=story.ids["C"]).status_code == 200
    assert story.ask("auditor", record=str(uuid4())).status_code == 404


def test_what_was_asked_for_in_vain_is_in_the_hubs_own_log_without_an_owner(story: Story) -> None:
    (absent,) = [leaf for leaf in leaves(story.events("auditor", type="query", organisation="health")) if leaf["decision"] == "absent"]
    assert absent.keys().isdisjoint({"owner", "under", "shown"})
    assert story.ids["C"] not in json.dumps(absent)  # literals are sealed
    assert absent["asked"]["fields"] == ["id"]
    assert absent["asked"]["literals"].startswith("sealed:")


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_pages_go_on_before_the_last_and_hold_everything_once(story: Story, limit: int) -> None:
    """An owner's part does not grow while it is read: its own reading is in the hub's log, not in its part."""
    whole = story.events("police", limit=1000)
    assert len(whole) >= 6
    assert story.events("police", limit=limit) == whole
    assert story.events("police", limit=limit, type="query") == [e for e in whole if e["leaf"]["type"] == "query"]
    assert story.events("police", limit=limit, record=story.ids["B"]) == story.events("police", record=story.ids["B"])


def test_a_following_page_keeps_every_parameter_that_was_given(story: Story) -> None:
    given = {"datetime": "2020-01-01T00:00:00+05:30/..", "limit": "1", "type": "publish", "owner": "police"}
    answer = story.ask("auditor", **given)
    (link,) = answer.json()["links"]
    assert dict(parse_qsl(urlsplit(link["href"]).query)) == given | {"before": str(answer.json()["events"][-1]["id"])}
    odd = story.ask("auditor", organisation="x&type=publish", type="a b+%&=#")
    assert (odd.json()["events"], odd.json()["links"]) == ([], [])


def test_filters_pick_what_they_name(story: Story) -> None:
    whole = story.events("auditor")

    def ids(entries: list[dict[str, Any]]) -> list[int]:
        return [e["id"] for e in entries]

    assert ids(story.events("auditor", organisation="health")) == [
        e["id"] for e in whole if e["leaf"]["by"].get("organisation") == "health"
    ]
    assert ids(story.events("auditor", type="publish", owner="ambulance")) == [
        e["id"] for e in whole if e["leaf"]["type"] == "publish" and e["leaf"]["owner"] == "ambulance"
    ]
    assert story.events("auditor", type="no-such-type") == []
    assert story.events("auditor", datetime="../2020-01-01T00:00:00Z") == []
    assert ids(story.events("auditor", datetime="2020-01-01T00:00:00Z/..", type="mou")) == [
        e["id"] for e in whole if e["leaf"]["type"] == "mou"
    ]


def cited(leaf: dict[str, Any]) -> list[str]:
    return [u["mou"] for u in leaf.get("under", ())]


MEMBERS: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "client": ("housing", lambda leaf: leaf["by"].get("client") == "housing"),
    "mou": ("MOU-2", lambda leaf: "MOU-2" in cited(leaf)),
    "purpose": ("safety", lambda leaf: leaf.get("purpose") == "safety"),
    "decision": ("absent", lambda leaf: leaf["decision"] == "absent"),
    "dataset": ("incidents", lambda leaf: leaf.get("dataset") == "incidents"),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_each_member_of_a_leaf_can_be_asked_for_exactly(story: Story, name: str) -> None:
    value, fits = MEMBERS[name]
    whole = story.events("auditor", datetime="../2098-01-01T00:00:00Z")
    wanted = [e["id"] for e in whole if fits(e["leaf"])]
    found = [e["id"] for e in story.events("auditor", **{name: value})]
    assert wanted
    assert [i for i in found if i <= whole[0]["id"]] == wanted
    assert story.events("auditor", **{name: f"{value}x"}) == [] if name != "decision" else True
    assert story.events("auditor", **{name: value[:-1]}) == [] if name != "decision" else True


def test_a_session_is_found_by_its_id(story: Story) -> None:
    session = story.events("auditor", type="query", organisation="housing")[0]["leaf"]["by"]["session"]
    found = leaves(story.events("auditor", session=session))
    assert found
    assert {leaf["by"]["session"] for leaf in found} == {session}


def test_an_area_finds_those_who_asked_about_one_touching_it_and_with_placeless_those_who_named_none(story: Story) -> None:
    assert story.world.items("health", "research", bbox="-79.5,43.6,-79.3,43.7")
    (touched,) = leaves(story.events("auditor", bbox="-79.31,43.69,-79,43.9"))
    assert touched["asked"]["extent"] == [-79.5, 43.6, -79.3, 43.7]
    assert story.events("auditor", bbox="-79.29,43.71,-79,43.9") == []
    with_none = leaves(story.events("auditor", bbox="-79.29,43.71,-79,43.9", placeless="true", type="query"))
    assert with_none
    assert all("extent" not in leaf["asked"] for leaf in with_none)


def test_areas_across_the_antimeridian_are_found_from_both_of_its_sides(story: Story) -> None:
    assert story.world.items("health", "research", bbox="170,-50,-170,-40") == []
    for box in ("175,-45,176,-44", "-176,-45,-175,-44", "179,-45,-179,-44"):
        (touched,) = leaves(story.events("auditor", bbox=box))
        assert touched["asked"]["extent"] == [170, -50, -170, -40]
    assert story.events("auditor", bbox="179,-39,-179,-38") == []


@pytest.mark.parametrize("given", [{"mou": "MOU-3"}, {"client": "ambulance"}, {"purpose": "safety", "dataset": "incidents"}, {}])
def test_no_filter_shows_an_owner_what_is_about_others(story: Story, given: dict[str, str]) -> None:
    shown = json.dumps(story.events("police", **given))
    assert "MOU-3" not in shown
    assert '"owner": "ambulance"' not in shown
    assert "MOU-3" in json.dumps(story.events("auditor", **given)) or given == {"client": "ambulance"}


def test_a_moment_is_an_interval_of_one_instant_with_both_ends_in_it(story: Story) -> None:
    (newest, *_) = story.events("auditor", type="publish")
    at = newest["leaf"]["at"]
    assert [e["id"] for e in story.events("auditor", datetime=at)] == [newest["id"]]
    assert newest["id"] in [e["id"] for e in story.events("auditor", datetime=f"{at}/{at}")]


@pytest.mark.parametrize("client", ["auditor", "police", "health"])
def test_reading_the_log_is_logged_before_it_is_answered(story: Story, client: str) -> None:
    before = len(story.world.leaves(type="audit"))
    assert story.ask(client, type="query", datetime="2020-01-01T00:00:00Z/..").status_code == 200
    leaf = story.world.leaves(type="audit")[before:][-1]
    assert (leaf["decision"], leaf["by"]["organisation"], leaf["asked"]) == ("permit", client, {"fields": ["datetime", "type"]})
    assert "owner" not in leaf


def test_an_auditor_sees_its_own_look_in_what_it_gets(story: Story) -> None:
    newest = story.ask("auditor", limit=1).json()["events"][0]["leaf"]
    assert (newest["type"], newest["by"]["organisation"]) == ("audit", "auditor")


def test_an_auditor_reads_no_records(story: Story) -> None:
    headers = {"Authorization": f"Bearer {story.world.tokens['audit', 'auditor']}"}
    assert story.world.http.get(ITEMS, headers=headers).status_code == 403
    assert story.world.token_response("auditor", "research", "query").json()["error"] == "invalid_scope"


REFUSED = {
    "limit=0": "limit",
    "limit=1001": "limit",
    "limit=x": "limit",
    "before=0": "before",
    "before=-1": "before",
    "before=99999999999999999999": "before",
    "before=1.5": "before",
    "datetime=yesterday": "datetime",
    "datetime=2021-01-02T00:00:00Z/2021-01-01T00:00:00Z": "datetime",
    "owner=": "owner",
    "owner=a%00b": "owner",
    "organisation=%00": "organisation",
    "organisation=": "organisation",
    "type=%00": "type",
    "type=" + "x" * 8_001: "type",
    "type=a&type=b": "type",
    "case=": "case",
    "client=%00": "client",
    "session=": "session",
    "mou=" + "x" * 8_001: "mou",
    "purpose=%00": "purpose",
    "dataset=": "dataset",
    "person=somebody": "person",
    "person=": "person",
    "decision=maybe": "decision",
    "decision=": "decision",
    "bbox=1,2,3": "bbox",
    "bbox=-79,44,-78,43": "bbox",
    "bbox=nan,0,1,1": "bbox",
    "placeless=yes": "placeless",
    "after=1": "after",
    "record=1&records=2": "records",
}


@pytest.mark.parametrize(("query", "field"), REFUSED.items(), ids=[q[:30] for q in REFUSED])
@pytest.mark.parametrize("client", ["auditor", "police"])
def test_a_senseless_parameter_is_refused_by_name_and_nothing_is_read(story: Story, client: str, query: str, field: str) -> None:
    story.ask(client)
    before = len(story.world.leaves())
    headers = {"Authorization": f"Bearer {story.world.tokens['audit', client]}"}
    answer = story.world.http.get(f"/audit/events?{query}", headers=headers)
    assert answer.status_code == 400, answer.text
    assert [e["field"] for e in answer.json()["errors"]] == [field]
    assert len(story.world.leaves()) == before
