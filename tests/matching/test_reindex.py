"""A new version of the index: filled while lookups go on, broken off at any step, switched at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub.crypto.keys import Ended, Sealing
from hub.datasets import DATASETS
from hub.errors import Unavailable
from hub.sharing.publish import Publishing
from hub.workers import reindexing
from hub.workers.limits import Limits
from hub.workers.matching import Matching
from hub.workers.reindexing import Reindexing, bits_for
from tests.commands import Run, environment
from tests.world import World, feature, grant

COUNT = 12


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health"):
        world.organisation(slug)
    world.mou(folder, "MOU-ASK", "police", "health", [grant(actions=["match"], fields={"phone": "match_only", "vehicles": "match_only"})])
    sent = [feature(f"A-{n}", phone=number(n), vehicles=[{"plate": f"P {n}"}, {"plate": f"Q {n}"}]) for n in range(COUNT)]
    assert world.publish("police", *sent, feature("bare")).status_code == 201
    world.keyd.lending._questions = Limits(1_000_000)
    seal(world, uuid4(), 1)
    seal(world, rows(world, "select id from hub.incidents where external_id = 'A-2'")[0][0], 2)
    assert orphans(world) == 2
    return world


def seal(world: World, record: UUID, rev: int) -> None:
    """As a publication that ends before it stores: tags of what there never is."""
    field = next(f for f in DATASETS["incidents"].matchable() if f.name == "phone")
    (owner,) = rows(world, "select uid from hub.organisations where slug = 'police'")[0]
    sealing = Sealing(UUID(str(owner)), UUID(str(record)), rev, 1, "default", {field.number: (field.cls, b'"+44 20 7946 9999"')})
    world.services.keys.seal_records(1, [sealing])


def orphans(world: World) -> int:
    stored = "select from hub.incidents i where i.id = b.id and i.rev = b.rev"
    count: int = rows(world, f"select count(*) from hub.incidents_blind b where not exists ({stored})")[0][0]
    return count


@pytest.fixture
def work(shared: World, monkeypatch: pytest.MonkeyPatch) -> Reindexing:
    monkeypatch.setattr(reindexing, "AT_ONCE", 5)
    held, dataset = shared.keyd, DATASETS["incidents"]
    matching = Matching("incidents", dataset, held.keyring, held.database.main, None)
    return Reindexing("incidents", dataset, held.keyring, matching, held.database.main)


def number(n: int) -> str:
    return f"+44 20 7946 {n:04d}"


def matched(world: World, n: int) -> bool:
    headers = world.bearer("health", "research")
    for question in ({"field": "phone", "value": number(n)}, {"field": "vehicles", "plate": f"q-{n}"}):
        answer = world.http.post("/collections/incidents/match", json=question, headers=headers)
        assert answer.status_code == 200, answer.text
    found: bool = answer.json()["match"]
    return found


def all_match(world: World, count: int = COUNT) -> bool:
    return [matched(world, n) for n in range(count + 1)] == [True] * count + [False]


def rows(world: World, statement: str) -> list[Any]:
    with world.superuser() as admin:
        return list(admin.execute(sa.text(statement)))


def all_of(work: Reindexing) -> None:
    work.begin()
    while work.fill():
        pass
    work.finish()


@pytest.mark.parametrize(("records", "bits"), [(0, 8), (100, 8), (65_536, 12), (1_000_000, 15), (10**9, 22)])
def test_tags_are_as_long_as_the_number_of_records_asks_for(records: int, bits: int) -> None:
    assert bits_for(records) == bits
    if records > 10_000:
        assert 2 <= records / 2**bits <= records**0.5


def test_lookups_go_on_while_a_new_version_is_made(shared: World, work: Reindexing) -> None:
    before = work._matching.state()
    assert all_match(shared)
    state = work.begin()
    assert (state.version, state.next_version) == (before.version, before.version + 1)
    batches = 0
    while work.fill():
        batches += 1
        assert all_match(shared)
    assert batches == 3
    assert work.finish().version == before.version + 1
    assert all_match(shared)
    assert rows(shared, f"select count(*) from hub.incidents_blind where coalesce(next_version, version) <> {before.version + 1}") == [(0,)]


def test_what_is_published_meanwhile_is_in_both_versions(shared: World, work: Reindexing) -> None:
    work.begin()
    work.fill()
    assert shared.publish("police", feature("late", phone="+44 20 7946 9000"), feature("A-1", phone=number(1))).status_code in (200, 201)
    late = "select next_tag is not null from hub.incidents_blind b join hub.incidents i using (id) where i.external_id in ('late', 'A-1')"
    assert rows(shared, late) == [(True,)] * 2
    while work.fill():
        pass
    work.finish()
    answer = shared.http.post(
        "/collections/incidents/match",
        json={"field": "phone", "value": "+44 20 7946 9000"},
        headers=shared.bearer("health", "research"),
    )
    assert answer.json()["match"]
    sent = [feature("A-1", phone=number(1), vehicles=[{"plate": "P 1"}, {"plate": "Q 1"}])]
    assert shared.publish("police", *sent).status_code == 200


@pytest.mark.parametrize("step", ["begin", "finish"])
def test_a_publication_under_way_when_the_version_changes_begins_again(
    shared: World, work: Reindexing, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step == "finish":
        work.begin()
        while work.fill():
            pass
    store, done = Publishing._store, []

    def late(self: Publishing, *arguments: Any) -> Any:
        if not done:
            done.append(work.begin() if step == "begin" else work.finish())
        return store(self, *arguments)

    monkeypatch.setattr(Publishing, "_store", late)
    assert shared.publish("police", feature(f"race-{step}", phone="+44 20 7946 9100")).status_code == 201
    newest = max(v for v in (work._matching.state().version, work._matching.state().next_version) if v)
    of_it = "select coalesce(next_version, version) from hub.incidents_blind b join hub.incidents i using (id) where external_id = "
    of_it += f"'race-{step}'"
    assert rows(shared, of_it) == [(newest,)]
    all_of(work)


@contextmanager
def breaking(engine: sa.Engine, at: int) -> Iterator[None]:
    """The `at`-th connection that this thread asks for isn't given; the key process's chores go on beside it."""
    seen, own = 0, threading.get_ident()

    def strike(*_: Any) -> None:
        nonlocal seen
        seen += threading.get_ident() == own
        if seen == at and threading.get_ident() == own:
            raise ConnectionAbortedError

    sa.event.listen(engine, "checkout", strike)
    try:
        yield
    finally:
        sa.event.remove(engine, "checkout", strike)


def test_broken_off_at_any_step_lookups_find_everything_and_the_next_run_ends_it(shared: World, work: Reindexing) -> None:
    for at in range(1, 60):
        before, whole = work._matching.state().version, True
        try:
            with breaking(shared.keyd.database.main, at):
                all_of(work)
        except (ConnectionAbortedError, Unavailable):
            whole = False
        assert all_match(shared)
        all_of(work)
        assert work._matching.state().version > before
        assert all_match(shared)
        if whole:
            break
    assert whole
    assert at > 5


def keys_of(world: World) -> dict[str, bool]:
    """The keys of the index, by label: whether they are there."""
    engine = sa.create_engine(world.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as connection:
        found = connection.exec_driver_sql(
            "select bucket, destroyed_at is null and octet_length(wrapped) > 0 from keys.kek where bucket like 'mac:blind:%%'"
        ).all()
    engine.dispose()
    return {bucket.removeprefix("mac:"): bool(there) for bucket, there in found}


def versions_there(world: World) -> set[int]:
    return {int(label.rpartition(":")[2]) for label, there in keys_of(world).items() if there}


def test_the_keys_of_former_versions_are_destroyed_when_the_new_one_is_in_use(shared: World, work: Reindexing) -> None:
    destroying, old = shared.keyd.destroying, work._matching.state().version
    destroying.end_indexes()
    assert versions_there(shared) == {old}
    work.begin()
    while work.fill():
        assert destroying.end_indexes() == 0, "lookups use them"
    assert versions_there(shared) == {old, old + 1}
    work.finish()
    assert destroying.end_indexes() == 2, "one of each field that is in use"
    assert versions_there(shared) == {old + 1}
    ring, label = shared.keyd.keyring, f"blind:1:5:{old}"
    assert label not in ring._macs
    with pytest.raises(Ended):
        ring.macs(label, UUID(int=1), [b"x"])
    assert keys_of(shared)[label] is False
    assert destroying.end_indexes() == 0
    assert all_match(shared)


def test_a_version_that_somebody_made_up_costs_no_key(shared: World, work: Reindexing) -> None:
    """Whoever owns the main database alone: there is no key of that version."""
    there = versions_there(shared)
    with shared.superuser() as admin:
        admin.exec_driver_sql("update hub.blind_index set version = version + 1000000")
    try:
        assert shared.keyd.destroying.end_indexes() == 0
    finally:
        with shared.superuser() as admin:
            admin.exec_driver_sql("update hub.blind_index set version = version - 1000000")
    assert versions_there(shared) >= there
    assert all_match(shared)


def test_a_lookup_that_began_with_the_former_version_finds_what_there_is(
    shared: World, work: Reindexing, monkeypatch: pytest.MonkeyPatch
) -> None:
    matching = shared.keyd.lending._matching[1]
    state, done = matching.state, list[int]()

    def late() -> Any:
        found = state()
        if not done:
            all_of(work)
            done.append(shared.keyd.destroying.end_indexes())
        return found

    monkeypatch.setattr(matching, "state", late)
    assert matched(shared, 0)
    assert done == [2]


def test_a_main_database_of_before_is_published_to_and_looked_up_in_after_the_next_reindex(shared: World, work: Reindexing) -> None:
    """It was put back to before a version whose keys are destroyed since."""
    all_of(work)
    shared.keyd.destroying.end_indexes()
    with shared.superuser() as admin:
        admin.exec_driver_sql("update hub.blind_index set version = version - 1")
        admin.exec_driver_sql("update hub.incidents_blind set version = version - 1, next_version = null, next_tag = null")
    question = {"field": "phone", "value": "+44 20 7946 9300"}
    headers = shared.bearer("health", "research")
    assert shared.publish("police", feature("back", phone="+44 20 7946 9300")).status_code == 201
    answer = shared.http.post("/collections/incidents/match", json=question, headers=headers)
    assert (answer.status_code, "hub reindex" in answer.json()["detail"]) == (503, True)
    all_of(work)
    assert all_match(shared)
    assert shared.http.post("/collections/incidents/match", json=question, headers=headers).json()["match"]


def test_tags_of_what_was_never_stored_go_with_the_next_version_and_those_on_their_way_stay(shared: World, work: Reindexing) -> None:
    seal(shared, uuid4(), 1)
    work.begin()
    seal(shared, uuid4(), 1)  # has tags of both versions
    while work.fill():
        pass
    work.finish()
    assert orphans(shared) == 0
    assert all_match(shared)
    seal(shared, uuid4(), 1)
    work._clear()
    assert orphans(shared) == 1, "it may be stored yet"
    all_of(work)
    assert orphans(shared) == 0


@pytest.mark.parametrize("ends", ["stored", "not stored"])
def test_tags_that_another_transaction_is_taking_away_are_waited_for_by_nobody(shared: World, work: Reindexing, ends: str) -> None:
    seal(shared, uuid4(), 1)
    work.begin()
    while work.fill():
        pass
    with shared.superuser() as admin:
        held = sa.text(
            "delete from hub.incidents_blind b where not exists (select from hub.incidents i where i.id = b.id and i.rev = b.rev)"
        )
        assert admin.execute(held).rowcount > 0
        work.finish()
        if ends == "not stored":
            admin.rollback()
    assert (orphans(shared) == 0) == (ends == "stored")
    all_of(work)
    assert orphans(shared) == 0
    assert all_match(shared)


def test_records_of_before_there_was_an_index_are_taken_in(shared: World, work: Reindexing) -> None:
    with shared.superuser() as admin:
        admin.exec_driver_sql("delete from hub.incidents_blind")
    assert not matched(shared, 0)
    all_of(work)
    assert all_match(shared)


def test_a_record_whose_keys_are_lost_matches_nothing_and_stops_nothing(shared: World, work: Reindexing) -> None:
    assert shared.publish("police", feature("lost", phone="+44 20 7946 9200"), feature("twin", phone="+44 20 7946 9200")).status_code == 201
    (record,) = rows(shared, "select id from hub.incidents where external_id = 'lost'")[0]
    engine = sa.create_engine(shared.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as connection:
        assert connection.execute(sa.text("delete from keys.dek where record = :r"), {"r": record}).rowcount > 0
    engine.dispose()
    question = {"field": "phone", "value": "+44 20 7946 9200"}
    for _ in range(2):
        answer = shared.http.post("/collections/incidents/match", json=question, headers=shared.bearer("health", "research"))
        assert answer.json()["match"], answer.text
        all_of(work)


def test_the_command_says_what_it_did(shared: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(shared).items():
        monkeypatch.setenv(name, value)
    ran = bare("reindex")
    assert ran.code == 0, ran.err
    assert "records of incidents are in version" in ran.out
    assert "whose tags have 8 bits" in ran.out
    assert "no dataset" in bare("reindex", "--dataset", "weather").err
    assert all_match(shared)
