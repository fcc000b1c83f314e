"""Kill -9 of server, key process and PostgreSQL while a partner has records destroyed: each is readable, or destroyed, never between."""

import json
import random
import threading
import time
from typing import Any

from hub.crypto.destruction import Destruction
from tests.faults.kills import KILLS, strike_keyd, strike_server
from tests.faults.load import Client, Ledger, record
from tests.faults.stand import Stand, stand, wait_until

ITEMS, SHREDS = "/collections/incidents/items", "/collections/incidents/shreds"
AT_ONCE = 20


class Partner(threading.Thread):
    """Publishes a batch, replaces some of it, has most of it destroyed, and notes what it was told."""

    def __init__(self, where: Stand, seed: int) -> None:
        super().__init__(daemon=True)
        self._where, self._chance, self._ledger = where, random.Random(seed), Ledger()
        self.published: set[str] = set()
        self.destroyed: set[str] = set()
        self.asked: set[str] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        client, number = Client(self._where, "police"), 0
        while not self.ended.is_set():
            number += 1
            names = [f"shred-{number}-{n}" for n in range(AT_ONCE)]
            ids = self._publish(client, names)
            self._publish(client, names[: AT_ONCE // 2])  # a second revision
            if ids:
                self._destroy(client, self._chance.sample(ids, AT_ONCE - 2))
        client.close()

    def _publish(self, client: Client, names: list[str]) -> list[str]:
        sent = [record(self._chance, name, next(self._ledger.stamps)) for name in names]
        answer = client.ask("POST", ITEMS, {"type": "FeatureCollection", "features": sent})
        if answer is None or answer[0] not in (200, 201):
            time.sleep(0.05)
            return []
        ids = [r["id"] for r in json.loads(answer[2])["records"]]
        self.published.update(ids)
        return ids

    def _destroy(self, client: Client, ids: list[str]) -> None:
        self.asked.update(ids)
        answer = _json(client, "POST", SHREDS, {"records": ids})
        if answer is not None and answer[0] == 202:
            self.destroyed.update(ids)


def _json(client: Client, method: str, path: str, body: Any) -> Any:
    """The client sends its bodies as GeoJSON; an order is JSON."""
    return client.ask(method, path, json.dumps(body).encode(), "application/json")


def campaign(name: str, seed: int, count: int, careless: bool = False) -> dict[str, Any]:
    """`count` kills while records are destroyed; what was wrong afterwards. `careless`: a key process that leaves keys out, the control."""
    chance = random.Random(seed)
    with stand(name) as where:
        if careless:
            where.keyd.kill()
            where.keyd.sabotage = leave_keys
            where.keyd.start()
        partner = Partner(where, seed)
        partner.start()
        kinds = [kill for kill in KILLS if kill not in (strike_server, strike_keyd)]  # whose points lie where pages are read
        plan = [kinds[n % len(kinds)] for n in range(count)]
        chance.shuffle(plan)
        for kill in plan:
            before = len(partner.destroyed)
            wait_until(lambda: len(partner.destroyed) > before, "records are destroyed")  # noqa: B023
            time.sleep(chance.uniform(0, 0.3))
            kill(where, chance)
            where.raise_databases()
            where.start()
        partner.ended.set()
        partner.join(60)
        pending = "select 1 from hub.shreds where keys_gone_at is null"
        wait_until(lambda: not where.sql(pending), "every order is carried out")
        wrong = faults(where, partner)
    return {"kills": count, "published": len(partner.published), "destroyed": len(partner.destroyed), "faults": wrong}


def leave_keys() -> None:
    """The fault of the control: orders are told to be done, and no key is destroyed."""
    Destruction.shred = lambda self, records: 0  # type: ignore[method-assign]


def faults(where: Stand, partner: Partner) -> list[str]:
    """Everything that is neither readable nor destroyed, and everything that was told to be destroyed and isn't."""
    reader, found = Client(where, "health", "research"), []
    deks = {str(r) for (r,) in where.sql("select distinct record from keys.dek", url=where.addresses.keys)}
    gone = {str(r) for (r,) in where.sql("select distinct id from hub.incidents_shredded")}
    stored = {
        str(r)
        for table in ("incidents", "incidents_history", "incidents_withdrawn", "incidents_blind")
        for (r,) in where.sql(f"select distinct id from hub.{table}")
    }
    leaves = [json.loads(leaf) for (leaf,) in where.sql("select leaf from hub.audit_leaves where type = 'shred'")]
    if sum(leaf["asked"]["records"] for leaf in leaves if leaf["decision"] == "permit") != len(gone):
        found.append("unlogged: the leaves name other numbers of records than were destroyed")
    for one in sorted(partner.published):
        answer = reader.ask("GET", f"{ITEMS}/{one}")
        status = None if answer is None else answer[0]
        if one in gone:
            found += [
                f"half: {one} is destroyed and still {what}"
                for what, there in (("has keys", one in deks), ("stored", one in stored))
                if there
            ]
            found += [f"half: {one} is destroyed and answers {status}"] if status != 404 else []
        elif status != 200 or "narrative" not in json.loads(answer[2])["properties"]:  # type: ignore[index]
            found.append(f"lost: {one} was not destroyed and answers {status}")
        if one in partner.destroyed and one not in gone:
            found.append(f"kept: {one} was told to be destroyed")
        if one in gone and one not in partner.asked:
            found.append(f"lost: nobody asked to destroy {one}")
    reader.close()
    return found


def soak(seed: int, count: int) -> dict[str, Any]:
    """The long run, then the control: `faults` must be empty, `control_lost` not."""
    found = campaign("shreds", seed, count)
    control = campaign("shreds-control", seed, 3, careless=True)
    return {**found, "control_lost": len(control["faults"])}
