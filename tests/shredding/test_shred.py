"""A shredded record is gone: from the tables, from what is answered, from the keys. The log says who had seen it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub.audit.entries import NO_CIPHERTEXT
from hub.audit.leaf import By, Event, Share
from hub.audit.log import append
from hub.crypto.destruction import Destruction
from hub.crypto.keys import Sealing, Shredded
from hub.db import transaction
from tests.world import World, feature, grant

CANARY = "A wren in the reeds"
FIELDS = {"category": "clear", "occurred_at": "clear", "place": "clear", "narrative": "clear"}
HERE = "/collections/incidents/shreds"


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "fire", "health"):
        world.organisation(slug)
    world.organisation("inspector", "auditor", ("audit",))
    for provider in ("police", "fire"):
        grants = [grant(actions=["query", "export"], fields=FIELDS)]
        world.mou(tmp_path_factory.mktemp("mous"), f"MOU-{provider.upper()}", provider, "health", grants)
    return world


def published(world: World, *names: str, client: str = "police", **properties: Any) -> list[str]:
    sent = [feature(name, narrative=f"{CANARY} {name}", **properties) for name in names]
    answer = world.publish(client, *sent)
    assert answer.status_code in (200, 201), answer.text
    return [record["id"] for record in answer.json()["records"]]


def post(world: World, path: str, body: Any, client: str = "police", **headers: str) -> Any:
    return world.http.post(path, json=body, headers=world.bearer(client) | headers)


def shred(world: World, *ids: str, client: str = "police", **more: Any) -> Any:
    return post(world, HERE, {"records": list(ids), **more}, client)


def carried_out(world: World) -> None:
    """Waits until the key process has carried out every order."""
    until = time.monotonic() + 20
    while rows(world, "select id from hub.shreds where keys_gone_at is null"):
        assert time.monotonic() < until, "the key process carries the orders out"
        time.sleep(0.05)


def rows(world: World, statement: str, **values: Any) -> list[Any]:
    with world.superuser() as admin:
        return list(admin.execute(sa.text(statement), values))


def keys_of(world: World, record: str) -> int:
    engine = sa.create_engine(world.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as connection:
        count: int = connection.execute(
            sa.text("select count(*) from keys.dek where record = cast(:r as uuid)"), {"r": record}
        ).scalar_one()
    engine.dispose()
    return count


def item(world: World, record: str, client: str = "health") -> Any:
    return world.get(client, "research", f"/collections/incidents/items/{record}")


def test_a_shredded_record_answers_as_one_that_never_was(shared: World) -> None:
    gone, stays = published(shared, "S-1", "S-2")
    assert item(shared, gone).status_code == 200
    answer = shred(shared, gone, reference="REQ-7")
    assert answer.status_code == 202, answer.text
    never, now = item(shared, str(uuid4())), item(shared, gone)
    same = {"date", "x-request-id"}
    assert (now.status_code, now.json() | {"instance": 0}) == (404, never.json() | {"instance": 0})
    assert {k: v for k, v in now.headers.items() if k not in same} == {k: v for k, v in never.headers.items() if k not in same}
    assert [f["id"] for f in shared.items("health", "research") if f["id"] in (gone, stays)] == [stays]
    assert item(shared, stays).json()["properties"]["narrative"] == f"{CANARY} S-2"


def test_every_revision_leaves_the_tables_and_its_keys_are_deleted(shared: World) -> None:
    (record,) = published(shared, "S-3")
    published(shared, "S-3", status="open")
    assert shared.http.delete(f"/collections/incidents/items/{record}", headers=shared.bearer("police") | {"If-Match": "*"}).is_success
    published(shared, "S-3", status="closed")
    assert keys_of(shared, record) > 0
    assert shred(shared, record).status_code == 202
    carried_out(shared)
    assert keys_of(shared, record) == 0
    for table in ("incidents", "incidents_history", "incidents_withdrawn"):
        assert rows(shared, f"select 1 from hub.{table} where id = cast(:r as uuid)", r=record) == []
    kept = rows(shared, "select rev, digest from hub.incidents_shredded where id = cast(:r as uuid) order by rev", r=record)
    assert [rev for rev, _ in kept] == [1, 2, 3, 4]
    assert [bytes(digest) == NO_CIPHERTEXT for _, digest in kept] == [False, False, True, False], "the tombstone has none"


def test_the_log_names_every_revision_and_tells_who_had_seen_the_record(shared: World) -> None:
    (record,) = published(shared, "S-4")
    item(shared, record)
    told = shred(shared, record, reference="Court order 11").json()
    (leaf,) = [one for one in shared.leaves() if one["event"] == told["event"]]
    assert leaf["owner"] == "police"
    assert leaf["asked"] == {"records": 1, "because": "request", "reference": "Court order 11"}
    assert leaf["shown"]["count"] == 1
    assert "S-4" not in str(leaf)
    for who, token in (("police", shared.bearer("police")), ("inspector", shared.bearer_for("inspector", "audit"))):
        found = shared.http.get("/audit/events", params={"record": record}, headers=token).json()["events"]
        assert [e["leaf"]["type"] for e in found] == ["shred", "query", "publish"], who
        assert found[1]["leaf"]["by"]["organisation"] == "health"


def test_a_shredded_record_is_refused_a_new_key(shared: World) -> None:
    (record,) = published(shared, "S-5")
    shred(shared, record)
    carried_out(shared)
    owner = rows(shared, "select uid from hub.organisations where slug = 'police'")[0][0]
    sealing = Sealing(UUID(str(owner)), UUID(record), 2, 1, "default", {4: (3, b'"x"')})
    with pytest.raises(Shredded):
        shared.services.keys.seal_batch([sealing])


def test_published_again_it_is_another_record(shared: World) -> None:
    (record,) = published(shared, "S-6")
    shred(shared, record)
    carried_out(shared)
    (again,) = published(shared, "S-6")
    assert again != record
    assert item(shared, again).json()["properties"]["narrative"] == f"{CANARY} S-6"


@pytest.mark.parametrize("other", ["never", "somebody else's", "shredded"])
def test_what_is_not_ones_own_is_absent_and_nothing_of_the_order_is_done(shared: World, other: str) -> None:
    (own,) = published(shared, f"own-{other}")
    (foreign,) = published(shared, f"F-{other}", client="fire")
    (gone,) = published(shared, f"G-{other}")
    assert shred(shared, gone).status_code == 202
    named = {"never": str(uuid4()), "somebody else's": foreign, "shredded": gone}[other]
    answer = shred(shared, own, named)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:concord:problem:not-shared")
    assert item(shared, own).status_code == 200
    assert [leaf for leaf in shared.leaves() if leaf["type"] == "shred"][-1]["decision"] == "absent"


def test_a_hold_keeps_a_record_until_it_is_released(shared: World) -> None:
    (record,) = published(shared, "H-1")
    hold = post(shared, "/collections/incidents/holds", {"reference": "Claim 4", "record": record}).json()
    refused = shred(shared, record)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:concord:problem:held")
    assert refused.json()["errors"] == [{"field": "records[0]", "reason": f"{record} is under a legal hold"}]
    assert item(shared, record).status_code == 200
    gone = shared.http.delete(f"/collections/incidents/holds/{hold['id']}", headers=shared.bearer("police"))
    assert gone.json()["released_at"]
    assert shred(shared, record).status_code == 202


def test_a_hold_on_a_period_keeps_what_occurred_within_it_in_any_revision(shared: World) -> None:
    now_outside, outside = published(shared, "H-2", "H-3", occurred_at="2019-05-05T10:00:00Z")
    published(shared, "H-2", occurred_at="2018-01-01T10:00:00Z")
    body = {"reference": "Inquiry", "from": "2019-05-05T00:00:00Z", "until": "2019-05-05T10:00:01Z"}
    hold = post(shared, "/collections/incidents/holds", body).json()
    assert shred(shared, now_outside).status_code == 409
    assert shred(shared, outside).status_code == 409
    shared.http.delete(f"/collections/incidents/holds/{hold['id']}", headers=shared.bearer("police"))
    body |= {"until": "2019-05-05T10:00:00Z"}
    post(shared, "/collections/incidents/holds", body)
    assert shred(shared, now_outside, outside).status_code == 202, "a period ends before its end"


def test_somebody_elses_record_can_be_neither_held_nor_released(shared: World) -> None:
    (foreign,) = published(shared, "F-9", client="fire")
    answer = post(shared, "/collections/incidents/holds", {"reference": "Mine", "record": foreign})
    assert answer.status_code == 404
    hold = post(shared, "/collections/incidents/holds", {"reference": "Theirs", "record": foreign}, "fire").json()
    assert shared.http.delete(f"/collections/incidents/holds/{hold['id']}", headers=shared.bearer("police")).status_code == 404
    assert shred(shared, foreign, client="fire").status_code == 409


def test_a_rule_destroys_what_occurred_before_and_leaves_what_is_held(shared: World) -> None:
    old, held, edge = published(shared, "R-1", "R-2", "R-3", client="fire", occurred_at="2001-01-01T00:00:00Z")
    published(shared, "R-3", client="fire", occurred_at="2001-06-01T00:00:00Z")
    post(shared, "/collections/incidents/holds", {"reference": "Keep", "record": held}, "fire")
    body = {"occurred_before": "2001-06-01T00:00:00Z", "dry_run": True}
    assert post(shared, HERE, body, "fire").json() == {"records": 1, "dry_run": True, "held": 1, "more": False}
    assert item(shared, old).status_code == 200, "a dry run destroys nothing"
    told = post(shared, HERE, body | {"dry_run": False}, "fire").json()
    assert (told["records"], told["because"], told["held"], told["more"]) == (1, "rule", 1, False)
    assert [item(shared, r).status_code for r in (old, held, edge)] == [404, 200, 200]
    assert post(shared, HERE, body | {"dry_run": False}, "fire").json()["records"] == 0


def test_an_order_is_complete_when_no_backup_can_hold_its_keys(shared: World) -> None:
    (record,) = published(shared, "C-1")
    number = shred(shared, record).json()["id"]
    carried_out(shared)

    def state() -> str:
        shared.keyd.destroying._complete()
        found: str = shared.http.get(f"{HERE}/{number}", headers=shared.bearer("police")).json()["state"]
        return found

    engine = sa.create_engine(shared.addresses.keys, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        before = "insert into keys.backups (made_at, sha256) values (now() - interval '31 days', '\\x00') returning id"
        backup = connection.exec_driver_sql(before).scalar_one()
        assert state() == "keys-destroyed", "unregistered copies are kept for 30 days"
        with shared.superuser() as admin:
            admin.exec_driver_sql(f"update hub.shreds set keys_gone_at = now() - interval '30 days 1 minute' where id = {number}")
        assert state() == "keys-destroyed", "a registered backup is older"
        connection.exec_driver_sql(f"update keys.backups set destroyed_at = now() where id = {backup}")
        assert state() == "complete"
    engine.dispose()


def test_an_order_that_the_log_does_not_name_is_not_carried_out(shared: World) -> None:
    """Somebody who writes to the main database alone can't have keys destroyed."""
    (record,) = published(shared, "X-1")
    (other,) = published(shared, "X-2")
    event = shred(shared, other).json()["event"]
    carried_out(shared)
    with shared.superuser() as admin:
        admin.exec_driver_sql("set session_replication_role = replica")  # past the trigger that wants a leaf
        forged = sa.text(
            "with o as (insert into hub.shreds (event, provider, dataset, kind, records) select cast(:e as uuid), provider, 1, 'request', 1"
            " from hub.incidents where id = cast(:r as uuid) returning id)"
            " insert into hub.incidents_shredded (id, rev, revision_no, provider, digest, shred)"
            " select i.id, i.rev, i.revision_no, i.provider, '\\x00', o.id from hub.incidents i, o where i.id = cast(:r as uuid)"
            " returning shred"
        )
        (number,) = admin.execute(forged, {"e": str(uuid4()), "r": record}).one()
    assert shared.keyd.destroying.run() == 0
    assert keys_of(shared, record) > 0
    with shared.superuser() as admin:  # nor with the leaves of another order
        admin.exec_driver_sql("update hub.shreds set event = gen_random_uuid() where event = %s", (event,))
        admin.exec_driver_sql("update hub.shreds set event = %s where id = %s", (event, number))
    assert shared.keyd.destroying.run() == 0
    assert keys_of(shared, record) > 0
    with shared.superuser() as admin:
        admin.exec_driver_sql("delete from hub.incidents_shredded where shred = %s", (number,))
        admin.exec_driver_sql("delete from hub.shreds where id = %s", (number,))


@contextmanager
def no_chores(world: World) -> Iterator[None]:
    """The key process looks for no orders meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.keyd.destroying, "_orders", lambda _name: 0)
        yield


def test_a_false_leaf_beside_those_of_an_order_keeps_no_key(shared: World) -> None:
    (record,) = published(shared, "Y-1")
    with no_chores(shared):
        told = shred(shared, record).json()
        event = Event(UUID(told["event"]), "query", shared.clock(), By("police"), "permit", dataset="incidents")
        with transaction(shared.database.writer) as tx:
            tx.rows("begin")
            append(tx, event, [Share("fire")], then="; commit")
    carried_out(shared)
    assert keys_of(shared, record) == 0


def test_an_order_that_fails_keeps_none_that_came_after_it(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = published(shared, "Y-2", "Y-3")
    carry_out = Destruction.shred

    def failing(destruction: Destruction, records: Any) -> int:
        if UUID(bad) in records:
            raise KeyError(bad)
        return carry_out(destruction, records)

    with monkeypatch.context() as patch:
        patch.setattr(Destruction, "shred", failing)
        first, second = shred(shared, bad).json()["id"], shred(shared, good).json()["id"]
        assert first < second
        until = time.monotonic() + 20
        while keys_of(shared, good):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert keys_of(shared, bad) > 0
    carried_out(shared)
    assert keys_of(shared, bad) == 0


def test_a_request_with_a_key_is_carried_out_once(shared: World) -> None:
    (record,) = published(shared, "K-1")
    first, second = (post(shared, HERE, {"records": [record]}, **{"Idempotency-Key": '"once-1"'}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"


def test_replies_that_tell_of_a_record_go_with_it(shared: World) -> None:
    body = {"type": "FeatureCollection", "features": [feature("K-2")]}
    headers = shared.bearer("police") | {"Content-Type": "application/geo+json", "Idempotency-Key": '"once-2"'}
    record = shared.http.post("/collections/incidents/items", json=body, headers=headers).json()["records"][0]["id"]
    told = "select 1 from hub.replies where position(convert_to(:r, 'UTF8') in body) > 0"
    assert rows(shared, told, r=record)
    shred(shared, record)
    assert rows(shared, told, r=record) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"records": []}, "records"),
        ({"records": ["no-id"]}, "records.0"),
        ({"records": [str(uuid4())], "occurred_before": "2020-01-01T00:00:00Z"}, "body"),
        ({"occurred_before": "yesterday"}, "occurred_before"),
        ({"records": [str(uuid4())], "reference": "a\nb"}, "reference"),
        ({"records": [str(uuid4())], "why": "so"}, "why"),
        ({"records": [str(uuid4()) for _ in range(1_001)]}, "records"),
    ],
)
def test_an_order_that_cannot_be_read_names_its_place(shared: World, body: Any, field: str) -> None:
    answer = post(shared, HERE, body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_reader_gives_no_orders(shared: World, method: str) -> None:
    call: Callable[..., Any] = getattr(shared.http, method)
    answer = call(HERE, headers=shared.bearer_for("inspector", "audit"))
    assert answer.status_code == 403


def test_orders_are_told_to_their_owner_alone(shared: World) -> None:
    (record,) = published(shared, "T-1")
    number = shred(shared, record).json()["id"]
    assert number in [s["id"] for s in shared.http.get(HERE, headers=shared.bearer("police")).json()["shreds"]]
    assert number not in [s["id"] for s in shared.http.get(HERE, headers=shared.bearer("fire")).json()["shreds"]]
    assert shared.http.get(f"{HERE}/{number}", headers=shared.bearer("fire")).status_code == 404
    assert shared.http.get(f"{HERE}/one", headers=shared.bearer("police")).status_code == 404


def test_those_who_hold_it_under_a_duty_are_told(world: World, shared: World, tmp_path: Path) -> None:
    world.organisation("housing")
    duties = {"retain": "P30D", "acknowledge": "P3D"}
    world.mou(tmp_path, "MOU-DUTY", "police", "housing", [grant(fields=FIELDS, duties=duties)])
    (record,) = published(shared, "D-1")
    assert item(shared, record, "housing").status_code == 200
    shred(shared, record)
    told = rows(shared, "select kind from hub.recalls where record = cast(:r as uuid)", r=record)
    assert told == [("erasure",)]
