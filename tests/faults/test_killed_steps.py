"""Kill -9 of the serving process, and of the key process, at every message of a publish, so also between the commit of the keys database
and that of the records. All of it is stored or nothing, and logged if stored; sent again, it is there, and every sealed field opens.
"""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import pytest

from tests.faults import strike
from tests.faults.ledger_check import faults, stored
from tests.faults.load import ITEMS, Client, Ledger, record
from tests.faults.stand import Stand, stand
from tests.faults.strike import KEYD, Strike

pytestmark = [pytest.mark.db, pytest.mark.slow]
MOST = 60
ALL_FIELDS = 4  # a seed with which a record has every field: what is there decides how many messages there are
Sabotage = Callable[[Strike], None]


class Hub(NamedTuple):
    where: Stand
    police: Client
    ledger: Ledger


class Trial(NamedTuple):
    """What came of one publish: the place where a process ended (None: nowhere), the answer's status, how many of its two records were
    stored before anything was sent again.
    """

    struck: str | None
    status: int | None
    stored: int


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with stand("steps") as where:
        police = Client(where, "police")
        made = Hub(where, police, Ledger())
        assert send(made, ["KEPT"], [next(made.ledger.stamps)]) == 201
        yield made
        police.close()


def send(hub: Hub, names: list[str], stamps: list[int]) -> int | None:
    features = [record(random.Random(ALL_FIELDS), name, stamp) for name, stamp in zip(names, stamps, strict=True)]
    hub.police.close()  # its connection may be to a server that is gone
    answer = hub.police.ask("POST", ITEMS, {"type": "FeatureCollection", "features": features})
    return answer[0] if answer else None


def trial(hub: Hub, process: str, sabotage: Sabotage, at: int, when: str = "before") -> Trial:
    """A new record and an update in one publish; the process named ends at that message. Everything is checked, then sent again."""
    where, told, armed = hub.where, hub.where.home / "told", hub.where.home / "armed"
    one = where.server if process == "server" else where.keyd
    told.unlink(missing_ok=True)
    begin(one, partial(sabotage, Strike(at, when, armed, told)))
    stamps, names = [next(hub.ledger.stamps), next(hub.ledger.stamps)], [f"NEW-{process}-{when}-{at}-{next(hub.ledger.stamps)}", "KEPT"]
    armed.touch()
    status = send(hub, names, stamps)
    armed.unlink()
    begin(one, None)
    there = revisions(where, stamps)
    if told.exists():
        assert faults(where, hub.ledger) == []
        assert send(hub, names, stamps) == (200 if there else 201)
        assert revisions(where, stamps) == 2
    return Trial(told.read_text() if told.exists() else None, status, there)


def begin(process: Any, sabotage: Callable[[], None] | None) -> None:
    process.kill()
    process.sabotage = sabotage
    process.start()


def revisions(where: Stand, stamps: list[int]) -> int:
    return sum(row.stamp in stamps for row in stored(where).values())


def every(hub: Hub, process: str, sabotage: Sabotage, first: int = 1) -> list[Trial]:
    """A trial before each message, until there is none left, and one after the last."""
    found = []
    for at in count(first):
        assert at < MOST
        found.append(trial(hub, process, sabotage, at))
        if found[-1].struck is None:
            return [*found, trial(hub, process, sabotage, at - 1, "after")]
    raise AssertionError


def test_a_publish_whose_server_is_killed_at_any_message_stores_all_or_nothing(hub: Hub) -> None:
    *struck, whole, last = every(hub, "server", strike.in_server)
    assert (whole.status, whole.stored) == (201, 2)
    assert [t.stored for t in struck] == [0] * len(struck)
    assert (last.status, last.stored) == (None, 2)  # the answer was lost, not the records
    assert {t.status for t in struck} == {None}
    places = [t.struck or "" for t in struck]
    sealed = len(places) - 1 - places[::-1].index(f"before {KEYD}")
    assert [place for place in places[sealed + 1 :] if "hub.incidents_store" in place]  # the keys are committed, the records are not
    assert keys_of_nothing(hub.where)
    assert "commit" in places[-1]
    assert last.struck is not None
    assert "commit" in last.struck


def keys_of_nothing(where: Stand) -> set[str]:
    """Records that have data keys and were never stored: what an end between the two commits leaves behind."""
    named = {record for (record,) in where.sql("select distinct record::text from keys.dek", url=where.addresses.keys)}
    return named - {str(row.id) for row in stored(where).values()}


def test_a_publish_whose_key_process_is_killed_at_any_message_stores_nothing_and_goes_through_when_it_is_back(hub: Hub) -> None:
    begin(hub.where.server, strike.impatient)
    *struck, whole, last = every(hub, "keyd", strike.in_keyd)
    assert (whole.status, whole.stored) == (201, 2)
    assert {(t.status, t.stored) for t in [*struck, last]} == {(503, 0)}
    places = [t.struck or "" for t in struck]
    stores = next(n for n, place in enumerate(places) if "execute add_deks" in place)
    assert "hub.incidents_tag" in " ".join(places[stores + 1 :])  # with the data keys committed, and no blind rows of theirs
    assert (last.struck or "").startswith("after select hub.incidents_tag")  # with both, and the ciphertext given to nobody


def test_a_reader_sees_everything_after(hub: Hub) -> None:
    health = Client(hub.where, "health", "research")
    answer = health.ask("GET", f"{ITEMS}?limit=100")
    health.close()
    assert answer is not None
    assert answer[0] == 200
    shown = [feature["properties"] for feature in json.loads(answer[2])["features"]]
    assert len(shown) > 10
    assert all(p["narrative"].startswith(f"{p['external_id']} ") for p in shown)


# --- the controls: they leave the hub broken ---------------------------------------------------------------------------


def test_a_hub_that_commits_before_it_logs_is_caught(hub: Hub) -> None:
    with pytest.raises(AssertionError):
        every(hub, "server", strike.hasty_in_server, 7)  # those before are asked before anything is stored
    assert faults(hub.where, hub.ledger)


def test_a_key_process_that_seals_before_its_keys_are_durable_is_caught(hub: Hub) -> None:
    before = set(faults(hub.where, hub.ledger))
    begin(hub.where.keyd, strike.late_in_keyd)
    begin(hub.where.server, None)
    assert send(hub, ["LATE"], [next(hub.ledger.stamps)]) == 201
    begin(hub.where.keyd, None)
    assert set(faults(hub.where, hub.ledger)) - before
