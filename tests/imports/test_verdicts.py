"""The verdict of each row: what became of it, why, and what the store says of it."""

from typing import Any

import pytest

from hub.audit.leaf import revisions_in
from tests.api.asking import problem
from tests.imports.files import BY_HASH, BY_ID, HEADER, csv, features, mapping, numbered, row
from tests.imports.sending import IMPORTS, counts, faults_of, opened, part, path_of, rows, run, told, verdicts
from tests.world import World, feature

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def mixed(partners: World) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An import in which each outcome comes up, and its verdicts."""
    run(partners, csv([row(1, "MIX"), row(2, "MIX")]))
    file = csv(
        [
            row(0, "MIX"),
            row(1, "MIX"),
            row(2, "MIX", story="told anew"),
            row(3, "MIX", kind="unknown"),
            row(4, "MIX") + ",one too many",
            "",
            row(5, "MIX", lon=-500),
            row(6, "MIX", when="yesterday", kind="?", lat="north"),
            row(7, "MIX", lon=-79, lat=43),
        ]
    )
    job = run(partners, file)
    return job, verdicts(partners, path_of(job))


def test_there_is_one_verdict_a_row_in_the_order_of_the_file(mixed: Any) -> None:
    job, said = mixed
    assert [v["row"] for v in said] == list(range(1, 9))
    assert [v["outcome"] for v in said] == ["landed", "unchanged", "updated", *["refused"] * 4, "landed"]
    assert counts(job) == (8, 2, 1, 1, 4)
    assert job["flagged"] == 1


def test_a_refused_row_names_its_line_its_column_and_the_reason(mixed: Any) -> None:
    _, said = mixed
    refused = {v["row"]: v for v in said if v["outcome"] == "refused"}
    assert {v["line"] for v in refused.values()} == {5, 6, 8, 9}  # after the header; one line is blank
    assert [e["field"] for e in refused[4]["errors"]] == ["kind → category"]
    assert "7" in refused[5]["errors"][0]["reason"]
    assert [e["field"] for e in refused[6]["errors"]] == ["lon, lat → place"]
    assert {e["field"] for e in refused[7]["errors"]} == {"kind → category", "when → occurred_at", "lon, lat → place"}
    for verdict in refused.values():
        assert verdict.keys() == {"row", "line", "outcome", "errors"}


def test_a_doubt_is_told_of_a_row_that_is_kept(mixed: Any) -> None:
    _, said = mixed
    assert said[-1]["flags"][0]["field"] == "lon, lat → place"
    assert "errors" not in said[-1]


def test_ids_and_revisions_are_those_of_the_store(partners: World, mixed: Any) -> None:
    _, said = mixed
    kept = "select external_id, id::text, rev, revision_no from hub.incidents where external_id like 'MIX-%' order by external_id"
    stored = rows(partners, kept)
    assert stored == [(f"MIX-{v['row'] - 1}", v["id"], v["revision"], v["revision_no"]) for v in said if v["outcome"] != "refused"]
    assert [v["revision"] for v in said if v["outcome"] != "refused"] == [1, 1, 2, 1]


def test_the_leaf_of_a_batch_is_in_the_log_and_names_the_revisions_it_stored(partners: World, mixed: Any) -> None:
    job, said = mixed
    leaves = {v.get("leaf") for v in said if v["outcome"] in ("landed", "updated")}
    assert {v["outcome"] for v in said if "leaf" in v} == {"landed", "updated"}
    (leaf,) = leaves
    ((digest, owner),) = rows(partners, "select leaf_hash, owner from hub.audit_leaves where leaf_hash = decode(:l, 'hex')", l=leaf)
    assert (bytes(digest).hex(), owner) == (leaf, "police")
    body = next(b for b in partners.leaves(type="publish") if b["asked"].get("import") == job["id"])
    new = sorted(v["revision_no"] for v in said if v["outcome"] in ("landed", "updated"))
    assert list(revisions_in(body["shown"]["revisions"])) == new


def test_verdicts_can_be_had_by_outcome(partners: World, mixed: Any) -> None:
    job, said = mixed
    for outcome in ("landed", "updated", "unchanged", "refused"):
        found = verdicts(partners, path_of(job), outcome=outcome)
        assert found == [v for v in said if v["outcome"] == outcome]
        assert len(found) == job[outcome]
    problem(partners.http.get(f"{path_of(job)}/verdicts?outcome=nonsense", headers=partners.bearer("police")), 400, "outcome", "refused")
    problem(partners.http.get(f"{path_of(job)}/verdicts?outcome=", headers=partners.bearer("police")), 400, "outcome")


def test_reading_the_verdicts_is_logged(partners: World, mixed: Any) -> None:
    job, _ = mixed
    before = len(partners.leaves(type="import"))
    verdicts(partners, path_of(job), outcome="refused")
    after = partners.leaves(type="import")
    assert len(after) == before + 1
    assert after[-1]["asked"] == {"import": job["id"], "report": "refused"}
    assert after[-1]["owner"] == "police"


def test_a_verdict_still_names_its_revision_when_the_record_has_moved_on_or_is_withdrawn(partners: World) -> None:
    job = run(partners, numbered(2, "LATER"))
    first = verdicts(partners, path_of(job))
    run(partners, numbered(2, "LATER", story="another one"))
    gone = partners.http.delete(f"/collections/incidents/items/{first[1]['id']}", headers=partners.bearer("police") | {"If-Match": "*"})
    assert gone.status_code == 200, gone.text
    assert verdicts(partners, path_of(job)) == first


@pytest.mark.parametrize("count", [2_000, 2_001, 4_000])
def test_counts_leaves_and_verdicts_add_up_over_batches(partners: World, count: int) -> None:
    name = f"MANY-{count}"
    lines = [row(n, name) if n % 10 else row(n, name, kind="?") for n in range(count)]
    job = run(partners, csv(lines))
    said = verdicts(partners, path_of(job))
    bad = len(range(0, count, 10))
    assert counts(job) == (count, count - bad, 0, 0, bad)
    assert [v["row"] for v in said] == list(range(1, count + 1))
    assert [v["row"] for v in said if v["outcome"] == "refused"] == list(range(1, count + 1, 10))
    batches = rows(partners, "select first_row, length(outcomes), leaf from hub.import_batches where import = :i order by 1", i=job["id"])
    assert [b[0] for b in batches] == list(range(1, count + 1, 2_000))
    assert sum(b[1] for b in batches) == count
    assert [v["leaf"] for v in said if "leaf" in v] == [b[2] for b in batches for _ in range(int(b[1] - b[1] / 10))]
    stored = dict(rows(partners, "select external_id, revision_no from hub.incidents where external_id like :n", n=f"{name}-%"))
    assert stored == {f"{name}-{v['row'] - 1}": v["revision_no"] for v in said if v["outcome"] == "landed"}


def test_the_same_file_again_is_unchanged_throughout(partners: World) -> None:
    file = numbered(2_500, "AGAIN")
    first, again = run(partners, file), run(partners, file)
    assert counts(again) == (2_500, 0, 0, 2_500, 0)
    same = [{k: v[k] for k in ("row", "id", "revision", "revision_no")} for v in verdicts(partners, path_of(first))]
    assert [{k: v[k] for k in ("row", "id", "revision", "revision_no")} for v in verdicts(partners, path_of(again))] == same


@pytest.mark.parametrize("spec", [BY_ID, BY_HASH], ids=["id", "hash"])
def test_a_batch_of_refused_rows_alone_is_a_batch_too(partners: World, spec: dict[str, Any]) -> None:
    job = run(partners, numbered(2_100, "NONE", kind="?"), spec)
    assert counts(job) == (2_100, 0, 0, 0, 2_100)
    assert len(verdicts(partners, path_of(job))) == 2_100
    assert verdicts(partners, path_of(job), outcome="landed") == []


def test_one_external_id_twice_in_a_file_is_two_revisions_in_its_order(partners: World) -> None:
    job = run(partners, csv([row(0, "TWICE"), row(1, "TWICE"), row(0, "TWICE", story="more is known"), row(0, "TWICE")]))
    said = verdicts(partners, path_of(job))
    assert [(v["outcome"], v["revision"]) for v in said] == [("landed", 1), ("landed", 1), ("updated", 2), ("updated", 3)]
    assert len({said[n]["id"] for n in (0, 2, 3)}) == 1
    numbers = [said[n]["revision_no"] for n in (0, 2, 3)]
    assert numbers == sorted(numbers)
    (found,) = partners.items("health", "research", external_id="TWICE-0")
    assert found["properties"]["narrative"] == "TWICE 0"


def test_equal_rows_told_apart_by_their_order_keep_their_ids_when_the_file_comes_again(partners: World) -> None:
    line = row(7, "EQUAL")
    file = csv([line, row(8, "EQUAL"), line, line])
    first, again = run(partners, file, BY_HASH), run(partners, file, BY_HASH)
    assert counts(first) == (4, 4, 0, 0, 0)
    assert counts(again) == (4, 0, 0, 4, 0)
    ids = [v["id"] for v in verdicts(partners, path_of(first))]
    assert ids == [v["id"] for v in verdicts(partners, path_of(again))]
    assert len(set(ids)) == 4
    names = [n for (n,) in rows(partners, "select external_id from hub.incidents where id::text = any(:i)", i=ids)]
    stems = sorted(name.rpartition("-")[0] for name in names)
    assert len(set(stems)) == 2
    assert sorted(name.rpartition("-")[2] for name in names) == ["1", "1", "2", "3"]


def test_features_in_the_hubs_own_words_need_no_mapping(partners: World) -> None:
    good, bad = feature("GEO-1", narrative="Seen."), feature("GEO-2", category="nonsense")
    job = run(partners, features([good, bad, feature("GEO-3")]), None)
    assert counts(job) == (3, 2, 0, 0, 1)
    assert [v["errors"][0]["field"] for v in verdicts(partners, path_of(job), outcome="refused")] == ["properties.category"]


def test_an_outcome_is_told_of_an_import_that_goes_on(partners: World) -> None:
    file = numbered(10, "GOES-ON")
    path = opened(partners, file)
    assert verdicts(partners, path) == []
    half = file.index(b"\n", len(file) // 2) + 1
    part(partners, path, file[:half])
    assert len(verdicts(partners, path)) == told(partners, path)["rows"] > 3


def test_a_header_alone_is_an_import_of_no_rows_and_nothing_at_all_is_no_file(partners: World) -> None:
    file = f"{HEADER}\n".encode()
    job = run(partners, file)
    assert (job["state"], counts(job), job["offset"]) == ("done", (0, 0, 0, 0, 0), len(file))
    assert verdicts(partners, path_of(job)) == []
    problem(part(partners, opened(partners, b""), b""), 422, word="empty")


def test_blank_lines_at_the_end_belong_to_the_file(partners: World) -> None:
    file = numbered(2, "BLANKS") + b"\n\n\n"
    job = run(partners, file)
    assert (job["state"], job["rows"], job["offset"]) == ("done", 2, len(file))


def test_a_row_with_everything_wrong_is_one_refused_row(partners: World) -> None:
    spec = mapping(
        external_id={"column": "id"},
        fields=BY_ID["fields"] | {"severity": {"column": "story"}, "reported_at": {"column": "story", "time": "iso"}},
    )
    everything = row(0, "ALL", id="", kind="\u202e", when="99", lon="1e999", lat="NaN", story="-")
    job = run(partners, csv([everything, row(1, "ALL", story="")]), spec)
    assert counts(job) == (2, 1, 0, 0, 1)
    (refused,) = verdicts(partners, path_of(job), outcome="refused")
    assert len(refused["errors"]) >= 5


def test_an_organisations_verdicts_are_its_own(partners: World, mixed: Any) -> None:
    job, _ = mixed
    absent = partners.http.get(f"{IMPORTS}/00000000-0000-4000-8000-000000000000/verdicts", headers=partners.bearer("ambulance"))
    theirs = partners.http.get(f"{path_of(job)}/verdicts", headers=partners.bearer("ambulance"))
    problem(theirs, 404)
    assert (theirs.content, theirs.status_code) == (absent.content, absent.status_code)


def test_verdicts_leave_the_store_as_it_must_be(partners: World) -> None:
    """Runs last in this module."""
    assert faults_of(partners) == []
