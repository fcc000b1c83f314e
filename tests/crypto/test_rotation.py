"""Rotation: new epochs at once, data keys taken over in batches, ciphertext untouched, former keys destroyed; broken off anywhere, nothing
is lost.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from random import sample
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub.crypto.destruction import Destruction
from hub.crypto.keyring import Dek, Keyring
from hub.crypto.keys import Ended, Opening, Sealing
from hub.crypto.providers import FileRootKey
from hub.crypto.rotation import Rotation
from hub.errors import Refused, Tampered, Unavailable
from tests.crypto.conftest import ROOT
from tests.crypto.test_keyring import change
from tests.crypto.test_keyring import count as counted

pytestmark = pytest.mark.db
CITY, CLINIC = UUID(int=1), UUID(int=2)
Blobs = list[tuple[Sealing, dict[int, bytes]]]


@pytest.fixture
def rotation(keys_engine: sa.Engine) -> Rotation:
    return Rotation(FileRootKey(ROOT), keys_engine)


def sealed(keyring: Keyring, number: int, owner: UUID = CITY, bucket: str = "2026") -> Blobs:
    items = [Sealing(owner, uuid4(), 1, 1, bucket, {4: (1, b"narrative"), 5: (2, b"phone")}) for _ in range(number)]
    return list(zip(items, keyring.seal_batch(items), strict=True))


def opens(keyring: Keyring, blobs: Blobs) -> bool:
    asked = [Opening(i.owner, i.record, i.rev, 1, i.fields[n][0], n, blob) for i, fields in blobs for n, blob in fields.items()]
    return keyring.open_batch(asked) == [i.fields[n][1] for i, fields in blobs for n in fields]


def keks(admin: sa.Engine) -> set[tuple[Any, ...]]:
    with admin.connect() as connection:
        found = connection.exec_driver_sql(
            "select k.owner::text, k.class, k.bucket, k.epoch, count(d) from keys.kek k left join keys.dek d using (kek_id)"
            " group by k.kek_id"
        )
        return {tuple(row) for row in found}


def rows(admin: sa.Engine) -> dict[tuple[Any, ...], bytes]:
    with admin.connect() as connection:
        return {(str(r), c, v): bytes(row) for r, c, v, row in connection.exec_driver_sql("select record, class, rev, row from keys.dek")}


def test_a_new_epoch_is_used_at_once_by_processes_that_have_not_heard_of_it(
    keyring: Keyring, new_process: Callable[[], Keyring], rotation: Rotation, keys_admin: sa.Engine
) -> None:
    before = sealed(keyring, 3)
    assert rotation.rotate() == 2  # of two classes
    after = sealed(keyring, 4)  # remembers the former key; the database refuses it
    assert keks(keys_admin) == {(str(CITY), cls, "2026", epoch, n) for cls in (1, 2) for epoch, n in ((1, 3), (2, 4))}
    for ring in (keyring, new_process()):
        assert opens(ring, before)
        assert opens(ring, after)


def test_a_retried_revision_keeps_its_key_through_a_rotation(keyring: Keyring, rotation: Rotation, keys_admin: sa.Engine) -> None:
    ((item, first),) = sealed(keyring, 1)
    rotation.rotate()
    (again,) = keyring.seal_batch([item])
    assert counted(keys_admin, "keys.dek") == 2
    assert opens(keyring, [(item, first), (item, again)])


def test_only_what_is_named_is_rotated(keyring: Keyring, rotation: Rotation) -> None:
    sealed(keyring, 1)
    sealed(keyring, 1, CLINIC)
    sealed(keyring, 1, CLINIC, "2027")
    assert rotation.rotate(CLINIC) == 4
    assert rotation.rotate(cls=2) == 3
    assert rotation.rotate(CITY, 1) == 1
    assert rotation.rotate(uuid4()) == 0
    newest = {(k.owner, k.cls, k.bucket): k.epoch for k in rotation.status() if k.newest}
    assert newest == {
        (CITY, 1, "2026"): 2, (CITY, 2, "2026"): 2,
        (CLINIC, 1, "2026"): 2, (CLINIC, 2, "2026"): 3, (CLINIC, 1, "2027"): 2, (CLINIC, 2, "2027"): 3,
    }  # fmt: skip


def test_keys_of_hashes_and_of_signatures_stay(keyring: Keyring, new_process: Callable[[], Keyring], rotation: Rotation) -> None:
    mac, seed = keyring.macs("content", CITY, [b"x"]), keyring.signing_seed()
    sealed(keyring, 1)
    rotation.rotate()
    assert (new_process().macs("content", CITY, [b"x"]), new_process().signing_seed()) == (mac, seed)


@pytest.mark.parametrize("most", [1, 3, 7, 5_000])
def test_rewrapping_takes_every_data_key_over_and_touches_no_ciphertext(
    keyring: Keyring, new_process: Callable[[], Keyring], rotation: Rotation, keys_admin: sa.Engine, most: int
) -> None:
    blobs = sealed(keyring, 7)
    rotation.rotate()
    rotation.rotate()
    blobs += sealed(keyring, 2)
    before = rows(keys_admin)
    deks = destroyed = 0
    while not (done := rotation.rewrap(most)).over:
        assert done.deks <= most
        deks, destroyed = deks + done.deks, destroyed + done.destroyed
        assert opens(new_process(), blobs)
    assert (deks, destroyed) == (14, 4)  # the epochs between wrapped nothing and go too
    assert keks(keys_admin) == {(str(CITY), cls, "2026", 3, 9) for cls in (1, 2)}
    after = rows(keys_admin)
    assert {key: row[66:] for key, row in after.items()} == {key: row[66:] for key, row in before.items()}  # the commitments
    assert sum(after[key] != before[key] for key in before) == 14
    assert opens(keyring, blobs)
    assert opens(new_process(), blobs)


@contextmanager
def breaking(engine: sa.Engine, at: int) -> Iterator[list[int]]:
    """The `at`-th message to the database, commits included, ends the process: as far as the database can tell."""
    seen = [0]

    def strike(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == at:
            raise ConnectionAbortedError

    sa.event.listen(engine, "before_cursor_execute", strike)
    sa.event.listen(engine, "commit", strike)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", strike)
        sa.event.remove(engine, "commit", strike)


def test_broken_off_at_any_step_everything_opens_and_the_next_run_ends_it(
    new_process: Callable[[], Keyring], rotation: Rotation, keys_engine: sa.Engine, keys_admin: sa.Engine
) -> None:
    steps: dict[str, Callable[[], Any]] = {"rotate": rotation.rotate, "rewrap": lambda: _all(rotation)}
    for name, step in steps.items():
        blobs = sealed(new_process(), 3)
        for at in range(1, 100):
            if name == "rewrap":
                rotation.rotate()
            try:
                with breaking(keys_engine, at):
                    step()
                whole = True
            except ConnectionAbortedError:
                whole = False
            assert opens(new_process(), blobs)
            _all(rotation)
            assert opens(new_process(), blobs)
            assert not [k for k in rotation.status() if not k.newest]
            if whole:
                break
        assert whole, "it was broken off at every place"
        assert at > 3, "it was broken off at several places"


def _all(rotation: Rotation) -> None:
    while not rotation.rewrap(2).over:
        pass


def test_whoever_rotates_rewraps_and_publishes_at_once_never_waits_in_a_circle(
    new_process: Callable[[], Keyring], keys_engine: sa.Engine
) -> None:
    wrong, until = list[BaseException](), time.monotonic() + 4
    kept = list[Blobs]()

    def work(step: Callable[[], object]) -> None:
        try:
            while not wrong and time.monotonic() < until:
                step()
        except BaseException as error:
            wrong.append(error)

    def publish() -> None:
        ring = new_process()
        items = [Sealing(CITY, uuid4(), 1, 1, f"bucket {n}", {4: (1, b"x"), 5: (2, b"y")}) for n in sample(range(8), 8)]
        with suppress(Unavailable):  # rotated again and again meanwhile
            kept.append(list(zip(items, ring.seal_batch(items), strict=True)))

    month = count(1)

    def end() -> None:
        """A retention bucket, of whose two records one lives on."""
        ring, name = new_process(), f"until-{2000 + next(month)}-01-01"
        items = [Sealing(CITY, uuid4(), 1, 1, name, {4: (1, b"x"), 5: (2, b"y")}) for _ in range(2)]
        with suppress(Unavailable, Ended):
            ring.seal_batch(items)
            destruction = Destruction(ring, keys_engine)
            for bucket in destruction.buckets():
                destruction.end(bucket, [items[0].record])

    rotations = [Rotation(FileRootKey(ROOT), keys_engine) for _ in range(2)]
    steps = [publish, publish, end, *(r.rotate for r in rotations), *(partial(r.rewrap, 20) for r in rotations)]
    threads = [threading.Thread(target=work, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert kept
    assert all(opens(new_process(), blobs) for blobs in kept)


def test_reads_and_writes_go_on_meanwhile(new_process: Callable[[], Keyring], rotation: Rotation) -> None:
    stop, wrong, done = threading.Event(), list[BaseException](), [0, 0]
    old = sealed(new_process(), 50)

    def work(n: int) -> None:
        ring = new_process()
        try:
            while not stop.is_set():
                blobs = sealed(ring, 3)
                assert opens(ring, blobs)
                assert opens(ring, old)
                done[n] += 1
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    rounds = 0
    while not wrong and (rounds < 4 or min(done) < 3):
        rounds += 1
        rotation.rotate()
        while not rotation.rewrap(20).over and not wrong:
            pass
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert opens(new_process(), old)


def test_a_former_key_that_goes_between_two_questions_is_not_taken_for_a_shredded_record(
    keyring: Keyring, new_process: Callable[[], Keyring], rotation: Rotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data keys were read, and are taken over and the key destroyed before it is asked for; twice in a row."""
    blobs, reader = sealed(keyring, 3), new_process()
    load, left = reader._load_keks, [2]

    def after_a_rotation(ids: set[int]) -> None:
        if left[0]:
            left[0] -= 1
            rotation.rotate()
            _all(rotation)
        load(ids)

    monkeypatch.setattr(reader, "_load_keks", after_a_rotation)
    assert opens(reader, blobs)
    assert left == [0]


def test_a_data_key_that_was_tampered_with_is_named_and_nothing_of_the_batch_changes(
    keyring: Keyring, rotation: Rotation, keys_admin: sa.Engine
) -> None:
    ((item, _), *_rest) = sealed(keyring, 3)
    rotation.rotate()
    change(keys_admin, f"update keys.dek set row = set_byte(row, 30, get_byte(row, 30) # 1) where record = '{item.record}' and class = 1")
    before = rows(keys_admin)
    with pytest.raises(Tampered, match=f"record {item.record}, class 1, revision 1"):
        rotation.rewrap()
    assert rows(keys_admin) == before


def test_no_nonce_comes_twice(keyring: Keyring, rotation: Rotation, keys_admin: sa.Engine) -> None:
    sealed(keyring, 20)
    nonces = [row[6:18] for row in rows(keys_admin).values()]
    for _ in range(3):
        rotation.rotate()
        _all(rotation)
        nonces += [row[6:18] for row in rows(keys_admin).values()]
    assert len(set(nonces)) == len(nonces) == 160


def test_another_root_key_takes_every_key_over(keyring: Keyring, rotation: Rotation, keys_engine: sa.Engine, keys_admin: sa.Engine) -> None:
    blobs, mac = sealed(keyring, 3), keyring.macs("content", CITY, [b"x"])
    new = FileRootKey(os.urandom(32))
    assert rotation.change_root(new) == counted(keys_admin, "keys.kek")
    later = Keyring(new, keys_engine)
    later.check()
    assert opens(later, blobs)
    assert later.macs("content", CITY, [b"x"]) == mac
    with pytest.raises(Refused, match="root key does not fit"):
        Keyring(FileRootKey(ROOT), keys_engine).check()
    rotation.rotate()  # goes on with the new one
    assert opens(later, sealed(later, 1))


def test_a_change_of_the_root_key_that_breaks_off_changes_nothing(
    keyring: Keyring, new_process: Callable[[], Keyring], rotation: Rotation, keys_engine: sa.Engine
) -> None:
    blobs = sealed(keyring, 3)

    def broken() -> None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        rotation.change_root(FileRootKey(os.urandom(32)), broken)
    for at in range(1, 5):
        with breaking(keys_engine, at), pytest.raises(ConnectionAbortedError):
            rotation.change_root(FileRootKey(os.urandom(32)))
    new_process().check()
    assert opens(new_process(), blobs)


def test_a_root_key_that_fits_not_every_key_changes_none(
    keyring: Keyring, new_process: Callable[[], Keyring], rotation: Rotation, keys_admin: sa.Engine
) -> None:
    sealed(keyring, 1)
    change(keys_admin, "update keys.kek set wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1) where class = 2")
    with pytest.raises(Tampered):
        rotation.change_root(FileRootKey(os.urandom(32)))
    new_process().check()


def test_a_data_key_of_a_revision_is_the_same_after_all(keyring: Keyring, rotation: Rotation) -> None:
    ((item, _),) = sealed(keyring, 1)
    dek = Dek(item.owner, item.record, 1, 1)
    lent = keyring.lend([dek])
    rotation.rotate()
    _all(rotation)
    assert keyring.lend([dek]) == lent
