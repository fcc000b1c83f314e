"""An import from its opening to its end."""

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.api.asking import nothing_stored, problem
from tests.imports.files import BY_HASH, BY_ID, csv, digest_of, mapping, numbered, repr_digest, row
from tests.imports.sending import (
    IMPORTS,
    counts,
    faults_of,
    open_import,
    opened,
    order,
    part,
    path_of,
    resume,
    rows,
    run,
    told,
    verdicts,
)
from tests.world import BASE, World

pytestmark = pytest.mark.db


def test_a_new_import_is_201_with_its_address_and_stands_at_the_beginning(partners: World) -> None:
    file = numbered(3, "NEW")
    answer = open_import(partners, order(file))
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"{BASE}{IMPORTS}/{job['id']}" == job["links"][0]["href"]
    assert answer.headers["upload-offset"] == "0"
    assert answer.headers["upload-length"] == str(len(file))
    assert answer.headers["upload-complete"] == "?0"
    assert (job["state"], job["offset"], job["length"], job["dry_run"], job["problem"]) == ("open", 0, len(file), False, None)
    assert counts(job) == (0, 0, 0, 0, 0)
    assert told(partners, path_of(job)) == job


def test_the_same_file_with_the_same_mapping_again_is_the_import_that_is_open(partners: World) -> None:
    file = numbered(3, "SAME")
    first = open_import(partners, order(file))
    again = open_import(partners, order(file))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    "other",
    [
        lambda file: order(file, mapping(empty=["NA"])),
        lambda file: order(file, BY_HASH),
        lambda file: order(file, dry_run=True),
        lambda file: order(file + b"x"),
        lambda file: order(None),
        lambda file: order(file, None),
    ],
)
def test_another_file_or_mapping_is_another_import(partners: World, other: Any) -> None:
    file = numbered(3, f"OTHER-{uuid4().hex[:6]}")
    first = opened(partners, file)
    answer = open_import(partners, other(file))
    assert answer.status_code == 201
    assert not answer.headers["location"].endswith(first)
    for path in (first, f"{IMPORTS}/{answer.json()['id']}"):
        assert partners.http.delete(path, headers=partners.bearer("police")).status_code == 200


def test_without_a_digest_nobody_can_tell_that_it_is_the_same_file(partners: World) -> None:
    bodies = [open_import(partners, order(None)) for _ in range(2)]
    assert [b.status_code for b in bodies] == [201, 201]
    assert bodies[0].json()["id"] != bodies[1].json()["id"]
    for body in bodies:
        partners.http.delete(path_of(body.json()), headers=partners.bearer("police"))


def test_another_organisation_that_sends_the_same_file_has_an_import_of_its_own(partners: World) -> None:
    file = numbered(2, "TWO-ORGS")
    mine, yours = run(partners, file), run(partners, file, client="ambulance")
    assert mine["id"] != yours["id"]
    assert counts(mine) == counts(yours) == (2, 2, 0, 0, 0)
    assert rows(partners, "select count(*), count(distinct id) from hub.incidents where external_id like 'TWO-ORGS-%'") == [(4, 4)]


def test_a_file_in_one_request_is_done_and_its_rows_are_there(partners: World) -> None:
    file = numbered(5, "ONE")
    path = opened(partners, file)
    answer = part(partners, path, file)
    assert answer.status_code == 200, answer.text
    assert answer.headers["upload-complete"] == "?1"
    job = answer.json()
    assert (job["state"], job["offset"]) == ("done", len(file))
    assert counts(job) == (5, 5, 0, 0, 0)
    names = {f["properties"]["external_id"]: f["properties"]["narrative"] for f in partners.items("health", "research")}
    assert {f"ONE-{n}": f"ONE {n}" for n in range(5)}.items() <= names.items()
    assert told(partners, path) == job


def test_the_list_has_the_organisations_imports_newest_first_and_no_others(partners: World) -> None:
    made = [opened(partners, numbered(1, f"LIST-{n}")) for n in range(3)]
    theirs = opened(partners, numbered(1, "LIST-0"), client="ambulance")
    listed = partners.http.get(IMPORTS, headers=partners.bearer("police")).json()["imports"]
    assert [path_of(job) for job in listed[:3]] == made[::-1]
    assert theirs not in [path_of(job) for job in listed]
    assert listed[0] == told(partners, made[2])
    for path in made:
        partners.http.delete(path, headers=partners.bearer("police"))


@pytest.mark.parametrize("spec", [BY_ID, BY_HASH], ids=["id", "hash"])
@pytest.mark.parametrize("size", [3, 50, 333])
def test_parts_may_be_cut_anywhere(partners: World, spec: dict[str, Any], size: int) -> None:
    """Each part is sent from where the import stands: bytes of a row that is not whole yet are sent again."""
    name = f"CUT-{size}-{'hash' if spec is BY_HASH else 'id'}"
    file = numbered(9, name) if size > 3 else numbered(2, name)
    path, at, sent = opened(partners, file, spec), 0, 0
    while at + sent < len(file):
        sent += size
        last = at + sent >= len(file)
        answer = part(partners, path, file[at : at + sent], at, Upload_Complete="?1" if last else "?0", Repr_Digest=repr_digest(file))
        assert answer.status_code == 200, answer.text
        if (stands := answer.json()["offset"]) > at:
            at, sent = stands, 0
    job = told(partners, path)
    assert (job["state"], counts(job)) == ("done", (9, 9, 0, 0, 0) if size > 3 else (2, 2, 0, 0, 0))
    stored = rows(partners, "select count(*), max(rev) from hub.incidents where external_id like :n or :h", n=f"{name}-%", h=False)
    assert spec is BY_HASH or stored == [(counts(job)[0], 1)]


def test_the_length_says_where_the_file_ends(partners: World) -> None:
    file = numbered(4, "LENGTH")
    path = opened(partners, file)
    half = file.index(b"\n", len(file) // 2) + 1
    first = part(partners, path, file[:half])
    assert (first.json()["state"], first.json()["offset"]) == ("open", half)
    assert first.headers["upload-complete"] == "?0"
    assert resume(partners, path, file)["state"] == "done"


def test_without_a_length_the_sender_says_where_the_file_ends(partners: World) -> None:
    file = numbered(4, "UNSAID")
    path = opened(partners, None, sha256=digest_of(file))
    problem(part(partners, path, file), 400, "Upload-Complete")
    half = file.index(b"\n", len(file) // 2) + 1
    assert part(partners, path, file[:half], Upload_Complete="?0").json()["state"] == "open"
    answer = part(partners, path, file[half:], half, Upload_Complete="?1", Repr_Digest=repr_digest(file))
    assert (answer.json()["state"], counts(answer.json())) == ("done", (4, 4, 0, 0, 0))


def test_a_row_without_its_line_end_is_read_when_the_file_ends(partners: World) -> None:
    file = numbered(2, "NO-END").rstrip(b"\n")
    path = opened(partners, file)
    part(partners, path, file, Upload_Complete="?0")
    job = told(partners, path)
    assert (job["rows"], job["state"]) == (1, "open")
    assert resume(partners, path, file)["rows"] == 2
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'NO-END-%'") == [(2,)]


def test_a_cancelled_import_takes_nothing_more_and_what_landed_stays(partners: World) -> None:
    file = numbered(4, "CANCEL")
    path = opened(partners, file)
    half = file.index(b"\n", len(file) // 2) + 1
    part(partners, path, file[:half])
    before = told(partners, path)["rows"]
    answer = partners.http.delete(path, headers=partners.bearer("police"))
    assert (answer.status_code, answer.json()["state"], answer.headers["upload-complete"]) == (200, "cancelled", "?0")
    refused = part(partners, path, file[half:], half, Repr_Digest=repr_digest(file))
    problem(refused, 409, word="cancelled")
    problem(partners.http.delete(path, headers=partners.bearer("police")), 409, word="cancelled")
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'CANCEL-%'") == [(before,)]
    assert len(verdicts(partners, path)) == before
    assert open_import(partners, order(file)).status_code == 201  # it starts anew


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_an_import_that_has_ended_forgets_its_mapping_and_takes_nothing(partners: World, end: str) -> None:
    file = numbered(2, f"ENDED-{end}")
    if end == "failed":
        file = b"nonsense\n" + file
    path = opened(partners, file)
    if end == "cancelled":
        partners.http.delete(path, headers=partners.bearer("police"))
    else:
        part(partners, path, file)
    job = told(partners, path)
    assert job["state"] == end
    for offset, data in ((0, file), (0, b""), (job["offset"], b"")):
        with nothing_stored(partners):
            problem(part(partners, path, data, offset, Upload_Complete="?1", Repr_Digest=repr_digest(file)), 409, word=end)
    assert told(partners, path) == job
    kept = rows(partners, "select order_sealed, state from hub.imports where id = :i", i=job["id"])
    assert kept == [(None, end)]
    assert rows(partners, "select count(*) from hub.import_batches where import = :i and equals <> ''", i=job["id"]) == [(0,)]


def test_a_failed_import_says_why_and_what_landed_before_stays(partners: World) -> None:
    file = csv([*(row(n, "FAILS") for n in range(3)), 'R,"never closed'])
    path = opened(partners, file)
    problem(part(partners, path, file), 422, word="never closed")
    job = told(partners, path)
    assert (job["state"], counts(job)) == ("failed", (3, 3, 0, 0, 0))
    assert "never closed" in job["problem"]["reason"]
    assert len(verdicts(partners, path, outcome="landed")) == 3


def test_what_arrived_is_held_against_the_digest_that_was_announced(partners: World) -> None:
    file = numbered(3, "DIGEST")
    path = opened(partners, file)
    problem(part(partners, path, file.replace(b"DIGEST 1", b"digest 1")), 422, "Repr-Digest")
    job = told(partners, path)
    assert (job["state"], job["problem"]["field"]) == ("failed", "Repr-Digest")
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'DIGEST-%'") == [(0,)]


def test_a_digest_sent_with_a_whole_file_that_announced_none_is_held_against_it(partners: World) -> None:
    file = numbered(3, "LATE")
    path = opened(partners, None)
    problem(part(partners, path, file, Upload_Complete="?1", Repr_Digest=repr_digest(file + b"x")), 422, "Repr-Digest")
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'LATE-%'") == [(0,)]
    path = opened(partners, None)
    assert part(partners, path, file, Upload_Complete="?1", Repr_Digest=repr_digest(file)).json()["state"] == "done"


def test_an_import_that_nobody_has_touched_for_thirty_days_is_forgotten_with_its_report(partners: World) -> None:
    """And what landed stays."""
    old, young = (run(partners, numbered(2, f"{age}-JOB")) for age in ("OLD", "YOUNG"))
    with partners.superuser() as connection:
        for job, days in ((old, 31), (young, 29)):
            statement = sa.text("update hub.imports set updated_at = now() - make_interval(days => :d) where id = :i")
            connection.execute(statement, {"d": days, "i": job["id"]})
    opened(partners, numbered(1, "ANY"))
    problem(partners.http.get(path_of(old), headers=partners.bearer("police")), 404)
    assert rows(partners, "select count(*) from hub.import_batches where import = :i", i=old["id"]) == [(0,)]
    assert len(verdicts(partners, path_of(young))) == 2
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'OLD-JOB-%'") == [(2,)]


@pytest.mark.parametrize("where", ["", "/verdicts"])
def test_head_tells_what_get_tells_but_the_body(partners: World, where: str) -> None:
    path = path_of(run(partners, numbered(2, f"HEAD-{len(where)}"))) + where
    got, head = (partners.http.request(method, path, headers=partners.bearer("police")) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k != "content-length"} == {
        k: v for k, v in got.headers.items() if k != "content-length"
    }


def test_every_import_leaves_the_store_as_it_must_be(partners: World) -> None:
    """Runs last in this module: over everything that the tests above did."""
    assert faults_of(partners) == []
