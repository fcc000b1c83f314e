"""Whatever is sent, the answer is a success or a clear problem, never a defect. Runs long behind `make soak`."""

import copy
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from hub import localdb
from tests.api.asking import GEOJSON, ITEMS, bearer, collection, problem
from tests.conftest import HOME
from tests.world import World, build, feature, grant

FULL: dict[str, Any] = {
    "status": "open",
    "severity": 3,
    "handling": "TLP:RED",
    "occurred_until": "2021-03-04T14:00:00Z",
    "reported_at": "2021-03-04T15:00:00+05:30",
    "resolved_at": "2021-03-05T00:00:00Z",
    "title": "A title",
    "narrative": "A narrative",
    "address": "1 Main Street",
    "people": [{"name": "N", "birth_date": "1990-12-31", "role": "witness"}],
    "phone": "555-0100",
    "vehicles": [{"plate": "P", "description": "D"}],
    "extra": {"a": [1, 2.5, None, {"b": True}]},
}
ODD_TEXT = ["", "\0", "\\N", "\\.", "\t", "\n", "\u2028", "🚓", "' or 1=1 --", "%s", "{}", "NaN", "null", "x" * 1_000, "٣", "\ufeff"]
ODD_TIMES = [
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59",
    "2021-02-29T00:00:00Z",
    "1700000000",
    "now",
]
ODD_NUMBERS = [0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**30, 1e308, -0.0, 5e-324, 180, 180.0000001, 90.5]

text = st.sampled_from(ODD_TEXT) | st.sampled_from(ODD_TIMES) | st.text(max_size=20)
scalar = st.none() | st.booleans() | st.sampled_from(ODD_NUMBERS) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=8)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(p for key, child in inner for p in places(child, (*path, key)))]


def changed(body: Any, path: tuple[Any, ...], new: Any, how: str) -> Any:
    """`body` with the value at `path` replaced, taken away, or given another name."""
    if not path:
        return new
    body = copy.deepcopy(body)
    parent = body
    for step in path[:-1]:
        parent = parent[step]
    if how == "replace" or isinstance(parent, list):
        parent[path[-1]] = new
    elif how == "drop":
        del parent[path[-1]]
    else:
        parent[str(new)[:50]] = parent.pop(path[-1])
    return body


GOOD = collection(feature("F-1", **FULL), feature("F-2"))
mutated = st.builds(changed, st.just(GOOD), st.sampled_from(places(GOOD)), value, st.sampled_from(["replace", "replace", "drop", "rename"]))
bodies = st.one_of(
    mutated.map(lambda body: json.dumps(body).encode()),
    mutated.map(lambda body: json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    value.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=200),
    st.tuples(st.integers(0, 1_000), st.binary(max_size=3)).map(lambda cut: json.dumps(GOOD).encode()[: cut[0]] + cut[1]),
)

number = st.sampled_from(ODD_NUMBERS).map(str) | st.floats().map(str) | st.integers().map(str) | st.sampled_from(["", " 1", "1_0", "+1"])
time = st.sampled_from([*ODD_TIMES, "..", "", "2021-03-04T13:00:00Z"]) | text
words = st.sampled_from(["theft", "fraud", "police", "health", "TLP:AMBER", "00000000-0000-0000-0000-000000000000"]) | text
nonsense = st.one_of(
    st.lists(number, min_size=3, max_size=6).map(",".join),
    st.lists(time, min_size=1, max_size=3).map("/".join),
    number,
    st.lists(words, max_size=4).map(",".join),
)
moment = st.datetimes().map(lambda at: at.isoformat() + "Z") | st.sampled_from(ODD_TIMES[:2])
longitude = st.sampled_from([-180.0, -79.38, 0.0, 179.9999999, 180.0]) | st.floats(-180, 180)
latitude = st.sampled_from([-90.0, 0.0, 43.65, 90.0]) | st.floats(-90, 90)
SENSE = {
    "bbox": st.tuples(longitude, latitude, longitude, latitude).map(lambda b: f"{b[0]},{min(b[1], b[3])},{b[2]},{max(b[1], b[3])}"),
    "datetime": moment | st.tuples(moment, moment).map(lambda ends: "/".join(sorted(ends))) | moment.map(lambda at: f"../{at}"),
    "limit": st.integers(1, 1000).map(str),
    "category": st.sampled_from(["theft", "fraud,theft"]),
    "severity": st.integers(-(2**31), 2**31 - 1).map(str),
    "external_id": text.filter(lambda given: given.strip("\0") == given != ""),
    "handling": st.just("TLP:RED"),
    "before": st.integers(1, 10**11).map(str),
    "owner": words,
    "type": words,
    "organisation": words,
    "person": st.uuids().map(str),
    "decision": st.sampled_from(["permit", "refuse", "absent"]),
    "placeless": st.sampled_from(["true", "false"]),
    "others": st.sampled_from(["true", "false"]),
    "grant": words,
    "polygon": st.lists(st.tuples(longitude, latitude), min_size=3, max_size=5).map(lambda c: ",".join(f"{x},{y}" for x, y in c)),
    "record": words,
}
NAMES = ["bbox", "datetime", "limit", "cursor", "category", "severity", "external_id", "handling", "f", "", "\0"]
AUDIT_NAMES = [
    "datetime",
    "organisation",
    "owner",
    "type",
    "person",
    "decision",
    "bbox",
    "polygon",
    "placeless",
    "others",
    "grant",
    "record",
]
AUDIT_NAMES += ["before", "limit", "", "f"]


def queries(names: list[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Any names with any values; or names that there are, once each, with values that may be meant, perhaps one that is not."""
    likely = st.fixed_dictionaries({}, optional={name: SENSE[name] for name in names if name in SENSE}).map(lambda q: list(q.items()))
    unlikely = st.lists(st.tuples(st.sampled_from(names), nonsense), max_size=4)
    return likely | unlikely | st.tuples(likely, unlikely).map(lambda both: both[0] + both[1][:1])


def check_body(world: World, body: bytes) -> int:
    answer = world.http.post(ITEMS, content=body, headers=world.bearer("police") | {"Content-Type": GEOJSON})
    if answer.status_code not in (200, 201):
        problem(answer, answer.status_code)
        assert answer.status_code in (400, 413, 422), answer.text
    return int(answer.status_code)


def check_query(world: World, query: list[tuple[str, str]]) -> int:
    answer = world.http.get(ITEMS, params=query, headers=bearer(world, "health", "query", "research"))
    if answer.status_code != 200:
        problem(answer, 400)
    else:
        assert answer.json()["numberReturned"] == len(answer.json()["features"])
    return int(answer.status_code)


def check_map_query(world: World, query: list[tuple[str, str]]) -> int:
    answer = world.http.get("/collections/incidents/map", params=query, headers=bearer(world, "health", "query", "research"))
    if answer.status_code != 200:
        problem(answer, 400)
    else:
        assert answer.json()["kind"] == "records"
    return int(answer.status_code)


def check_audit_query(world: World, query: list[tuple[str, str]]) -> int:
    client = "auditor" if len(query) % 2 else "police"
    answer = world.http.get("/audit/events", params=query, headers=bearer(world, client, "audit"))
    if answer.status_code != 200:
        assert answer.status_code in (400, 403, 404), answer.text
        problem(answer, answer.status_code)
    return int(answer.status_code)


def check_headers(world: World, headers: tuple[bytes, bytes, bytes]) -> int:
    names = ("Authorization", "Content-Type", "Content-Encoding")
    given = dict(zip(names, headers, strict=True))
    if given["Authorization"] == b"good":
        given["Authorization"] = world.bearer("police")["Authorization"].encode()
    answer = world.http.post(ITEMS, content=b"{}", headers=given)
    assert answer.status_code in (400, 401, 415), answer.text
    problem(answer, answer.status_code)
    return int(answer.status_code)


header = st.binary(max_size=30).map(lambda b: bytes(c for c in b if c >= 32 and c != 127)) | st.sampled_from([b"good", b"gzip", b""])
CHECKS: dict[str, tuple[Callable[[World, Any], int], st.SearchStrategy[Any]]] = {
    "bodies": (check_body, bodies),
    "queries": (check_query, queries(NAMES)),
    "map queries": (
        check_map_query,
        st.tuples(SENSE["bbox"], queries(NAMES[1:])).map(lambda both: [("bbox", both[0]), *both[1]]) | queries(NAMES),
    ),
    "audit queries": (check_audit_query, queries(AUDIT_NAMES)),
    "headers": (check_headers, st.tuples(header | st.just(b"good"), header | st.just(GEOJSON.encode()), header)),
}


def run(world: World, name: str, count: int, start: int) -> Counter[int]:
    """How often each status was answered; raises with the shortest example when one is a defect."""
    check, strategy = CHECKS[name]
    seen: Counter[int] = Counter()

    @seed(start)
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink]
    )
    @given(strategy)
    def once(example: Any) -> None:
        seen[check(world, example)] += 1

    once()
    return seen


def partners_for(world: World, folder: Path) -> None:
    for slug in ("police", "health"):
        world.organisation(slug)
    world.organisation("auditor", "auditor", ["audit"])
    fields = dict.fromkeys(("category", "severity", "external_id", "occurred_at", "place", "narrative", "extra", "people"), "clear")
    world.mou(folder, "MOU-1", "police", "health", [grant(fields=fields)])


@contextmanager
def own_world() -> Iterator[World]:
    """A hub on databases of its own in the tests' cluster, which go with it."""
    cluster = localdb.ensure(HOME / "pg", durable=False)
    names = [f"soak_{uuid4().hex[:8]}", f"soak_{uuid4().hex[:8]}_keys"]
    try:
        with build(*(sa.make_url(cluster.url(name)) for name in names), HOME / "state") as world:
            yield world
    finally:
        engine = sa.create_engine(cluster.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in names:
                connection.exec_driver_sql(f'drop database if exists "{name}" with (force)')


def soak(seed: int, count: int) -> dict[str, object]:
    """`count` examples of each kind; gives how often each status was answered."""
    chance = random.Random(seed)
    with TemporaryDirectory() as folder, own_world() as world:
        partners_for(world, Path(folder))
        return {name: dict(run(world, name, count, chance.getrandbits(32))) for name in CHECKS}
