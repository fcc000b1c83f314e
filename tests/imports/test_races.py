"""Several at once: importing, publishing, replacing and withdrawing the same records, and cancelling what is being sent."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.db import Transaction, transaction
from hub.sharing.publish import Publishing
from hub.sharing.upload import Upload
from tests.api.asking import ITEMS, problem, send
from tests.imports.files import BY_HASH, BY_ID, csv, numbered, repr_digest, row
from tests.imports.sending import (
    IMPORTS,
    counts,
    faults,
    faults_of,
    open_import,
    opened,
    order,
    part,
    path_of,
    resume,
    rows,
    told,
    verdicts,
)
from tests.imports.test_put_delete import delete, make, put, receipt
from tests.world import World, feature

pytestmark = pytest.mark.db


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each gives, in their order; they begin together."""
    start, found = threading.Barrier(len(works)), [None] * len(works)

    def run(n: int, work: Callable[[], Any]) -> None:
        start.wait()
        found[n] = work()

    running = [threading.Thread(target=run, args=(n, work)) for n, work in enumerate(works)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
        assert not thread.is_alive()
    return found


@pytest.mark.parametrize("spec", [BY_ID, BY_HASH], ids=["id", "hash"])
def test_of_two_requests_for_one_import_one_wins_and_no_row_comes_twice(partners: World, spec: dict[str, Any]) -> None:
    name = "ONE-WINS-" + ("hash" if spec is BY_HASH else "id")
    file = numbered(4_100, name)
    path = opened(partners, file, spec)
    answers = at_once(*[lambda: part(partners, path, file)] * 3)
    statuses = Counter(a.status_code for a in answers)
    assert statuses[200] <= 1
    assert set(statuses) <= {200, 409}, [a.text for a in answers]
    assert statuses[409] >= 2
    job = told(partners, path)
    if job["state"] == "open":  # they took turns, until each had lost
        job = resume(partners, path, file)
    assert (job["state"], counts(job)) == ("done", (4_100, 4_100, 0, 0, 0))
    said = verdicts(partners, path)
    assert [v["row"] for v in said] == list(range(1, 4_101))
    assert len({v["id"] for v in said}) == 4_100
    assert {v["revision"] for v in said} == {1}
    assert faults_of(partners) == []


def test_two_clients_of_one_organisation_import_the_same_records_at_once(partners: World) -> None:
    """Each row of both files is one revision, in one order; both imports come to their end."""
    files = [csv(row(n, "BOTH", story=f"told by {who}") for n in range(2_500)) for who in ("one", "two")]
    paths = [opened(partners, file) for file in files]
    answers = at_once(*[lambda p=p, f=f: part(partners, p, f) for p, f in zip(paths, files, strict=True)])  # type: ignore[misc]
    for path, file, answer in zip(paths, files, answers, strict=True):
        while answer.status_code != 200:
            assert answer.status_code in (409, 503), answer.text
            answer = part(partners, path, file[(at := told(partners, path)["offset"]) :], at, Repr_Digest=repr_digest(file))
    jobs = [told(partners, path) for path in paths]
    assert [(j["state"], j["rows"], j["refused"], j["unchanged"]) for j in jobs] == [("done", 2_500, 0, 0)] * 2
    said = [v for path in paths for v in verdicts(partners, path)]
    revisions: dict[str, list[int]] = {}
    for verdict in said:
        revisions.setdefault(verdict["id"], []).append(verdict["revision"])
    assert len(revisions) == 2_500
    assert all(sorted(r) == [1, 2] for r in revisions.values())
    assert len({v["revision_no"] for v in said}) == 5_000
    assert sum(j["landed"] for j in jobs) == sum(j["updated"] for j in jobs) == 2_500
    assert faults_of(partners) == []


def test_requests_that_open_the_same_import_at_once_get_the_same_one(partners: World) -> None:
    file = numbered(2, "OPEN-AT-ONCE")
    answers = at_once(*[lambda: open_import(partners, order(file))] * 6)
    assert Counter(a.status_code for a in answers) == {201: 1, 200: 5}
    assert len({a.json()["id"] for a in answers}) == 1


def test_no_more_imports_are_open_than_may_be_however_many_ask_at_once(partners: World) -> None:
    before = partners.http.get(IMPORTS, headers=partners.bearer("ambulance")).json()["imports"]
    free = 20 - sum(job["state"] == "open" for job in before)
    answers = at_once(*[lambda: open_import(partners, order(None), "ambulance")] * (free + 10))
    assert Counter(a.status_code for a in answers) == {201: free, 409: 10}
    refused = next(a for a in answers if a.status_code == 409)
    problem(refused, 409, word="20 imports")
    made = [path_of(a.json()) for a in answers if a.status_code == 201]
    partners.http.delete(made[0], headers=partners.bearer("ambulance"))
    assert open_import(partners, order(None), "ambulance").status_code == 201
    assert open_import(partners, order(None)).status_code == 201  # another organisation's are its own
    for path in made:
        partners.http.delete(path, headers=partners.bearer("ambulance"))


def test_an_import_that_is_cancelled_while_a_part_is_sent_stores_whole_batches_up_to_then(
    partners: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = numbered(10_000, "CANCELLED")
    path = opened(partners, file)
    begun, go_on = threading.Event(), threading.Event()
    commit = Upload._commit

    def waiting(self: Upload, batch: Any, previous: Any) -> None:
        if batch.first > 4_000:
            begun.set()
            assert go_on.wait(20)
        commit(self, batch, previous)

    monkeypatch.setattr(Upload, "_commit", waiting)

    def cancel() -> Any:
        assert begun.wait(20)
        answer = partners.http.delete(path, headers=partners.bearer("police"))
        go_on.set()
        return answer

    sent, cancelled = at_once(lambda: part(partners, path, file), cancel)
    assert cancelled.status_code == 200
    problem(sent, 409, word="cancelled")
    job = told(partners, path)
    assert job["state"] == "cancelled"
    assert job["rows"] in (2_000, 4_000)  # the second may have been under way
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'CANCELLED-%'") == [(job["landed"],)]
    assert len(verdicts(partners, path)) == job["rows"]


# --- changing one record by several ways -------------------------------------------------------------------------------------------


def test_publishing_replacing_withdrawing_and_importing_one_record_at_once_gives_one_row_of_history(partners: World) -> None:
    chance, names = random.Random(20261122), [f"RACE-{n}" for n in range(3)]
    ids = {name: make(partners, name)["id"] for name in names}
    answers: list[Any] = []

    def work(seed: int) -> Callable[[], None]:
        own = random.Random(seed)

        def run() -> None:
            for n in range(12):
                name = own.choice(names)
                way = own.choice(("post", "put", "delete", "import"))
                content = feature(name, narrative=f"{seed} {n}")
                if way == "post":
                    answers.append((way, send(partners, content)))
                elif way == "put":
                    answers.append((way, put(partners, ids[name], content, own.choice(("*", '"1"', '"2","3","4","5","6"')))))
                elif way == "delete":
                    answers.append((way, delete(partners, ids[name])))
                else:
                    file = csv(row(int(x[-1]), "RACE", story=f"{seed} {n} {x}") for x in names)
                    answers.append((way, part(partners, opened(partners, file), file)))

        return run

    at_once(*[work(chance.getrandbits(32)) for _ in range(5)])
    allowed = {"post": {200, 409}, "put": {200, 404, 409, 412}, "delete": {200, 404, 409, 412}, "import": {200, 409}}
    wrong = [(way, a.status_code, a.text[:200]) for way, a in answers if a.status_code not in allowed[way]]
    assert wrong == []
    assert faults_of(partners) == []
    found = rows(partners, "select external_id, count(*) from hub.incidents where external_id like 'RACE-_' group by 1")
    assert all(count == 1 for _, count in found)
    told_of = [(r["id"], r["revision"]) for way, a in answers if way != "import" and a.status_code in (200, 201) for r in changed(a)]
    assert len(told_of) == len(set(told_of))


def changed(answer: Any) -> list[dict[str, Any]]:
    return [r for r in answer.json()["records"] if r["outcome"] != "unchanged"]


def test_of_two_replacements_of_one_revision_one_is_told_that_it_came_too_late(partners: World) -> None:
    for n in range(5):
        record = make(partners, f"PUT-RACE-{n}")
        works = [lambda w=w: put(partners, record, feature(f"PUT-RACE-{n}", narrative=w), '"1"') for w in "ab"]  # type: ignore[misc] # noqa: B023
        assert Counter(a.status_code for a in at_once(*works)) == {200: 1, 412: 1}
    assert faults_of(partners) == []


def test_of_two_withdrawals_one_finds_it_gone(partners: World) -> None:
    for n in range(5):
        record = make(partners, f"DELETE-RACE-{n}")
        statuses = Counter(a.status_code for a in at_once(*[lambda: delete(partners, record)] * 2))  # noqa: B023
        assert statuses in ({200: 1, 404: 1}, {200: 1, 412: 1})
    assert faults_of(partners) == []


@pytest.mark.parametrize("match", ["*", '"1"', '"2"', '"1","2"'])
def test_a_replacement_that_meets_a_withdrawal_does_not_bring_the_record_back(
    partners: World, monkeypatch: pytest.MonkeyPatch, match: str
) -> None:
    """The withdrawal is acknowledged between the replacement's look and its storing."""
    name = f"MEETS-{match}"
    record = make(partners, name)
    store = Publishing.store

    def withdrawn_first(self: Publishing, *arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(Publishing, "store", store)
        receipt(delete(partners, record))
        return store(self, *arguments, **more)

    monkeypatch.setattr(Publishing, "store", withdrawn_first)
    answer = put(partners, record, feature(name, narrative="x"), match)
    assert answer.status_code in (404, 412), answer.text
    assert partners.get("health", "research", f"{ITEMS}/{record['id']}").status_code == 404
    assert faults_of(partners) == []


@pytest.mark.parametrize("fault", ["a number twice", "a gap", "two of one name"])
def test_a_store_that_is_not_as_it_must_be_is_noticed(partners: World, fault: str) -> None:
    """Control for `faults_of`."""
    record = make(partners, f"CONTROL {fault}")
    put(partners, record, feature(f"CONTROL {fault}", narrative="x"))
    other = make(partners, f"CONTROL {fault} 2")
    spoil = {
        "a number twice": f"update hub.incidents_history set revision_no = {other['revision_no']} where id = '{record['id']}'",
        "a gap": f"delete from hub.incidents_history where id = '{record['id']}'",
        "two of one name": f"update hub.incidents_history set external_id = 'CONTROL {fault} 2' where id = '{record['id']}'",
    }[fault]
    assert faults_of(partners) == []
    engine = sa.create_engine(partners.addresses.main, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(spoil)
        assert faults(lambda statement: [tuple(r) for r in connection.exec_driver_sql(statement)])
        connection.rollback()
    assert faults_of(partners) == []


# --- what a reader sees meanwhile ----------------------------------------------------------------------------------------------------


def watched(partners: World, file: bytes, name: str) -> Counter[int]:
    """How many of the file's rows there were, as often as one could look while it was imported."""
    seen, over = Counter[int](), threading.Event()

    def look() -> None:
        while not over.is_set():
            seen[len(partners.items("health", "research", category="weapons", limit=1000))] += 1

    def send_it() -> None:
        try:
            part(partners, opened(partners, file), file)
        finally:
            over.set()

    at_once(look, send_it)
    return seen


def test_a_reader_sees_whole_batches_or_nothing_of_them(partners: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in one request: of a batch of 500 all are there or none."""
    monkeypatch.setattr("hub.sharing.upload.BATCH", 500)
    spec_file = csv(row(n, "WHOLE", kind="T") for n in range(500))
    kinds = BY_ID["fields"]["category"] | {"map": {"T": "weapons"}}
    monkeypatch.setitem(BY_ID["fields"], "category", kinds)
    for _ in range(3):
        seen = watched(partners, spec_file, "WHOLE")
        assert set(seen) <= {0, 500}, seen
    assert partners.items("health", "research", category="weapons", limit=1000)


def test_smaller_commits_would_be_seen(partners: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with batches of 20, and a moment between them, a reader meets parts of 500."""
    monkeypatch.setattr("hub.sharing.upload.BATCH", 20)
    advance = Upload._advance

    def slowly(self: Upload, *arguments: Any) -> Any:
        time.sleep(0.05)  # in the transaction that is about to commit: the one before it shows meanwhile
        return advance(self, *arguments)

    monkeypatch.setattr(Upload, "_advance", slowly)
    kinds = BY_ID["fields"]["category"] | {"map": {"T": "weapons"}}
    monkeypatch.setitem(BY_ID["fields"], "category", kinds)
    before = len(partners.items("health", "research", category="weapons", limit=1000))
    seen = watched(partners, csv(row(n, "PARTS", kind="T") for n in range(480)), "PARTS")
    assert set(seen) - {before, before + 480}, seen


def test_a_position_that_is_committed_apart_from_the_rows_is_noticed(partners: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the position is moved in a transaction of its own, before the rows; then the rows fail once."""
    file, fail = numbered(4_000, "APART"), [True]
    path = opened(partners, file)
    advance = Upload._advance

    def apart(self: Upload, tx: Transaction, batch: Any, *more: Any) -> Any:
        with transaction(self._imports.engine) as other:
            other.rows("begin")
            found = advance(self, other, batch, *more)
            other.rows("commit")
        if batch.first > 2_000 and fail:
            fail.clear()
            raise RuntimeError("killed here")
        return found

    monkeypatch.setattr(Upload, "_advance", apart)
    assert part(partners, path, file).status_code == 500
    job = resume(partners, path, file)
    assert job["state"] == "done"
    assert job["landed"] == 4_000
    assert rows(partners, "select count(*) from hub.incidents where external_id like 'APART-%'") == [(2_000,)]
