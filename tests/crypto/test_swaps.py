"""Any two of a kind exchanged, every pair there is: data keys, key-encryption keys and ciphertexts, of two owners, records, revisions,
classes and buckets. Both are refused wherever they are put, and everything opens after.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub.crypto.keyring import Dek, Keyring
from hub.crypto.keys import Opening, Sealing
from hub.errors import Tampered

pytestmark = pytest.mark.db
CITY, CLINIC = UUID(int=1), UUID(int=2)
CASE, CONTACT = 1, 2
FIELDS = {4: CASE, 5: CONTACT, 6: CASE}
_EXCHANGE_DEKS = sa.text("""
    update keys.dek d set row = o.row, kek_id = o.kek_id from keys.dek o
    where ((d.record, d.class, d.rev) = (:a, :ac, :ar) and (o.record, o.class, o.rev) = (:b, :bc, :br))
       or ((d.record, d.class, d.rev) = (:b, :bc, :br) and (o.record, o.class, o.rev) = (:a, :ac, :ar))""")
_EXCHANGE_KEKS = sa.text("""
    update keys.kek k set wrapped = o.wrapped from keys.kek o
    where (k.kek_id, o.kek_id) in ((:a, :b), (:b, :a))""")


@pytest.fixture
def there(keyring: Keyring) -> list[Opening]:
    """For each owner a record in each of two buckets, with two revisions of two classes; what opens each field, and its text."""
    records = {(owner, bucket): uuid4() for owner in (CITY, CLINIC) for bucket in ("2026", "2027")}
    items = [
        Sealing(owner, record, rev, 1, bucket, {number: (cls, b"the same text") for number, cls in FIELDS.items()})
        for (owner, bucket), record in records.items()
        for rev in (1, 2)
    ]
    sealed = keyring.seal_batch(items)
    return [
        Opening(i.owner, i.record, i.rev, 1, FIELDS[number], number, blob)
        for i, blobs in zip(items, sealed, strict=True)
        for number, blob in blobs.items()
    ]


def all_open(keyring: Keyring, there: list[Opening]) -> bool:
    return keyring.open_batch(there) == [b"the same text"] * len(there)


def refused(keyring: Keyring, opening: Opening) -> bool:
    try:
        keyring.open_batch([opening])
    except Tampered:
        return True
    return False


def dek_of(opening: Opening) -> Dek:
    return Dek(opening.owner, opening.record, opening.cls, opening.rev)


def test_any_two_data_keys_exchanged_in_the_database_are_both_refused(
    keyring: Keyring, keys_admin: sa.Engine, there: list[Opening]
) -> None:
    of = {dek_of(o): o for o in there}
    pairs = list(combinations(of, 2))
    assert len(pairs) == 16 * 15 // 2
    opened = []
    with keys_admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for a, b in pairs:
            both = {"a": a.record, "ac": a.cls, "ar": a.rev, "b": b.record, "bc": b.cls, "br": b.rev}
            assert connection.execute(_EXCHANGE_DEKS, both).rowcount == 2
            opened += [(a, b) for one in (a, b) if not refused(keyring, of[one])]
            connection.execute(_EXCHANGE_DEKS, both)
    assert opened == []
    assert all_open(keyring, there)


def test_any_two_key_encryption_keys_exchanged_in_the_database_are_both_refused(
    new_process: Callable[[], Keyring], keys_admin: sa.Engine, there: list[Opening]
) -> None:
    with keys_admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        wraps: dict[int, list[Opening]] = {}
        for kek, record, cls, rev in connection.exec_driver_sql("select kek_id, record, class, rev from keys.dek"):
            wraps.setdefault(kek, []).extend(o for o in there if (o.record, o.cls, o.rev) == (UUID(str(record)), cls, rev))
        assert len(wraps) == 8
        opened = []
        for a, b in combinations(wraps, 2):
            assert connection.execute(_EXCHANGE_KEKS, {"a": a, "b": b}).rowcount == 2
            later = new_process()  # one that has opened no key yet
            opened += [(a, b) for one in (a, b) for o in wraps[one] if not refused(later, o)]
            connection.execute(_EXCHANGE_KEKS, {"a": a, "b": b})
    assert opened == []
    assert all_open(new_process(), there)


def places(there: list[Opening]) -> Iterator[tuple[Opening, Opening]]:
    """For every two fields, each in its place with the other's ciphertext."""
    for a, b in combinations(there, 2):
        yield (
            Opening(a.owner, a.record, a.rev, a.schema, a.cls, a.field, b.blob),
            Opening(b.owner, b.record, b.rev, b.schema, b.cls, b.field, a.blob),
        )


def test_any_two_ciphertexts_exchanged_are_both_refused(keyring: Keyring, there: list[Opening]) -> None:
    pairs = list(places(there))
    assert len(pairs) == 24 * 23 // 2
    assert [pair for pair in pairs for one in pair if not refused(keyring, one)] == []
    assert all_open(keyring, there)
