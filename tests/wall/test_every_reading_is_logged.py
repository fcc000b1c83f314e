"""Made from the OpenAPI document: every operation that reads records or the log leaves a leaf before it is answered, for GET and HEAD,
and tells nothing while the log can't be written. A new operation is asked without anybody adding it here.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.wall.sending import Answer, Ask, send
from tests.wall.test_no_audit_no_data import FAULTS, _broken
from tests.world import World, feature, grant

SCOPES = {"query": ("health", "research"), "audit": ("watch", None)}
PARTS = {"level": "0", "path": "000.p/1", "run": "6f0f4a44-0000-4000-8000-000000000000"}
FEWEST = 16
QUERIES: dict[str, tuple[tuple[str, str], ...]] = {"map_incidents": (("bbox", "-80,43,-79,44"),)}


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world.organisation("police")
    world.organisation("health")
    world.organisation("watch", kind="auditor", scopes=("audit",))
    fields = {"category": "clear", "narrative": "clear", "place": "clear"}
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-1", "police", "health", [grant(fields=fields)])
    assert world.publish("police", feature("A-1", narrative="x")).status_code == 201
    return world


def reading(world: World) -> Iterator[tuple[str, Ask]]:
    """Every GET of the document that needs a token to read records or the log, and the HEAD of it."""
    (record,) = [item["id"] for item in world.items("health", "research")]
    for path, methods in world.http.get("/api").json()["paths"].items():
        for operation in [methods["get"]] if "get" in methods else []:
            scope = next((s for one in operation.get("security", ()) for s in one["oauth"]), "")
            if scope not in SCOPES:
                continue
            client, purpose = SCOPES[scope]
            given = PARTS | {"id": "1" if "flags" in path else record}
            where, name = path.format(**{n: given[n] for n in given if f"{{{n}}}" in path}), operation["operationId"]
            for method in ("GET", "HEAD"):
                yield f"{method} {name}", Ask(method, where, client, purpose, QUERIES.get(name, ()), scope=None if purpose else scope)


def leaves(world: World) -> int:
    with world.superuser() as admin:
        return int(admin.exec_driver_sql("select count(*) from hub.audit_leaves").scalar_one())


def answered(world: World, ask: Ask) -> Answer:
    ((answer,),) = send(world, [ask])
    return answer


def test_every_reading_leaves_a_leaf_before_it_is_answered(shared: World) -> None:
    found, statuses = 0, dict[str, int]()
    for name, ask in reading(shared):
        before = leaves(shared)
        statuses[name] = answered(shared, ask).status
        assert leaves(shared) > before, name
        found += 1
    assert found >= 2 * FEWEST
    odd = {name for name, status in statuses.items() if status != 200}
    # No grant gives counts here, and there is no flag and no review: refused and absent, and in the log all the same.
    nothing = ("counts_incidents", "flag", "review", "review_pdf")
    assert odd == {f"{method} {name}" for method in ("GET", "HEAD") for name in nothing}, statuses


@pytest.mark.parametrize("fault", ["it may not be written", "the disk is full"])
def test_no_reading_is_answered_while_the_log_cant_be_written(shared: World, fault: str) -> None:
    assert fault in FAULTS
    asked = list(reading(shared))
    for _, ask in asked:
        answered(shared, ask)  # so that its token is there
    with _broken(shared, fault):
        for name, ask in asked:
            answer = answered(shared, ask)
            assert answer.status == 503, name
            assert b"narrative" not in answer.body


def test_an_operation_that_answers_without_a_leaf_is_noticed(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: readings of the log that are not logged."""
    from hub.audit.log import Log

    def nothing(self: Log, event: Any) -> None:
        return None

    monkeypatch.setattr(Log, "record", nothing)
    with pytest.raises(AssertionError, match="auditEvents"):
        test_every_reading_leaves_a_leaf_before_it_is_answered(shared)
