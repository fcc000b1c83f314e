"""Rows take effect in the order of the file, though batches are prepared ahead of each other."""

import random

import pytest

from tests.imports.files import csv, row
from tests.imports.sending import faults_of, path_of, rows, run, verdicts
from tests.imports.test_put_delete import delete
from tests.world import World

pytestmark = pytest.mark.db
BATCH = 2_000


def test_a_record_that_comes_back_to_what_it_was_in_a_later_batch_ends_as_the_file_says(partners: World) -> None:
    """The second batch is prepared while the first is under way: what it found in the store then is not what it meets."""
    run(partners, csv([row(0, "BACK")]))
    filler = [row(n, "BACK") for n in range(1, BATCH)]
    changed = row(0, "BACK", story="changed")
    job = run(partners, csv([changed, *filler, row(0, "BACK")]))
    said = [v for v in verdicts(partners, path_of(job)) if v["row"] in (1, BATCH + 1)]
    assert [(v["outcome"], v["revision"]) for v in said] == [("updated", 2), ("updated", 3)]
    assert rows(partners, "select rev from hub.incidents where external_id = 'BACK-0'") == [(3,)]


class Model:
    """What becomes of rows, one after the other, as the rules have it: content and revision of each external id."""

    def __init__(self) -> None:
        self.content: dict[str, str | None] = {}  # None: withdrawn
        self.revision: dict[str, int] = {}

    def take(self, name: str, content: str) -> tuple[str, int]:
        if self.content.get(name) == content:
            return "unchanged", self.revision[name]
        self.content[name], self.revision[name] = content, self.revision.get(name, 0) + 1
        return ("landed" if self.revision[name] == 1 else "updated"), self.revision[name]

    def withdraw(self, name: str) -> None:
        self.content[name], self.revision[name] = None, self.revision[name] + 1


@pytest.mark.parametrize("seed", range(6))
def test_files_of_few_records_that_change_often_end_as_if_their_rows_came_one_by_one(
    partners: World, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Short batches, so that one record is in several of them; between the files some records are withdrawn."""
    monkeypatch.setattr("hub.sharing.upload.BATCH", 7)
    chance, model, ids = random.Random(seed), Model(), dict[str, str]()
    for _ in range(3):
        sent = [(f"MODEL-{seed}-{chance.randrange(12)}", chance.choice("abc")) for _ in range(120)]
        expected = [model.take(name, content) for name, content in sent]
        job = run(partners, csv(row(0, id=name, story=content) for name, content in sent))
        said = verdicts(partners, path_of(job))
        assert [(v["outcome"], v["revision"]) for v in said] == expected
        numbers = {(v["id"], v["revision"]): v["revision_no"] for v in said}
        assert all(numbers[v["id"], v["revision"]] == v["revision_no"] for v in said)
        ids |= {name: v["id"] for (name, _), v in zip(sent, said, strict=True)}
        for name in chance.sample(sorted(ids), 3):
            if model.content[name] is not None:
                assert delete(partners, ids[name]).status_code == 200
                model.withdraw(name)
    shown = {f["properties"]["external_id"]: f["properties"]["narrative"] for f in partners.items("health", "research")}
    assert {n: c for n, c in shown.items() if n.startswith(f"MODEL-{seed}-")} == {n: c for n, c in model.content.items() if c is not None}
    assert faults_of(partners) == []
