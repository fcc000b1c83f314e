"""Kill -9 of the key process at every message of an order to shred, and of the end of a retention bucket, to either database: all is
readable or all is destroyed, what lives on opens, and the next key process ends it.
"""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import NamedTuple

import pytest

from tests.faults import strike
from tests.faults.load import ITEMS, Client, record
from tests.faults.stand import Stand, stand, wait_until
from tests.faults.strike import Strike
from tests.faults.test_killed_steps import ALL_FIELDS, begin

pytestmark = [pytest.mark.db, pytest.mark.slow]
MOST = 40
Sabotage = Callable[[Strike], None]


class Hub(NamedTuple):
    where: Stand
    police: Client
    health: Client


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with stand("killed-shreds") as where:
        made = Hub(where, Client(where, "police"), Client(where, "health", "research"))
        yield made
        made.police.close()
        made.health.close()


def published(hub: Hub, *names: str, month: int = 0) -> list[str]:
    """All of one month, counted from the beginning of 2001."""
    features = [record(random.Random(ALL_FIELDS), name, 0) for name in names]
    for feature in features:
        feature["properties"]["occurred_at"] = f"{2001 + month // 12}-{month % 12 + 1:02}-15T00:00:00Z"
    hub.police.close()  # its connection may be to a server that is gone
    answer = hub.police.ask("POST", ITEMS, {"type": "FeatureCollection", "features": features})
    assert answer is not None
    assert answer[0] == 201, answer
    return [r["id"] for r in json.loads(answer[2])["records"]]


def shred(hub: Hub, records: list[str]) -> None:
    """An order that nobody carries out yet."""
    hub.where.keyd.kill()
    answer = hub.police.ask("POST", "/collections/incidents/shreds", json.dumps({"records": records}).encode(), "application/json")
    assert answer is not None
    assert answer[0] == 202, answer


def keys_of(hub: Hub, *records: str) -> int:
    """Data keys that open something."""
    found = "select count(*) from keys.dek d join keys.kek k using (kek_id) where d.record = any(%s::uuid[]) and k.destroyed_at is null"
    ((number,),) = hub.where.sql(found, (list(records),), hub.where.addresses.keys)
    return int(number)


def status(hub: Hub, one: str) -> int:
    hub.health.close()
    answer = hub.health.ask("GET", f"{ITEMS}/{one}")
    assert answer is not None
    return answer[0]


def struck(hub: Hub, sabotage: Sabotage, at: int, when: str, over: Callable[[], object]) -> str | None:
    """The place at which the key process ended; None: it did all before."""
    told, armed = hub.where.home / "told", hub.where.home / "armed"
    told.unlink(missing_ok=True)
    armed.touch()
    begin(hub.where.keyd, partial(sabotage, Strike(at, when, armed, told)))
    wait_until(lambda: told.exists() or (when == "before" and over()), "it is struck or done")
    armed.unlink()
    return told.read_text() if told.exists() else None


def every(trial: Callable[[int, str], str | None]) -> list[str]:
    """A trial before each message, until there is none left, and one after the last: the places."""
    found = []
    for at in count(1):
        assert at < MOST
        place = trial(at, "before")
        if place is None:
            return [*found, trial(at - 1, "after") or ""]
        found.append(place)
    raise AssertionError


def orders_left(hub: Hub) -> list[tuple[object, ...]]:
    return hub.where.sql("select 1 from hub.shreds where keys_gone_at is null")


def test_an_order_whose_key_process_is_killed_at_any_message_is_carried_out_by_the_next(hub: Hub) -> None:
    def trial(at: int, when: str) -> str | None:
        (*gone, stays) = published(hub, *(f"order-{when}-{at}-{n}" for n in range(3)))
        whole = keys_of(hub, *gone)
        hub.where.keyd.kill()  # which would else carry it out before the one that is struck has begun
        shred(hub, gone)
        place = struck(hub, strike.in_orders, at, when, lambda: not orders_left(hub))
        assert keys_of(hub, *gone) in (0, whole)
        begin(hub.where.keyd, None)
        wait_until(lambda: not orders_left(hub), "the next key process carries it out")
        assert keys_of(hub, *gone) == 0
        assert [status(hub, one) for one in (*gone, stays)] == [404, 404, 200]
        return place

    places = every(trial)
    assert any("insert into keys.shredded" in place for place in places)
    assert any("commit" in place for place in places)
    assert places[-1].startswith("after select hub.shred_done")


def test_a_bucket_at_whose_end_the_key_process_is_killed_at_any_message_is_ended_by_the_next(hub: Hub) -> None:
    rule = "insert into hub.retention (provider, dataset, months) select id, 1, 1200 from hub.organisations where slug = 'police'"
    hub.where.sql(f"set session_replication_role = replica; {rule}")  # which else wants its leaf

    def trial(at: int, when: str) -> str | None:
        (gone, *living) = published(hub, *(f"end-{when}-{at}-{n}" for n in range(3)), month=2 * at + (when == "after"))
        whole = keys_of(hub, gone)
        shred(hub, [gone])  # it is among those that don't live on: its keys end with the bucket's
        place = struck(hub, strike.in_ends, at, when, lambda: not buckets_left(hub))
        assert keys_of(hub, gone) in (0, whole)
        assert keys_of(hub, *living) == 2 * whole
        begin(hub.where.keyd, None)
        assert [status(hub, one) for one in (gone, *living)] == [404, 200, 200]
        begin(hub.where.keyd, strike.at_the_last_day)
        wait_until(lambda: not buckets_left(hub), "the next key process ends it")
        wait_until(lambda: not orders_left(hub), "and carries the order out")
        begin(hub.where.keyd, None)
        assert (keys_of(hub, gone), keys_of(hub, *living)) == (0, 2 * whole)
        assert [status(hub, one) for one in (gone, *living)] == [404, 200, 200]
        return place

    places = every(trial)
    assert any("hub.incidents_living" in place for place in places)
    assert any("update keys.dek" in place for place in places)
    assert any("update keys.kek k set wrapped = ''" in place for place in places)
    assert places[-1].startswith("after commit")


def buckets_left(hub: Hub) -> list[tuple[object, ...]]:
    return hub.where.sql("select 1 from keys.kek where bucket like 'until-%%' and destroyed_at is null", (), hub.where.addresses.keys)
