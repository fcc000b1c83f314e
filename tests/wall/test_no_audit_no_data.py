"""Without its leaf in the log nothing is told: no record, no refusal, no token, no receipt; and no sealed field is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.crypto.remote import RemoteKeys
from hub.sharing import overview
from hub.sharing.disclosure import Writer
from tests.wall.asks import POSTER
from tests.wall.sending import SIGNED, Answer, Ask, send
from tests.wall.under_way import between
from tests.world import ASSERTION_TYPE, World, feature, grant

ITEMS, MAP = "/collections/incidents/items", "/collections/incidents/map"
EARTH = (("bbox", "-180,-90,180,90"),)
WATCH = "watch"
CANARY = "A canary sings at the harbour"
TOKEN = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": SIGNED, "client": "health"}


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "fire", POSTER):
        world.organisation(slug)
    world.organisation(WATCH, "auditor", ["audit"])
    world.bearer_for(WATCH, "audit")
    fields = {"category": "clear", "occurred_at": "clear", "place": "clear", "narrative": "clear"}
    world.mou(folder, "MOU-1", "police", "health", [grant(fields=fields)])
    assert world.publish("police", *(feature(f"A-{n}", narrative=CANARY) for n in range(3))).status_code == 201
    for client, purpose in (("health", "research"), ("fire", "research"), ("health", None), (POSTER, None)):
        world.bearer(client, purpose)  # while there is a log
    return world


def _asks(world: World) -> dict[str, Ask]:
    with world.superuser() as admin:
        record = admin.exec_driver_sql("select id::text from hub.incidents where external_id = 'A-1'").scalar_one()
    item = f"{ITEMS}/{record}"
    return {
        "a page": Ask("GET", ITEMS, "health", "research"),
        "a page of an area": Ask("GET", ITEMS, "health", "research", (("bbox", "-80,43,-79,44"),)),
        "an empty page": Ask("GET", ITEMS, "health", "research", (("bbox", "1,1,2,2"),)),
        "the length of a page": Ask("HEAD", ITEMS, "health", "research"),
        "a map": Ask("GET", MAP, "health", "research", EARTH),
        "the length of a map": Ask("HEAD", MAP, "health", "research", EARTH),
        "a map without records": Ask("GET", MAP, "health", "research", (("bbox", "1,1,2,2"),)),
        "that no map is shared": Ask("GET", MAP, "fire", "research", EARTH),
        "an explanation": Ask("GET", f"{item}/explain", "health", "research"),
        "that there is an explanation": Ask("HEAD", f"{item}/explain", "health", "research"),
        "a record": Ask("GET", item, "health", "research"),
        "that a record is there": Ask("HEAD", item, "health", "research"),
        "that a record is absent": Ask("GET", f"{ITEMS}/00000000-0000-4000-8000-000000000000", "health", "research"),
        "that nothing is shared": Ask("GET", ITEMS, "fire", "research"),
        "that a scope is missing": Ask("GET", ITEMS, "health"),
        "the log": Ask("GET", "/audit/events", "health"),
        "the log in numbers": Ask("GET", "/audit/events/summary", "health"),
        "the log as CSV": Ask("GET", "/audit/events.csv", "health"),
        "the log as NDJSON": Ask("GET", "/audit/events.ndjson", "health", None, (("names", "ocsf"),)),
        "that there is a file of the log": Ask("HEAD", "/audit/events.csv", "health"),
        "leaves by their place": Ask("GET", "/audit/tile/entries/000.p/1", WATCH, scope="audit"),
        "a token": Ask("POST", "/oauth/token", None, form=TOKEN | {"purpose": "research"}),
        "a receipt": Ask("POST", ITEMS, POSTER, json=feature("B-1")),
    }


ASKED = ["a page", "a page of an area", "an empty page", "the length of a page", "a record", "that a record is there"]
ASKED += ["that a record is absent", "that nothing is shared", "that a scope is missing", "the log", "a token", "a receipt"]
ASKED += ["a map", "the length of a map", "a map without records", "that no map is shared"]
ASKED += ["an explanation", "that there is an explanation"]
ASKED += ["the log in numbers", "the log as CSV", "the log as NDJSON", "that there is a file of the log"]
ASKED += ["leaves by their place"]
GOOD: dict[str, tuple[int, ...]] = dict.fromkeys(ASKED, (200,)) | {
    "that a record is absent": (404,),
    "that nothing is shared": (403,),
    "that no map is shared": (403,),
    "that a scope is missing": (403,),
    "a receipt": (200, 201),
}


# --- ways in which the log fails ---------------------------------------------------------------------------------------------------


def _trigger(body: str, when: str = "trigger fault before insert on hub.audit_leaves for each statement") -> tuple[str, str]:
    function = f"create function hub.fault() returns trigger language plpgsql as $$ begin {body} return null; end $$"
    return f"{function}; create {when} execute function hub.fault()", "drop trigger fault on hub.audit_leaves; drop function hub.fault()"


LATE = "constraint trigger fault after insert on hub.audit_leaves deferrable initially deferred for each row"
FAULTS: dict[str, tuple[str, str]] = {
    "it may not be written": (
        "revoke execute on function hub.audit_append from hub_reader, hub_writer, hub_auditor, hub_agreements",
        "grant execute on function hub.audit_append to hub_reader, hub_writer, hub_auditor, hub_agreements",
    ),
    "the disk is full": _trigger("raise exception 'no room' using errcode = '53100';"),
    "it raises something else": _trigger("raise exception 'something else';"),
    "its commit fails": _trigger("raise exception 'no room' using errcode = '53100';", LATE),
    "its connection is lost": _trigger("perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1);"),
}


@contextmanager
def _broken(world: World, fault: str) -> Iterator[None]:
    breaks, mends = FAULTS[fault]
    with world.superuser() as admin:
        admin.exec_driver_sql(breaks)
    try:
        yield
    finally:
        with world.superuser() as admin:
            admin.exec_driver_sql(mends)


def _stored(world: World) -> tuple[int, ...]:
    with world.superuser() as admin:
        tables = ("incidents", "incidents_history", "incidents_withdrawn", "audit_leaves")
        return tuple(admin.exec_driver_sql(f"select count(*) from hub.{table}").scalar_one() for table in tables)


def _tells_nothing(answer: Answer) -> None:
    assert answer.status == 503
    assert dict(answer.headers)[b"content-type"] == b"application/problem+json"
    assert CANARY.encode() not in answer.body
    for word in (b"features", b"access_token", b"events", b"43.65", b'records"', b"leaf"):
        assert word not in answer.body
    assert len(answer.body) < 400


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_told_that_is_not_in_the_log(shared: World, opened: list[int], fault: str) -> None:
    asked = _asks(shared)
    before = _stored(shared)
    with _broken(shared, fault):
        for ask in asked.values():
            ((answer,),) = send(shared, [ask])
            _tells_nothing(answer)  # of HEAD too: it is the server that leaves the body out
    assert opened == []
    assert _stored(shared) == before
    for name, ask in asked.items():  # and then again as before
        ((answer,),) = send(shared, [ask])
        assert answer.status in GOOD[name], name
    assert len(opened) >= 4


def test_a_build_that_answers_all_the_same_is_found_out(shared: World, monkeypatch: pytest.MonkeyPatch, opened: list[int]) -> None:
    """The control: the log's refusal is swallowed."""
    log = Writer.log

    def careless(self: Writer, tx: Any, *rest: Any) -> list[bytes]:
        try:
            return log(self, tx, *rest)
        except Exception:
            tx.rows("rollback")
            return [bytes(32)]

    monkeypatch.setattr(Writer, "log", careless)
    with pytest.raises(AssertionError):
        test_nothing_is_told_that_is_not_in_the_log(shared, opened, "the disk is full")


def test_a_map_that_counts_tells_no_number_that_is_not_in_the_log(
    shared: World, monkeypatch: pytest.MonkeyPatch, opened: list[int]
) -> None:
    monkeypatch.setattr(overview, "MAX_RECORDS", 1)
    test_nothing_is_told_that_is_not_in_the_log(shared, opened, "the disk is full")
    ((answer,),) = send(shared, [_asks(shared)["a map"]])
    assert b'"kind":"counts"' in answer.body


@pytest.mark.parametrize("name", ["a page", "a record", "an explanation"])
def test_the_leaf_is_durable_before_a_field_is_opened(shared: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Another session sees the leaf at the moment of opening: it is committed."""
    seen: list[Any] = []
    real = RemoteKeys.open_batch

    def looking(self: RemoteKeys, *asked: Any) -> list[bytes]:
        seen.append(shared.leaves(owner="police", type="query")[-1])
        return real(self, *asked)

    monkeypatch.setattr(RemoteKeys, "open_batch", looking)
    before = shared.leaves(owner="police", type="query")
    ((answer,),) = send(shared, [_asks(shared)[name]])
    assert answer.status == 200
    (leaf,) = seen
    assert leaf not in before
    assert leaf == shared.leaves(owner="police", type="query")[-1]
    assert leaf["decision"] == "permit"


def test_one_disclosure_is_one_leaf(shared: World) -> None:
    once = ["a page", "an empty page", "the length of a page", "a record", "that a record is there", "a map", "a map without records"]
    for name in (*once, "the length of a map", "an explanation", "that there is an explanation"):
        before = _stored(shared)[-1]
        send(shared, [_asks(shared)[name]])
        assert _stored(shared)[-1] == before + 1, name


# --- a leaf under a policy that no longer holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a page", "a record"])
def test_a_policy_that_changes_meanwhile_is_asked_again(
    shared: World, monkeypatch: pytest.MonkeyPatch, opened: list[int], tmp_path: Path, name: str
) -> None:
    """Read under one version, it is answered under the next: the narrative is no longer released, and nothing of it was opened."""
    version = _version(shared)
    _sign(shared, tmp_path, version + 1, {"category": "clear", "narrative": "clear"})
    ask = _asks(shared)[name]
    assert CANARY.encode() in send(shared, [ask])[0][0].body
    opened.clear()
    before = len(shared.leaves(type="query"))
    attempts = between(monkeypatch, lambda n: _sign(shared, tmp_path, version + 2, {"category": "clear"}) if n == 1 else None)
    ((answer,),) = send(shared, [ask])
    assert answer.status == 200
    assert attempts == [1, 2]
    assert CANARY.encode() not in answer.body
    assert opened == []
    (leaf,) = shared.leaves(type="query")[before:]
    assert [cited["version"] for cited in leaf["under"]] == [version + 2]
    assert "narrative" not in leaf["shown"]["fields"]


def test_a_grant_taken_away_meanwhile_is_not_used(
    shared: World, monkeypatch: pytest.MonkeyPatch, opened: list[int], tmp_path: Path
) -> None:
    version = _version(shared)
    _sign(shared, tmp_path, version + 1, {"category": "clear", "narrative": "clear"})
    between(monkeypatch, lambda n: _sign(shared, tmp_path, version + 2, {"category": "clear"}, "other") if n == 1 else None)
    asked = _asks(shared)
    answers = {name: send(shared, [asked[name]])[0][0].status for name in ("a page", "a map", "a record", "an explanation")}
    assert answers == {"a page": 403, "a map": 403, "a record": 404, "an explanation": 404}
    assert opened == []


def test_a_policy_that_never_rests_ends_in_503(shared: World, monkeypatch: pytest.MonkeyPatch, opened: list[int]) -> None:
    def unrest(_attempt: int) -> None:
        with shared.superuser() as admin:
            admin.exec_driver_sql("update hub.policy_epoch set epoch = epoch + 1")

    between(monkeypatch, unrest)
    before = _stored(shared)
    for name in ("a page", "a record", "that a record is absent", "a map", "an explanation"):
        ((answer,),) = send(shared, [_asks(shared)[name]])
        _tells_nothing(answer)
    assert opened == []
    assert _stored(shared) == before


def _version(world: World) -> int:
    with world.superuser() as admin:
        found: int = admin.exec_driver_sql("select max(version) from hub.mous where mou = 'MOU-1'").scalar_one()
    return found


def _sign(world: World, folder: Path, version: int, fields: dict[str, Any], purpose: str = "research") -> None:
    world.mou(folder, "MOU-1", "police", "health", [grant(fields=fields, purposes=[purpose])], version=version)
