"""The log taken away as a file: all of it however long, each part logged before it leaves, broken off when it can't be."""

import csv
import io
import json
import os
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.api import audit_csv, audit_files, ocsf
from hub.audit.leaf import By, Event, Share, leaves
from hub.audit.log import Entry, Search
from hub.identity import clients
from tests.api.live import request, serving
from tests.audit.conftest import Story
from tests.audit.test_leaf import GOLDEN
from tests.world import World

MANY = 20_000
FOLDER = Path(__file__).parent / "golden"


def file(story: Story, client: str, form: str, **parameters: Any) -> Any:
    headers = story.world.bearer_for(client, "audit")
    return story.world.http.get(f"/audit/events.{form}", params=parameters, headers=headers)


def objects(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def table(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def readings(world: World) -> list[dict[str, Any]]:
    return world.leaves(type="audit")


@pytest.mark.parametrize("given", [{}, {"type": "query"}, {"mou": "MOU-1", "type": "query,publish"}, {"case": "none"}])
@pytest.mark.parametrize("client", ["auditor", "police"])
def test_a_file_holds_what_the_pages_hold_text_for_text(
    story: Story, monkeypatch: pytest.MonkeyPatch, client: str, given: dict[str, str]
) -> None:
    monkeypatch.setattr(audit_files, "CHUNK", 2)
    until = {"datetime": f"../{datetime.now(UTC).isoformat().replace('+00:00', 'Z')}"}
    pages = story.events(client, **given, **until)
    answer = file(story, client, "ndjson", **given, **until)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert objects(answer) == pages
    rows = table(file(story, client, "csv", **given, **until))
    assert [(int(r["id"]), r["leaf_hash"]) for r in rows] == [(e["id"], e["hash"]) for e in pages]
    assert len(pages) >= 2 or given == {"case": "none"}


def test_an_owner_takes_away_its_own_part_and_no_other(story: Story) -> None:
    assert {line["leaf"]["owner"] for line in objects(file(story, "police", "ndjson"))} == {"police"}
    assert file(story, "police", "csv", owner="ambulance").status_code == 403
    assert file(story, "police", "csv", record=story.ids["C"]).status_code == 404
    assert file(story, "auditor", "csv", record=story.ids["C"]).status_code == 200


@pytest.mark.parametrize("given", [{"names": "siem"}, {"before": "5"}, {"limit": "5"}, {"bbox": "1"}])
def test_a_senseless_parameter_is_refused_and_nothing_is_read(story: Story, given: dict[str, str]) -> None:
    file(story, "auditor", "csv", case="none")
    before = len(story.world.leaves())
    assert file(story, "auditor", "csv", **given).status_code == 400
    assert len(story.world.leaves()) == before


def test_each_part_is_in_the_log_before_it_leaves(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_files, "CHUNK", 3)
    before, seen = readings(story.world), []
    written = audit_files._objects

    def noting(entries: list[Entry], *rest: Any) -> str:
        seen.append(len(readings(story.world)) - len(before))
        return written(entries, *rest)

    monkeypatch.setitem(audit_files.FORMS, "ndjson", audit_files.Form("application/x-ndjson", lambda _: "", noting))
    found = objects(file(story, "police", "ndjson", type="query,publish"))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) == -(-len(found) // 3) > 1
    made = readings(story.world)[len(before) :]
    assert [leaf["asked"] for leaf in made[:2]] == [
        {"as": "ndjson", "fields": ["type"]},
        {"as": "ndjson", "fields": ["type"], "page": "next"},
    ]
    assert {(leaf["by"]["organisation"], leaf["decision"]) for leaf in made} == {("police", "permit")}


def test_a_head_reads_nothing_and_is_logged(story: Story) -> None:
    before = len(readings(story.world))
    answer = story.world.http.head("/audit/events.csv", headers=story.world.bearer_for("police", "audit"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert len(readings(story.world)) == before + 1


# --- many leaves, on the wire ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(story: Story) -> Story:
    """The log with 20,000 more leaves of one kind."""
    event = Event(GOLDEN["query"][0].id, "many", datetime(2026, 1, 1, tzinfo=UTC), By("health", "health"), "permit")
    (leaf,) = leaves(event, [Share("police", [{"mou": "MOU-1", "version": 1, "grants": ["all"]}], range(200))], bytes(16))
    with story.world.superuser() as connection:
        connection.execute(
            sa.text(
                "insert into hub.audit_leaves (event, part, type, at, organisation, owner, leaf, leaf_hash, terms)"
                " select gen_random_uuid(), 1, 'many', now(), 'health', 'police', :leaf, '', hub.leaf_terms(cast(:leaf as jsonb))"
                " from generate_series(1, :many)"
            ),
            {"leaf": leaf.text, "many": MANY},
        )
    return story


@pytest.fixture(scope="module")
def port(many: Story) -> Iterator[int]:
    with serving(many.world) as found:
        yield found


@contextmanager
def asked(many: Story, port: int, path: str) -> Iterator[socket.socket]:
    headers = many.world.bearer_for("police", "audit")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request("GET", path, headers))
        yield connection


def received(connection: socket.socket) -> tuple[bytes, list[bytes], bool]:
    """The head, the chunks (RFC 9112 §7.1), and whether the last one, which says that this was all, came."""
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n") and (part := connection.recv(1 << 20)):
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    chunks = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16) if size else 0
        if not length:
            return head, chunks, size == b"0"
        chunks.append(rest[:length])
        rest = rest[length + 2 :]


@pytest.mark.parametrize(
    "path", ["/audit/events.ndjson?type=many", "/audit/events.ndjson?type=many&names=ocsf", "/audit/events.csv?type=many"]
)
def test_a_long_file_is_streamed_in_parts_and_whole(many: Story, port: int, path: str) -> None:
    before = len(readings(many.world))
    with asked(many, port, path) as connection:
        head, chunks, whole = received(connection)
    assert b"transfer-encoding: chunked" in head
    assert whole
    assert len(chunks) >= MANY // audit_files.CHUNK
    assert max(map(len, chunks)) < 4_000_000
    text = b"".join(chunks).decode()
    assert text.count("\n") == MANY + (".csv" in path)
    assert len(readings(many.world)) - before == MANY // audit_files.CHUNK + 1  # the last asks in vain


def test_the_first_part_comes_while_the_others_are_not_read_yet(many: Story, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    find = type(many.world.services.log).find

    def counted(self: Any, search: Search) -> list[Entry]:
        reads.append(1)
        return find(self, search)

    monkeypatch.setattr(type(many.world.services.log), "find", counted)
    with asked(many, port, "/audit/events.ndjson?type=many") as connection:
        connection.recv(65_536)
        assert 0 < len(reads) < MANY // audit_files.CHUNK


def test_memory_does_not_grow_with_the_length_of_the_file(many: Story) -> None:
    def peak(most: int) -> int:
        parts = _parts(many.world)
        tracemalloc.start()
        for _, _part in zip(range(most), parts, strict=False):
            pass
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    peak(2)
    few, all_of_them = peak(3), peak(100)
    assert all_of_them < 1.5 * few


def _parts(world: World) -> Iterator[str]:
    token = world.services.verifier.verify(world.bearer_for("police", "audit")["Authorization"], world.clock())
    taking = audit_files.Taking(
        world.services, token, By("police"), Search(owner="police", type="many", limit=audit_files.CHUNK), "ndjson", False, ()
    )
    yield from taking._parts(world.services.log.find(taking.search))


@contextmanager
def full(world: World, after: int) -> Iterator[None]:
    """The log takes `after` more leaves of readings, and then none."""
    with world.superuser() as connection:
        connection.execute(
            sa.text(
                "create sequence public.places; grant usage on sequence public.places to public;"
                " create function public.no_room() returns trigger language plpgsql as $$ begin"
                f" if nextval('public.places') > {after} then raise exception 'could not extend file' using errcode = '53100'; end if;"
                " return new; end $$;"
                " create trigger no_room before insert on hub.audit_leaves for each row execute function public.no_room()"
            )
        )
    yield
    with world.superuser() as connection:
        connection.execute(sa.text("drop trigger no_room on hub.audit_leaves; drop function public.no_room(); drop sequence public.places"))


@pytest.mark.parametrize("path", ["/audit/events.ndjson?type=many", "/audit/events.csv?type=many"])
def test_a_file_whose_next_part_can_not_be_logged_ends_as_one_that_is_not_whole(many: Story, port: int, path: str) -> None:
    many.world.bearer_for("police", "audit")
    before = len(readings(many.world))
    with full(many.world, 3), asked(many, port, path) as connection:
        head, chunks, whole = received(connection)
    assert b" 200 " in head
    assert not whole
    lines = b"".join(chunks).decode().count("\n") - (".csv" in path)
    assert len(readings(many.world)) - before == 3
    assert lines == 3 * audit_files.CHUNK  # what is told is what is logged


def test_a_log_that_takes_nothing_gives_no_file(many: Story, port: int) -> None:
    many.world.bearer_for("police", "audit")
    with full(many.world, 0), asked(many, port, "/audit/events.csv?type=many") as connection:
        assert b" 503 " in connection.recv(65_536)


def test_a_file_ends_when_its_reader_is_shut_out(many: Story, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = many.world
    engine = world.database.writer
    record = world.services.log.record
    told = 0

    def noting(event: Event) -> None:
        nonlocal told
        record(event)
        told += event.type == "audit"
        if told == 2:
            clients.disable(engine, "police", world.clock())

    monkeypatch.setattr(type(world.services.log), "record", lambda _self, event: noting(event))
    try:
        with asked(many, port, "/audit/events.ndjson?type=many") as connection:
            _, chunks, whole = received(connection)
    finally:
        with world.superuser() as connection:
            connection.exec_driver_sql("update hub.clients set disabled_at = null where client_id = 'police'")
    assert not whole
    assert b"".join(chunks).count(b"\n") == 2 * audit_files.CHUNK
    assert "disabled" in world.leaves(type="refusal")[-1]["reason"]


# --- OCSF ----------------------------------------------------------------------------------------------------------------------------

# What OCSF 1.3.0 requires of the two classes, and of the objects in them.
REQUIRED = ("activity_id", "category_uid", "class_uid", "severity_id", "time", "type_uid", "actor", "src_endpoint", "metadata.version")
REQUIRED += ("metadata.product.vendor_name",)


def member(event: Any, path: str) -> Any:
    for name in path.split("."):
        event = event[name]
    return event


def test_every_event_has_what_ocsf_requires_of_its_class(story: Story) -> None:
    found = objects(file(story, "auditor", "ndjson", names="ocsf"))
    kinds = {e["metadata"]["event_code"] for e in found}
    assert kinds >= {"query", "publish", "token", "mou", "audit", "party-key"}
    for event in found:
        assert all(member(event, path) for path in REQUIRED)
        assert event["class_uid"] in (6003, 6005)
        assert event["category_uid"] == event["class_uid"] // 1_000 == 6
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["activity_id"] in (*range(1, 11), 99)
        assert event["metadata"]["version"] == "1.3.0"
        assert event["status_id"] == (1 if event["status_code"] == "permit" else 2)
        assert event["api"]["operation"] if event["class_uid"] == 6003 else event["table"]["name"]
        assert {"user", "session", "app_uid", "app_name"} & event["actor"].keys()
        assert {"ip", "name"} & event["src_endpoint"].keys()
    assert {e["class_uid"] for e in found if e["metadata"]["event_code"] == "query"} == {6005}


def test_ocsf_names_say_of_each_leaf_what_the_csv_says(story: Story) -> None:
    plain, named = (table(file(story, "police", "csv", type="query,publish", **more)) for more in ({}, {"names": "ocsf"}))
    assert len(plain) == len(named) > 3
    for one, other in zip(plain, named, strict=True):
        assert {ocsf.attribute(column): value for column, value in one.items()} == {n: other[n] for n in map(ocsf.attribute, one)}
        assert int(other["time"]) == round(datetime.fromisoformat(one["at"]).timestamp() * 1_000)
    assert set(named[0]) == {*ocsf.FIXED, *map(ocsf.attribute, audit_csv.COLUMNS)}


@pytest.mark.parametrize("name", ["query", "publish", "refusal", "unauthenticated"])
def test_an_event_under_ocsf_names_is_what_the_file_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change that is meant: GOLDEN=write .venv/bin/python -m pytest tests/audit/test_files.py"""
    monkeypatch.setattr(ocsf, "__version__", "0")
    event, share = GOLDEN[name]
    (leaf,) = leaves(event, [share], bytes(16))
    entry = Entry(7, json.loads(leaf.text), leaf.text, leaf.hash.hex())
    cells = dict(zip(audit_csv.COLUMNS, audit_csv.cells(entry, {}), strict=True))
    text = json.dumps(ocsf.nested(ocsf.attributes(cells)), indent=1, sort_keys=True) + "\n"
    path = FOLDER / f"ocsf-{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
