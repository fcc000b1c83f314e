"""Made from the OpenAPI document: every operation that reads records or the log leaves a leaf before it is answered, for GET and HEAD,
and tells nothing while the log can't be written. A new operation is asked without anybody adding it here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from hub.audit.figures import text_of
from hub.audit.leaf import By
from hub.audit.reviews import SetUp
from hub.identity import people
from tests.wall.sending import Answer, Ask, send
from tests.wall.test_no_audit_no_data import FAULTS, _broken
from tests.world import World, feature, grant

SCOPES = {"query": ("health", "research"), "audit": ("watch", None)}
PARTS = {"level": "0", "path": "000.p/1"}
FEWEST = 16
QUERIES: dict[str, tuple[tuple[str, str], ...]] = {"map_incidents": (("bbox", "-80,43,-79,44"),)}


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world.organisation("police")
    world.organisation("health")
    world.organisation("watch", kind="auditor", scopes=("audit",))
    fields = {"category": "clear", "narrative": "clear", "place": "clear"}
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-1", "police", "health", [grant(fields=fields)])
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-2", "police", "health", [grant("count", fields={}, aggregates={"min_count": 10})])
    assert world.publish("police", feature("A-1", narrative="x")).status_code == 201
    return world


@pytest.fixture(scope="module")
def parts(shared: World) -> dict[str, str]:
    """What stands in the paths: a record that is shared, a flag, a review that was signed off, a tile."""
    (record,) = [item["id"] for item in shared.items("health", "research")]
    with shared.superuser() as admin:
        flag = admin.exec_driver_sql(
            "insert into hub.flags (kind, organisation, subject, owner, at, reason, leaves, events, raised_at)"
            " select 'export', 'health', 'client:health', 'police', now(), 'Many.', array[id], array[event], now()"
            " from hub.audit_leaves where type = 'query' limit 1 returning id::text"
        ).scalar_one()
    person = people.add(shared.database.writer, "watch", "one@watch", "Somebody", ["auditor"])
    by, begin, reviews = By("watch", session="s", person=str(person.id)), datetime(2026, 3, 1, tzinfo=UTC), shared.services.reviews
    review = reviews.set_up(by, SetUp("Everything", {}, "month", 14, person.id, begin))
    figures = text_of({}, "2026-03-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z", [], [])
    with shared.superuser() as admin:
        run = admin.exec_driver_sql(
            "insert into hub.review_runs (id, review, since, until, due_at, assignee, opened_at, figures)"
            " values (gen_random_uuid(), %s, '2026-03-01Z', '2026-04-01Z', '2026-04-15Z', %s, '2026-04-01Z', %s) returning id::text",
            (str(review), str(person.id), figures),
        ).scalar_one()
    reviews.sign(by, UUID(run))
    return PARTS | {"record": record, "flag": flag, "run": run}


def reading(world: World, parts: dict[str, str]) -> Iterator[tuple[str, Ask]]:
    """Every GET of the document that needs a token to read records or the log, and the HEAD of it."""
    for path, methods in world.http.get("/api").json()["paths"].items():
        for operation in [methods["get"]] if "get" in methods else []:
            scope = next((s for one in operation.get("security", ()) for s in one["oauth"]), "")
            if scope not in SCOPES:
                continue
            client, purpose = SCOPES[scope]
            given = parts | {"id": parts["flag" if "flags" in path else "record"]}
            where, name = path.format(**{n: given[n] for n in given if f"{{{n}}}" in path}), operation["operationId"]
            for method in ("GET", "HEAD"):
                yield f"{method} {name}", Ask(method, where, client, purpose, QUERIES.get(name, ()), scope=None if purpose else scope)


def leaves(world: World) -> int:
    """But for those of tokens: a client's first request brings one."""
    with world.superuser() as admin:
        return int(admin.exec_driver_sql("select count(*) from hub.audit_leaves where type <> 'token'").scalar_one())


def answered(world: World, ask: Ask) -> Answer:
    ((answer,),) = send(world, [ask])
    return answer


def test_every_reading_leaves_a_leaf_before_it_is_answered(shared: World, parts: dict[str, str]) -> None:
    found, statuses = 0, dict[str, int]()
    for name, ask in reading(shared, parts):
        before = leaves(shared)
        statuses[name] = answered(shared, ask).status
        assert leaves(shared) > before, name
        found += 1
    assert found >= 2 * FEWEST
    assert set(statuses.values()) == {200}, statuses


@pytest.mark.parametrize("fault", ["it may not be written", "the disk is full"])
def test_no_reading_is_answered_while_the_log_cant_be_written(shared: World, parts: dict[str, str], fault: str) -> None:
    assert fault in FAULTS
    asked = list(reading(shared, parts))
    for _, ask in asked:
        answered(shared, ask)  # so that its token is there
    with _broken(shared, fault):
        for name, ask in asked:
            answer = answered(shared, ask)
            assert answer.status == 503, name
            assert b"narrative" not in answer.body


def test_an_operation_that_answers_without_a_leaf_is_noticed(shared: World, parts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: readings of the log that are not logged."""
    from hub.audit.log import Log

    def nothing(self: Log, event: Any) -> None:
        return None

    monkeypatch.setattr(Log, "record", nothing)
    with pytest.raises(AssertionError, match="auditEvents"):
        test_every_reading_leaves_a_leaf_before_it_is_answered(shared, parts)
