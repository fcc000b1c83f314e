"""Two records that differ only in what is not released answer every request alike; a hub that looks at the finer value does not."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.routing import Route

from hub.api import openapi
from hub.datasets import DATASETS
from hub.policy.treatments import window
from hub.released import PATHS, view_sql
from hub.sharing import context, overview, query, stored
from hub.sharing.labels import label_sql
from hub.sharing.statements import Shape, Statements
from hub.web import pages
from tests.agreements.parties import party
from tests.wall.asks import (
    AGREEMENTS,
    AUDIT_VALUES,
    DUTIES,
    FLAG_VALUES,
    FLAGS,
    GENERATORS,
    LOG,
    PAGE_VALUES,
    POSTER,
    REVIEWS,
    asks,
    operations,
)
from tests.wall.sending import Answer, Ask, differences, send
from tests.wall.twins import Scenario, scenarios
from tests.world import World, build, feature

pytestmark = [pytest.mark.unmeasured, pytest.mark.timeout(900)]

NAMES = [s.name for s in scenarios(datetime.now(UTC))]
INCIDENT = DATASETS["incidents"]
Answers = dict[str, list[list[Answer]]]


@pytest.fixture(scope="module")
def world(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path) -> Iterator[World]:
    """A hub whose tokens last as long as the asking does: a new one in between would be in the log of one twin alone."""
    with build(*databases(), state, token_ttl_s=900) as built:
        yield built


@pytest.fixture(scope="module")
def document(world: World) -> Mapping[str, Any]:
    return openapi.document(world.services)


@dataclass(frozen=True)
class Compared:
    """What was asked in each scenario, and the answers for the first twins and for the second, by build."""

    asked: Mapping[str, Sequence[Ask]]
    first: Mapping[str, Answers]
    second: Mapping[str, Answers]


@pytest.fixture(scope="module")
def compared(world: World, document: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """One hub, whose providers publish their first twins, then the second ones under the same ids; the same requests in between."""
    found = scenarios(datetime.now(UTC))
    _sign(world, found, tmp_path_factory.mktemp("mous"))
    ids = _publish(world, found, 0)
    asked = {s.name: asks(document, s, ids) for s in found}
    first = _honest(world, asked)
    assert _publish(world, found, 1) == ids
    second = _honest(world, asked)
    _spoil(world)
    assert _publish(world, found, 0) == ids
    first |= _spoiled(world, asked)
    assert _publish(world, found, 1) == ids
    second |= _spoiled(world, asked)
    return Compared(asked, first, second)


def _sign(world: World, found: Sequence[Scenario], folder: Path) -> None:
    """Everybody owes duties for what they are given; who is shown the exact place may be told of a change that moves it."""
    world.organisation(POSTER)
    party(world, POSTER)
    for s in found:
        world.organisation(s.provider)
        world.organisation(s.reader)
        party(world, s.reader)
        pinned = {}
        if s.jurisdiction:
            content = json.dumps(s.jurisdiction).encode()
            (folder / "west.geojson").write_bytes(content)
            pinned = {"jurisdictions": {"west": {"file": "west.geojson", "sha256": hashlib.sha256(content).hexdigest()}}}
        refuse = {"refuse": json.loads(json.dumps(s.refuse))} if s.refuse else {}  # copies: no YAML aliases
        owed: dict[str, Any] = {} if s.name == "exact" else {"duties": {"retain": "P30D"}}
        if s.name not in ("exact", "placeless", "withheld", "matched"):  # whose twins lie in two cells, or months
            owed |= {"aggregates": {"min_count": 2}}
        grants = [g | owed for g in json.loads(json.dumps(s.grants))]
        world.mou(folder, f"MOU-{s.name.upper()}", s.provider, s.reader, grants, **pinned, **refuse)
        assert world.publish(s.reader, feature(f"own-{s.reader}")).status_code == 201
        assert world.publish(POSTER, *(feature(pair[0]["properties"]["external_id"]) for pair in s.pairs)).status_code == 201


def _publish(world: World, found: Sequence[Scenario], which: int) -> dict[str, str]:
    for s in found:
        assert world.publish(s.provider, *(pair[which] for pair in s.pairs)).status_code in (200, 201)
    with world.superuser() as connection:
        rows = connection.exec_driver_sql(
            "select external_id, i.id::text from hub.incidents i join hub.organisations o on o.id = provider where o.slug <> %s", (POSTER,)
        )
        return dict(tuple(row) for row in rows)


def _pages(wanted: Sequence[Ask]) -> list[Ask]:
    return [a for a in wanted if a.method == "GET" and a.path.endswith("/items")]


def _maps(wanted: Sequence[Ask]) -> list[Ask]:
    return [a for a in wanted if a.method == "GET" and a.path.endswith("/map")]


def _boxed(wanted: Sequence[Ask]) -> list[Ask]:
    return [a for a in _pages(wanted) if "bbox" in dict(a.params)][::2] + _maps(wanted)[::2]


def _honest(world: World, asked: Mapping[str, Sequence[Ask]]) -> dict[str, Answers]:
    """The hub as it is; then maps that count; then again pages and maps of an area read through the access path `seek`."""
    found = {"hub": {name: send(world, wanted) for name, wanted in asked.items()}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview, "MAX_RECORDS", 0)
        found["counts"] = {name: send(world, _maps(wanted)) for name, wanted in asked.items()}
    with pytest.MonkeyPatch.context() as patch, world.superuser() as connection:
        connection.exec_driver_sql("analyze hub.incidents")
        connection.commit()
        patch.setattr(query, "SEEK_SHARE", 2.0)
        patch.setattr(query, "SEEK_RATE", float("inf"))
        patch.setattr(world.services.datasets["incidents"].querying, "_policies", query.Policies("incidents"))
        found["seek"] = {name: send(world, _boxed(wanted)) for name, wanted in asked.items()}
    return found


# --- builds that look at the finer value ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bug:
    """A planted bug: the statement text `finds` becomes `puts`; the scenario whose twins must then be told apart, by requests with
    the parameter `about`, of pages or of maps.
    """

    scenario: str
    about: str
    finds: str = ""
    puts: str = ""
    python: Callable[[pytest.MonkeyPatch], None] = lambda patch: None
    asks: Callable[[Sequence[Ask]], list[Ask]] = _pages


def _exact_windows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(context, "bounds", lambda now, lookback, embargo, _step: window(now, lookback, embargo, timedelta(0)))


def _counting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(overview, "MAX_RECORDS", 0)


_PLACE, _FINE_PLACE = r"ST_([XY])\(v\.place\)(?! between)", r"ST_\1(v.fine_place)"
BUGS = {
    "an area is compared with the 100 m cell": Bug("cell2k", "bbox", r"ST_([XY])\(v\.place\) between", r"ST_\1(v.fine_place) between"),
    "a jurisdiction is compared with the 100 m cell": Bug("cell500", "limit"),
    "a time within the hour is compared": Bug("hour", "datetime", r"v\.occurred_at ([<>]=)", r"v.fine_at \1"),
    "a time within the day is compared": Bug("day", "datetime", r"v\.occurred_at ([<>]=)", r"v.fine_at \1"),
    "a window ends within an hour": Bug("hour", "limit", python=_exact_windows),
    "a withheld field is compared": Bug("withheld", "status", r"v\.status = any", "v.fine_status = any"),
    "a page is in the order of time": Bug(
        "hour", "limit", r"order by (r\.n, )?([vx])\.k2, ([vx])\.id", r"order by \1\2.k2, \2.fine_at, \3.id"
    ),
    "the placeless are in the order of their places": Bug("placeless", "limit", r"order by v\.id", "order by v.fine_k2, v.id"),
    "a withheld field shows in another": Bug(
        "withheld", "limit", r"to_json\(([vx])\.category\)", r"to_json(\1.category || coalesce(\1.fine_status, ''))"
    ),
    "a map shows the 100 m cell": Bug("cell2k", "bbox", _PLACE, _FINE_PLACE, asks=_maps),
    "a map counts by the 100 m cell": Bug("cell2k", "bbox", _PLACE, _FINE_PLACE, _counting, _maps),
    "a map's area is compared with the 100 m cell": Bug(
        "cell2k", "bbox", r"ST_([XY])\(v\.place\) between", r"ST_\1(v.fine_place) between", _counting, _maps
    ),
    "a map is in the order of time": Bug("hour", "bbox", r"order by v\.k2, v\.id", "order by v.k2, v.fine_at, v.id", asks=_maps),
}
FINE = ", i.c100 as fine_place, i.occurred_at as fine_at, i.status as fine_status, i.k2 as fine_k2\nfrom hub.incidents i"


def _spoil(world: World) -> None:
    """Gives the views columns that no masking has touched, and labels by the 100 m cell whatever a grant's grid is."""
    with world.superuser() as connection:
        for path in PATHS:
            text = view_sql("incidents", INCIDENT, path).replace("create view", "create or replace view")
            connection.exec_driver_sql(text.replace("\nfrom hub.incidents i", FINE).replace("%", "%%"))
        label = label_sql("incidents", INCIDENT).replace("create function", "create or replace function")
        assert "when 500 then p_c500" in label
        connection.exec_driver_sql(label.replace("when 500 then p_c500", "when 500 then p_c100"))
        store = stored.dataset_sql("incidents", INCIDENT).partition("create function hub.incidents_store")[2].partition("end $$;")[0]
        assert "when 500 then b.c500" in store
        store = store.replace("when 500 then b.c500", "when 500 then b.c100")
        connection.exec_driver_sql(f"create or replace function hub.incidents_store{store}end $$;".replace("%", "%%"))


def _spoiled(world: World, asked: Mapping[str, Sequence[Ask]]) -> dict[str, Answers]:
    return {name: {bug.scenario: _with(world, bug, _some(asked[bug.scenario], bug))} for name, bug in BUGS.items()}


def _some(wanted: Sequence[Ask], bug: Bug) -> list[Ask]:
    """The requests with the parameter that a bug is about are enough to find it out."""
    return [a for a in bug.asks(wanted) if bug.about in dict(a.params)][:36]


def _with(world: World, bug: Bug, wanted: Sequence[Ask]) -> list[list[Answer]]:
    with pytest.MonkeyPatch.context() as patch, _statements(world, patch, bug):
        bug.python(patch)
        return send(world, wanted)


class _Spoiled(Statements):
    """The statements with a planted bug in their text."""

    def __init__(self, bug: Bug) -> None:
        super().__init__("incidents", INCIDENT)
        self.bug, self.replaced = bug, 0

    def prepared(self, path: str, shape: Shape) -> tuple[str, str]:
        return self._spoiled(*super().prepared(path, shape))

    def overview(self, form: str, path: str) -> tuple[str, str]:
        return self._spoiled(*super().overview(form, path))

    def _spoiled(self, name: str, text: str) -> tuple[str, str]:
        spoiled, count = re.subn(self.bug.finds, self.bug.puts, text)
        self.replaced += count
        return name, spoiled


@contextmanager
def _statements(world: World, patch: pytest.MonkeyPatch, bug: Bug) -> Iterator[None]:
    spoiled = _Spoiled(bug)
    if bug.finds:
        patch.setattr(world.services.datasets["incidents"].querying, "_statements", spoiled)
    world.database.reader.dispose()  # sessions keep what they prepared
    yield
    world.database.reader.dispose()
    assert spoiled.replaced or not bug.finds


WRITING = ("publish", "replace", "withdraw", "import", "shred", "hold", "match")  # their parameters are headers

# --- the tests -----------------------------------------------------------------------------------------------------------------


def test_every_operation_and_parameter_of_the_document_has_its_requests(document: Mapping[str, Any]) -> None:
    found = {op["operationId"]: {p["name"] for p in op.get("parameters", ())} for _, _, op in operations(document)}
    assert set(found) == set(GENERATORS)
    assert found["items_incidents"] == set(PAGE_VALUES)
    assert found["flags"] == set(FLAG_VALUES)
    assert found["auditEvents"] | found["auditEvents_csv"] == set(AUDIT_VALUES)
    assert found["auditSummary"] == found["auditEvents"] - {"before", "limit"} == found["auditEvents_ndjson"] - {"names"}
    reading = {name for name, parameters in found.items() if parameters and name.partition("_")[0] not in WRITING}
    reading -= {*AGREEMENTS, *DUTIES, *FLAGS, *LOG, *REVIEWS}
    records = {"items_incidents", "item_incidents", "map_incidents", "explain_incidents", "trace_incidents"}
    assert reading == records | {"auditEvents", "auditSummary", "auditEvents_csv", "auditEvents_ndjson"}
    assert found["map_incidents"] == set(PAGE_VALUES) - {"limit", "cursor"}


def _methods(routers: Iterable[Any]) -> set[tuple[str, str]]:
    found = [route for r in routers for route in getattr(r, "routes", [r]) if isinstance(route, Route)]
    routes = {(m, route.path.replace(":path}", "}")) for route in found for m in route.methods or () if m != "HEAD"}
    assert len(routes) == len(found) > 0
    return routes


def test_every_route_is_in_the_document_or_a_page(world: World, document: Mapping[str, Any]) -> None:
    """What pages show comes through the same flows; who may open which is in tests/web."""
    named = {(m, re.sub(r"^/collections/incidents", "/collections/{name}", path)) for m, path, _ in operations(document)}
    routes = _methods(getattr(r, "original_router", r) for r in world.http.app.routes)  # type: ignore[attr-defined]
    assert routes - _methods(pages.routers()) == named
    assert len(named) > 10


@pytest.mark.parametrize("name", NAMES)
def test_twins_answer_every_request_alike(compared: Compared, name: str) -> None:
    one, other = compared.first["hub"][name], compared.second["hub"][name]
    if name == "exact":  # this reader sees the exact place of a record that it found by its 100 m cell
        one, other = _without_places(one), _without_places(other)
    assert [compared.asked[name][n] for n in differences(one, other)] == []


@pytest.mark.parametrize("name", NAMES)
def test_twins_are_counted_alike(compared: Compared, name: str) -> None:
    one, other = compared.first["counts"][name], compared.second["counts"][name]
    assert [_maps(compared.asked[name])[n] for n in differences(one, other)] == []


@pytest.mark.parametrize("name", NAMES)
def test_twins_answer_alike_through_the_index_for_readers_of_little(compared: Compared, name: str) -> None:
    one, other = compared.first["seek"][name], compared.second["seek"][name]
    boxed = _boxed(compared.asked[name])
    answered = dict(zip(map(id, compared.asked[name]), compared.first["hub"][name], strict=True))
    walked = [answered[id(ask)] for ask in boxed]
    if name == "exact":
        one, other, walked = map(_without_places, (one, other, walked))
    assert [boxed[n] for n in differences(one, other)] == []
    assert [boxed[n] for n in differences(one, walked)] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_requests_find_something_and_miss_something(compared: Compared, name: str) -> None:
    pages = [a[0] for ask, a in zip(compared.asked[name], compared.first["hub"][name], strict=True) if ask in _pages([ask])]
    found = [a for a in pages if a.status == 200]
    assert sum(a.empty for a in found) >= 5
    assert sum(not a.empty for a in found) >= 5
    assert any(a.status == 400 for a in pages)
    assert any(len(a) > 1 for a in compared.first["hub"][name])
    counted = [a for (a,) in compared.first["counts"][name] if a.status == 200]
    assert sum(a.empty for a in counted) >= 5
    assert sum(b'"kind":"counts"' in a.body for a in counted) >= 5 or name == "placeless"  # who are on no map at all


@pytest.mark.parametrize("bug", BUGS)
def test_a_build_that_looks_at_the_finer_value_is_found_out(compared: Compared, bug: str) -> None:
    name = BUGS[bug].scenario
    one, other = compared.first[bug][name], compared.second[bug][name]
    assert all(answer.status in (200, 400, 403) for answers in (*one, *other) for answer in answers)
    assert differences(one, other)


def _without_places(answers: Sequence[list[Answer]]) -> list[list[Answer]]:
    point = re.compile(rb'"coordinates":\[[^\]]*\]')
    return [
        [replace(a, body=point.sub(b"", a.body), headers=tuple(h for h in a.headers if h[0] != b"content-length")) for a in pages]
        for pages in answers
    ]
