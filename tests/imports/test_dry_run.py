"""A dry run says what would become of each row, and stores nothing."""

from typing import Any

import pytest

from tests.api.asking import stored
from tests.imports.files import BY_HASH, BY_ID, csv, features, numbered, row
from tests.imports.sending import counts, opened, part, path_of, resume, rows, run, told, verdicts
from tests.world import World, feature

pytestmark = pytest.mark.db


def kept(world: World) -> dict[str, int]:
    """Everything but the import itself: its leaf, and the key of its mapping."""
    return {name: count for name, count in stored(world).items() if name not in ("audit_leaves", "dek")}


def publications(world: World) -> int:
    return len(world.leaves(type="publish"))


@pytest.mark.parametrize("spec", [BY_ID, BY_HASH], ids=["id", "hash"])
def test_a_dry_run_foretells_what_the_import_then_does(partners: World, spec: dict[str, Any]) -> None:
    name = "DRY-" + ("hash" if spec is BY_HASH else "id")
    run(partners, csv([row(n, name) for n in range(3)]), spec)
    repeated = row(10, name)
    changed = [row(n, name, story="anew", kind="T") for n in range(2)]
    file = csv([*changed, row(2, name), row(3, name), row(4, name, kind="?"), repeated, repeated])
    before, leaves, deks = kept(partners), publications(partners), stored(partners)["dek"]
    foretold = run(partners, file, spec, dry_run=True)
    assert (kept(partners), publications(partners)) == (before, leaves)
    assert stored(partners)["dek"] == deks + 1  # of the mapping
    real = run(partners, file, spec)
    assert counts(foretold) == counts(real)
    said, became = (verdicts(partners, path_of(job)) for job in (foretold, real))
    assert [v["outcome"] for v in said] == [v["outcome"] for v in became]
    assert [v.get("errors") for v in said] == [v.get("errors") for v in became]
    assert not [v for v in said if v.keys() & {"id", "revision", "revision_no", "leaf"}]


def test_a_dry_run_without_a_mapping_stores_nothing_either(partners: World) -> None:
    before = kept(partners)
    job = run(partners, features([feature("DRY-GEO", narrative="x"), feature("DRY-GEO-2", category="?")]), None, dry_run=True)
    assert (job["dry_run"], counts(job)) == (True, (2, 1, 0, 0, 1))
    assert kept(partners) == before


def test_a_dry_run_over_several_batches_and_parts_stores_nothing(partners: World) -> None:
    file = numbered(4_500, "DRY-LONG")
    before = kept(partners)
    path = opened(partners, file, dry_run=True)
    cut = file.index(b"\n", len(file) // 2) + 1
    part(partners, path, file[:cut])
    assert 0 < told(partners, path)["rows"] < 4_500
    job = resume(partners, path, file)
    assert (job["state"], counts(job)) == ("done", (4_500, 4_500, 0, 0, 0))
    assert kept(partners) == before
    assert rows(partners, "select count(*) from hub.import_batches where import = :i and leaf is not null", i=job["id"]) == [(0,)]
    assert len(verdicts(partners, path)) == 4_500


def test_a_dry_run_leaves_the_import_proper_its_ids(partners: World) -> None:
    """Ordinals of equal rows are counted per import."""
    file = csv([row(1, "DRY-EQUAL")] * 3)
    run(partners, file, BY_HASH, dry_run=True)
    job = run(partners, file, BY_HASH)
    ids = [v["id"] for v in verdicts(partners, path_of(job))]
    names = rows(partners, "select external_id from hub.incidents where id::text = any(:i)", i=ids)
    assert sorted(n.rpartition("-")[2] for (n,) in names) == ["1", "2", "3"]
