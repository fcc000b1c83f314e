"""The keyring on a real keys database, as the role that the hub uses."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub.crypto.keyring import AUDIT_CLASS, HUB, MAC_CLASS, Keyring, Opening, Sealing, Shredded
from hub.crypto.providers import FileRootKey
from hub.errors import NotShared, Refused, Tampered, Unavailable

pytestmark = pytest.mark.db

CITY, CLINIC = UUID(int=1), UUID(int=2)
CASE, CONTACT = 1, 2
FIELDS = {4: (CASE, b"narrative"), 5: (CONTACT, b"+44 113 496 0000"), 6: (CASE, b"title")}
AT = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)


def incident(**changed: Any) -> Sealing:
    made: dict[str, Any] = {"owner": CITY, "record": uuid4(), "rev": 1, "schema": 1, "bucket": "2026", "fields": FIELDS}
    return Sealing(**{**made, **changed})


def openings(item: Sealing, blobs: dict[int, bytes]) -> list[Opening]:
    return [Opening(item.owner, item.record, item.rev, item.schema, item.fields[number][0], number, blob) for number, blob in blobs.items()]


def opened(keyring: Keyring, item: Sealing, blobs: dict[int, bytes]) -> dict[int, bytes]:
    return dict(zip(blobs, keyring.open_batch(openings(item, blobs)), strict=True))


def texts(item: Sealing) -> dict[int, bytes]:
    return {number: text for number, (_, text) in item.fields.items()}


def count(engine: sa.Engine, what: str) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {what}").scalar_one())


def change(engine: sa.Engine, statement: str) -> int:
    with engine.begin() as connection:
        return connection.exec_driver_sql(statement).rowcount


def wait_until_blocked(engine: sa.Engine) -> None:
    for _ in range(400):
        if count(engine, "pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"):
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


def test_a_batch_opens_again_in_the_order_asked_for(keyring: Keyring) -> None:
    items = [incident(owner=owner, rev=rev, schema=rev) for owner in (CITY, CLINIC) for rev in (1, 2, 3)]
    sealed = keyring.seal_batch(items)
    assert [opened(keyring, item, blobs) for item, blobs in zip(items, sealed, strict=True)] == [texts(i) for i in items]
    asked = [opening for item, blobs in zip(items, sealed, strict=True) for opening in openings(item, blobs)][::-1]
    assert keyring.open_batch(asked) == [text for item in items for text in texts(item).values()][::-1]


def test_an_empty_batch_and_a_record_without_sealed_fields_need_no_key(keyring: Keyring, keys_admin: sa.Engine) -> None:
    assert keyring.seal_batch([]) == []
    assert keyring.open_batch([]) == []
    assert keyring.seal_batch([incident(fields={})]) == [{}]
    assert count(keys_admin, "keys.kek") == count(keys_admin, "keys.dek") == 0


def test_one_dek_per_revision_and_class_and_one_kek_per_owner_class_and_bucket(keyring: Keyring, keys_admin: sa.Engine) -> None:
    items = [incident(owner=owner, bucket=bucket) for owner in (CITY, CLINIC) for bucket in ("2026", "2027")]
    keyring.seal_batch([*items, *(incident() for _ in range(5))])
    assert count(keys_admin, "keys.kek") == 2 * 2 * 2
    assert count(keys_admin, "keys.dek") == 9 * 2
    assert count(keys_admin, "keys.dek JOIN keys.kek USING (kek_id) WHERE dek.class <> kek.class") == 0


def test_deks_are_committed_before_the_ciphertext_is_returned(keyring: Keyring, keys_admin: sa.Engine) -> None:
    """Asked on another connection, which sees only what is committed."""
    for expected in (2, 4):
        keyring.seal_batch([incident()])
        assert count(keys_admin, "keys.dek") == expected


def test_a_new_process_opens_what_an_earlier_one_sealed(keyring: Keyring, new_process: Callable[[], Keyring]) -> None:
    item = incident()
    (blobs,) = keyring.seal_batch([item])
    later = new_process()
    later.check()
    assert opened(later, item, blobs) == texts(item)
    assert later.seal_batch([incident()])  # with the KEK that is there, not with a second one


def test_another_root_key_is_refused_at_start_up_and_opens_nothing(keyring: Keyring, keys_engine: sa.Engine) -> None:
    item = incident()
    (blobs,) = keyring.seal_batch([item])
    stranger = Keyring(FileRootKey(bytes(32)), keys_engine)
    with pytest.raises(Refused, match="does not fit"):
        stranger.check()
    with pytest.raises(Tampered):
        stranger.open_batch(openings(item, blobs))
    with pytest.raises(Tampered):
        stranger.seal_batch([incident()])


def test_an_empty_keys_database_fits_every_root_key(keys_engine: sa.Engine) -> None:
    Keyring(FileRootKey(bytes(32)), keys_engine).check()


def test_a_retried_publish_keeps_the_dek_so_that_either_attempt_opens(keyring: Keyring, new_process: Callable[[], Keyring]) -> None:
    first = incident()
    again = incident(record=first.record, bucket="2027", fields={4: (CASE, b"said anew"), 5: (CONTACT, b"0")})
    (before,) = keyring.seal_batch([first])
    (after,) = new_process().seal_batch([again])
    assert opened(keyring, first, before) == texts(first)
    assert opened(keyring, again, after) == texts(again)
    assert before[4] != after[4]


def test_a_batch_that_is_partly_a_retry_opens_whole(keyring: Keyring) -> None:
    first, second = incident(), incident()
    keyring.seal_batch([first])
    sealed = keyring.seal_batch([second, first])
    for item, blobs in zip([second, first], sealed, strict=True):
        assert opened(keyring, item, blobs) == texts(item)


def test_processes_that_start_at_once_on_the_same_records_agree_on_every_key(
    new_process: Callable[[], Keyring],
) -> None:
    items = [incident(owner=UUID(int=n % 3 + 1)) for n in range(30)]
    rings = [new_process() for _ in range(6)]
    start, results = threading.Barrier(len(rings)), dict[int, list[dict[int, bytes]]]()

    def publish(n: int) -> None:
        order = items[n % 2 * 7 :] + items[: n % 2 * 7]
        start.wait()
        sealed = dict(zip((item.record for item in order), rings[n].seal_batch(order), strict=True))
        results[n] = [sealed[item.record] for item in items]

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(len(rings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(len(rings)))
    reader = new_process()
    for sealed in results.values():
        assert [opened(reader, i, blobs) for i, blobs in zip(items, sealed, strict=True)] == [texts(i) for i in items]


def test_batches_with_records_in_common_wait_in_one_order_and_cannot_deadlock(keyring: Keyring, keys_admin: sa.Engine) -> None:
    """Another batch has stored the lower record and goes on to the higher one; ours names them the other way round."""
    high, low = incident(record=UUID(int=2**127)), incident(record=UUID(int=1))
    keyring.seal_batch([incident()])
    store = "INSERT INTO keys.dek SELECT '{}', class, 1, kek_id, row FROM keys.dek LIMIT 2"
    with keys_admin.connect() as other, ThreadPoolExecutor(1) as pool:
        other.exec_driver_sql(store.format(low.record))
        ours = pool.submit(keyring.seal_batch, [high, low])
        wait_until_blocked(keys_admin)
        other.exec_driver_sql(store.format(high.record))
        other.rollback()
        assert len(ours.result(timeout=20)) == 2


def test_keys_that_another_thread_lets_go_of_meanwhile_still_seal(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Keyring._keep

    def kept(self: Keyring, row: Any) -> Any:
        found = keep(self, row)
        self._current.clear()  # as after a rotation
        self.forget([])
        return found

    monkeypatch.setattr(Keyring, "_keep", kept)
    item = incident()
    assert opened(keyring, item, keyring.seal_batch([item])[0]) == texts(item)


def test_a_shredded_record_reads_as_absent_and_names_itself_to_the_caller(keyring: Keyring, keys_admin: sa.Engine) -> None:
    kept, gone = incident(), incident()
    sealed = keyring.seal_batch([kept, gone])
    assert change(keys_admin, f"DELETE FROM keys.dek WHERE record = '{gone.record}'") == 2
    with pytest.raises(Shredded) as shredded:
        keyring.open_batch([*openings(kept, sealed[0]), *openings(gone, sealed[1])])
    assert shredded.value.records == {gone.record}
    assert isinstance(shredded.value, NotShared)
    assert str(shredded.value) == str(NotShared())
    assert opened(keyring, kept, sealed[0]) == texts(kept)


def test_a_destroyed_kek_shreds_its_bucket_for_a_process_that_starts_later(
    keyring: Keyring, new_process: Callable[[], Keyring], keys_admin: sa.Engine
) -> None:
    item, other = incident(bucket="2020"), incident(bucket="2027")
    blobs, others = keyring.seal_batch([item, other])
    with keys_admin.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER is_unused ON keys.kek")
        connection.exec_driver_sql("DELETE FROM keys.kek WHERE bucket = '2020'")
    later = new_process()
    with pytest.raises(Shredded):
        later.open_batch(openings(item, blobs))
    assert opened(later, other, others) == texts(other)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keys.dek SET row = set_byte(row, 97, get_byte(row, 97) # 1)",
        "UPDATE keys.dek SET row = set_byte(row, 5, get_byte(row, 5) # 1)",
        "UPDATE keys.dek SET kek_id = (SELECT min(k.kek_id) + max(k.kek_id) - dek.kek_id FROM keys.kek k)",
        "UPDATE keys.dek a SET row = b.row FROM keys.dek b WHERE a.record = b.record AND a.class <> b.class",
        "UPDATE keys.dek a SET row = b.row FROM keys.dek b WHERE a.record <> b.record AND a.class = b.class",
        "UPDATE keys.kek SET owner = '00000000-0000-0000-0000-000000000009'",
        "UPDATE keys.kek SET bucket = bucket || ' '",
        "UPDATE keys.kek SET epoch = epoch + 1",
        "UPDATE keys.kek SET class = class + 10",
        "UPDATE keys.kek SET wrapped = set_byte(wrapped, 61, get_byte(wrapped, 61) # 1)",
        "UPDATE keys.kek a SET wrapped = b.wrapped FROM keys.kek b WHERE a.kek_id <> b.kek_id",
    ],
)
def test_what_an_administrator_of_the_keys_database_changes_is_refused(
    statement: str, keyring: Keyring, new_process: Callable[[], Keyring], keys_admin: sa.Engine
) -> None:
    item, other = incident(), incident()
    blobs, _ = keyring.seal_batch([item, other])
    assert change(keys_admin, statement) > 0
    with pytest.raises(Tampered):
        new_process().open_batch(openings(item, blobs))


def test_a_blob_put_in_the_place_of_another_is_refused(keyring: Keyring) -> None:
    """Every place below exists and has its keys; each differs from the blob's own in one thing."""
    here = incident(fields={4: (CASE, b"a"), 5: (CASE, b"b"), 6: (CONTACT, b"c")})
    later, beside, clinics = incident(record=here.record, rev=2), incident(), incident(owner=CLINIC)
    blob = keyring.seal_batch([here, later, beside, clinics])[0][4]
    own = Opening(CITY, here.record, rev=1, schema=1, cls=CASE, field=4, blob=blob)
    assert keyring.open_batch([own]) == [b"a"]
    for moved in (
        replace(own, owner=CLINIC),
        replace(own, owner=CLINIC, record=clinics.record),
        replace(own, record=beside.record),
        replace(own, rev=2),
        replace(own, schema=2),
        replace(own, cls=CONTACT),
        replace(own, field=5),
    ):
        with pytest.raises(Tampered):
            keyring.open_batch([moved])


@pytest.mark.parametrize("cls", [MAC_CLASS, AUDIT_CLASS, -1, 65536])
def test_the_hubs_own_classes_cannot_be_used_for_records(cls: int, keyring: Keyring) -> None:
    with pytest.raises(ValueError, match="class"):
        keyring.seal_batch([incident(fields={4: (cls, b"x")})])


def test_a_mac_is_stable_across_restarts(keyring: Keyring, new_process: Callable[[], Keyring]) -> None:
    (mac,) = keyring.macs("content", CITY, [b"data"])
    assert len(mac) == 32
    assert keyring.macs("content", CITY, [b"data"]) == new_process().macs("content", CITY, [b"data"]) == [mac]


def test_macs_differ_per_label_owner_and_data(keyring: Keyring) -> None:
    macs = {
        mac
        for label in ("content", "literals")
        for owner in (HUB, CITY, CLINIC)
        for mac in keyring.macs(label, owner, [b"", b"data", CITY.bytes])
    }
    assert len(macs) == 2 * 3 * 3


def test_processes_that_start_at_once_agree_on_a_mac_key(new_process: Callable[[], Keyring]) -> None:
    with ThreadPoolExecutor(6) as pool:
        rings = [new_process() for _ in range(6)]
        assert len(set(pool.map(lambda ring: ring.macs("content", CITY, [b"data"])[0], rings))) == 1


def test_an_unreachable_keys_database_is_unavailable_and_recovers_by_itself(keyring: Keyring, keys_admin: sa.Engine) -> None:
    item = incident()
    (blobs,) = keyring.seal_batch([item])
    with keys_admin.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.rollback()
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        connection.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hub_keys'")
        for call in (lambda: keyring.open_batch(openings(item, blobs)), lambda: keyring.seal_batch([incident()])):
            with pytest.raises(Unavailable):
                call()
        with pytest.raises(Unavailable):
            keyring.macs("content", CITY, [b"data"])
        connection.exec_driver_sql(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert opened(keyring, item, blobs) == texts(item)


def test_an_engine_that_shows_parameters_in_errors_is_not_accepted(keys_admin: sa.Engine) -> None:
    with pytest.raises(ValueError, match="hide_parameters"):
        Keyring(FileRootKey(bytes(32)), keys_admin)


def test_no_secret_shows_in_a_representation(keyring: Keyring) -> None:
    item = incident()
    (blobs,) = keyring.seal_batch([item])
    assert "narrative" not in repr(item) + repr(keyring) + repr(openings(item, blobs))
