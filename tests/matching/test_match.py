"""A value that is known can be looked up in what agreements let one ask about; everything else is "no match"."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.agreements.store import Actor
from hub.audit.leaf import By
from hub.workers.matching import Matching
from tests.world import World, feature, grant

HERE = "/collections/incidents/match"
PHONE = "+44 113 496 0000"
PERSON = {"name": "Zoë O'Brien", "birth_date": "1990-12-31"}
ASK = {"field": "phone", "value": "+441134960000"}
ONLY = {"phone": "match_only", "people": "match_only", "vehicles": "match_only"}


def lookups(identifier: str = "ask", fields: Any = ONLY, **more: Any) -> dict[str, Any]:
    return grant(identifier, **({"actions": ["match"], "fields": fields} | more))


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """health may ask the police and sees nothing, housing may ask the fire service and is shown what matched, research may not ask."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "fire", "health", "housing", "city"):
        world.organisation(slug)
    world.organisation("inspector", "auditor", ("audit",))
    world.mou(folder, "MOU-ASK", "police", "health", [lookups()])
    shown = ONLY | {"category": "clear", "occurred_at": {"round_to": "P1D"}, "place": {"grid_m": 500}, "narrative": "clear"}
    world.mou(folder, "MOU-SHOW", "fire", "housing", [lookups(fields=shown)])
    world.mou(folder, "MOU-READ", "police", "city", [grant(fields={"category": "clear", "place": {"grid_m": 500}, "phone": "clear"})])
    sent = [
        feature("A-1", phone=PHONE, people=[PERSON | {"role": "caller"}], vehicles=[{"plate": "AB12 CDE"}, {"plate": "x-1"}]),
        feature("A-2", phone="+44 113 496 0001", people=[{"name": "Zoe O'Brien"}, {"name": "Somebody", "birth_date": "1990-12-31"}]),
        feature("A-3", category="fire"),
    ]
    assert world.publish("police", *sent).status_code == 201
    assert world.publish("fire", feature("F-1", phone=PHONE, narrative="Smoke"), feature("F-2", phone=PHONE)).status_code == 201
    return world


def ask(world: World, client: str, question: Any, purpose: str = "research", **headers: str) -> Any:
    return world.http.post(HERE, json=question, headers=world.bearer(client, purpose) | headers)


def matched(world: World, client: str, question: Any) -> bool:
    answer = ask(world, client, question)
    assert answer.status_code == 200, answer.text
    found: bool = answer.json()["match"]
    return found


@pytest.mark.parametrize(
    "question",
    [
        ASK,
        {"field": "phone", "value": "+44 (0)113 496-0000"},
        {"field": "vehicles", "plate": "ab-12 cde"},
        {"field": "vehicles", "plate": "X1"},
        {"field": "people", "name": "zoe obrien", "birth_date": "1990-12-31"},
    ],
)
def test_a_value_that_occurs_matches_however_it_is_written_and_nothing_of_the_record_is_shown(shared: World, question: Any) -> None:
    answer = ask(shared, "health", question)
    assert answer.json() == {"match": True, "providers": ["police"], "records": []}


@pytest.mark.parametrize(
    "question",
    [
        {"field": "phone", "value": "+44 113 496 0002"},
        {"field": "vehicles", "plate": "AB12CDF"},
        {"field": "people", "name": "Zoë O'Brien", "birth_date": "1990-12-30"},
        {"field": "people", "name": "Somebody Else", "birth_date": "1990-12-31"},
    ],
)
def test_a_value_that_does_not_occur_does_not_match(shared: World, question: Any) -> None:
    assert ask(shared, "health", question).json() == {"match": False, "providers": [], "records": []}


def test_what_matches_is_shown_as_the_grant_says(shared: World) -> None:
    answer = ask(shared, "housing", ASK).json()
    assert (answer["match"], answer["providers"]) == (True, ["fire"])
    found = {f["properties"].get("narrative"): f for f in answer["records"]}
    assert set(found) == {"Smoke", None}
    one = found["Smoke"]
    assert one["properties"]["occurred_at"] == "2021-03-04T00:00:00+00:00"
    assert one["properties"]["place_grid_m"] == 500
    assert "phone" not in one["properties"]


def test_who_may_only_read_may_not_ask(shared: World) -> None:
    answer = ask(shared, "city", ASK)
    assert answer.status_code == 403
    assert "lets your organisation ask for values" in answer.json()["detail"]


def test_another_purpose_does_not_match(shared: World) -> None:
    assert ask(shared, "health", ASK, "another-purpose").status_code == 403


def test_a_match_is_told_in_two_leaves_of_the_owner(shared: World) -> None:
    before = len(shared.leaves())
    assert matched(shared, "health", ASK)
    tested, disclosed = shared.leaves()[before:]
    assert [leaf["type"] for leaf in (tested, disclosed)] == ["match", "match"]
    assert {leaf["owner"] for leaf in (tested, disclosed)} == {"police"}
    assert tested["asked"]["as"] == "tested"
    assert tested["asked"]["fields"] == disclosed["asked"]["fields"] == ["phone"]
    assert tested["asked"]["literals"].startswith("sealed:")
    assert "1134960000" not in str((tested, disclosed))
    assert tested["shown"]["fields"] == {"phone": "tested"}
    assert disclosed["asked"] == {"as": "disclosed", "fields": ["phone"], "tested": tested["event"]}
    assert (disclosed["shown"]["count"], disclosed["shown"]["fields"]) == (1, {"phone": "match_only"})
    assert tested["under"] == disclosed["under"]
    assert tested["under"][0]["mou"] == "MOU-ASK"


def test_a_lookup_that_finds_nothing_leaves_its_leaf_with_the_owner(shared: World) -> None:
    before = len(shared.leaves())
    assert not matched(shared, "health", {"field": "vehicles", "plate": "NOWHERE 1"})
    (tested,) = shared.leaves()[before:]
    assert (tested["owner"], tested["asked"]["as"], tested["decision"]) == ("police", "tested", "permit")


def test_the_leaf_is_signed_and_comes_with_the_answer(shared: World) -> None:
    for question in (ASK, {"field": "vehicles", "plate": "NOWHERE 1"}):
        assert "signature=:" in ask(shared, "health", question).headers["audit-receipt"]


def stored(world: World, name: str) -> list[tuple[Any, ...]]:
    with world.superuser() as admin:
        statement = "select b.field, b.tag from hub.incidents_blind b join hub.incidents i using (id) where external_id = :n order by 1, 2"
        return [tuple(row) for row in admin.execute(sa.text(statement), {"n": name})]


def test_the_index_follows_the_record(shared: World) -> None:
    (record,) = shared.publish("police", feature("I-1", phone="+44 20 7946 0001")).json()["records"]
    one = {"field": "phone", "value": "+44 20 7946 0001"}
    other = {"field": "phone", "value": "+44 20 7946 0002"}
    assert (matched(shared, "health", one), matched(shared, "health", other)) == (True, False)
    shared.publish("police", feature("I-1", phone="+44 20 7946 0002"))
    assert (matched(shared, "health", one), matched(shared, "health", other)) == (False, True)
    shared.publish("police", feature("I-1"))
    assert stored(shared, "I-1") == []
    shared.publish("police", feature("I-1", phone="+44 20 7946 0001"))
    path, headers = f"/collections/incidents/items/{record['id']}", shared.bearer("police") | {"If-Match": "*"}
    assert shared.http.delete(path, headers=headers).is_success
    assert not matched(shared, "health", one)
    shared.publish("police", feature("I-1", phone="+44 20 7946 0001"))
    assert matched(shared, "health", one)
    orders = {"records": [record["id"]]}
    assert shared.http.post("/collections/incidents/shreds", json=orders, headers=shared.bearer("police")).status_code == 202
    assert not matched(shared, "health", one)
    with shared.superuser() as admin:
        left = "select count(*) from hub.incidents_blind b where not exists (select from hub.incidents i where i.id = b.id)"
        assert admin.exec_driver_sql(left).scalar_one() == 0


def test_values_that_share_a_tag_by_chance_are_not_taken_for_each_other(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    compare = Matching.compare

    def counted(self: Matching, field: int, said: Any, wanted: Any) -> list[bool]:
        seen.append(len(wanted))
        return compare(self, field, said, wanted)

    monkeypatch.setattr(Matching, "compare", counted)
    many = [feature(f"C-{n}", phone=f"+44 20 7946 {n:04d}") for n in range(1_000, 1_600)]
    assert shared.publish("police", *many).status_code == 201
    found = [matched(shared, "health", {"field": "phone", "value": f"+44 20 7946 {n:04d}"}) for n in range(1_590, 1_610)]
    assert found == [True] * 10 + [False] * 10
    assert sum(seen) > 20, "tags of 8 bits for 600 numbers are shared"


def test_a_refusal_holds_for_lookups(shared: World, tmp_path: Path) -> None:
    shared.organisation("shelter")
    refuse = [{"id": "no-fires", "dataset": "incidents", "where": [{"field": "category", "one_of": ["fire"]}]}]
    shared.mou(tmp_path, "MOU-REFUSE", "police", "shelter", [lookups()], refuse=refuse)
    shared.publish("police", feature("R-1", phone="+44 20 7946 0101"), feature("R-2", category="fire", phone="+44 20 7946 0102"))
    asked = [{"field": "phone", "value": f"+44 20 7946 010{n}"} for n in (1, 2)]
    assert [matched(shared, "shelter", q) for q in asked] == [True, False]


def test_conditions_and_windows_hold_for_lookups(shared: World, tmp_path: Path) -> None:
    shared.organisation("north")
    where = [{"field": "category", "one_of": ["theft"]}]
    fields = ONLY | {"occurred_at": "clear", "category": "clear"}
    shared.mou(tmp_path, "MOU-WHERE", "police", "north", [lookups(where=where, fields=fields, occurred={"lookback": "P30D"})])
    old, other, fresh = (f"+44 20 7946 020{n}" for n in range(3))
    today = shared.clock().isoformat()
    shared.publish(
        "police",
        feature("W-1", phone=old),
        feature("W-2", phone=other, category="assault", occurred_at=today),
        feature("W-3", phone=fresh, occurred_at=today),
    )
    assert [matched(shared, "north", {"field": "phone", "value": v}) for v in (old, other, fresh)] == [False, False, True]


def test_a_suspended_agreement_matches_nothing_at_once(shared: World, tmp_path: Path) -> None:
    shared.organisation("south")
    shared.mou(tmp_path, "MOU-SOUTH", "police", "south", [lookups()])
    assert matched(shared, "south", ASK)
    shared.services.lifecycle.suspend(Actor("police", By("police", "police")), "MOU-SOUTH", 1, "A doubt")
    assert ask(shared, "south", ASK).status_code == 403


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "field"),
        ({"field": "narrative", "value": "x"}, "field"),
        ({"field": "phone"}, "value"),
        ({"field": "phone", "value": "0113 496 0000"}, "value"),
        ({"field": "phone", "value": "nobody"}, "value"),
        ({"field": "phone", "value": PHONE, "name": "Z"}, "name"),
        ({"field": "people", "name": "Z"}, "birth_date"),
        ({"field": "people", "name": "Z", "birth_date": "1990-02-30"}, "birth_date"),
        ({"field": "people", "name": "…", "birth_date": "1990-02-03"}, "name"),
        ({"field": "vehicles", "plate": "-"}, "plate"),
        ({"field": "phone", "value": PHONE, "fuzzy": True}, "fuzzy"),
        ({"field": "phone", "value": ["+44"]}, "value"),
    ],
)
def test_a_question_that_cannot_be_asked_names_its_place(shared: World, question: Any, field: str) -> None:
    answer = ask(shared, "health", question)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_a_question_in_another_form_is_refused(shared: World) -> None:
    headers = shared.bearer("health", "research") | {"Content-Type": "text/plain"}
    assert shared.http.post(HERE, content=b"{}", headers=headers).status_code == 415


def test_where_the_log_cannot_be_written_nothing_is_compared(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    monkeypatch.setattr(Matching, "compare", lambda *said: compared.append(said) or [])
    with shared.superuser() as admin:
        admin.exec_driver_sql(
            "create function hub.full() returns trigger language plpgsql as"
            " $$ begin raise exception 'full' using errcode = '53100'; end $$;"
            " create trigger full_disk before insert on hub.audit_leaves for each statement execute function hub.full()"
        )
    try:
        answer = ask(shared, "health", ASK)
    finally:
        with shared.superuser() as admin:
            admin.exec_driver_sql("drop trigger full_disk on hub.audit_leaves; drop function hub.full()")
    assert answer.status_code == 503
    assert compared == []


def test_ids_of_records_are_uuids_in_what_is_shown(shared: World) -> None:
    assert all(UUID(f["id"]) for f in ask(shared, "housing", ASK).json()["records"])
