"""Records go when their retention ends: by themselves, with the keys of their bucket, unless a hold keeps them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hub.app import housekeeping
from hub.audit.leaf import By
from hub.crypto.destruction import Destruction
from hub.crypto.keys import Ended, Opening, Sealing
from hub.datasets import DATASETS
from hub.sharing.keeping import Keeping
from hub.sharing.publish import Publisher, Publishing
from hub.sharing.retention import bucket_of, ends_of, kept_until, over
from hub.workers.destroying import Destroying
from hub.workers.upkeep import Held, verify
from tests.imports.files import csv, row
from tests.imports.sending import counts, path_of, run, verdicts
from tests.world import World, feature, grant

FIELDS = {"category": "clear", "occurred_at": "clear", "place": "clear", "narrative": "clear"}
MONTHS = 24


def test_a_record_is_kept_until_full_months_after_its_own_are_over() -> None:
    at = datetime(2021, 1, 31, 23, 59, tzinfo=UTC)
    assert kept_until(at, 1) == date(2021, 3, 1)
    assert kept_until(at, 11) == date(2022, 1, 1)
    assert kept_until(at, 12) == date(2022, 2, 1)
    assert kept_until(at, None) is None
    assert not over(at, 1, datetime(2021, 2, 28, 23, 59, tzinfo=UTC))
    assert over(at, 1, datetime(2021, 3, 1, tzinfo=UTC))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()), st.integers(1, 1_200))
def test_a_bucket_tells_when_it_ends(at: datetime, months: int) -> None:
    until = kept_until(at, months)
    assert ends_of(bucket_of(until)) == until
    assert until is not None
    assert until > at.astimezone(UTC).date() or until == date(9999, 12, 1)
    assert ends_of(bucket_of(None)) is None


@given(st.text(max_size=20) | st.text("-0123456789Wuntil", max_size=14).map("until-".__add__) | st.dates().map(lambda day: f"until-{day}"))
def test_a_name_tells_a_day_or_is_no_buckets(name: str) -> None:
    """Whatever stands in the keys database: one name that can't be read must not keep the others from ending."""
    end = ends_of(name)
    assert end is None or bucket_of(end) == name


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "fire", "health"):
        world.organisation(slug)
    for provider in ("police", "fire"):
        world.mou(tmp_path_factory.mktemp("mous"), f"MOU-{provider.upper()}", provider, "health", [grant(fields=FIELDS)])
    return world


@pytest.fixture(autouse=True)
def _settled(shared: World) -> Iterator[None]:
    """Chores are done when a test says so."""
    yield
    for slug in ("police", "fire"):
        keeping(shared).set(publisher(shared, slug), None)


def keeping(world: World) -> Keeping:
    return Keeping(world.services.datasets["incidents"].publishing)


def publisher(world: World, slug: str) -> Publisher:
    found = rows(world, "select id, uid from hub.organisations where slug = :s", s=slug)[0]
    return Publisher(found.id, UUID(str(found.uid)), slug, By())


def keep(world: World, slug: str, months: int | None) -> None:
    keeping(world).set(publisher(world, slug), months)
    keeping(world).apply(publisher(world, slug))


def uid(world: World, slug: str) -> str:
    return str(publisher(world, slug).uid)


def rows(world: World, statement: str, **values: Any) -> list[Any]:
    with world.superuser() as admin:
        return list(admin.execute(sa.text(statement), values))


def in_keys(world: World, statement: str, **values: Any) -> list[Any]:
    engine = sa.create_engine(world.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as connection:
        found = list(connection.execute(sa.text(statement), values))
    engine.dispose()
    return found


def published(world: World, name: str, at: datetime, client: str = "police") -> str:
    answer = world.publish(client, feature(name, narrative=f"About {name}", occurred_at=at.isoformat()))
    assert answer.status_code in (200, 201), answer.text
    record: str = answer.json()["records"][0]["id"]
    return record


def months_ago(count: int) -> datetime:
    now = datetime.now(UTC)
    month = 12 * now.year + now.month - 1 - count
    return datetime(month // 12, month % 12 + 1, 15, tzinfo=UTC)


def status(world: World, record: str) -> int:
    found: int = world.get("health", "research", f"/collections/incidents/items/{record}").status_code
    return found


def buckets_of(world: World, record: str) -> set[str]:
    joined = "select k.bucket from keys.dek d join keys.kek k using (kek_id) where d.record = cast(:r as uuid)"
    return {bucket for (bucket,) in in_keys(world, joined, r=record)}


def on_the_day_after(world: World, bucket: str) -> Destroying:
    """The key process's work as it is done when a bucket has ended."""
    end = ends_of(bucket)
    assert end is not None
    now = datetime.combine(end, datetime.min.time(), UTC)
    destruction = Destruction(world.keyd.keyring, world.keyd.database.keys)
    return Destroying(world.keyd.keyring, destruction, world.keyd.database.main, DATASETS, lambda: now, 30)


def aged(world: World, name: str, ago: int, client: str = "police") -> tuple[str, str]:
    """A record of so many months ago, in a retention bucket; and the bucket's name. Each test ends a bucket of its own."""
    keep(world, client, MONTHS)
    record = published(world, name, months_ago(ago), client)
    (bucket,) = buckets_of(world, record)
    return record, bucket


def make_due(world: World, *records: str) -> None:
    """As if their last day had come."""
    with world.superuser() as admin:
        for part in ("", "_history"):
            due = f"update hub.incidents{part} set kept_until = current_date where id = any(cast(:r as uuid[]))"
            admin.execute(sa.text(due), {"r": list(records)})


def test_what_is_published_lies_in_the_bucket_of_its_end(shared: World) -> None:
    keep(shared, "police", MONTHS)
    at = months_ago(1)
    record = published(shared, "B-1", at)
    assert buckets_of(shared, record) == {bucket_of(kept_until(at, MONTHS))}
    assert rows(shared, "select kept_until from hub.incidents where id = cast(:r as uuid)", r=record) == [(kept_until(at, MONTHS),)]
    free = published(shared, "B-2", at, "fire")
    assert buckets_of(shared, free) == {"default"}


def test_what_comes_too_late_is_refused_by_name(shared: World) -> None:
    keep(shared, "police", MONTHS)
    answer = shared.publish(
        "police", feature("L-1", occurred_at=months_ago(1).isoformat()), feature("L-2", occurred_at="2001-01-01T00:00:00Z")
    )
    assert answer.status_code == 422
    reason = "is longer ago than your organisation keeps such records (24 months)"
    assert answer.json()["errors"] == [{"field": "features[1].properties.occurred_at", "reason": reason}]
    assert rows(shared, "select 1 from hub.incidents where external_id in ('L-1', 'L-2')") == []


def test_a_row_of_a_file_that_comes_too_late_is_refused_and_the_others_land(shared: World) -> None:
    keep(shared, "police", MONTHS)
    job = run(shared, csv([row(1, "FILE"), row(2, "FILE", when=months_ago(1).isoformat())]))
    assert counts(job) == (2, 1, 0, 0, 1)
    refused = verdicts(shared, path_of(job), outcome="refused")
    assert [e["field"] for e in refused[0]["errors"]] == ["occurred_at"]


def test_a_record_whose_retention_ends_is_destroyed_with_its_bucket(shared: World) -> None:
    at = months_ago(MONTHS + 1)
    record, other = published(shared, "E-1", at), published(shared, "E-2", months_ago(0))
    keep(shared, "police", MONTHS)  # now the first is due; it lies in the bucket of what is kept without end
    housekeeping(shared.services, shared.database)
    assert (status(shared, record), status(shared, other)) == (404, 200)
    shared.keyd.destroying.run()
    assert (buckets_of(shared, record), buckets_of(shared, other) == set()) == (set(), False)
    leaf = [one for one in shared.leaves() if one["type"] == "shred"][-1]
    assert (leaf["asked"], leaf["owner"], leaf["by"]) == ({"because": "retention", "records": 1}, "police", {})


def test_a_buckets_keys_end_at_once_and_open_nothing_any_more(shared: World) -> None:
    record, bucket = aged(shared, "K-1", 2, "fire")
    late = on_the_day_after(shared, bucket)
    make_due(shared, record)
    assert late.end_buckets() == 0, "its records are due and not shredded yet"
    assert status(shared, record) == 200
    housekeeping(shared.services, shared.database)
    assert late.end_buckets() == 1
    wrapped = in_keys(
        shared, "select wrapped, destroyed_at from keys.kek where bucket = :b and owner = cast(:o as uuid)", b=bucket, o=uid(shared, "fire")
    )
    assert len(wrapped) == 2, "one for each class"
    assert all(bytes(w) == b"" and at for w, at in wrapped)
    assert buckets_of(shared, record) == set()
    keyd = shared.keyd
    held = Held(None, keyd.keyring, None, keyd.signer, keyd.database.keys, keyd.database.main)  # type: ignore[arg-type]
    assert verify(held, shared.database.auditor).wrong == []
    sealing = Sealing(publisher(shared, "fire").uid, UUID(int=7), 1, 1, bucket, {4: (3, b'"x"')})
    with pytest.raises(Ended, match="has ended"):
        shared.services.keys.seal_batch([sealing])
    assert not shared.keyd.keyring._keks.keys() & {
        k for (k,) in in_keys(shared, "select kek_id from keys.kek where destroyed_at is not null")
    }


def test_what_is_held_outlives_its_bucket(shared: World) -> None:
    (record, bucket), (gone, same) = aged(shared, "H-1", 3), aged(shared, "H-2", 3)
    assert bucket == same
    body = {"reference": "Claim", "record": record}
    hold = shared.http.post("/collections/incidents/holds", json=body, headers=shared.bearer("police")).json()
    make_due(shared, record, gone)
    housekeeping(shared.services, shared.database)
    on_the_day_after(shared, bucket).end_buckets()
    assert (status(shared, record), status(shared, gone)) == (200, 404)
    assert (buckets_of(shared, record), buckets_of(shared, gone)) == ({"default"}, set())
    opened = shared.get("health", "research", f"/collections/incidents/items/{record}").json()
    assert opened["properties"]["narrative"] == "About H-1"
    shared.http.delete(f"/collections/incidents/holds/{hold['id']}", headers=shared.bearer("police"))
    housekeeping(shared.services, shared.database)
    assert status(shared, record) == 404


def test_a_withdrawn_record_goes_with_its_last_revision(shared: World) -> None:
    record, _ = aged(shared, "W-1", 4)
    assert shared.http.delete(f"/collections/incidents/items/{record}", headers=shared.bearer("police") | {"If-Match": "*"}).is_success
    make_due(shared, record)
    housekeeping(shared.services, shared.database)
    assert rows(shared, "select 1 from hub.incidents_history where id = cast(:r as uuid)", r=record) == []
    assert rows(shared, "select rev from hub.incidents_shredded where id = cast(:r as uuid) order by rev", r=record) == [(1,), (2,)]


def add_kek(world: World, bucket: str) -> int:
    """As a worker could have it made, before bucket names were checked."""
    row = "values (cast(:o as uuid), 3, :b, 1, '\\x01') returning kek_id"
    (number,) = in_keys(world, f"insert into keys.kek (owner, class, bucket, epoch, wrapped) {row}", o=uid(world, "fire"), b=bucket)[0]
    return int(number)


def test_a_bucket_whose_name_tells_no_day_stops_nothing(shared: World) -> None:
    strange = [add_kek(shared, name) for name in ("until-x", "until-", "until-2028-02-30", "until-20200101")]
    record, bucket = aged(shared, "X-1", 7, "fire")
    make_due(shared, record)
    housekeeping(shared.services, shared.database)
    on_the_day_after(shared, bucket).run()
    destroyed = "select count(*) from keys.kek where bucket = :b and owner = cast(:o as uuid) and destroyed_at is not null"
    assert in_keys(shared, destroyed, b=bucket, o=uid(shared, "fire")) == [(2,)]
    left = in_keys(shared, "delete from keys.kek where kek_id = any(:k) returning destroyed_at", k=strange)
    assert left == [(None,)] * len(strange)


def test_a_key_that_was_tampered_with_stops_its_own_bucket_alone(shared: World) -> None:
    (held, bad), (gone, good) = aged(shared, "T-1", 9), aged(shared, "T-2", 8)
    assert bad < good, "it comes first"
    hold = {"reference": "Claim", "record": held}
    assert shared.http.post("/collections/incidents/holds", json=hold, headers=shared.bearer("police")).is_success
    make_due(shared, held, gone)
    in_keys(shared, "update keys.dek set row = overlay(row placing '\\x00' from 50) where record = cast(:r as uuid) returning 1", r=held)
    housekeeping(shared.services, shared.database)
    (order,) = [published(shared, "T-3", months_ago(0), "fire")]
    assert shared.http.post("/collections/incidents/shreds", json={"records": [order]}, headers=shared.bearer("fire")).status_code == 202
    late = on_the_day_after(shared, good)
    late.run()
    destroyed = "select count(*) from keys.kek where bucket = :b and owner = cast(:o as uuid) and destroyed_at is not null"
    assert in_keys(shared, destroyed, b=good, o=uid(shared, "police")) == [(2,)]
    assert in_keys(shared, destroyed, b=bad, o=uid(shared, "police")) == [(0,)]
    assert buckets_of(shared, order) == set()


def test_a_rule_that_is_taken_away_keeps_what_is_stored(shared: World) -> None:
    record, bucket = aged(shared, "N-1", 5)
    keep(shared, "police", None)
    on_the_day_after(shared, bucket).end_buckets()
    assert buckets_of(shared, record) == {"default"}
    assert status(shared, record) == 200


def test_a_batch_on_its_way_in_when_its_bucket_ends_still_opens(shared: World) -> None:
    """Its keys are durable before its records are: whoever ends the bucket can't know that they will come."""
    keep(shared, "police", MONTHS)
    bucket = bucket_of(kept_until(months_ago(6), MONTHS))
    owner, record = publisher(shared, "police").uid, UUID(int=4_711)
    (blobs,) = shared.services.keys.seal_batch([Sealing(owner, record, 1, 1, bucket, {4: (3, b'"soon"')})])
    assert on_the_day_after(shared, bucket).end_buckets() == 1
    assert shared.keyd.keyring.open_batch([Opening(owner, record, 1, 1, 3, 4, blobs[4])]) == [b'"soon"']


def sealing_when_it_ended(world: World, monkeypatch: pytest.MonkeyPatch, bucket: str, clock_too: bool) -> None:
    """The next batch is planned before its bucket ends, and sealed after."""
    seal, done, until = Publishing._seal, list[int](), ends_of(bucket)
    assert until is not None

    def late(self: Publishing, *arguments: Any) -> None:
        if not done:
            done.append(on_the_day_after(world, bucket).end_buckets())
            if clock_too:
                midnight = datetime.combine(until, datetime.min.time(), UTC)
                monkeypatch.setattr(world.clock, "ahead", midnight - datetime.now(UTC) + timedelta(minutes=1))
        seal(self, *arguments)

    monkeypatch.setattr(Publishing, "_seal", late)


@pytest.mark.parametrize(("ago", "clock_too"), [(11, True), (10, False)], ids=["midnight", "clocks apart"])
def test_a_batch_that_is_sealed_when_its_bucket_has_ended_is_told_that_it_comes_too_late(
    shared: World, monkeypatch: pytest.MonkeyPatch, ago: int, clock_too: bool
) -> None:
    name = f"M-{ago}"
    _, bucket = aged(shared, name, ago)
    before = shared.clock.ahead
    with monkeypatch.context() as patch:
        sealing_when_it_ended(shared, patch, bucket, clock_too)
        answer = shared.publish("police", feature(name, narrative="again", occurred_at=months_ago(ago).isoformat()))
    assert shared.clock.ahead == before
    if clock_too:
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["reason"] == "is longer ago than your organisation keeps such records (24 months)"
    else:
        assert answer.status_code == 409, "worth repeating: the hub's own day is about to end"


def test_what_is_sealed_while_a_rule_comes_is_kept_by_that_rule(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would stay for good: the rule was applied before it was there."""
    keep(shared, "police", None)
    seal, done = Publishing._seal, list[int]()

    def late(self: Publishing, *arguments: Any) -> None:
        seal(self, *arguments)
        if not done:
            done.append(1)
            keep(shared, "police", MONTHS)

    with monkeypatch.context() as patch:
        patch.setattr(Publishing, "_seal", late)
        record = published(shared, "R-1", months_ago(9))
    assert rows(shared, "select kept_until from hub.incidents where id = cast(:r as uuid)", r=record) == [
        (kept_until(months_ago(9), MONTHS),)
    ]
    assert done == [1]


def test_a_destroyed_key_cannot_be_put_back(shared: World) -> None:
    in_keys(
        shared,
        "insert into keys.kek (owner, class, bucket, epoch, wrapped, destroyed_at)"
        " values (gen_random_uuid(), 1, 'until-2000-01-01', 1, '', now()) returning 1",
    )
    with pytest.raises(sa.exc.IntegrityError, match="kek_destroyed"):
        in_keys(shared, "update keys.kek set wrapped = '\\x01' where destroyed_at is not null returning 1")


def test_a_record_that_cannot_be_destroyed_keeps_no_other(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a broken store holds twice, among others of its owner, and of another owner."""
    stuck, *others = (published(shared, f"D-{n}", months_ago(1)) for n in range(5))
    others.append(published(shared, "D-5", months_ago(1), "fire"))
    with shared.superuser() as admin:
        columns = admin.exec_driver_sql(
            "select string_agg(column_name, ', ') from information_schema.columns where table_schema = 'hub'"
            " and table_name = 'incidents_history'"
        ).scalar_one()
        admin.exec_driver_sql(f"insert into hub.incidents_history ({columns}) select {columns} from hub.incidents where id = %s", (stuck,))
    make_due(shared, stuck, *others)
    told = list[dict[str, str]]()
    monkeypatch.setattr("hub.sharing.shredding._log", SimpleNamespace(error=lambda _event, **line: told.append(line)))
    housekeeping(shared.services, shared.database)
    assert [status(shared, record) for record in others] == [404] * 5
    assert status(shared, stuck) == 200
    assert [line["record"] for line in told] == [stuck]
    with shared.superuser() as admin:
        admin.exec_driver_sql("delete from hub.incidents_history where id = %s", (stuck,))
    housekeeping(shared.services, shared.database)
    assert status(shared, stuck) == 404
