"""The OpenAPI document: it says what the hub answers, all of it, and nothing else."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hub.datasets import DATASETS
from tests.api.asking import ITEMS, MAP
from tests.api.schemas import FOLDER, read
from tests.world import BASE, World, feature

AREA = MAP.partition("?")[0]
NEWER = {"const", "examples", "prefixItems", "patternProperties", "$defs", "webhooks", "contentMediaType", "if", "then", "else"}


@pytest.fixture(scope="module")
def document(partners: World) -> dict[str, Any]:
    answer = partners.http.get("/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def routes(world: World) -> Iterator[tuple[str, str]]:
    """Every path and method that the application has, each dataset's by its name."""
    from hub.api import (
        agreements,
        audit,
        audit_files,
        collections,
        duties,
        flags,
        health,
        imports,
        log,
        maps,
        match,
        oauth,
        openapi,
        publish,
        reviews,
        shreds,
    )

    read = (agreements, audit, audit_files, collections, duties, flags, health, imports, log, maps, match, oauth, openapi)
    for module in (*read, publish, reviews, shreds):
        for route in module.router().routes:
            for name in DATASETS if "{name}" in route.path else [""]:
                for method in route.methods - {"HEAD"}:
                    yield route.path.replace("{name}", name).replace(":path}", "}"), method.lower()


def test_every_route_is_in_the_document_and_nothing_else(partners: World, document: dict[str, Any]) -> None:
    assert sorted((path, method) for path, method, _ in operations(document)) == sorted(routes(partners))


def test_the_application_has_no_route_but_the_modules(partners: World) -> None:
    """Control for `routes`: a path is either in the document or not there."""
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/admin"):
        assert partners.http.get(path).status_code == 404


def test_it_is_openapi_3_0_and_uses_no_word_that_is_newer(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.0.3"
    assert document.keys() <= {"openapi", "info", "servers", "paths", "components", "security", "tags", "externalDocs"}
    assert document["servers"] == [{"url": BASE}]
    for node in nodes(document):
        assert NEWER.isdisjoint(node), node.keys() & NEWER
        assert not isinstance(node.get("type"), list), node
        assert not isinstance(node.get("exclusiveMinimum"), int | float) or isinstance(node.get("exclusiveMinimum"), bool)
        if node.get("type") == "array":
            assert "items" in node
        if "$ref" in node:
            assert node.keys() == {"$ref"}
            here: Any = document
            for step in node["$ref"].removeprefix("#/").split("/"):
                here = here[step]


def test_every_operation_is_complete(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(document):
        assert operation["summary"], path
        assert operation["responses"], path
        declared = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert declared == re.findall(r"{(\w+)}", path)
        for parameter in operation.get("parameters", []):
            assert parameter["schema"], parameter
            assert parameter["description"].endswith((".", ")", "id", "hexadecimal", "name", "version", "key", "signed")), parameter
            assert parameter["required"] is (parameter["in"] == "path" or (path, parameter["name"]) == (AREA, "bbox"))
        assert ("requestBody" in operation) is (method in ("post", "put", "patch"))
        for status, response in operation["responses"].items():
            media = "application/problem+json" if status >= "400" and path != "/oauth/token" else None
            assert response["description"]
            assert media is None or list(response["content"]) == [media]


def test_the_parameters_are_those_of_the_standard(document: dict[str, Any]) -> None:
    if not FOLDER.is_dir() and not os.environ.get("CI"):
        pytest.skip("the shared test data are not beside this repository")
    given = {p["name"]: p for p in document["paths"][ITEMS]["get"]["parameters"]}
    for name in ("bbox", "datetime", "limit"):
        standard = read(FOLDER / "parameters" / f"{name}.yaml")
        ours = given[name]
        for member in ("name", "in", "required", "style", "explode"):
            assert ours[member] == standard[member], (name, member)
        assert ours["schema"]["type"] == standard["schema"]["type"]
    assert given["bbox"]["schema"] == {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}
    assert given["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10}


@pytest.mark.parametrize("path", [ITEMS, AREA])
def test_every_parameter_it_names_is_taken_and_every_word_it_offers_is_known(partners: World, document: dict[str, Any], path: str) -> None:
    values = {
        "bbox": "-80,43,-79,44",
        "datetime": "2021-03-04T13:00:00Z",
        "limit": "5",
        "cursor": None,
        "external_id": "A",
        "severity": "3",
    }
    headers = partners.bearer("health", "research")
    given = document["paths"][path]["get"]["parameters"]
    needed = {p["name"]: values[p["name"]] for p in given if p["required"]}
    for parameter in given:
        offered = parameter["schema"].get("items", {}).get("enum") or [values.get(parameter["name"])]
        if offered != [None]:
            answer = partners.http.get(path, params=needed | {parameter["name"]: ",".join(offered)}, headers=headers)
            assert answer.status_code == 200, answer.text


def test_each_status_that_it_promises_for_a_page_can_be_had_and_no_other(partners: World, document: dict[str, Any]) -> None:
    headers = partners.bearer("health", "research")
    seen = {
        partners.http.get(ITEMS, headers=headers).status_code,
        partners.http.get(f"{ITEMS}?limit=0", headers=headers).status_code,
        partners.http.get(ITEMS).status_code,
        partners.http.get(ITEMS, headers=partners.bearer("police")).status_code,
    }
    assert {str(s) for s in seen} | {"503"} == set(document["paths"][ITEMS]["get"]["responses"])
    assert document["paths"][AREA]["get"]["responses"].keys() == document["paths"][ITEMS]["get"]["responses"].keys()


def test_the_parameters_of_a_map_are_those_of_a_page_but_for_pages(document: dict[str, Any]) -> None:
    page, area = ({p["name"]: p for p in document["paths"][path]["get"]["parameters"]} for path in (ITEMS, AREA))
    assert area.keys() == page.keys() - {"limit", "cursor"}
    assert [n for n in area if area[n] != page[n]] == ["bbox"]  # which it needs


def test_security_says_which_scope_each_operation_needs(partners: World, document: dict[str, Any]) -> None:
    flow = document["components"]["securitySchemes"]["oauth"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == f"{BASE}/oauth/token"
    for path, method, operation in operations(document):
        address = path.replace("{id}", "7")
        body = feature("X") if method == "post" else None
        answer = partners.http.request(method, address, json=body)
        assert (answer.status_code == 401) is ("security" in operation), path
        for need in operation.get("security", []):
            assert set(need["oauth"]) <= set(flow["scopes"])
            assert "401" in operation["responses"]
            assert "403" in operation["responses"]
