"""A sealed context opens the views in the transaction of the session it was made for, for seconds, unchanged; and never else."""

import hmac
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

from hub.released import PATHS
from hub.sharing.context import Reach, seal
from tests.wall.raw import INCIDENT, begin, live, rows, sealed, session
from tests.world import World, build, feature, grant

COUNT = "select " + " + ".join(f"(select count(*) from hub.incidents_{path})" for path in PATHS)


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    _fill(world, tmp_path_factory.mktemp("mous"))
    return world


def _fill(world: World, folder: Path) -> None:
    for slug in ("police", "health"):
        world.organisation(slug)
    world.mou(folder, "MOU-1", "police", "health", [grant()])
    assert world.publish("police", *(feature(f"A-{n}") for n in range(5))).status_code == 201


@pytest.fixture
def connection(shared: World) -> Iterator[Any]:
    with session(shared, "hub_reader") as opened:
        yield opened
        if not opened.closed:
            rows(opened, "rollback")


def _shown(connection: Any) -> int:
    number: int = rows(connection, COUNT)[0][0]
    return number


def _enters(connection: Any, text: str, dataset: int = 1) -> str | None:
    """The SQLSTATE with which hub.enter refuses `text`; None when it takes it. Leaves the transaction as it was."""
    rows(connection, "savepoint here")
    try:
        rows(connection, "select hub.enter(%s, %s)", (dataset, text))
    except psycopg2.Error as error:
        rows(connection, "rollback to here")
        return error.pgcode
    return None


def _slipped_in(connection: Any, text: str) -> int:
    """How many rows show when `text` is put into the setting past hub.enter."""
    rows(connection, "savepoint here")
    rows(connection, "select set_config('hub.context', %s, true)", (text,))
    found = _shown(connection)
    rows(connection, "rollback to here")
    return found


def test_the_seal_that_the_hub_makes_opens_the_views(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health")
    assert _enters(connection, text) is None
    # page, scan and time show all five; seek was given no keys, and none of them is without a place
    assert _shown(connection) == 15
    assert _slipped_in(connection, text) == 15  # it is the seal that opens, not the door it came through


@pytest.mark.parametrize("path", PATHS)
def test_without_a_context_nothing_shows(connection: Any, path: str) -> None:
    assert rows(connection, f"select count(*) from hub.incidents_{path}") == [(0,)]
    assert rows(connection, f"begin; select count(*) from hub.incidents_{path}") == [(0,)]


@pytest.mark.parametrize("text", [None, "", "x", "0" * 64, "0" * 64 + "1|2|3|1|1|research|1\n({},{},{},{},-infinity,infinity)", "é" * 70])
def test_what_is_no_seal_shows_nothing(shared: World, connection: Any, text: str | None) -> None:
    begin(connection, "health")
    assert _enters(connection, text) == "42501"  # type: ignore[arg-type]
    assert _slipped_in(connection, text or "") == 0


def test_a_seal_changed_in_any_byte_shows_nothing(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health")
    changed = [text[:n] + chr(ord(text[n]) ^ 1) + text[n + 1 :] for n in range(len(text))]
    changed += [text[:n] + text[n + 1 :] for n in range(0, len(text), 7)]  # and with a byte left out
    changed += [text + " ", text + "\n", text[:-1], text.replace("|", "||", 1), text[:64].upper() + text[64:]]
    assert {_enters(connection, wrong) for wrong in changed if wrong != text} == {"42501"}
    assert {_slipped_in(connection, wrong) for wrong in changed[:: len(changed) // 60] if wrong != text} == {0}
    assert _enters(connection, text) is None


def test_every_bit_of_the_mac_counts(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health")
    mac = bytes.fromhex(text[:64])
    flipped = [(int.from_bytes(mac) ^ (1 << bit)).to_bytes(32).hex() + text[64:] for bit in range(256)]
    assert {_enters(connection, wrong) for wrong in flipped} == {"42501"}


def test_a_seal_made_with_another_key_shows_nothing(shared: World, connection: Any) -> None:
    for key in (b"", bytes(32), shared.database.secrets.roles, shared.database.secrets.context[:-1]):
        text = sealed(shared, connection, "health", key=key or b"\0")
        assert _enters(connection, text) == "42501"
        assert _slipped_in(connection, text) == 0
        rows(connection, "rollback")


def test_an_empty_table_of_keys_lets_nobody_in(shared: World, connection: Any) -> None:
    """HMAC with a missing key is null; a comparison that let null pass would open everything."""
    with shared.superuser() as admin:
        key = admin.exec_driver_sql("delete from hub.seal_key returning k").scalar_one()
    try:
        for wrong in (bytes(key), b"", bytes(64)):
            text = sealed(shared, connection, "health", key=wrong or b"\0")
            assert _enters(connection, text) == "42501"
            assert _slipped_in(connection, text) == 0
            rows(connection, "rollback")
        assert _slipped(connection, "") == 0
    finally:
        with shared.superuser() as admin:
            admin.execute(sa.text("insert into hub.seal_key values (:k)"), {"k": bytes(key)})


def _slipped(connection: Any, text: str) -> int:
    rows(connection, "begin")
    return _slipped_in(connection, text)


def test_a_seal_ends_within_its_seconds(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health", ttl_s=3)
    assert _enters(connection, text) is None
    assert _shown(connection) == 15
    time.sleep(3.05)
    assert _shown(connection) == 0  # in the middle of its own transaction
    assert _enters(connection, text) == "42501"


def test_a_seal_ends_with_the_first_mou_that_does(shared: World, connection: Any) -> None:
    admitted = begin(connection, "health")
    (held,) = live(shared, connection, "health")
    over = replace(held, until=admitted.wall)
    text = seal(shared.database.secrets.context, INCIDENT, admitted, 1, "research", [over], [], 5, Reach())
    assert _enters(connection, text) == "42501"


def test_a_seal_is_good_for_no_other_session(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health")
    with session(shared, "hub_reader") as other:
        rows(other, "begin")
        assert _enters(other, text) == "42501"
        assert _slipped_in(other, text) == 0
    # not even when both transactions began in the same microsecond
    admitted = _again(connection, "health")
    with session(shared, "hub_reader") as other:
        pid = rows(other, "select pg_backend_pid()")[0][0]
        grants = live(shared, connection, "health")
        text = seal(shared.database.secrets.context, INCIDENT, replace(admitted, pid=pid), 1, "research", grants, [], 5, Reach())
        assert _enters(connection, text) == "42501"


def _again(connection: Any, client: str) -> Any:
    rows(connection, "rollback")
    return begin(connection, client)


def test_a_seal_is_good_for_no_other_transaction_of_its_session(shared: World, connection: Any) -> None:
    """Stored for the session it outlives its transaction, and opens nothing in the next one."""
    text = sealed(shared, connection, "health")
    rows(connection, "select set_config('hub.context', %s, false)", (text,))
    assert _shown(connection) == 15
    rows(connection, "commit")
    assert rows(connection, "select current_setting('hub.context')") == [(text,)]  # it is still there
    assert _shown(connection) == 0
    rows(connection, "begin")
    assert _shown(connection) == 0
    assert _enters(connection, text) == "42501"


def test_a_context_does_not_outlive_its_transaction(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health")
    assert _enters(connection, text) is None
    for end in ("commit", "rollback"):
        rows(connection, end)
        assert rows(connection, "select coalesce(current_setting('hub.context', true), '')") == [("",)]
        assert _slipped(connection, "") == 0


def test_a_seal_is_good_for_its_dataset_alone(shared: World, connection: Any) -> None:
    text = sealed(shared, connection, "health")
    assert _enters(connection, text, dataset=2) == "42501"
    other = text[64:].replace("|1|", "|2|", 1)
    admitted = _again(connection, "health")
    head = "|".join(map(str, (admitted.pid, admitted.tx_us, int(time.time() * 1e6) + 5_000_000, 2, 1, "research", admitted.epoch)))
    other = f"{head}\n{other.split(chr(10), 1)[1]}"
    mac = hmac.digest(shared.database.secrets.context, other.encode(), "sha256").hex()
    assert _enters(connection, mac + other, dataset=1) == "42501"
    assert _enters(connection, mac + other, dataset=2) is None  # a true seal, of a dataset that is not there
    assert _shown(connection) == 0


def test_a_seal_is_good_for_no_other_database(
    shared: World, connection: Any, databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path: Path
) -> None:
    """A second hub with the same secrets: what opens one database is of no use in the other."""
    main, keys = databases()
    with build(main, keys, state) as second:
        _fill(second, tmp_path)
        text = sealed(shared, connection, "health")
        with session(second, "hub_reader") as other:
            rows(other, "begin")
            assert _enters(other, text) == "42501"
            assert _slipped_in(other, text) == 0
            rows(other, "rollback")
            assert _enters(other, sealed(second, other, "health")) is None


def test_grants_of_nobody_open_nothing(shared: World, connection: Any) -> None:
    """A seal with a grant that is not live on any record, with null arrays, with none."""
    admitted = begin(connection, "health")
    (held,) = live(shared, connection, "health")
    for grants in ([], [replace(held, id=held.id + 1000)]):
        text = seal(shared.database.secrets.context, INCIDENT, admitted, 1, "research", grants, [], 5, Reach())
        assert _enters(connection, text) is None
        assert _shown(connection) == 0


# --- the control: each check of hub.context_body in turn is left out, and the attack it stops succeeds -----------------------------


def _forged(world: World, connection: Any) -> str:
    return "0" * 64 + sealed(world, connection, "health")[64:]


def _of_another_session(world: World, connection: Any) -> str:
    admitted = begin(connection, "health")
    return seal(
        world.database.secrets.context, INCIDENT, replace(admitted, pid=1), 1, "research", live(world, connection, "health"), [], 5, Reach()
    )


def _of_another_transaction(world: World, connection: Any) -> str:
    text = sealed(world, connection, "health")
    rows(connection, "commit; begin")
    return text


def _expired(world: World, connection: Any) -> str:
    return sealed(world, connection, "health", ttl_s=-1)


def _of_another_dataset(world: World, connection: Any) -> str:
    admitted = begin(connection, "health")
    grants = live(world, connection, "health")
    body = seal(b"\0", INCIDENT, admitted, 1, "research", grants, [], 5, Reach())[64:].replace("|1|1|research|", "|2|1|research|", 1)
    return hmac.digest(world.database.secrets.context, body.encode(), "sha256").hex() + body


ATTACKS: dict[str, tuple[Callable[[World, Any], str], str, str]] = {
    "the mac": (_forged, r"or left\(sealed, 64\) is distinct from.*?'hex'\) then", "then"),
    "the session": (_of_another_session, r"part\[1\]::int is distinct from pg_backend_pid\(\)", "false"),
    "the transaction": (
        _of_another_transaction,
        r"part\[2\]::bigint is distinct from \(extract\(epoch from now\(\)\) \* 1000000\)::bigint",
        "false",
    ),
    "the time": (_expired, r"part\[3\]::bigint <= \(extract\(epoch from clock_timestamp\(\)\) \* 1000000\)::bigint", "false"),
    "the dataset": (_of_another_dataset, r"part\[4\]::int is distinct from p_dataset", "false"),
}


@pytest.mark.parametrize("check", ATTACKS)
def test_each_check_of_the_seal_is_needed(shared: World, connection: Any, check: str) -> None:
    attack, finds, puts = ATTACKS[check]
    assert _slipped_in(connection, attack(shared, connection)) == 0
    rows(connection, "rollback")
    with shared.superuser() as admin:
        text: str = admin.exec_driver_sql("select pg_get_functiondef('hub.context_body'::regproc)").scalar_one()
        assert len(re.findall(finds, text, re.DOTALL)) == 1
        admin.exec_driver_sql(re.sub(finds, puts, text, flags=re.DOTALL))
    try:
        assert _slipped_in(connection, attack(shared, connection)) == 15
    finally:
        rows(connection, "rollback")
        with shared.superuser() as admin:
            admin.exec_driver_sql(text)
