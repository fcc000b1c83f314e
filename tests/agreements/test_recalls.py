"""Recalls: who is told when a record is corrected, taken back or no longer shared, and what tells nobody anything."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from hub.datasets import DATASETS
from hub.sharing.deliveries import Delivery
from hub.sharing.disclosure import Row, Writer
from hub.sharing.live import Policy
from hub.sharing.recalled import recall_sql
from tests.agreements.duties import AT, FIRST, OWED, SHOWN, agreed, delivered, item, notices, published
from tests.agreements.parties import Party
from tests.world import World, feature, grant


@pytest.fixture(scope="module")
def parties(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Party, Party]:
    return agreed(world, tmp_path_factory.mktemp("mous"))


# --- corrections, and what tells nobody anything ---------------------------------------------------------------------------------

SAME_CELL, OTHER_CELL = (-79.3801, 43.65), (-79.40, 43.65)
CHANGES: dict[str, tuple[dict[str, Any], str | None]] = {
    "a number in its band": ({"severity": 3}, None),
    "a number in another band": ({"severity": 4}, "correction"),
    "a number that goes below the first band": ({"severity": 1}, "correction"),
    "a place in its cell": ({"lon": SAME_CELL[0], "lat": SAME_CELL[1]}, None),
    "a place in another cell": ({"lon": OTHER_CELL[0], "lat": OTHER_CELL[1]}, "correction"),
    "a time in its hour": ({"occurred_at": (AT + timedelta(minutes=40)).isoformat()}, None),
    "a time in another hour": ({"occurred_at": (AT + timedelta(hours=1)).isoformat()}, "correction"),
    "a sealed text that is shown": ({"narrative": "Two bikes gone."}, "correction"),
    "a sealed text that is shown and goes": ({"narrative": None}, "correction"),
    "a sealed text that is not shown": ({"title": "Nobody sees this"}, None),
    "people who are not shown": ({"people": [{"name": "Nobody"}]}, None),
    "a text that is shown by its end": ({"phone": "+1 647 0199"}, None),
    "a value that is not shown": ({"status": "closed"}, None),
    "nothing at all": ({}, None),
    "what has it leave one grant for another": ({"category": "fire"}, "correction"),
    "what has it leave every grant": ({"category": "medical"}, "revocation"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_holder_is_told_of_a_change_of_what_it_was_shown_and_of_no_other(world: World, parties: tuple[Party, ...], change: str) -> None:
    police, reader, other = parties
    changed, expected = CHANGES[change]
    name, record = delivered(world)
    published(world, name=name, **changed)
    assert [n["kind"] for n in notices(reader, record)] == ([expected] if expected else [])
    assert notices(police, record, side="provider") == notices(reader, record)
    assert notices(other, record) == []  # it never got it


def test_a_second_change_is_compared_with_the_revision_before_it(world: World, parties: tuple[Party, ...]) -> None:
    """Else a change that is not shown would be told, once one that is shown went before."""
    name, record = delivered(world)
    published(world, name=name, narrative="Corrected.")
    published(world, name=name, narrative="Corrected.", status="closed")
    assert len(notices(parties[1], record)) == 1
    published(world, name=name, narrative="Corrected again.", status="closed")
    assert len(notices(parties[1], record)) == 2


def test_of_a_record_that_left_nothing_more_is_told(world: World, parties: tuple[Party, ...]) -> None:
    name, record = delivered(world)
    published(world, name=name, category="medical")
    published(world, name=name, category="medical", severity=5, narrative="Nobody is to know.")
    published(world, name=name, category="assault")
    assert [n["kind"] for n in notices(parties[1], record)] == ["revocation"]


def test_a_record_that_goes_out_of_the_window_is_revoked_and_then_silent(world: World, parties: tuple[Party, ...], tmp_path: Path) -> None:
    _, _, other = parties
    now = datetime.now(UTC)
    one = grant("new", ["recent"], fields=SHOWN, occurred={"lookback": "P10D"}, duties=OWED)
    world.mou(tmp_path, "MOU-6", "police", "other", [one])
    name, record = published(world, category="other", occurred_at=now.isoformat())
    assert world.get("other", "recent", f"/collections/incidents/items/{record}").status_code == 200
    published(world, name=name, category="other", occurred_at=(now - timedelta(days=3)).isoformat())
    published(world, name=name, category="other", occurred_at=(now - timedelta(days=30)).isoformat())
    published(world, name=name, category="other", occurred_at=(now - timedelta(days=30)).isoformat(), severity=5)
    assert sorted(n["kind"] for n in notices(other, record)) == ["correction", "revocation"]


def test_a_refusal_and_a_coarser_version_silence_what_they_hide(world: World, parties: tuple[Party, ...], tmp_path: Path) -> None:
    """What was delivered finely is corrected only as far as it is shown now."""
    _, _, other = parties
    fine, coarse = SHOWN | {"place": {"grid_m": 100}}, {"place": {"grid_m": 2000}, "narrative": "clear", "category": "clear"}
    world.mou(tmp_path, "MOU-5", "police", "other", [grant("all", ["study"], fields=fine, duties=OWED)])
    name, record = published(world, category="drugs")
    assert world.get("other", "study", f"/collections/incidents/items/{record}").status_code == 200
    never = [{"id": "texts", "dataset": "incidents", "where": "everything", "fields": ["narrative"]}]
    world.mou(tmp_path, "MOU-5", "police", "other", [grant("all", ["study"], fields=coarse, duties=OWED)], version=2, refuse=never)
    lon, lat = OTHER_CELL[0] + 0.017, OTHER_CELL[1]  # another 100 m cell of the same 2 km
    published(world, lon, lat, name=name, category="drugs", severity=5, narrative="Refused now.")
    assert notices(other, record) == []
    published(world, -79.2, 43.65, name=name, category="drugs", severity=5, narrative="Refused now.")
    assert [n["kind"] for n in notices(other, record)] == ["correction"]


@pytest.mark.parametrize("change", ["a new revision", "a withdrawal"])
def test_a_change_while_a_record_is_read_is_recalled(
    world: World, parties: tuple[Party, ...], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The change waits until what was read is kept; without that it would find nobody who holds it."""
    name, record = published(world)
    given, threads = Writer.given, []

    def store() -> None:
        if change == "a new revision":
            published(world, name=name, severity=5)
        else:
            world.http.delete(f"/collections/incidents/items/{record}", headers=world.bearer("police") | {"If-Match": "*"})

    def slowly(self: Writer, policy: Policy, rows: Sequence[Row]) -> list[Delivery]:
        threads.append(Thread(target=store))
        threads[-1].start()
        threads[-1].join(1.0)  # it would be done by now
        return given(self, policy, rows)

    world.bearer("police")
    monkeypatch.setattr(Writer, "given", slowly)
    assert item(world, record).json()["properties"]["severity"] == 2
    monkeypatch.undo()
    threads[0].join(10)
    assert [n["kind"] for n in notices(parties[1], record)] == ["correction" if change == "a new revision" else "withdrawal"]


def test_a_batch_tells_of_its_changed_records_alone(world: World, parties: tuple[Party, ...]) -> None:
    made = [delivered(world) for _ in range(3)]
    batch = [feature(name, **(FIRST | ({"narrative": "Other."} if n == 1 else {"status": "closed"}))) for n, (name, _) in enumerate(made)]
    assert world.publish("police", *batch).status_code == 200
    assert [len(notices(parties[1], record)) for _, record in made] == [0, 1, 0]


@pytest.fixture
def telling_all(world: World) -> Iterator[None]:
    """The control: recalls without comparing what was released."""
    text = recall_sql("incidents", DATASETS["incidents"]).replace("create function", "create or replace function")
    start, end = text.index("where t.gone or exists"), text.index("group by t.recipient, t.id")
    _run(world, text[:start] + text[end:])
    yield
    _run(world, text)


def _run(world: World, text: str) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql("set local role hub_owner")
        admin.exec_driver_sql(text.replace("%", "%%"))


@pytest.mark.usefixtures("telling_all")
def test_a_recall_of_every_change_would_be_noticed(world: World, parties: tuple[Party, ...]) -> None:
    for change in ("a place in its cell", "a value that is not shown", "a sealed text that is not shown"):
        with pytest.raises(AssertionError):
            test_a_holder_is_told_of_a_change_of_what_it_was_shown_and_of_no_other(world, parties, change)


# --- withdrawal, erasure, the end of an agreement --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["withdrawal", "erasure"])
def test_whoever_holds_a_record_is_told_that_it_goes(world: World, parties: tuple[Party, ...], kind: str) -> None:
    police, reader, _ = parties
    _, record = delivered(world)
    headers = world.bearer("police") | {"If-Match": "*"}
    assert world.http.delete(f"/collections/incidents/items/{record}?recall=vanished", headers=headers).status_code == 400
    asked = "" if kind == "withdrawal" else "?recall=erasure"
    assert world.http.delete(f"/collections/incidents/items/{record}{asked}", headers=headers).status_code == 200
    (notice,) = notices(reader, record)
    assert (notice["kind"], notice["dataset"], notice["mou"], notice["overdue"]) == (kind, "incidents", "MOU-1", False)
    due = datetime.fromisoformat(notice["due"]) - datetime.fromisoformat(notice["at"])
    assert due == timedelta(days=2)
    assert notices(police, record, side="provider") == [notice]


def test_an_agreement_that_is_ended_recalls_all_that_it_gave(world: World, parties: tuple[Party, ...], tmp_path: Path) -> None:
    police, _, other = parties
    fields = {"category": "clear", "place": {"grid_m": 2000}}
    world.mou(tmp_path, "MOU-9", "police", "other", [grant("all", fields=fields, duties={"acknowledge": "P3D"})])
    world.mou(tmp_path, "MOU-8", "police", "other", [grant("unread", ["planning"], fields=fields, duties={"acknowledge": "P3D"})])
    _, record = published(world, category="fire")
    assert item(world, record, "other").status_code == 200
    for name in ("MOU-8", "MOU-9"):
        assert police.step("termination", name, reason="over").status_code == 200
    told = [(n["kind"], n["mou"]) for n in notices(other, None)]
    assert told == [("revocation", "MOU-9")]


def test_while_an_agreement_is_suspended_corrections_wait_and_what_goes_is_told(world: World, parties: tuple[Party, ...]) -> None:
    police, reader, _ = parties
    (name, record), (_, gone) = delivered(world), delivered(world)
    assert police.step("suspension", "MOU-1", reason="a question").status_code == 200
    try:
        published(world, name=name, narrative="Corrected meanwhile.")
        world.http.delete(f"/collections/incidents/items/{gone}", headers=world.bearer("police") | {"If-Match": "*"})
        assert notices(reader, record) == []
        assert [n["kind"] for n in notices(reader, gone)] == ["withdrawal"]
        (waiting,) = notices(police, record, side="provider")
        assert reader.call("POST", f"/recalls/{waiting['id']}/acknowledgement", {"answer": "corrected"}).status_code == 404
    finally:
        assert police.step("resumption", "MOU-1").status_code == 200
    assert [n["kind"] for n in notices(reader, record)] == ["correction"]
