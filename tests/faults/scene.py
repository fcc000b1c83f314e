"""Records full of canaries, published, changed, refused and read, while PostgreSQL fails in several ways: then every place where
bytes may have come to rest.
"""

import http.client
import json
import os
import random
import string
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hub import localdb
from tests.faults.arriving import arrive, caught
from tests.faults.command import Command
from tests.faults.load import ITEMS, Client
from tests.faults.needles import files_below, of_number, of_text
from tests.faults.stand import Stand, wait_until

CLEAR = "external_id, which is clear"
Feature = dict[str, Any]


@dataclass
class Scene:
    """`needles`: what must be nowhere. `clear`: what must be found, or the search is blind. `said`: every answer but a reader's. `rest`:
    what was left at the end; `caught`: what lay in files for a while; `kept`: the hub's own folder, which holds its keys.
    """

    where: Stand
    chance: random.Random
    needles: dict[bytes, str] = field(default_factory=dict)
    clear: dict[bytes, str] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    shown: list[bytes] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    rest: list[tuple[str, bytes]] = field(default_factory=list)
    caught: list[tuple[str, bytes]] = field(default_factory=list)
    kept: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def server(self) -> Command:
        assert isinstance(self.where.server, Command)
        return self.where.server

    def word(self, name: str) -> str:
        """A new canary."""
        text = "".join(self.chance.choices(string.ascii_letters + string.digits, k=24))
        self.needles |= of_text(name, text)
        return text

    def date(self, name: str) -> str:
        """A birth date of which there is no other."""
        text = f"{self.chance.randint(1100, 1799)}-{self.chance.randint(10, 12)}-{self.chance.randint(10, 28)}"
        self.needles |= of_text(name, text)
        return text

    def degrees(self, name: str, low: float, high: float) -> float:
        value = round(self.chance.uniform(low, high), 8)
        self.needles |= of_number(name, value)
        return value

    def feature(self, **changed: Any) -> Feature:
        external_id = "".join(self.chance.choices(string.ascii_letters, k=24))
        self.clear |= of_text(CLEAR, external_id)
        properties = {
            "external_id": external_id,
            "category": "assault",
            "occurred_at": "2021-03-04T13:37:11Z",
            "title": self.word("title"),
            "narrative": f"{self.word('narrative')} {'and so on ' * 300}{self.word('end of a long narrative')}",
            "address": self.word("address"),
            "people": [{"name": self.word("name"), "birth_date": self.date("birth date"), "role": self.word("role")}],
            "phone": self.word("phone"),
            "vehicles": [{"plate": self.word("plate"), "description": self.word("vehicle")}],
            "extra": {self.word("key in extra"): {"deep": [self.word("value in extra"), self.degrees("number in extra", 1, 9)]}},
        }
        place = [self.degrees("longitude", -79.6, -79.1), self.degrees("latitude", 43.6, 43.8)]
        return {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": properties | changed}


def collection(*features: Feature) -> Feature:
    return {"type": "FeatureCollection", "features": list(features)}


def play(scene: Scene) -> None:
    """All of it; at the end the server and PostgreSQL have ended in good order and `rest` holds what they left."""
    partners = Client(scene.where, "police"), Client(scene.where, "health", "research")
    with ExitStack() as closing:
        for client in partners:
            closing.callback(client.close)
        work(scene, *partners)
    scene.secrets += [secret for client in partners for secret in client.secrets]
    scene.rest += asked(scene.where)
    scene.server.stop()
    for cluster in scene.where.clusters():
        localdb.stop(cluster)
    scene.rest += left(scene.where, scene.server)
    scene.kept += files_below(scene.where.settings.state_dir)


def work(scene: Scene, police: Client, health: Client) -> None:
    everything = [scene.feature() for _ in range(6)]
    publish(scene, police, collection(*everything), 201)
    publish(scene, police, collection(*[scene.feature(external_id=f["properties"]["external_id"]) for f in everything[:3]]), 200)
    read(scene, health, everything)
    arrive(scene)
    for body in unacceptable(scene):
        publish(scene, police, body, 400, 413, 422)
    fail(scene, police, health)
    strangers(scene)
    read(scene, health, everything)
    answer = police.ask("GET", "/audit/events?limit=1000")
    assert answer is not None
    assert answer[0] == 200
    scene.said.append(("the log as an owner reads it", answer[2]))


def publish(scene: Scene, client: Client, body: Any, *expected: int) -> None:
    answer = client.ask("POST", ITEMS, body)
    assert answer is not None
    assert answer[0] in expected, answer
    scene.said.append((f"answer {len(scene.said)}, {answer[0]}", answer[2]))


def read(scene: Scene, client: Client, features: list[Feature]) -> None:
    """With the sealed fields opened, by place, and by the exact value of a clear field; then what finds nothing or is refused."""
    known = features[0]["properties"]["external_id"]
    for query in ("limit=100", "bbox=-79.6,43.6,-79.1,43.8", f"external_id={known}"):
        answer = client.ask("GET", f"{ITEMS}?{query}")
        assert answer is not None
        assert answer[0] == 200, answer
        scene.shown.append(answer[2])
    for name in ("external_id", "category", "nonsense", "bbox", "datetime", "limit", "cursor"):
        answer = client.ask("GET", f"{ITEMS}?{name}={scene.word(f'asked for as {name}')}")
        assert answer is not None
        assert answer[0] == (200 if name == "external_id" else 400), answer


def unacceptable(scene: Scene) -> Iterator[Any]:
    """Each with something wrong in a sealed field, beside others that are right."""
    word = scene.word
    for name, value in {
        "title": [word("title in a list")],
        "narrative": {"text": word("narrative in an object")},
        "address": word("long address") * 30,
        "people": word("people as a text"),
        "phone": {"number": word("phone in an object")},
        "vehicles": [{"plate": [word("plate in a list")]}],
        "extra": word("extra as a text"),
        "severity": word("severity as a text"),
        "category": word("an unknown category"),
        "occurred_at": word("a time that is none"),
    }.items():
        yield collection(scene.feature(), scene.feature(**{name: value}))
    yield scene.feature(people=[{"name": word("name"), "birth_date": word("birth date that is none")}])
    yield scene.feature(people=[{"name": word("name"), "surname": word("member of a person")}])
    yield scene.feature(narrative=word("huge narrative") * 4_200)
    yield json.dumps(scene.feature()).encode()[:-3]
    yield json.dumps(scene.feature()).encode().replace(b"assault", b"\xff")
    twin = scene.feature()
    yield collection(twin, scene.feature(external_id=twin["properties"]["external_id"]))
    far, swapped = scene.degrees("far longitude", 181, 999), scene.degrees("swapped longitude", -179, -91)
    for place in (["longitude"], [far, 43.0], [43.5, swapped], [1.0, "43.7"]):
        yield scene.feature() | {"geometry": {"type": "Point", "coordinates": place}}


def fail(scene: Scene, police: Client, health: Client) -> None:
    """PostgreSQL refuses rows and commits, misses functions, ends sessions, and crashes, each while sealed fields are on their way."""
    where = scene.where
    owner = "set role hub_owner; "
    where.sql(owner + "alter table hub.incidents add constraint none check (published_at is null) not valid")
    publish(scene, police, scene.feature(), 500)
    where.sql(owner + "alter table hub.incidents drop constraint none")
    where.sql(owner + "alter function hub.enter(int, text) rename to entrance")
    during(scene, health, 500, 503)
    where.sql(owner + "alter function hub.entrance(int, text) rename to enter")
    where.sql(owner + "alter function hub.incidents_store rename to shop")
    publish(scene, police, scene.feature(), 500, 503)
    where.sql(owner + "alter function hub.shop rename to incidents_store")
    cut_off(scene, police)
    localdb.stop(where.main, "immediate")
    publish(scene, police, scene.feature(), 503)
    during(scene, health, 503)
    where.raise_databases()


def during(scene: Scene, client: Client, *expected: int) -> None:
    answer = client.ask("GET", ITEMS)
    assert answer is not None
    assert answer[0] in expected, answer
    scene.said.append((f"answer {len(scene.said)}, {answer[0]}", answer[2]))


def cut_off(scene: Scene, police: Client) -> None:
    """A publish that waits for a lock while its session is ended."""
    blocked = threading.Thread(target=lambda: publish(scene, police, scene.feature(), 503))
    waiting = "select pid from pg_stat_activity where usename = 'hub_writer' and wait_event_type = 'Lock'"
    with scene.where.session() as session:
        session("lock table hub.incidents in access exclusive mode")
        blocked.start()
        wait_until(lambda: scene.where.sql(waiting), "the publish waits")
        caught(scene, "while a publish waits")
        session(f"select pg_terminate_backend(pid) from ({waiting}) w")
        blocked.join(30)


def strangers(scene: Scene) -> None:
    """Tokens and assertions that prove nothing are secrets all the same: somebody may have mistyped one."""
    connection = http.client.HTTPConnection("127.0.0.1", scene.where.server.port, timeout=30)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    token = "grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    requests: list[tuple[str, str, str | None, dict[str, str]]] = [
        ("GET", ITEMS, None, {"Authorization": f"Bearer {scene.word('bad token')}"}),
        ("GET", ITEMS, None, {"Authorization": f"Basic {scene.word('bad scheme')}"}),
        ("POST", "/oauth/token", f"{token}&client_assertion={scene.word('bad assertion')}", form),
        ("POST", "/oauth/token", f"grant_type=password&password={scene.word('password')}", form),
        ("POST", "/oauth/token", f"{token}&client_secret={scene.word('client secret')}", form),
    ]
    for method, path, body, headers in requests:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        scene.said.append((f"stranger {len(scene.said)}", answer.read()))
        assert answer.status in (400, 401)
    connection.close()


def asked(where: Stand) -> Iterator[tuple[str, bytes]]:
    """What PostgreSQL itself says: a dump of everything, and the statistics as its users see them."""
    where.sql("analyze")
    where.sql("analyze", url=where.addresses.keys)
    binaries = localdb.find_binaries()
    for name, cluster in (("main", where.main), ("keys", where.keys)):
        environment = os.environ | {"PGPASSWORD": cluster.password}
        options = ["-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres"]
        dump = subprocess.run([binaries / "pg_dumpall", *options], capture_output=True, check=True, env=environment)
        yield f"{name} dump", dump.stdout
    for view in ("pg_stats", "pg_stat_activity", "pg_stat_statements_info", "pg_prepared_statements"):
        for url in (where.addresses.main, where.addresses.keys):
            if where.sql("select to_regclass(%s)", (view,), url)[0][0]:
                yield f"{view} of {url.database}", repr(where.sql(f"select * from {view}", url=url)).encode()


def left(where: Stand, server: Command) -> Iterator[tuple[str, bytes]]:
    """Every file of the clusters, the server's log, and what it and the key process left in their folder for temporary files."""
    for name, cluster in (("main", where.main), ("keys", where.keys)):
        yield from ((f"{name} {path}", data) for path, data in files_below(cluster.home, "superuser-password"))
    yield "server.log", server.log.read_bytes()
    yield from files_below(server.temporary)
