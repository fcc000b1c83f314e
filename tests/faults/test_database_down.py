"""A database that is down, restarted under load, or out of room: 503 and nothing else, and the hub recovers by itself."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import localdb
from tests.faults.kills import flowing
from tests.faults.ledger_check import faults
from tests.faults.load import ITEMS, Client, Ledger, Load, record
from tests.faults.stand import READERS, Stand, stand

pytestmark = pytest.mark.db
SEED = 20261122


@pytest.fixture(scope="module")
def where() -> Iterator[Stand]:
    """With the keys in a cluster of their own."""
    with stand("down", keys_apart=True) as made:
        yield made


@pytest.fixture(scope="module")
def partners(where: Stand) -> Iterator[dict[str, Client]]:
    """Connected, with tokens; a first record published and read. The newcomer has no token yet."""
    made = {"police": Client(where, "police"), "newcomer": Client(where, "health", "research")}
    made |= {name: Client(where, name, "research") for name in READERS}
    assert status(made["police"], "POST", ITEMS, record_body("first")) == 201
    assert status(made["health"], "GET", ITEMS) == status(made["housing"], "GET", ITEMS) == 200
    yield made
    for client in made.values():
        client.close()


def record_body(external_id: str) -> dict[str, Any]:
    return record(random.Random(SEED), external_id, 1)


def status(client: Client, method: str, path: str, body: Any = None) -> int:
    answer = client.ask(method, path, body)
    assert answer is not None, "no answer"
    return answer[0]


def assert_unavailable(answer: Any) -> None:
    assert answer is not None
    code, headers, body = answer
    assert code == 503, body
    assert int(headers["retry-after"]) > 0
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == 503
    assert problem["type"] == "urn:concord:problem:unavailable"
    assert problem["title"]
    assert problem["detail"]


def until_it_works(client: Client, method: str, path: str, body: Any = None) -> int:
    """How many answers came until a good one; none of them anything else than 503."""
    for n in range(200):
        answer = client.ask(method, path, body)
        assert answer is not None
        if answer[0] in (200, 201):
            return n
        assert_unavailable(answer)
        time.sleep(0.02)
    raise AssertionError("it does not recover")


def test_with_the_main_database_down_everything_is_503_and_comes_back(where: Stand, partners: dict[str, Client]) -> None:
    localdb.stop(where.main)
    for client, method, path, body in (
        (partners["police"], "POST", ITEMS, record_body("down")),
        (partners["health"], "GET", ITEMS, None),
        (partners["health"], "GET", f"{ITEMS}/00000000-0000-4000-8000-000000000000", None),
        (partners["police"], "GET", "/audit/events", None),
        (partners["newcomer"], "GET", ITEMS, None),  # is refused a token
        (partners["health"], "GET", "/readyz", None),
    ):
        for _ in range(3):
            assert_unavailable(client.ask(method, path, body))
    assert status(partners["health"], "GET", "/healthz") == 200
    assert status(partners["health"], "GET", "/collections") == 200
    where.raise_databases()
    assert until_it_works(partners["police"], "POST", ITEMS, record_body("up")) == 0
    assert until_it_works(partners["health"], "GET", ITEMS) == 0
    assert until_it_works(partners["newcomer"], "GET", ITEMS) == 0
    assert until_it_works(partners["health"], "GET", "/readyz") == 0


def test_with_the_keys_database_down_nothing_sealed_goes_in_or_out(where: Stand, partners: dict[str, Client]) -> None:
    before = where.sql("select count(*) from hub.incidents")
    localdb.stop(where.keys)
    for _ in range(3):
        assert_unavailable(partners["police"].ask("POST", ITEMS, record_body("keyless")))
        assert_unavailable(partners["health"].ask("GET", ITEMS))
        assert_unavailable(partners["health"].ask("GET", "/readyz"))
        assert_unavailable(partners["housing"].ask("GET", ITEMS))  # its grant releases nothing sealed, but its leaf can't be signed
    assert status(partners["housing"], "GET", "/collections") == status(partners["housing"], "GET", "/healthz") == 200
    assert where.sql("select count(*) from hub.incidents") == before
    where.raise_databases()
    assert until_it_works(partners["police"], "POST", ITEMS, record_body("keyed")) == 0
    assert until_it_works(partners["health"], "GET", ITEMS) == 0


def test_either_database_may_be_restarted_under_load(where: Stand) -> None:
    ledger = Ledger()
    process = where.server.pid
    with Load(where, ledger, SEED):
        for cluster in (where.main, where.keys):
            flowing(ledger)
            localdb.stop(cluster)
            time.sleep(0.5)
            where.raise_databases()
        flowing(ledger)
    assert faults(where, ledger) == []
    assert ledger.statuses[503]
    assert where.server.pid == process


def test_a_log_that_has_no_room_stops_no_answer(where: Stand, partners: dict[str, Client]) -> None:
    """/dev/full: each write fails as on a full disk."""
    log, where.server.log = where.server.log, Path("/dev/full")
    where.server.kill()
    where.server.start()
    for client in partners.values():
        client.close()
    assert [status(partners["police"], "POST", ITEMS, record_body(f"unlogged {n}")) for n in range(3)] == [201] * 3
    assert status(partners["health"], "GET", ITEMS) == 200
    assert status(partners["health"], "GET", f"{ITEMS}/00000000-0000-4000-8000-000000000000") == 404
    localdb.stop(where.main)
    for _ in range(3):
        assert_unavailable(partners["health"].ask("GET", ITEMS))
    where.raise_databases()
    where.server.kill()
    where.server.log = log
    where.server.start()


def test_all_clients_at_once_wait_for_connections_rather_than_fail(where: Stand) -> None:
    """More clients than connections: each gets its turn."""
    ledger = Ledger()
    with Load(where, ledger, SEED, publishers=["police"] * where.settings.pool_size + ["fire"] * 4):
        flowing(ledger)
    assert ledger.wrong == []
    assert not ledger.statuses[503]
