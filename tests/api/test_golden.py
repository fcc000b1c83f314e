"""What outsiders read: every member and value but those that change from run to run. A change here is a change of the interface.

After a change that is meant: GOLDEN=write .venv/bin/python -m pytest tests/api/test_golden.py
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from hub.sharing import overview
from tests.api.asking import ITEMS, MAP, ask, collection, send
from tests.world import World, feature

FOLDER = Path(__file__).parent / "golden"
AREA = MAP.partition("?")[0]
VOLATILE = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"cursor=[A-Za-z0-9_-]{48}"), "cursor=<cursor>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha-256>"),
    (re.compile(r'(?<="timeStamp": ")[^"]+'), "<now>"),
    (re.compile(r'(?<="at": ")[^"]+'), "<now>"),
    (re.compile(r'(?<="version": ")[0-9][^"]+'), "<version>"),
)


@pytest.fixture(scope="module")
def published(partners: World) -> World:
    made = [
        feature("G-1", narrative='A "quoted" word,\nand a new line.', severity=3),
        feature("G-2", lon=-79.3, lat=43.7, category="fraud", occurred_at="2021-03-04T23:59:59.999+05:30"),
    ]
    assert send(partners, collection(*made)).status_code == 201
    return partners


def same_as_golden(name: str, answer: Any) -> None:
    media = answer.headers["content-type"]
    text = (
        json.dumps(
            {"status": answer.status_code, "content-type": media, "body": answer.json()}, indent=1, sort_keys=True, ensure_ascii=False
        )
        + "\n"
    )
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    path = FOLDER / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_a_page(published: World) -> None:
    same_as_golden("page", ask(published, "limit=1&bbox=-80,43,-79,44&datetime=2021-03-04T00:00:00Z/.."))


def test_one_record(published: World) -> None:
    found = ask(published, "external_id=G-1").json()["features"][0]
    same_as_golden("record", published.http.get(f"{ITEMS}/{found['id']}", headers=published.bearer("health", "research")))


def test_a_map(published: World) -> None:
    same_as_golden("map", ask(published, "bbox=-80,43,-79,44", path=AREA))


def test_a_map_of_counts(published: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_RECORDS", 0)
    same_as_golden("map-counts", ask(published, "bbox=-80,43,-79,44&category=theft", path=AREA))


def test_why_a_record_looks_as_it_does(published: World) -> None:
    found = ask(published, "external_id=G-1").json()["features"][0]
    same_as_golden("explanation", published.http.get(f"{ITEMS}/{found['id']}/explain", headers=published.bearer("health", "research")))


def test_a_receipt(published: World) -> None:
    answer = send(published, collection(feature("G-3"), feature("G-2", category="other"), feature("G-3B")))
    same_as_golden("receipt", answer)


def test_a_problem_with_a_record(published: World) -> None:
    bad = collection(feature("G-4", category="jaywalking"), feature("G-5") | {"geometry": {"type": "Point", "coordinates": ["1", "2"]}})
    same_as_golden("problem-record", send(published, bad))


def test_a_problem_with_a_parameter(published: World) -> None:
    same_as_golden("problem-parameter", ask(published, "limit=0"))


def test_a_problem_with_a_record_that_is_not_there(published: World) -> None:
    same_as_golden("problem-not-shared", published.http.get(f"{ITEMS}/7", headers=published.bearer("health", "research")))


@pytest.mark.parametrize("path", ["/", "/conformance", "/collections", "/.well-known/oauth-authorization-server", "/healthz", "/readyz"])
def test_what_anybody_may_read(published: World, path: str) -> None:
    same_as_golden(path.strip("/").rpartition("/")[2] or "landing", published.http.get(path))


def test_the_openapi_document(published: World) -> None:
    same_as_golden("api", published.http.get("/api"))
