"""Duties: what a reader is told it owes, what is kept of what it was given, and what it answers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hub.agreements import recalls
from hub.audit.log import Log, send
from hub.errors import Unavailable
from hub.sharing import disclosure
from tests.agreements.duties import FIRST, agreed, delivered, item, notices, published
from tests.agreements.parties import Party
from tests.commands import Run, refused, serving
from tests.world import World, feature, grant


@pytest.fixture(scope="module")
def parties(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Party, Party]:
    return agreed(world, tmp_path_factory.mktemp("mous"))


# --- what a reader is told -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("parties")
def test_a_record_under_duties_says_until_when_it_may_be_kept(world: World) -> None:
    _, record = published(world)
    before = datetime.now(UTC)
    said = item(world, record).json()["duties"]
    assert (said["onward"], said["refrain"]) == ("forbid", ["NOREUSE"])
    kept = datetime.fromisoformat(said["retain_until"]) - before
    assert timedelta(days=90) - timedelta(seconds=1) <= kept <= timedelta(days=90, seconds=20)


@pytest.mark.usefixtures("parties")
def test_of_several_grants_the_strictest_duty_holds(world: World) -> None:
    _, record = published(world, category="fraud")
    said = item(world, record).json()["duties"]
    assert said["refrain"] == ["NORELINK", "NOREUSE"]
    assert datetime.fromisoformat(said["retain_until"]) < datetime.now(UTC) + timedelta(days=1)


def test_a_record_without_duties_says_nothing_and_nothing_is_kept(world: World, parties: tuple[Party, ...]) -> None:
    _, record = published(world, category="fire")
    assert "duties" not in item(world, record).json()
    assert parties[1].call("GET", f"/collections/incidents/items/{record}/deliveries").json() == {"deliveries": []}


@pytest.mark.parametrize("way", ["item", "page", "map", "explain"])
def test_each_way_to_a_record_is_a_delivery_that_both_parties_see(world: World, parties: tuple[Party, ...], way: str) -> None:
    police, reader, other = parties
    name, record = published(world, lon=-100.0, lat=40.0)
    paths = {
        "item": f"/collections/incidents/items/{record}",
        "explain": f"/collections/incidents/items/{record}/explain",
        "page": "/collections/incidents/items?bbox=-101,39,-99,41",
        "map": "/collections/incidents/map?bbox=-101,39,-99,41",
    }
    assert world.http.get(paths[way], headers=world.bearer("reader", "research")).status_code == 200
    seen = [p.call("GET", f"/collections/incidents/items/{record}/deliveries").json()["deliveries"] for p in (police, reader, other)]
    assert seen[0] == seen[1]
    assert seen[2] == []
    (one,) = seen[0]
    expected = {"category": "clear", "occurred_at": "round_to:PT1H", "place": "grid_m:500"}
    expected |= {} if way == "map" else {"severity": "bands:2/4", "narrative": "clear", "phone": "last:4", "external_id": "last:8"}
    assert (one["recipient"], one["mou"], one["fields"]) == ("reader", "MOU-1", expected)
    kept = datetime.fromisoformat(one["retain_until"]) - datetime.fromisoformat(one["at"])
    assert kept == timedelta(days=90)
    world.publish("police", feature(name, -100.0, 40.0, **(FIRST | {"category": "medical"})))  # out of the others' way


def test_what_is_not_logged_is_not_delivered(world: World, parties: tuple[Party, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = published(world)

    def failing(tx: Any, *arguments: Any, **named: Any) -> Any:
        send(tx, *arguments, **(named | {"then": ""}))
        raise RuntimeError("the log breaks")

    monkeypatch.setattr(disclosure, "send", failing)
    assert item(world, record).status_code == 500
    monkeypatch.undo()
    assert parties[1].call("GET", f"/collections/incidents/items/{record}/deliveries").json()["deliveries"] == []


# --- answers ---------------------------------------------------------------------------------------------------------------------


def test_a_recall_is_answered_once_by_its_recipient_and_both_logs_say_so(world: World, parties: tuple[Party, ...]) -> None:
    police, reader, other = parties
    name, record = delivered(world)
    published(world, name=name, severity=5)
    (notice,) = notices(reader, record)
    path = f"/recalls/{notice['id']}/acknowledgement"
    assert [p.call("POST", path, {"answer": "corrected"}).status_code for p in (police, other)] == [404, 404]
    assert reader.call("POST", path, {"answer": "burnt"}).status_code == 400
    done = reader.call("POST", path, {"answer": "corrected"})
    assert (done.status_code, done.json()["answer"]) == (200, "corrected")
    assert reader.call("POST", path, {"answer": "corrected"}).status_code == 409
    assert notices(reader, record) == []
    assert [n["answer"] for n in notices(police, record, "all", "provider")] == ["corrected"]
    leaves = [leaf for leaf in world.leaves(type="duty") if leaf["asked"].get("recall") == notice["id"]]
    assert sorted(leaf["owner"] for leaf in leaves) == ["police", "reader"]
    assert {leaf["by"]["client"] for leaf in leaves} == {"reader-lead"}


def test_what_is_taken_back_is_not_answered_by_a_correction(world: World, parties: tuple[Party, ...]) -> None:
    _, record = delivered(world)
    world.http.delete(f"/collections/incidents/items/{record}", headers=world.bearer("police") | {"If-Match": "*"})
    (notice,) = notices(parties[1], record)
    answer = parties[1].call("POST", f"/recalls/{notice['id']}/acknowledgement", {"answer": "corrected"})
    assert (answer.status_code, "destroyed or not-held" in answer.json()["detail"]) == (400, True)


def test_what_is_not_answered_in_time_is_overdue_for_both(world: World, parties: tuple[Party, ...]) -> None:
    name, record = delivered(world)
    published(world, name=name, severity=5)
    assert notices(parties[1], record, "overdue") == []
    with world.superuser() as admin:
        admin.exec_driver_sql("update hub.recalls set due_at = now() - interval '1 second' where record = %s", (UUID(record),))
    for who, side in ((parties[1], "recipient"), (parties[0], "provider")):
        (notice,) = notices(who, record, "overdue", side)
        assert notice["overdue"] is True


@pytest.mark.parametrize("path", ["/recalls", "/deliveries", "/collections/incidents/items/{}/deliveries"])
def test_that_somebody_asked_is_in_the_log_first(
    world: World, parties: tuple[Party, ...], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    _, record = delivered(world)
    before = len(world.leaves(type="duty"))
    assert parties[1].call("GET", path.format(record)).status_code == 200
    assert len(world.leaves(type="duty")) == before + 1

    def full(_self: Log, _event: Any) -> None:
        raise Unavailable("The log can't be written.")

    monkeypatch.setattr(Log, "record", full)
    answer = parties[1].call("GET", path.format(record))
    assert (answer.status_code, record in answer.text) == (503, False)


@pytest.mark.parametrize("path", ["/recalls?as=auditor", "/recalls?state=closed", "/deliveries?as=x", "/recalls?of=police"])
def test_a_question_that_there_is_not_is_refused_by_name(parties: tuple[Party, ...], path: str) -> None:
    answer = parties[1].call("GET", path)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == path.split("?")[1].split("=")[0]


@pytest.mark.parametrize("number", ["5f1f2a5e-7c1c-4f64-9d2e-3c1b6b7f0a11", "none", "' or true --"])
def test_a_recall_that_is_not_there_is_absent(parties: tuple[Party, ...], number: str) -> None:
    assert parties[1].call("POST", f"/recalls/{number}/acknowledgement", {"answer": "destroyed"}).status_code == 404


# --- destruction -----------------------------------------------------------------------------------------------------------------


def test_an_attestation_ends_what_is_held_and_answers_what_was_recalled(world: World, parties: tuple[Party, ...], tmp_path: Path) -> None:
    police, _, other = parties
    fields = {"category": "clear", "place": {"grid_m": 2000}, "severity": "clear"}
    world.mou(tmp_path, "MOU-7", "police", "other", [grant("all", ["review"], fields=fields, duties={"retain": "P1D"})])
    made = [published(world, category="medical") for _ in range(2)]
    for _, record in made:
        assert world.get("other", "review", f"/collections/incidents/items/{record}").status_code == 200
    published(world, name=made[0][0], category="medical", severity=4)
    held = [h for h in other.call("GET", "/deliveries").json()["held"] if h["mou"] == "MOU-7"]
    assert [(h["records"], h["late"]) for h in held] == [(2, 0)]
    assert [h for h in police.call("GET", "/deliveries?as=provider").json()["held"] if h["mou"] == "MOU-7"] == held

    now, said = datetime.now(UTC), {"mou": "MOU-7", "statement": "Wiped by our records officer."}
    later = (now + timedelta(hours=1)).isoformat()
    assert other.call("POST", "/attestations", said | {"until": later}).status_code == 400
    assert other.call("POST", "/attestations", said | {"until": "2020-01-01T00:00:00Z"}).status_code == 404
    assert police.call("POST", "/attestations", said | {"until": now.isoformat()}).status_code == 404
    done = other.call("POST", "/attestations", said | {"until": datetime.now(UTC).isoformat()})
    assert (done.status_code, done.json()["records"], done.json()["recalls"]) == (200, 2, 1)

    assert all(h["mou"] != "MOU-7" for h in other.call("GET", "/deliveries").json()["held"])
    assert [n["answer"] for n in notices(other, made[0][1], "all")] == ["destroyed"]
    published(world, name=made[1][0], category="medical", severity=5)
    assert notices(other, made[1][1]) == []  # it holds it no more
    (one,) = police.call("GET", f"/collections/incidents/items/{made[1][1]}/deliveries").json()["deliveries"]
    assert one["destroyed_at"] is not None
    leaves = [leaf for leaf in world.leaves(type="duty") if leaf["asked"].get("step") == "destruction attested"]
    assert sorted(leaf["owner"] for leaf in leaves) == ["other", "police"]
    assert leaves[0]["asked"]["statement"] == said["statement"]


def test_what_is_kept_longer_than_agreed_is_late(world: World, parties: tuple[Party, ...]) -> None:
    _, record = delivered(world)
    with world.superuser() as admin:
        admin.exec_driver_sql("update hub.deliveries set retain_until = now() - interval '1 s' where records @> array[%s]", (UUID(record),))
    held = [
        h for h in parties[0].call("GET", "/deliveries?as=provider").json()["held"] if (h["mou"], h["recipient"]) == ("MOU-1", "reader")
    ]
    assert [h["late"] for h in held] == [1]


# --- the command line ------------------------------------------------------------------------------------------------------------


def test_the_commands_list_answer_and_attest(world: World, parties: tuple[Party, ...], bare: Run, tmp_path: Path) -> None:
    police, reader, _ = parties
    name, record = delivered(world)
    published(world, name=name, narrative="Corrected for the command line.")
    (notice,) = notices(reader, record)
    with world.superuser() as admin:
        admin.exec_driver_sql("update hub.recalls set due_at = now() - interval '1 day' where id = %s", (UUID(notice["id"]),))
    with serving(world, tmp_path, reader.client, None) as profile:
        listed = bare("duty", "recalls", "--as", profile)
        assert (listed.code, notice["id"] in listed.out, "(overdue)" in listed.out) == (3, True, True)
        assert notice["id"] in bare("duty", "recalls", "--overdue", "--as", profile).out
        done = bare("duty", "acknowledge", notice["id"], "corrected", "--as", profile)
        assert (done.code, done.out.strip()) == (0, f"Answered: correction of {record}: corrected.")
        again = bare("duty", "acknowledge", notice["id"], "corrected", "--as", profile)
        refused(again, "answered already")
        assert "corrected" in bare("duty", "recalls", "--all", "--as", profile).out
        assert "MOU-1" in bare("duty", "held", "--as", profile).out
        attested = bare("duty", "attest", "MOU-2", "--statement", "Wiped.", "--as", profile)
        assert (attested.code, attested.out.startswith("Attested: ")) == (0, True)
    with serving(world, tmp_path, police.client, None) as profile:
        assert "reader" in bare("duty", "held", "--gave", "--as", profile).out
        assert bare("duty", "recalls", "--gave", "--overdue", "--as", profile).code in (0, 3)


# --- what nobody should send -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value"),
    [("mou", "MOU\x00"), ("mou", "mou-1"), ("statement", "gone\x00"), ("statement", ""), ("until", 5), ("until", "yesterday"), ("more", 1)],
)
def test_an_attestation_that_is_none_is_refused_by_name(parties: tuple[Party, ...], member: str, value: Any) -> None:
    body = {"mou": "MOU-1", "until": "2026-01-01T00:00:00Z", "statement": "Gone."} | {member: value}
    answer = parties[1].call("POST", "/attestations", body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, member)


def test_a_key_of_one_recall_is_not_good_for_another(world: World, parties: tuple[Party, ...]) -> None:
    _, record = delivered(world)
    headers = world.bearer("police") | {"If-Match": "*", "Idempotency-Key": '"once"'}
    path = f"/collections/incidents/items/{record}"
    assert world.http.delete(path, headers=headers).status_code == 200
    assert world.http.delete(f"{path}?recall=erasure", headers=headers).status_code == 422
    assert [n["kind"] for n in notices(parties[1], record)] == ["withdrawal"]


def test_recalls_come_in_pages(world: World, parties: tuple[Party, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalls, "PAGE", 2)
    made = [delivered(world) for _ in range(3)]
    for name, _ in made:
        published(world, name=name, severity=5)
    found: list[str] = []
    page = parties[1].call("GET", "/recalls").json()["recalls"]
    while page:
        assert len(page) <= 2
        found += [n["record"] for n in page]
        page = parties[1].call("GET", f"/recalls?after={page[-1]['id']}").json()["recalls"]
    assert {record for _, record in made} <= set(found)
    assert len(set(found)) == len(found)
    assert parties[1].call("GET", "/recalls?after=x").status_code == 400


def test_who_said_that_a_copy_is_gone_is_not_asked_again(world: World, parties: tuple[Party, ...]) -> None:
    name, record = delivered(world)
    published(world, name=name, severity=5)
    (notice,) = notices(parties[1], record)
    assert parties[1].call("POST", f"/recalls/{notice['id']}/acknowledgement", {"answer": "destroyed"}).status_code == 200
    published(world, name=name, severity=2)
    assert notices(parties[1], record) == []
    assert item(world, record).status_code == 200  # and holds it again
    published(world, name=name, severity=5)
    assert len(notices(parties[1], record)) == 1
