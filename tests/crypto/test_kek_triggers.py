"""No DEK without its KEK: what a foreign key would promise, asked once a statement; also of two sessions at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from hub.crypto.keyring import Keyring, Sealing
from hub.db import MIGRATIONS
from tests.crypto.test_keyring import change, count, wait_until_blocked

pytestmark = pytest.mark.db
FOREIGN_KEY = "23503"
NOBODY = "select d.kek_id from keys.dek d where not exists (select from keys.kek k where k.kek_id = d.kek_id)"


@pytest.fixture
def kek(keyring: Keyring, keys_admin: sa.Engine) -> int:
    """The number of a KEK that wraps one DEK."""
    keyring.seal_batch([Sealing(UUID(int=1), uuid4(), 1, 1, "2026", {4: (1, b"x")})])
    with keys_admin.connect() as connection:
        return int(connection.exec_driver_sql("select kek_id from keys.dek").scalar_one())


@contextmanager
def refused(code: str = FOREIGN_KEY) -> Iterator[None]:
    with pytest.raises(DBAPIError) as caught:
        yield
    assert caught.value.orig is not None
    assert caught.value.orig.pgcode == code  # type: ignore[attr-defined]


def add_deks(*keks: int) -> str:
    rows = ", ".join(f"(gen_random_uuid(), 1, 1, {kek}, decode(repeat('00', 98), 'hex'))" for kek in keks)
    return f"insert into keys.dek (record, class, rev, kek_id, row) values {rows}"


def orphans(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(NOBODY))


@pytest.mark.parametrize("role", ["administrator", "hub"])
def test_a_dek_without_its_kek_is_refused(keys_admin: sa.Engine, keys_engine: sa.Engine, kek: int, role: str) -> None:
    engine = keys_admin if role == "administrator" else keys_engine
    for statement in (add_deks(kek + 1), add_deks(kek, kek, kek + 99), f"update keys.dek set kek_id = {kek + 1}"):
        with refused():
            change(engine, statement)
    assert count(keys_admin, "keys.dek") == 1
    assert change(engine, add_deks(kek, kek)) == 2


def test_a_kek_in_use_is_neither_deleted_nor_renumbered_nor_truncated(keys_admin: sa.Engine, kek: int) -> None:
    for statement in (
        f"delete from keys.kek where kek_id = {kek}",
        "delete from keys.kek",
        f"update keys.kek set kek_id = {kek + 50} where kek_id = {kek}",
        "truncate keys.kek",
    ):
        with refused():
            change(keys_admin, statement)
    assert change(keys_admin, "delete from keys.dek") == 1
    assert change(keys_admin, f"delete from keys.kek where kek_id = {kek}") == 1


def test_a_kek_of_which_other_columns_change_stays_in_use(keys_admin: sa.Engine, kek: int) -> None:
    """As rotation of the root key will do it."""
    assert change(keys_admin, f"update keys.kek set wrapped = wrapped where kek_id = {kek}") == 1


def test_both_in_one_transaction_are_judged_as_they_come(keys_admin: sa.Engine, kek: int) -> None:
    with keys_admin.begin() as connection:
        connection.exec_driver_sql("delete from keys.dek")
        connection.exec_driver_sql(f"delete from keys.kek where kek_id = {kek}")
    assert count(keys_admin, "keys.dek") == 0
    with refused():
        change(keys_admin, add_deks(kek))


def test_the_role_of_the_hub_can_not_destroy_keks_in_use_or_triggers(keys_engine: sa.Engine, kek: int) -> None:
    with refused():
        change(keys_engine, f"delete from keys.kek where kek_id = {kek}")
    for statement in (
        "update keys.kek set kek_id = 1",
        "update keys.kek set epoch = 1",
        "update keys.kek set owner = gen_random_uuid()",
        "truncate keys.kek",
        "alter table keys.dek disable trigger all",
        "drop trigger has_its_kek on keys.dek",
        "set session_replication_role = replica",
        "select keys.dek_has_its_kek()",
    ):
        with refused("42501"):
            change(keys_engine, statement)


def second_waits(keys_admin: sa.Engine, first: str, second: str, end: Callable[[sa.Connection], None]) -> str | None:
    """`second`, begun in another session while `first` is not committed; the code it was refused with."""
    found: list[str | None] = []

    def run() -> None:
        try:
            change(keys_admin, second)
            found.append(None)
        except DBAPIError as error:
            found.append(getattr(error.orig, "pgcode", "?"))

    with keys_admin.connect() as connection:
        connection.exec_driver_sql(first)
        thread = threading.Thread(target=run)
        thread.start()
        wait_until_blocked(keys_admin)
        end(connection)
        thread.join(20)
    return found[0]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_dek_that_comes_while_its_kek_is_destroyed_waits_for_the_outcome(keys_admin: sa.Engine, kek: int, ends: str) -> None:
    change(keys_admin, "delete from keys.dek")
    said = second_waits(keys_admin, "delete from keys.kek", add_deks(kek), lambda connection: getattr(connection, ends)())
    assert said == (FOREIGN_KEY if ends == "commit" else None)
    assert orphans(keys_admin) == []
    assert count(keys_admin, "keys.dek") == (0 if ends == "commit" else 1)


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_kek_that_is_destroyed_while_a_dek_comes_waits_for_the_outcome(keys_admin: sa.Engine, kek: int, ends: str) -> None:
    change(keys_admin, "delete from keys.dek")
    destroy = f"delete from keys.kek where kek_id = {kek}"
    said = second_waits(keys_admin, add_deks(kek), destroy, lambda connection: getattr(connection, ends)())
    assert said == (FOREIGN_KEY if ends == "commit" else None)
    assert orphans(keys_admin) == []


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_old_snapshot_does_not_hide_a_dek_from_whoever_destroys_its_kek(keys_admin: sa.Engine, kek: int, level: str) -> None:
    change(keys_admin, "delete from keys.dek")
    with keys_admin.connect().execution_options(isolation_level=level) as connection:
        connection.exec_driver_sql("select count(*) from keys.dek")  # the snapshot
        change(keys_admin, add_deks(kek))
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql(f"delete from keys.kek where kek_id = {kek}")
    assert orphans(keys_admin) == []


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_old_snapshot_does_not_show_a_kek_that_is_gone(keys_admin: sa.Engine, kek: int, level: str) -> None:
    change(keys_admin, "delete from keys.dek")
    with keys_admin.connect().execution_options(isolation_level=level) as connection:
        connection.exec_driver_sql("select count(*) from keys.kek")
        change(keys_admin, f"delete from keys.kek where kek_id = {kek}")
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql(add_deks(kek))
    assert orphans(keys_admin) == []


def test_without_the_triggers_a_dek_could_lose_its_kek(keys_admin: sa.Engine, kek: int) -> None:
    """Control."""
    change(keys_admin, "alter table keys.kek disable trigger user")
    assert change(keys_admin, "delete from keys.kek") > 0
    assert orphans(keys_admin) == [(kek,)]


BEFORE = (MIGRATIONS / "keys" / "versions" / "0005_keys.sql").read_text()
UNORDERED = BEFORE[BEFORE.index("create or replace function keys.dek_has_its_kek") : BEFORE.index("grant")]


def free_while_waiting(admin: sa.Engine, keks: list[int]) -> int:
    """Somebody holds the first of these KEKs; whoever adds DEKs of all of them waits for it. How many of the rest are free meanwhile."""
    adding = threading.Thread(target=change, args=(admin, add_deks(*keks[::-1])))
    with admin.begin() as holder:
        holder.exec_driver_sql(f"select from keys.kek where kek_id = {keks[0]} for update")
        adding.start()
        wait_until_blocked(admin)
        with admin.begin() as other:
            rest = other.exec_driver_sql(f"select from keys.kek where kek_id > {keks[0]} for update skip locked").all()
    adding.join()
    assert count(admin, f"keys.dek where kek_id = {keks[-1]}") >= 2
    return len(rest)


def test_keks_are_locked_in_the_order_of_their_numbers(keyring: Keyring, keys_admin: sa.Engine) -> None:
    """Whoever rotates locks them so; in another order, a publish and a rotation could wait for each other."""
    keyring.seal_batch([Sealing(UUID(int=1), uuid4(), 1, 1, f"bucket {n}", {4: (1, b"x")}) for n in range(40)])
    with keys_admin.connect() as connection:
        keks = [int(n) for n in connection.exec_driver_sql("select kek_id from keys.kek order by kek_id").scalars()]
    change(keys_admin, f"update keys.kek set wrapped = wrapped where kek_id = {keks[0]}")  # its row is the table's last now
    assert free_while_waiting(keys_admin, keks) == len(keks) - 1
    change(keys_admin, UNORDERED)
    assert free_while_waiting(keys_admin, keks) < len(keks) - 1, "the control: without an order, some are held"
