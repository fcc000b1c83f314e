"""How the tests of the API ask, and how an answer that is no success must look."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from tests.world import World, feature

ITEMS = "/collections/incidents/items"
EARTH = "bbox=-180,-90,180,90"
MAP = f"/collections/incidents/map?{EARTH}"
GEOJSON = "application/geo+json"
TABLES = ("incidents", "incidents_history", "incidents_withdrawn", "audit_leaves")


def problem(answer: Any, status: int, field: str | None = None, word: str = "") -> dict[str, Any]:
    """Checks that an answer is a problem (RFC 9457) that says what is wrong, where, and nothing of the hub's inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert body.keys() - {"errors"} == {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert body["type"].startswith("urn:concord:problem:")
    assert body["detail"].endswith((".", ")")), body["detail"]
    assert len(answer.content) < 60_000
    for word_of_the_inside in ("psycopg2", "Traceback", "pydantic", "hub.incidents", "SELECT"):
        assert word_of_the_inside not in answer.text
    errors = body.get("errors", [])
    assert all(e.keys() == {"field", "reason"} and all(e.values()) for e in errors)
    if field is not None:
        assert field in [e["field"] for e in errors], answer.text
    assert word in answer.text, answer.text
    return body


def send(world: World, body: Any, client: str = "police", **headers: Any) -> Any:
    """Publishes a body: bytes and text as they are, anything else as JSON."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return world.http.post(ITEMS, content=content, headers=world.bearer(client) | {"Content-Type": GEOJSON} | headers)


def collection(*features: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **members}


def raw(coordinates: str) -> str:
    """A feature whose coordinates are not JSON that Python would write."""
    return json.dumps(feature("RAW")).replace("[-79.38, 43.65]", coordinates)


def ask(world: World, query: str, client: str = "health", path: str = ITEMS) -> Any:
    """A page, by the query string as it stands."""
    return world.http.get(f"{path}?{query}", headers=world.bearer(client, "research"))


def bearer(world: World, client: str, scope: str, purpose: str | None = None) -> dict[str, str]:
    """A token with exactly these scopes."""
    key = (f"{client} {scope}", purpose)
    if key not in world.tokens:
        answer = world.token_response(client, purpose, scope)
        assert answer.status_code == 200, answer.text
        world.tokens[key] = answer.json()["access_token"]
    return {"Authorization": f"Bearer {world.tokens[key]}"}


@lru_cache(maxsize=2)
def _engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(url, pool_size=1)


def _counts(url: sa.URL, *tables: str) -> dict[str, int]:
    columns = ", ".join(f"(select count(*) from {table}) as {table.split('.')[1]}" for table in tables)
    with _engine(url).connect() as connection:
        return dict(connection.execute(sa.text(f"select {columns}")).mappings().one())


def stored(world: World) -> dict[str, int]:
    """How many rows there are, of everything that publishing writes."""
    return _counts(world.addresses.main, *(f"hub.{table}" for table in TABLES)) | _counts(world.addresses.keys, "keys.kek", "keys.dek")


@contextmanager
def nothing_stored(world: World) -> Iterator[None]:
    """Whatever is asked inside leaves no record, no key, no leaf."""
    before = stored(world)
    yield
    assert stored(world) == before
