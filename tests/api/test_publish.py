"""Publishing: what becomes of each record, and what the receipt says of it."""

import threading
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.audit.leaf import revisions_in
from hub.crypto.remote import RemoteKeys
from tests.api.asking import collection, nothing_stored, send, stored
from tests.world import World, feature, grant


def receipt(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code in (200, 201), answer.text
    body = answer.json()
    assert body.keys() == {"event", "leaf", "records"}
    UUID(body["event"])
    assert len(bytes.fromhex(body["leaf"])) == 32
    records: list[dict[str, Any]] = body["records"]
    assert all(r.keys() == {"external_id", "id", "revision", "revision_no", "outcome"} for r in records)
    return records


def rows(world: World, statement: str, **values: Any) -> list[Any]:
    with world.superuser() as connection:
        return list(connection.execute(sa.text(statement), values))


def test_one_feature_and_a_collection_of_one_are_the_same(partners: World) -> None:
    (first,) = receipt(send(partners, feature("ONE")))
    assert (first["external_id"], first["revision"], first["outcome"]) == ("ONE", 1, "created")
    (again,) = receipt(send(partners, collection(feature("ONE"))))
    assert again == first | {"outcome": "unchanged"}


def test_a_receipt_names_its_leaf_in_the_log_and_its_revisions_are_there(partners: World) -> None:
    answer = send(partners, collection(feature("L-1"), feature("L-2")))
    records = receipt(answer)
    ((text, digest),) = rows(partners, "select leaf, leaf_hash from hub.audit_leaves where event = :e", e=answer.json()["event"])
    assert bytes(digest).hex() == answer.json()["leaf"]
    leaf = partners.leaves(type="publish")[-1]
    assert leaf["event"] == answer.json()["event"]
    assert leaf["event"] in text
    assert (leaf["owner"], leaf["by"]["organisation"], leaf["dataset"], leaf["decision"]) == ("police", "police", "incidents", "permit")
    assert list(revisions_in(leaf["shown"]["revisions"])) == [r["revision_no"] for r in records]
    assert len(bytes.fromhex(leaf["shown"]["root"])) == 32


def test_a_change_is_a_new_revision_and_the_old_one_is_kept(partners: World) -> None:
    (old,) = receipt(send(partners, feature("REV", narrative="First.")))
    answer = send(partners, feature("REV", narrative="Second."))
    assert answer.status_code == 200
    (new,) = receipt(answer)
    assert new["id"] == old["id"]
    assert (new["revision"], new["outcome"]) == (2, "updated")
    assert new["revision_no"] > old["revision_no"]
    assert rows(partners, "select rev, revision_no from hub.incidents where id = :i", i=new["id"]) == [(2, new["revision_no"])]
    assert rows(partners, "select rev, revision_no from hub.incidents_history where id = :i", i=new["id"]) == [(1, old["revision_no"])]
    (found,) = partners.items("health", "research", external_id="REV")
    assert found["properties"]["narrative"] == "Second."
    (third,) = receipt(send(partners, feature("REV", narrative="First.")))
    assert (third["revision"], third["outcome"]) == (3, "updated")


def test_the_same_again_stores_nothing_but_its_leaf(partners: World) -> None:
    first = receipt(send(partners, feature("SAME", severity=2, occurred_at="2021-03-04T13:37:11Z", narrative="Said once.")))
    before = stored(partners)
    in_other_words = feature("SAME", narrative="Said once.", occurred_at="2021-03-04T15:37:11.000+02:00", handling="TLP:AMBER", severity=2)
    answer = send(partners, in_other_words)
    assert answer.status_code == 200
    assert receipt(answer) == [first[0] | {"outcome": "unchanged"}]
    assert stored(partners) == before | {"audit_leaves": before["audit_leaves"] + 1}
    assert partners.leaves(type="publish")[-1]["shown"]["count"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"narrative": "Other."},
        {"category": "fraud"},
        {"occurred_at": "2021-03-04T13:37:11.000001Z"},
        {"severity": 1},
        {"handling": "TLP:RED"},
        {"phone": "1"},
        {"extra": {}},
        {"people": []},
        {"lon": -79.3800000000001},
    ],
    ids=str,
)
def test_any_change_however_small_is_a_revision(partners: World, change: dict[str, Any]) -> None:
    """The exact place and sealed fields count, though nobody could see the difference."""
    (first,) = receipt(send(partners, feature("SMALL")))
    (second,) = receipt(send(partners, feature("SMALL", **change)))
    assert (second["revision"], second["outcome"]) == (first["revision"] + 1, "updated")
    (back,) = receipt(send(partners, feature("SMALL")))
    assert back["revision"] == second["revision"] + 1


def test_a_mixed_batch_gives_its_receipts_in_its_own_order(partners: World) -> None:
    receipt(send(partners, collection(feature("M-2"), feature("M-4"))))
    batch = [feature("M-3"), feature("M-2", severity=1), feature("M-4"), feature("M-1")]
    answer = send(partners, collection(*batch))
    assert answer.status_code == 201
    records = receipt(answer)
    assert [(r["external_id"], r["outcome"]) for r in records] == [
        ("M-3", "created"),
        ("M-2", "updated"),
        ("M-4", "unchanged"),
        ("M-1", "created"),
    ]
    new = [r["revision_no"] for r in records if r["outcome"] != "unchanged"]
    assert new == sorted(new)
    assert list(revisions_in(partners.leaves(type="publish")[-1]["shown"]["revisions"])) == new


def test_a_large_batch_gives_its_receipts_in_its_own_order(partners: World) -> None:
    names = [f"ORDER-{(n * 7919) % 1000:03}" for n in range(1000)]
    records = receipt(send(partners, collection(*[feature(n, lon=-79 - i / 1e4) for i, n in enumerate(names)])))
    assert [r["external_id"] for r in records] == names
    numbers = [r["revision_no"] for r in records]
    assert numbers == list(range(numbers[0], numbers[0] + 1000))
    by_name = dict(rows(partners, "select external_id, revision_no from hub.incidents where external_id like 'ORDER-%'"))
    assert by_name == dict(zip(names, numbers, strict=True))


def test_another_providers_record_of_the_same_name_is_another_record(partners: World) -> None:
    (first,) = receipt(send(partners, feature("SHARED-NAME", narrative="Police.")))
    (other,) = receipt(send(partners, feature("SHARED-NAME", narrative="Ambulance."), client="ambulance"))
    assert other["id"] != first["id"]
    assert (other["revision"], other["outcome"]) == (1, "created")
    (found,) = partners.items("health", "research", external_id="SHARED-NAME")
    assert found["id"] == first["id"]
    receipt(send(partners, feature("SHARED-NAME", narrative="Ambulance again."), client="ambulance"))
    assert rows(partners, "select rev from hub.incidents where id = :i", i=first["id"]) == [(1,)]


def test_a_record_that_moves_out_of_a_grant_is_no_longer_shared(partners: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    partners.organisation("research-lab")
    where = [{"field": "category", "one_of": ["fraud"]}]
    partners.mou(tmp_path_factory.mktemp("moves"), "MOU-LAB", "police", "research-lab", [grant(where=where)])
    (first,) = receipt(send(partners, feature("MOVES", category="fraud")))
    assert [f["id"] for f in partners.items("research-lab", "research")] == [first["id"]]
    receipt(send(partners, feature("MOVES", category="theft")))
    assert partners.items("research-lab", "research") == []
    gone = partners.get("research-lab", "research", f"/collections/incidents/items/{first['id']}")
    assert gone.status_code == 404
    receipt(send(partners, feature("MOVES", category="fraud")))
    assert [f["id"] for f in partners.items("research-lab", "research")] == [first["id"]]


def test_many_at_once_on_one_record_are_all_acknowledged_in_one_order(partners: World) -> None:
    """What was acknowledged is a row of its own: the revisions are 1 … n, each number once, the last one is current."""
    threads, each, answers = 4, 6, []
    start = threading.Barrier(threads)

    def run(n: int) -> None:
        start.wait()
        for i in range(each):
            answers.append(send(partners, collection(feature("BUSY", narrative=f"{n}.{i}"), feature(f"OWN-{n}", narrative=f"{i}"))))

    running = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    busy = [r for answer in answers for r in receipt(answer) if r["external_id"] == "BUSY"]
    assert sorted(r["revision"] for r in busy) == list(range(1, threads * each + 1))
    assert len({r["id"] for r in busy}) == 1
    assert len({r["revision_no"] for r in busy}) == threads * each
    in_order = sorted(busy, key=lambda r: r["revision"])
    assert [r["revision_no"] for r in in_order] == sorted(r["revision_no"] for r in busy)
    assert [r["outcome"] for r in in_order] == ["created"] + ["updated"] * (threads * each - 1)
    kept = rows(partners, "select rev, revision_no from hub.incidents_history where id = :i order by rev", i=busy[0]["id"])
    current = rows(partners, "select rev, revision_no from hub.incidents where id = :i", i=busy[0]["id"])
    assert kept + current == [(r["revision"], r["revision_no"]) for r in in_order]


def test_batches_that_name_the_same_records_in_opposite_order_do_not_lock_each_other_out(partners: World) -> None:
    names = [f"CROSS-{n}" for n in range(20)]
    receipt(send(partners, collection(*map(feature, names))))
    answers: list[Any] = []

    def run(order: list[str], word: str) -> None:
        for i in range(5):
            answers.append(send(partners, collection(*[feature(n, narrative=f"{word}{i}") for n in order])))

    running = [threading.Thread(target=run, args=(names, "a")), threading.Thread(target=run, args=(names[::-1], "b"))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert [a.status_code for a in answers] == [200] * 10
    revisions = sorted(r["revision"] for a in answers for r in receipt(a) if r["external_id"] == "CROSS-0")
    assert revisions == list(range(2, 12))


def test_a_batch_that_fails_at_its_last_step_leaves_nothing(partners: World) -> None:
    """The leaf can't be written: records, keys and inbox are as before, the answer is 503."""
    with partners.superuser() as connection:
        connection.execute(sa.text("alter table hub.audit_leaves add constraint no_more check (type <> 'publish') not valid"))
    try:
        before = stored(partners)
        answer = send(partners, feature("HALF"))
        assert answer.status_code == 503, answer.text
        assert "HALF" not in answer.text
        # The keys were durable before the records were stored; keys without a record open nothing.
        assert {k: v for k, v in stored(partners).items() if k != "dek"} == {k: v for k, v in before.items() if k != "dek"}
    finally:
        with partners.superuser() as connection:
            connection.execute(sa.text("alter table hub.audit_leaves drop constraint no_more"))
    assert receipt(send(partners, feature("HALF")))[0]["outcome"] == "created"


def test_a_hub_that_stores_nothing_on_refusal_would_be_noticed_if_it_did(partners: World) -> None:
    """Control for `nothing_stored`."""
    with pytest.raises(AssertionError), nothing_stored(partners):
        send(partners, feature("CONTROL"))


def test_no_connection_is_held_while_fields_are_sealed(partners: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seal, held = RemoteKeys.seal_records, []

    def watched(self: RemoteKeys, *arguments: Any) -> Any:
        held.append(partners.database.writer.pool.checkedout())  # type: ignore[attr-defined]
        return seal(self, *arguments)

    monkeypatch.setattr(RemoteKeys, "seal_records", watched)
    assert partners.publish("police", feature("HELD", narrative="x")).status_code == 201
    assert held == [0]
